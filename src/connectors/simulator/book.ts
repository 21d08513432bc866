import type { Level } from '../../market/event.ts'
import type { Decoded } from '../connector.ts'
import { type Feed, type FeedContext, SIMULATED } from './feed.ts'
import { MarketModel } from './market-model.ts'
import { Random } from './random.ts'

/** Lots by ticks, and the side's direction: +1 for asks (worse is higher), -1 for bids. */
interface Side {
  readonly away: 1 | -1
  readonly lots: Map<number, number>
  /** Prices, best first. */
  prices: number[]
}

/** A snapshot, then deltas whose ids follow each other without a hole. Depth levels a side, never crossed. */
export class BookFeed implements Feed {
  readonly #symbol: string
  readonly #depth: number
  readonly #model: MarketModel
  readonly #random: Random
  readonly #bids: Side = { away: -1, lots: new Map(), prices: [] }
  readonly #asks: Side = { away: 1, lots: new Map(), prices: [] }
  #last = 0
  #snapshotDue = true

  constructor(symbol: string, depth: number, { seed, rate }: FeedContext) {
    this.#symbol = symbol
    this.#depth = depth
    this.#model = new MarketModel(seed, symbol, rate)
    this.#random = new Random(`${seed}|orderbook|${symbol}`)
  }

  /** The next step says the whole book again: what a venue does when asked a second time. */
  restart(): void {
    this.#snapshotDue = true
  }

  step(time: number, emit: (update: Decoded) => void): void {
    this.#model.step()
    const bids = this.#move(this.#bids, this.#model.bid)
    const asks = this.#move(this.#asks, this.#model.ask)
    const snapshot = this.#snapshotDue
    this.#snapshotDue = false
    const first = this.#last + 1
    // As at a venue, a message covers every change since the one before it.
    this.#last += Math.max(1, bids.length + asks.length)
    emit({
      kind: 'book',
      symbol: this.#symbol,
      snapshot,
      bids: this.#levels(this.#bids, snapshot ? this.#bids.prices : bids),
      asks: this.#levels(this.#asks, snapshot ? this.#asks.prices : asks),
      sourceTime: time,
      flags: SIMULATED,
      first: snapshot ? this.#last : first,
      last: this.#last,
    })
  }

  /** Brings one side to its new best price and stirs a few levels; the answer is the prices that changed. */
  #move(side: Side, best: number): number[] {
    const { lots, away } = side
    const random = this.#random
    const { levelTicks } = this.#model.instrument
    /** Touched prices, and whether the side had them before. */
    const touched = new Map<number, boolean>()
    const put = (price: number) => {
      if (!touched.has(price)) touched.set(price, lots.has(price))
      lots.set(price, this.#order())
    }
    const drop = (price: number) => {
      if (!touched.has(price)) touched.set(price, true)
      lots.delete(price)
    }
    for (const price of side.prices) {
      if ((price - best) * away >= 0) break
      drop(price)
    }
    put(best)
    let far = side.prices.at(-1) ?? best
    if ((far - best) * away < 0) far = best
    for (let i = 0; i < 3; i++) {
      const price = best + away * random.integer(1, levelTicks * Math.min(this.#depth, 20))
      if ((price - far) * away > 0) continue
      if (lots.has(price) && random.chance(0.3)) drop(price)
      else put(price)
    }
    while (lots.size < this.#depth) {
      far += away * random.integer(1, 2 * levelTicks)
      if (far <= 0) break
      put(far)
    }
    side.prices = [...lots.keys()].sort((a, b) => (a - b) * away)
    for (const price of side.prices.splice(this.#depth)) drop(price)
    const changed: number[] = []
    for (const [price, was] of touched) if (was || lots.has(price)) changed.push(price)
    return changed
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
