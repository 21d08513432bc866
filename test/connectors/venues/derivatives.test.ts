import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Subscription } from '../../../src/connectors/connector.ts'
import { UnknownSymbol, type Venue } from '../../../src/connectors/venue.ts'
import { venueConnector } from '../../../src/connectors/venue-connector.ts'
import { venue as futures } from '../../../src/connectors/venues/binance-futures.ts'
import { venue as bybit } from '../../../src/connectors/venues/bybit.ts'
import { venue as okx } from '../../../src/connectors/venues/okx.ts'
import { OrderBook } from '../../../src/market/order-book.ts'
import { marketOf, symbolOf } from '../../../src/market/symbol.ts'
import { NaiveBook } from '../../market/naive-book.ts'

const parsed = (frames: readonly string[]) => frames.map((frame) => JSON.parse(frame) as unknown)
const book = (ids: { first?: number; last: number; previous?: number }) =>
  ({ kind: 'book', symbol: 'A/B', snapshot: false, bids: [], asks: [], ...ids }) as const

const SWAP = 'BTC/USDT:USDT'
const DATED = 'BTC/USDT:USDT-261225'
const of = (channel: Subscription['channel'], symbol = SWAP): Subscription => ({ channel, symbol })

describe('names of markets', () => {
  it.each<[string, string | undefined, string | undefined, string | undefined]>([
    ['BTC/USDT', 'BTC-USDT', 'BTCUSDT', undefined],
    ['BTC/USDT:USDT', 'BTC-USDT-SWAP', 'BTCUSDT', 'BTCUSDT'],
    ['BTC/USDC:USDC', 'BTC-USDC-SWAP', 'BTCPERP', 'BTCUSDC'],
    ['BTC/USD:BTC', 'BTC-USD-SWAP', 'BTCUSD', undefined],
    ['BTC/USDT:USDT-261225', 'BTC-USDT-261225', 'BTCUSDT-25DEC26', 'BTCUSDT_261225'],
    ['BTC/USDC:USDC-261204', 'BTC-USDC-261204', 'BTC-4DEC26', 'BTCUSDC_261204'],
    ['BTC/USD:BTC-260327', 'BTC-USD-260327', 'BTCUSDH26', undefined],
    ['BTC/USDT:ETH', undefined, undefined, undefined],
    ['BTC/USDT:USDT-26', undefined, undefined, undefined],
    ['BTC/USDT:', undefined, undefined, undefined],
    ['BTC:USDT', undefined, undefined, undefined],
  ])('%s is at OKX %s, at Bybit %s, at Binance futures %s', (symbol, atOkx, atBybit, atBinance) => {
    expect([okx, bybit, futures].map((venue) => venue.venueSymbol(symbol))).toEqual([
      atOkx,
      atBybit,
      atBinance,
    ])
  })

  const asset = fc.stringMatching(/^[A-Z0-9]{1,10}$/)
  const expiry = fc.date({ min: new Date('2025-01-01'), max: new Date('2035-12-31'), noInvalidDate: true })
  const market = fc
    .tuple(asset, fc.constantFrom('USDT', 'USDC', 'USD'), fc.constantFrom('spot', 'swap', 'future'), expiry)
    .map(([base, quote, type, day]) => {
      const settle = type === 'spot' ? {} : { settle: quote === 'USD' ? base : quote }
      const date = day.toISOString().slice(2, 10).replaceAll('-', '')
      return { base, quote, ...settle, ...(type === 'future' && { expiry: date }) }
    })

  it('are read back as they were written', () => {
    fc.assert(
      fc.property(market, (parts) => {
        expect(marketOf(symbolOf(parts))).toMatchObject(parts)
      }),
    )
  })

  /** What the venue's list of instruments says of a market is read back to the symbol whose name it bears. */
  const LISTED: readonly [Venue, (symbol: string, name: string) => string][] = [
    [okx, okxList],
    [bybit, bybitList],
    [futures, futuresList],
  ]
  it.each(LISTED)('go both ways at $id', (venue, list) => {
    fc.assert(
      fc.property(market, (parts) => {
        const symbol = symbolOf(parts)
        const name = venue.venueSymbol(symbol)
        // A code of Bybit names the month alone.
        fc.pre(name !== undefined && !(venue === bybit && parts.quote === 'USD' && 'expiry' in parts))
        const read = venue.instrumentsRequests!.flatMap(({ parse }) => parse(list(symbol, name)))
        expect(read).toContainEqual(expect.objectContaining({ symbol, venueSymbol: name }))
      }),
    )
  })
})

