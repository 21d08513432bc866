import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Cache } from '../../src/cache/cache.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import { topicOf } from '../../src/market/topic.ts'
import { book, candle, freshTopic, gap, price, START, series, tradesOf } from './events.ts'

/** What every cache does. `open` gives an empty one. */
export function describeCache(name: string, open: () => Promise<Cache>): void {
  describe(`cache ${name}`, () => {
    let cache: Cache
    let stop: AbortController

    beforeEach(async () => {
      cache = await open()
      stop = new AbortController()
    })
    afterEach(async () => {
      stop.abort()
      await cache.close()
    })

    it('keeps the newest event of a state topic, with the position of the topic', async () => {
      const topic = freshTopic('ticker')
      const next = series(topic)
      await cache.apply([next({ type: 'ticker', bid: '1.0' }), next({ type: 'ticker', bid: '2.0' })])
      const image = await cache.image(topic)
      expect(image).toMatchObject({ topic, epoch: START, seq: 2 })
      expect(image!.values.map((event) => event.payload)).toEqual([{ type: 'ticker', bid: '2.0' }])
    })

    it('keeps one candle for each open time and one price for each selection, oldest change first', async () => {
      const candles = freshTopic('ohlcv', '1m')
      const odds = topicOf('venue', 'odds', 'MATCH_001')
      const nextCandle = series(candles)
      const nextOdds = series(odds)
      await cache.apply([
        nextCandle(candle('1m', START)),
        nextCandle(candle('1m', START + 60_000_000)),
        nextCandle(candle('1m', START, { revision: 1 })),
        nextOdds(price('HOME', '1.85')),
        nextOdds(price('AWAY', '4.2')),
        nextOdds(price('HOME', '1.90')),
      ])
      expect((await cache.image(candles))!.values.map((event) => event.seq)).toEqual([2, 3])
      expect((await cache.image(odds))!.values.map((event) => event.seq)).toEqual([2, 3])
    })

    it('keeps the newest event alone of an event channel', async () => {
      const trades = tradesOf(freshTopic('trades'), 3)
      await cache.apply(trades)
      expect((await cache.image(trades[0]!.topic))!.values).toEqual([trades[2]])
    })

    it('keeps the whole book, as its snapshot and deltas made it', async () => {
      const topic = freshTopic('orderbook')
      const next = series(topic)
      await cache.apply([
        next(
          book(
            'snapshot',
            [
              ['10.0', '1'],
              ['9.0', '2.50'],
            ],
            [['11.0', '3']],
          ),
        ),
        next(
          book(
            'delta',
            [
              ['10.0', '0'],
              ['9.5', '4'],
            ],
            [['10.5', '1.0']],
          ),
        ),
      ])
      const image = await cache.image(topic)
      expect(image!.book).toMatchObject({
        bids: [
          ['9.5', '4'],
          ['9.0', '2.50'],
        ],
        asks: [
          ['10.5', '1.0'],
          ['11.0', '3'],
        ],
        depth: 0,
        last: { seq: 2 },
      })
    })

    it('takes a level away when a delta says so and not before, whatever the depth', async () => {
      const topic = freshTopic('orderbook')
      const next = series(topic)
      await cache.apply([
        next(
          book(
            'snapshot',
            [
              ['10', '1'],
              ['9', '1'],
            ],
            [],
            2,
          ),
        ),
        next(book('delta', [['9.5', '1']], [], 2)),
        next(book('delta', [['9.5', '0']], [], 2)),
      ])
      expect((await cache.image(topic))!.book).toMatchObject({
        bids: [
          ['10', '1'],
          ['9', '1'],
        ],
        depth: 2,
      })
    })

    it('does not know the book from a gap to the next snapshot, and goes on with the position', async () => {
      const topic = freshTopic('orderbook')
      const next = series(topic)
      const events = [
        next(book('snapshot', [['10', '1']], [])),
        next(gap('orderbook')),
        next(book('delta', [['9', '1']], [])),
        next(book('snapshot', [['8', '1']], [])),
      ]
      await cache.apply(events.slice(0, 3))
      expect(await cache.image(topic)).toMatchObject({ seq: 3 })
      expect((await cache.image(topic))!.book).toBeUndefined()
      await cache.apply(events.slice(3))
      expect((await cache.image(topic))!.book).toMatchObject({ bids: [['8', '1']] })
    })

    it('does not know the book after a hole in its numbers', async () => {
      const topic = freshTopic('orderbook')
      const next = series(topic)
      const snapshot = next(book('snapshot', [['10', '1']], []))
      next(book('delta', [['10', '2']], []))
      await cache.apply([snapshot, next(book('delta', [['9', '1']], []))])
      expect((await cache.image(topic))!.book).toBeUndefined()
    })

    it('skips what it has already: delivery is at least once', async () => {
      const topic = freshTopic('orderbook')
      const next = series(topic)
      const events = [
        next(book('snapshot', [['10', '1']], [])),
        next(
          book(
            'delta',
            [
              ['10', '0'],
              ['9', '1'],
            ],
            [],
          ),
        ),
      ]
      await cache.apply(events)
      await cache.apply(events)
      expect(await cache.image(topic)).toMatchObject({ seq: 2, book: { bids: [['9', '1']] } })
    })

    it('leaves images as they were taken, whatever comes after', async () => {
      const topic = freshTopic('orderbook')
      const next = series(topic)
      await cache.apply([next(book('snapshot', [['10', '1']], []))])
      const before = await cache.image(topic)
      await cache.apply([next(book('delta', [['10', '0']], []))])
      expect(before).toMatchObject({ seq: 1, book: { bids: [['10', '1']], last: { seq: 1 } } })
    })

    it('finds images by channel, source, subject and timeframe, and lists its topics', async () => {
      const one = topicOf('alpha', 'ohlcv', 'BTC/USDT', '1m')
      const two = topicOf('alpha', 'ohlcv', 'BTC/USDT', '5m')
      const three = topicOf('beta', 'ticker', 'BTC/USDT')
      await cache.apply([
        series(one)(candle('1m', START)),
        series(two)(candle('5m', START)),
        series(three)({ type: 'ticker', last: '1' }),
      ])
      const found = async (match: Parameters<Cache['images']>[0]) =>
        (await cache.images(match)).map((image) => image.topic.id)
      expect(await found({})).toHaveLength(3)
      expect(await found({ channel: 'ohlcv', timeframe: '5m' })).toEqual([two.id])
      expect(await found({ source: 'beta' })).toEqual([three.id])
      expect(await found({ subject: 'ETH/USDT' })).toEqual([])
      expect(new Set(await cache.topics())).toEqual(new Set([one, two, three]))
      expect(await cache.image(freshTopic('ticker'))).toBeUndefined()
    })

    it('hands every batch to every subscriber, after the images hold it', async () => {
      const trades = tradesOf(freshTopic('trades'), 50)
      const readers = [1, 2].map(async () => {
        const seen: EncodedEvent[] = []
        for await (const batch of cache.subscribe(stop.signal)) {
          seen.push(...batch)
          expect((await cache.image(trades[0]!.topic))!.seq).toBeGreaterThanOrEqual(batch.at(-1)!.seq)
          if (seen.length === 50) return seen.map((event) => event.seq)
        }
        return []
      })
      await new Promise((resolve) => setTimeout(resolve, 20))
      for (const event of trades) await cache.apply([event])
      for (const seen of await Promise.all(readers)) expect(seen).toEqual(trades.map((event) => event.seq))
    })

    it('ends a subscription with its signal and with the cache', async () => {
      const one = drain(cache.subscribe(stop.signal))
      const two = drain(cache.subscribe(new AbortController().signal))
      stop.abort()
      await one
      await cache.close()
      await cache.close()
      await two
    })
  })
}

async function drain(batches: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of batches);
}
