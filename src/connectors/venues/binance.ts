import type { Candle, Ticker, Trade, VenueId } from '../../market/event.ts'
import {
  asText,
  decimalOf,
  fieldsOf,
  idOf,
  isArray,
  isObject,
  type JsonObject,
  levelsOf,
  optionalDecimal,
  parseJson,
  Unreadable,
} from '../../market/json.ts'
import { Scanner } from '../../market/scanner.ts'
import { venuePair } from '../../market/symbol.ts'
import { epochMicros } from '../../market/time.ts'
import type { Decoded, DecodedBook, Instrument, Subscription } from '../connector.ts'
import { attempt, type Decoder, type DecoderContext, nextId, unreadable, type Venue } from '../venue.ts'

type Values = readonly (string | undefined)[]

/** Field names in the order of Binance's frames; the first three of each are event time, symbol and what it is. */
const BOOK_TICKER = ['u', 's', 'b', 'B', 'a', 'A'] as const
const TICKER = ['E', 's', 'c', 'B', 'b', 'a', 'A', 'o', 'h', 'l', 'v'] as const
const AGG_TRADE = ['E', 's', 'a', 'p', 'q', 'T', 'm'] as const
const TRADE = ['E', 's', 't', 'p', 'q', 'T', 'm'] as const
const KLINE = ['t', 's', 'i', 'o', 'c', 'h', 'l', 'v', 'n', 'x', 'q'] as const

/** The symbol of a book message, also of one that is cut off. */
const BOOK_NAME = /"depthUpdate","E":\d+,"s":"([^"]{1,64})"/

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

class BinanceDecoder implements Decoder {
  readonly #context: DecoderContext
  readonly #scanner = new Scanner()

  constructor(context: DecoderContext) {
    this.#context = context
  }

  decode(frame: string, emit: (update: Decoded) => void): void {
    let update: Decoded
    try {
      update = this.#scan(frame) ?? this.#parse(frame)
    } catch (error) {
      update = unreadable(error, frame, BOOK_NAME, this.#context)
    }
    emit(update)
  }

  /** The usual frames, raw or wrapped as `{"stream":…,"data":…}`. */
  #scan(frame: string): Decoded | undefined {
    const scanner = this.#scanner
    scanner.begin(frame)
    const wrapped = scanner.skip('{"stream":"')
    if (wrapped && !scanner.skipPast('","data":')) return undefined
    const end = wrapped ? '}' : ''
    if (scanner.skip('{"e":"depthUpdate","E":')) return this.#scanBook(end)
    if (scanner.skip('{"e":"kline","E":')) return this.#scanCandle(end)
    if (scanner.sees('{"u":')) return this.#scanFields(BOOK_TICKER, end, (values) => this.#bookTicker(values))
    if (scanner.sees('{"e":"aggTrade"'))
      return this.#scanFields(AGG_TRADE, end, (values) => this.#trade(values))
    if (scanner.sees('{"e":"trade"')) return this.#scanFields(TRADE, end, (values) => this.#trade(values))
    if (scanner.sees('{"e":"24hrTicker"'))
      return this.#scanFields(TICKER, end, (values) => this.#ticker(values))
    return undefined
  }

