import type { Candle, Level, Micros, Ticker, Trade } from '../../market/event.ts'
import {
  asText,
  decimalOf,
  idOf,
  isArray,
  isObject,
  type Json,
  type JsonObject,
  levelsOf,
  parseJson,
  parsePlainJson,
  Unreadable,
} from '../../market/json.ts'
import { Scanner } from '../../market/scanner.ts'
import { timeframeMinutes } from '../../market/symbol.ts'
import { secondsMicros } from '../../market/time.ts'
import type { Decoded, Subscription } from '../connector.ts'
import {
  attempt,
  bookDepth,
  type Decoder,
  type DecoderContext,
  grouped,
  unreadable,
  type Venue,
} from '../venue.ts'
import { DEPTHS, LIMITS, OpenCandles, OURS, refusalOf, statusOf, TIMEFRAME_OF, TIMEFRAMES } from './kraken.ts'
import { parsePairs, v1Pair } from './kraken-rest.ts'

/** The pair of a book message, also of one with a broken beginning. */
const BOOK_NAME = /"book-\d{1,4}","([^"]{1,64})"\]$/

const MINUTE_MICROS = 60_000_000

function venueSymbol(symbol: string): string | undefined {
  return v1Pair(symbol, '/')
}

/** The `subscription` of a request: pairs that ask for the same share a message. */
function nameOf({ channel, timeframe, limit }: Subscription): string {
  switch (channel) {
    case 'ticker':
      return '{"name":"ticker"}'
    case 'trades':
      return '{"name":"trade"}'
    case 'orderbook':
      return `{"name":"book","depth":${bookDepth(DEPTHS, limit)}}`
    default:
      return `{"name":"ohlc","interval":${timeframeMinutes(timeframe ?? '')}}`
  }
}

function request(event: string, subscriptions: readonly Subscription[], id: number): string[] {
  return [...grouped(subscriptions, nameOf)].map(([name, wanted]) => {
    const pairs = JSON.stringify(wanted.map(({ symbol }) => venueSymbol(symbol)))
    return `{"event":"${event}","reqid":${id},"pair":${pairs},"subscription":${name}}`
  })
}

/** The maps of one book frame together. */
interface BookMaps {
  bids: readonly Level[]
  asks: readonly Level[]
  snapshot: boolean
  checksum: number | undefined
  time: string | undefined
}

function emptyMaps(): BookMaps {
  return { bids: [], asks: [], snapshot: false, checksum: undefined, time: undefined }
}

/** The usual one, which names no request and no interval. */
const ACKNOWLEDGEMENT =
  /^\{"channelID":\d+,"channelName":"(ticker|trade|book)(?:-\d+)?","event":"subscriptionStatus","pair":"([^"\\]+)","status":"subscribed","subscription":\{[^{}]*\}\}$/

class KrakenV1Decoder implements Decoder {
  readonly #context: DecoderContext
  readonly #scanner = new Scanner()
  readonly #candles = new OpenCandles()

  constructor(context: DecoderContext) {
    this.#context = context
  }

  decode(frame: string, emit: (update: Decoded) => void): void {
    let updates: Decoded | readonly Decoded[]
    try {
      updates = this.#scan(frame) ?? this.#parse(frame)
    } catch (error) {
      updates = unreadable(error, frame, BOOK_NAME, this.#context)
    }
    if ('kind' in updates) emit(updates)
    else for (const update of updates) emit(update)
  }

  /** The usual frames: `[channelID, data…, "book-1000", "XBT/USD"]`. */
  #scan(frame: string): Decoded | readonly Decoded[] | undefined {
    if (frame === '{"event":"heartbeat"}') return { kind: 'heartbeat' }
    const scanner = this.#scanner
    scanner.begin(frame)
    if (!scanner.skip('[') || scanner.id() === undefined) return undefined
    if (scanner.sees(',[[')) return this.#scanTrades()
    return scanner.sees(',{"a":["') ? this.#scanTicker() : this.#scanBook()
  }

  /** `{"a":[["1.0","2.0","3.4"]]},{"b":[…],"c":"974942666"}`: the maps are one message. */
  #scanBook(): Decoded | undefined {
    const scanner = this.#scanner
    const maps = emptyMaps()
    do {
      if (!scanner.skip(',{') || !this.#scanMap(maps)) return undefined
    } while (scanner.sees(',{'))
    if (!scanner.skip(',"book-') || scanner.id() === undefined || !scanner.skip('",')) return undefined
    maps.time = scanner.latestTime()
    return this.#scanPair((symbol) => book(symbol, maps))
  }

