import type { TopicImage } from '../../cache/cache.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { BookPayload } from '../../market/event.ts'
import { OrderBook } from '../../market/order-book.ts'
import type { Topic } from '../../market/topic.ts'
import type { Log } from '../gateway.ts'
import type { Position } from './outgoing.ts'

/** Follows a feed from inside this process: a view of it, the board of `/ws/odds`, … */
export interface FeedReader {
  /** The next event, already applied to the feed. */
  take(event: EncodedEvent): void
  /** Events were missed: nothing comes until `reload`. */
  resync(reason: string): void
  /** The feed stands anew; `before` is where it stood. */
  reload(before: Position): void
}

/** Events kept while an image is loaded; beyond it they are dropped, and the image is loaded again. */
const MAX_HELD = 20_000
/** Loads in a row after which a hole is taken as it is: `prev` tells the clients. */
const MAX_LOADS = 5
const RETRY_MS = 200
/** Keys kept of a state topic; of candles the running one and the last closed. When full, the oldest goes. */
const MAX_KEYS = 10_000
const MAX_CANDLES = 2

/**
 * What this process knows of one topic that somebody follows: an image from the cache, then kept by live events whose
 * `seq` is checked. A hole holds the topic, loads the image again and goes on from it.
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
  readonly #load: () => Promise<TopicImage | undefined>
  readonly #log: Log
  #live = false
  #closed = false
  #held: EncodedEvent[] = []
  #waiting: (() => void)[] = []

  constructor(topic: Topic, load: () => Promise<TopicImage | undefined>, log: Log) {
    this.topic = topic
    this.#load = load
    this.#log = log
  }

  /** `fresh`: the topic begins now, there is no image. */
  open(fresh: boolean): void {
    if (fresh) this.#live = true
    else void this.#reload(false)
  }

  close(): void {
    this.#closed = true
    this.#waiting = []
    this.#held = []
  }

  /** At once if the feed stands, else when it does: between the call and the next event nothing is missed. */
  whenLive(act: () => void): void {
    if (this.#live) act()
    else this.#waiting.push(act)
  }

  /** Somebody waits for it to be live. */
  get awaited(): boolean {
    return this.#waiting.length > 0
  }

  take(event: EncodedEvent): void {
    if (!this.#live) {
      if (this.#held.length >= MAX_HELD) this.#held = []
      this.#held.push(event)
      return
    }
    if (event.epoch < this.epoch || (event.epoch === this.epoch && event.seq <= this.seq)) return
    const expected = event.epoch === this.epoch ? this.seq + 1 : 1
    if (event.seq === expected) this.#accept(event)
    else this.#resync(event, `event ${expected} did not arrive, ${event.seq} did`)
  }

  #accept(event: EncodedEvent): void {
    if (event.epoch !== this.epoch) this.book = undefined
    this.epoch = event.epoch
    this.seq = event.seq
    this.#apply(event)
    for (const reader of this.readers) reader.take(event)
  }

  #apply(event: EncodedEvent): void {
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

  #resync(event: EncodedEvent, reason: string): void {
    this.#live = false
    this.#held = [event]
    for (const reader of this.readers) reader.resync(reason)
    void this.#reload(true)
  }

  async #reload(again: boolean): Promise<void> {
    for (let loads = 1; ; loads++) {
      let image: TopicImage | undefined
      try {
        image = await this.#load()
      } catch (error) {
        this.#log.warn(
          { topic: this.topic.id, error: String(error) },
          'the image of a topic cannot be loaded',
        )
        await pause()
        if (this.#closed) return
        continue
      }
      if (this.#closed) return
      const follows = this.#heldAfter(image)
      if (follows || loads >= MAX_LOADS) return this.#settle(image, again)
      await pause()
    }
  }

  /** Do the events held go on where the image ends? What the image holds is dropped from them. */
  #heldAfter(image: TopicImage | undefined): boolean {
    const { epoch, seq } = image ?? this
    this.#held = this.#held.filter(
      (event) => event.epoch > epoch || (event.epoch === epoch && event.seq > seq),
    )
    const first = this.#held[0]
    return !first || first.seq === (first.epoch === epoch ? seq + 1 : 1)
  }

  #settle(image: TopicImage | undefined, again: boolean): void {
    const before = { epoch: this.epoch, seq: this.seq }
    if (image) this.#adopt(image)
    this.#live = true
    if (again) for (const reader of this.readers) reader.reload(before)
    const held = this.#held
    this.#held = []
    for (let act = this.#waiting.shift(); act; act = this.#waiting.shift()) act()
    const [first] = held
    // The hole stays: the first event held is taken as the next one.
    if (first && (first.epoch !== this.epoch || first.seq !== this.seq + 1)) {
      this.epoch = first.epoch
      this.seq = first.seq - 1
      this.book = undefined
    }
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
  }
}

function pause(): Promise<void> {
  return new Promise((resume) => setTimeout(resume, RETRY_MS).unref())
}
