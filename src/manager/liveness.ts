import type { Connector, Link, LinkOptions } from '../connectors/connector.ts'
import type { VenueId } from '../market/event.ts'
import type { Feed } from './feed.ts'
import type { Patience } from './patience.ts'

/** Silent subscriptions that are compared at once: what REST gives is for snapshots first. */
const MAX_COMPARISONS = 5

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
  readonly patience: Patience
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
  #doubtAfterMs: number
  /** Under way; at most `MAX_COMPARISONS`. */
  #comparisons = 0
  /** The venue's last update id of a book, seen by REST while the connection had delivered nothing since. */
  #mark: { readonly deliveredAt: number; readonly last: VenueId } | undefined

  constructor(host: LivenessHost) {
    this.#host = host
    this.#doubtAfterMs = host.patience.doubtMs
  }

  /** Something came that is no mere pong. */
  heard(connection: Connection): void {
    connection.heardAt = performance.now()
    connection.askedAt = 0
  }

  delivered(connection: Connection): void {
    connection.deliveredAt = connection.heardAt
    this.#doubtAfterMs = this.#host.patience.doubtMs
  }

  /** Every second. */
  sweep(connection: Connection, time: number): void {
    if (connection.link.polls) return
    const { answerMs, maxDoubtMs } = this.#host.patience
    if (connection.askedAt && time - connection.askedAt >= answerMs) {
      this.#host.giveUpOn(connection, `no answer for ${answerMs / 1_000} s`)
      return
    }
    for (const feed of this.#host.feeds.values()) {
      if (feed.sweep(time)) connection.askedAt ||= time
      if (feed.isHopeless()) this.#host.replace('a subscription stays silent on it')
      if (this.#comparisons < MAX_COMPARISONS && feed.isDoubtful(time)) void this.#compare(connection, feed)
    }
    if (this.#host.feeds.size === 0 || time - connection.heardAt < this.#doubtAfterMs) return
    this.#doubtAfterMs = Math.min(this.#doubtAfterMs * 2, maxDoubtMs)
    void this.#doubt(connection, time)
  }

  /** A silent topic whose venue moved on: if the connection delivered nothing else either, it is dead, else the topic is. */
  async #compare(connection: Connection, feed: Feed): Promise<void> {
    this.#comparisons++
    const isWithheld = await feed.isWithheld().finally(() => this.#comparisons--)
    if (!isWithheld || !this.#host.isCurrent(connection)) return
    if (performance.now() - connection.deliveredAt < this.#host.patience.doubtMs) feed.withheld()
    else this.#host.giveUpOn(connection, 'no data, though the venue moves on')
  }

  /**
   * Nothing is heard at all. A market may be that quiet, but its venue answers when it is asked for what it gives already.
   * Where its book moves on meanwhile, or nothing ever came, another connection is tried beside this one.
   */
  async #doubt(connection: Connection, time: number): Promise<void> {
    const { connector, options, patience, replace } = this.#host
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
    const signal = AbortSignal.timeout(patience.probeMs)
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
