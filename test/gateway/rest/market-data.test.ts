import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeEvent } from '../../../src/market/encode.ts'
import { bookChecksum } from '../../../src/market/order-book.ts'
import { topicOf } from '../../../src/market/topic.ts'
import { book, gap, price, series, status, trade } from '../../contracts/events.ts'
import { ADMIN_KEY, startRest, symbolTopic, type TestGateway } from './gateway.ts'

const MINUTE = 60_000_000
const DAY = 86_400_000_000
/** A whole minute, some hours ago. */
const NOW = Math.floor(Date.now() / 60_000) * MINUTE - 3 * 60 * MINUTE
const MONTH_AGO = NOW - 30 * DAY

const bodyOf = (event: { bytes: Buffer }) => event.bytes.toString()
const itemsIn = (text: string): string => text.slice('{"items":['.length, text.lastIndexOf('],"next":'))

let gateway: TestGateway
const btcTrades = symbolTopic('trades', 'BTC/USDT')
const btcBook = symbolTopic('orderbook', 'BTC/USDT')
const brokenBook = symbolTopic('orderbook', 'ETH/USDT')
const closedTicker = symbolTopic('ticker', 'BTC/USDT', 'closed')
const odds = topicOf('sim', 'odds', 'MATCH_001')
const ours = topicOf('sim', 'status', 'demo/CONV_1')
const theirs = topicOf('sim', 'status', 'acme/CONV_2')

const trades = [
  ...['1', '2'].map((id) => ({ id, time: MONTH_AGO + Number(id) })),
  ...['3', '4', '5', '6'].map((id) => ({ id, time: NOW + Number(id) * MINUTE })),
]
const nextTrade = series(btcTrades, NOW)
const tradeEvents = trades.map(({ id, time }) =>
  nextTrade(trade(id, `6000${id}.10`, '0.10'), { receivedTime: time, sourceTime: time }),
)
const nextBook = series(btcBook, NOW)
const levels = Array.from({ length: 40 }, (_, i) => i)
const bids = levels.map((i) => [String(1000 - i), '1.00'] as const)
const asks = levels.map((i) => [String(1001 + i), '2.50'] as const)
const bookEvents = [
  nextBook(book('snapshot', [...bids], [...asks]), { receivedTime: NOW }),
  nextBook(book('delta', [['1000', '7.0']], []), { receivedTime: NOW + 10, sourceTime: NOW + 8 }),
]
const nextOdds = series(odds, NOW)
const oddsEvents = [
  nextOdds(price('HOME', '1.85')),
  nextOdds(price('AWAY', '2.10')),
  nextOdds(price('HOME', '1.90')),
]
const gapEvent = nextTrade(gap('trades', NOW, NOW + 1), { receivedTime: NOW + 7 * MINUTE })
const bookGap = series(brokenBook, NOW)(gap('orderbook', NOW, NOW + 1), { receivedTime: NOW + 8 * MINUTE })
const closedEvent = series(closedTicker, NOW)({ type: 'ticker', bid: '1.0' }, { receivedTime: NOW })
const ourStatus = series(ours, NOW)(status('demo', 'CONV_1'), { receivedTime: NOW })
const theirStatus = series(theirs, NOW)(status('acme', 'CONV_2'), { receivedTime: NOW })

beforeAll(async () => {
  gateway = await startRest()
  const { desk } = gateway
  for (const topic of [btcTrades, btcBook, odds, ours, theirs]) desk.carry(topic)
  desk.carry(brokenBook, 'syncing')
  desk.carry(closedTicker, 'live', 'restricted')
  await gateway.publish([
    ...tradeEvents,
    ...bookEvents,
    ...oddsEvents,
    gapEvent,
    bookGap,
    closedEvent,
    ourStatus,
    theirStatus,
  ])
})
afterAll(() => gateway.close())

