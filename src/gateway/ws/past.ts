import { DepthView } from '../../market/depth-view.ts'
import { encodeEvent } from '../../market/encode.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { BookPayload } from '../../market/event.ts'
import { OrderBook } from '../../market/order-book.ts'
import type { Topic } from '../../market/topic.ts'
import type { StoredBook } from '../../store/store.ts'
import { bookBody } from './book-body.ts'
import type { Shape } from './shape.ts'

/** What one client is sent of an event of the past, JSON of its own shape. */
export interface PastItem {
  readonly event: EncodedEvent
  readonly body: Buffer
}

/** Makes of the events of a topic, given one by one, what a client who follows it in a shape would have been sent. */
export interface Past {
  next(event: EncodedEvent): PastItem | undefined
  /** What a filter held back of a book; a client who has it stands where the book does. */
  rest(): PastItem | undefined
}

/**
 * `book`: what the client holds before the first event, or `whole`, where deltas are sent as they are and the levels need
 * not be known. Without it a book begins with its next snapshot.
 */
export function pastOf(topic: Topic, shape: Shape, book?: StoredBook | 'whole'): Past {
  return topic.channel === 'orderbook' ? new PastBook(shape, book) : new PastEvents(shape)
}

/** Its deltas are sent as they are. */
export function isWholeBook({ depth, filter }: Shape): boolean {
  return depth === Number.POSITIVE_INFINITY && !filter
}

class PastEvents implements Past {
  readonly #shape: Shape

  constructor(shape: Shape) {
    this.#shape = shape
  }

  next(event: EncodedEvent): PastItem | undefined {
    const { filter } = this.#shape
    return !filter || filter.passes(event) ? { event, body: event.bytes } : undefined
  }

  rest(): undefined {}
}

/** A book whose levels are kept only where its deltas are cut. */
class PastBook implements Past {
  readonly #shape: Shape
  readonly #view: DepthView | undefined
  #levels: OrderBook | undefined
  /** Levels a side that the source keeps. */
  #depth = 0
  /** A book that is sent as it is: is it known? */
  #known = false
  #anew = false
  #waits: EncodedEvent | undefined

  constructor(shape: Shape, book: StoredBook | 'whole' | undefined) {
    this.#shape = shape
    if (!isWholeBook(shape)) this.#view = new DepthView(shape.depth)
    this.#known = book !== undefined
    if (book && book !== 'whole') this.#reset(book)
    if (this.#levels) this.#view?.reset(this.#levels)
  }

  #reset({ bids, asks, depth }: Pick<BookPayload, 'bids' | 'asks' | 'depth'>): void {
    this.#depth = depth
    if (!this.#view) return
    this.#levels = new OrderBook()
    this.#levels.reset(bids, asks)
  }

  next(event: EncodedEvent): PastItem | undefined {
    const payload = event.payload
    if (payload.type !== 'orderbook') {
      this.#known = false
      this.#waits = undefined
      return { event, body: event.bytes }
    }
    if (payload.kind === 'snapshot') {
      this.#known = this.#anew = true
      this.#reset(payload)
    } else if (!this.#known) return undefined
    else this.#levels?.apply(payload.bids, payload.asks)
    if (!this.#view) return { event, body: event.bytes }
    this.#waits = event
    const { filter } = this.#shape
    return filter && !filter.passes(event) ? undefined : this.rest()
  }

  rest(): PastItem | undefined {
    const event = this.#waits
    const levels = this.#levels
    const view = this.#view
    if (!event || !levels || !view) return undefined
    this.#waits = undefined
    const kind = this.#anew ? 'snapshot' : 'delta'
    const change = this.#anew ? view.reset(levels) : view.change(levels)
    if (!change) return undefined
    this.#anew = false
    const { depth: asked } = this.#shape
    const depth = asked === Number.POSITIVE_INFINITY ? this.#depth : asked
    const checksum = levels.checksum(asked)
    return { event, body: bookBody(event, { kind, ...change, depth, checksum }) }
  }
}

/** A stored book as the event that it stands after would have been, had it been a snapshot. */
export function snapshotOf(topic: Topic, book: StoredBook, shape: Shape): EncodedEvent {
  const { bids, asks, depth, epoch, seq, receivedTime } = book
  const levels = new OrderBook()
  levels.reset(bids, asks)
  const shown = Math.min(shape.depth, depth || Number.POSITIVE_INFINITY)
  return encodeEvent(
    topic,
    { epoch, seq, receivedTime, publishedTime: receivedTime },
    {
      ...{ type: 'orderbook', kind: 'snapshot' },
      ...{ bids: levels.top('bids', shape.depth), asks: levels.top('asks', shape.depth) },
      ...{ depth: shown === Number.POSITIVE_INFINITY ? 0 : shown, checksum: levels.checksum(shape.depth) },
    },
  )
}
