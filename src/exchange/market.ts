import { BookModel } from '../connectors/simulator/book.ts'
import { fixed, MarketModel } from '../connectors/simulator/market-model.ts'
import { hash, Random } from '../connectors/simulator/random.ts'
import type { Decimal, Level, Micros } from '../market/event.ts'
import { OrderBook } from '../market/order-book.ts'
import { type MarketType, marketOf } from '../market/symbol.ts'
import { Candles } from './candles.ts'

/** Steps move prices as tenths of a second do, whatever the rate: so the path depends on seed and symbol alone. */
const MODEL_RATE = 10
/** Which side of the book a step moves; undefined: prices move, and with them both. */
const SIDES = ['bids', 'asks', undefined] as const
/** Trades that REST can still give; older ones are gone, as at a venue. */
const MAX_TRADES = 10_000
/** Steps that are trades as well. */
const TRADES = 0.4
const FUNDING_MICROS = 8 * 3_600 * 1_000_000

export interface MarketTrade {
  /** Contiguous within a market. */
  readonly id: number
  readonly price: Decimal
  readonly size: Decimal
  readonly takerBuys: boolean
  readonly time: Micros
  /** Forced: told by liquidation streams as well. Derivatives only. */
  readonly liquidation: boolean
}

/** The last 24 hours, or as long as the market runs. */
export interface DayFigures {
  readonly open: Decimal
  readonly high: Decimal
  readonly low: Decimal
  readonly volume: Decimal
  readonly quoteVolume: Decimal
  readonly trades: number
}

export interface MarketOptions {
  readonly seed: number
  readonly symbol: string
  /** Levels a side of the true book. */
  readonly depth: number
  readonly startTime: Micros
}

/**
 * The true market of one symbol, one step at a time. After `n` steps book, trades and ids are the same for the same seed
 * and symbol, so what the market was at any step can be had again by walking there anew.
 */
export class Market {
  readonly symbol: string
  readonly base: string
  readonly quote: string
  /** Of derivatives: the currency behind the colon. */
  readonly settle: string | undefined
  /** Of dated futures: `YYMMDD`. */
  readonly expiry: string | undefined
  /** Levels a side of the book. */
  readonly depth: number
  readonly priceDecimals: number
  readonly sizeDecimals: number
  /** What clients' books must equal. */
  readonly book = new OrderBook()
  readonly candles: Candles
  /** Steps so far. */
  seq = 0
  time: Micros
  /** Ids of the last step's book message; `firstUpdate` follows the `lastUpdate` of the step before. */
  firstUpdate: number
  lastUpdate: number
  /** What the last step changed in the book. */
  bids: readonly Level[] = []
  asks: readonly Level[] = []
  /** Of the last step. */
  trade: MarketTrade | undefined
  /** The newest; before the first step one that nobody was sent. */
  lastTrade: MarketTrade
  openInterest: number
  readonly #options: MarketOptions
  readonly #model: MarketModel
  readonly #levels: BookModel
  readonly #random: Random
  /** Oldest first, from `#oldest` on: the list is cut when it is twice as long as it may be. */
  #trades: MarketTrade[] = []
  readonly #day: { open: number; high: number; low: number; lots: number; quote: bigint; trades: number }

  constructor(options: MarketOptions) {
    const { seed, symbol, depth, startTime } = options
    this.#options = options
    this.symbol = symbol
    const { base, quote, settle, expiry } = marketOf(symbol) ?? { base: symbol, quote: '' }
    this.depth = depth
    this.base = base
    this.quote = quote
    this.settle = settle
    this.expiry = expiry
    // A derivative follows the prices of its pair.
    this.#model = new MarketModel(seed, `${base}/${quote}`, MODEL_RATE)
    this.#random = new Random(`${seed}|exchange|${symbol}`)
    this.#levels = new BookModel(this.#model, this.#random, depth)
    this.priceDecimals = this.#model.instrument.priceDecimals
    this.sizeDecimals = this.#model.instrument.sizeDecimals
    this.time = startTime
    this.lastUpdate = 1_000_000 + (hash(`${seed}|${symbol}|updates`) % 1_000_000_000)
    this.firstUpdate = this.lastUpdate
    this.openInterest = 50_000 + (hash(`${seed}|${symbol}|interest`) % 50_000)
    this.#levels.step()
    const { bids, asks } = this.#levels.levels()
    this.book.reset(bids, asks)
    const id = 1_000 + (hash(`${seed}|${symbol}|trades`) % 1_000_000)
    this.lastTrade = this.#trade(id, startTime)
    const ticks = this.#model.tradeTicks
    this.#day = { open: ticks, high: ticks, low: ticks, lots: 0, quote: 0n, trades: 0 }
    this.candles = new Candles(this, startTime, this.lastTrade.price)
  }

