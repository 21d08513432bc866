import { BookFollower } from '../market/book-follower.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import type { BookPayload, Gap, Micros } from '../market/event.ts'
import type { Topic } from '../market/topic.ts'
import type { Sql, StoredBook } from './store.ts'
import { microsOf, timeOf } from './tables.ts'

/** After so many deltas, or so long, a book that goes on changing is stored whole. */
const DELTAS = 10_000
const INTERVAL: Micros = 60_000_000

/** A whole book as stored: JSON with `bids`, `asks` and `depth`, as it stands after the event `last`. */
export interface StoredImage {
  readonly body: string
  readonly last: EncodedEvent
}

interface Followed {
  readonly book: BookFollower<EncodedEvent>
  epoch: number
  seq: number
  deltas: number
  /** receivedTime of the last image. */
  since: Micros
}

/** Follows the books that are recorded and says when to store one whole; bounded by the topics that sources carry. */
export class BookImager {
  readonly #followed = new Map<Topic, Followed>()

  /** Events already seen are skipped: a batch that was recorded again gives no image twice. */
  take(events: readonly EncodedEvent[]): StoredImage[] {
    const images: StoredImage[] = []
    for (const event of events) {
      if (event.topic.channel !== 'orderbook') continue
      const image = this.#follow(event)
      if (image) images.push(image)
    }
    return images
  }

  #follow(event: EncodedEvent): StoredImage | undefined {
    let followed = this.#followed.get(event.topic)
    if (!followed) {
      followed = { book: new BookFollower(), epoch: 0, seq: 0, deltas: 0, since: 0 }
      this.#followed.set(event.topic, followed)
    }
    if (event.epoch < followed.epoch || (event.epoch === followed.epoch && event.seq <= followed.seq)) return
    followed.epoch = event.epoch
    followed.seq = event.seq
    followed.book.apply(event)
    followed.deltas++
    const payload = event.payload
    const isSnapshot = payload.type === 'orderbook' && payload.kind === 'snapshot'
    if (!isSnapshot && followed.deltas < DELTAS && event.receivedTime - followed.since < INTERVAL) return
    if (isSnapshot) {
      followed.deltas = 0
      followed.since = event.receivedTime
      return { body: event.bytes.toString(), last: event }
    }
    const image = followed.book.image()
    if (!image) return
    followed.deltas = 0
    followed.since = event.receivedTime
    return { body: JSON.stringify({ depth: image.depth, bids: image.bids, asks: image.asks }), last: event }
  }
}

interface BookRow {
  readonly received_time: Micros
  readonly epoch: number
  readonly seq: number
  readonly body: string
}

/** Deltas read at a time: their JSON is parsed on the event loop, which serves clients in between. */
const PAGE = 1_000

/**
 * The last image at or before `at`, and what the topic's events made of it since. Undefined where the book was unknown:
 * before the first snapshot, and from a gap to the snapshot after it.
 */
export async function bookAt(sql: Sql, topic: Topic, at: Micros): Promise<StoredBook | undefined> {
  const [image] = await readBooks(sql, 'book_images', topic, 0, at, 'desc', 1)
  if (!image) return undefined
  const book = new BookFollower<ReturnType<typeof bookEvent>>()
  book.apply(bookEvent(image, 'snapshot'))
  let from = image.received_time
  for (let full = true; full; ) {
    const rows = await readBooks(sql, 'events_book', topic, from, at, 'asc', PAGE)
    for (const row of rows) book.apply(bookEvent(row))
    from = rows.at(-1)?.received_time ?? from
    full = rows.length === PAGE
  }
  const known = book.image()
  if (!known) return undefined
  const { bids, asks, depth, last } = known
  return { bids, asks, depth, epoch: last.epoch, seq: last.seq, receivedTime: last.receivedTime }
}

async function readBooks(
  sql: Sql,
  table: 'book_images' | 'events_book',
  topic: Topic,
  after: Micros,
  until: Micros,
  order: 'asc' | 'desc',
  limit: number,
): Promise<readonly BookRow[]> {
  const { rows } = await sql.query<BookRow>(
    `select ${microsOf('b.received_time')} as received_time, b.epoch::float8 as epoch, b.seq::float8 as seq, b.body
     from ${table} b
     where b.topic_id = (select id from topics where name = $1)
       and b.received_time > ${timeOf('$2::float8')} and b.received_time <= ${timeOf('$3::float8')}
     order by b.received_time ${order} limit ${limit}`,
    [topic.id, after, until],
  )
  return rows
}

function bookEvent(row: BookRow, kind?: 'snapshot') {
  const body = JSON.parse(row.body) as BookPayload | Gap
  // An image has the levels of a book and need not have been an event.
  const payload = kind === undefined ? body : ({ ...body, type: 'orderbook', kind } as BookPayload)
  return { epoch: row.epoch, seq: row.seq, receivedTime: row.received_time, payload }
}
