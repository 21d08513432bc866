import { CRC_START, crcDigits, crcText, crcValue } from './crc32.ts'
import { fractionLength, isZero, ticksOf } from './decimal.ts'
import type { Decimal, Level } from './event.ts'

export type Side = 'bids' | 'asks'

/** Levels that fell out of a truncated book, as they were. */
export interface PushedOut {
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
}

const NO_LEVELS: readonly Level[] = []

/**
 * A price as an integer of 10^-scale, negated for asks, so that on both sides the best is the greatest.
 * A bigint only above 2^53: JavaScript compares the two kinds exactly.
 */
type Ticks = number | bigint

/** Levels a side at most. When a side is full its worst level goes: it is the farthest from any trade. */
const MAX_LEVELS = 100_000
/** Kraken's checksum covers so many levels a side. */
const KRAKEN_LEVELS = 10
/** The contract's checksum covers so many levels a side, and OKX's. */
const CHECKSUM_LEVELS = 25
/** Changes are mostly this near to the best level: there a short loop beats a search and a block move. */
const NEAR = 16

/** One side: sorted arrays, the best level last, so that the usual change moves little. */
class BookSide {
  readonly ticks: Ticks[] = []
  readonly levels: Level[] = []
  /** Grows with every message. */
  revision = 0
  /** Lowest rank that the last message touched; 0 is the best. */
  touched = 0

  /** Keeps the level in its place; size "0" removes it. */
  set(ticks: Ticks, level: Level, removes: boolean): void {
    const at = this.#find(ticks)
    const found = this.ticks[at] === ticks
    if (removes && !found) return
    const rank = this.ticks.length - at - (found ? 1 : 0)
    if (rank < this.touched) this.touched = rank
    if (!found) {
      insertAt(this.ticks, at, ticks)
      insertAt(this.levels, at, level)
    } else if (removes) {
      removeAt(this.ticks, at)
      removeAt(this.levels, at)
    } else this.levels[at] = level
  }

  /** The first place whose price is not worse. */
  #find(ticks: Ticks): number {
    const all = this.ticks
    let high = all.length
    const near = high - NEAR
    if (near <= 0 || all[near]! < ticks) {
      while (high > 0 && all[high - 1]! >= ticks) high--
      return high
    }
    let low = 0
    high = near
    while (low < high) {
      const middle = (low + high) >>> 1
      if (all[middle]! < ticks) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Forgets the worst levels beyond `count`, and tells which. */
  truncate(count: number): readonly Level[] {
    const excess = this.ticks.length - count
    if (excess <= 0) return NO_LEVELS
    this.ticks.splice(0, excess)
    if (count < this.touched) this.touched = count
    return this.levels.splice(0, excess)
  }

  clear(): void {
    this.ticks.length = 0
    this.levels.length = 0
    this.touched = 0
    this.revision++
  }
}

function insertAt<T>(array: T[], at: number, item: T): void {
  const end = array.length
  if (end - at > NEAR) {
    array.splice(at, 0, item)
    return
  }
  array.push(item)
  for (let to = end; to > at; to--) array[to] = array[to - 1]!
  array[at] = item
}

function removeAt<T>(array: T[], at: number): void {
  const end = array.length - 1
  if (end - at > NEAR) {
    array.splice(at, 1)
    return
  }
  for (let to = at; to < end; to++) array[to] = array[to + 1]!
  array.pop()
}

/**
 * An order book with exact decimals: it orders by integers at the instrument's scale, which it learns from the prices,
 * and keeps each level's text as it was sent. Levels given to it must not be changed afterwards.
 */
export class OrderBook {
  readonly #bids = new BookSide()
  readonly #asks = new BookSide()
  readonly #limit: number
  /** Longest fraction seen among the prices. */
  #scale = 0
  /** Longest fraction seen among the sizes. */
  #sizeScale = 0
  /** Checksum states of Kraken's, and the revisions and scales that they were made of. */
  readonly #asksStates = new Int32Array(KRAKEN_LEVELS + 1).fill(CRC_START)
  readonly #bidsStates = new Int32Array(KRAKEN_LEVELS + 1)
  #asksHashed = -1
  #bidsHashed = -1
  #hashedScales = -1

  /**
   * `truncateTo`: levels a side that are kept after each message, where the venue says nothing of those beyond; 0 or
   * absent: all, up to 100,000.
   */
  constructor(options: { readonly truncateTo?: number } = {}) {
    this.#limit = Math.min(options.truncateTo || MAX_LEVELS, MAX_LEVELS)
  }

