import type { Candle, Channel, Level, Ticker } from '../../market/event.ts'
import {
  asText,
  decimalOf,
  fieldsOf,
  idOf,
  isArray,
  isObject,
  type Json,
  type JsonObject,
  levelOf,
  optionalDecimal,
  parseJson,
  Unreadable,
} from '../../market/json.ts'
import { Scanner } from '../../market/scanner.ts'
import { timeframeMinutes, venuePair } from '../../market/symbol.ts'
import { isoMicros } from '../../market/time.ts'
import type { Decoded, DecodedEvent, Instrument, Subscription } from '../connector.ts'
import {
  attempt,
  backfilled,
  bookDepth,
  type Decoder,
  type DecoderContext,
  grouped,
  unreadable,
  type Venue,
} from '../venue.ts'
import { parsePairs, TRADES_REQUEST, tradeOf } from './kraken-rest.ts'

type Values = readonly (string | undefined)[]

/** Field names in the order of Kraken's frames. */
const TICKER = [
  'symbol',
  'bid',
  'bid_qty',
  'ask',
  'ask_qty',
  'last',
  'volume',
  'low',
  'high',
  'timestamp',
] as const
const TRADE = ['symbol', 'side', 'price', 'qty', 'trade_id', 'timestamp'] as const
const CANDLE = [
  ...(['symbol', 'open', 'high', 'low', 'close', 'trades', 'volume', 'interval_begin', 'interval'] as const),
]

/** The symbol of a book message, also of one that is cut off. */
const BOOK_NAME = /^\{"channel":"book",.{0,100}"symbol":"([^"]{1,64})"/

export const TIMEFRAMES = ['1m', '5m', '15m', '30m', '1h', '4h', '1d', '1w', '15d']
/** By their minutes. */
export const TIMEFRAME_OF: ReadonlyMap<string, string> = new Map(
  TIMEFRAMES.map((timeframe) => [String(timeframeMinutes(timeframe)), timeframe]),
)

export const DEPTHS = { bookDepths: [10, 25, 100, 500, 1000], defaultBookDepth: 1000 }

/** Our channel of theirs. */
export const OURS: Readonly<Record<string, Channel>> = Object.assign(Object.create(null), {
  ticker: 'ticker',
  trade: 'trades',
  book: 'orderbook',
  ohlc: 'ohlcv',
})
const CHANNELS: readonly Channel[] = Object.values(OURS)

/** What a subscription asks besides its symbol: symbols that ask the same share a message. */
function parametersOf({ channel, timeframe, limit }: Subscription): string {
  switch (channel) {
    case 'ticker':
      // By default only trades bring a new ticker; the best prices move more often.
      return '{"channel":"ticker","event_trigger":"bbo"'
    case 'trades':
      // The snapshot holds the last 50 trades: after a reconnect, those that were missed.
      return '{"channel":"trade","snapshot":true'
    case 'orderbook':
      return `{"channel":"book","depth":${bookDepth(DEPTHS, limit)},"snapshot":true`
    default:
      return `{"channel":"ohlc","interval":${timeframeMinutes(timeframe ?? '')},"snapshot":true`
  }
}

function request(method: string, subscriptions: readonly Subscription[], id: number): string[] {
  return [...grouped(subscriptions, parametersOf)].map(([parameters, wanted]) => {
    const symbols = JSON.stringify(wanted.map(({ symbol }) => symbol))
    return `{"method":"${method}","params":${parameters},"symbol":${symbols}},"req_id":${id}}`
  })
}

/** Kraken never says that a candle is closed; the first frame of the next one does, so the old one goes out again. */
export class OpenCandles {
  /** The newest by symbol and timeframe: bounded by what is subscribed. */
  readonly #newest = new Map<string, DecodedEvent>()

  next(made: Decoded): readonly Decoded[] {
    if (made.kind !== 'event' || made.payload.type !== 'ohlcv') return [made]
    const key = `${made.symbol}|${made.timeframe}`
    const before = this.#newest.get(key)
    this.#newest.set(key, made)
    if (before?.payload.type !== 'ohlcv' || before.payload.openTime >= made.payload.openTime) return [made]
    return [{ ...before, payload: { ...before.payload, closed: true } }, made]
  }
}

