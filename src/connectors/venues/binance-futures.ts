import type { OpenInterest } from '../../market/event.ts'
import { decimalOf, fieldsOf, isArray, isObject, parseJson, Unreadable } from '../../market/json.ts'
import { expiryDay, marketOf, symbolOf } from '../../market/symbol.ts'
import { epochMicros } from '../../market/time.ts'
import type { Decoded, DecodedBook, Instrument, Subscription } from '../connector.ts'
import { attempt, type Venue } from '../venue.ts'
import { aggregateTrades, BinanceDecoder, parseBook, stepsOf } from './binance-frames.ts'

const TIMEFRAMES = [
  ...['1m', '3m', '5m', '15m', '30m', '1h', '2h', '4h', '6h', '8h', '12h', '1d', '3d', '1w', '1M'],
]

/** `BTCUSDT` perpetual, `BTCUSDT_261225` dated; all are settled in their quote asset. */
function venueSymbol(symbol: string): string | undefined {
  const market = marketOf(symbol)
  if (market?.settle === undefined || market.settle !== market.quote) return undefined
  const pair = market.base + market.quote
  return market.expiry === undefined ? pair : `${pair}_${market.expiry}`
}

function streamOf({ channel, symbol, timeframe }: Subscription): string {
  const name = venueSymbol(symbol)?.toLowerCase()
  switch (channel) {
    case 'ticker':
      return `${name}@bookTicker`
    case 'trades':
      return `${name}@aggTrade`
    case 'orderbook':
      return `${name}@depth@100ms`
    case 'funding':
      return `${name}@markPrice@1s`
    case 'liquidations':
      return `${name}@forceOrder`
    default:
      return `${name}@kline_${timeframe}`
  }
}

function request(method: string, subscriptions: readonly Subscription[], id: number): readonly string[] {
  return [JSON.stringify({ method, params: subscriptions.map(streamOf), id })]
}

/**
 * A diff holds every change behind `pu` up to `u`. Onto a fresh snapshot, which may lie between the two, goes the first
 * that reaches it; from then on `pu` must be the `u` before.
 */
function follows(local: number | bigint, { last = local, previous }: DecodedBook, fresh = false) {
  if (last < local || (last === local && !fresh)) return 'old'
  if (previous === undefined) return 'gap'
  return previous === local || (fresh && previous < local) ? 'apply' : 'gap'
}

const CONTRACT = [
  'symbol',
  'status',
  'contractType',
  'baseAsset',
  'quoteAsset',
  'marginAsset',
  'deliveryDate',
]

function parseInstruments(body: string): Instrument[] {
  const json = parseJson(body)
  const symbols = isObject(json) ? json.symbols : undefined
  if (!isArray(symbols)) throw new Unreadable('no symbols')
  return symbols.flatMap((entry) => {
    const [name, status = '', kind, base, quote, settle, delivery] = fieldsOf(entry, CONTRACT)
    if (name === undefined || base === undefined || quote === undefined || settle === undefined) return []
    const dated = !kind?.includes('PERPETUAL')
    const expiry = dated ? epochMicros(delivery) : undefined
    const day = expiry === undefined ? undefined : expiryDay(expiry)
    const symbol = symbolOf({ base, quote, settle, ...(day !== undefined && { expiry: day }) })
    // Contracts in preparation, and those that are none of these kinds.
    if (venueSymbol(symbol) !== name) return []
    const market = {
      symbol,
      venueSymbol: name,
      type: dated ? 'future' : 'swap',
      base,
      quote,
      settle,
    } as const
    return [{ ...market, expiry, ...stepsOf(isObject(entry) ? entry.filters : undefined), status }]
  })
}

/** The answer must be about what was asked for. */
function decodeOpenInterest(body: string, symbol: string): Decoded {
  return attempt('openinterest', symbol, () => {
    const [name, amount, time] = fieldsOf(parseJson(body), ['symbol', 'openInterest', 'time'])
    if (name !== venueSymbol(symbol)) throw new Unreadable('open interest of another symbol')
    const payload: OpenInterest = { type: 'openinterest', amount: decimalOf(amount, 'open interest') }
    return { kind: 'event', channel: 'openinterest', symbol, sourceTime: epochMicros(time), payload }
  })
}

/** The best prices and the book are on one path, everything else on another; on the wrong one a stream stays silent. */
function route({ channel }: Subscription): string {
  return channel === 'orderbook' || channel === 'ticker' ? 'public' : 'market'
}

/**
 * Binance USDⓈ-M futures, perpetual and dated. Its ticker is the best prices alone: the day's figures are on the other
 * path. Open interest has no stream and is polled. A subscription to a symbol that does not exist is acknowledged, and silent.
 */
export const venue: Venue = {
  id: 'binance-futures',
  url: 'wss://fstream.binance.com',
  restUrl: 'https://fapi.binance.com',
  docs: 'https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams',
  markets: ['swap', 'future'],
  channels: ['ticker', 'trades', 'orderbook', 'ohlcv', 'funding', 'openinterest', 'liquidations'],
  timeframes: TIMEFRAMES,
  bookDepths: [5, 10, 20, 50, 100, 500, 1000],
  defaultBookDepth: 1000,
  limits: {
    messagesPerSecond: 10,
    subscriptionsPerConnection: 1000,
    // So many snapshots of 1,000 levels are within the weight of a minute.
    booksPerConnection: 100,
    subscriptionsPerMessage: 100,
    connects: { count: 300, perMs: 300_000 },
    rest: { count: 2400, perMs: 60_000 },
  },
  // The venue pings only every 3 minutes.
  heartbeat: {
    silentMs: 25_000,
    ping: { everyMs: 10_000, frame: () => 'protocol' },
    // The mark price comes every second.
    quietMs: ({ channel }) => (channel === 'funding' ? 15_000 : undefined),
  },
  book: { snapshots: 'rest', truncates: false, follows },
  // Ids of aggregate trades.
  trades: { contiguousIds: true },
  route,
  endpoint: (url, path) => `${url.replace(/\/+$/, '')}/${path || 'public'}/stream`,
  venueSymbol,
  subscribe: (subscriptions, id) => request('SUBSCRIBE', subscriptions, id),
  unsubscribe: (subscriptions, id) => request('UNSUBSCRIBE', subscriptions, id),
  createDecoder: (context) => new BinanceDecoder(context),
  bookRequest: {
    path: (name, depth) => `/fapi/v1/depth?symbol=${encodeURIComponent(name)}&limit=${depth}`,
    weight: (depth) => (depth <= 50 ? 2 : depth <= 100 ? 5 : depth <= 500 ? 10 : 20),
    parse: parseBook,
  },
  instrumentsRequests: [{ path: '/fapi/v1/exchangeInfo', weight: 1, parse: parseInstruments }],
  tradesRequest: aggregateTrades('/fapi/v1/aggTrades', 20, venueSymbol),
  polled: [
    {
      channel: 'openinterest',
      everyMs: 15_000,
      weight: 1,
      path: (name) => `/fapi/v1/openInterest?symbol=${encodeURIComponent(name)}`,
      decode: decodeOpenInterest,
    },
  ],
}
