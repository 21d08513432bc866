import type { TopicImage } from '../../cache/cache.ts'
import { goesOn, isAfter, type Place, placeBefore } from '../../market/continuity.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { BookPayload, Micros } from '../../market/event.ts'
import { OrderBook } from '../../market/order-book.ts'
import type { Topic } from '../../market/topic.ts'
import { signals } from '../../signals.ts'
import type { Log } from '../gateway.ts'
import type { Position } from './outgoing.ts'
import type { TopicUpstream } from './upstream.ts'

/** Follows a feed from inside this process: a view of it, the board of `/ws/odds`, … */
export interface FeedReader {
  /** The next event, already applied to the feed. */
  take(event: EncodedEvent): void
  /** Events were missed: nothing comes until `reload`. */
  resync(reason: string): void
  /** The feed stands anew; `before` is where it stood. */
  reload(before: Position): void
}

/** Events kept while the feed does not stand; beyond it they are dropped, and fetched with what was missed before. */
const MAX_HELD = 20_000
/** Times that cache and store are asked for what was missed; the recorder may still be writing it. */
const MAX_FILLS = 10
/** Loads in a row after which a hole is taken as it is: `prev` tells the clients. */
const MAX_LOADS = 5
const RETRY_MS = 200
/** The cache may be away, and its events with it: an image from the store comes first then. */
const FOLLOW_MS = 500
const NOWHERE: Place = { epoch: 0, seq: 0 }
/** Keys kept of a state topic; of candles the running one and the last closed. When full, the oldest goes. */
const MAX_KEYS = 10_000
const MAX_CANDLES = 2

/**
 * What this process knows of one topic that somebody follows: an image from the cache, then kept by live events whose
 * `seq` is checked, for the fan-out may lose some. A hole holds the topic: what is missing comes from the window of the
 * cache, else from the store, and nobody sees that it did. Only where neither has it readers are told to `resync`, and
 * the feed goes on from a new image.
 */
export class TopicFeed implements Position {
  readonly topic: Topic
  epoch = 0
  seq = 0
  /** The newest event of each conflation key, oldest first; of `event` channels the newest event only. */
  readonly values = new Map<string, EncodedEvent>()
  /** Of `orderbook` topics; undefined while the book is unknown. */
  book: { readonly levels: OrderBook; readonly depth: number; last: EncodedEvent } | undefined
  readonly readers = new Set<FeedReader>()
  /** What is known of the topic beyond what the feed holds. */
  readonly upstream: TopicUpstream
  /** It stands where the topic stood so long ago; 0: where it stands. */
  readonly delayMs: number
  readonly #log: Log
  #live = false
  #closed = false
  #receivedTime: Micros = 0
  /** How far the topic has come, as the cache tells. */
  #head = NOWHERE
  #held: EncodedEvent[] = []
  #waiting: (() => void)[] = []

  constructor(topic: Topic, upstream: TopicUpstream, log: Log, delayMs = 0) {
    this.topic = topic
    this.upstream = upstream
    this.delayMs = delayMs
    this.#log = log
  }

