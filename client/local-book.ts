import { BookLevels, type Level } from './book-levels.ts'
import type { FeedgateError } from './closing.ts'
import { Emitter } from './emitter.ts'
import type { AnyEvent, BookEvent, Break, Position, WrongChecksum } from './events.ts'
import type { Sink } from './subscription.ts'

/**
 * building: not known, a snapshot is awaited. live: as the gateway has it. stale: as it was when the connection was
 * lost; live again if nothing was missed, else built anew. closed: nothing follows.
 */
export type BookState = 'building' | 'live' | 'stale' | 'closed'

type BookEvents = {
  /** After each event that was applied. */
  change: BookEvent
  state: { readonly state: BookState; readonly reason: string; readonly error?: FeedgateError }
}

interface Control {
  wrong(notice: WrongChecksum): void
  close(): void
}

/** An order book kept up by events: exact decimals, every event in its place, proved wherever a checksum comes. */
export class LocalBook extends Emitter<BookEvents> {
  /** `source|orderbook|symbol` */
  readonly topic: string
  readonly #control: Control
  readonly #levels = new BookLevels()
  #state: BookState = 'building'
  #position: Position | undefined
  #verified = 0

  /** Made by `FeedgateClient.book`: `follow` subscribes to the topic. */
  constructor(topic: string, follow: (sink: Sink) => Control) {
    super()
    this.topic = topic
    this.#control = follow({
      item: (item) => this.#take(item),
      joined: () => {
        if (this.#state === 'stale') this.#become('live', 'resumed')
      },
      lost: () => {
        if (this.#state === 'live') this.#become('stale', 'the connection is lost')
      },
      ended: (error) => this.#end(error),
    })
  }

  get state(): BookState {
    return this.#state
  }

  /** `[epoch, seq]` of the last event that it holds. */
  get position(): Position | undefined {
    return this.#position
  }

  /** Checksums that were right. */
  get verified(): number {
    return this.#verified
  }

  /** Best first; none while it is building. */
  bids(count = Number.POSITIVE_INFINITY): Level[] {
    return this.#levels.bids.top(count)
  }

  asks(count = Number.POSITIVE_INFINITY): Level[] {
    return this.#levels.asks.top(count)
  }

  get bestBid(): Level | undefined {
    return this.#levels.bids.at(0)
  }

  get bestAsk(): Level | undefined {
    return this.#levels.asks.at(0)
  }

  close(): void {
    this.#control.close()
  }

  #take(item: AnyEvent | Break): void {
    if (item.type === 'orderbook') this.#apply(item as BookEvent)
    // What is missing may come yet: then it goes on from what it holds.
    else if (item.type === 'hole') this.#become('stale', 'events are missing')
    else this.#clear(item.type)
  }

  #end(error?: FeedgateError): void {
    this.#levels.reset([], [])
    this.#state = 'closed'
    this.emit('state', { state: 'closed', reason: error?.message ?? 'closed', ...(error ? { error } : {}) })
  }

  #apply(event: BookEvent): void {
    const { kind, bids, asks, epoch, seq } = event
    // Whoever opened this epoch does not know the book either, until it sends a snapshot.
    if (kind === 'delta' && epoch !== this.#position?.[0]) this.#clear('a new epoch')
    if (kind === 'snapshot') this.#levels.reset(bids, asks)
    else if (this.#state === 'building') return
    else this.#levels.apply(bids, asks)
    this.#position = [epoch, seq]
    if (!this.#isProved(event)) return
    this.#become('live', kind)
    this.emit('change', event)
  }

  #isProved({ checksum, epoch, seq }: BookEvent): boolean {
    if (checksum === undefined) return true
    const actual = this.#levels.checksum()
    if (actual === checksum) {
      this.#verified++
      return true
    }
    this.#clear('a wrong checksum')
    this.#control.wrong({ type: 'checksum', topic: this.topic, at: [epoch, seq], expected: checksum, actual })
    return false
  }

  #clear(reason: string): void {
    this.#levels.reset([], [])
    this.#position = undefined
    this.#become('building', reason)
  }

  #become(state: BookState, reason: string): void {
    if (this.#state === state) return
    this.#state = state
    this.emit('state', { state, reason })
  }
}