describe('GET /v1/history', () => {
  it('gives events as they were made, oldest first, page by page', async () => {
    const first = await gateway.get('/v1/history/trades?source=sim&symbol=BTC/USDT&limit=4')
    expect(first.status).toBe(200)
    expect(itemsIn(first.text)).toBe(tradeEvents.slice(0, 4).map(bodyOf).join(','))
    const second = await gateway.get(
      `/v1/history/trades?source=sim&symbol=BTC/USDT&limit=4&cursor=${encodeURIComponent(first.body.next)}`,
    )
    expect(itemsIn(second.text)).toBe([...tradeEvents.slice(4), gapEvent].map(bodyOf).join(','))
    expect(second.body.next).toBeNull()
  })

  it.each([
    [
      'ISO 8601',
      new Date((NOW + 4 * MINUTE) / 1_000).toISOString(),
      new Date((NOW + 6 * MINUTE) / 1_000).toISOString(),
    ],
    ['epoch µs', String(NOW + 4 * MINUTE), String(NOW + 6 * MINUTE)],
  ])('takes times as %s, from inclusive and to exclusive', async (_, from, to) => {
    const { text } = await gateway.get(`/v1/history/trades?from=${from}&to=${to}`)
    expect(itemsIn(text)).toBe(tradeEvents.slice(3, 5).map(bodyOf).join(','))
  })

  it('shows no more than the window of the tier, whatever is asked', async () => {
    for (const query of ['', `?from=${MONTH_AGO}`]) {
      const { text } = await gateway.get(`/v1/history/trades${query}`, await gateway.newKey('basic'))
      expect(itemsIn(text)).toBe([...tradeEvents.slice(2), gapEvent].map(bodyOf).join(','))
    }
    const { body } = await gateway.get('/v1/history/trades', gateway.keys.premium)
    expect(body.items).toHaveLength(7)
  })

  it('streams all of it as NDJSON, by Accept or by format', async () => {
    const lines = [...tradeEvents, gapEvent].map((event) => `${bodyOf(event)}\n`).join('')
    const byFormat = await gateway.get('/v1/history/trades?format=ndjson')
    expect(byFormat.text).toBe(lines)
    const byAccept = await gateway.get('/v1/history/trades', ADMIN_KEY, { accept: 'application/x-ndjson' })
    expect(byAccept.text).toBe(lines)
    expect(byAccept.headers['content-type']).toContain('application/x-ndjson')
    expect(
      (await gateway.get('/v1/history/trades?format=ndjson&limit=2')).text.trim().split('\n'),
    ).toHaveLength(2)
  })

  it('streams more than it holds at a time, each event once and in order', async () => {
    const many = topicOf('sim', 'ticker', 'MANY/USDT')
    gateway.desk.carry(many)
    const next = series(many, NOW)
    const events = Array.from({ length: 5_001 }, (_, i) =>
      next({ type: 'ticker', bid: `${i}.0` }, { receivedTime: NOW + i }),
    )
    await gateway.publish(events)
    const { text } = await gateway.get('/v1/history/ticker?source=sim&symbol=MANY/USDT&format=ndjson')
    expect(text).toBe(events.map((event) => `${bodyOf(event)}\n`).join(''))
  })

  it('writes CSV with the digits as they were sent', async () => {
    const { text, headers } = await gateway.get('/v1/history/trades?symbol=BTC/USDT&format=csv')
    expect(headers['content-type']).toContain('text/csv')
    const [header, first, ...rest] = text.split('\r\n')
    expect(header).toBe(
      'type,source,symbol,epoch,seq,sourceTime,receivedTime,publishedTime,flags,venueSeq,id,price,size,side,reason,fromTime,toTime,repairedBy',
    )
    const { epoch, seq, receivedTime } = tradeEvents[0]!
    expect(first).toBe(
      `trade,sim,BTC/USDT,${epoch},${seq},${receivedTime},${receivedTime},${receivedTime + 5},,,1,60001.10,0.10,buy,,,,`,
    )
    expect(rest.at(-2)).toMatch(/^gap,sim,BTC\/USDT,.*,sequence,\d+,\d+,$/)
    expect(rest.at(-1)).toBe('')
  })

  it('quotes what CSV must quote, and changes no number above 2^53', async () => {
    const deep = topicOf('sim', 'orderbook', 'A,"B/C')
    gateway.desk.carry(deep)
    const event = encodeEvent(
      deep,
      {
        epoch: NOW,
        seq: 1,
        receivedTime: NOW,
        publishedTime: NOW,
        venueSeq: [9007199254740993n, 9007199254740995n],
      },
      { type: 'orderbook', kind: 'delta', bids: [['1.0', '2']], asks: [], depth: 0 },
    )
    await gateway.publish([event])
    const { text } = await gateway.get(
      `/v1/history/orderbook?symbol=${encodeURIComponent('A,"B/C')}&format=csv`,
    )
    expect(text.split('\r\n')[1]).toContain('"A,""B/C"')
    expect(text).toContain('"[9007199254740993,9007199254740995]"')
    expect(text).toContain('"[[""1.0"",""2""]]"')
  })

  it('refuses a channel that the tier has not, and a source without a grant', async () => {
    const basic = await gateway.get('/v1/history/orderbook', await gateway.newKey('basic'))
    expect(basic).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    const closed = await gateway.get('/v1/history/ticker?source=closed', gateway.keys.institutional)
    expect(closed).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    const open = await gateway.get('/v1/history/ticker?symbol=BTC/USDT', gateway.keys.institutional)
    expect(open).toMatchObject({ status: 422, body: { code: 'unknown-symbol' } })
    expect((await gateway.get('/v1/history/ticker?source=closed')).body.items).toHaveLength(1)
  })

  it('knows no symbol, timeframe or conversation but those that there are', async () => {
    for (const [path, code] of [
      ['/v1/history/trades?symbol=NO/SUCH', 'unknown-symbol'],
      ['/v1/history/ohlcv?timeframe=7m', 'unknown-timeframe'],
      ['/v1/history/status?symbol=CONV_2', 'unknown-symbol'],
      ['/v1/latest?channel=trades&symbol=NO/SUCH', 'unknown-symbol'],
      ['/v1/latest?symbol=NO/SUCH', 'unknown-symbol'],
      ['/v1/orderbook?source=sim&symbol=NO/SUCH', 'unknown-symbol'],
      ['/v1/candles?source=sim&symbol=NO/SUCH&timeframe=1m', 'unknown-symbol'],
      ['/v1/candles?source=sim&symbol=BTC/USDT&timeframe=1M', 'unknown-timeframe'],
      ['/v1/candles?source=nowhere&symbol=BTC/USDT&timeframe=1m', 'unknown-exchange'],
    ] as const)
      expect(await gateway.get(path)).toMatchObject({ status: 422, body: { code } })
    expect(await gateway.get('/v1/history/trades?timeframe=1m')).toMatchObject({ status: 400 })
    expect(await gateway.get('/v1/history/trades?cursor=nonsense')).toMatchObject({ status: 400 })
  })

  it('shows status events to their tenant only', async () => {
    const { text } = await gateway.get('/v1/history/status', gateway.keys.premium)
    expect(itemsIn(text)).toBe(bodyOf(ourStatus))
    expect(text).not.toContain('CONV_2')
  })
})