  /** `{"a":["1.1",3,"3.01"],"b":[…],"c":["1.1","0.2"],"v":["1.0","9.0"],…},"ticker",` */
  #scanTicker(): Decoded | undefined {
    const scanner = this.#scanner
    const ask = scanner.skip(',{"a":["') ? scanner.number() : undefined
    const askSize = this.#scanLots()
    const bid = scanner.skip('],"b":["') ? scanner.number() : undefined
    const bidSize = this.#scanLots()
    const last = scanner.skip('],"c":["') ? scanner.number() : undefined
    const volume = this.#scanLastDay('"v":["')
    const low = this.#scanLastDay('"l":["')
    const high = this.#scanLastDay('"h":["')
    const open = this.#scanLastDay('"o":["')
    if (!ask || !askSize || !bid || !bidSize || !last || !volume || !low || !high || !open) return undefined
    if (!scanner.skip('"]},"ticker",')) return undefined
    const payload: Ticker = { type: 'ticker', bid, bidSize, ask, askSize, last, open, high, low, volume }
    return this.#scanPair((symbol) => ({ kind: 'event', channel: 'ticker', symbol, payload }))
  }

  /** `",3,"3.01"`: the lots, behind the whole ones. */
  #scanLots(): string | undefined {
    const scanner = this.#scanner
    if (!scanner.skip('",') || scanner.id() === undefined || !scanner.skip(',"')) return undefined
    const lots = scanner.number()
    return scanner.skip('"') ? lots : undefined
  }

  /** Of today's and the last 24 hours' value, the second. */
  #scanLastDay(before: string): string | undefined {
    const scanner = this.#scanner
    return scanner.skipPast(before) && scanner.number() && scanner.skip('","') ? scanner.number() : undefined
  }

  /** `[["1.0","2.0","3.4","b","l",""],…],"trade",` */
  #scanTrades(): Decoded | readonly Decoded[] | undefined {
    const scanner = this.#scanner
    const trades: (readonly string[])[] = []
    if (!scanner.skip(',[')) return undefined
    do {
      const trade = scanner.list()
      if (!trade) return undefined
      trades.push(trade)
    } while (scanner.skip(','))
    if (!scanner.skip('],"trade",')) return undefined
    return this.#scanPair((symbol) =>
      trades.map((trade) => attempt('trades', symbol, () => tradeOf(symbol, trade))),
    )
  }

  /** The pair, and the end of the frame. */
  #scanPair<T>(read: (symbol: string) => T): T | Decoded | undefined {
    const scanner = this.#scanner
    const pair = scanner.skip('"') ? scanner.text() : undefined
    if (pair === undefined || !scanner.skip(']') || !scanner.ends()) return undefined
    const symbol = this.#context.symbolOf(pair)
    return symbol === undefined ? { kind: 'ignored', what: 'symbol' } : read(symbol)
  }

  #scanMap(maps: BookMaps): boolean {
    const scanner = this.#scanner
    do {
      if (scanner.skip('"c":"')) {
        const checksum = scanner.id()
        if (typeof checksum !== 'number' || !scanner.skip('"')) return false
        maps.checksum = checksum
        continue
      }
      const isBids = scanner.skip('"b')
      if (!isBids && !scanner.skip('"a')) return false
      maps.snapshot = scanner.skip('s') || maps.snapshot
      const levels = scanner.skip('":') ? scanner.levels() : undefined
      if (!levels) return false
      add(maps, isBids, levels)
    } while (scanner.skip(','))
    return scanner.skip('}')
  }

  #parse(frame: string): Decoded | readonly Decoded[] {
    // Events hold no number whose digits matter; data is in lists.
    if (frame.startsWith('{'))
      return this.#acknowledgement(frame) ?? this.#event(parsePlainJson(frame) as JsonObject)
    const json = parseJson(frame)
    if (!isArray(json)) throw new Unreadable('no list')
    const pair = asText(json.at(-1))
    const [channel, interval] = (asText(json.at(-2)) ?? '').split('-')
    const data = json[1]
    switch (channel) {
      case 'book':
        return this.#of(pair, (symbol) =>
          attempt('orderbook', symbol, () => book(symbol, mapsOf(json.slice(1, -2)))),
        )
      case 'trade':
        if (!isArray(data)) throw new Unreadable('trades are no list')
        return data.map((trade) =>
          this.#of(pair, (symbol) => attempt('trades', symbol, () => tradeOf(symbol, trade))),
        )
      case 'ticker':
        return this.#of(pair, (symbol) => attempt('ticker', symbol, () => tickerOf(symbol, data)))
      case 'ohlc':
        return this.#candles.next(
          this.#of(pair, (symbol) => attempt('ohlcv', symbol, () => candleOf(symbol, interval ?? '', data))),
        )
      default:
        return { kind: 'ignored', what: 'channel' }
    }
  }

  /** After a reconnect there is one for each subscription. */
  #acknowledgement(frame: string): Decoded | undefined {
    const [, name, pair] = ACKNOWLEDGEMENT.exec(frame) ?? []
    const channel = name === undefined ? undefined : OURS[name]
    const symbol = pair === undefined ? undefined : this.#context.symbolOf(pair)
    if (!channel || symbol === undefined) return undefined
    return { kind: 'acknowledged', subscription: { channel, symbol } }
  }

  #event(json: JsonObject): Decoded {
    const event = asText(json.event)
    switch (event) {
      case 'heartbeat':
        return { kind: 'heartbeat' }
      case 'subscriptionStatus':
        return this.#subscriptionStatus(json)
      case 'systemStatus':
        return statusOf(asText(json.status))
      case 'error':
        return { ...refusalOf(asText(json.errorMessage) ?? 'error'), ...requestOf(json) }
      default:
        // A pong is no proof that data still comes.
        return { kind: 'ignored', what: event === 'pong' ? event : 'type' }
    }
  }

  #subscriptionStatus(json: JsonObject): Decoded {
    const status = asText(json.status)
    if (status !== 'subscribed' && status !== 'error') return { kind: 'ignored', what: 'subscriptionStatus' }
    const { subscription: wanted } = json
    const channel = isObject(wanted) ? OURS[asText(wanted.name) ?? ''] : undefined
    const symbol = this.#context.symbolOf(asText(json.pair) ?? '')
    const interval = isObject(wanted) ? asText(wanted.interval) : undefined
    const timeframe = channel === 'ohlcv' ? TIMEFRAME_OF.get(interval ?? '1') : undefined
    const subscription =
      channel && symbol !== undefined
        ? { subscription: { channel, symbol, ...(timeframe !== undefined && { timeframe }) } }
        : requestOf(json)
    return status === 'subscribed'
      ? { kind: 'acknowledged', ...subscription }
      : { ...refusalOf(asText(json.errorMessage) ?? 'refused'), ...subscription }
  }

  #of(pair: string | undefined, read: (symbol: string) => Decoded): Decoded {
    if (pair === undefined) throw new Unreadable('no pair')
    const symbol = this.#context.symbolOf(pair)
    return symbol === undefined ? { kind: 'ignored', what: 'symbol' } : read(symbol)
  }
}