  #scanFields(names: readonly string[], end: string, read: (values: Values) => Decoded): Decoded | undefined {
    const values = this.#scanner.fields(names)
    return values && this.#scanner.skip(end) && this.#scanner.ends() ? read(values) : undefined
  }

  #scanBook(end: string): Decoded | undefined {
    const scanner = this.#scanner
    const time = scanner.id()
    if (time === undefined || !scanner.skip(',"s":"')) return undefined
    const name = scanner.text()
    const first = scanner.skip(',"U":') ? scanner.id() : undefined
    const last = scanner.skip(',"u":') ? scanner.id() : undefined
    const bids = scanner.skip(',"b":') ? scanner.levels() : undefined
    const asks = scanner.skip(',"a":') ? scanner.levels() : undefined
    if (name === undefined || first === undefined || last === undefined || !bids || !asks) return undefined
    if (!scanner.skip('}') || !scanner.skip(end) || !scanner.ends()) return undefined
    return this.#of(name, (symbol) => update(symbol, time, { first, last, bids, asks }))
  }

  #scanCandle(end: string): Decoded | undefined {
    const scanner = this.#scanner
    const time = scanner.id()
    if (time === undefined || !scanner.skip(',"s":"')) return undefined
    const name = scanner.text()
    if (name === undefined || !scanner.skip(',"k":')) return undefined
    const values = scanner.fields(KLINE)
    if (!values || !scanner.skip('}') || !scanner.skip(end) || !scanner.ends()) return undefined
    return this.#candle(String(time), name, values)
  }

  /** Everything else: answers, announcements, unusual spellings. */
  #parse(frame: string): Decoded {
    const json = parseJson(frame)
    if (!isObject(json)) throw new Unreadable('no object')
    const data = isObject(json.data) ? json.data : json
    const type = asText(data.e)
    switch (type) {
      case 'depthUpdate':
        return this.#parseBook(data)
      case 'kline':
        return this.#candle(asText(data.E), asText(data.s), fieldsOf(data.k, KLINE))
      case 'aggTrade':
        return this.#trade(fieldsOf(data, AGG_TRADE))
      case 'trade':
        return this.#trade(fieldsOf(data, TRADE))
      case '24hrTicker':
        return this.#ticker(fieldsOf(data, TICKER))
      case 'serverShutdown':
        return { kind: 'shutdown', reason: 'the venue announced a shutdown' }
      case undefined:
        return 'u' in data && 's' in data ? this.#bookTicker(fieldsOf(data, BOOK_TICKER)) : answer(json)
      default:
        return { kind: 'ignored', what: 'type' }
    }
  }

  #parseBook(data: JsonObject): Decoded {
    return this.#of(asText(data.s), (symbol) =>
      attempt('orderbook', symbol, () =>
        update(symbol, idOf(asText(data.E), 'E'), {
          first: idOf(asText(data.U), 'U'),
          last: idOf(asText(data.u), 'u'),
          bids: levelsOf(data.b),
          asks: levelsOf(data.a),
        }),
      ),
    )
  }

  /** Binance sends no time with the best prices. */
  #bookTicker([id, name, bid, bidSize, ask, askSize]: Values): Decoded {
    return this.#of(name, (symbol) =>
      attempt('ticker', symbol, () => {
        const last = idOf(id, 'u')
        const payload: Ticker = {
          type: 'ticker',
          bid: decimalOf(bid, 'bid'),
          bidSize: decimalOf(bidSize, 'bid size'),
          ask: decimalOf(ask, 'ask'),
          askSize: decimalOf(askSize, 'ask size'),
        }
        return { kind: 'event', channel: 'ticker', symbol, venueSeq: [last, last], payload }
      }),
    )
  }

  #ticker([time, name, last, bidSize, bid, ask, askSize, open, high, low, volume]: Values): Decoded {
    return this.#of(name, (symbol) =>
      attempt('ticker', symbol, () => {
        const payload: Ticker = {
          type: 'ticker',
          bid: optionalDecimal(bid, 'bid'),
          bidSize: optionalDecimal(bidSize, 'bid size'),
          ask: optionalDecimal(ask, 'ask'),
          askSize: optionalDecimal(askSize, 'ask size'),
          last: optionalDecimal(last, 'last'),
          open: optionalDecimal(open, 'open'),
          high: optionalDecimal(high, 'high'),
          low: optionalDecimal(low, 'low'),
          volume: optionalDecimal(volume, 'volume'),
        }
        return { kind: 'event', channel: 'ticker', symbol, sourceTime: epochMicros(time), payload }
      }),
    )
  }

  /** `m`: the buyer was the maker, so the taker sold. */
  #trade([time, name, id, price, size, tradeTime, buyerIsMaker]: Values): Decoded {
    return this.#of(name, (symbol) =>
      attempt('trades', symbol, () => {
        const tradeId = idOf(id, 'trade id')
        const payload: Trade = {
          type: 'trade',
          id: String(tradeId),
          price: decimalOf(price, 'price'),
          size: decimalOf(size, 'size'),
          side: buyerIsMaker === 'true' ? 'sell' : buyerIsMaker === 'false' ? 'buy' : 'unknown',
        }
        const venueSeq = [tradeId, tradeId] as const
        return {
          kind: 'event',
          channel: 'trades',
          symbol,
          sourceTime: epochMicros(tradeTime ?? time),
          venueSeq,
          payload,
        }
      }),
    )
  }

  #candle(time: string | undefined, name: string | undefined, values: Values): Decoded {
    const [openTime, , timeframe, open, close, high, low, volume, trades, closed, quoteVolume] = values
    return this.#of(name, (symbol) =>
      attempt('ohlcv', symbol, () => {
        const opened = epochMicros(openTime)
        if (opened === undefined || timeframe === undefined) throw new Unreadable('candle without its time')
        const payload: Candle = {
          type: 'ohlcv',
          timeframe,
          openTime: opened,
          open: decimalOf(open, 'open'),
          high: decimalOf(high, 'high'),
          low: decimalOf(low, 'low'),
          close: decimalOf(close, 'close'),
          volume: decimalOf(volume, 'volume'),
          quoteVolume: optionalDecimal(quoteVolume, 'quote volume'),
          trades: trades === undefined ? undefined : Number(idOf(trades, 'number of trades')),
          closed: closed === 'true',
          origin: 'venue',
          revision: 0,
        }
        return { kind: 'event', channel: 'ohlcv', symbol, timeframe, sourceTime: epochMicros(time), payload }
      }),
    )
  }

  #of(name: string | undefined, read: (symbol: string) => Decoded): Decoded {
    if (name === undefined) throw new Unreadable('no symbol')
    const symbol = this.#context.symbolOf(name)
    return symbol === undefined ? { kind: 'ignored', what: 'symbol' } : read(symbol)
  }
}