describe('GET /v1/latest', () => {
  it('gives the newest value of each key, and books as their snapshot at the depth of the tier', async () => {
    const { text } = await gateway.get('/v1/latest?channel=odds&symbol=MATCH_001')
    expect(itemsIn(text).split('},{')).toHaveLength(2)
    expect(text).toContain(bodyOf(oddsEvents[2]!))
    expect(text).not.toContain(bodyOf(oddsEvents[0]!))
    const { body } = await gateway.get(
      '/v1/latest?source=sim&channel=orderbook&symbol=BTC/USDT',
      gateway.keys.premium,
    )
    expect(body.items).toEqual([
      {
        v: 1,
        type: 'orderbook',
        source: 'sim',
        symbol: 'BTC/USDT',
        epoch: bookEvents[1]!.epoch,
        seq: 2,
        sourceTime: NOW + 8,
        receivedTime: NOW + 10,
        publishedTime: NOW + 15,
        kind: 'snapshot',
        bids: [['1000', '7.0'], ...bids.slice(1, 25)],
        asks: asks.slice(0, 25),
        depth: 25,
        checksum: bookChecksum([['1000', '7.0'], ...bids.slice(1, 25)], asks.slice(0, 25)),
      },
    ])
  })

  it('shows of everything what the caller may see', async () => {
    const { body } = await gateway.get('/v1/latest?symbol=BTC/USDT', await gateway.newKey('basic'))
    expect(body.items.map(({ type }: { type: string }) => type)).toEqual(['trade'])
    const hiddenTicker = series(
      symbolTopic('ticker', 'HIDDEN', 'closed'),
      NOW,
    )({ type: 'ticker', bid: '1.0' })
    await gateway.ports.cache.apply([hiddenTicker])
    const hidden = await gateway.get('/v1/latest?symbol=HIDDEN', gateway.keys.institutional)
    expect(hidden).toMatchObject({ status: 422, body: { code: 'unknown-symbol' } })
    expect((await gateway.get('/v1/latest?symbol=HIDDEN')).status).toBe(200)
    const { text } = await gateway.get('/v1/latest', gateway.keys.institutional)
    expect(text).not.toMatch(/CONV_2|"closed"/)
  })
})