class KrakenDecoder implements Decoder {
  readonly #context: DecoderContext
  readonly #scanner = new Scanner()
  readonly #candles = new OpenCandles()

  constructor(context: DecoderContext) {
    this.#context = context
  }

  decode(frame: string, emit: (update: Decoded) => void): void {
    let updates: readonly Decoded[]
    try {
      updates = this.#scan(frame) ?? this.#parse(frame)
    } catch (error) {
      updates = [unreadable(error, frame, BOOK_NAME, this.#context)]
    }
    for (const update of updates) emit(update)
  }

  #scan(frame: string): readonly Decoded[] | undefined {
    const scanner = this.#scanner
    scanner.begin(frame)
    if (frame === '{"channel":"heartbeat"}') return [{ kind: 'heartbeat' }]
    if (scanner.skip('{"channel":"book","type":"')) return this.#scanBook()
    if (scanner.skip('{"channel":"trade","type":"'))
      return this.#scanItems(TRADE, (values, snapshot) => this.#trade(values, snapshot))
    if (scanner.skip('{"channel":"ticker","type":"'))
      return this.#scanItems(TICKER, (values) => this.#ticker(values))
    return undefined
  }

  /** `{"symbol":"BTC/USD","bids":[{"price":1.0,"qty":2.00}],"asks":[],"checksum":3,"timestamp":"…"}` */
  #scanBook(): readonly Decoded[] | undefined {
    const scanner = this.#scanner
    const type = scanner.text()
    if (!scanner.skip(',"data":[{"symbol":"')) return undefined
    const name = scanner.text()
    const bids = scanner.skip(',"bids":') ? this.#scanLevels() : undefined
    const asks = scanner.skip(',"asks":') ? this.#scanLevels() : undefined
    if (name === undefined || !bids || !asks || !scanner.skip(',"checksum":')) return undefined
    const checksum = scanner.id()
    const time = scanner.skip(',"timestamp":"') ? scanner.text() : undefined
    if (typeof checksum !== 'number' || !scanner.skip('}]}') || !scanner.ends()) return undefined
    const symbol = this.#context.symbolOf(name)
    if (symbol === undefined) return [{ kind: 'ignored', what: 'symbol' }]
    const snapshot = type === 'snapshot'
    return [{ kind: 'book', symbol, snapshot, bids, asks, sourceTime: isoMicros(time), checksum }]
  }

