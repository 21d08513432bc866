import type { Candle, Channel, Funding, Liquidation, OpenInterest, Ticker } from '../../market/event.ts'
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
import { attempt, type Decoder, type DecoderContext, unreadable, type Venue } from '../venue.ts'
import { INSTRUMENTS_REQUESTS, parseBook, TRADES_REQUEST, tradeOf, venueSymbol } from './okx-rest.ts'

type Values = readonly (string | undefined)[]

/** Field names in the order of OKX's frames. */
const TICKER = [
  ...['last', 'askPx', 'askSz', 'bidPx', 'bidSz', 'open24h', 'high24h', 'low24h', 'vol24h', 'ts'],
]
const TRADE = ['tradeId', 'px', 'sz', 'side', 'ts']
const FUNDING_RATE = ['fundingRate', 'fundingTime', 'ts']
const MARK_PRICE = ['markPx', 'ts']
const OPEN_INTEREST = ['oi', 'ts']
const LIQUIDATION = ['side', 'sz', 'bkPx', 'ts']

/** The instrument of a book message, also of one that is cut off. */
const BOOK_NAME = /^\{"arg":\{"channel":"books","instId":"([^"]{1,64})"/

/** Their candles by our timeframes; from 6 h on they begin at midnight in Hong Kong unless `utc` is asked for. */
const CANDLES: ReadonlyMap<string, string> = new Map([
  ...['1s', '1m', '3m', '5m', '15m', '30m'].map((name) => [name, `candle${name}`] as const),
  ...['1h', '2h', '4h'].map((name) => [name, `candle${name.toUpperCase()}`] as const),
  ...['6h', '12h', '1d', '1w', '1M'].map((name) => [name, `candle${name.toUpperCase()}utc`] as const),
])
const TIMEFRAME_OF: ReadonlyMap<string, string> = new Map(
  [...CANDLES].map(([ours, theirs]) => [theirs, ours]),
)

/** Our channel of theirs, candles apart. */
const OURS: ReadonlyMap<string, Channel> = new Map([
  ['tickers', 'ticker'],
  ['trades-all', 'trades'],
  ['books', 'orderbook'],
  ['funding-rate', 'funding'],
  ['mark-price', 'funding'],
  ['open-interest', 'openinterest'],
  ['liquidation-orders', 'liquidations'],
])

/** "Requests too frequent". */
const TOO_FREQUENT = '60014'

const KIND_OF_MARKET = { SWAP: /-SWAP$/, FUTURES: /-\d{6}$/ }

/** What a subscription asks for, as arguments in JSON. Liquidations come for all instruments of a kind together. */
function argumentsOf({ channel, symbol, timeframe }: Subscription): string[] {
  const name = venueSymbol(symbol) ?? ''
  const of = (theirs: string) => JSON.stringify({ channel: theirs, instId: name })
  const isDated = KIND_OF_MARKET.FUTURES.test(name)
  switch (channel) {
    case 'ticker':
      return [of('tickers')]
    case 'trades':
      // `trades` sums up the fills of an order under the id of the last; here each has its own, as by REST.
      return [of('trades-all')]
    case 'orderbook':
      return [of('books')]
    case 'ohlcv':
      return [of(CANDLES.get(timeframe ?? '') ?? 'candle')]
    case 'funding':
      return isDated ? [of('mark-price')] : [of('funding-rate'), of('mark-price')]
    case 'openinterest':
      return [of('open-interest')]
    default:
      return [JSON.stringify({ channel: 'liquidation-orders', instType: isDated ? 'FUTURES' : 'SWAP' })]
  }
}

/** Without what is left to others that the connection still holds. */
function request(
  op: string,
  subscriptions: readonly Subscription[],
  id: number,
  held: readonly Subscription[],
): string[] {
  const shared = new Set(held.flatMap(argumentsOf))
  const wanted = [...new Set(subscriptions.flatMap(argumentsOf))].filter((argument) => !shared.has(argument))
  return wanted.length === 0 ? [] : [`{"id":"${id}","op":"${op}","args":[${wanted.join(',')}]}`]
}

