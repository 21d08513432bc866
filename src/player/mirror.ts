import type { Level } from '../market/event.ts'
import { OrderBook } from '../market/order-book.ts'

/** One message of a book, as recorded. Levels may hold more than price and size: what else the venue wrote. */
export interface BookMessage {
  readonly snapshot: boolean
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
  /** The venue's update ids; `first` follows the `last` of the message before. */
  readonly first?: number
  readonly last?: number
  /** As the venue wrote it. */
  readonly checksum?: string
  /** Levels a side that were subscribed to by the recorder; absent: all. */
  readonly depth?: number
}

/**
 * The player's own book of a stream: what the unfaulted recording says up to the position. Snapshots that the recording
 * lacks are made from it.
 */
export class Mirror {
  /** The recording has shown a snapshot of it. */
  known = false
  /** The venue's last update id. */
  last: number | undefined
  /** The venue's checksum of the book as it is. */
  checksum: string | undefined
  /** Levels a side that the recorder subscribed to. */
  depth = Number.POSITIVE_INFINITY
  /** Recorded time of the last message, seconds since the epoch. */
  time = 0
  book = new OrderBook()
  /** Recorded REST snapshots, oldest first, where the stream itself has none. */
  readonly #bases: BookMessage[]

  constructor(bases: readonly BookMessage[] = []) {
    this.#bases = [...bases].sort((a, b) => (a.last ?? 0) - (b.last ?? 0))
  }

  /** Answers whether the message changed the book; an old one does not. */
  apply(message: BookMessage, time: number): boolean {
    this.time = time
    if (message.snapshot) this.#reset(message)
    else if (message.last !== undefined && !this.#follows(message)) return false
    else this.book.apply(message.bids, message.asks)
    if (message.last !== undefined) this.last = message.last
    if (message.checksum !== undefined) this.checksum = message.checksum
    return true
  }

  /** A REST snapshot may be asked for before the first message of the stream. */
  begin(): void {
    const base = this.#bases[0]
    if (!this.known && base) this.#reset(base)
  }

  /**
   * A recorded REST snapshot lies ahead of the first messages after it was asked for; those are old to it. At a hole in
   * the recording the next recorded snapshot takes over; with none, the book goes on as well as it can.
   */
  #follows(message: BookMessage): boolean {
    const last = message.last!
    const first = message.first ?? last
    if (!this.known || first > this.last! + 1) {
      const base = this.#bases.find((one) => one.last! >= first - 1)
      if (base) this.#reset(base)
      else if (!this.known) return false
    }
    return last > this.last!
  }

  #reset(message: BookMessage): void {
    if (message.depth !== undefined && message.depth !== this.depth) {
      this.depth = message.depth
      this.book = new OrderBook({ truncateTo: message.depth })
    }
    this.book.reset(message.bids, message.asks)
    this.last = message.last
    this.checksum = message.checksum
    this.known = true
  }
}

/** A dialect. */
interface Speaker {
  readonly id: string
}

/** The player's own books, by venue and stream. Bounded by what was recorded. */
export class Mirrors {
  readonly #mirrors = new Map<string, Mirror>()

  find(dialect: Speaker, stream: string): Mirror | undefined {
    return this.#mirrors.get(`${dialect.id} ${stream}`)
  }

  /** Made new if there is none; from recorded REST snapshots where there are any. */
  of(dialect: Speaker, stream: string, bases: readonly BookMessage[] = []): Mirror {
    const known = this.find(dialect, stream)
    if (known) return known
    const mirror = new Mirror(bases)
    this.#mirrors.set(`${dialect.id} ${stream}`, mirror)
    return mirror
  }
}
