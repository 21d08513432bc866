import { DepthView } from '../../market/depth-view.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { BookPayload, Gap } from '../../market/event.ts'
import { bookChecksum } from '../../market/order-book.ts'
import { bookBody } from './book-body.ts'
import { Outgoing, type Position } from './outgoing.ts'
import type { Shape } from './shape.ts'
import { Spacing } from './spacing.ts'
import type { TopicFeed } from './topic-feed.ts'
import { View, type ViewItem } from './view.ts'

/** Deltas of a book merge, or a snapshot stands for them. */
export const BOOK_SLOT = 'book'
/** A changing view proves itself at least once a second. */
const CHECKSUM_EVERY_MICROS = 500_000

/**
 * A book at one depth; Infinity: all that the source keeps, as the source's own events. With a filter, or conflated,
 * deltas that are not sent are part of the next one that is: it tells all that changed since the last.
 */
export class BookView extends View {
  override readonly merges = true
  /** What clients hold; the source's own events need none. */
  readonly #levels: DepthView | undefined
  /** The last event that `#levels` holds. Undefined while the book is not known. */
  #at: EncodedEvent | undefined
  /** Since `#at`: events that wait, and whether a snapshot was among them. */
  #waiting = 0
  #anew = false
  readonly #spacing: Spacing | undefined
  /** Why the source lost its book; told when it has built it anew. */
  #lost: string | undefined
  /** Event time of the last delta with a checksum. */
  #provenAt = 0
  #snapshot: { readonly of: EncodedEvent; readonly body: Buffer } | undefined

  constructor(feed: TopicFeed, shape: Shape) {
    super(feed, shape)
    const { depth, filter, conflateMs } = shape
    if (conflateMs > 0) this.#spacing = new Spacing(conflateMs, () => this.#show())
    if (depth === Number.POSITIVE_INFINITY && !filter && !this.#spacing) return
    this.#levels = new DepthView(depth)
    if (!feed.book) return
    this.#levels.reset(feed.book.levels)
    this.#at = feed.book.last
  }

  /** The book as its clients hold it; nothing while it is unknown. */
  latest(): readonly ViewItem[] {
    const { book } = this.feed
    const at = this.#levels ? this.#at : book?.last
    if (!book || !at) return []
    if (this.#snapshot?.of !== at) this.#snapshot = { of: at, body: this.#snapshotBody(at) }
    return [new Outgoing<View>(this, at, at.receivedTime, BOOK_SLOT, this.#snapshot.body)]
  }

  take(event: EncodedEvent): void {
    const { book } = this.feed
    // A delta of a book that is not known says nothing: the next snapshot does.
    if (!book) {
      this.#forget()
      if (event.type === 'orderbook') return
      this.#lost = (event.payload as Gap).reason
      this.send(event, undefined, event.bytes)
      return
    }
    if (this.#lost !== undefined) {
      this.resync(`the source built its book anew: ${this.#lost}`)
      this.#lost = undefined
    }
    if (!this.#levels) this.send(event, BOOK_SLOT, event.bytes)
    else {
      this.#waiting++
      if ((event.payload as BookPayload).kind === 'snapshot') this.#anew = true
      const { filter } = this.shape
      if (filter && !filter.passes(event)) return
      if (this.#spacing) this.#spacing.ask()
      else this.#show()
    }
  }

  /** What waited is part of a book that is not known any more. */
  #forget(): void {
    this.#at = undefined
    this.#waiting = 0
    this.#anew = false
    this.#spacing?.close()
  }

  override settle(): void {
    if (this.#waiting === 0) return
    if (this.#spacing) this.#spacing.actNow()
    else this.#show()
  }

  override close(): void {
    this.#spacing?.close()
  }

  reload(_before: Position): void {
    const { book } = this.feed
    this.#forget()
    this.#lost = undefined
    if (!book) return
    this.#levels?.reset(book.levels)
    this.#at = book.last
    this.send(book.last, BOOK_SLOT, this.#snapshotBody(book.last))
  }

  /** All that waits, as one change. Nothing, where nothing changed at this depth: the next one carries `prev`. */
  #show(): void {
    const { book } = this.feed
    const levels = this.#levels
    if (!book || !levels || this.#waiting === 0) return
    const event = book.last
    const conflated = this.#waiting > 1 && this.shape.conflateMs > 0
    const anew = this.#anew || !this.#at
    this.#waiting = 0
    this.#anew = false
    this.#at = event
    if (anew) {
      levels.reset(book.levels)
      this.send(event, BOOK_SLOT, this.#snapshotBody(event), conflated)
      return
    }
    const change = levels.change(book.levels)
    if (!change) return
    const proves = event.receivedTime - this.#provenAt >= CHECKSUM_EVERY_MICROS
    if (proves) this.#provenAt = event.receivedTime
    const checksum = proves ? { checksum: book.levels.checksum(this.shape.depth) } : {}
    const depth = this.#depth
    this.send(event, BOOK_SLOT, bookBody(event, { kind: 'delta', ...change, depth, ...checksum }), conflated)
  }

  #snapshotBody(event: EncodedEvent): Buffer {
    const { levels } = this.feed.book!
    const all = Number.POSITIVE_INFINITY
    const { bids, asks } = this.#levels?.shown() ?? {
      bids: levels.top('bids', all),
      asks: levels.top('asks', all),
    }
    const checksum = bookChecksum(bids, asks)
    return bookBody(event, { kind: 'snapshot', bids, asks, depth: this.#depth, checksum })
  }

  /** As clients are told it. */
  get #depth(): number {
    const { depth } = this.shape
    return depth === Number.POSITIVE_INFINITY ? this.feed.book!.depth : depth
  }
}