class OkxDecoder implements Decoder {
  readonly #context: DecoderContext
  readonly #scanner = new Scanner()
  /** Rate and mark price come apart; bounded by what is subscribed. */
  readonly #funding = new Map<string, Funding>()

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

  /** `{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[…]}` */
  #scan(frame: string): readonly Decoded[] | undefined {
    // An answer to our ping proves no data.
    if (frame === 'pong') return [{ kind: 'ignored', what: 'pong' }]
    const scanner = this.#scanner
    scanner.begin(frame)
    if (!scanner.skip('{"arg":{"channel":"')) return undefined
    const channel = scanner.text()
    const name = scanner.skip(',"instId":"') ? scanner.text() : undefined
    if (name === undefined || !scanner.skip('},')) return undefined
    switch (channel) {
      case 'books':
        return this.#scanBook(name)
      case 'trades-all':
        return this.#scanItems(TRADE, (values) => this.#trade(name, values))
      case 'tickers':
        return this.#scanItems(TICKER, (values) => this.#ticker(name, values))
      default:
        return undefined
    }
  }

  #scanItems(names: readonly string[], read: (values: Values) => Decoded): readonly Decoded[] | undefined {
    const scanner = this.#scanner
    if (!scanner.skip('"data":[')) return undefined
    const items: Values[] = []
    do {
      const values = scanner.fields(names)
      if (!values) return undefined
      items.push(values)
    } while (scanner.skip(','))
    return scanner.skip(']}') && scanner.ends() ? items.map(read) : undefined
  }

  /** `"action":"update","data":[{"asks":[["1.1","2","0","3"]],"bids":[],"ts":"159…","checksum":0,"prevSeqId":1,"seqId":2}]}` */
  #scanBook(name: string): readonly Decoded[] | undefined {
    const scanner = this.#scanner
    const action = scanner.skip('"action":"') ? scanner.text() : undefined
    const asks = scanner.skip(',"data":[{"asks":') ? scanner.levels() : undefined
    const bids = scanner.skip(',"bids":') ? scanner.levels() : undefined
    if (action === undefined || !asks || !bids) return undefined
    let time: string | undefined
    let checksum: string | undefined
    let seqId: string | undefined
    let prevSeqId: string | undefined
    // OKX has changed their order before.
    for (;;) {
      if (scanner.skip(',"ts":"')) time = scanner.text()
      else if (scanner.skip(',"checksum":')) checksum = this.#scanInteger()
      else if (scanner.skip(',"seqId":')) seqId = this.#scanInteger()
      else if (scanner.skip(',"prevSeqId":')) prevSeqId = this.#scanInteger()
      else break
    }
    if (!scanner.skip('}]}') || !scanner.ends()) return undefined
    return [
      this.#of(name, (symbol) =>
        attempt('orderbook', symbol, () =>
          book(symbol, action, { bids, asks }, [time, checksum, seqId, prevSeqId]),
        ),
      ),
    ]
  }

  #scanInteger(): string | undefined {
    const sign = this.#scanner.skip('-') ? '-' : ''
    const digits = this.#scanner.id()
    return digits === undefined ? undefined : `${sign}${digits}`
  }

  #parse(frame: string): readonly Decoded[] {
    const json = parseJson(frame)
    if (!isObject(json)) throw new Unreadable('no object')
    if (json.event !== undefined) return this.#event(json)
    const { arg, data } = json
    if (!isObject(arg) || !isArray(data)) return [{ kind: 'ignored', what: 'type' }]
    const channel = asText(arg.channel) ?? ''
    const name = asText(arg.instId)
    const timeframe = TIMEFRAME_OF.get(channel)
    if (timeframe !== undefined) return data.map((item) => this.#candle(name, timeframe, item))
    switch (channel) {
      case 'books':
        return data.map((item) => this.#parseBook(name, asText(json.action), item))
      case 'trades-all':
        return data.map((item) => this.#trade(name, fieldsOf(item, TRADE)))
      case 'tickers':
        return data.map((item) => this.#ticker(name, fieldsOf(item, TICKER)))
      case 'funding-rate':
        return data.map((item) => this.#fundingRate(name, fieldsOf(item, FUNDING_RATE)))
      case 'mark-price':
        return data.map((item) => this.#markPrice(name, fieldsOf(item, MARK_PRICE)))
      case 'open-interest':
        return data.map((item) => this.#openInterest(name, fieldsOf(item, OPEN_INTEREST)))
      case 'liquidation-orders':
        return data.flatMap((item) => this.#liquidations(item))
      default:
        return [{ kind: 'ignored', what: 'channel' }]
    }
  }

  #parseBook(name: string | undefined, action: string | undefined, item: Json): Decoded {
    return this.#of(name, (symbol) =>
      attempt('orderbook', symbol, () => {
        if (!isObject(item)) throw new Unreadable('no book')
        const levels = { bids: levelsOf(item.bids), asks: levelsOf(item.asks) }
        return book(symbol, action, levels, fieldsOf(item, ['ts', 'checksum', 'seqId', 'prevSeqId']))
      }),
    )
  }

  #ticker(name: string | undefined, values: Values): Decoded {
    const [last, ask, askSize, bid, bidSize, open, high, low, volume, time] = values
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

  #trade(name: string | undefined, values: Values): Decoded {
    return this.#of(name, (symbol) => attempt('trades', symbol, () => tradeOf(symbol, values)))
  }

  /** `[ts, open, high, low, close, vol, volCcy, volCcyQuote, confirm]` */
  #candle(name: string | undefined, timeframe: string, item: Json): Decoded {
    return this.#of(name, (symbol) =>
      attempt('ohlcv', symbol, () => {
        const values = isArray(item) ? item.map(asText) : []
        const [time, open, high, low, close, volume, , quoteVolume, confirm] = values
        const openTime = epochMicros(time)
        if (openTime === undefined) throw new Unreadable('candle without its time')
        const payload: Candle = {
          type: 'ohlcv',
          timeframe,
          openTime,
          open: decimalOf(open, 'open'),
          high: decimalOf(high, 'high'),
          low: decimalOf(low, 'low'),
          close: decimalOf(close, 'close'),
          volume: decimalOf(volume, 'volume'),
          quoteVolume: optionalDecimal(quoteVolume, 'quote volume'),
          closed: confirm === '1',
          origin: 'venue',
          revision: 0,
        }
        return { kind: 'event', channel: 'ohlcv', symbol, timeframe, payload }
      }),
    )
  }

  /** `fundingTime` is when this rate will be paid. */
  #fundingRate(name: string | undefined, [rate, nextTime, time]: Values): Decoded {
    return this.#fundingEvent(name, time, () => ({
      rate: optionalDecimal(rate, 'rate'),
      nextTime: epochMicros(nextTime),
    }))
  }

  #markPrice(name: string | undefined, [markPrice, time]: Values): Decoded {
    return this.#fundingEvent(name, time, () => ({ markPrice: decimalOf(markPrice, 'mark price') }))
  }

  #fundingEvent(name: string | undefined, time: string | undefined, read: () => Partial<Funding>): Decoded {
    return this.#of(name, (symbol) =>
      attempt('funding', symbol, () => {
        const payload: Funding = { type: 'funding', ...this.#funding.get(symbol), ...read() }
        this.#funding.set(symbol, payload)
        return { kind: 'event', channel: 'funding', symbol, sourceTime: epochMicros(time), payload }
      }),
    )
  }

  #openInterest(name: string | undefined, [amount, time]: Values): Decoded {
    return this.#of(name, (symbol) =>
      attempt('openinterest', symbol, () => {
        const payload: OpenInterest = { type: 'openinterest', amount: decimalOf(amount, 'open interest') }
        return { kind: 'event', channel: 'openinterest', symbol, sourceTime: epochMicros(time), payload }
      }),
    )
  }

  /** Of any instrument of the kind. The price is the bankruptcy price; that of the trade is not told. */
  #liquidations(item: Json): readonly Decoded[] {
    const name = isObject(item) ? asText(item.instId) : undefined
    const details = isObject(item) && isArray(item.details) ? item.details : undefined
    if (!details) throw new Unreadable('liquidation without details')
    return details.map((detail) =>
      this.#of(name, (symbol) =>
        attempt('liquidations', symbol, () => {
          const [side, size, price, time] = fieldsOf(detail, LIQUIDATION)
          const payload: Liquidation = {
            type: 'liquidation',
            price: decimalOf(price, 'price'),
            size: decimalOf(size, 'size'),
            side: side === 'buy' || side === 'sell' ? side : 'unknown',
          }
          return { kind: 'event', channel: 'liquidations', symbol, sourceTime: epochMicros(time), payload }
        }),
      ),
    )
  }

  #event(json: JsonObject): readonly Decoded[] {
    const id = asText(json.id)
    const requestId = id === undefined ? undefined : Number(id)
    switch (asText(json.event)) {
      case 'subscribe':
        return isObject(json.arg) ? this.#acknowledged(json.arg) : [{ kind: 'ignored', what: 'answer' }]
      case 'error':
        return [this.#refused(asText(json.msg) ?? 'error', asText(json.code), requestId)]
      case 'notice':
        return [{ kind: 'shutdown', reason: 'the venue announced that it closes the connection' }]
      default:
        return [{ kind: 'ignored', what: 'event' }]
    }
  }

  #acknowledged(arg: JsonObject): readonly Decoded[] {
    const channel = asText(arg.channel) ?? ''
    const name = asText(arg.instId)
    if (name !== undefined) {
      const subscription = this.#subscription(channel, name)
      return subscription ? [{ kind: 'acknowledged', subscription }] : [{ kind: 'ignored', what: 'answer' }]
    }
    const kind = KIND_OF_MARKET[asText(arg.instType) === 'SWAP' ? 'SWAP' : 'FUTURES']
    return [...this.#context.venueSymbols()].flatMap((one): Decoded[] => {
      const subscription = kind.test(one) ? this.#subscription(channel, one) : undefined
      return subscription ? [{ kind: 'acknowledged', subscription }] : []
    })
  }

  /** `Wrong URL or channel:tickers,instId:BTC-XYZ doesn't exist. Please use the correct URL, …` */
  #refused(reason: string, code: string | undefined, requestId: number | undefined): Decoded {
    if (code === TOO_FREQUENT) return { kind: 'refused', requestId, reason, tooMany: true }
    const [, channel, name] = /channel:([\w-]{1,64}),\s*instId:([\w-]{1,64})/.exec(reason) ?? []
    const subscription =
      channel === undefined || name === undefined ? undefined : this.#subscription(channel, name)
    return subscription ? { kind: 'refused', subscription, reason } : { kind: 'refused', requestId, reason }
  }

  #subscription(theirs: string, name: string): Subscription | undefined {
    const symbol = this.#context.symbolOf(name)
    const timeframe = TIMEFRAME_OF.get(theirs)
    const channel = timeframe === undefined ? OURS.get(theirs) : 'ohlcv'
    if (symbol === undefined || channel === undefined) return undefined
    return { channel, symbol, ...(timeframe !== undefined && { timeframe }) }
  }

  #of(name: string | undefined, read: (symbol: string) => Decoded): Decoded {
    if (name === undefined) throw new Unreadable('no instrument')
    const symbol = this.#context.symbolOf(name)
    return symbol === undefined ? { kind: 'ignored', what: 'symbol' } : read(symbol)
  }
}