function requestOf(json: JsonObject): { requestId?: number } {
  const id = asText(json.reqid)
  return id === undefined ? {} : { requestId: Number(id) }
}

function add(maps: BookMaps, isBids: boolean, levels: readonly Level[]): void {
  if (isBids) maps.bids = maps.bids.length === 0 ? levels : [...maps.bids, ...levels]
  else maps.asks = maps.asks.length === 0 ? levels : [...maps.asks, ...levels]
}

function mapsOf(items: readonly Json[]): BookMaps {
  const maps = emptyMaps()
  for (const map of items) {
    if (!isObject(map)) throw new Unreadable('a book of no map')
    for (const [side, value] of Object.entries(map)) {
      if (side === 'c') maps.checksum = Number(idOf(asText(value), 'checksum'))
      if (!/^[ab]s?$/.test(side)) continue
      if (side.length === 2) maps.snapshot = true
      add(maps, side.startsWith('b'), levelsOf(value))
      maps.time = latest(maps.time, value)
    }
  }
  return maps
}

/** The third of a level is its time. */
function latest(time: string | undefined, levels: Json | undefined): string | undefined {
  const times = isArray(levels) ? levels.map((level) => (isArray(level) ? asText(level[2]) : undefined)) : []
  return times.reduce((last, one) => (last === undefined || (one ?? '') > last ? one : last), time)
}

