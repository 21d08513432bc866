import type { Connector, Decoded, Link, LinkEnd, LinkOptions } from '../connectors/connector.ts'
import { subscriptionKey } from '../connectors/connector.ts'
import type { Micros, SourceState } from '../market/event.ts'
import { type Backoff, backoffMs } from './backoff.ts'
import type { ConnectLimits } from './connect-limits.ts'
import type { Feed } from './feed.ts'
import type { Role } from './keeper.ts'
import { type Connection, Liveness } from './liveness.ts'
import type { Patience } from './patience.ts'

/** By so much of the greatest age connections are replaced sooner, not all in the same minute. */
const AGE_SPREAD = 0.02

export interface LaneSettings {
  readonly backoff: Backoff
  /** Attempts in a row after which the lane is `down`. */
  readonly maxRetries: number
  /** Then no more attempts. */
  readonly giveUp: boolean
  /** A connection that is older is replaced. */
  readonly maxAgeMs: number
}

/** What a lane needs of its source. */
export interface LaneHost {
  readonly connector: Connector
  readonly options: LinkOptions
  readonly limits: ConnectLimits
  readonly patience: Patience
  readonly settings: LaneSettings
  /** The state, reason or attempt of the lane changed. */
  changed(lane: Lane): void
  /** Another lane carries all that this one did. */
  emptied(lane: Lane): void
  /** Retries are exhausted. */
  exhausted(reason: string): void
  deadLetter(reason: string, receivedTime: Micros, frame: string | undefined, feed: Feed | undefined): void
}

/**
 * The subscriptions of one route that share a connection, and the supervision of that connection: opened, replaced before
 * it is cut, and opened again for ever when it is lost.
 */
export class Lane {
  readonly route: string
  readonly feeds = new Map<string, Feed>()
  state: SourceState = 'connecting'
  reason = 'starting'
  attempt = 0
  readonly #host: LaneHost
  readonly #liveness: Liveness
  #current: Connection | undefined
  /** Takes over from `#current`. */
  #next: Connection | undefined
  /** Replaced, and closed when what was on its way has come: another connection may be read first. */
  readonly #leaving = new Set<Link>()
  #retry: NodeJS.Timeout | undefined
  #replacing: NodeJS.Timeout | undefined
  #replaceAttempt = 0
  /** Lanes whose subscriptions are this one's too, until its next connection carries them. */
  readonly #taken: Lane[] = []
  /** Its subscriptions were taken: what it still has goes on, and nothing is begun. */
  #retired = false
  /** They are carried by the lane that took them: this one is only read a little longer. */
  #released = false
  #books = 0
  #started = false
  #paused = false
  #closed = false

