import type {
  Connector,
  Credentials,
  Instrument,
  LinkOptions,
  Subscription,
} from '../connectors/connector.ts'
import { subscriptionKey } from '../connectors/connector.ts'
import type { Log } from '../gateway/gateway.ts'
import type { Micros, SourceState } from '../market/event.ts'
import { type Topic, topicOf } from '../market/topic.ts'
import { signals } from '../signals.ts'
import type { ConnectLimits } from './connect-limits.ts'
import { Feed } from './feed.ts'
import { Lane, type LaneHost } from './lane.ts'
import type { Notification, ReconnectSpec, SourceSpec, SourceStatus } from './manager.ts'
import type { Patience } from './patience.ts'
import type { Positions } from './positions.ts'
import type { Publisher } from './publisher.ts'
import type { TopicWriter, Writers } from './topic-writer.ts'

/** Of a frame that could not be read, so much is kept. */
const MAX_LETTER_BYTES = 64 * 1024
const INSTRUMENTS_RETRY_MS = 300_000
const INSTRUMENTS_REFRESH_MS = 3_600_000

const RECONNECT: Required<ReconnectSpec> = {
  baseMs: 500,
  capMs: 30_000,
  maxRetries: 10,
  giveUp: false,
  maxAgeMs: 23 * 3_600_000,
}

/** The worst state of a source's connections is its state, but it is down only when all are. */
const SEVERITY: readonly SourceState[] = ['connected', 'connecting', 'stale', 'reconnecting', 'down']

export interface SourceContext {
  readonly publisher: Publisher
  readonly writers: Writers
  readonly positions: Positions
  readonly limits: ConnectLimits
  readonly patience: Patience
  readonly log: Log
  /** Opened. */
  readonly credentials?: Credentials
  now(): Micros
  notify(notification: Notification): void
}

/** One source: what is wanted of it, over as many connections as its routes and the venue's limits need. */
export class Source {
  readonly spec: SourceSpec
  readonly connector: Connector
  readonly topic: Topic
  readonly #context: SourceContext
  readonly #options: LinkOptions
  readonly #writer: TopicWriter
  readonly #laneHost: LaneHost
  readonly #feeds = new Map<string, Feed>()
  readonly #lanes: Lane[] = []
  readonly #ended = new AbortController()
  /** As the venue lists them; undefined while no list is known. */
  instruments: readonly Instrument[] | undefined
  #symbols: ReadonlySet<string> | undefined
  #instrumentsTimer: NodeJS.Timeout | undefined
  #state: SourceState = 'connecting'
  #reason = 'starting'
  #attempt = 0
  #since: Micros
  #paused = false
  /** Monotonic ms. */
  #mergedAt = performance.now()

