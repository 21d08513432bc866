import { setImmediate } from 'node:timers/promises'
import { DepthView } from '../../market/depth-view.ts'
import type { BookPayload, Gap } from '../../market/event.ts'
import { OrderBook } from '../../market/order-book.ts'
import type { Topic } from '../../market/topic.ts'
import type { Store, StoredEvent } from '../../store/store.ts'

/** Events read between two turns of the event loop: sockets are served meanwhile. */
const EVENTS_A_TURN = 200

interface Followed {
  readonly view: DepthView
  /** Levels a side that may be seen; finite. */
  readonly depth: number
  /** Absent while the book is unknown: before the first snapshot, and from a hole to the next one. */
  book?: OrderBook
  epoch: number
  seq: number
}

/**
 * Stored books as one who may see a limited depth does: every event in its place in `seq`, with what it changed among
 * the best levels (at times nothing). Whoever applies them to the view that he held before holds the view after them,
 * digit for digit. Deltas of a book that is not known are left out. One for each answer: pages must come in order.
 */
export class BookHistory {
  readonly #store: Pick<Store, 'bookAt'>
  /** Bounded by the topics that are stored. */
  readonly #followed = new Map<Topic, Followed>()

  constructor(store: Pick<Store, 'bookAt'>) {
    this.#store = store
  }

  /** `depthOf`: levels a side that may be seen of a topic; Infinity: all. */
  async bodies(
    events: readonly StoredEvent[],
    depthOf: (topic: Topic) => number,
  ): Promise<readonly string[]> {
    const bodies: string[] = []
    for (const [at, event] of events.entries()) {
      if (at % EVENTS_A_TURN === EVENTS_A_TURN - 1) await setImmediate()
      const depth = depthOf(event.topic)
      const body = depth === Infinity ? event.body : await this.#cut(event, depth)
      if (body !== undefined) bodies.push(body)
    }
    return bodies
  }

  async #cut(event: StoredEvent, depth: number): Promise<string | undefined> {
    const payload = JSON.parse(event.body) as BookPayload | Gap
    const isBook = payload.type === 'orderbook'
    // No deeper than what may be seen: as it is.
    if (isBook && payload.depth > 0 && payload.depth <= depth) return event.body
    const isDelta = isBook && payload.kind === 'delta'
    const known = this.#followed.get(event.topic)
    const followed = known?.depth === depth ? known : await this.#begin(event, isDelta, depth)
    const follows = followed.epoch === event.epoch && followed.seq + 1 === event.seq
    followed.epoch = event.epoch
    followed.seq = event.seq
    if (!isDelta || !follows) delete followed.book
    if (!isBook) return event.body
    if (!isDelta) return this.#body(event, payload, this.#reset(followed, payload), depth)
    if (!followed.book) return undefined
    followed.book.apply(payload.bids, payload.asks)
    const change = followed.view.change(followed.book) ?? { bids: [], asks: [] }
    return this.#body(event, payload, { ...change, book: followed.book }, depth)
  }

  /** A delta needs the book before it. */
  async #begin({ topic, receivedTime }: StoredEvent, isDelta: boolean, depth: number): Promise<Followed> {
    const before = isDelta ? await this.#store.bookAt(topic, receivedTime - 1) : undefined
    const followed: Followed = {
      view: new DepthView(depth),
      depth,
      epoch: before?.epoch ?? 0,
      seq: before?.seq ?? 0,
    }
    if (before) this.#reset(followed, before)
    this.#followed.set(topic, followed)
    return followed
  }

  #reset(followed: Followed, { bids, asks }: Pick<BookPayload, 'bids' | 'asks'>) {
    const book = new OrderBook()
    book.reset(bids, asks)
    followed.book = book
    return { ...followed.view.reset(book), book }
  }

  /** The envelope is the stored text, up to its payload; `"kind"` cannot stand earlier: text is escaped. */
  #body(
    { body }: StoredEvent,
    { kind, checksum }: BookPayload,
    { bids, asks, book }: Pick<BookPayload, 'bids' | 'asks'> & { readonly book: OrderBook },
    depth: number,
  ): string {
    const proof = checksum === undefined ? {} : { checksum: book.checksum(depth) }
    const payload = JSON.stringify({ kind, bids, asks, depth, ...proof })
    return `${body.slice(0, body.indexOf(',"kind":'))},${payload.slice(1)}`
  }
}
