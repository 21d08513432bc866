import { describe, expect, it } from 'vitest'
import type { DecodedBook, Subscription } from '../../../src/connectors/connector.ts'
import type { Venue } from '../../../src/connectors/venue.ts'
import { venue as binance } from '../../../src/connectors/venues/binance.ts'
import { venue as coinbase } from '../../../src/connectors/venues/coinbase.ts'
import { venue as kraken } from '../../../src/connectors/venues/kraken.ts'
import { venue as krakenV1 } from '../../../src/connectors/venues/kraken-v1.ts'

const WANTED: readonly Subscription[] = [
  { channel: 'ticker', symbol: 'BTC/USD' },
  { channel: 'trades', symbol: 'BTC/USD' },
  { channel: 'orderbook', symbol: 'BTC/USD', limit: 20 },
  { channel: 'orderbook', symbol: 'DOGE/USD', limit: 25 },
  { channel: 'ohlcv', symbol: 'BTC/USD', timeframe: '4h' },
]

/** Of the venue's only list. */
const instruments = (venue: Venue, body: string) => venue.instrumentsRequests?.[0]?.parse(body)

const parsed = (frames: readonly string[]) => frames.map((frame) => JSON.parse(frame) as unknown)

describe('binance', () => {
  it('asks for two streams for a ticker, and for all in one message', () => {
    const streams = ['btcusd@bookTicker', 'btcusd@ticker', 'btcusd@aggTrade', 'btcusd@depth@100ms']
    const params = [...streams, 'dogeusd@depth@100ms', 'btcusd@kline_4h']
    expect(parsed(binance.subscribe(WANTED, 7))).toEqual([{ method: 'SUBSCRIBE', params, id: 7 }])
    expect(parsed(binance.unsubscribe(WANTED.slice(1, 2), 8))).toEqual([
      { method: 'UNSUBSCRIBE', params: ['btcusd@aggTrade'], id: 8 },
    ])
  })

  it('connects to the combined stream, unless the URL says where', () => {
    const endpoint = (url: string) => binance.endpoint?.(url, '')
    expect(endpoint('ws://127.0.0.1:9443')).toBe('ws://127.0.0.1:9443/stream')
    expect(endpoint('wss://stream.binance.com:9443/')).toBe('wss://stream.binance.com:9443/stream')
    expect(endpoint('ws://127.0.0.1:1/ws')).toBe('ws://127.0.0.1:1/ws')
    expect(endpoint('ws://h/stream?streams=a@trade')).toBe('ws://h/stream?streams=a@trade')
  })

  it.each<[string, DecodedBook['first'], DecodedBook['last'], number | bigint, string | undefined]>([
    ['a diff of the past', 90, 100, 100, 'old'],
    ['the first diff after a snapshot, which it overlaps', 95, 105, 100, 'apply'],
    ['the diff that follows', 101, 105, 100, 'apply'],
    ['a diff that leaves one out', 102, 105, 100, 'gap'],
    ['a diff that follows above 2^53', 9007199254740993n, 9007199254740994n, 9007199254740992n, 'apply'],
    ['a diff that leaves one out above 2^53', 9007199254740994n, 9007199254740995n, 9007199254740992n, 'gap'],
    ['a diff across 2^53', 9007199254740992n, 9007199254740993n, Number.MAX_SAFE_INTEGER, 'apply'],
  ])('tells %s', (_, first, last, local, verdict) => {
    const update = { kind: 'book', symbol: 'A/B', snapshot: false, bids: [], asks: [], first, last } as const
    expect(binance.book.follows?.(local, update)).toBe(verdict)
  })

  it('reads its snapshot and its list of instruments', () => {
    const body =
      '{"lastUpdateId":1027024,"bids":[["4.00000000","431.00000000"]],"asks":[["4.00000200","0.0"]]}'
    const book = {
      ...{ kind: 'book', symbol: 'BNB/BTC', snapshot: true, first: 1027024, last: 1027024 },
      bids: [['4.00000000', '431.00000000']],
      asks: [['4.00000200', '0']],
    }
    expect(binance.bookRequest?.parse(body, 'BNB/BTC')).toEqual(book)
    expect(binance.bookRequest?.parse(body.replaceAll(':', ': '), 'BNB/BTC')).toEqual(book)
    expect(() => binance.bookRequest?.parse('{"code":-1121,"msg":"Invalid symbol."}', 'BNB/BTC')).toThrow()
    expect(binance.bookRequest?.path('BNBBTC', 1000)).toBe('/api/v3/depth?symbol=BNBBTC&limit=1000')
    expect([100, 500, 1000, 5000].map((depth) => binance.bookRequest?.weight(depth))).toEqual([
      5, 25, 50, 250,
    ])
    const info =
      '{"symbols":[{"symbol":"ETHBTC","status":"TRADING","baseAsset":"ETH","quoteAsset":"BTC","x":1.50,' +
      '"filters":[{"filterType":"PRICE_FILTER","minPrice":"0.00001000","tickSize":"0.00001000"},' +
      '{"filterType":"LOT_SIZE","minQty":"0.00010000","stepSize":"0.00010000"},{"filterType":"NEW"}]}]}'
    expect(instruments(binance, info)).toEqual([
      {
        ...{ symbol: 'ETH/BTC', venueSymbol: 'ETHBTC', type: 'spot', base: 'ETH', quote: 'BTC' },
        ...{ tickSize: '0.00001000', lotSize: '0.00010000', minSize: '0.00010000', status: 'TRADING' },
      },
    ])
  })
})