  constructor(spec: SourceSpec, connector: Connector, context: SourceContext) {
    this.spec = spec
    this.connector = connector
    this.#context = context
    this.topic = topicOf(spec.id, 'source', spec.id)
    this.#writer = context.writers.of(this.topic)
    this.#options = {
      source: spec.id,
      ...(spec.url !== undefined && { url: spec.url }),
      ...(spec.restUrl !== undefined && { restUrl: spec.restUrl }),
      ...(context.credentials && { credentials: context.credentials }),
    }
    this.#since = context.now()
    const { baseMs, capMs, ...settings } = { ...RECONNECT, ...spec.reconnect }
    this.#laneHost = {
      connector,
      options: this.#options,
      limits: context.limits,
      patience: context.patience,
      settings: { backoff: { baseMs, capMs }, ...settings },
      changed: () => this.#update(),
      emptied: (lane) => this.#drop(lane, 'another connection carries what this one did'),
      exhausted: (reason) => this.#exhausted(reason),
      deadLetter: (reason, receivedTime, frame, feed) =>
        context.publisher.reject({
          source: spec.id,
          ...(feed && { channel: feed.topic.channel, subject: feed.topic.subject }),
          receivedTime,
          reason,
          bytes: Buffer.from(frame ?? '').subarray(0, MAX_LETTER_BYTES),
        }),
    }
  }

  get state(): SourceState {
    return this.#state
  }

  get licence(): 'open' | 'restricted' {
    return this.spec.licence ?? 'open'
  }

  /** Connects. What is subscribed before goes out with the first connection. */
  start(): void {
    if (this.#lanes.length === 0) this.#addLane('')
    this.#publishState()
    for (const lane of this.#lanes) lane.start()
    void this.#learnInstruments()
  }

  /** True: it is new. A deeper book than was asked so far is asked of the venue. */
  subscribe(wanted: Subscription): boolean {
    const subscription = this.#normal(wanted)
    const existing = this.#feeds.get(subscriptionKey(subscription))
    if (existing) {
      if (existing.isRefused) existing.resubscribe()
      this.#deepen(existing, subscription)
      return false
    }
    const feed = new Feed(subscription, {
      ...this.#context,
      source: this.spec.id,
      connector: this.connector,
      options: this.#options,
      unknownSymbol: (symbol, reason) => this.#refuseSilent(reason, (one) => one === symbol),
    })
    this.#feeds.set(feed.key, feed)
    this.#laneFor(feed).add(feed)
    return true
  }

  /** False: there is no such subscription. */
  unsubscribe(wanted: Subscription): boolean {
    const feed = this.#feeds.get(subscriptionKey(wanted))
    if (!feed) return false
    this.#feeds.delete(feed.key)
    // While one connection takes what another carried, both know it.
    for (const lane of this.#lanes.filter((one) => one.feeds.has(feed.key))) {
      lane.remove(feed)
      if (lane.feeds.size === 0 && this.#lanes.length > 1) this.#drop(lane, 'nothing is subscribed')
    }
    return true
  }

  has(wanted: Subscription): boolean {
    return this.#feeds.has(subscriptionKey(wanted))
  }

  /** Does the venue's list of instruments, where one is known, lack the symbol? */
  lacks(symbol: string): boolean {
    return this.#symbols !== undefined && !this.#symbols.has(symbol)
  }

  rotate(): void {
    for (const lane of this.#lanes) lane.replace('rotated by an admin')
  }

  pause(): void {
    this.#paused = true
    for (const lane of this.#lanes) lane.pause()
  }

  resume(): void {
    this.#paused = false
    for (const lane of this.#lanes) lane.resume()
  }

  sweep(time: number): void {
    for (const lane of this.#lanes) lane.sweep(time)
    if (time - this.#mergedAt >= this.#context.patience.mergeMs) this.#merge(time)
  }

  /** Of connections that became nearly empty one gives what it carries to another of its route. */
  #merge(time: number): void {
    this.#mergedAt = time
    for (const lane of this.#lanes) {
      const other = this.#lanes.find((one) => one !== lane && one.route === lane.route && one.canTake(lane))
      if (!other) continue
      other.take(lane)
      return
    }
  }

  #drop(lane: Lane, reason: string): void {
    const at = this.#lanes.indexOf(lane)
    if (at < 0) return
    this.#lanes.splice(at, 1)
    lane.close(reason)
    this.#update()
  }

  /** `tell`: as an event; not when the whole program ends. */
  close(reason: string, tell: boolean): void {
    this.#ended.abort()
    clearTimeout(this.#instrumentsTimer)
    for (const lane of this.#lanes) lane.close(reason)
    this.#state = 'down'
    this.#reason = reason
    this.#since = this.#context.now()
    if (tell) this.#publishState()
  }

  status(): SourceStatus {
    return {
      id: this.spec.id,
      kind: this.spec.kind,
      licence: this.licence,
      state: this.#state,
      reason: this.#reason,
      since: this.#since,
      attempt: this.#attempt,
      topics: [...this.#feeds.values()].map((feed) => feed.status()),
    }
  }

  *topics(): Generator<Topic> {
    for (const feed of this.#feeds.values()) yield feed.topic
    yield this.topic
  }

  /** A book's limit as the depth that will be asked of the venue, so that equal depths compare equal. */
  #normal({ limit, ...subscription }: Subscription): Subscription {
    if (subscription.channel !== 'orderbook') return subscription
    const depth = this.connector.bookDepth(limit)
    return depth === 0 ? subscription : { ...subscription, limit: depth }
  }

  #deepen(feed: Feed, { limit }: Subscription): void {
    const current = feed.subscription.limit
    if (limit !== undefined && current !== undefined && limit > current) feed.deepen(limit)
  }

  #laneFor(feed: Feed): Lane {
    const route = this.connector.route(feed.subscription)
    const lane = this.#lanes.find((one) => one.route === route && one.hasRoomFor(feed))
    if (lane) return lane
    const added = this.#addLane(route)
    // Before `start` nothing connects.
    if (this.#writer.epoch !== null) added.start()
    return added
  }

  #addLane(route: string): Lane {
    const lane = new Lane(route, this.#laneHost)
    if (this.#paused) lane.pause()
    this.#lanes.push(lane)
    return lane
  }

  #update(): void {
    let worst: Lane | undefined
    for (const lane of this.#lanes) {
      if (!worst || SEVERITY.indexOf(lane.state) > SEVERITY.indexOf(worst.state)) worst = lane
    }
    if (!worst) return
    const allDown = this.#lanes.every((lane) => lane.state === 'down')
    const state = worst.state === 'down' && !allDown ? 'reconnecting' : worst.state
    const told = state !== this.#state || (state !== 'down' && worst.reason !== this.#reason)
    const tried = state === 'reconnecting' && worst.attempt !== this.#attempt
    if (state !== this.#state) this.#since = this.#context.now()
    this.#state = state
    this.#reason = worst.reason
    this.#attempt = worst.attempt
    if (told || tried) this.#publishState()
  }

  #publishState(): void {
    const fact = { state: this.#state, reason: this.#reason, attempt: this.#attempt }
    signals.sourceState.emit({ source: this.spec.id, ...fact })
    this.#context.log.info({ source: this.spec.id, ...fact }, 'source')
    this.#writer.write({ type: 'source', ...fact }, { receivedTime: this.#context.now() })
  }

  #exhausted(reason: string): void {
    const { maxRetries, giveUp } = this.#laneHost.settings
    const what = `no connection after ${maxRetries} attempts (${reason}); ${giveUp ? 'given up' : 'attempts go on'}`
    this.#context.log.error({ source: this.spec.id, reason }, what)
    this.#context.notify({ time: this.#context.now(), source: this.spec.id, what })
  }

  /** In the background, again and again: the list grows, and everything works without it. */
  async #learnInstruments(): Promise<void> {
    const { connector } = this
    if (!connector.fetchInstruments) return
    let againMs = INSTRUMENTS_REFRESH_MS
    try {
      const instruments = await connector.fetchInstruments(this.#options, this.#ended.signal)
      this.instruments = instruments
      this.#symbols = new Set(instruments.map((instrument) => instrument.symbol))
      this.#refuseSilent(`not among the instruments of ${connector.kind}`, (symbol) => this.lacks(symbol))
    } catch (error) {
      againMs = INSTRUMENTS_RETRY_MS
      this.#context.log.debug(
        { source: this.spec.id, error: (error as Error).message },
        'no list of instruments',
      )
    }
    if (this.#ended.signal.aborted) return
    this.#instrumentsTimer = setTimeout(() => void this.#learnInstruments(), againMs)
  }

  /** Some venues acknowledge whatever is asked: then their list, or their REST answer, is the refusal. */
  #refuseSilent(reason: string, isUnknown: (symbol: string) => boolean): void {
    for (const feed of this.#feeds.values()) {
      if (!feed.isDelivered && !feed.isRefused && isUnknown(feed.subscription.symbol)) feed.refused(reason)
    }
  }
}
