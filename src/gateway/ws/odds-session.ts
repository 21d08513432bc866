import type { Identity } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import type { OddsCommand } from '../../protocol/legacy.ts'
import { parseOddsCommand } from '../../protocol/parse.ts'
import type { Connection } from './connection.ts'
import type { Feeds } from './feeds.ts'
import type { ClientHub } from './hub.ts'
import { type LegacyOrigin, LegacySession } from './legacy-session.ts'
import { OddsBoard } from './odds-board.ts'
import { delayOf } from './rights.ts'
import type { TopicFeed } from './topic-feed.ts'

/** Newest value of a market at most five times a second, for tiers whose frames are limited. */
const PACE_MS = 200

/** One client of `/ws/odds`. */
export class OddsSession extends LegacySession<OddsCommand> {
  /** By event; one may come from several sources. */
  readonly #followed = new Map<string, readonly Following[]>()

  constructor(hub: ClientHub, connection: Connection, from: LegacyOrigin) {
    super(hub, connection, from, parseOddsCommand)
  }

  protected admitted(): void {}

  protected execute(identity: Identity, { type, eventId }: OddsCommand): void {
    if (type === 'unsubscribe') this.#unsubscribe(eventId)
    else if (!this.#followed.has(eventId)) this.#subscribe(identity, eventId)
  }

  #subscribe(identity: Identity, eventId: string): void {
    const { ports, feeds } = this.hub
    feeds.refresh()
    const follows = feeds
      .find({ channel: 'odds', source: undefined, pattern: eventId, timeframe: undefined })
      .flatMap((topic) => {
        const delayMs = delayOf(ports.auth, identity, topic)
        return delayMs === undefined ? [] : { topic, delayMs }
      })
    if (follows.length === 0) throw new FeedgateError('not-found', `event ${eventId} is not known here`)
    this.takeRoom(this.#followed.size)
    const paced = identity.tier.framesPerMinute !== Number.POSITIVE_INFINITY
    this.#followed.set(
      eventId,
      follows.map(
        ({ topic, delayMs }) => new Following(feeds, feeds.feed(topic, delayMs), this.connection, paced),
      ),
    )
  }

  #unsubscribe(eventId: string): void {
    for (const following of this.#followed.get(eventId) ?? []) following.stop()
    this.#followed.delete(eventId)
  }

  get subscriptions(): number {
    return this.#followed.size
  }

  protected begin(identity: Identity): void {
    for (const eventId of [...this.#followed.keys()]) {
      this.#unsubscribe(eventId)
      try {
        this.#subscribe(identity, eventId)
      } catch (error) {
        this.fail(error)
      }
    }
  }

  protected closed(): void {
    for (const eventId of this.#followed.keys()) this.#unsubscribe(eventId)
  }
}

/** Shows the board of one topic to one client. */
class Following {
  readonly #feeds: Feeds
  readonly #feed: TopicFeed
  readonly #connection: Connection
  readonly #paced: boolean
  #board: OddsBoard | undefined
  #stopped = false
  /** Newest frame of each market that waits for its turn; as many as the board has markets. */
  readonly #waiting = new Map<string, Buffer>()
  readonly #resting = new Map<string, NodeJS.Timeout>()
  readonly #show = (marketId: string, frame: Buffer) => this.#offer(marketId, frame)

  constructor(feeds: Feeds, feed: TopicFeed, connection: Connection, paced: boolean) {
    this.#feeds = feeds
    this.#feed = feed
    this.#connection = connection
    this.#paced = paced
    this.#feed.whenLive(() => this.#start())
  }

  #start(): void {
    if (this.#stopped) {
      this.#feeds.release(this.#feed)
      return
    }
    this.#board = OddsBoard.of(this.#feed)
    for (const [marketId, frame] of this.#board.current()) this.#offer(marketId, frame)
    this.#board.followers.add(this.#show)
  }

  #offer(marketId: string, frame: Buffer): void {
    if (this.#resting.has(marketId)) {
      this.#waiting.set(marketId, frame)
      return
    }
    this.#connection.post(frame)
    if (this.#paced)
      this.#resting.set(
        marketId,
        setTimeout(() => this.#rested(marketId), PACE_MS),
      )
  }

  #rested(marketId: string): void {
    this.#resting.delete(marketId)
    const next = this.#waiting.get(marketId)
    this.#waiting.delete(marketId)
    if (next) this.#offer(marketId, next)
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#resting.values()) clearTimeout(timer)
    this.#board?.leave(this.#show)
    this.#feeds.release(this.#feed)
  }
}