function book(symbol: string, { bids, asks, snapshot, checksum, time }: BookMaps): Decoded {
  return { kind: 'book', symbol, snapshot, bids, asks, sourceTime: secondsMicros(time), checksum }
}

/** `[price, volume, time, side, orderType, misc]`; v1 has no trade ids, and the side is the taker's. */
function tradeOf(symbol: string, trade: Json): Decoded {
  const [price, size, time, side] = isArray(trade) ? trade : []
  const payload: Trade = {
    type: 'trade',
    price: decimalOf(asText(price), 'price'),
    size: decimalOf(asText(size), 'size'),
    side: side === 'b' ? 'buy' : side === 's' ? 'sell' : 'unknown',
  }
  return { kind: 'event', channel: 'trades', symbol, sourceTime: secondsMicros(asText(time)), payload }
}

/** Lists of best price, whole lots and lots; of last price; and, by day, of today and of the last 24 hours. */
function tickerOf(symbol: string, json: Json | undefined): Decoded {
  if (!isObject(json)) throw new Unreadable('no ticker')
  const field = (name: string, index: number) => {
    const list = json[name]
    if (list === undefined) return undefined
    return decimalOf(isArray(list) ? asText(list[index]) : undefined, name)
  }
  const payload: Ticker = {
    type: 'ticker',
    bid: field('b', 0),
    bidSize: field('b', 2),
    ask: field('a', 0),
    askSize: field('a', 2),
    last: field('c', 0),
    open: field('o', 1),
    high: field('h', 1),
    low: field('l', 1),
    volume: field('v', 1),
  }
  return { kind: 'event', channel: 'ticker', symbol, payload }
}

/** `[time, etime, open, high, low, close, vwap, volume, count]`, `etime` being the end of the interval. */
function candleOf(symbol: string, interval: string, json: Json | undefined): Decoded {
  const [time, end, open, high, low, close, , volume, count] = isArray(json) ? json.map(asText) : []
  const timeframe = TIMEFRAME_OF.get(interval)
  const closes: Micros | undefined = secondsMicros(end)
  if (timeframe === undefined || closes === undefined) throw new Unreadable('candle without its time')
  const payload: Candle = {
    type: 'ohlcv',
    timeframe,
    openTime: closes - Number(interval) * MINUTE_MICROS,
    open: decimalOf(open, 'open'),
    high: decimalOf(high, 'high'),
    low: decimalOf(low, 'low'),
    close: decimalOf(close, 'close'),
    volume: decimalOf(volume, 'volume'),
    trades: count === undefined ? undefined : Number(idOf(count, 'number of trades')),
    closed: false,
    origin: 'venue',
    revision: 0,
  }
  return { kind: 'event', channel: 'ohlcv', symbol, timeframe, sourceTime: secondsMicros(time), payload }
}

/** Kraken spot, API v1: frozen, still served. */
export const venue: Venue = {
  id: 'kraken-v1',
  url: 'wss://ws.kraken.com',
  restUrl: 'https://api.kraken.com',
  docs: 'https://docs.kraken.com/exchange/api-reference/spot-websocket-v1/book',
  markets: ['spot'],
  channels: Object.values(OURS),
  timeframes: TIMEFRAMES,
  ...DEPTHS,
  limits: LIMITS,
  // Their guide: nothing for 5 s is a dead connection. Heartbeats come each second, but only with a subscription.
  heartbeat: { silentMs: 5_000, ping: { everyMs: 2_000, frame: (id) => `{"event":"ping","reqid":${id}}` } },
  book: { snapshots: 'stream', resends: true, truncates: true, checksum: (book) => book.krakenChecksum() },
  // Its trades have no ids, so those fetched by REST could not be told from those that came.
  trades: { contiguousIds: false, withoutIds: true },
  venueSymbol,
  subscribe: (subscriptions, id) => request('subscribe', subscriptions, id),
  unsubscribe: (subscriptions, id) => request('unsubscribe', subscriptions, id),
  createDecoder: (context) => new KrakenV1Decoder(context),
  instrumentsRequests: [{ path: '/0/public/AssetPairs', weight: 1, parse: parsePairs }],
}
