import type { Level } from '../../../src/market/event.ts'
import type { Said } from './gateway.ts'

/** A client's own book: a map a side, as plain as can be. */
export class PlainBook {
  readonly bids = new Map<string, string>()
  readonly asks = new Map<string, string>()

  apply(message: Said): void {
    if (message.kind === 'snapshot') {
      this.bids.clear()
      this.asks.clear()
    }
    for (const side of ['bids', 'asks'] as const) {
      for (const [price, size] of message[side] as [string, string][]) {
        if (Number(size) === 0) this[side].delete(price)
        else this[side].set(price, size)
      }
    }
  }

  top(side: 'bids' | 'asks', depth: number): Level[] {
    const sorted = [...this[side]].sort(([one], [other]) => Number(one) - Number(other))
    return (side === 'bids' ? sorted.reverse() : sorted).slice(0, depth)
  }
}