  /** Replaces the book. The levels may come in any order. */
  reset(bids: readonly Level[], asks: readonly Level[]): void {
    this.clear()
    this.#fill(this.#bids, bids, 1)
    this.#fill(this.#asks, asks, -1)
  }

  /**
   * One message: a size of zero removes the level, which need not be there. Answers the levels that it pushed out of a
   * truncated book, if any.
   */
  apply(bids: readonly Level[], asks: readonly Level[]): PushedOut | undefined {
    const outBids = this.#change(this.#bids, bids, 1)
    const outAsks = this.#change(this.#asks, asks, -1)
    return outBids.length === 0 && outAsks.length === 0 ? undefined : { bids: outBids, asks: outAsks }
  }

  clear(): void {
    this.#bids.clear()
    this.#asks.clear()
    this.#scale = this.#sizeScale = 0
    this.#hashedScales = -1
  }

  /** Venues send their snapshots sorted, from the best or from the worst: then each level goes behind the last. */
  #fill(side: BookSide, levels: readonly Level[], sign: 1 | -1): void {
    const end = levels.length - 1
    const bestFirst = end > 0 && this.#ticks(levels[0]![0], sign) > this.#ticks(levels[end]![0], sign)
    let sorted = true
    for (let at = 0; at <= end && sorted; at++)
      sorted = this.#append(side, levels[bestFirst ? end - at : at]!, sign)
    if (!sorted) {
      side.clear()
      for (const level of levels) this.#put(side, level, sign)
    }
    side.truncate(this.#limit)
    side.touched = 0
  }

  /** False where the level is no better than the last. */
  #append(side: BookSide, level: Level, sign: 1 | -1): boolean {
    const size = level[1]
    const ticks = this.#ticks(level[0], sign)
    const last = side.ticks.length - 1
    if ((last >= 0 && side.ticks[last]! >= ticks) || isZero(size)) return false
    this.#learnSize(size)
    side.ticks.push(ticks)
    side.levels.push(level)
    return true
  }

  #change(side: BookSide, levels: readonly Level[], sign: 1 | -1): readonly Level[] {
    side.revision++
    side.touched = Number.POSITIVE_INFINITY
    for (let at = 0; at < levels.length; at++) this.#put(side, levels[at]!, sign)
    return side.truncate(this.#limit)
  }

  #put(side: BookSide, level: Level, sign: 1 | -1): void {
    this.#learnSize(level[1])
    side.set(this.#ticks(level[0], sign), level, isZero(level[1]))
  }

  #learnSize(size: Decimal): void {
    const dot = size.indexOf('.')
    if (dot >= 0 && size.length - dot - 1 > this.#sizeScale) this.#sizeScale = size.length - dot - 1
  }

  /** Digits are read without `Number`: it is slower, and wrong above 2^53. */
  #ticks(price: Decimal, sign: 1 | -1): Ticks {
    let value = 0
    let dot = -1
    const end = price.length
    let at = price.charCodeAt(0) === 45 ? 1 : 0
    const negative = at === 1
    for (; at < end; at++) {
      const code = price.charCodeAt(at)
      if (code === 46) dot = at
      else value = value * 10 + (code - 48)
    }
    const missing = this.#scale - (dot < 0 ? 0 : end - dot - 1)
    if (missing < 0) {
      this.#rescale(fractionLength(price))
      return this.#ticks(price, sign)
    }
    if (missing > 0) value *= missing < 23 ? POWERS[missing]! : Number.POSITIVE_INFINITY
    if (value <= Number.MAX_SAFE_INTEGER) return (sign === 1) === negative ? 0 - value : value
    const exact = ticksOf(price, this.#scale)
    return sign === 1 ? exact : -exact
  }

  /** A price with a longer fraction came: rare, and mostly while the first snapshot is read. */
  #rescale(scale: number): void {
    const factor = 10n ** BigInt(scale - this.#scale)
    this.#scale = scale
    for (const side of [this.#bids, this.#asks]) {
      side.ticks.forEach((ticks, at) => {
        const exact = BigInt(ticks) * factor
        const small = Number(exact)
        side.ticks[at] = Number.isSafeInteger(small) ? small : exact
      })
    }
  }

  #side(side: Side): BookSide {
    return side === 'bids' ? this.#bids : this.#asks
  }

