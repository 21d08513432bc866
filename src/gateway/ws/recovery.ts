import { type BookEvent, BookFollower } from '../../market/book-follower.ts'
import { chainFrom, isAfter } from '../../market/continuity.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { Micros } from '../../market/event.ts'
import type { StoredBook } from '../../store/store.ts'
import { bytesOf, CatchUp } from './catch-up.ts'
import type { Feeds } from './feeds.ts'
import { type Position, samePosition } from './outgoing.ts'
import { isWholeBook, pastOf } from './past.ts'
import type { Shape } from './shape.ts'
import type { TopicFeed } from './topic-feed.ts'

/** What one resume may hold in memory, with all its topics, and all that are under way; beyond it: not recovered. */
const MAX_EVENTS = 100_000
const MAX_BYTES = 32 * 1_048_576
const MAX_BYTES_IN_ALL = 256 * 1_048_576
/** The client waits no longer for its answer: what is not at hand by then is not recovered. */
const MAX_WAIT_MS = 10_000
/** The client may come from a node that is ahead of this one: so often, so far apart, it is looked again. */
const MAX_LOOKS = 10
const LOOK_MS = 200
/** Positions further ahead than this come from no node. */
const MAX_AHEAD = 100_000

/** Every event after the positions of one client, per topic all or nothing. Bounded by `MAX_…`. */
export class Recovery {
  readonly #feeds: Feeds
  /** Events before it are out of the tier's window; of what comes late, of one as much earlier. */
  readonly #oldest: Micros
  readonly #deadline = performance.now() + MAX_WAIT_MS
  #events = 0
  #bytes = 0

  constructor(feeds: Feeds, resumeWindowMs: number) {
    this.#feeds = feeds
    this.#oldest = feeds.fanout.now() - resumeWindowMs * 1_000
  }

  /**
   * A catch-up that has all at hand up to about now. Undefined: what followed the position is not known without a hole,
   * began before the window of the tier or before `oldest`, is too much, or the position is none that the topic had.
   */
  async of(feed: TopicFeed, shape: Shape, position: Position, oldest: Micros): Promise<CatchUp | undefined> {
    const catchUp = new CatchUp(this.#feeds, feed, shape, position)
    const late = pause(this.#deadline - performance.now()).then(() => false)
    // Where neither cache nor store can be asked, it is not recovered.
    const start = Math.max(oldest, this.#oldest - shape.delayMs * 1_000)
    const provided = this.#provide(catchUp, position, start).catch(() => false)
    if (await Promise.race([provided, late])) return catchUp
    catchUp.close()
    return undefined
  }

  /** Has the topic come as far as the client says? */
  async #reaches(feed: TopicFeed, position: Position): Promise<boolean> {
    await new Promise<void>((go) => feed.whenLive(go))
    for (let looks = 1; feed.live; looks++) {
      if (!isAfter(position, feed)) return true
      const near = position.epoch === feed.epoch && position.seq - feed.seq < MAX_AHEAD
      if (!near || looks > MAX_LOOKS) return false
      await pause(LOOK_MS)
    }
    return false
  }

  async #provide(catchUp: CatchUp, position: Position, oldest: Micros): Promise<boolean> {
    const { feed, shape } = catchUp
    if (!(await this.#reaches(feed, position))) return false
    const { upstream } = feed
    const cut = feed.topic.channel === 'orderbook' && !isWholeBook(shape)
    const book = cut ? await this.#bookAt(feed, position, oldest) : 'whole'
    if (!book) return false
    const events =
      (await upstream.since(feed.topic, position)) ?? (await this.#stored(feed, position, oldest))
    if (!events || !this.#fits(events)) return false
    const [first] = events
    if (first && first.receivedTime < oldest) return false
    catchUp.provide(events, pastOf(feed.topic, shape, book))
    return true
  }

  #fits(events: readonly EncodedEvent[]): boolean {
    this.#events += events.length
    this.#bytes += bytesOf(events)
    return (
      this.#events <= MAX_EVENTS &&
      this.#bytes <= MAX_BYTES &&
      this.#feeds.recoveredBytes + this.#bytes <= MAX_BYTES_IN_ALL
    )
  }

  /** The book at the client's position: deltas that are cut to a depth follow from the levels that it holds. */
  async #bookAt(feed: TopicFeed, position: Position, oldest: Micros): Promise<StoredBook | undefined> {
    const { topic, upstream, book } = feed
    if (book && samePosition(book.last, position)) {
      const { levels, depth, last } = book
      const all = Number.POSITIVE_INFINITY
      const { epoch, seq, receivedTime } = last
      return { bids: levels.top('bids', all), asks: levels.top('asks', all), depth, epoch, seq, receivedTime }
    }
    for await (const page of this.#pages(feed, position, oldest)) {
      const event = page.find((one) => samePosition(one, position))
      if (!event) {
        if (page.some((one) => isAfter(one, position))) return undefined
        continue
      }
      const stored = await upstream.bookAt(topic, event.receivedTime)
      return stored && samePosition(stored, position) ? stored : undefined
    }
    return this.#bookSince(feed, position)
  }

  /** The recorder is behind the position: the book that it has, and up to the position what the cache has after that. */
  async #bookSince({ topic, upstream }: TopicFeed, position: Position): Promise<StoredBook | undefined> {
    const stored = await upstream.bookAt(topic, Number.MAX_SAFE_INTEGER)
    if (!stored || isAfter(stored, position)) return undefined
    const since = (await upstream.since(topic, stored)) ?? []
    const book = new BookFollower<BookEvent>()
    const { bids, asks, depth } = stored
    book.apply({ ...stored, payload: { type: 'orderbook', kind: 'snapshot', bids, asks, depth } })
    for (const event of since) if (!isAfter(event, position)) book.apply(event)
    const image = book.image()
    if (!image || !samePosition(image.last, position)) return undefined
    return { ...image, ...position, receivedTime: stored.receivedTime }
  }

  async *#pages(
    { topic, upstream }: TopicFeed,
    position: Position,
    oldest: Micros,
  ): AsyncGenerator<readonly EncodedEvent[]> {
    // Of most topics one page is all that the tier's window has.
    const whole = await upstream.history(topic, oldest)
    if (whole.next === null) {
      yield whole.items
      return
    }
    const start = await upstream.locate(topic, position, oldest, this.#feeds.fanout.now())
    if (start === undefined) return
    let cursor: string | undefined
    do {
      const page = await upstream.history(topic, start, cursor)
      yield page.items
      cursor = page.next ?? undefined
    } while (cursor !== undefined)
  }

  /** From the store, and where that ends from the cache. */
  async #stored(
    feed: TopicFeed,
    position: Position,
    oldest: Micros,
  ): Promise<readonly EncodedEvent[] | undefined> {
    const events: EncodedEvent[] = []
    let bytes = 0
    for await (const page of this.#pages(feed, position, oldest)) {
      const chain = chainFrom(events.at(-1) ?? position, page)
      if (!chain) return undefined
      events.push(...chain)
      bytes += bytesOf(chain)
      if (this.#events + events.length > MAX_EVENTS || this.#bytes + bytes > MAX_BYTES) return undefined
    }
    for (let looks = 1; events.length > 0 && events.length <= MAX_EVENTS; ) {
      const last = events.at(-1)!
      if (!isAfter(feed, last)) return events
      const newest = await feed.upstream.missing(feed.topic, last, last.receivedTime)
      if (newest) events.push(...newest.events)
      else if (looks++ > MAX_LOOKS) break
      else await pause(LOOK_MS)
    }
    return undefined
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((go) => setTimeout(go, ms).unref())
}
