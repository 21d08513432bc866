import type { Candle, Funding, Liquidation, OpenInterest, Ticker } from '../../market/event.ts'
import {
  asText,
  decimalOf,
  fieldsOf,
  idOf,
  isArray,
  isObject,
  type Json,
  type JsonObject,
  levelsOf,
  optionalDecimal,
  parseJson,
  Unreadable,
} from '../../market/json.ts'
import { Scanner } from '../../market/scanner.ts'
import { epochMicros } from '../../market/time.ts'
import type { Decoded, DecodedBook, Subscription } from '../connector.ts'
import {
  attempt,
  bookDepth,
  type Decoder,
  type DecoderContext,
  nextId,
  unreadable,
  type Venue,
} from '../venue.ts'
import { INSTRUMENTS_REQUESTS, routeOf, TRADES_REQUEST, tradeOf, venueSymbol } from './bybit-rest.ts'

type Values = readonly (string | undefined)[]

/** Field names in the order of Bybit's frames. */
const TRADE = ['T', 'S', 'v', 'p', 'i']
const PRICES = [
  ...['lastPrice', 'prevPrice24h', 'highPrice24h', 'lowPrice24h', 'volume24h'],
  ...['bid1Price', 'bid1Size', 'ask1Price', 'ask1Size'],
]
const FUNDING = ['markPrice', 'nextFundingTime', 'fundingRate']
const TICKER = [...PRICES, ...FUNDING, 'openInterest']
const KLINE = [
  ...['start', 'interval', 'open', 'close', 'high', 'low', 'volume', 'turnover', 'confirm', 'timestamp'],
]
const LIQUIDATION = ['T', 'S', 'v', 'p']

/** The symbol of a book message, also of one that is cut off. */
const BOOK_NAME = /^\{"topic":"orderbook\.(?:50|200|1000)\.([^"]{1,64})"/

/** Their intervals by our timeframes. */
const INTERVALS: ReadonlyMap<string, string> = new Map([
  ...['1m', '3m', '5m', '15m', '30m'].map((name) => [name, name.slice(0, -1)] as const),
  ...[1, 2, 4, 6, 12].map((hours) => [`${hours}h`, String(hours * 60)] as const),
  ...['1d', '1w', '1M'].map((name) => [name, name.slice(1).toUpperCase()] as const),
])
const TIMEFRAME_OF: ReadonlyMap<string, string> = new Map(
  [...INTERVALS].map(([ours, theirs]) => [theirs, ours]),
)

const DEPTHS = { bookDepths: [50, 200, 1000], defaultBookDepth: 200 }

/** A spot ticker lacks the best prices: they are the book of depth 1. A derivative's ticker is its funding too. */
function topicsOf({ channel, symbol, timeframe, limit }: Subscription): string[] {
  const name = venueSymbol(symbol) ?? ''
  switch (channel) {
    case 'ticker':
      return routeOf(symbol) === 'spot' ? [`tickers.${name}`, `orderbook.1.${name}`] : [`tickers.${name}`]
    case 'funding':
    case 'openinterest':
      return [`tickers.${name}`]
    case 'trades':
      return [`publicTrade.${name}`]
    case 'orderbook':
      return [`orderbook.${bookDepth(DEPTHS, limit)}.${name}`]
    case 'liquidations':
      return [`allLiquidation.${name}`]
    default:
      return [`kline.${INTERVALS.get(timeframe ?? '')}.${name}`]
  }
}

function request(op: string, topics: readonly string[], id: number): string[] {
  return topics.length === 0 ? [] : [JSON.stringify({ req_id: String(id), op, args: topics })]
}

/** One topic that the connection has already voids the message it is in: such topics go apart, for their answer alone. */
function subscribe(subscriptions: readonly Subscription[], id: number, held: readonly Subscription[] = []) {
  const had = new Set(held.flatMap(topicsOf))
  const topics = [...new Set(subscriptions.flatMap(topicsOf))]
  return [
    ...request(
      'subscribe',
      topics.filter((topic) => !had.has(topic)),
      id,
    ),
    ...request(
      'subscribe',
      topics.filter((topic) => had.has(topic)),
      id,
    ),
  ]
}

function unsubscribe(subscriptions: readonly Subscription[], id: number, held: readonly Subscription[] = []) {
  const kept = new Set(held.flatMap(topicsOf))
  const topics = [...new Set(subscriptions.flatMap(topicsOf))].filter((topic) => !kept.has(topic))
  return request('unsubscribe', topics, id)
}

