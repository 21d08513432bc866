import { afterEach, expect, it, vi } from 'vitest'
import { createMemoryCache } from '../../../src/cache/memory.ts'
import { LateTopic } from '../../../src/gateway/ws/late-topic.ts'
import { TopicFeed } from '../../../src/gateway/ws/topic-feed.ts'
import { Upstream } from '../../../src/gateway/ws/upstream.ts'
import { encodeEvent } from '../../../src/market/encode.ts'
import { topicOf } from '../../../src/market/topic.ts'
import type { Store } from '../../../src/store/store.ts'
import { RecordedEvents, trade } from './gateway.ts'

const DELAY_MS = 3_000
/** The recorder commits so much later than an event comes. */
const RECORDER_MS = 400

afterEach(() => {
  vi.useRealTimers()
})

it('gives every event of a topic once, in order, when it is as old as the delay, and hardly later', async () => {
  vi.useFakeTimers()
  const topic = topicOf('paid', 'trades', 'BTC/USDT')
  const recorded = new RecordedEvents()
  let reads = 0
  const history: Store['history'] = (query) => {
    reads++
    return recorded.history(query)
  }
  const store = { history, latest: async () => [], bookAt: recorded.bookAt } as unknown as Store
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
  const ports = { log, now: () => Date.now() * 1_000 }
  const late = new LateTopic(ports, new Upstream({ cache: createMemoryCache(), store }), topic, DELAY_MS)
  const feed = new TopicFeed(topic, late, log, DELAY_MS)
  const taken: { seq: number; ageMs: number; text: string }[] = []
  feed.readers.add({
    take: ({ seq, receivedTime, bytes }) =>
      void taken.push({ seq, ageMs: Date.now() - receivedTime / 1_000, text: bytes.toString() }),
    resync: () => expect.unreachable(),
    reload: () => {},
  })
  feed.open(false)
  const running = late.run(feed)
  for (let seq = 1; seq <= 200; seq++) {
    const receivedTime = ports.now()
    const event = encodeEvent(topic, { epoch: 1, seq, receivedTime, publishedTime: receivedTime }, trade(seq))
    setTimeout(() => recorded.record([event]), RECORDER_MS)
    await vi.advanceTimersByTimeAsync(100)
  }
  await vi.advanceTimersByTimeAsync(DELAY_MS + 2_000)
  feed.close()
  await vi.advanceTimersByTimeAsync(DELAY_MS)
  await running
  expect(taken.map(({ seq }) => seq)).toEqual(Array.from({ length: 200 }, (_, index) => index + 1))
  for (const { ageMs, text } of taken) {
    expect(ageMs).toBeGreaterThanOrEqual(DELAY_MS)
    expect(ageMs).toBeLessThan(DELAY_MS + 50)
    expect(text).toContain('"flags":["delayed"]')
  }
  // A page ahead: not one read an event.
  expect(reads).toBeLessThan(40)
})
