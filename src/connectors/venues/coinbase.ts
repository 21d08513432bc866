import type { Channel, Level, Ticker, Trade } from '../../market/event.ts'
import {
  asText,
  decimalOf,
  fieldsOf,
  idOf,
  isArray,
  isObject,
  type JsonObject,
  levelOf,
  levelsOf,
  optionalDecimal,
  parseJson,
  Unreadable,
} from '../../market/json.ts'
import { Scanner } from '../../market/scanner.ts'
import { venuePair } from '../../market/symbol.ts'
import { isoMicros } from '../../market/time.ts'
import type { Decoded, DecodedEvent, Instrument, Subscription, TradesWanted } from '../connector.ts'
import {
  attempt,
  backfilled,
  type Decoder,
  type DecoderContext,
  grouped,
  type TradesPage,
  unreadable,
  type Venue,
} from '../venue.ts'

type Values = readonly (string | undefined)[]

/** Field names in the order of Coinbase's frames. */
const TICKER = [
  ...(['sequence', 'product_id', 'price', 'open_24h', 'volume_24h', 'low_24h', 'high_24h'] as const),
  ...(['best_bid', 'best_bid_size', 'best_ask', 'best_ask_size', 'time'] as const),
]
const MATCH = ['trade_id', 'side', 'size', 'price', 'product_id', 'sequence', 'time'] as const
const PRODUCT = ['id', 'base_currency', 'quote_currency', 'status', 'quote_increment', 'base_increment']
const HEARTBEAT = ['last_trade_id', 'product_id'] as const

/**
 * The product of a book message, also of one that is cut off: the book is not numbered, so nothing else would tell that
 * one was lost.
 */
const BOOK_NAME = /^\{"type":"(?:l2update|snapshot)","product_id":"([^"]{1,64})"/

/** Their channels of ours. The heartbeats name the last trade, so that a missed one is noticed. */
const ASKED: Partial<Record<Channel, readonly string[]>> = {
  ticker: ['ticker'],
  trades: ['matches', 'heartbeat'],
  orderbook: ['level2_batch'],
}
/** Our channel of theirs: `level2` and `full` now need an account, but send the same frames. */
const ANSWERED: Readonly<Record<string, Channel>> = Object.assign(Object.create(null), {
  ticker: 'ticker',
  matches: 'trades',
  level2: 'orderbook',
  level2_batch: 'orderbook',
})
const CHANNELS: readonly Channel[] = ['ticker', 'trades', 'orderbook']

function venueSymbol(symbol: string): string | undefined {
  return venuePair(symbol, (base, quote) => `${base}-${quote}`)
}

/** One message for each product: a product that does not exist voids the whole message it is in. */
function request(type: string, subscriptions: readonly Subscription[]): string[] {
  const products = grouped(subscriptions, ({ symbol }) => venueSymbol(symbol) ?? '')
  return [...products].map(([product, wanted]) => {
    const channels = [...new Set(wanted.flatMap(({ channel }) => ASKED[channel] ?? []))]
    return JSON.stringify({ type, product_ids: [product], channels })
  })
}

class CoinbaseDecoder implements Decoder {
  readonly #context: DecoderContext
  readonly #scanner = new Scanner()

  constructor(context: DecoderContext) {
    this.#context = context
  }

  decode(frame: string, emit: (update: Decoded) => void): void {
    let update: Decoded | readonly Decoded[]
    try {
      update = this.#scan(frame) ?? this.#parse(frame)
    } catch (error) {
      update = unreadable(error, frame, BOOK_NAME, this.#context)
    }
    if ('kind' in update) emit(update)
    else for (const one of update) emit(one)
  }

  #scan(frame: string): Decoded | undefined {
    const scanner = this.#scanner
    scanner.begin(frame)
    if (scanner.skip('{"type":"l2update","product_id":"')) return this.#scanUpdate()
    if (scanner.skip('{"type":"snapshot","product_id":"')) return this.#scanSnapshot()
    if (scanner.sees('{"type":"ticker"')) return this.#scanFields(TICKER, (values) => this.#ticker(values))
    if (scanner.sees('{"type":"match"') || scanner.sees('{"type":"last_match"'))
      return this.#scanFields(MATCH, (values) => this.#trade(values))
    if (scanner.sees('{"type":"heartbeat"'))
      return this.#scanFields(HEARTBEAT, (values) => this.#heartbeat(values))
    return undefined
  }