  #scanLevels(): Level[] | undefined {
    const scanner = this.#scanner
    const levels: Level[] = []
    if (scanner.skip('[]')) return levels
    if (!scanner.skip('[')) return undefined
    do {
      const price = scanner.skip('{"price":') ? scanner.number() : undefined
      const size = scanner.skip(',"qty":') ? scanner.sizeNumber() : undefined
      if (price === undefined || size === undefined || !scanner.skip('}')) return undefined
      levels.push([price, size])
    } while (scanner.skip(','))
    return scanner.skip(']') ? levels : undefined
  }

  #scanItems(
    names: readonly string[],
    read: (values: Values, snapshot: boolean) => Decoded,
  ): readonly Decoded[] | undefined {
    const scanner = this.#scanner
    const snapshot = scanner.text() === 'snapshot'
    if (!scanner.skip(',"data":[')) return undefined
    const items: Values[] = []
    do {
      const values = scanner.fields(names)
      if (!values) return undefined
      items.push(values)
    } while (scanner.skip(','))
    return scanner.skip(']}') && scanner.ends() ? items.map((values) => read(values, snapshot)) : undefined
  }

  #parse(frame: string): readonly Decoded[] {
    const json = parseJson(frame)
    if (!isObject(json)) throw new Unreadable('no object')
    const data = isArray(json.data) ? json.data : []
    const snapshot = json.type === 'snapshot'
    switch (asText(json.channel)) {
      case 'book':
        return data.map((item) => this.#parseBook(item, snapshot))
      case 'trade':
        return data.map((item) => this.#trade(fieldsOf(item, TRADE), snapshot))
      case 'ticker':
        return data.map((item) => this.#ticker(fieldsOf(item, TICKER)))
      case 'ohlc':
        return data.flatMap((item, index) =>
          this.#candle(fieldsOf(item, CANDLE), asText(json.timestamp), snapshot && index < data.length - 1),
        )
      case 'heartbeat':
        return [{ kind: 'heartbeat' }]
      case 'status':
        return [statusOf(asText(fieldsOf(data[0] ?? {}, ['system'])[0]))]
      default:
        return this.#answer(json)
    }
  }

  #parseBook(item: Json, snapshot: boolean): Decoded {
    if (!isObject(item)) throw new Unreadable('no book')
    return this.#of(asText(item.symbol), (symbol) =>
      attempt('orderbook', symbol, () => ({
        kind: 'book',
        symbol,
        snapshot,
        bids: levelsOf(item.bids),
        asks: levelsOf(item.asks),
        sourceTime: isoMicros(asText(item.timestamp)),
        checksum: item.checksum === undefined ? undefined : Number(idOf(asText(item.checksum), 'checksum')),
      })),
    )
  }

  #ticker([name, bid, bidSize, ask, askSize, last, volume, low, high, time]: Values): Decoded {
    return this.#of(name, (symbol) =>
      attempt('ticker', symbol, () => {
        const payload: Ticker = {
          type: 'ticker',
          bid: optionalDecimal(bid, 'bid'),
          bidSize: optionalDecimal(bidSize, 'bid size'),
          ask: optionalDecimal(ask, 'ask'),
          askSize: optionalDecimal(askSize, 'ask size'),
          last: optionalDecimal(last, 'last'),
          high: optionalDecimal(high, 'high'),
          low: optionalDecimal(low, 'low'),
          volume: optionalDecimal(volume, 'volume'),
        }
        return { kind: 'event', channel: 'ticker', symbol, sourceTime: isoMicros(time), payload }
      }),
    )
  }

  /** Trades of a snapshot happened before the subscription. */
  #trade(values: Values, snapshot: boolean): Decoded {
    return this.#of(values[0], (symbol) =>
      attempt('trades', symbol, () => {
        const trade = tradeOf(symbol, values, isoMicros(values[5]))
        return snapshot ? backfilled(trade) : trade
      }),
    )
  }

  /** `sent`: the time of the message; a candle has none of its own. Those of a snapshot but its last are `past`. */
  #candle(values: Values, sent: string | undefined, past: boolean): readonly Decoded[] {
    const [name, open, high, low, close, trades, volume, begin, interval] = values
    const made = this.#of(name, (symbol) =>
      attempt('ohlcv', symbol, () => {
        const openTime = isoMicros(begin)
        const timeframe = TIMEFRAME_OF.get(interval ?? '')
        if (openTime === undefined || timeframe === undefined) throw new Unreadable('candle without its time')
        const payload: Candle = {
          type: 'ohlcv',
          timeframe,
          openTime,
          open: decimalOf(open, 'open'),
          high: decimalOf(high, 'high'),
          low: decimalOf(low, 'low'),
          close: decimalOf(close, 'close'),
          volume: decimalOf(volume, 'volume'),
          trades: trades === undefined ? undefined : Number(idOf(trades, 'number of trades')),
          closed: past,
          origin: 'venue',
          revision: 0,
        }
        return {
          kind: 'event',
          channel: 'ohlcv',
          symbol,
          timeframe,
          sourceTime: isoMicros(sent),
          flags: past ? ['backfilled'] : undefined,
          payload,
        }
      }),
    )
    return past ? [made] : this.#candles.next(made)
  }

  #answer(json: JsonObject): readonly Decoded[] {
    const { result, error } = json
    const id = asText(json.req_id)
    const requestId = id === undefined ? undefined : Number(id)
    if (json.method !== 'subscribe') return [{ kind: 'ignored', what: asText(json.method) ?? 'type' }]
    const symbol = this.#context.symbolOf(asText(isObject(result) ? result.symbol : json.symbol) ?? '')
    if (json.success !== true) {
      const reason = asText(error) ?? 'refused'
      // An error names the pair, but not the channel: a pair that Kraken does not have, it has in no channel.
      return symbol !== undefined && /pair not supported/i.test(reason)
        ? everything(symbol).map((subscription) => ({ kind: 'refused', subscription, reason }))
        : [{ ...refusalOf(reason), requestId }]
    }
    const channel = isObject(result) ? OURS[asText(result.channel) ?? ''] : undefined
    if (!isObject(result) || !channel || symbol === undefined) return [{ kind: 'ignored', what: 'answer' }]
    const timeframe = channel === 'ohlcv' ? TIMEFRAME_OF.get(asText(result.interval) ?? '1') : undefined
    const subscription = { channel, symbol, ...(timeframe !== undefined && { timeframe }) }
    return [{ kind: 'acknowledged', subscription }]
  }

  #of(name: string | undefined, read: (symbol: string) => Decoded): Decoded {
    if (name === undefined) throw new Unreadable('no symbol')
    const symbol = this.#context.symbolOf(name)
    return symbol === undefined ? { kind: 'ignored', what: 'symbol' } : read(symbol)
  }
}

