import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findRunningGateway, openDataDir } from '../src/data-dir.ts'

const folder = () => mkdtempSync(join(tmpdir(), 'feedgate-data-'))

describe('the data directory', () => {
  it('is made if it is not there', () => {
    const path = join(folder(), 'a', 'b')
    openDataDir(path).release()
    expect(existsSync(path)).toBe(true)
  })

  it('says so at once where it cannot be made', () => {
    expect(() => openDataDir('/proc/nowhere/data')).toThrow(/DATA_DIR.*cannot be written/)
  })

  it('forgets where a gateway was that was killed', () => {
    const path = folder()
    writeFileSync(join(path, 'gateway.json'), '{"url":"http://localhost:1","adminKey":"old"}')
    const held = openDataDir(path)
    expect(findRunningGateway(path)).toBeUndefined()
    held.release()
  })

  it('lets one gateway in at a time', () => {
    const path = folder()
    const held = openDataDir(path)
    expect(() => openDataDir(path)).toThrow(`in use by the gateway with process id ${process.pid}`)
    held.release()
    held.release()
    openDataDir(path).release()
  })

  it('is free again as soon as its owner is dead, even if the number of the process lives on', async () => {
    const path = folder()
    const child = spawn('sleep', ['60'])
    writeFileSync(join(path, 'gateway.lock'), JSON.stringify({ pid: child.pid, began: 'another time' }))
    openDataDir(path).release()
    child.kill('SIGKILL')
    await once(child, 'close')
    writeFileSync(join(path, 'gateway.lock'), JSON.stringify({ pid: child.pid, began: '1' }))
    openDataDir(path).release()
  })

  it('survives a lock file that was torn', () => {
    const path = folder()
    writeFileSync(join(path, 'gateway.lock'), '{"pid":')
    openDataDir(path).release()
  })

  it('tells commands of the same user where the gateway is, in a file nobody else may read, while it runs', () => {
    const path = folder()
    expect(findRunningGateway(path)).toBeUndefined()
    const held = openDataDir(path)
    held.announce({ url: 'http://localhost:1', adminKey: 'k' })
    expect(findRunningGateway(path)).toEqual({ url: 'http://localhost:1', adminKey: 'k' })
    expect(statSync(join(path, 'gateway.json')).mode & 0o777).toBe(0o600)
    expect(readFileSync(join(path, 'gateway.lock'), 'utf8')).toContain(String(process.pid))
    held.release()
    expect(findRunningGateway(path)).toBeUndefined()
  })

  it('says in one line that it cannot be written', () => {
    const path = join(folder(), 'file')
    writeFileSync(path, '')
    expect(() => openDataDir(join(path, 'data'))).toThrow(
      /^setting DATA_DIR[^\n]*cannot be written \(ENOTDIR\)[^\n]*$/,
    )
  })
})