/** `prevSeqId` of a snapshot is -1; a checksum of 0 is none, which all are since June 2026. */
function book(
  symbol: string,
  action: string | undefined,
  { bids, asks }: Pick<DecodedBook, 'bids' | 'asks'>,
  [time, checksum, seqId, prevSeqId]: Values,
): Decoded {
  if (action !== 'snapshot' && action !== 'update') throw new Unreadable('book without an action')
  const last = idOf(seqId, 'seqId')
  if (checksum !== undefined && !/^-?\d{1,10}$/.test(checksum)) throw new Unreadable('checksum is no number')
  const base = { kind: 'book', symbol, bids, asks, sourceTime: epochMicros(time), last } as const
  const sum = checksum === undefined || checksum === '0' ? {} : { checksum: Number(checksum) >>> 0 }
  if (action === 'snapshot') return { ...base, snapshot: true, ...sum }
  return { ...base, snapshot: false, previous: idOf(prevSeqId, 'prevSeqId'), ...sum }
}

/**
 * Each message names the one before. Ids jump, and after a maintenance they begin anew, which still names the one before;
 * so only naming tells what follows. A message without a change repeats the last id. A snapshot by REST may lie between
 * two messages: https://www.okx.com/docs-v5/log_en (12 February 2026).
 */
function follows(local: number | bigint, { last, previous }: DecodedBook, fresh = false) {
  if (last === undefined || previous === undefined) return 'gap'
  if (previous === local) return 'apply'
  if (last === local || (fresh && last < local)) return 'old'
  return fresh && previous < local ? 'apply' : 'gap'
}

