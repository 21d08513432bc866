import type { Connector, Link, LinkOptions } from '../connectors/connector.ts'
import type { VenueId } from '../market/event.ts'
import type { Feed } from './feed.ts'

/** A connection on which nothing is heard for so long is doubted; each time it proves to be quiet, twice as long. */
const DOUBT_AFTER_MS = 10_000
const MAX_DOUBT_AFTER_MS = 600_000
/** A venue answers requests at once: when it says nothing at all for so long after one, the connection is dead. */
const ANSWER_MS = 8_000
const PROBE_TIMEOUT_MS = 5_000

/** One connection of a lane. Times are monotonic ms; 0: never. */
export interface Connection {
  link: Link
  openedAt: number
  /** When data, a heartbeat or an answer came last; at first, when it was opened. */
  heardAt: number
  /** When data came last. */
  deliveredAt: number
  /** When the venue was asked for something; 0 as soon as it says anything. */
  askedAt: number
  /** The subscription that was asked for again to see whether the venue answers. */
  probe: string | undefined
  readonly maxAgeMs: number
}

export interface LivenessHost {
  readonly connector: Connector
  readonly options: LinkOptions
  readonly feeds: ReadonlyMap<string, Feed>
  isCurrent(connection: Connection): boolean
  /** It is dead. */
  giveUpOn(connection: Connection, reason: string): void
  /** It may be dead: another is to take its place, without a break. */
  replace(reason: string): void
}

/**
 * Tells a dead connection, or a dead subscription on a live one, from a quiet market. Neither an open socket nor an
 * acknowledgement nor a pong is proof of data; silence is no proof of death.
 */
export class Liveness {
  readonly #host: LivenessHost
  #doubtAfterMs = DOUBT_AFTER_MS
  /** The venue's last update id of a book, seen by REST while the connection had delivered nothing since. */
  #mark: { readonly deliveredAt: number; readonly last: VenueId } | undefined

  constructor(host: LivenessHost) {
    this.#host = host
  }

  /** Something came that is no mere pong. */
  heard(connection: Connection): void {
    connection.heardAt = performance.now()
    connection.askedAt = 0
  }

  delivered(connection: Connection): void {
    connection.deliveredAt = connection.heardAt
    this.#doubtAfterMs = DOUBT_AFTER_MS
  }

  /** Every second. */
  sweep(connection: Connection, time: number): void {
    if (connection.askedAt && time - connection.askedAt >= ANSWER_MS) {
      this.#host.giveUpOn(connection, `no answer for ${ANSWER_MS / 1_000} s`)
      return
    }
    for (const feed of this.#host.feeds.values()) {
      if (feed.sweep(time)) connection.askedAt ||= time
      if (feed.isDoubtful(time)) void this.#compare(connection, feed)
    }
    if (this.#host.feeds.size === 0 || time - connection.heardAt < this.#doubtAfterMs) return
    this.#doubtAfterMs = Math.min(this.#doubtAfterMs * 2, MAX_DOUBT_AFTER_MS)
    void this.#doubt(connection, time)
  }

  /** A silent book whose venue moved on: if the connection delivered nothing else either, it is dead, else this book is. */
  async #compare(connection: Connection, feed: Feed): Promise<void> {
    if (!(await feed.isWithheld()) || !this.#host.isCurrent(connection)) return
    if (performance.now() - connection.deliveredAt < DOUBT_AFTER_MS) feed.withheld()
    else this.#host.giveUpOn(connection, 'no data, though the venue moves on')
  }

  /**
   * Nothing is heard at all. A market may be that quiet, but its venue answers when it is asked for what it gives already.
   * Where its book moves on meanwhile, or nothing ever came, another connection is tried beside this one.
   */
  async #doubt(connection: Connection, time: number): Promise<void> {
    const { connector, options, replace } = this.#host
    const feeds = [...this.#host.feeds.values()].filter((one) => !one.isRefused)
    const feed = feeds.find((one) => one.topic.channel !== 'orderbook') ?? feeds[0]
    if (!feed) return
    connection.askedAt ||= time
    connection.probe = feed.key
    connection.link.subscribe([feed.subscription])
    if (!connector.fetchBook) {
      if (!connection.deliveredAt) replace('no data since it was opened')
      return
    }
    const { symbol } = feed.subscription
    const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS)
    const book = await connector
      .fetchBook(symbol, connector.bookDepth(1), options, signal)
      .catch(() => undefined)
    if (!this.#host.isCurrent(connection) || book?.last === undefined) return
    const { deliveredAt } = connection
    if (this.#mark?.deliveredAt === deliveredAt && book.last > this.#mark.last)
      replace('no data, though the venue moves on')
    this.#mark = { deliveredAt, last: book.last }
  }
}
