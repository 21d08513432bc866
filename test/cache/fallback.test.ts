import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Cache } from '../../src/cache/cache.ts'
import { withStore } from '../../src/cache/fallback.ts'
import { createMemoryCache } from '../../src/cache/memory.ts'
import { FeedgateError } from '../../src/errors.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import { createPgliteStore } from '../../src/store/pglite.ts'
import type { Store } from '../../src/store/store.ts'
import { book, candle, freshTopic, gap, price, START, series, tradesOf } from '../contracts/events.ts'

let store: Store
beforeAll(async () => {
  store = createPgliteStore({ dataDir: mkdtempSync(join(tmpdir(), 'feedgate-fallback-')) })
  await store.ready()
})
afterAll(() => store.close())

const record = (events: readonly EncodedEvent[]) => store.record({ events, deadLetters: [] })

/** A cache that is away. */
function away(): Cache {
  const reject = () => Promise.reject(new FeedgateError('cache-unavailable', 'away'))
  return { ...createMemoryCache(), image: reject, images: reject, since: reject, apply: reject } as Cache
}

describe('reads while the cache is away', () => {
  it('come from the store, as the cache would have answered', async () => {
    const candles = freshTopic('ohlcv', '1m')
    const odds = freshTopic('odds')
    const trades = tradesOf(freshTopic('trades'), 5)
    const nextCandle = series(candles)
    const nextPrice = series(odds)
    const events = [
      ...trades,
      nextCandle(candle('1m', START)),
      nextCandle(candle('1m', START + 60_000_000, { closed: false })),
      nextPrice(price('HOME', '1.85')),
      nextPrice(price('AWAY', '4.2')),
      nextPrice(price('HOME', '1.90')),
    ]
    await record(events)
    const live = createMemoryCache()
    await live.apply(events)
    const fallback = withStore(away(), store)
    const shown = (image: Awaited<ReturnType<Cache['image']>>) => ({
      ...{ epoch: image!.epoch, seq: image!.seq },
      values: image!.values.map(({ seq, key, bytes }) => [seq, key, bytes.toString()]),
    })
    for (const topic of [candles, odds, trades[0]!.topic])
      expect(shown(await fallback.image(topic))).toEqual(shown(await live.image(topic)))
    const found = await fallback.images({ channel: 'odds', source: 'venue', subject: odds.subject })
    expect(found.map(shown)).toEqual([shown(await live.image(odds))])
    expect(await fallback.image(freshTopic('ticker'))).toBeUndefined()
  })

  it('have the exact book, or none where it is not known', async () => {
    const [known, unknown] = [freshTopic('orderbook'), freshTopic('orderbook')]
    const next = series(known)
    const other = series(unknown)
    await record([
      next(book('snapshot', [['10', '1']], [['11', '1']])),
      next(book('delta', [['9', '2.50']], [['11', '0']])),
      other(book('snapshot', [['10', '1']], [['11', '1']])),
      other(gap('orderbook')),
    ])
    const fallback = withStore(away(), store)
    const image = (await fallback.image(known))!
    expect(image).toMatchObject({ epoch: START, seq: 2, book: { depth: 0, last: { seq: 2 } } })
    expect(image.book!.bids).toEqual([
      ['10', '1'],
      ['9', '2.50'],
    ])
    expect(image.book!.asks).toEqual([])
    expect(await fallback.image(unknown)).toMatchObject({ epoch: START, seq: 2 })
    expect((await fallback.image(unknown))!.book).toBeUndefined()
  })
})

describe('a cache that came back empty', () => {
  it('answers with what the store has of a quiet topic', async () => {
    const trades = tradesOf(freshTopic('trades'), 3)
    await record(trades)
    const image = await withStore(createMemoryCache(), store).image(trades[0]!.topic)
    expect(image).toMatchObject({ seq: 3, values: [{ seq: 3 }] })
  })

  it('builds the book on from the one that the store has', async () => {
    const topic = freshTopic('orderbook')
    const next = series(topic)
    const events = [
      next(book('snapshot', [['10', '1']], [])),
      next(book('delta', [['9', '2']], [])),
      next(book('delta', [['8', '3']], [])),
      next(book('delta', [['10', '0']], [])),
    ]
    await record(events.slice(0, 2))
    const cache = createMemoryCache()
    await cache.apply(events.slice(2))
    const image = await withStore(cache, store).image(topic)
    expect(image).toMatchObject({ seq: 4, book: { last: { seq: 4 } } })
    expect(image!.book!.bids).toEqual([
      ['9', '2'],
      ['8', '3'],
    ])
  })
})