class BybitDecoder implements Decoder {
  readonly #context: DecoderContext
  readonly #scanner = new Scanner()
  /** A change names only what changed: what is known of each symbol. Bounded by what is subscribed. */
  readonly #tickers = new Map<string, Ticker>()
  readonly #funding = new Map<string, Funding>()
  /** Of the frame at hand. */
  #type: string | undefined
  #time: string | undefined

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

  /** `{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":…}`, in an order that differs. */
  #scan(frame: string): readonly Decoded[] | undefined {
    const scanner = this.#scanner
    scanner.begin(frame)
    if (!scanner.skip('{"topic":"')) return undefined
    const topic = scanner.text()
    this.#type = this.#time = undefined
    if (topic === undefined || !this.#scanMeta() || !scanner.skip('"data":')) return undefined
    if (topic.startsWith('orderbook.')) return this.#scanBook(topic)
    if (topic.startsWith('publicTrade.')) return this.#scanTrades(topic)
    if (topic.startsWith('tickers.')) return this.#scanTicker(topic)
    return undefined
  }

  /** What stands around the data; false at its end. */
  #scanMeta(): boolean {
    const scanner = this.#scanner
    for (;;) {
      if (!scanner.skip(',')) return false
      if (scanner.skip('"type":"')) this.#type = scanner.text()
      else if (scanner.skip('"ts":')) this.#time = this.#scanDigits()
      else if (!scanner.skip('"cs":') && !scanner.skip('"cts":')) return true
      else if (scanner.id() === undefined) return false
    }
  }

  #scanDigits(): string | undefined {
    const digits = this.#scanner.id()
    return digits === undefined ? undefined : String(digits)
  }

  #scanEnd(): boolean {
    return !this.#scanMeta() && this.#scanner.skip('}') && this.#scanner.ends()
  }

  #scanBook(topic: string): readonly Decoded[] | undefined {
    const scanner = this.#scanner
    if (!scanner.skip('{"s":"')) return undefined
    scanner.text()
    const bids = scanner.skip(',"b":') ? scanner.levels() : undefined
    const asks = scanner.skip(',"a":') ? scanner.levels() : undefined
    const id = scanner.skip(',"u":') ? scanner.id() : undefined
    if (!bids || !asks || id === undefined) return undefined
    if (scanner.skip(',"seq":')) scanner.id()
    if (!scanner.skip('}') || !this.#scanEnd()) return undefined
    return [this.#book(topic, { bids, asks }, String(id))]
  }

  #scanTrades(topic: string): readonly Decoded[] | undefined {
    const scanner = this.#scanner
    const trades: Values[] = []
    if (!scanner.skip('[')) return undefined
    do {
      const values = scanner.fields(TRADE)
      if (!values) return undefined
      trades.push(values)
    } while (scanner.skip(','))
    if (!scanner.skip(']') || !this.#scanEnd()) return undefined
    return trades.map((values) => this.#trade(topic, values))
  }

  #scanTicker(topic: string): readonly Decoded[] | undefined {
    const values = this.#scanner.fields(TICKER)
    return values && this.#scanEnd() ? this.#ticker(topic, values) : undefined
  }

  #parse(frame: string): readonly Decoded[] {
    const json = parseJson(frame)
    if (!isObject(json)) throw new Unreadable('no object')
    const topic = asText(json.topic)
    if (topic === undefined) return [answer(json)]
    const { data } = json
    this.#type = asText(json.type)
    this.#time = asText(json.ts)
    const items = isArray(data) ? data : []
    switch (topic.slice(0, topic.indexOf('.'))) {
      case 'orderbook':
        return [this.#parseBook(topic, data)]
      case 'publicTrade':
        return items.map((item) => this.#trade(topic, fieldsOf(item, TRADE)))
      case 'tickers':
        return this.#ticker(topic, fieldsOf(data, TICKER))
      case 'kline':
        return items.map((item) => this.#candle(topic, fieldsOf(item, KLINE)))
      case 'allLiquidation':
        return items.map((item) => this.#liquidation(topic, fieldsOf(item, LIQUIDATION)))
      default:
        return [{ kind: 'ignored', what: 'topic' }]
    }
  }

  #parseBook(topic: string, data: Json | undefined): Decoded {
    return this.#of(topic, (symbol) =>
      attempt('orderbook', symbol, () => {
        if (!isObject(data)) throw new Unreadable('no book')
        return this.#book(topic, { bids: levelsOf(data.b), asks: levelsOf(data.a) }, asText(data.u))
      }),
    )
  }

  /** The id 1 comes after a restart of their service, with the whole book. */
  #book(topic: string, { bids, asks }: Pick<DecodedBook, 'bids' | 'asks'>, id: string | undefined): Decoded {
    if (topic.startsWith('orderbook.1.')) return this.#best(topic, { bids, asks }, id)
    return this.#of(topic, (symbol) =>
      attempt('orderbook', symbol, () => {
        if (this.#type !== 'snapshot' && this.#type !== 'delta') throw new Unreadable('book without a type')
        const last = idOf(id, 'u')
        const snapshot = this.#type === 'snapshot' || last === 1
        const sourceTime = epochMicros(this.#time)
        return { kind: 'book', symbol, snapshot, bids, asks, sourceTime, first: last, last }
      }),
    )
  }

  #best(topic: string, { bids, asks }: Pick<DecodedBook, 'bids' | 'asks'>, id: string | undefined): Decoded {
    return this.#of(topic, (symbol) =>
      attempt('ticker', symbol, () => {
        const last = idOf(id, 'u')
        const [bid, bidSize] = bids[0] ?? []
        const [ask, askSize] = asks[0] ?? []
        const payload: Ticker = { ...this.#tickers.get(symbol), type: 'ticker', bid, bidSize, ask, askSize }
        this.#tickers.set(symbol, payload)
        const sourceTime = epochMicros(this.#time)
        return { kind: 'event', channel: 'ticker', symbol, sourceTime, venueSeq: [last, last], payload }
      }),
    )
  }

  #trade(topic: string, values: Values): Decoded {
    return this.#of(topic, (symbol) => attempt('trades', symbol, () => tradeOf(symbol, values)))
  }

  /** A frame is news of a ticker, of funding, of open interest, of several, or of none of them. */
  #ticker(topic: string, values: Values): readonly Decoded[] {
    const prices = values.slice(0, PRICES.length)
    const funding = values.slice(PRICES.length, -1)
    const openInterest = values.at(-1)
    const news: Decoded[] = []
    if (prices.some((value) => value !== undefined)) news.push(this.#tickerEvent(topic, prices))
    if (funding.some((value) => value !== undefined)) news.push(this.#fundingEvent(topic, funding))
    if (openInterest !== undefined) news.push(this.#openInterest(topic, openInterest))
    return news.length === 0 ? [{ kind: 'ignored', what: 'ticker without news' }] : news
  }

  #tickerEvent(topic: string, values: Values): Decoded {
    const [last, open, high, low, volume, bid, bidSize, ask, askSize] = values
    return this.#of(topic, (symbol) =>
      attempt('ticker', symbol, () => {
        const known = this.#tickers.get(symbol)
        const payload: Ticker = {
          type: 'ticker',
          bid: changed(known?.bid, bid, 'bid'),
          bidSize: changed(known?.bidSize, bidSize, 'bid size'),
          ask: changed(known?.ask, ask, 'ask'),
          askSize: changed(known?.askSize, askSize, 'ask size'),
          last: changed(known?.last, last, 'last'),
          open: changed(known?.open, open, 'open'),
          high: changed(known?.high, high, 'high'),
          low: changed(known?.low, low, 'low'),
          volume: changed(known?.volume, volume, 'volume'),
        }
        this.#tickers.set(symbol, payload)
        return { kind: 'event', channel: 'ticker', symbol, sourceTime: epochMicros(this.#time), payload }
      }),
    )
  }

  #fundingEvent(topic: string, [markPrice, nextTime, rate]: Values): Decoded {
    return this.#of(topic, (symbol) =>
      attempt('funding', symbol, () => {
        const known = this.#funding.get(symbol)
        const payload: Funding = {
          type: 'funding',
          rate: changed(known?.rate, rate, 'rate'),
          nextTime: nextTime === undefined ? known?.nextTime : epochMicros(nextTime),
          markPrice: changed(known?.markPrice, markPrice, 'mark price'),
        }
        this.#funding.set(symbol, payload)
        return { kind: 'event', channel: 'funding', symbol, sourceTime: epochMicros(this.#time), payload }
      }),
    )
  }

  #openInterest(topic: string, amount: string): Decoded {
    return this.#of(topic, (symbol) =>
      attempt('openinterest', symbol, () => {
        const payload: OpenInterest = { type: 'openinterest', amount: decimalOf(amount, 'open interest') }
        const sourceTime = epochMicros(this.#time)
        return { kind: 'event', channel: 'openinterest', symbol, sourceTime, payload }
      }),
    )
  }

  #candle(topic: string, values: Values): Decoded {
    const [start, interval, open, close, high, low, volume, turnover, confirm, time] = values
    return this.#of(topic, (symbol) =>
      attempt('ohlcv', symbol, () => {
        const openTime = epochMicros(start)
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
          quoteVolume: optionalDecimal(turnover, 'turnover'),
          closed: confirm === 'true',
          origin: 'venue',
          revision: 0,
        }
        return { kind: 'event', channel: 'ohlcv', symbol, timeframe, sourceTime: epochMicros(time), payload }
      }),
    )
  }

  /** `S` is the side of the position: what closes a long is a sale. The price is the bankruptcy price. */
  #liquidation(topic: string, [time, position, size, price]: Values): Decoded {
    return this.#of(topic, (symbol) =>
      attempt('liquidations', symbol, () => {
        const payload: Liquidation = {
          type: 'liquidation',
          price: decimalOf(price, 'price'),
          size: decimalOf(size, 'size'),
          side: position === 'Buy' ? 'sell' : position === 'Sell' ? 'buy' : 'unknown',
        }
        return { kind: 'event', channel: 'liquidations', symbol, sourceTime: epochMicros(time), payload }
      }),
    )
  }

  /** The symbol is what follows the last point of a topic. */
  #of(topic: string, read: (symbol: string) => Decoded): Decoded {
    const symbol = this.#context.symbolOf(topic.slice(topic.lastIndexOf('.') + 1))
    return symbol === undefined ? { kind: 'ignored', what: 'symbol' } : read(symbol)
  }
}

