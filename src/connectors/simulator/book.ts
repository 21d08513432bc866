import type { Level } from '../../market/event.ts'
import type { Decoded } from '../connector.ts'
import { type Feed, type FeedContext, SIMULATED } from './feed.ts'
import { MarketModel } from './market-model.ts'
import { Random } from './random.ts'

/** One side: lots by price in ticks. `away` is the direction of worse prices: 1 for asks, -1 for bids. */
class Side {
  readonly away: 1 | -1
  readonly lots = new Map<number, number>()
  /** Best first. */
  readonly prices: number[] = []
  /** Prices changed since `takeChanges`, and whether the side had them then. */
  #touched = new Map<number, boolean>()

  constructor(away: 1 | -1) {
    this.away = away
  }

  put(price: number, lots: number): void {
    if (!this.#touched.has(price)) this.#touched.set(price, this.lots.has(price))
    if (!this.lots.has(price)) this.prices.splice(this.#place(price), 0, price)
    this.lots.set(price, lots)
  }

  drop(price: number): void {
    if (!this.#touched.has(price)) this.#touched.set(price, true)
    this.prices.splice(this.#place(price), 1)
    this.lots.delete(price)
  }

  takeChanges(): number[] {
    const changes: number[] = []
    for (const [price, was] of this.#touched) if (was || this.lots.has(price)) changes.push(price)
    this.#touched = new Map()
    return changes
  }

  /** Where the price stands, or would stand. */
  #place(price: number): number {
    let low = 0
    let high = this.prices.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (((this.prices[middle] as number) - price) * this.away < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}

export interface BookLevels {
  readonly bids: Level[]
  readonly asks: Level[]
}

/** The book of a market model: as many levels a side as its depth, never crossed. */
export class BookModel {
  readonly #depth: number
  readonly #model: MarketModel
  readonly #random: Random
  readonly #bids = new Side(-1)
  readonly #asks = new Side(1)

  constructor(model: MarketModel, random: Random, depth: number) {
    this.#model = model
    this.#random = random
    this.#depth = depth
  }

  /** What changes, in no order. After a step of the market both sides must move; between steps one may by itself. */
  step(only?: 'bids' | 'asks'): BookLevels {
    return {
      bids: only === 'asks' ? [] : this.#levels(this.#bids, this.#move(this.#bids, this.#model.bid)),
      asks: only === 'bids' ? [] : this.#levels(this.#asks, this.#move(this.#asks, this.#model.ask)),
    }
  }

  /** Best first. */
  levels(): BookLevels {
    return {
      bids: this.#levels(this.#bids, this.#bids.prices),
      asks: this.#levels(this.#asks, this.#asks.prices),
    }
  }

  /** Brings one side to its new best price and stirs a few levels; the answer is the prices that changed. */
  #move(side: Side, best: number): number[] {
    const { away, prices, lots } = side
    const random = this.#random
    const { levelTicks } = this.#model.instrument
    while (prices[0] !== undefined && (prices[0] - best) * away < 0) side.drop(prices[0])
    side.put(best, this.#order())
    let far = prices.at(-1) as number
    for (let i = 0; i < 3; i++) {
      const price = best + away * random.integer(1, levelTicks * Math.min(this.#depth, 20))
      if ((price - far) * away > 0) continue
      if (lots.has(price) && random.chance(0.3)) side.drop(price)
      else side.put(price, this.#order())
    }
    while (prices.length < this.#depth) {
      far += away * random.integer(1, 2 * levelTicks)
      if (far <= 0) break
      side.put(far, this.#order())
    }
    while (prices.length > this.#depth) side.drop(prices.at(-1) as number)
    return side.takeChanges()
  }

  #order(): number {
    const { orderLots } = this.#model.instrument
    return this.#random.integer(Math.ceil(orderLots / 20), orderLots * (this.#random.chance(0.1) ? 8 : 2))
  }

  #levels(side: Side, prices: Iterable<number>): Level[] {
    const levels: Level[] = []
    for (const price of prices) {
      const lots = side.lots.get(price)
      levels.push([this.#model.price(price), lots === undefined ? '0' : this.#model.size(lots)])
    }
    return levels
  }
}

/** A snapshot, then deltas whose ids follow each other without a hole. */
export class BookFeed implements Feed {
  readonly #symbol: string
  readonly #model: MarketModel
  readonly #book: BookModel
  #last = 0
  #snapshotDue = true

  constructor(symbol: string, depth: number, { seed, rate }: FeedContext) {
    this.#symbol = symbol
    this.#model = new MarketModel(seed, symbol, rate)
    this.#book = new BookModel(this.#model, new Random(`${seed}|orderbook|${symbol}`), depth)
  }

  /** The next step says the whole book again: what a venue does when asked a second time. */
  restart(): void {
    this.#snapshotDue = true
  }

  step(time: number, emit: (update: Decoded) => void): void {
    this.#model.step()
    const changes = this.#book.step()
    const snapshot = this.#snapshotDue
    this.#snapshotDue = false
    const first = this.#last + 1
    // As at a venue, a message covers every change since the one before it.
    this.#last += Math.max(1, changes.bids.length + changes.asks.length)
    emit({
      kind: 'book',
      symbol: this.#symbol,
      snapshot,
      ...(snapshot ? this.#book.levels() : changes),
      sourceTime: time,
      flags: SIMULATED,
      first: snapshot ? this.#last : first,
      last: this.#last,
    })
  }
}