describe('coinbase', () => {
  it('asks for each product in a message of its own, and for heartbeats with its trades', () => {
    expect(parsed(coinbase.subscribe(WANTED.slice(0, 4), 7))).toEqual([
      {
        type: 'subscribe',
        product_ids: ['BTC-USD'],
        channels: ['ticker', 'matches', 'heartbeat', 'level2_batch'],
      },
      { type: 'subscribe', product_ids: ['DOGE-USD'], channels: ['level2_batch'] },
    ])
    expect(parsed(coinbase.unsubscribe(WANTED.slice(0, 1), 8))).toEqual([
      { type: 'unsubscribe', product_ids: ['BTC-USD'], channels: ['ticker'] },
    ])
  })

  it('reads its list of products', () => {
    const body =
      '[{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","quote_increment":"0.01",' +
      '"base_increment":"0.00000001","min_market_funds":"1","status":"online"}]'
    expect(instruments(coinbase, body)).toEqual([
      {
        ...{ symbol: 'BTC/USD', venueSymbol: 'BTC-USD', type: 'spot', base: 'BTC', quote: 'USD' },
        ...{ tickSize: '0.01', lotSize: '0.00000001', status: 'online' },
      },
    ])
  })
})

const PAIRS = `{"error":[],"result":{
  "XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","pair_decimals":1,"lot_decimals":8,"ordermin":"0.00005",
    "tick_size":"0.1","status":"online"},
  "XDGUSD":{"altname":"XDGUSD","wsname":"XDG/USD","status":"cancel_only"},
  "XBTUSD.d":{"altname":"XBTUSD.d"}}}`

describe('kraken', () => {
  it('asks in one message for what is asked alike, at a depth that Kraken has', () => {
    expect(parsed(kraken.subscribe(WANTED, 7))).toEqual([
      {
        method: 'subscribe',
        params: { channel: 'ticker', event_trigger: 'bbo', symbol: ['BTC/USD'] },
        req_id: 7,
      },
      { method: 'subscribe', params: { channel: 'trade', snapshot: true, symbol: ['BTC/USD'] }, req_id: 7 },
      {
        method: 'subscribe',
        params: { channel: 'book', depth: 25, snapshot: true, symbol: ['BTC/USD', 'DOGE/USD'] },
        req_id: 7,
      },
      {
        method: 'subscribe',
        params: { channel: 'ohlc', interval: 240, snapshot: true, symbol: ['BTC/USD'] },
        req_id: 7,
      },
    ])
  })

  it('reads its list of pairs, which REST still names as v1 does', () => {
    expect(instruments(kraken, PAIRS)).toEqual([
      {
        ...{ symbol: 'BTC/USD', venueSymbol: 'BTC/USD', type: 'spot', base: 'BTC', quote: 'USD' },
        ...{ tickSize: '0.1', lotSize: '0.00000001', minSize: '0.00005', status: 'online' },
      },
      {
        ...{ symbol: 'DOGE/USD', venueSymbol: 'DOGE/USD', type: 'spot', base: 'DOGE', quote: 'USD' },
        status: 'cancel_only',
      },
    ])
  })
})

describe('kraken-v1', () => {
  it('asks for pairs by their names of v1', () => {
    expect(parsed(krakenV1.subscribe(WANTED.slice(2), 7))).toEqual([
      {
        event: 'subscribe',
        reqid: 7,
        pair: ['XBT/USD', 'XDG/USD'],
        subscription: { name: 'book', depth: 25 },
      },
      { event: 'subscribe', reqid: 7, pair: ['XBT/USD'], subscription: { name: 'ohlc', interval: 240 } },
    ])
    expect(instruments(krakenV1, PAIRS)).toMatchObject([
      { symbol: 'BTC/USD', venueSymbol: 'XBT/USD', status: 'online' },
      { symbol: 'DOGE/USD', venueSymbol: 'XDG/USD', status: 'cancel_only' },
    ])
  })
})

it.each([binance, coinbase, kraken, krakenV1])('$id names no symbol that is no pair', (venue) => {
  for (const symbol of ['BTC', 'BTC/', '/USD', 'A/B/C', 'A B/C', '', 'BTC"/USD'])
    expect(venue.venueSymbol(symbol)).toBeUndefined()
})