  get type(): MarketType {
    return this.settle === undefined ? 'spot' : this.expiry === undefined ? 'swap' : 'future'
  }

  /** Of dated futures, epoch ms: 8 h UTC of that day. */
  get expiresAt(): number {
    const { expiry = '' } = this
    const [year, month, day] = [0, 2, 4].map((at) => Number(expiry.slice(at, at + 2)))
    return Date.UTC(2000 + year!, month! - 1, day, 8)
  }

  /** `time`: later than the step before. */
  step(time: Micros): void {
    this.seq++
    this.time = time
    const only = this.#random.pick(SIDES)
    if (only === undefined) this.#model.step()
    const changes = this.#levels.step(only)
    this.bids = changes.bids
    this.asks = changes.asks
    this.book.apply(changes.bids, changes.asks)
    this.firstUpdate = this.lastUpdate + 1
    this.lastUpdate += Math.max(1, changes.bids.length + changes.asks.length)
    this.trade = undefined
    if (this.#random.chance(TRADES)) this.#traded(time)
    this.candles.step(time, this.trade)
  }

  #traded(time: Micros): void {
    const trade = this.#trade(this.lastTrade.id + 1, time)
    const { tradeTicks: ticks, tradeLots: lots } = this.#model
    const day = this.#day
    day.high = Math.max(day.high, ticks)
    day.low = Math.min(day.low, ticks)
    day.lots += lots
    day.quote += BigInt(ticks * lots)
    day.trades++
    if (this.settle !== undefined) this.openInterest += this.#random.integer(-3, 3)
    this.trade = this.lastTrade = trade
    this.#trades.push(trade)
    if (this.#trades.length >= 2 * MAX_TRADES) this.#trades = this.#trades.slice(-MAX_TRADES)
  }

  #trade(id: number, time: Micros): MarketTrade {
    const { tradeTicks, tradeLots, takerBuys } = this.#model
    return {
      id,
      price: this.#model.price(tradeTicks),
      size: this.#model.size(tradeLots),
      takerBuys,
      time,
      liquidation: this.settle !== undefined && this.#random.chance(0.02),
    }
  }

  /** At most the newest 10,000, oldest first. */
  get trades(): readonly MarketTrade[] {
    return this.#trades
  }

  get day(): DayFigures {
    const { open, high, low, lots, quote, trades } = this.#day
    const model = this.#model
    return {
      open: model.price(open),
      high: model.price(high),
      low: model.price(low),
      volume: model.size(lots),
      quoteVolume: fixed(quote, this.priceDecimals + this.sizeDecimals),
      trades,
    }
  }

  /** Between best bid and best ask. */
  get mark(): Decimal {
    return this.#model.price((this.#model.bid + this.#model.ask) >> 1)
  }

  /** A part of one, such as `0.00012300`; stays for the eight hours that it is for. */
  get fundingRate(): Decimal {
    const { seed } = this.#options
    const units = (hash(`${seed}|${this.symbol}|${this.nextFunding}`) % 40_000) - 10_000
    return `${units < 0 ? '-' : ''}${fixed(Math.abs(units), 8)}`
  }

  get nextFunding(): Micros {
    return (Math.floor(this.time / FUNDING_MICROS) + 1) * FUNDING_MICROS
  }

  /** The smallest price and size there are, as decimals. */
  get tick(): Decimal {
    return fixed(1, this.priceDecimals)
  }

  get lot(): Decimal {
    return fixed(1, this.sizeDecimals)
  }

  /** The market as it was after `seq` steps (0: as it began), walked anew; its times are not those of then. */
  at(seq: number): Market {
    const again = new Market(this.#options)
    while (again.seq < seq) again.step(again.time + 1)
    return again
  }
}