function update(
  symbol: string,
  time: VenueId,
  { first, last, bids, asks }: Required<Pick<DecodedBook, 'first' | 'last' | 'bids' | 'asks'>>,
): Decoded {
  return { kind: 'book', symbol, snapshot: false, bids, asks, sourceTime: epochMicros(time), first, last }
}

/** Answers to requests; an error may stand by itself or in a field. */
function answer(json: JsonObject): Decoded {
  const id = asText(json.id)
  const requestId = id === undefined ? undefined : Number(id)
  const error = isObject(json.error) ? json.error : json
  const reason = asText(error.msg)
  if (reason !== undefined) return { kind: 'refused', requestId, reason }
  if ('result' in json && requestId !== undefined) return { kind: 'acknowledged', requestId }
  return { kind: 'ignored', what: 'type' }
}

function parseSnapshot(body: string, symbol: string): DecodedBook {
  const scanner = new Scanner()
  scanner.begin(body)
  const id = scanner.skip('{"lastUpdateId":') ? scanner.id() : undefined
  const bids = scanner.skip(',"bids":') ? scanner.levels() : undefined
  const asks = scanner.skip(',"asks":') ? scanner.levels() : undefined
  if (id !== undefined && bids && asks)
    return { kind: 'book', symbol, snapshot: true, bids, asks, first: id, last: id }
  const json = parseJson(body)
  if (!isObject(json)) throw new Unreadable('no object')
  const last = idOf(asText(json.lastUpdateId), 'lastUpdateId')
  const levels = { bids: levelsOf(json.bids), asks: levelsOf(json.asks) }
  return { kind: 'book', symbol, snapshot: true, ...levels, first: last, last }
}

function parseInstruments(body: string): Instrument[] {
  const json = parseJson(body)
  const symbols = isObject(json) ? json.symbols : undefined
  if (!isArray(symbols)) throw new Unreadable('no symbols')
  return symbols.map((entry) => {
    const [name, status = '', base, quote] = fieldsOf(entry, ['symbol', 'status', 'baseAsset', 'quoteAsset'])
    if (name === undefined || base === undefined || quote === undefined) throw new Unreadable('no symbol')
    return { symbol: `${base}/${quote}`, venueSymbol: name, status }
  })
}

/** Binance spot. A subscription to a symbol that does not exist is acknowledged, and then stays silent. */
export const venue: Venue = {
  id: 'binance',
  url: 'wss://stream.binance.com:9443',
  restUrl: 'https://api.binance.com',
  docs: 'https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams',
  channels: ['ticker', 'trades', 'orderbook', 'ohlcv'],
  timeframes: TIMEFRAMES,
  bookDepths: [100, 500, 1000, 5000],
  defaultBookDepth: 1000,
  limits: {
    messagesPerSecond: 5,
    // 1,024 streams, and a ticker is two.
    subscriptionsPerConnection: 512,
    subscriptionsPerMessage: 100,
    connects: { count: 300, perMs: 300_000 },
    restWeightPerMinute: 6000,
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
    parse: parseSnapshot,
  },
  instrumentsRequest: { path: '/api/v3/exchangeInfo', weight: 20, parse: parseInstruments },
}