export function refusalOf(reason: string): Extract<Decoded, { kind: 'refused' }> {
  return { kind: 'refused', reason, ...(/exceeded msg rate/i.test(reason) && { tooMany: true as const }) }
}

/** Whether it closes its connections for a maintenance it does not say; new ones are made in time, then. */
export function statusOf(system: string | undefined): Decoded {
  return system === 'maintenance'
    ? { kind: 'shutdown', reason: 'the venue announced a maintenance' }
    : { kind: 'ignored', what: 'status' }
}

/** All that can be subscribed to of a symbol. */
function everything(symbol: string): Subscription[] {
  return CHANNELS.flatMap((channel): Subscription[] =>
    channel === 'ohlcv'
      ? TIMEFRAMES.map((timeframe) => ({ channel, symbol, timeframe }))
      : [{ channel, symbol }],
  )
}

function levelsOf(json: Json | undefined): Level[] {
  if (!isArray(json)) throw new Unreadable('levels are no list')
  return json.map((level) => levelOf(fieldsOf(level, ['price', 'qty']) as (string | undefined)[]))
}

function parseInstruments(body: string): Instrument[] {
  return parsePairs(body).map((pair) => ({ ...pair, venueSymbol: pair.symbol }))
}

export const LIMITS: Venue['limits'] = {
  messagesPerSecond: 10,
  subscriptionsPerConnection: 300,
  booksPerConnection: 100,
  subscriptionsPerMessage: 50,
  connects: { count: 150, perMs: 600_000 },
  // One a second; a few more at once are forgiven.
  rest: { count: 5, perMs: 5_000 },
}

/** Kraken spot, API v2. */
export const venue: Venue = {
  id: 'kraken',
  url: 'wss://ws.kraken.com/v2',
  restUrl: 'https://api.kraken.com',
  docs: 'https://docs.kraken.com/exchange/api-reference/spot-websocket',
  markets: ['spot'],
  channels: CHANNELS,
  timeframes: TIMEFRAMES,
  ...DEPTHS,
  limits: LIMITS,
  // Their guide: nothing for 5 s is a dead connection. Heartbeats come each second, but only with a subscription.
  heartbeat: {
    silentMs: 5_000,
    ping: { everyMs: 2_000, frame: (id) => `{"method":"ping","req_id":${id}}` },
  },
  book: { snapshots: 'stream', resends: true, truncates: true, checksum: (book) => book.krakenChecksum() },
  // "A sequence number, unique per book."
  trades: { contiguousIds: true },
  venueSymbol: (symbol) => venuePair(symbol, (base, quote) => `${base}/${quote}`),
  subscribe: (subscriptions, id) => request('subscribe', subscriptions, id),
  unsubscribe: (subscriptions, id) => request('unsubscribe', subscriptions, id),
  createDecoder: (context) => new KrakenDecoder(context),
  instrumentsRequests: [{ path: '/0/public/AssetPairs', weight: 1, parse: parseInstruments }],
  tradesRequest: TRADES_REQUEST,
}
