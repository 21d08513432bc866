import type { Decoded } from '../connector.ts'
import { type Feed, type FeedContext, SIMULATED } from './feed.ts'
import { fixed, MarketModel } from './market-model.ts'

interface Bar {
  readonly openTime: number
  readonly open: number
  high: number
  low: number
  close: number
  lots: number
  trades: number
  /** Ticks times lots; a bigint, since a day of it passes 2^53. */
  value: bigint
}

/** Candles of the very trades that the trades topic of the symbol has: an update a trade, then one `closed`. */
export class CandleFeed implements Feed {
  readonly #symbol: string
  readonly #timeframe: string
  readonly #length: number
  readonly #model: MarketModel
  #bar: Bar | undefined

  /** `length`: of the timeframe, µs. */
  constructor(symbol: string, timeframe: string, length: number, { seed, rate }: FeedContext) {
    this.#symbol = symbol
    this.#timeframe = timeframe
    this.#length = length
    this.#model = new MarketModel(seed, symbol, rate)
  }

  step(time: number, emit: (update: Decoded) => void): void {
    this.#model.step()
    const { tradeTicks: price, tradeLots: lots } = this.#model
    let bar = this.#bar
    // A closed candle stays closed, even when the clock is set back.
    const openTime = Math.max(time - (time % this.#length), bar?.openTime ?? 0)
    if (bar === undefined || bar.openTime !== openTime) {
      if (bar) emit(this.#event(bar, true, time))
      bar = { openTime, open: price, high: price, low: price, close: price, lots: 0, trades: 0, value: 0n }
      this.#bar = bar
    }
    bar.high = Math.max(bar.high, price)
    bar.low = Math.min(bar.low, price)
    bar.close = price
    bar.lots += lots
    bar.trades++
    bar.value += BigInt(price) * BigInt(lots)
    emit(this.#event(bar, false, time))
  }

  #event(bar: Bar, closed: boolean, time: number): Decoded {
    const model = this.#model
    const { priceDecimals, sizeDecimals } = model.instrument
    return {
      kind: 'event',
      channel: 'ohlcv',
      symbol: this.#symbol,
      timeframe: this.#timeframe,
      sourceTime: time,
      flags: SIMULATED,
      payload: {
        type: 'ohlcv',
        timeframe: this.#timeframe,
        openTime: bar.openTime,
        open: model.price(bar.open),
        high: model.price(bar.high),
        low: model.price(bar.low),
        close: model.price(bar.close),
        volume: model.size(bar.lots),
        quoteVolume: fixed(bar.value, priceDecimals + sizeDecimals),
        trades: bar.trades,
        closed,
        origin: 'venue',
        revision: 0,
      },
    }
  }
}
