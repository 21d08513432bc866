import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import type { Level } from '../../src/market/event.ts'
import type { Side } from '../../src/market/order-book.ts'

/** At 10^-20. */
export function exact(decimal: string): bigint {
  const [whole = '', fraction = ''] = decimal.split('.')
  return BigInt(whole + fraction.padEnd(20, '0'))
}

/** A book as one would write it without a thought of speed: what the real one is compared with. */
export class NaiveBook {
  readonly #levels: Record<Side, Map<bigint, Level>> = { bids: new Map(), asks: new Map() }
  readonly #truncateTo: number

  constructor(truncateTo = 0) {
    this.#truncateTo = truncateTo || Number.POSITIVE_INFINITY
  }

  apply(bids: readonly Level[], asks: readonly Level[], reset = false): void {
    for (const [side, levels] of [
      ['bids', bids],
      ['asks', asks],
    ] as const) {
      if (reset) this.#levels[side].clear()
      for (const level of levels) {
        if (exact(level[1]) === 0n) this.#levels[side].delete(exact(level[0]))
        else this.#levels[side].set(exact(level[0]), level)
      }
      if (this.#levels[side].size <= this.#truncateTo) continue
      const kept = this.top(side, this.#truncateTo)
      this.#levels[side] = new Map(kept.map((level) => [exact(level[0]), level]))
    }
  }

  top(side: Side, depth: number): Level[] {
    const sign = side === 'asks' ? 1n : -1n
    const sorted = [...this.#levels[side]].sort(([a], [b]) => Number(sign * (a - b) > 0n) * 2 - 1)
    return sorted.slice(0, depth).map(([, level]) => level)
  }

  checksum(depth: number): number {
    return crc32(
      [...this.top('asks', depth), ...this.top('bids', depth)].map((level) => level.join(':')).join('|'),
    )
  }

  /** Of levels whose texts all have the pair's decimals. */
  krakenChecksum(): number {
    const texts = [...this.top('asks', 10), ...this.top('bids', 10)].flat()
    return crc32(texts.map((text) => text.replace('.', '').replace(/^0+/, '')).join(''))
  }
}

const price = fc.integer({ min: 9_990, max: 10_015 }).map((ticks) => `${(ticks / 100).toFixed(2)}`)
const farPrice = fc.bigInt({ min: 1n, max: 10n ** 22n }).map((ticks) => {
  const text = String(ticks).padStart(3, '0')
  return `${text.slice(0, -2)}.${text.slice(-2)}`
})
const size = fc.oneof(
  fc.constant('0'),
  fc.constant('0.00000000'),
  fc.integer({ min: 1, max: 999 }).map((units) => (units / 1e8).toFixed(8)),
)
const side = fc.array(fc.tuple(fc.oneof({ weight: 9, arbitrary: price }, farPrice), size), { maxLength: 12 })

/** Messages of a book: mostly near each other, so that levels meet, and sometimes above 2^53 ticks. */
export const changes = fc.record({
  bids: side,
  asks: side,
  reset: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, fc.constant(true)),
})
