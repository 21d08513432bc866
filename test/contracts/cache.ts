import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Cache } from '../../src/cache/cache.ts'
import { encodeEvent } from '../../src/market/encode.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import { topicOf } from '../../src/market/topic.ts'
import { book, candle, freshTopic, gap, price, START, series, status, trade, tradesOf } from './events.ts'

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
      expect(image!.values.map((event) => event.payload)).toMatchObject([{ type: 'ticker', bid: '2.0' }])
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
        const feed = cache.subscribe(stop.signal)
        await feed.follow(trades[0]!.topic)
        for await (const batch of feed) {
          seen.push(...batch)
          expect((await cache.image(trades[0]!.topic))!.seq).toBeGreaterThanOrEqual(batch.at(-1)!.seq)
          if (seen.length === 50) return seen.map((event) => event.seq)
        }
        return []
      })
      await new Promise((resolve) => setTimeout(resolve, 300))
      for (const event of trades) await cache.apply([event])
      for (const seen of await Promise.all(readers)) expect(seen).toEqual(trades.map((event) => event.seq))
    })

    it('has every event after a position, over epochs that join, and says where it does not reach back', async () => {
      const topic = freshTopic('trades')
      const first = tradesOf(topic, 5)
      const join = { epoch: START + 9, prevEpoch: START, prevSeq: 5 }
      const second = [1, 2, 3].map((seq) =>
        encodeEvent(
          topic,
          {
            ...(seq === 1 ? join : { epoch: START + 9 }),
            seq,
            receivedTime: START + 100 + seq,
            publishedTime: 1,
          },
          trade(String(5 + seq)),
        ),
      )
      await cache.apply([...first, ...second])
      const since = async (epoch: number, seq: number) =>
        (await cache.since(topic, { epoch, seq }))?.map((event) => [event.epoch - START, event.seq])
      expect(await since(START, 3)).toEqual([
        [0, 4],
        [0, 5],
        [9, 1],
        [9, 2],
        [9, 3],
      ])
      expect(await since(START + 9, 2)).toEqual([[9, 3]])
      expect(await since(START + 9, 3)).toEqual([])
      expect(await since(START - 1, 3)).toBeUndefined()
      expect(await cache.since(freshTopic('trades'), { epoch: START, seq: 1 })).toBeUndefined()
      const events = await cache.since(topic, { epoch: START, seq: 0 })
      expect(events!.map(({ bytes }) => String(bytes))).toEqual(
        [...first, ...second].map((e) => String(e.bytes)),
      )
    })

    it('does not bridge a hole or an epoch that does not join', async () => {
      const topic = freshTopic('trades')
      const events = tradesOf(topic, 6).filter(({ seq }) => seq !== 4)
      const [other] = tradesOf(topic, 1, START + 50)
      await cache.apply(events)
      expect(await cache.since(topic, { epoch: START, seq: 2 })).toBeUndefined()
      expect((await cache.since(topic, { epoch: START, seq: 4 }))!.map(({ seq }) => seq)).toEqual([5, 6])
      await cache.apply([other!])
      expect(await cache.since(topic, { epoch: START, seq: 5 })).toBeUndefined()
    })

    it('keeps the events of a window bounded, and what it still has goes on to the end', async () => {
      const topic = freshTopic('trades')
      const trades = tradesOf(topic, 6_000)
      for (let at = 0; at < trades.length; at += 500) await cache.apply(trades.slice(at, at + 500))
      expect(await cache.since(topic, { epoch: START, seq: 1 })).toBeUndefined()
      expect(await cache.since(topic, { epoch: START, seq: 5_000 })).toHaveLength(1_000)
    })

    it('skips events of an owner that was replaced', async () => {
      const topic = freshTopic('ticker')
      const old = series(topic)
      const events = [old({ type: 'ticker', last: '1' }), old({ type: 'ticker', last: '2' })]
      await cache.apply([events[0]!])
      await cache.apply([series(topic, START + 7)({ type: 'ticker', last: '3' })])
      await cache.apply([events[1]!])
      expect(await cache.image(topic)).toMatchObject({ epoch: START + 7, seq: 1 })
      expect((await cache.image(topic))!.values[0]!.payload).toMatchObject({ last: '3' })
    })

    it('brings the first event of a topic to every subscriber, followed or not', async () => {
      const feed = cache.subscribe(stop.signal)
      await feed.follow(freshTopic('trades'))
      const next = feed[Symbol.asyncIterator]().next()
      const topic = topicOf('default', 'status', `default/c${START}`)
      await cache.apply([series(topic)(status('default', `c${START}`))])
      expect((await next).value.map((event: EncodedEvent) => event.topic.id)).toContain(topic.id)
    })

    it('tells where a followed topic stands, behind the events that came before', async () => {
      const topic = freshTopic('trades')
      const said: unknown[] = []
      const feed = cache.subscribe(stop.signal, (of, { seq }) => of === topic && said.push(`head ${seq}`))
      await feed.follow(topic)
      const reading = (async () => {
        for await (const batch of feed)
          for (const event of batch) if (event.topic === topic) said.push(event.seq)
      })()
      await cache.apply(tradesOf(topic, 3))
      await vi.waitFor(() => expect(said.at(-1)).toBe('head 3'), { timeout: 4_000 })
      expect(said).toEqual([1, 2, 3, 'head 3'])
      stop.abort()
      await reading
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
