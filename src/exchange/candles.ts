import { fixed } from '../connectors/simulator/market-model.ts'
import { compareDecimals, ticksOf } from '../market/decimal.ts'
import type { Decimal, Micros } from '../market/event.ts'

const MINUTE = 60_000_000
/** Minutes that REST can still give: a day. */
const MAX_MINUTES = 1_440

/** What is needed of the market. */
interface Decimals {
  readonly priceDecimals: number
  readonly sizeDecimals: number
}

interface Traded {
  readonly price: Decimal
  readonly size: Decimal
}

export interface MarketCandle {
  readonly openTime: Micros
  readonly open: Decimal
  readonly high: Decimal
  readonly low: Decimal
  readonly close: Decimal
  readonly volume: Decimal
  readonly quoteVolume: Decimal
  readonly trades: number
}

interface Building {
  openTime: Micros
  open: Decimal
  high: Decimal
  low: Decimal
  close: Decimal
  volume: bigint
  quote: bigint
  trades: number
}

/** Candles of one market: each minute is kept for a day, and longer ones are made of them. */
export class Candles {
  readonly #decimals: Decimals
  /** Oldest first, the last one being built; cut when twice as long as it may be. */
  #minutes: Building[]

  /** `price`: that of the last trade before. */
  constructor(decimals: Decimals, startTime: Micros, price: Decimal) {
    this.#decimals = decimals
    this.#minutes = [begin(startTime - (startTime % MINUTE), price)]
  }

  step(time: Micros, trade: Traded | undefined): void {
    let current = this.#minutes.at(-1)!
    while (time >= current.openTime + MINUTE) {
      // A pause of more than a day leaves no minute behind.
      const openTime = Math.max(current.openTime + MINUTE, time - (time % MINUTE) - MAX_MINUTES * MINUTE)
      current = begin(openTime, current.close)
      this.#minutes.push(current)
    }
    if (this.#minutes.length >= 2 * MAX_MINUTES) this.#minutes = this.#minutes.slice(-MAX_MINUTES)
    if (trade) add(current, trade, this.#decimals)
  }

  /** Oldest first, the last one being built. `timeframe`: µs, whole minutes. */
  list(timeframe: Micros): MarketCandle[] {
    const merged: Building[] = []
    for (const minute of this.#minutes) {
      const openTime = minute.openTime - (minute.openTime % timeframe)
      const last = merged.at(-1)
      if (last?.openTime === openTime) join(last, minute)
      else merged.push({ ...minute, openTime })
    }
    return merged.map((candle) => told(candle, this.#decimals))
  }

  /** One timeframe (µs) as a stream tells it from now on, what is known of it included. */
  follow(timeframe: Micros, now: Micros): Follower {
    const openTime = now - (now % timeframe)
    const current = begin(openTime, this.#minutes.at(-1)!.close)
    for (const minute of this.#minutes) if (minute.openTime >= openTime) join(current, minute)
    return new Follower(this.#decimals, timeframe, current)
  }
}

/** The candle that is being built, of any timeframe. */
export class Follower {
  readonly #decimals: Decimals
  readonly #timeframe: Micros
  #current: Building

  constructor(decimals: Decimals, timeframe: Micros, current: Building) {
    this.#decimals = decimals
    this.#timeframe = timeframe
    this.#current = current
  }

  get current(): MarketCandle {
    return told(this.#current, this.#decimals)
  }

  /** After the market's step: the candle that closed by it, if one did, is told before the trade counts. */
  step(time: Micros, trade: Traded | undefined, closed: (candle: MarketCandle) => void): void {
    if (time >= this.#current.openTime + this.#timeframe) {
      closed(this.current)
      this.#current = begin(time - (time % this.#timeframe), this.#current.close)
    }
    if (trade) add(this.#current, trade, this.#decimals)
  }
}

function begin(openTime: Micros, price: Decimal): Building {
  return { openTime, open: price, high: price, low: price, close: price, volume: 0n, quote: 0n, trades: 0 }
}

function add(candle: Building, { price, size }: Traded, { priceDecimals, sizeDecimals }: Decimals): void {
  // A candle begins with its first trade.
  if (candle.trades === 0) candle.open = candle.high = candle.low = price
  if (compareDecimals(price, candle.high) > 0) candle.high = price
  if (compareDecimals(price, candle.low) < 0) candle.low = price
  candle.close = price
  const lots = ticksOf(size, sizeDecimals)
  candle.volume += lots
  candle.quote += lots * ticksOf(price, priceDecimals)
  candle.trades++
}

function join(candle: Building, later: Building): void {
  if (later.trades === 0) return
  if (candle.trades === 0) Object.assign(candle, { ...later, openTime: candle.openTime })
  else {
    if (compareDecimals(later.high, candle.high) > 0) candle.high = later.high
    if (compareDecimals(later.low, candle.low) < 0) candle.low = later.low
    candle.close = later.close
    candle.volume += later.volume
    candle.quote += later.quote
    candle.trades += later.trades
  }
}

function told(candle: Building, { priceDecimals, sizeDecimals }: Decimals): MarketCandle {
  return {
    ...candle,
    volume: fixed(candle.volume, sizeDecimals),
    quoteVolume: fixed(candle.quote, priceDecimals + sizeDecimals),
  }
}