  /** `fresh`: the topic begins now, there is no image. */
  open(fresh: boolean): void {
    const following = this.upstream.follow(this.topic)
    if (fresh) this.#live = true
    else void this.#load(following)
    // What was published before it was followed.
    void following?.then(() => this.#catchUp())
  }

  close(): void {
    this.#closed = true
    this.#waiting = []
    this.#held = []
    this.upstream.unfollow(this.topic)
  }

  /** At once if the feed stands, else when it does: between the call and the next event nothing is missed. */
  whenLive(act: () => void): void {
    if (this.#live) act()
    else this.#waiting.push(act)
  }

  /** At or before the time of the event that it stands at; 0: not known. */
  get receivedTime(): Micros {
    return this.#receivedTime
  }

  /** It stands: what its position says is what its readers have. */
  get live(): boolean {
    return this.#live
  }

  /** Somebody waits for it to be live. */
  get awaited(): boolean {
    return this.#waiting.length > 0
  }

  take(event: EncodedEvent): void {
    if (!this.#live) {
      if (this.#held.length >= MAX_HELD) this.#held = []
      this.#held.push(event)
    } else if (this.#joins(event)) this.#accept(event)
    else if (isAfter(event, this)) {
      this.#held = [event]
      void this.#fill()
    }
  }

  /** The topic has come so far; what is missing up to there did not arrive. */
  head(position: Place): void {
    if (isAfter(position, this.#head)) this.#head = position
    if (this.#live && isAfter(position, this)) void this.#fill()
  }

  /** Is it the next one? An epoch whose first event says nothing of the one before is taken as it is. */
  #joins(event: EncodedEvent): boolean {
    if (event.epoch === this.epoch) return event.seq === this.seq + 1
    if (event.epoch < this.epoch || event.seq !== 1) return false
    return placeBefore(event) === undefined || goesOn(this, event)
  }

  #accept(event: EncodedEvent): void {
    this.#apply(event)
    for (const reader of this.readers) reader.take(event)
  }

  #apply(event: EncodedEvent): void {
    if (event.epoch !== this.epoch) this.book = undefined
    this.epoch = event.epoch
    this.seq = event.seq
    this.#receivedTime = event.receivedTime
    if (this.topic.class === 'delta') this.#applyToBook(event)
    else if (event.type === 'gap') return
    else if (this.topic.class === 'event') this.values.set('', event)
    else if (event.key !== undefined) {
      this.values.delete(event.key)
      this.values.set(event.key, event)
      this.#bound()
    }
  }

  #bound(): void {
    const most = this.topic.channel === 'ohlcv' ? MAX_CANDLES : MAX_KEYS
    while (this.values.size > most) this.values.delete(this.values.keys().next().value as string)
  }

  /** Whatever is no book event says that the book is not known. */
  #applyToBook(event: EncodedEvent): void {
    const payload = event.type === 'orderbook' ? (event.payload as BookPayload) : undefined
    if (payload?.kind === 'snapshot') {
      const levels = new OrderBook()
      levels.reset(payload.bids, payload.asks)
      this.book = { levels, depth: payload.depth, last: event }
    } else if (payload && this.book) {
      this.book.levels.apply(payload.bids, payload.asks)
      this.book.last = event
    } else this.book = undefined
  }

  async #load(following: Promise<void> | undefined): Promise<void> {
    if (following) await Promise.race([following, pause(FOLLOW_MS)])
    if (!this.#closed) await this.#reload(false)
  }

  async #catchUp(): Promise<void> {
    if (!this.#live || this.epoch === 0) return
    for (const event of (await this.upstream.since(this.topic, this)) ?? [])
      if (!this.#closed) this.take(event)
  }

  /** Holds the topic until it goes on without a hole. */
  async #fill(): Promise<void> {
    this.#live = false
    const reason = this.#hole()
    if (this.epoch === 0) {
      await this.#fetch((event) => this.#accept(event))
      if (this.#closed) return
      return this.#isWhole() && this.epoch > 0 ? this.#goOn() : this.#reload(true)
    }
    for (let fills = 1; fills <= MAX_FILLS; ) {
      // Where the store cannot be asked either, it is asked again: nothing better could be had.
      const before = { epoch: this.epoch, seq: this.seq }
      if (await this.#fetch((event) => this.#accept(event))) fills++
      if (this.#closed) return
      if (this.#isWhole()) return this.#goOn()
      if (isAfter(this, before)) fills = 1
      else await pause(RETRY_MS * (0.5 + Math.random()))
      if (this.#closed) return
    }
    for (const reader of this.readers) reader.resync(reason)
    signals.topicRepaired.emit({ by: 'image', events: 0 })
    await this.#reload(true)
  }

  #hole(): string {
    const [next] = this.#held
    const { seq } = next ?? this.#head
    const missing = (next ?? this.#head).epoch === this.epoch ? this.seq + 1 : 1
    if (missing === seq)
      return `what lies between epoch ${this.epoch} and ${(next ?? this.#head).epoch} is not known`
    return `event ${missing} did not arrive, ${seq} did`
  }

  /** Takes what cache or store have of what follows; false: neither could be asked. */
  async #fetch(take: (event: EncodedEvent) => void): Promise<boolean> {
    try {
      const found = await this.upstream.missing(this.topic, this, this.#receivedTime)
      if (this.#closed || !found) return true
      const { length } = found.events
      for (const event of found.events) if (this.#joins(event)) take(event)
      signals.topicRepaired.emit({ by: found.by, events: length })
      return true
    } catch (error) {
      this.#log.warn({ topic: this.topic.id, error: String(error) }, 'missed events cannot be asked for')
      return false
    }
  }

  /** Do the events held go on from here, and is nothing known that lies further on? What it has is dropped from them. */
  #isWhole(): boolean {
    this.#held = this.#held.filter((event) => isAfter(event, this))
    const [first] = this.#held
    return first ? this.#joins(first) : !isAfter(this.#head, this)
  }

  #goOn(): void {
    this.#live = true
    for (let act = this.#waiting.shift(); act; act = this.#waiting.shift()) act()
    const held = this.#held
    this.#held = []
    for (const event of held) this.take(event)
  }

  async #reload(again: boolean): Promise<void> {
    const before = { epoch: this.epoch, seq: this.seq }
    for (let loads = 1; ; loads++) {
      try {
        const image = await this.upstream.image(this.topic)
        if (this.#closed) return
        if (image && (loads === 1 || isAfter(image, this))) this.#adopt(image)
      } catch (error) {
        this.#log.warn(
          { topic: this.topic.id, error: String(error) },
          'the image of a topic cannot be loaded',
        )
        await pause(RETRY_MS)
        if (this.#closed) return
        loads--
        continue
      }
      // An image from the store is older than what arrives meanwhile.
      if (!this.#isWhole() && this.epoch > 0) await this.#fetch((event) => this.#apply(event))
      if (this.#closed) return
      if (this.#isWhole() || loads >= MAX_LOADS) return this.#settle(again ? before : undefined)
      await pause(RETRY_MS)
      if (this.#closed) return
    }
  }

  /** `before`: where the readers stand. */
  #settle(before: Place | undefined): void {
    // What the image does not reach is asked for when the cache tells of it again.
    this.#head = NOWHERE
    if (before) for (const reader of this.readers) reader.reload(before)
    const [first] = this.#held
    // The hole stays: the first event held is taken as the next one, behind what the image has.
    this.#live = true
    for (let act = this.#waiting.shift(); act; act = this.#waiting.shift()) act()
    if (first && !this.#joins(first)) {
      this.epoch = first.epoch
      this.seq = first.seq - 1
      this.book = undefined
    }
    const held = this.#held
    this.#held = []
    for (const event of held) this.take(event)
  }

  #adopt(image: TopicImage): void {
    this.epoch = image.epoch
    this.seq = image.seq
    this.values.clear()
    for (const event of image.values) this.values.set(event.key ?? '', event)
    this.#bound()
    this.book = undefined
    if (image.book) {
      const { bids, asks, depth, last } = image.book
      const levels = new OrderBook()
      levels.reset(bids, asks)
      this.book = { levels, depth, last }
    }
    const newest = image.book?.last ?? image.values.at(-1)
    this.#receivedTime = newest?.receivedTime ?? 0
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resume) => setTimeout(resume, ms).unref())
}