  #scanFields(names: readonly string[], read: (values: Values) => Decoded): Decoded | undefined {
    const values = this.#scanner.fields(names)
    return values && this.#scanner.ends() ? read(values) : undefined
  }

  #scanUpdate(): Decoded | undefined {
    const scanner = this.#scanner
    const name = scanner.text()
    const changes = scanner.skip(',"changes":') ? scanner.changes() : undefined
    if (!changes) return undefined
    const time = scanner.skip(',"time":"') ? scanner.text() : undefined
    if (!scanner.skip('}') || !scanner.ends()) return undefined
    return this.#of(name, (symbol) => book(symbol, false, changes.bids, changes.asks, time))
  }

  #scanSnapshot(): Decoded | undefined {
    const scanner = this.#scanner
    const name = scanner.text()
    const asks = scanner.skip(',"asks":') ? scanner.levels() : undefined
    const bids = scanner.skip(',"bids":') ? scanner.levels() : undefined
    if (!asks || !bids) return undefined
    const time = scanner.skip(',"time":"') ? scanner.text() : undefined
    if (!scanner.skip('}') || !scanner.ends()) return undefined
    return this.#of(name, (symbol) => book(symbol, true, bids, asks, time))
  }

  #parse(frame: string): Decoded | readonly Decoded[] {
    const json = parseJson(frame)
    if (!isObject(json)) throw new Unreadable('no object')
    switch (asText(json.type)) {
      case 'l2update':
      case 'snapshot':
        return this.#parseBook(json)
      case 'ticker':
        return this.#ticker(fieldsOf(json, TICKER))
      case 'match':
      case 'last_match':
        return this.#trade(fieldsOf(json, MATCH))
      case 'heartbeat':
        return this.#heartbeat(fieldsOf(json, HEARTBEAT))
      case 'subscriptions':
        return this.#acknowledged(json)
      case 'error':
        return this.#refused(json)
      default:
        return { kind: 'ignored', what: 'type' }
    }
  }

  #parseBook(json: JsonObject): Decoded {
    return this.#of(asText(json.product_id), (symbol) =>
      attempt('orderbook', symbol, () => {
        const time = asText(json.time)
        if (json.type === 'snapshot')
          return book(symbol, true, levelsOf(json.bids), levelsOf(json.asks), time)
        const changes = json.changes
        if (!isArray(changes)) throw new Unreadable('changes are no list')
        const bids: Level[] = []
        const asks: Level[] = []
        for (const change of changes) {
          const [side, price, size] = isArray(change) ? change : []
          if (side !== 'buy' && side !== 'sell') throw new Unreadable('change without a side')
          const levels = side === 'buy' ? bids : asks
          levels.push(levelOf([price, size]))
        }
        return book(symbol, false, bids, asks, time)
      }),
    )
  }

  #ticker([
    sequence,
    name,
    last,
    open,
    volume,
    low,
    high,
    bid,
    bidSize,
    ask,
    askSize,
    time,
  ]: Values): Decoded {
    return this.#of(name, (symbol) =>
      attempt('ticker', symbol, () => {
        const payload: Ticker = {
          type: 'ticker',
          bid: optionalDecimal(bid, 'bid'),
          bidSize: optionalDecimal(bidSize, 'bid size'),
          ask: optionalDecimal(ask, 'ask'),
          askSize: optionalDecimal(askSize, 'ask size'),
          last: optionalDecimal(last, 'price'),
          open: optionalDecimal(open, 'open'),
          high: optionalDecimal(high, 'high'),
          low: optionalDecimal(low, 'low'),
          volume: optionalDecimal(volume, 'volume'),
        }
        return { kind: 'event', channel: 'ticker', symbol, ...numbered(sequence, time), payload }
      }),
    )
  }

  #trade(values: Values): Decoded {
    return this.#of(values[4], (symbol) => attempt('trades', symbol, () => tradeOf(symbol, values)))
  }

  #heartbeat([lastTradeId, name]: Values): Decoded {
    return this.#of(name, (symbol) => ({ kind: 'heartbeat', symbol, lastTradeId }))
  }

  /** Names everything the connection is subscribed to, each time. */
  #acknowledged({ channels }: JsonObject): Decoded[] {
    const acknowledged: Decoded[] = []
    for (const entry of isArray(channels) ? channels : []) {
      if (!isObject(entry) || !isArray(entry.product_ids)) continue
      const channel = ANSWERED[asText(entry.name) ?? '']
      for (const product of channel ? entry.product_ids : []) {
        const symbol = this.#context.symbolOf(asText(product) ?? '')
        if (channel && symbol !== undefined)
          acknowledged.push({ kind: 'acknowledged', subscription: { channel, symbol } })
      }
    }
    return acknowledged
  }

  /** `{"type":"error","message":"Failed to subscribe","reason":"X-Y is not a valid product"}` */
  #refused(json: JsonObject): readonly Decoded[] {
    const said = [asText(json.message), asText(json.reason)].filter((text) => text)
    const reason = said.join(': ') || 'error'
    const name = /(\S+) is not a valid product/.exec(reason)?.[1]
    const symbol = name === undefined ? undefined : this.#context.symbolOf(name)
    if (/rate limit/i.test(reason)) return [{ kind: 'refused', reason, tooMany: true }]
    if (symbol === undefined) return [{ kind: 'refused', reason }]
    return CHANNELS.map((channel) => ({ kind: 'refused', subscription: { channel, symbol }, reason }))
  }

  #of(name: string | undefined, read: (symbol: string) => Decoded): Decoded {
    if (name === undefined) throw new Unreadable('no product')
    const symbol = this.#context.symbolOf(name)
    return symbol === undefined ? { kind: 'ignored', what: 'symbol' } : read(symbol)
  }
}

