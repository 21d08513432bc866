import type { Candle, Funding, Liquidation, Ticker, Trade, VenueId } from '../../market/event.ts'
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
import type { Decoded, DecodedBook, DecodedEvent, TradesWanted } from '../connector.ts'
import {
  attempt,
  backfilled,
  type Decoder,
  type DecoderContext,
  nextId,
  type TradesRequest,
  unreadable,
} from '../venue.ts'

type Values = readonly (string | undefined)[]

/** Field names in the order of Binance's frames; the first three of each are event time, symbol and what it is. */
const BOOK_TICKER = ['u', 's', 'b', 'B', 'a', 'A', 'E'] as const
const TICKER = ['E', 's', 'c', 'B', 'b', 'a', 'A', 'o', 'h', 'l', 'v'] as const
const AGG_TRADE = ['E', 's', 'a', 'p', 'q', 'T', 'm'] as const
const TRADE = ['E', 's', 't', 'p', 'q', 'T', 'm'] as const
const MARK_PRICE = ['E', 's', 'p', 'r', 'T'] as const
const FORCE_ORDER = ['T', 's', 'S', 'ap', 'z'] as const
const KLINE = ['t', 's', 'i', 'o', 'c', 'h', 'l', 'v', 'n', 'x', 'q'] as const

/** The symbol of a book message, also of one that is cut off. */
const BOOK_NAME = /"depthUpdate","E":\d+,(?:"T":\d+,)?"s":"([^"]{1,64})"/

