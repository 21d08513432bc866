import { compareDecimals } from './decimal.ts'
import type { Level } from './event.ts'
import type { OrderBook, Side } from './order-book.ts'

export interface BookChange {
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
}

const NOTHING: readonly Level[] = []

/**
 * A book as a client at this depth sees it, exactly: a level pushed out is told with size `"0"`, one that comes in is
 * told. Whoever applies every change holds the best `depth` levels, digit for digit.
 */
export class DepthView {
  readonly #bids: SideView
  readonly #asks: SideView

  /** `depth`: levels a side; Infinity for all. */
  constructor(depth: number) {
    this.#bids = new SideView('bids', depth)
    this.#asks = new SideView('asks', depth)
  }

  /** Begins anew from the book. Answers the best levels, best first. */
  reset(book: OrderBook): BookChange {
    return { bids: this.#bids.reset(book), asks: this.#asks.reset(book) }
  }

  /** The best levels as told last, best first. */
  shown(): BookChange {
    return { bids: this.#bids.shown(), asks: this.#asks.shown() }
  }

  /** What changed in the view since the last call; undefined if nothing did. Removals stand first. */
  change(book: OrderBook): BookChange | undefined {
    const bids = this.#bids.change(book)
    const asks = this.#asks.change(book)
    return bids.length === 0 && asks.length === 0 ? undefined : { bids, asks }
  }
}

class SideView {
  readonly #side: Side
  readonly #depth: number
  /** What the client holds, best first. */
  #shown: Level[] = []
  #revision = -1

  constructor(side: Side, depth: number) {
    this.#side = side
    this.#depth = depth
  }

  reset(book: OrderBook): readonly Level[] {
    this.#revision = book.revision(this.#side)
    this.#shown = book.top(this.#side, this.#depth)
    return [...this.#shown]
  }

  shown(): readonly Level[] {
    return [...this.#shown]
  }

  change(book: OrderBook): readonly Level[] {
    const from = book.touchedSince(this.#side, this.#revision)
    this.#revision = book.revision(this.#side)
    if (from >= this.#depth) return NOTHING
    const shown = this.#shown
    const end = Math.min(this.#depth, book.size(this.#side))
    const gone: Level[] = []
    const come: Level[] = []
    let old = from
    let now = from
    while (old < shown.length || now < end) {
      const before = shown[old]
      const after = now < end ? book.at(this.#side, now) : undefined
      // A level that did not change is the same object: most comparisons end here.
      const order = before === after ? 0 : this.#order(before, after)
      if (order <= 0) old++
      if (order >= 0) now++
      if (before === after) continue
      if (before && (order < 0 || (order === 0 && before[0] !== after?.[0]))) gone.push([before[0], '0'])
      if (after && (order > 0 || (order === 0 && (before?.[0] !== after[0] || before[1] !== after[1]))))
        come.push(after)
    }
    shown.length = from
    for (let rank = from; rank < end; rank++) shown.push(book.at(this.#side, rank)!)
    return gone.length === 0 ? come : gone.concat(come)
  }

  /** Below 0: `before` is the better price, so it is no longer in the book; above 0: `after` is new. */
  #order(before: Level | undefined, after: Level | undefined): number {
    if (!before) return 1
    if (!after) return -1
    const order = compareDecimals(before[0], after[0])
    return this.#side === 'asks' ? order : -order
  }
}
