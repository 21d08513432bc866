import { toDecimal } from '../../market/decimal.ts'
import type { Candle, Decimal, Micros, Ticker, Trade } from '../../market/event.ts'
import { epochMicros } from '../../market/time.ts'
import type { Decoded, Subscription } from '../connector.ts'
import type { CcxtCandle, CcxtTicker, CcxtTrade, Numeric } from './library.ts'

/** Makes events of what a watch method of ccxt resolves with; new for each time a subscription is asked for. */
export interface Reader {
  read(result: unknown, emit: (update: Decoded) => void): void
}

const TRADE_ID = /^[\x21-\x7e]{1,128}$/

/** ccxt gives the venue's ticker and, by another method, its best prices: an event carries the newest of both. */
export class TickerReader implements Reader {
  readonly #symbol: string
  #known: Omit<Ticker, 'type'> = {}

  constructor({ symbol }: Subscription) {
    this.#symbol = symbol
  }

  /** A ticker, or tickers by symbol. */
  read(result: unknown, emit: (update: Decoded) => void): void {
    const symbol = this.#symbol
    const ticker = (result as Readonly<Record<string, CcxtTicker>>)[symbol] ?? (result as CcxtTicker)
    this.#known = { ...this.#known, ...fieldsOf(ticker) }
    const payload: Ticker = { type: 'ticker', ...this.#known }
    emit({ kind: 'event', channel: 'ticker', symbol, sourceTime: timeOf(ticker.timestamp), payload })
  }
}

function fieldsOf(ticker: CcxtTicker): Omit<Ticker, 'type'> {
  const fields = {
    bid: decimalOf(ticker.bid),
    bidSize: decimalOf(ticker.bidVolume),
    ask: decimalOf(ticker.ask),
    askSize: decimalOf(ticker.askVolume),
    last: decimalOf(ticker.last),
    open: decimalOf(ticker.open),
    high: decimalOf(ticker.high),
    low: decimalOf(ticker.low),
    volume: decimalOf(ticker.baseVolume),
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

export class TradesReader implements Reader {
  readonly #symbol: string

  constructor({ symbol }: Subscription) {
    this.#symbol = symbol
  }

  read(result: unknown, emit: (update: Decoded) => void): void {
    // Some venues send the newest first.
    const trades = (result as readonly CcxtTrade[]).toSorted(
      (a, b) => (a.timestamp ?? 0) - (b.timestamp ?? 0),
    )
    for (const trade of trades) emit(decodeTrade(trade, this.#symbol))
  }
}

export function decodeTrade(trade: CcxtTrade, symbol: string): Decoded {
  const price = decimalOf(trade.price)
  const size = decimalOf(trade.amount)
  if (price === undefined || size === undefined)
    return { kind: 'malformed', reason: 'trade without price or size', channel: 'trades', symbol }
  const { id, side } = trade
  const payload: Trade = {
    type: 'trade',
    ...(id !== undefined && id !== null && TRADE_ID.test(id) && { id }),
    price,
    size,
    side: side === 'buy' || side === 'sell' ? side : 'unknown',
  }
  return { kind: 'event', channel: 'trades', symbol, sourceTime: timeOf(trade.timestamp), payload }
}

/**
 * ccxt does not say that a candle is closed: the one before the newest is, with the values it had last. Of the history
 * that some venues send first, the newest two candles are taken.
 */
export class CandlesReader implements Reader {
  readonly #symbol: string
  readonly #timeframe: string
  #open: Candle | undefined

  constructor({ symbol, timeframe = '1m' }: Subscription) {
    this.#symbol = symbol
    this.#timeframe = timeframe
  }

  read(result: unknown, emit: (update: Decoded) => void): void {
    const rows = (result as readonly CcxtCandle[]).toSorted((a, b) => Number(a[0]) - Number(b[0]))
    for (const row of this.#open ? rows : rows.slice(-2)) {
      const candle = this.#candle(row)
      if (candle) this.#next(candle, emit)
      else this.#emitMalformed(emit)
    }
  }

  #next(candle: Candle, emit: (update: Decoded) => void): void {
    const open = this.#open
    // Older than the open one: told as closed before.
    if (open && candle.openTime < open.openTime) return
    if (open && candle.openTime > open.openTime) this.#emit({ ...open, closed: true }, emit)
    else if (open && same(open, candle)) return
    this.#open = candle
    this.#emit(candle, emit)
  }

  #candle([openTime, ...values]: CcxtCandle): Candle | undefined {
    const [open, high, low, close, volume] = values.map(decimalOf)
    const opened = timeOf(Number(openTime))
    if (opened === undefined || !open || !high || !low || !close) return undefined
    return {
      type: 'ohlcv',
      timeframe: this.#timeframe,
      openTime: opened,
      open,
      high,
      low,
      close,
      volume: volume ?? '0',
      closed: false,
      origin: 'venue',
      revision: 0,
    }
  }

  #emit(payload: Candle, emit: (update: Decoded) => void): void {
    emit({ kind: 'event', channel: 'ohlcv', symbol: this.#symbol, timeframe: this.#timeframe, payload })
  }

  #emitMalformed(emit: (update: Decoded) => void): void {
    emit({ kind: 'malformed', reason: 'candle without its prices', channel: 'ohlcv', symbol: this.#symbol })
  }
}

function same(a: Candle, b: Candle): boolean {
  return (
    a.open === b.open && a.high === b.high && a.low === b.low && a.close === b.close && a.volume === b.volume
  )
}

export function decimalOf(value: Numeric): Decimal | undefined {
  return typeof value === 'string' || typeof value === 'number' ? toDecimal(value) : undefined
}

export function timeOf(milliseconds: number | undefined): Micros | undefined {
  return milliseconds === undefined || milliseconds === null
    ? undefined
    : epochMicros(Math.round(milliseconds))
}
