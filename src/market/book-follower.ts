import type { Level, Payload } from './event.ts'
import { OrderBook } from './order-book.ts'

/** What is needed of an event of an `orderbook` topic; an `EncodedEvent` is one. */
export interface BookEvent {
  readonly epoch: number
  readonly seq: number
  readonly payload: Payload
}

/**
 * The book that a topic's events build. It is unknown before the first snapshot, and again from any hole, declared by
 * a `gap` or seen in `seq`, until the next one: a book that may be wrong is never shown.
 */
export class BookFollower<E extends BookEvent> {
  #levels: OrderBook | undefined
  #depth = 0
  #last: E | undefined

  /** Give every event of the topic, of whatever type, in order. */
  apply(event: E): void {
    const before = this.#last
    const payload = event.payload
    this.#last = event
    if (payload.type !== 'orderbook') this.#levels = undefined
    else if (payload.kind === 'snapshot') {
      this.#depth = payload.depth
      this.#levels = new OrderBook()
      this.#levels.reset(payload.bids, payload.asks)
    } else if (before?.epoch === event.epoch && before.seq + 1 === event.seq)
      this.#levels?.apply(payload.bids, payload.asks)
    else this.#levels = undefined
  }

  /** Every level, best first, as they stand after the event `last`; undefined while the book is unknown. */
  image():
    | {
        readonly bids: readonly Level[]
        readonly asks: readonly Level[]
        readonly depth: number
        readonly last: E
      }
    | undefined {
    if (!this.#levels || !this.#last) return undefined
    return {
      bids: this.#levels.top('bids', Number.POSITIVE_INFINITY),
      asks: this.#levels.top('asks', Number.POSITIVE_INFINITY),
      depth: this.#depth,
      last: this.#last,
    }
  }
}
