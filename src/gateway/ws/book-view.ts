import { DepthView } from '../../market/depth-view.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { BookPayload, Level } from '../../market/event.ts'
import { Outgoing, type Position } from './outgoing.ts'
import type { TopicFeed } from './topic-feed.ts'
import { View, type ViewItem } from './view.ts'

/** Deltas of a book merge, or a snapshot stands for them. */
export const BOOK_SLOT = 'book'
/** A changing view proves itself at least once a second. */
const CHECKSUM_EVERY_MICROS = 500_000

type BookShape = Pick<BookPayload, 'kind' | 'bids' | 'asks' | 'checksum'>

/** A book at one depth; Infinity: all that the source keeps, as the source's own events. */
export class BookView extends View {
  override readonly merges = true
  readonly depth: number
  readonly #levels: DepthView | undefined
  /** Event time of the last delta with a checksum. */
  #provenAt = 0
  #snapshot: { readonly of: EncodedEvent; readonly body: Buffer } | undefined

  constructor(feed: TopicFeed, depth: number) {
    super(feed)
    this.depth = depth
    if (depth === Number.POSITIVE_INFINITY) return
    this.#levels = new DepthView(depth)
    if (feed.book) this.#levels.reset(feed.book.levels)
  }

  /** The book after the last event it holds; nothing while it is unknown. */
  latest(): readonly ViewItem[] {
    const { book } = this.feed
    if (!book) return []
    if (this.#snapshot?.of !== book.last)
      this.#snapshot = { of: book.last, body: this.#snapshotBody(book.last) }
    return [new Outgoing<View>(this, book.last, book.last.receivedTime, BOOK_SLOT, this.#snapshot.body)]
  }

  take(event: EncodedEvent): void {
    const { book } = this.feed
    if (event.type !== 'orderbook') this.send(event, undefined, event.bytes)
    // A delta of a book that is not known says nothing: the next snapshot does.
    else if (book) this.#takeBook(event, event.payload as BookPayload)
  }

  reload(_before: Position): void {
    const { book } = this.feed
    if (!book) return
    this.#levels?.reset(book.levels)
    this.send(book.last, BOOK_SLOT, this.#snapshotBody(book.last))
  }

  #takeBook(event: EncodedEvent, payload: BookPayload): void {
    const { levels } = this.feed.book!
    if (!this.#levels) this.send(event, BOOK_SLOT, event.bytes)
    else if (payload.kind === 'snapshot') {
      this.#levels.reset(levels)
      this.send(event, BOOK_SLOT, this.#snapshotBody(event))
    } else this.#sendChange(event, this.#levels)
  }

  /** Nothing, where the event changed nothing at this depth: the next one carries `prev`. */
  #sendChange(event: EncodedEvent, view: DepthView): void {
    const { levels } = this.feed.book!
    const change = view.change(levels)
    if (!change) return
    const proves = event.receivedTime - this.#provenAt >= CHECKSUM_EVERY_MICROS
    if (proves) this.#provenAt = event.receivedTime
    const checksum = proves ? levels.checksum(this.depth) : undefined
    this.send(event, BOOK_SLOT, this.#body(event, { kind: 'delta', ...change, checksum }))
  }

  #snapshotBody(event: EncodedEvent): Buffer {
    const { levels } = this.feed.book!
    return this.#body(event, {
      kind: 'snapshot',
      bids: levels.top('bids', this.depth),
      asks: levels.top('asks', this.depth),
      checksum: levels.checksum(this.depth),
    })
  }

  /** The envelope is the event's own bytes, up to its payload; `"kind"` cannot stand earlier: text is escaped. */
  #body(event: EncodedEvent, shape: BookShape): Buffer {
    const envelope = event.bytes.subarray(0, event.bytes.indexOf(',"kind":'))
    const depth = this.#levels ? this.depth : this.feed.book!.depth
    const checksum = shape.checksum === undefined ? '' : `,"checksum":${shape.checksum}`
    const payload = `,"kind":"${shape.kind}","bids":${levelsText(shape.bids)},"asks":${levelsText(shape.asks)},"depth":${depth}${checksum}}`
    return Buffer.concat([envelope, Buffer.from(payload, 'latin1')])
  }
}

/** Prices and sizes are decimals, which need no escape. */
function levelsText(levels: readonly Level[]): string {
  let text = '['
  for (let at = 0; at < levels.length; at++)
    text += `${at === 0 ? '' : ','}["${levels[at]![0]}","${levels[at]![1]}"]`
  return `${text}]`
}
