import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, it } from 'vitest'
import { ROOT, temporaryFolder, until } from '../whole/program.ts'
import { isGone } from './process-tree.ts'

/** The processes whose working folder lies below: all servers, each in a folder of its own. */
function processesIn(folder: string): number[] {
  return readdirSync('/proc')
    .filter((name) => {
      try {
        return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/cwd`).startsWith(folder)
      } catch {
        return false
      }
    })
    .map(Number)
}

it('leaves no server, no program and no folder when the run is killed with -9', async () => {
  const folder = await temporaryFolder()
  chmodSync(folder, 0o711)
  const { PATH, HOME, TMPDIR = '/var/tmp', TIMESCALEDB_START } = process.env
  const run = spawn(
    process.execPath,
    [
      join(ROOT, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--config',
      join(import.meta.dirname, 'endless/vitest.config.ts'),
    ],
    {
      // Nothing is given to it: every engine is its own. It has what was fetched before.
      env: { PATH, HOME, TIMESCALEDB_START, TMPDIR: folder, CACHE: join(TMPDIR, 'feedgate-timescaledb') },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const lines: string[] = []
  createInterface({ input: run.stdout! }).on('line', (line) => lines.push(line))
  const worker = await until(
    () => lines.join('\n').match(/worker (\d+) is ready/)?.[1],
    90_000,
    () => lines.join('\n'),
  )
  const started = lines.filter((line) => /^engine \w+: (?!SKIPPED)/.test(line)).length
  expect(processesIn(folder).length).toBeGreaterThanOrEqual(started + 1)

  run.kill('SIGKILL')
  await once(run, 'exit')
  await until(
    () => processesIn(folder).length === 0 && isGone(Number(worker)),
    20_000,
    () => `left: ${processesIn(folder)}`,
  )
  await until(() => readdirSync(folder).filter((name) => name.startsWith('feedgate-')).length === 0)
})