/** Noon of the day of expiry, ms. */
const delivery = (day?: string) =>
  day === undefined ? '0' : String(Date.parse(`20${day.replace(/(..)(..)(..)/, '$1-$2-$3')}T12:00:00Z`))

function okxList(symbol: string, instId: string): string {
  const { type, base, quote, settle = '', expiry } = marketOf(symbol)!
  const pair = type === 'spot' ? { baseCcy: base, quoteCcy: quote } : { instFamily: `${base}-${quote}` }
  const state = { settleCcy: settle, expTime: delivery(expiry), ctVal: '0.01', ctMult: '1', state: 'live' }
  return JSON.stringify({
    code: '0',
    data: [{ instId, ...pair, ...state, tickSz: '0.1', lotSz: '1', minSz: '1' }],
  })
}

function bybitList(ours: string, symbol: string): string {
  const market = marketOf(ours)!
  const contractType = market.type === 'future' ? 'LinearFutures' : 'LinearPerpetual'
  const coins = { baseCoin: market.base, quoteCoin: market.quote, settleCoin: market.settle ?? '' }
  const one = { symbol, contractType, ...coins, deliveryTime: delivery(market.expiry), status: 'Trading' }
  return JSON.stringify({ retCode: 0, result: { list: [one], nextPageCursor: '' } })
}

function futuresList(ours: string, symbol: string): string {
  const { base, quote, settle, type, expiry } = marketOf(ours)!
  const contractType = type === 'future' ? 'CURRENT_QUARTER' : 'PERPETUAL'
  const assets = { baseAsset: base, quoteAsset: quote, marginAsset: settle }
  return JSON.stringify({
    symbols: [{ symbol, contractType, ...assets, deliveryDate: Number(delivery(expiry)), status: 'TRADING' }],
  })
}

