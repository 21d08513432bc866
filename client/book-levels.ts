import { compareDecimals } from './decimal.ts'

/** `[price, size]`, decimals as the venue wrote them. */
export type Level = readonly [price: string, size: string]

/** The checksum covers so many levels a side. */
const CHECKSUM_LEVELS = 25

/** One side of a book, sorted: the best level is the last, where most changes are. */
class Side {
  readonly #levels: Level[] = []
  /** 1: the greatest price is the best (bids); -1: the smallest. */
  readonly #sign: 1 | -1

  constructor(sign: 1 | -1) {
    this.#sign = sign
  }

  get size(): number {
    return this.#levels.length
  }

  at(rank: number): Level | undefined {
    return this.#levels[this.#levels.length - 1 - rank]
  }

  /** Best first. */
  top(count: number): Level[] {
    const from = Math.max(0, this.#levels.length - count)
    return this.#levels.slice(from).reverse()
  }

  reset(levels: readonly Level[]): void {
    this.#levels.length = 0
    // Sent best first: from the worst on, each goes behind the last.
    for (let at = levels.length - 1; at >= 0; at--) this.set(levels[at]!)
  }

  /** Size "0" removes the level. Prices are the same where their values are. */
  set(level: Level): void {
    let low = 0
    let high = this.#levels.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#order(middle, level) < 0) low = middle + 1
      else high = middle
    }
    const found = low < this.#levels.length && this.#order(low, level) === 0
    if (level[1] === '0') {
      if (found) this.#levels.splice(low, 1)
    } else this.#levels.splice(low, found ? 1 : 0, level)
  }

  #order(at: number, level: Level): number {
    return compareDecimals(this.#levels[at]![0], level[0]) * this.#sign
  }
}

/** Both sides of a book, with exact decimals. */
export class BookLevels {
  readonly bids = new Side(1)
  readonly asks = new Side(-1)

  reset(bids: readonly Level[], asks: readonly Level[]): void {
    this.bids.reset(bids)
    this.asks.reset(asks)
  }

  apply(bids: readonly Level[], asks: readonly Level[]): void {
    for (const level of bids) this.bids.set(level)
    for (const level of asks) this.asks.set(level)
  }

  /** As the gateway makes it: CRC32 of the best 25 levels, asks then bids, best first, `price:size` joined by `|`. */
  checksum(): number {
    const levels = [...this.asks.top(CHECKSUM_LEVELS), ...this.bids.top(CHECKSUM_LEVELS)]
    return crc32(levels.map(([price, size]) => `${price}:${size}`).join('|'))
  }
}

const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1
  return rest
})

/** CRC-32 (IEEE 802.3) of an ASCII text, unsigned. */
function crc32(text: string): number {
  let crc = -1
  for (let at = 0; at < text.length; at++) crc = TABLE[(crc ^ text.charCodeAt(at)) & 255]! ^ (crc >>> 8)
  return ~crc >>> 0
}
