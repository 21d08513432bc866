import type { BookImage } from '../../cache/cache.ts'
import { encodeEvent } from '../../market/encode.ts'
import type { Envelope, Level } from '../../market/event.ts'
import { bookChecksum } from '../../market/order-book.ts'

interface Book {
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
  /** Levels a side that the source keeps; 0: all. */
  readonly depth: number
}

/** The best `depth` levels of a book (Infinity: all), with the contract's checksum over what is shown. */
export function bookView(book: Book, depth: number): Book & { readonly checksum: number } {
  const bids = depth < book.bids.length ? book.bids.slice(0, depth) : book.bids
  const asks = depth < book.asks.length ? book.asks.slice(0, depth) : book.asks
  const shown = Math.min(depth, book.depth === 0 ? Infinity : book.depth)
  return { bids, asks, depth: shown === Infinity ? 0 : shown, checksum: bookChecksum(bids, asks) }
}

/** The book as a snapshot event: no new event, but the place of the last one it holds. */
export function bookSnapshot(image: BookImage, depth: number): string {
  const { topic, epoch, seq, receivedTime, bytes } = image.last
  const { sourceTime, publishedTime, flags } = JSON.parse(bytes.toString()) as Envelope
  const envelope: Envelope = {
    epoch,
    seq,
    ...(sourceTime === undefined ? {} : { sourceTime }),
    receivedTime,
    publishedTime,
    ...(flags === undefined ? {} : { flags }),
  }
  const payload = { type: 'orderbook', kind: 'snapshot', ...bookView(image, depth) } as const
  return encodeEvent(topic, envelope, payload).bytes.toString()
}
