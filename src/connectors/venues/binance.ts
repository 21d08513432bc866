import { fieldsOf, isArray, isObject, parseJson, Unreadable } from '../../market/json.ts'
import { venuePair } from '../../market/symbol.ts'
import type { Instrument, Subscription } from '../connector.ts'
import { nextId, type Venue } from '../venue.ts'
import { aggregateTrades, BinanceDecoder, parseBook, stepsOf } from './binance-frames.ts'

const TIMEFRAMES = [
  ...['1s', '1m', '3m', '5m', '15m', '30m', '1h', '2h', '4h', '6h', '8h', '12h', '1d', '3d', '1w', '1M'],
]

function venueSymbol(symbol: string): string | undefined {
  return venuePair(symbol, (base, quote) => base + quote)
}

/** A ticker is two streams: the best prices as they change, and the day's figures once a second. */
function streamsOf({ channel, symbol, timeframe }: Subscription): string[] {
  const name = venueSymbol(symbol)?.toLowerCase()
  if (name === undefined) return []
  switch (channel) {
    case 'ticker':
      return [`${name}@bookTicker`, `${name}@ticker`]
    case 'trades':
      return [`${name}@aggTrade`]
    case 'orderbook':
      return [`${name}@depth@100ms`]
    case 'ohlcv':
      return [`${name}@kline_${timeframe}`]
    default:
      return []
  }
}

function request(method: string, subscriptions: readonly Subscription[], id: number): readonly string[] {
  const params = subscriptions.flatMap(streamsOf)
  return params.length === 0 ? [] : [JSON.stringify({ method, params, id })]
}

function parseInstruments(body: string): Instrument[] {
  const json = parseJson(body)
  const symbols = isObject(json) ? json.symbols : undefined
  if (!isArray(symbols)) throw new Unreadable('no symbols')
  return symbols.map((entry) => {
    const [name, status = '', base, quote] = fieldsOf(entry, ['symbol', 'status', 'baseAsset', 'quoteAsset'])
    if (name === undefined || base === undefined || quote === undefined) throw new Unreadable('no symbol')
    const pair = { symbol: `${base}/${quote}`, venueSymbol: name, type: 'spot', base, quote } as const
    return { ...pair, ...stepsOf(isObject(entry) ? entry.filters : undefined), status }
  })
}

/** Binance spot. A subscription to a symbol that does not exist is acknowledged, and then stays silent. */
export const venue: Venue = {
  id: 'binance',
  url: 'wss://stream.binance.com:9443',
  restUrl: 'https://api.binance.com',
  docs: 'https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams',
  markets: ['spot'],
  channels: ['ticker', 'trades', 'orderbook', 'ohlcv'],
  timeframes: TIMEFRAMES,
  bookDepths: [100, 500, 1000, 5000],
  defaultBookDepth: 1000,
  limits: {
    messagesPerSecond: 5,
    // 1,024 streams, and a ticker is two; some are asked for again beside what is there.
    subscriptionsPerConnection: 500,
    // So many snapshots of 1,000 levels are within the weight of a minute.
    booksPerConnection: 100,
    subscriptionsPerMessage: 100,
    connects: { count: 300, perMs: 300_000 },
    rest: { count: 6000, perMs: 60_000 },
  },
  // The venue pings every 20 s; we ask sooner, since a dead connection is dearer than a message.
  heartbeat: { silentMs: 25_000, ping: { everyMs: 10_000, frame: () => 'protocol' } },
  book: {
    snapshots: 'rest',
    truncates: false,
    follows: (local, { first = local, last = local }) =>
      last <= local ? 'old' : first > nextId(local) ? 'gap' : 'apply',
  },
  // Ids of aggregate trades; those of single trades are contiguous too.
  trades: { contiguousIds: true },
  endpoint: (url) => (/^wss?:\/\/[^/?]+\/?$/.test(url) ? `${url.replace(/\/$/, '')}/stream` : url),
  venueSymbol,
  subscribe: (subscriptions, id) => request('SUBSCRIBE', subscriptions, id),
  unsubscribe: (subscriptions, id) => request('UNSUBSCRIBE', subscriptions, id),
  createDecoder: (context) => new BinanceDecoder(context),
  bookRequest: {
    path: (name, depth) => `/api/v3/depth?symbol=${encodeURIComponent(name)}&limit=${depth}`,
    weight: (depth) => (depth <= 100 ? 5 : depth <= 500 ? 25 : depth <= 1000 ? 50 : 250),
    parse: parseBook,
  },
  instrumentsRequests: [{ path: '/api/v3/exchangeInfo', weight: 20, parse: parseInstruments }],
  tradesRequest: aggregateTrades('/api/v3/aggTrades', 4, venueSymbol),
}