/** Sizes of derivatives are contracts; `Instrument.contractSize` tells what one is worth. */
export const venue: Venue = {
  id: 'okx',
  url: 'wss://ws.okx.com:8443',
  restUrl: 'https://www.okx.com',
  docs: 'https://www.okx.com/docs-v5/en/#overview-websocket',
  markets: ['spot', 'swap', 'future'],
  channels: ['ticker', 'trades', 'orderbook', 'ohlcv', 'funding', 'openinterest', 'liquidations'],
  timeframes: [...CANDLES.keys()],
  bookDepths: [400],
  defaultBookDepth: 400,
  limits: {
    // None is told but that of requests.
    messagesPerSecond: 10,
    subscriptionsPerConnection: 300,
    booksPerConnection: 100,
    // 64 KB.
    subscriptionsPerMessage: 100,
    requests: { count: 480, perMs: 3_600_000 },
    connects: { count: 3, perMs: 1_000 },
    // The strictest of those used: 20 requests in 2 s.
    rest: { count: 20, perMs: 2_000 },
  },
  // It closes what it has sent nothing on for 30 s.
  heartbeat: {
    silentMs: 20_000,
    ping: { everyMs: 8_000, frame: () => 'ping' },
    // A book without a change is confirmed every 60 s; the funding rate comes every 30 to 90 s.
    quietMs: ({ channel }) =>
      channel === 'orderbook' ? 90_000 : channel === 'funding' ? 150_000 : undefined,
  },
  book: { snapshots: 'stream', truncates: true, follows, checksum: (book) => book.okxChecksum() },
  trades: { contiguousIds: true },
  route: ({ channel }) => (channel === 'ohlcv' || channel === 'trades' ? 'business' : 'public'),
  endpoint: (url, path) => `${url.replace(/\/+$/, '')}/ws/v5/${path || 'public'}`,
  venueSymbol,
  subscribe: (subscriptions, id) => request('subscribe', subscriptions, id, []),
  unsubscribe: (subscriptions, id, held = []) => request('unsubscribe', subscriptions, id, held),
  createDecoder: (context) => new OkxDecoder(context),
  bookRequest: {
    path: (name, depth) => `/api/v5/market/books?instId=${encodeURIComponent(name)}&sz=${depth}&source=0`,
    weight: () => 1,
    parse: parseBook,
  },
  instrumentsRequests: INSTRUMENTS_REQUESTS,
  tradesRequest: TRADES_REQUEST,
}