/** Reads the frames of spot and of futures, which differ in a few fields and in the channels there are. */
export class BinanceDecoder implements Decoder {
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
    if (scanner.sees('{"u":') || scanner.sees('{"e":"bookTicker"'))
      return this.#scanFields(BOOK_TICKER, end, (values) => this.#bookTicker(values))
    if (scanner.sees('{"e":"aggTrade"'))
      return this.#scanFields(AGG_TRADE, end, (values) => this.#trade(values))
    if (scanner.sees('{"e":"trade"')) return this.#scanFields(TRADE, end, (values) => this.#trade(values))
    if (scanner.sees('{"e":"24hrTicker"'))
      return this.#scanFields(TICKER, end, (values) => this.#ticker(values))
    if (scanner.sees('{"e":"markPriceUpdate"'))
      return this.#scanFields(MARK_PRICE, end, (values) => this.#funding(values))
    return undefined
  }

  #scanFields(names: readonly string[], end: string, read: (values: Values) => Decoded): Decoded | undefined {
    const values = this.#scanner.fields(names)
    return values && this.#scanner.skip(end) && this.#scanner.ends() ? read(values) : undefined
  }

  #scanBook(end: string): Decoded | undefined {
    const scanner = this.#scanner
    const time = scanner.id()
    if (scanner.skip(',"T":')) scanner.id()
    if (time === undefined || !scanner.skip(',"s":"')) return undefined
    const name = scanner.text()
    if (scanner.skip(',"ps":"')) scanner.text()
    const first = scanner.skip(',"U":') ? scanner.id() : undefined
    const last = scanner.skip(',"u":') ? scanner.id() : undefined
    const previous = scanner.skip(',"pu":') ? scanner.id() : undefined
    const bids = scanner.skip(',"b":') ? scanner.levels() : undefined
    const asks = scanner.skip(',"a":') ? scanner.levels() : undefined
    if (name === undefined || first === undefined || last === undefined || !bids || !asks) return undefined
    if (scanner.skip(',"st":')) scanner.id()
    if (!scanner.skip('}') || !scanner.skip(end) || !scanner.ends()) return undefined
    return this.#of(name, (symbol) => update(symbol, time, { first, last, previous, bids, asks }))
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
      case 'bookTicker':
        return this.#bookTicker(fieldsOf(data, BOOK_TICKER))
      case 'markPriceUpdate':
        return this.#funding(fieldsOf(data, MARK_PRICE))
      case 'forceOrder':
        return this.#liquidation(fieldsOf(data.o, FORCE_ORDER))
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
          previous: data.pu === undefined ? undefined : idOf(asText(data.pu), 'pu'),
          bids: levelsOf(data.b),
          asks: levelsOf(data.a),
        }),
      ),
    )
  }

  /** Binance spot sends no time with the best prices. */
  #bookTicker([id, name, bid, bidSize, ask, askSize, time]: Values): Decoded {
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
        const venueSeq = [last, last] as const
        return { kind: 'event', channel: 'ticker', symbol, sourceTime: epochMicros(time), venueSeq, payload }
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

  #trade(values: Values): Decoded {
    return this.#of(values[1], (symbol) => attempt('trades', symbol, () => tradeOf(symbol, values)))
  }

  /** A dated future has a mark price, but neither rate nor time of funding: they are empty and 0. */
  #funding([time, name, markPrice, rate, nextTime]: Values): Decoded {
    return this.#of(name, (symbol) =>
      attempt('funding', symbol, () => {
        const payload: Funding = {
          type: 'funding',
          rate: optionalDecimal(rate, 'rate'),
          nextTime: epochMicros(nextTime),
          markPrice: optionalDecimal(markPrice, 'mark price'),
        }
        return { kind: 'event', channel: 'funding', symbol, sourceTime: epochMicros(time), payload }
      }),
    )
  }

  /** The order that closes the position, as far as it is filled, at its average price. */
  #liquidation([time, name, side, price, size]: Values): Decoded {
    return this.#of(name, (symbol) =>
      attempt('liquidations', symbol, () => {
        const payload: Liquidation = {
          type: 'liquidation',
          price: decimalOf(price, 'price'),
          size: decimalOf(size, 'size'),
          side: side === 'SELL' ? 'sell' : side === 'BUY' ? 'buy' : 'unknown',
        }
        return { kind: 'event', channel: 'liquidations', symbol, sourceTime: epochMicros(time), payload }
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
  ids: Pick<DecodedBook, 'first' | 'last' | 'previous' | 'bids' | 'asks'>,
): Decoded {
  const { first, last, previous, bids, asks } = ids
  const sourceTime = epochMicros(time)
  return previous === undefined
    ? { kind: 'book', symbol, snapshot: false, bids, asks, sourceTime, first, last }
    : { kind: 'book', symbol, snapshot: false, bids, asks, sourceTime, first, last, previous }
}

/** `m`: the buyer was the maker, so the taker sold. */
function tradeOf(symbol: string, [time, , id, price, size, tradeTime, buyerIsMaker]: Values): DecodedEvent {
  const tradeId = idOf(id, 'trade id')
  const payload: Trade = {
    type: 'trade',
    id: String(tradeId),
    price: decimalOf(price, 'price'),
    size: decimalOf(size, 'size'),
    side: buyerIsMaker === 'true' ? 'sell' : buyerIsMaker === 'false' ? 'buy' : 'unknown',
  }
  const sourceTime = epochMicros(tradeTime ?? time)
  return { kind: 'event', channel: 'trades', symbol, sourceTime, venueSeq: [tradeId, tradeId], payload }
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

/** A book by REST. */
export function parseBook(body: string, symbol: string): DecodedBook {
  const scanner = new Scanner()
  scanner.begin(body)
  const id = scanner.skip('{"lastUpdateId":') ? scanner.id() : undefined
  if (scanner.skip(',"E":')) scanner.id()
  if (scanner.skip(',"T":')) scanner.id()
  const bids = scanner.skip(',"bids":') ? scanner.levels() : undefined
  const asks = scanner.skip(',"asks":') ? scanner.levels() : undefined
  if (id !== undefined && bids && asks && scanner.skip('}') && scanner.ends())
    return { kind: 'book', symbol, snapshot: true, bids, asks, first: id, last: id }
  const json = parseJson(body)
  if (!isObject(json)) throw new Unreadable('no object')
  const last = idOf(asText(json.lastUpdateId), 'lastUpdateId')
  const levels = { bids: levelsOf(json.bids), asks: levelsOf(json.asks) }
  return { kind: 'book', symbol, snapshot: true, ...levels, first: last, last }
}

const PAGE = 1000

/** Aggregate trades, as the stream has them: by id where one is known, else from a time on. */
export function aggregateTrades(
  path: string,
  weight: number,
  venueSymbol: (symbol: string) => string | undefined,
): TradesRequest {
  return {
    weight,
    from: 'oldest',
    path: (symbol, { afterId, afterTime }: TradesWanted, cursor) => {
      const fromId = cursor ?? (afterId === undefined ? undefined : String(nextId(idOf(afterId, 'id'))))
      const from = fromId === undefined ? `startTime=${Math.floor(afterTime / 1_000)}` : `fromId=${fromId}`
      return `${path}?symbol=${encodeURIComponent(venueSymbol(symbol) ?? '')}&${from}&limit=${PAGE}`
    },
    parse: (body, symbol) => {
      const json = parseJson(body)
      if (!isArray(json)) throw new Unreadable('no list of trades')
      const trades = json.map((trade) => backfilled(tradeOf(symbol, fieldsOf(trade, AGG_TRADE))))
      const last = trades.at(-1)?.venueSeq?.[1]
      return { trades, cursor: last === undefined || trades.length < PAGE ? undefined : String(nextId(last)) }
    },
  }
}

/** What an instrument's list of filters says of its steps. */
export function stepsOf(filters: Json | undefined) {
  const steps: { tickSize?: string; lotSize?: string; minSize?: string } = {}
  for (const filter of isArray(filters) ? filters : []) {
    const [type, tick, step, least] = fieldsOf(filter, ['filterType', 'tickSize', 'stepSize', 'minQty'])
    if (type === 'PRICE_FILTER' && tick !== undefined) steps.tickSize = decimalOf(tick, 'tick size')
    if (type !== 'LOT_SIZE') continue
    if (step !== undefined) steps.lotSize = decimalOf(step, 'lot size')
    if (least !== undefined) steps.minSize = decimalOf(least, 'least size')
  }
  return steps
}