/** What is not named is as it was; what is empty is no more. */
function changed(known: string | undefined, value: string | undefined, what: string): string | undefined {
  return value === undefined ? known : optionalDecimal(value, what)
}

/** `{"success":false,"ret_msg":"error:handler not found,topic:…","req_id":"7","op":"subscribe"}` */
function answer(json: JsonObject): Decoded {
  if (asText(json.op) !== 'subscribe') return { kind: 'ignored', what: asText(json.op) ?? 'type' }
  const id = asText(json.req_id)
  const requestId = id === undefined || id === '' ? undefined : Number(id)
  const reason = asText(json.ret_msg) ?? 'refused'
  if (json.success === true || /already subscribed/i.test(reason)) return { kind: 'acknowledged', requestId }
  const isTooMany = /too frequent|too many/i.test(reason)
  return { kind: 'refused', requestId, reason, ...(isTooMany && { tooMany: true as const }) }
}

/** `u` grows by one; whatever else comes is a hole, or the same again. */
function follows(local: number | bigint, { last }: DecodedBook) {
  if (last === nextId(local)) return 'apply'
  return last === local ? 'old' : 'gap'
}

/** Spot, and derivatives whose sizes are in the base asset (linear) or in USD (inverse). */
export const venue: Venue = {
  id: 'bybit',
  url: 'wss://stream.bybit.com',
  restUrl: 'https://api.bybit.com',
  docs: 'https://bybit-exchange.github.io/docs/v5/ws/connect',
  markets: ['spot', 'swap', 'future'],
  channels: ['ticker', 'trades', 'orderbook', 'ohlcv', 'funding', 'openinterest', 'liquidations'],
  timeframes: [...INTERVALS.keys()],
  ...DEPTHS,
  limits: {
    // None is told.
    messagesPerSecond: 20,
    // Their topics have 21,000 characters at most, of up to 30 each, and a spot ticker is two.
    subscriptionsPerConnection: 300,
    booksPerConnection: 100,
    // Spot: 10 topics.
    subscriptionsPerMessage: 5,
    connects: { count: 500, perMs: 300_000 },
    // 600 in 5 s, shared with whatever else this address asks; who goes beyond is banned for 10 minutes.
    rest: { count: 100, perMs: 5_000 },
  },
  heartbeat: {
    silentMs: 25_000,
    // "Every 20 seconds", whatever comes.
    ping: { everyMs: 10_000, frame: (id) => `{"req_id":"${id}","op":"ping"}`, always: true },
    // The best prices come again after 3 s without a change.
    quietMs: ({ channel, symbol }) =>
      channel === 'ticker' && routeOf(symbol) === 'spot' ? 15_000 : undefined,
  },
  book: { snapshots: 'stream', resends: true, truncates: false, follows },
  // Those of derivatives are UUIDs, those of spot are shared by all symbols.
  trades: { contiguousIds: false },
  route: ({ symbol }) => routeOf(symbol),
  endpoint: (url, route) => `${url.replace(/\/+$/, '')}/v5/public/${route || 'spot'}`,
  venueSymbol,
  subscribe,
  unsubscribe,
  createDecoder: (context) => new BybitDecoder(context),
  instrumentsRequests: INSTRUMENTS_REQUESTS,
  tradesRequest: TRADES_REQUEST,
}