describe('okx', () => {
  it('asks for candles and trades on one path, for all else on the other', () => {
    const routes = (['ticker', 'orderbook', 'trades', 'ohlcv', 'funding'] as const).map((one) =>
      okx.route?.(of(one)),
    )
    expect(routes).toEqual(['public', 'public', 'business', 'business', 'public'])
    expect(okx.endpoint?.('ws://127.0.0.1:9/', 'business')).toBe('ws://127.0.0.1:9/ws/v5/business')
  })

  it('asks for two channels for funding, and for liquidations of a kind together, once', () => {
    const wanted = [
      of('funding'),
      of('funding', DATED),
      of('liquidations'),
      of('liquidations', 'BTC/USD:BTC'),
    ]
    expect(parsed(okx.subscribe(wanted, 7))).toEqual([
      {
        id: '7',
        op: 'subscribe',
        args: [
          { channel: 'funding-rate', instId: 'BTC-USDT-SWAP' },
          { channel: 'mark-price', instId: 'BTC-USDT-SWAP' },
          { channel: 'mark-price', instId: 'BTC-USDT-261225' },
          { channel: 'liquidation-orders', instType: 'SWAP' },
        ],
      },
    ])
    const daily = { channel: 'ohlcv', symbol: 'BTC/USDT', timeframe: '1d' } as const
    expect(parsed(okx.subscribe([daily], 8))).toMatchObject([{ args: [{ channel: 'candle1Dutc' }] }])
  })

  it('keeps what another subscription still needs', () => {
    const [liquidations, other] = [of('liquidations'), of('liquidations', 'BTC/USD:BTC')]
    expect(okx.unsubscribe([liquidations], 8, [other])).toEqual([])
    expect(parsed(okx.unsubscribe([other], 9, []))).toMatchObject([{ op: 'unsubscribe' }])
  })

  it.each<[string, { last: number; previous: number }, boolean, string]>([
    ['what names the last message', { previous: 100, last: 117 }, false, 'apply'],
    ['what says that nothing changed', { previous: 100, last: 100 }, false, 'apply'],
    ['ids that begin anew after a maintenance', { previous: 100, last: 3 }, false, 'apply'],
    ['the last message again', { previous: 90, last: 100 }, false, 'old'],
    ['what names a message that never came', { previous: 110, last: 117 }, false, 'gap'],
    ['what is older than the last message', { previous: 70, last: 90 }, false, 'gap'],
    ['what is older than a snapshot', { previous: 70, last: 90 }, true, 'old'],
    ['what reaches over a snapshot', { previous: 95, last: 110 }, true, 'apply'],
    ['what begins behind a snapshot', { previous: 105, last: 110 }, true, 'gap'],
  ])('tells %s', (_, ids, fresh, verdict) => {
    expect(okx.book.follows?.(100, book(ids), fresh)).toBe(verdict)
  })

  it('checks the sum of 25 levels, bids and asks in turn', () => {
    // From OKX's own guide: the sum of "3366.1:7:3366.8:9:3366:6:3368:8", and where the bids end.
    const sums = [
      [
        [
          ['3366.1', '7'],
          ['3366', '6'],
        ],
        [
          ['3366.8', '9'],
          ['3368', '8'],
        ],
        '3366.1:7:3366.8:9:3366:6:3368:8',
      ],
      [
        [['3366.1', '7']],
        [
          ['3366.8', '9'],
          ['3368', '8'],
          ['3372', '8'],
        ],
        '3366.1:7:3366.8:9:3368:8:3372:8',
      ],
    ] as const
    for (const [bids, asks, text] of sums) {
      const held = new OrderBook()
      held.reset(bids, asks)
      expect(okx.book.checksum?.(held)).toBe(crc32(text))
    }
  })

  it('reads a book by REST, and tells a symbol that does not exist', () => {
    const body =
      '{"code":"0","msg":"","data":[{"asks":[["41006.8","0.60038921","0","1"]],"bids":[["41006.3","0.30178218","0","2"]],' +
      '"ts":"1629966436396","seqId":3235851742}]}'
    expect(okx.bookRequest?.parse(body, SWAP)).toEqual({
      ...{ kind: 'book', symbol: SWAP, snapshot: true, last: 3235851742, sourceTime: 1629966436396000 },
      bids: [['41006.3', '0.30178218']],
      asks: [['41006.8', '0.60038921']],
    })
    const unknown = '{"code":"51001","msg":"Instrument ID does not exist","data":[]}'
    expect(() => okx.bookRequest?.parse(unknown, SWAP)).toThrow(UnknownSymbol)
    expect(() =>
      okx.bookRequest?.parse('{"code":"50011","msg":"Too Many Requests","data":[]}', SWAP),
    ).toThrow()
  })

  it('reads what a contract is worth', () => {
    const [, swaps] = okx.instrumentsRequests!
    expect(swaps!.path).toBe('/api/v5/public/instruments?instType=SWAP')
    expect(swaps!.parse(okxList(SWAP, 'BTC-USDT-SWAP'))).toEqual([
      {
        ...{
          symbol: SWAP,
          venueSymbol: 'BTC-USDT-SWAP',
          type: 'swap',
          base: 'BTC',
          quote: 'USDT',
          settle: 'USDT',
        },
        ...{ contractSize: '0.01', tickSize: '0.1', lotSize: '1', minSize: '1', status: 'live' },
      },
    ])
  })
})

