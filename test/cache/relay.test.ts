import { expect, it, vi } from 'vitest'
import { createEmbeddedBus } from '../../src/bus/embedded.ts'
import { createMemoryCache } from '../../src/cache/memory.ts'
import { runRelay } from '../../src/cache/relay.ts'
import { FeedgateError } from '../../src/errors.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import { signals } from '../../src/signals.ts'
import { freshTopic, tradesOf } from '../contracts/events.ts'

it('carries the bus into the cache, says how much, and applies what had queued before it ends', async () => {
  const bus = createEmbeddedBus()
  const cache = createMemoryCache()
  const stop = new AbortController()
  let set = 0
  const off = signals.cacheSet.on(({ count }) => {
    set += count
  })
  const relay = runRelay({ bus, cache }, stop.signal)
  const trades = tradesOf(freshTopic('trades'), 100)
  for (const event of trades) void bus.publish([event])
  await bus.reject([{ source: 'venue', receivedTime: 1, reason: 'no JSON', bytes: Buffer.from('x') }])
  stop.abort()
  await relay
  off()
  expect((await cache.image(trades[0]!.topic))!.seq).toBe(100)
  expect(set).toBe(100)
})

it('brings an event from the bus to a client of the cache without waiting for a timer', async () => {
  const bus = createEmbeddedBus()
  const cache = createMemoryCache()
  const stop = new AbortController()
  const relay = runRelay({ bus, cache }, stop.signal)
  const reader = cache.subscribe(stop.signal)[Symbol.asyncIterator]()
  let got = false
  void reader.next().then(() => {
    got = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  void bus.publish(tradesOf(freshTopic('trades'), 1))
  for (let i = 0; i < 30; i++) await Promise.resolve()
  expect(got).toBe(true)
  stop.abort()
  await relay
})

it('tries a batch again until the cache takes it, and loses nothing of what came meanwhile', async () => {
  const bus = createEmbeddedBus()
  const cache = createMemoryCache()
  const stop = new AbortController()
  let refusals = 3
  const flaky = {
    ...{ image: cache.image, images: cache.images, topics: cache.topics, since: cache.since },
    ...{ subscribe: cache.subscribe, fault: () => undefined, close: () => cache.close() },
    apply: (events: readonly EncodedEvent[]) =>
      refusals-- > 0 ? Promise.reject(new FeedgateError('cache-unavailable', 'away')) : cache.apply(events),
  }
  const relay = runRelay({ bus, cache: flaky }, stop.signal)
  const trades = tradesOf(freshTopic('trades'), 50)
  for (const event of trades) await bus.publish([event])
  await vi.waitFor(async () => expect((await cache.image(trades[0]!.topic))?.seq).toBe(50), {
    timeout: 5_000,
  })
  expect(await cache.since(trades[0]!.topic, { epoch: trades[0]!.epoch, seq: 0 })).toHaveLength(50)
  stop.abort()
  await relay
})