  constructor(route: string, host: LaneHost) {
    this.route = route
    this.#host = host
    this.#liveness = new Liveness({
      connector: host.connector,
      options: host.options,
      patience: host.patience,
      feeds: this.feeds,
      isCurrent: (connection) => connection === this.#current && !this.#closed && !this.#paused,
      giveUpOn: (connection, reason) => this.#giveUpOn(connection, reason),
      replace: (reason) => this.replace(reason),
    })
  }

  hasRoomFor({ subscription }: Feed): boolean {
    const { subscriptionsPerLink, booksPerLink = subscriptionsPerLink } = this.#host.connector
    const hasRoom = subscription.channel !== 'orderbook' || this.#books < booksPerLink
    return hasRoom && this.feeds.size < subscriptionsPerLink && !this.#retired
  }

  /** Both are undisturbed, and together fill at most half a connection, so that there is room for what comes next. */
  canTake(other: Lane): boolean {
    const { subscriptionsPerLink, booksPerLink = subscriptionsPerLink } = this.#host.connector
    return (
      this.#isSteady &&
      other.#isSteady &&
      this.feeds.size + other.feeds.size <= subscriptionsPerLink / 2 &&
      this.#books + other.#books <= booksPerLink / 2
    )
  }

  /** A new connection carries what both did; then theirs are closed. */
  take(other: Lane): void {
    for (const feed of other.feeds.values()) this.#hold(feed)
    other.#retired = true
    this.#taken.push(other)
    this.replace('carries what another connection did')
  }

  get #isSteady(): boolean {
    const opened = this.#current !== undefined && this.#current.openedAt > 0
    const busy = this.#next ?? this.#replacing ?? this.#taken[0]
    return opened && busy === undefined && !this.#retired && !this.#paused
  }

  start(): void {
    this.#started = true
    this.#connect()
  }

  add(feed: Feed): void {
    this.#hold(feed)
    if (feed.isRefused) return
    for (const connection of [this.#next, this.#current]) {
      if (!connection?.openedAt) continue
      feed.ask(connection.link)
      connection.link.subscribe([feed.subscription])
    }
    if (this.#started && !this.#current && !this.#retry && this.state !== 'down') this.#connect()
  }

  remove(feed: Feed): void {
    this.feeds.delete(feed.key)
    if (feed.topic.channel === 'orderbook') this.#books--
    feed.close()
    for (const connection of [this.#next, this.#current])
      if (connection?.openedAt) connection.link.unsubscribe([feed.subscription])
  }

  #hold(feed: Feed): void {
    this.feeds.set(feed.key, feed)
    if (feed.topic.channel === 'orderbook') this.#books++
  }

  pause(): void {
    this.#paused = true
    this.#current?.link.pause()
    this.#next?.link.pause()
  }

  resume(): void {
    this.#paused = false
    for (const connection of [this.#current, this.#next]) if (connection) this.#liveness.heard(connection)
    this.#current?.link.resume()
    this.#next?.link.resume()
  }

  /** A new connection with the same subscriptions; the old one is closed when the new one delivers. */
  replace(reason: string): void {
    if (this.#closed || this.#retired || this.#next || this.#replacing) return
    if (!this.#current?.openedAt) {
      if (!this.#current) this.#reconnectIn(0)
      return
    }
    const waitMs = this.#waitMs()
    if (waitMs > 0) this.#replaceIn(waitMs, reason)
    else this.#next = this.#open()
  }

  /** Every second. */
  sweep(time: number): void {
    const current = this.#current
    if (!current?.openedAt || this.#paused || this.#released) return
    const age = time - current.openedAt
    if (this.attempt > 0 && current.deliveredAt && age >= this.#host.patience.healthyMs) {
      this.attempt = 0
      this.#host.changed(this)
    }
    // A venue cuts what is old; what polls it cannot.
    if (age >= current.maxAgeMs && !current.link.polls) this.replace('connection is near its greatest age')
    this.#liveness.sweep(current, time)
  }

  #giveUpOn(connection: Connection, reason: string): void {
    this.#change('stale', reason)
    connection.link.close(reason)
  }

  close(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#retry)
    clearTimeout(this.#replacing)
    for (const feed of this.feeds.values()) feed.close()
    this.#current?.link.close(reason)
    this.#next?.link.close(reason)
    for (const link of this.#leaving) link.close(reason)
  }

  #waitMs(): number {
    return this.#host.limits.waitMs(this.#host.connector, this.#host.options)
  }

  #connect(): void {
    clearTimeout(this.#retry)
    this.#retry = undefined
    if (this.#closed) return
    const waitMs = this.#waitMs()
    if (waitMs > 0) {
      this.#reconnectIn(waitMs)
      return
    }
    if (this.state !== 'down') this.#change(this.attempt === 0 ? 'connecting' : 'reconnecting', this.reason)
    this.#current = this.#open()
  }

  #reconnectIn(ms: number): void {
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => this.#connect(), ms)
  }

  #replaceIn(ms: number, reason: string): void {
    this.#replacing = setTimeout(() => {
      this.#replacing = undefined
      this.replace(reason)
    }, ms)
  }

  #open(): Connection {
    const { connector, options, limits, settings } = this.#host
    const arrived = limits.spend(connector, options)
    const connection: Connection = {
      link: NO_LINK,
      openedAt: 0,
      heardAt: 0,
      askedAt: 0,
      probe: undefined,
      deliveredAt: 0,
      maxAgeMs: settings.maxAgeMs * (1 - Math.random() * AGE_SPREAD),
    }
    try {
      connection.link = connector.open(this.route, options, {
        opened: () => {
          arrived()
          this.#opened(connection)
        },
        decoded: (update, receivedTime, frame) => this.#decoded(connection, update, receivedTime, frame),
        ended: (end) => {
          if (!connection.openedAt) arrived()
          this.#ended(connection, end)
        },
      })
    } catch (error) {
      // Such as a URL that is none.
      setImmediate(() => this.#ended(connection, { reason: `cannot connect: ${(error as Error).message}` }))
    }
    if (this.#paused) connection.link.pause()
    return connection
  }

  #opened(connection: Connection): void {
    connection.openedAt = connection.heardAt = performance.now()
    const feeds = [...this.feeds.values()].filter((feed) => !feed.isRefused)
    if (connection === this.#current) {
      for (const feed of feeds) feed.ask(connection.link)
      this.#release()
      this.#change('connected', 'connected')
    } else if (connection === this.#next) {
      this.#replaceAttempt = 0
      this.#replacing = setTimeout(() => this.#promote(), this.#host.patience.handoverMs)
    } else return
    if (feeds.length === 0) return
    connection.askedAt = performance.now()
    connection.link.subscribe(feeds.map((feed) => feed.subscription))
  }

  /** The next connection is the current one from now on. */
  #promote(lost = false): void {
    clearTimeout(this.#replacing)
    this.#replacing = undefined
    const next = this.#next
    if (!next) return
    const old = this.#current
    this.#next = undefined
    this.#current = next
    for (const feed of this.feeds.values())
      if (feed.link !== next.link && !feed.isRefused) feed.takeOver(next.link, lost)
    if (old) this.#leave(old.link)
    this.#release()
  }

  #leave(link: Link): void {
    this.#leaving.add(link)
    setTimeout(() => {
      this.#leaving.delete(link)
      link.close('replaced')
    }, this.#host.patience.lingerMs).unref()
  }

  /** The lanes that were taken have nothing left but what is on its way. */
  #release(): void {
    for (const lane of this.#taken.splice(0)) {
      lane.#released = true
      setTimeout(() => {
        if (lane.#closed) return
        lane.feeds.clear()
        this.#host.emptied(lane)
      }, this.#host.patience.lingerMs).unref()
    }
  }

  #decoded(connection: Connection, update: Decoded, receivedTime: Micros, frame: string | undefined): void {
    if (this.#closed) return
    if (update.kind !== 'ignored') this.#liveness.heard(connection)
    switch (update.kind) {
      case 'event':
        this.#received(connection, this.feeds.get(subscriptionKey(update)), update, receivedTime)
        return
      case 'book':
        this.#received(connection, this.feeds.get(`orderbook|${update.symbol}`), update, receivedTime)
        return
      case 'acknowledged':
        if (update.subscription) this.feeds.get(subscriptionKey(update.subscription))?.acknowledged()
        return
      case 'refused': {
        const key = update.subscription && subscriptionKey(update.subscription)
        // "Already subscribed" is an answer too.
        if (key !== undefined && key !== connection.probe) this.feeds.get(key)?.refused(update.reason)
        return
      }
      case 'interrupted':
        this.#interrupted(connection, this.feeds.get(subscriptionKey(update.subscription)), update.reason)
        return
      case 'heartbeat':
        if (update.symbol !== undefined && update.lastTradeId !== undefined)
          this.feeds.get(`trades|${update.symbol}`)?.lastTrade(update.lastTradeId, receivedTime)
        return
      case 'shutdown':
        if (connection === this.#current) this.replace(update.reason)
        return
      case 'malformed':
        this.#malformed(connection, update, receivedTime, frame)
    }
  }

  #received(
    connection: Connection,
    feed: Feed | undefined,
    update: Extract<Decoded, { kind: 'event' | 'book' }>,
    receivedTime: Micros,
  ): void {
    this.#liveness.delivered(connection)
    // Nothing was asked, or no longer: frames that were on their way when it was given up.
    if (!feed) return
    if (!feed.received(update, receivedTime, this.#role(connection, feed))) return
    // What the connection in charge says may prove that the next one says the same.
    const { link } = (connection === this.#current ? this.#next : undefined) ?? connection
    feed.link = link
    for (const other of this.feeds.values()) if (other.link !== link && !other.isRefused) return
    this.#promote()
  }

  #role(connection: Connection, feed: Feed): Role {
    if (feed.link === connection.link) return 'current'
    return connection === this.#next ? 'next' : 'old'
  }

  /** Its connection lives and goes on carrying it, from something new. */
  #interrupted(connection: Connection, feed: Feed | undefined, reason: string): void {
    if (!feed || feed.isRefused || feed.link !== connection.link) return
    feed.interrupted(reason)
    feed.ask(connection.link)
  }

  #malformed(
    connection: Connection,
    update: Extract<Decoded, { kind: 'malformed' }>,
    receivedTime: Micros,
    frame: string | undefined,
  ): void {
    const { channel, symbol, reason } = update
    const ofTopic = (feed: Feed) => feed.topic.channel === channel && feed.subscription.symbol === symbol
    const named = channel !== undefined && symbol !== undefined
    const concerned = [...this.feeds.values()].filter((feed) => !named || ofTopic(feed))
    this.#host.deadLetter(reason, receivedTime, frame, named ? concerned[0] : undefined)
    for (const feed of concerned)
      if (!feed.isRefused) feed.malformed(receivedTime, named, this.#role(connection, feed))
  }

  #ended(connection: Connection, end: LinkEnd): void {
    if (this.#closed || this.#released) return
    const { connector, options, limits } = this.#host
    if (end.retryAfterMs !== undefined) limits.silence(connector, options, end.retryAfterMs)
    if (connection === this.#next) this.#nextEnded(connection, end)
    else if (connection === this.#current) this.#currentEnded(connection, end)
  }

  #nextEnded(connection: Connection, end: LinkEnd): void {
    clearTimeout(this.#replacing)
    this.#replacing = undefined
    this.#next = undefined
    // Topics that had moved already move back: what the old connection delivered meanwhile was not taken.
    for (const feed of this.feeds.values()) {
      if (feed.link !== connection.link) feed.abandoned()
      if (!this.#current || feed.link !== connection.link || feed.isRefused) continue
      feed.interrupted(end.reason)
      feed.link = this.#current.link
      feed.resubscribe()
    }
    const delay = Math.max(
      end.retryAfterMs ?? 0,
      backoffMs(++this.#replaceAttempt, this.#host.settings.backoff),
    )
    this.#replaceIn(delay, end.reason)
  }

  #currentEnded(connection: Connection, end: LinkEnd): void {
    this.#current = undefined
    if (this.#next?.openedAt) {
      this.#promote(true)
      return
    }
    for (const feed of this.feeds.values()) feed.interrupted(end.reason)
    if (this.#next) {
      // Its replacement is on its way.
      this.#current = this.#next
      this.#next = undefined
      this.#change('reconnecting', end.reason)
      return
    }
    clearTimeout(this.#replacing)
    this.#replacing = undefined
    const lived = connection.openedAt ? performance.now() - connection.openedAt : 0
    if (connection.deliveredAt && lived >= this.#host.patience.healthyMs) this.attempt = 0
    if (this.#retired) return
    if (connection.openedAt && this.feeds.size === 0) {
      // Some venues close what subscribes to nothing: no failure, and no reason to come back before there is one.
      this.#change('connecting', 'waits for a subscription')
      return
    }
    this.#retryAfter(end)
  }

  #retryAfter(end: LinkEnd): void {
    const { settings } = this.#host
    if (end.silent && this.state === 'connected') this.#change('stale', end.reason)
    this.attempt++
    const exhausted = this.attempt > settings.maxRetries
    if (exhausted && this.state !== 'down') this.#host.exhausted(end.reason)
    this.#change(exhausted ? 'down' : 'reconnecting', end.reason)
    if (exhausted && settings.giveUp) return
    const { capMs } = settings.backoff
    const backoff = exhausted ? { baseMs: capMs, capMs } : settings.backoff
    this.#reconnectIn(Math.max(end.retryAfterMs ?? 0, backoffMs(this.attempt, backoff)))
  }

  #change(state: SourceState, reason: string): void {
    this.state = state
    this.reason = reason
    this.#host.changed(this)
  }
}

/** Stands for a connection until it is there. */
const NO_LINK: Link = {
  subscribe: () => {},
  unsubscribe: () => {},
  pause: () => {},
  resume: () => {},
  close: () => {},
}