  /** Levels of the side. */
  size(side: Side): number {
    return this.#side(side).levels.length
  }

  /** The level of a rank, 0 being the best. */
  at(side: Side, rank: number): Level | undefined {
    const { levels } = this.#side(side)
    return levels[levels.length - 1 - rank]
  }

  /** Best first, at most `depth`. */
  top(side: Side, depth: number): Level[] {
    const { levels } = this.#side(side)
    const best: Level[] = []
    for (let at = levels.length - 1; at >= 0 && best.length < depth; at--) best.push(levels[at]!)
    return best
  }

  /** Does the best bid reach the best ask? No venue's true book does. */
  crossed(): boolean {
    const bid = this.#bids.ticks.at(-1)
    const ask = this.#asks.ticks.at(-1)
    return bid !== undefined && ask !== undefined && bid >= -ask
  }

  /** Number of messages the side has seen; see `touchedSince`. */
  revision(side: Side): number {
    return this.#side(side).revision
  }

  /** The lowest rank that may have changed since a revision; Infinity: none. */
  touchedSince(side: Side, revision: number): number {
    const current = this.#side(side)
    if (current.revision === revision) return Number.POSITIVE_INFINITY
    return current.revision === revision + 1 ? current.touched : 0
  }

  /** The contract's own: CRC32 of the best levels (at most 25 and `depth`), `price:size` joined by `|`, asks first. */
  checksum(depth: number = CHECKSUM_LEVELS): number {
    const levels = Math.min(depth || CHECKSUM_LEVELS, CHECKSUM_LEVELS)
    return bookChecksum(this.top('bids', levels), this.top('asks', levels))
  }

  /**
   * Kraken's: the best 10 asks, then bids, as digits alone at the pair's fixed decimals. These are learned from the
   * texts, so that a number sent shorter (`5.1e-05`) counts as it was meant. Only what changed, and what comes behind
   * it, is hashed again.
   */
  krakenChecksum(): number {
    const same = this.#hashedScales === this.#scale * 100 + this.#sizeScale
    const asks = same ? this.touchedSince('asks', this.#asksHashed) : 0
    const bids = same ? this.touchedSince('bids', this.#bidsHashed) : 0
    this.#asksHashed = this.#asks.revision
    this.#bidsHashed = this.#bids.revision
    this.#hashedScales = this.#scale * 100 + this.#sizeScale
    if (asks < KRAKEN_LEVELS) this.#hash(this.#asksStates, this.#asks.levels, asks)
    if (asks < KRAKEN_LEVELS) this.#bidsStates[0] = this.#asksStates[KRAKEN_LEVELS]!
    const from = asks < KRAKEN_LEVELS ? 0 : bids
    if (from < KRAKEN_LEVELS) this.#hash(this.#bidsStates, this.#bids.levels, from)
    return crcValue(this.#bidsStates[KRAKEN_LEVELS]!)
  }

  /**
   * OKX's: bids and asks in turn from the best, `price:size` joined by `:`; where a side ends, the other goes on. OKX
   * sends none any more (0 since June 2026), so this need not be fast.
   */
  okxChecksum(): number {
    let crc = CRC_START
    for (let rank = 0; rank < CHECKSUM_LEVELS; rank++) {
      for (const level of [this.at('bids', rank), this.at('asks', rank)])
        if (level) crc = crcText(crc, `${crc === CRC_START ? '' : ':'}${level[0]}:${level[1]}`)
    }
    return crcValue(crc)
  }

  /** `states[n]` is the state behind the best n levels; those from `rank` on are made again. */
  #hash(states: Int32Array, levels: readonly Level[], rank: number): void {
    let crc = states[rank]!
    for (let next = rank; next < KRAKEN_LEVELS; next++) {
      const level = levels[levels.length - 1 - next]
      if (level) crc = crcDigits(crcDigits(crc, level[0], this.#scale), level[1], this.#sizeScale)
      states[next + 1] = crc
    }
  }
}

const POWERS = Array.from({ length: 23 }, (_, power) => 10 ** power)

/** The contract's checksum of a view's best levels, best first; what is beyond 25 a side does not count. */
export function bookChecksum(bids: readonly Level[], asks: readonly Level[]): number {
  const pieces: string[] = []
  for (const side of [asks, bids]) {
    for (const [price, size] of side.slice(0, CHECKSUM_LEVELS)) pieces.push(`${price}:${size}`)
  }
  return crcValue(crcText(CRC_START, pieces.join('|')))
}
