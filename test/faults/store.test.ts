import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { beforeAll, expect, it, vi } from 'vitest'
import { createPgliteStore } from '../../src/store/pglite.ts'
import { freshTopic, tradesOf } from '../contracts/events.ts'

/** Every thread that a store started here, so that a test can end one. */
const threads = vi.hoisted(() => [] as import('node:worker_threads').Worker[])
vi.mock('node:worker_threads', async (original) => {
  const { Worker, ...others } = await original<typeof import('node:worker_threads')>()
  class SeenWorker extends Worker {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args)
      threads.push(this)
    }
  }
  return { ...others, Worker: SeenWorker }
})

const folder = () => mkdtempSync(join(tmpdir(), 'feedgate-store-'))

/** A store made once: making one is what takes seconds. */
const made = folder()
beforeAll(async () => {
  const store = createPgliteStore({ dataDir: made })
  await store.ready()
  await store.close()
}, 60_000)

function copyOfMade(): string {
  const dataDir = folder()
  cpSync(made, dataDir, { recursive: true })
  return dataDir
}

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
  const dataDir = copyOfMade()
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

it('starts after it was stopped or killed while it made its database', async () => {
  const dataDir = folder()
  for (const afterMs of [300, 1_500]) {
    const store = createPgliteStore({ dataDir })
    await new Promise((resolve) => setTimeout(resolve, afterMs))
    const began = performance.now()
    await store.close()
    expect(performance.now() - began).toBeLessThan(2_000)
    await expect(store.ready()).rejects.toMatchObject({ code: 'store-unavailable' })
  }
  const store = createPgliteStore({ dataDir })
  await store.ready()
  await store.close()
}, 60_000)

it('opens its thread again when it ends by itself, with all that was stored', async () => {
  const store = createPgliteStore({ dataDir: copyOfMade() })
  await store.ready()
  const trades = tradesOf(freshTopic('trades'), 10)
  await store.record({ events: trades, deadLetters: [] })
  const running = store.sql.query('select pg_sleep(60)').catch((error: unknown) => error)
  await threads.at(-1)!.terminate()
  expect(await running).toMatchObject({ code: 'store-unavailable' })
  expect(store.fault()).toBe('the database thread ended')
  await store.record({ events: trades, deadLetters: [] })
  const { items } = await store.history({ channel: 'trades', limit: 100 })
  expect(items).toHaveLength(10)
  expect(store.fault()).toBeUndefined()
  await store.close()
}, 60_000)

it('refuses a folder that it cannot write, in one sentence that names the setting', () => {
  const file = join(folder(), 'file')
  writeFileSync(file, '')
  expect(() => createPgliteStore({ dataDir: file })).toThrow(
    expect.objectContaining({
      code: 'bad-setting',
      message: expect.stringMatching(
        /^setting DATA_DIR \(dataDir\) is ".*\/file": accepted is a folder .*\((EEXIST|ENOTDIR)\)$/,
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
  const store = createPgliteStore({ dataDir: copyOfMade(), patienceMs: 20 })
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
