import type { Decimal } from '../../market/event.ts'
import { hash, Random } from './random.ts'

/** How one simulated symbol trades. Prices are counted in ticks, sizes in lots: integers, so no digit is ever noise. */
interface Instrument {
  readonly priceDecimals: number
  readonly startTicks: number
  readonly sizeDecimals: number
  /** A usual order, in lots. */
  readonly orderLots: number
  /** Standard deviation of the mid over a tenth of a second, in ticks. */
  readonly sigmaTicks: number
  /** Usual distance between two levels of the book, in ticks. */
  readonly levelTicks: number
}

/** Start price as written, so that its decimals are the tick; a usual order likewise; volatility per tenth of a second. */
const KNOWN: Readonly<Record<string, readonly [price: string, order: string, sigma: number]>> = {
  'BTC/USDT': ['67250.00', '0.04000', 2.4e-5],
  'ETH/USDT': ['3480.00', '0.6000', 3e-5],
  'SOL/USDT': ['148.50', '12.000', 4e-5],
  'XRP/USDT': ['0.5230', '2400.0', 4e-5],
  'ADA/USDT': ['0.4470', '3000.0', 4e-5],
  'DOGE/USDT': ['0.12840', '9000', 5e-5],
  'BNB/USDT': ['584.20', '2.000', 3e-5],
  'LTC/USDT': ['82.40', '10.000', 4e-5],
  'EUR/USD': ['1.08450', '1000000', 6e-6],
  'GBP/USD': ['1.26730', '1000000', 7e-6],
  'USD/JPY': ['154.320', '1000000', 7e-6],
  'USD/CHF': ['0.88120', '1000000', 6e-6],
  'AUD/USD': ['0.65480', '1000000', 7e-6],
  'USD/CAD': ['1.37150', '1000000', 6e-6],
  'NZD/USD': ['0.59870', '1000000', 7e-6],
  'EUR/GBP': ['0.85570', '1000000', 6e-6],
}

/** The mid is drawn back to its start, so that it stays within about a percent or two of it for ever. */
const RANGE_SIGMAS = 200

export function instrumentOf(symbol: string): Instrument {
  const known = KNOWN[symbol] ?? KNOWN[symbol.replace(/\/USDC?$/, '/USDT')]
  const [price, order, sigma] = known ?? [invented(symbol), '10.000', 4e-5]
  const startTicks = Number(price.replace('.', ''))
  return {
    priceDecimals: decimalsOf(price),
    startTicks,
    sizeDecimals: decimalsOf(order),
    orderLots: Number(order.replace('.', '')),
    sigmaTicks: startTicks * sigma,
    levelTicks: Math.max(1, Math.round(startTicks * sigma * 0.4)),
  }
}

function invented(symbol: string): string {
  return fixed(10_000 + (hash(symbol) % 5_000_000), 4)
}

function decimalsOf(text: string): number {
  const point = text.indexOf('.')
  return point < 0 ? 0 : text.length - point - 1
}

/** `fixed(185, 2)` is `"1.85"`: every decimal written, trailing zeros too. */
export function fixed(units: number | bigint, decimals: number): Decimal {
  if (decimals === 0) return String(units)
  const digits = String(units).padStart(decimals + 1, '0')
  return `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`
}

/**
 * The market of one symbol, one step at a time. Its path depends on the seed and the symbol alone, so that ticker,
 * trades, candles and book of a symbol, each stepping a model of its own, tell the same story.
 */
export class MarketModel {
  readonly instrument: Instrument
  /** Best bid and ask after the last step, in ticks; never crossed. */
  bid = 0
  ask = 0
  /** The trade of the last step. */
  tradeTicks = 0
  tradeLots = 0
  takerBuys = false
  readonly #random: Random
  readonly #sigma: number
  readonly #pull: number
  /** From the start price, in ticks. */
  #drift = 0

  /** `rate`: steps a second; what a second moves does not depend on it. */
  constructor(seed: number, symbol: string, rate: number) {
    this.instrument = instrumentOf(symbol)
    this.#random = new Random(`${seed}|market|${symbol}`)
    this.#sigma = this.instrument.sigmaTicks * Math.sqrt(10 / rate)
    this.#pull = Math.min(0.5, 10 / rate / (2 * RANGE_SIGMAS * RANGE_SIGMAS))
    this.step()
  }

  step(): void {
    const random = this.#random
    this.#drift += this.#sigma * random.normal() - this.#pull * this.#drift
    const { startTicks, levelTicks, orderLots } = this.instrument
    // Half of the start price is further than the pull ever lets it go; the floor keeps any setting positive.
    const mid = Math.max(Math.ceil(startTicks / 2), startTicks + Math.round(this.#drift))
    const spread = random.integer(1, 1 + Math.ceil(levelTicks / 2))
    this.bid = mid - (spread >> 1)
    this.ask = this.bid + spread
    this.takerBuys = random.chance(0.5)
    this.tradeTicks = this.takerBuys ? this.ask : this.bid
    this.tradeLots = random.integer(1, Math.max(1, orderLots >> (random.chance(0.8) ? 2 : 0)))
  }

  price(ticks: number): Decimal {
    return fixed(ticks, this.instrument.priceDecimals)
  }

  size(lots: number): Decimal {
    return fixed(lots, this.instrument.sizeDecimals)
  }
}
