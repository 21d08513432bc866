import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createMemoryCache } from '../../../src/cache/memory.ts'
import type { EncodedEvent } from '../../../src/market/encoded-event.ts'
import type { Topic } from '../../../src/market/topic.ts'
import { createPgliteStore } from '../../../src/store/pglite.ts'
import type { Store } from '../../../src/store/store.ts'
import { TestGateway, trade, until } from './gateway.ts'

/** The store that comes with the program; the cache has no window, so that all of the past is read there. */
let store: Store
let gateway: TestGateway
let topic: Topic
const events: EncodedEvent[] = []
const dataDir = mkdtempSync(join(tmpdir(), 'feedgate-ws-'))
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

beforeAll(async () => {
  // Making a database takes long on a busy machine, copying one does not.
  const template = process.env.FEEDGATE_TEST_DATABASE
  if (template) cpSync(template, join(dataDir, 'pglite'), { recursive: true })
  store = createPgliteStore({ dataDir, log })
  await store.ready()
  const cache = createMemoryCache()
  const since = cache.since.bind(cache)
  cache.since = async (of, after) => {
    const newer = await since(of, after)
    return newer && newer.length <= 3 ? newer : undefined
  }
  gateway = await new TestGateway({ cache, history: store.history.bind(store) }).start()
  topic = gateway.carry('venue', 'trades', 'BTC/USDT')
  const begin = (Date.now() - 50_000) * 1_000
  for (let n = 0; n < 3_000; n++) {
    const epoch = n < 1_700 ? 1_000 : 2_000
    const seam = n === 1_700 ? { prevEpoch: 1_000, prevSeq: 1_700 } : {}
    events.push(gateway.event(topic, trade(n), { epoch, ...seam, receivedTime: begin + n * 15_000 }))
  }
  await gateway.cache.apply(events)
  await store.record({ events: events.slice(0, -2), deadLetters: [] })
}, 60_000)

afterAll(async () => {
  await gateway?.stop()
  await store?.close()
  rmSync(dataDir, { recursive: true, force: true })
})

const bodies = (frames: readonly string[]) =>
  frames.flatMap((frame) =>
    frame.includes('"type":"trade"') ? `${frame.slice(0, frame.lastIndexOf(',"sentTime"'))}}` : [],
  )
const command = { type: 'subscribe', channel: 'trades', symbols: ['*'] }

it('a resume reads what it missed from the database, over the seam of two epochs', async () => {
  const client = await gateway.client({ tier: 'premium' })
  const at = events[499]!
  const resume = { [topic.publicId]: [at.epoch, at.seq] }
  const answer = await client.ask({ ...command, resume }, 'subscribed')
  expect('unrecovered' in answer).toBe(false)
  await until(() => client.ofType('trade').length === 2_500, 20_000)
  expect(bodies(client.frames)).toEqual(events.slice(500).map((event) => event.bytes.toString()))
  expect(client.ofType('trade').find(({ seq, epoch }) => seq === 1 && epoch === 2_000)).toMatchObject({
    prevSent: [1_000, 1_700],
  })
}, 30_000)

it('from a time on the database is read, and joined with what is not stored yet', async () => {
  const client = await gateway.client({ tier: 'premium' })
  const from = events[1_000]!.receivedTime
  await client.ask({ ...command, from }, 'subscribed')
  await until(() => client.ofType('live').length === 1, 20_000)
  expect(bodies(client.frames)).toEqual(events.slice(1_000).map((event) => event.bytes.toString()))
}, 30_000)
