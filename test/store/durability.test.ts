import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { createPgliteStore } from '../../src/store/pglite.ts'
import { freshTopic, tradesOf } from '../contracts/events.ts'

const folder = () => mkdtempSync(join(tmpdir(), 'feedgate-store-'))

/** Kills a program that records without end as soon as it has told of `after` events, and says how many it told of. */
async function killedAfter(dataDir: string, after: number): Promise<number> {
  const program = fileURLToPath(new URL('./endless-writer.mjs', import.meta.url))
  const child = spawn(process.execPath, [program, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = once(child, 'exit')
  let told = 0
  for await (const line of createInterface(child.stdout)) {
    told = Number(line)
    if (told >= after) child.kill('SIGKILL')
  }
  expect((await exit)[1]).toBe('SIGKILL')
  return told
}

it('has everything after kill -9 that it said was stored, once, and goes on', async () => {
  const dataDir = folder()
  for (const after of [2_000, 12_000]) {
    const told = await killedAfter(dataDir, after)
    const store = createPgliteStore({ dataDir })
    await store.ready()
    const { rows } = await store.sql.query<{ n: number; seqs: number; last: number }>(
      'select count(*)::integer as n, count(distinct seq)::integer as seqs, max(seq)::integer as last from events_trade',
    )
    const { n, seqs, last } = rows[0]!
    expect(last).toBeGreaterThanOrEqual(told)
    expect([n, seqs]).toEqual([last, last])
    await store.record({ events: tradesOf(freshTopic('ticker'), 10), deadLetters: [] })
    await store.close()
  }
}, 60_000)

it('refuses a folder that it cannot write, in one sentence that names the setting', () => {
  const file = join(folder(), 'file')
  writeFileSync(file, '')
  expect(() => createPgliteStore({ dataDir: file })).toThrow(
    expect.objectContaining({
      code: 'bad-setting',
      message: expect.stringMatching(
        /^setting DATA_DIR \(dataDir\) is ".*\/file": accepted is a folder .*\(ENOTDIR\)$/,
      ),
    }),
  )
})

it('says in one sentence that a database cannot be opened, to `ready` and to every read', async () => {
  const dataDir = folder()
  mkdirSync(join(dataDir, 'pglite'))
  writeFileSync(join(dataDir, 'pglite', 'PG_VERSION'), 'nonsense')
  const store = createPgliteStore({ dataDir })
  const refusal = {
    code: 'store-unavailable',
    message: expect.stringMatching(/^the embedded database in .*pglite cannot be opened \([^\n]*\): [^\n]*$/),
  }
  await expect(store.history({ channel: 'trades', limit: 1 })).rejects.toMatchObject(refusal)
  await expect(store.ready()).rejects.toMatchObject(refusal)
  expect(store.fault()).toBe('cannot be opened')
  await store.close()
}, 60_000)

it('makes a read wait for the opening, and not without end', async () => {
  const store = createPgliteStore({ dataDir: folder(), patienceMs: 50 })
  expect(store.fault()).toBe('opening')
  await expect(store.history({ channel: 'trades', limit: 1 })).rejects.toMatchObject({
    code: 'store-unavailable',
    message: 'the store is not open yet, try again',
  })
  await store.ready()
  expect(await store.history({ channel: 'trades', limit: 1 })).toEqual({ items: [], next: null })
  await store.close()
  await store.close()
  await expect(store.history({ channel: 'trades', limit: 1 })).rejects.toMatchObject({
    code: 'store-unavailable',
  })
}, 60_000)