function book(
  symbol: string,
  snapshot: boolean,
  bids: readonly Level[],
  asks: readonly Level[],
  time: string | undefined,
): Decoded {
  return { kind: 'book', symbol, snapshot, bids, asks, sourceTime: isoMicros(time) }
}

function numbered(sequence: string | undefined, time: string | undefined) {
  const id = sequence === undefined ? undefined : idOf(sequence, 'sequence')
  return { sourceTime: isoMicros(time), venueSeq: id === undefined ? undefined : ([id, id] as const) }
}

/** `side` is the maker's: the taker did the opposite. */
function tradeOf(symbol: string, [id, side, size, price, , sequence, time]: Values): DecodedEvent {
  const payload: Trade = {
    type: 'trade',
    id: String(idOf(id, 'trade id')),
    price: decimalOf(price, 'price'),
    size: decimalOf(size, 'size'),
    side: side === 'sell' ? 'buy' : side === 'buy' ? 'sell' : 'unknown',
  }
  return { kind: 'event', channel: 'trades', symbol, ...numbered(sequence, time), payload }
}

function parseInstruments(body: string): Instrument[] {
  const json = parseJson(body)
  if (!isArray(json)) throw new Unreadable('no list of products')
  return json.map((entry) => {
    const [name, base, quote, status = '', tick, lot] = fieldsOf(entry, PRODUCT)
    if (name === undefined || base === undefined || quote === undefined) throw new Unreadable('no product')
    return {
      symbol: `${base}/${quote}`,
      venueSymbol: name,
      type: 'spot',
      base,
      quote,
      tickSize: optionalDecimal(tick, 'tick size'),
      lotSize: optionalDecimal(lot, 'lot size'),
      status,
    }
  })
}

/** Trades older than the cursor, newest first. */
function tradesPath(symbol: string, { untilId }: TradesWanted, cursor = untilId): string {
  const after = cursor === undefined ? '' : `&after=${cursor}`
  return `/products/${encodeURIComponent(venueSymbol(symbol) ?? '')}/trades?limit=1000${after}`
}

function parseTrades(body: string, symbol: string): TradesPage {
  const json = parseJson(body)
  if (!isArray(json)) throw new Unreadable('no list of trades')
  const trades = json.map((trade) => backfilled(tradeOf(symbol, fieldsOf(trade, MATCH)))).reverse()
  const oldest = trades[0]?.payload
  return { trades, cursor: oldest?.type === 'trade' ? oldest.id : undefined }
}

/** The Exchange feed. It has no candles. */
export const venue: Venue = {
  id: 'coinbase',
  url: 'wss://ws-feed.exchange.coinbase.com',
  restUrl: 'https://api.exchange.coinbase.com',
  docs: 'https://docs.cdp.coinbase.com/exchange/websocket-feed/overview',
  markets: ['spot'],
  channels: CHANNELS,
  timeframes: [],
  bookDepths: [],
  defaultBookDepth: 0,
  limits: {
    // 100 a second for each address: shared with the other connections.
    messagesPerSecond: 25,
    subscriptionsPerConnection: 300,
    booksPerConnection: 50,
    subscriptionsPerMessage: 50,
    connects: { count: 8, perMs: 1_000 },
    rest: { count: 10, perMs: 1_000 },
  },
  heartbeat: { silentMs: 10_000, ping: { everyMs: 4_000, frame: () => 'protocol' } },
  book: { snapshots: 'stream', resends: true, truncates: false },
  trades: { contiguousIds: true },
  venueSymbol,
  subscribe: (subscriptions) => request('subscribe', subscriptions),
  unsubscribe: (subscriptions) => request('unsubscribe', subscriptions),
  createDecoder: (context) => new CoinbaseDecoder(context),
  instrumentsRequests: [{ path: '/products', weight: 1, parse: parseInstruments }],
  tradesRequest: { weight: 1, from: 'newest', path: tradesPath, parse: parseTrades },
}