describe('GET /v1/orderbook', () => {
  it('gives the book now, no deeper than the tier', async () => {
    const { body } = await gateway.get('/v1/orderbook?source=sim&symbol=BTC/USDT&depth=2')
    expect(body).toEqual({
      source: 'sim',
      symbol: 'BTC/USDT',
      epoch: bookEvents[1]!.epoch,
      seq: 2,
      receivedTime: NOW + 10,
      bids: [
        ['1000', '7.0'],
        ['999', '1.00'],
      ],
      asks: asks.slice(0, 2),
      depth: 2,
      checksum: bookChecksum(
        [
          ['1000', '7.0'],
          ['999', '1.00'],
        ],
        asks.slice(0, 2),
      ),
    })
    const premium = await gateway.get(
      '/v1/orderbook?source=sim&symbol=BTC/USDT&depth=100',
      gateway.keys.premium,
    )
    expect(premium.body).toMatchObject({ depth: 25 })
    expect(premium.body.bids).toHaveLength(25)
    const full = await gateway.get('/v1/orderbook?source=sim&symbol=BTC/USDT')
    expect(full.body).toMatchObject({ depth: 0 })
    expect(full.body.asks).toHaveLength(40)
  })

  it('gives the book as it stood at a stored time', async () => {
    const { body } = await gateway.get(`/v1/orderbook?source=sim&symbol=BTC/USDT&at=${NOW + 9}&depth=1`)
    expect(body).toMatchObject({ seq: 1, bids: [['1000', '1.00']] })
    const before = await gateway.get(`/v1/orderbook?source=sim&symbol=BTC/USDT&at=${NOW - 1}`)
    expect(before).toMatchObject({ status: 404, body: { code: 'not-found' } })
    const ahead = await gateway.get('/v1/orderbook?source=sim&symbol=BTC/USDT&at=2100-01-01')
    expect(ahead).toMatchObject({ status: 400 })
  })

  it('gives no book that is not known to be right', async () => {
    const answer = await gateway.get('/v1/orderbook?source=sim&symbol=ETH/USDT')
    expect(answer).toMatchObject({
      status: 503,
      body: { code: 'source-stale' },
      headers: { 'retry-after': '1' },
    })
  })
})

