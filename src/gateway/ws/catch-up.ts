import { FeedgateError } from '../../errors.ts'
import { isAfter, type Place } from '../../market/continuity.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { Micros } from '../../market/event.ts'
import { BOOK_SLOT } from './book-view.ts'
import type { Feeds } from './feeds.ts'
import type { Outbox } from './outbox.ts'
import { Outgoing, type Position } from './outgoing.ts'
import { type Past, type PastItem, pastOf, snapshotOf } from './past.ts'
import type { Shape } from './shape.ts'
import type { FeedReader, TopicFeed } from './topic-feed.ts'
import { slotOf, type View } from './view.ts'

/** What one write holds at most. */
const RUN_EVENTS = 500
const RUN_BYTES = 64 * 1_024
/** Events looked at between two turns of the event loop. */
const SLICE = 500
/** What a client may take with the view at most: it counts as waiting for one that reads slowly. */
const JOIN_BYTES = 256 * 1_024
/** Times that cache and store are asked for what comes next; the recorder may still be writing it. */
const MAX_MISSES = 10
const RETRY_MS = 200
/** Events back from where the topic stands that the window of a cache is asked for. */
const WINDOW = 2_048
const NOT_KNOWN = 'what comes next cannot be had any more: the topic goes on from its newest value'

/**
 * Brings one client to where a topic stands, from its own position or from a time: what is stored, then what the cache
 * has, no faster than its socket takes it, until nothing is missing; then it joins the view, in the same step. Holds a
 * page of events at a time, and what was recovered for it before it started.
 */
export class CatchUp implements FeedReader {
  readonly feed: TopicFeed
  readonly shape: Shape
  readonly #feeds: Feeds
  readonly #from: Micros | undefined
  #past: Past
  /** Up to here all is sent, or left out by the filter. Undefined: not known yet. */
  #at: Place | undefined
  /** At or before the time of the event at that place. */
  #time: Micros = 0
  /** The last event that was sent; of a resume the client's own position. */
  #sent: Position | undefined
  /** Its `receivedTime`; 0: not known. */
  #sentTime: Micros = 0
  #ready: readonly EncodedEvent[] = []
  /** What it began with, until all of it is sent. */
  #bytes = 0
  #closed = false

  /** `from`: the position that the client has, or a time. The feed is kept until it has joined or is closed. */
  constructor(feeds: Feeds, feed: TopicFeed, shape: Shape, from: Position | Micros) {
    this.#feeds = feeds
    this.feed = feed
    this.shape = shape
    this.#past = pastOf(feed.topic, shape)
    if (typeof from === 'number') this.#from = this.#time = from
    else this.#at = this.#sent = from
    feed.readers.add(this)
  }

  take(): void {}
  resync(): void {}
  reload(): void {}

  /** The newest that was sent. */
  get position(): Position | undefined {
    return this.#sent
  }