describe('bybit', () => {
  it('has a route for each kind of market', () => {
    const routes = ['BTC/USDT', SWAP, DATED, 'BTC/USD:BTC'].map((symbol) =>
      bybit.route?.(of('trades', symbol)),
    )
    expect(routes).toEqual(['spot', 'linear', 'linear', 'inverse'])
    expect(bybit.endpoint?.('ws://127.0.0.1:9', 'linear')).toBe('ws://127.0.0.1:9/v5/public/linear')
  })

  it('asks for the best prices of spot apart, and for what a derivative shares once', () => {
    const book = { ...of('orderbook', 'BTC/USDT'), limit: 100 }
    expect(parsed(bybit.subscribe([of('ticker', 'BTC/USDT'), book], 7))).toEqual([
      {
        req_id: '7',
        op: 'subscribe',
        args: ['tickers.BTCUSDT', 'orderbook.1.BTCUSDT', 'orderbook.200.BTCUSDT'],
      },
    ])
    const shared = [of('ticker'), of('funding'), of('openinterest')]
    expect(parsed(bybit.subscribe(shared, 8))).toMatchObject([{ args: ['tickers.BTCUSDT'] }])
  })

  it('asks apart for what the connection has, since that voids a message', () => {
    const wanted = [of('funding'), of('trades')]
    expect(parsed(bybit.subscribe(wanted, 7, [of('ticker')]))).toMatchObject([
      { args: ['publicTrade.BTCUSDT'] },
      { args: ['tickers.BTCUSDT'] },
    ])
    expect(bybit.unsubscribe([of('funding')], 8, [of('ticker')])).toEqual([])
  })

  it.each<[string, number, string]>([
    ['the next message', 101, 'apply'],
    ['the same message again', 100, 'old'],
    ['a message that leaves one out', 102, 'gap'],
    ['a message out of order', 99, 'gap'],
  ])('tells %s', (_, last, verdict) => {
    expect(bybit.book.follows?.(100, book({ last }))).toBe(verdict)
  })

  it('goes on where a list of instruments is cut', () => {
    const [, linear] = bybit.instrumentsRequests!
    const part = '{"retCode":0,"result":{"list":[],"nextPageCursor":"first%3DBTCUSDT%26last%3DX"}}'
    const path = '/v5/market/instruments-info?category=linear&limit=1000&cursor=first%3DBTCUSDT%26last%3DX'
    expect(linear!.next?.(part)).toBe(path)
    expect(linear!.next?.(part.replace(/first[^"]*/, ''))).toBeUndefined()
  })
})

describe('binance-futures', () => {
  it('asks for the book and the best prices on one path, for all else on the other', () => {
    const channels = ['orderbook', 'ticker', 'trades', 'ohlcv', 'funding', 'liquidations'] as const
    const routes = channels.map((channel) => futures.route?.(of(channel)))
    expect(routes).toEqual(['public', 'public', 'market', 'market', 'market', 'market'])
    expect(futures.endpoint?.('wss://fstream.binance.com', 'market')).toBe(
      'wss://fstream.binance.com/market/stream',
    )
    expect(parsed(futures.subscribe([of('funding'), of('liquidations', DATED)], 7))).toEqual([
      { method: 'SUBSCRIBE', params: ['btcusdt@markPrice@1s', 'btcusdt_261225@forceOrder'], id: 7 },
    ])
  })

  it.each<[string, { first: number; last: number; previous: number }, boolean, string]>([
    ['the diff that follows', { first: 103, last: 110, previous: 100 }, false, 'apply'],
    ['a diff that leaves one out', { first: 112, last: 120, previous: 110 }, false, 'gap'],
    ['a diff that names one before the last', { first: 99, last: 105, previous: 98 }, false, 'gap'],
    ['a diff that came before', { first: 90, last: 100, previous: 89 }, false, 'old'],
    ['a diff of before the snapshot', { first: 90, last: 99, previous: 89 }, true, 'old'],
    ['the diff that ends where the snapshot stands', { first: 90, last: 100, previous: 89 }, true, 'apply'],
    ['the first diff, which holds the snapshot', { first: 95, last: 105, previous: 94 }, true, 'apply'],
    ['the first diff, right behind the snapshot', { first: 103, last: 105, previous: 100 }, true, 'apply'],
    ['a first diff that leaves one out', { first: 103, last: 105, previous: 101 }, true, 'gap'],
  ])('tells %s', (_, ids, fresh, verdict) => {
    expect(futures.book.follows?.(100, book(ids), fresh)).toBe(verdict)
  })

  it('reads its snapshot, which has times, and knows its weight', () => {
    const body =
      '{"lastUpdateId":1027024,"E":1589436922972,"T":1589436922959,"bids":[["4.0","431.0"]],"asks":[]}'
    const snapshot = { snapshot: true, first: 1027024, last: 1027024, bids: [['4.0', '431.0']], asks: [] }
    expect(futures.bookRequest?.parse(body, SWAP)).toMatchObject(snapshot)
    expect([50, 100, 500, 1000].map((depth) => futures.bookRequest?.weight(depth))).toEqual([2, 5, 10, 20])
  })
})

describe('a book under lost, doubled and moved messages', () => {
  /** Each venue's ids for the same changes. */
  const NUMBERED: readonly [Venue, (n: number) => { first?: number; last: number; previous?: number }][] = [
    [okx, (n) => ({ previous: n * 7, last: (n + 1) * 7 })],
    [bybit, (n) => ({ first: n + 1, last: n + 1 })],
    [futures, (n) => ({ previous: n * 5, first: n * 5 + 2, last: (n + 1) * 5 })],
  ]

  it.each(NUMBERED)('of $id is the true one whenever no hole is told', (venue, idsOf) => {
    const faults = fc.array(fc.constantFrom('none', 'none', 'none', 'drop', 'double', 'swap'), {
      minLength: 20,
    })
    fc.assert(
      fc.property(faults, (schedule) => {
        const sent = schedule.map((_, n) => ({
          n,
          level: [String(n % 5), String(n + 1)] as const,
          ids: idsOf(n),
        }))
        const arriving = sent.flatMap((one, n) => {
          if (schedule[n] === 'drop' || schedule[n - 1] === 'swap') return []
          if (schedule[n] === 'double') return [one, one]
          const next = sent[n + 1]
          return schedule[n] === 'swap' && next ? [next, one] : [one]
        })
        const held = new NaiveBook(0)
        let local = idsOf(-1).last
        let fresh = true
        for (const { n, level, ids } of arriving) {
          const verdict = venue.book.follows!(local, book(ids), fresh)
          if (verdict === 'old') continue
          // The hole is told, and a snapshot taken.
          if (verdict === 'gap') {
            held.apply([], [], true)
            for (const one of sent.slice(0, n)) held.apply([one.level], [])
          }
          held.apply([level], [])
          fresh = false
          local = ids.last
          const truth = new NaiveBook(0)
          for (const one of sent.slice(0, n + 1)) truth.apply([one.level], [])
          expect(held.top('bids', 10)).toEqual(truth.top('bids', 10))
        }
      }),
    )
  })
})

it('is refused where a market cannot have it', () => {
  const refuse = (venue: Venue, subscription: Subscription) => venueConnector(venue).refuse(subscription)
  expect(refuse(okx, of('funding', 'BTC/USDT'))).toMatch(/spot market, which has no funding/)
  expect(refuse(okx, of('funding'))).toBeUndefined()
  expect(refuse(futures, of('openinterest'))).toBeUndefined()
  expect(refuse(futures, of('ticker', 'BTC/USDT'))).toMatch(/such as BTC\/USDT:USDT/)
})