describe('GET /v1/candles', () => {
  it('knows no timeframe that is none, in whatever words', async () => {
    for (const path of [
      '/v1/candles?source=sim&symbol=BTC/USDT&timeframe=bogus',
      '/v1/history/ohlcv?timeframe=bogus',
    ])
      expect(await gateway.get(path)).toMatchObject({ status: 422, body: { code: 'unknown-timeframe' } })
  })

  it('makes candles of the trades stored', async () => {
    const { body } = await gateway.get(
      `/v1/candles?source=sim&symbol=BTC/USDT&timeframe=2m&from=${NOW}&to=${NOW + 60 * MINUTE}`,
    )
    expect(body.next).toBeNull()
    const volume = body.items.reduce((sum: number, { volume }: { volume: string }) => sum + Number(volume), 0)
    expect(volume).toBeCloseTo(0.4)
    expect(body.items[0]).toMatchObject({
      source: 'sim',
      symbol: 'BTC/USDT',
      timeframe: '2m',
      origin: 'computed',
    })
  })

  it('holds to the window of the tier', async () => {
    const path = '/v1/candles?source=sim&symbol=BTC/USDT&timeframe=1d'
    const all = await gateway.get(path)
    const basic = await gateway.get(path, await gateway.newKey('basic'))
    expect(all.body.items.length).toBeGreaterThan(basic.body.items.length)
  })
})

describe('GET /v1/gaps', () => {
  it('lists every hole that the caller may know of', async () => {
    const all = await gateway.get('/v1/gaps')
    expect(itemsIn(all.text)).toBe([gapEvent, bookGap].map(bodyOf).join(','))
    const basic = await gateway.get('/v1/gaps', await gateway.newKey('basic'))
    expect(itemsIn(basic.text)).toBe(bodyOf(gapEvent))
    for (const path of ['symbol=NO/PE', 'source=sim&symbol=NO/PE'])
      expect(await gateway.get(`/v1/gaps?${path}`)).toMatchObject({
        status: 422,
        body: { code: 'unknown-symbol' },
      })
    const none = await gateway.get('/v1/gaps?source=sim&symbol=MATCH_001')
    expect(none).toMatchObject({ status: 200, body: { items: [] } })
    const one = await gateway.get('/v1/gaps?channel=orderbook&source=sim&symbol=ETH/USDT')
    expect(itemsIn(one.text)).toBe(bodyOf(bookGap))
    expect(await gateway.get('/v1/gaps?source=nowhere')).toMatchObject({ status: 422 })
  })
})

describe('GET /v1/odds', () => {
  it('comes from the cache, else from the database, and says which', async () => {
    const hit = await gateway.get('/v1/odds/MATCH_001')
    expect(hit).toMatchObject({ status: 200, headers: { 'x-cache': 'hit' } })
    const old = topicOf('sim', 'odds', 'MATCH_OLD')
    const stored = series(
      old,
      NOW,
    )({ ...price('HOME', '3.00'), eventId: 'MATCH_OLD' } as ReturnType<typeof price>)
    await gateway.ports.store.record({ events: [stored], deadLetters: [] })
    const miss = await gateway.get('/v1/odds/MATCH_OLD')
    expect(miss).toMatchObject({ status: 200, headers: { 'x-cache': 'miss' } })
    expect(itemsIn(miss.text)).toBe(bodyOf(stored))
    expect(await gateway.get('/v1/odds/MATCH_NONE')).toMatchObject({
      status: 404,
      body: { code: 'not-found' },
    })
  })

  it('has a history', async () => {
    const { text } = await gateway.get('/v1/odds/MATCH_001/history')
    expect(itemsIn(text)).toBe(oddsEvents.map(bodyOf).join(','))
  })
})

describe('GET /v1/sources', () => {
  it('lists sources and topics, and of conversations the own ones', async () => {
    const { body } = await gateway.get('/v1/sources', gateway.keys.premium)
    expect(body.items.map(({ id }: { id: string }) => id)).toEqual(['sim'])
    const names = body.items[0].topics.map(
      ({ channel, symbol }: { channel: string; symbol: string }) => `${channel} ${symbol}`,
    )
    expect(names).toContain('status CONV_1')
    expect(names).not.toContain('status CONV_2')
    const basic = await gateway.get('/v1/sources', await gateway.newKey('basic'))
    expect(JSON.stringify(basic.body)).not.toContain('orderbook')
    expect((await gateway.get('/v1/sources')).body.items).toHaveLength(2)
  })
})