  /**
   * Another one that goes on in another shape from what was sent. Undefined of books: their levels at that place are not
   * known in another depth.
   */
  inShape(shape: Shape): CatchUp | undefined {
    const from = this.#sent ?? this.#from
    if (this.feed.topic.channel === 'orderbook' || from === undefined) return undefined
    const other = new CatchUp(this.#feeds, this.feed, shape, from)
    if (this.#sent) other.#time = this.#sentTime
    return other
  }

  /** What comes after the position, already at hand; `past` makes of it what the client is sent. */
  provide(events: readonly EncodedEvent[], past: Past): void {
    if (this.#closed) return
    this.#ready = events
    this.#past = past
    this.#bytes = bytesOf(events)
    this.#feeds.recoveredBytes += this.#bytes
  }

  #letGo(): void {
    this.#ready = []
    this.#feeds.recoveredBytes -= this.#bytes
    this.#bytes = 0
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#letGo()
    this.feed.readers.delete(this)
    this.#feeds.release(this.feed)
  }

  /** `joined` is called in the step in which the client joins the view. Resolves then, or once closed. */
  async run(outbox: Outbox, joined: (view: View) => void): Promise<void> {
    try {
      if (!this.#closed) await this.#run(outbox, joined)
    } catch (error) {
      if (this.#closed) return
      const known = error instanceof FeedgateError
      if (!known)
        this.#feeds.log.error({ topic: this.feed.topic.id, error: String(error) }, 'a catch-up failed')
      this.#giveUp(outbox, joined, known ? error.message : 'what came before cannot be read now')
    }
  }

  async #run(outbox: Outbox, joined: (view: View) => void): Promise<void> {
    if (this.#from !== undefined) await this.#sendHistory(outbox, this.#from)
    for (let misses = 0, writes = 0; !this.#closed; ) {
      const events = await this.#next()
      if (this.#closed) return
      if (!this.feed.live) {
        await new Promise<void>((go) => this.feed.whenLive(go))
        continue
      }
      const chain = this.#upToFeed(events ?? [])
      const end = chain.at(-1) ?? this.#at!
      const reaches = end.epoch === this.feed.epoch && end.seq === this.feed.seq
      const isShort = chain.length <= SLICE && bytesOf(chain) <= JOIN_BYTES
      // A client that is held back is sent a last write first: what it takes with the view is live.
      if (reaches && isShort && (chain.length === 0 || writes > 0 || outbox.prompt))
        return this.#join(outbox, chain, joined)
      if (chain.length > 0) {
        await this.#write(outbox, chain)
        writes++
        misses = 0
      } else if (++misses > MAX_MISSES) return this.#giveUp(outbox, joined, NOT_KNOWN)
      else await pause(RETRY_MS)
    }
  }

  /** The next events, if any: what is at hand, else what cache or store have. */
  async #next(): Promise<readonly EncodedEvent[] | undefined> {
    if (this.#ready.length > 0) {
      const events = this.#ready.slice(0, SLICE)
      this.#ready = this.#ready.slice(SLICE)
      if (this.#ready.length === 0) this.#letGo()
      return events
    }
    const { feed } = this
    if (feed.live && !isAfter(feed, this.#at!)) return []
    const missing = await feed.upstream.missing(feed.topic, this.#at!, this.#time).catch(() => undefined)
    return missing?.events
  }

  /** What lies after the place and not after where the feed stands: what comes later comes live. */
  #upToFeed(events: readonly EncodedEvent[]): EncodedEvent[] {
    return events.filter((event) => isAfter(event, this.#at!) && !isAfter(event, this.feed))
  }

  async #sendHistory(outbox: Outbox, from: Micros): Promise<void> {
    const { topic, upstream } = this.feed
    if (topic.channel === 'orderbook') await this.#sendBook(outbox, from)
    for (let reads = 1; !this.#closed; reads++) {
      let cursor: string | null = null
      do {
        const page = await upstream.history(topic, from, cursor ?? undefined)
        if (this.#closed) return
        const at = this.#at
        await this.#write(outbox, at ? page.items.filter((event) => isAfter(event, at)) : page.items)
        cursor = page.next
      } while (cursor !== null && !this.#closed)
      this.#at ??= await this.#startInWindow(from, reads > MAX_MISSES)
      if (this.#at) return
      await pause(RETRY_MS)
    }
  }

  async #sendBook(outbox: Outbox, from: Micros): Promise<void> {
    const { topic, upstream } = this.feed
    const book = await upstream.bookAt(topic, from)
    if (!book || this.#closed) return
    this.#past = pastOf(topic, this.shape, book)
    this.#at = { epoch: book.epoch, seq: book.seq }
    this.#time = book.receivedTime
    const event = snapshotOf(topic, book, this.shape)
    await this.#send(outbox, [{ event, body: event.bytes }])
  }

  /**
   * Nothing is stored since `from`: the place before the first event that came since, as the window of the cache has it.
   * Undefined: the window does not reach back, so that the store must have it soon; with `anyhow` as far back as it does.
   */
  async #startInWindow(from: Micros, anyhow: boolean): Promise<Place | undefined> {
    const { feed } = this
    if (!feed.live) await new Promise<void>((go) => feed.whenLive(go))
    const { epoch, seq } = feed
    for (let back = Math.min(seq, WINDOW); back > 0; back = Math.floor(back / 2)) {
      const start = { epoch, seq: seq - back }
      const events = await feed.upstream.since(feed.topic, start)
      if (!events) continue
      const first = events.findIndex((event) => event.receivedTime >= from)
      if (first < 0) return events.at(-1) ?? start
      if (first > 0) return events[first - 1]
      return start.seq === 0 || anyhow ? start : undefined
    }
    return seq === 0 || feed.receivedTime < from || anyhow ? { epoch, seq } : undefined
  }

  /** In runs, each when the socket has taken the one before. */
  async #write(outbox: Outbox, events: readonly EncodedEvent[]): Promise<void> {
    let run: PastItem[] = []
    let bytes = 0
    for (const event of events) {
      const item = this.#past.next(event)
      this.#at = event
      this.#time = event.receivedTime
      if (!item) continue
      run.push(item)
      bytes += item.body.length
      if (run.length < RUN_EVENTS && bytes < RUN_BYTES) continue
      await this.#send(outbox, run)
      if (this.#closed) return
      run = []
      bytes = 0
    }
    if (run.length > 0) await this.#send(outbox, run)
  }

  async #send(outbox: Outbox, run: readonly PastItem[]): Promise<void> {
    const sentTime = this.#feeds.fanout.now()
    let before = this.#sent
    const frames = run.map(({ event, body }) => {
      const frame = new Outgoing(undefined, event, event.receivedTime, undefined, body).frameAfter(
        before,
        sentTime,
        outbox.encoding,
      )
      before = event
      return frame
    })
    if (!(await outbox.past(frames, () => !this.#closed))) return this.close()
    this.#sent = before
    this.#sentTime = run.at(-1)!.event.receivedTime
  }

  /** The last events go with the view, which stands where they end. */
  #join(outbox: Outbox, events: readonly EncodedEvent[], joined: (view: View) => void): void {
    const items = [...events.map((event) => this.#past.next(event)), this.#past.rest()]
    const view = this.#feeds.view(this.feed, this.shape)
    view.settle()
    outbox.join(view, false, this.#sent)
    for (const item of items)
      if (item) {
        const { event, body } = item
        outbox.take(new Outgoing<View>(view, event, event.receivedTime, pastSlotOf(event), body))
      }
    joined(view)
    this.close()
  }

  /** Neither cache nor store have what comes next: the topic goes on from where it stands, and the client is told. */
  #giveUp(outbox: Outbox, joined: (view: View) => void, reason: string): void {
    outbox.tell({ type: 'resync', topic: this.feed.topic.publicId, reason })
    const view = this.#feeds.view(this.feed, this.shape)
    outbox.join(view, true, this.#sent)
    joined(view)
    this.close()
  }
}

function pastSlotOf(event: EncodedEvent): string | undefined {
  return event.type === 'orderbook' ? BOOK_SLOT : slotOf(event)
}

export function bytesOf(events: readonly EncodedEvent[]): number {
  let bytes = 0
  for (const event of events) bytes += event.bytes.length
  return bytes
}

function pause(ms: number): Promise<void> {
  return new Promise((go) => setTimeout(go, ms).unref())
}
