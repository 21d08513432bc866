import { describe, expect, it } from 'vitest'
import { createMemoryCache } from '../../src/cache/memory.ts'
import { describeCache } from '../contracts/cache.ts'
import { candle, freshTopic, START, series, tradesOf } from '../contracts/events.ts'

describeCache('memory', async () => createMemoryCache())

describe('the memory cache', () => {
  it('drops the oldest batches of a subscriber that does not keep up, and keeps the newest', async () => {
    const cache = createMemoryCache({ maxWaitingEvents: 100 })
    const reader = cache.subscribe(new AbortController().signal)[Symbol.asyncIterator]()
    const trades = tradesOf(freshTopic('trades'), 1_000)
    for (const event of trades) await cache.apply([event])
    const batch = (await reader.next()).value!
    expect(batch.map((event: { seq: number }) => event.seq)).toEqual(
      trades.slice(-100).map((event) => event.seq),
    )
  })

  it('keeps the thousand candles that changed last', async () => {
    const cache = createMemoryCache()
    const topic = freshTopic('ohlcv', '1m')
    const next = series(topic)
    for (let i = 0; i < 1_200; i++) await cache.apply([next(candle('1m', START + i * 60_000_000))])
    const { values } = (await cache.image(topic))!
    expect([values.length, values[0]!.seq, values.at(-1)!.seq]).toEqual([1_000, 201, 1_200])
  })
})
