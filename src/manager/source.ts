import type { Connector, Credentials, Instrument, Subscription, Via } from '../connectors/connector.ts'
import { subscriptionKey } from '../connectors/connector.ts'
import type { Log } from '../gateway/gateway.ts'
import type { Micros, SourceState } from '../market/event.ts'
import { type Topic, topicOf } from '../market/topic.ts'
import { signals } from '../signals.ts'
import type { ConnectLimits } from './connect-limits.ts'
import { Connections, severityOf } from './connections.ts'
import { Feed, type FeedContext } from './feed.ts'
import { InstrumentList } from './instrument-list.ts'
import type {
  Notification,
  ReconnectSpec,
  SideName,
  SideSpec,
  SideStatus,
  SourceSpec,
  SourceStatus,
  TopicState,
  TopicStatus,
} from './manager.ts'
import { mergeFeeds } from './merge.ts'
import type { Patience } from './patience.ts'
import type { Positions } from './positions.ts'
import type { Publisher } from './publisher.ts'
import { SIDE_NAMES, type Tally } from './sides.ts'
import type { TopicWriter, Writers } from './topic-writer.ts'

/** Of a frame that could not be read, so much is kept. */
const MAX_LETTER_BYTES = 64 * 1024

const RECONNECT: Required<ReconnectSpec> = {
  baseMs: 500,
  capMs: 30_000,
  maxRetries: 10,
  giveUp: false,
  maxAgeMs: 23 * 3_600_000,
}

/** Of a topic that two sides carry, the best is told. */
const TOPIC_STATES: readonly TopicState[] = ['live', 'syncing', 'stale', 'pending', 'refused']

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
  via(node: string): Via
  notify(notification: Notification): void
}

/** One host or set of hosts of a source, or one way there; of two, each has a name. */
interface SourceSide {
  readonly name: SideName | undefined
  readonly connections: Connections
  readonly tally: Tally
  /** Of the tally, what was told to `signals`. */
  told: Tally
}

/** A wanted subscription, with a feed for each side. */
interface Wanted {
  readonly feeds: readonly Feed[]
  readonly merge?: { sweep(): void; close(): void }
}

/** One source: what is wanted of it, over the connections of its host, or of two sides that say the same. */
export class Source {
  readonly spec: SourceSpec
  readonly connector: Connector
  readonly topic: Topic
  readonly #context: SourceContext
  readonly #writer: TopicWriter
  readonly #sides: readonly SourceSide[]
  readonly #wanted = new Map<string, Wanted>()
  readonly #instruments: InstrumentList
  #state: SourceState = 'connecting'
  #reason = 'starting'
  #attempt = 0
  #since: Micros

  constructor(spec: SourceSpec, connector: Connector, context: SourceContext) {
    this.spec = spec
    this.connector = connector
    this.#context = context
    this.topic = topicOf(spec.id, 'source', spec.id)
    this.#writer = context.writers.of(this.topic)
    this.#since = context.now()
    this.#instruments = new InstrumentList(
      (signal) => this.#fetchInstruments(signal),
      (error) => this.#learned(error),
    )
    this.#sides = spec.sides
      ? spec.sides.map((hosts, side) => this.#createSide(hosts, SIDE_NAMES[side]))
      : [this.#createSide(spec, undefined)]
  }

  #createSide({ url, restUrl, via }: SideSpec, name: SideName | undefined): SourceSide {
    const { spec, connector } = this
    const { limits, patience, publisher, credentials, now } = this.#context
    const { baseMs, capMs, ...settings } = { ...RECONNECT, ...spec.reconnect }
    const connections = new Connections({
      connector,
      options: {
        source: spec.id,
        ...(url !== undefined && { url }),
        ...(restUrl !== undefined && { restUrl }),
        ...(via !== undefined && { via: this.#context.via(via) }),
        ...(credentials && { credentials }),
      },
      limits,
      patience,
      settings: { backoff: { baseMs, capMs }, ...settings },
      now,
      changed: () => this.#update(),
      exhausted: (reason) => this.#exhausted(reason, name),
      deadLetter: (reason, receivedTime, frame, feed) =>
        publisher.reject({
          source: spec.id,
          ...(feed && { channel: feed.topic.channel, subject: feed.topic.subject }),
          receivedTime,
          reason,
          bytes: Buffer.from(frame ?? '').subarray(0, MAX_LETTER_BYTES),
        }),
    })
    return { name, connections, tally: { first: 0, filled: 0 }, told: { first: 0, filled: 0 } }
  }

  get state(): SourceState {
    return this.#state
  }

  /** As the venue lists them; undefined while no list is known. */
  get instruments(): readonly Instrument[] | undefined {
    return this.#instruments.items
  }

  get licence(): 'open' | 'restricted' {
    return this.spec.licence ?? 'open'
  }

  /** Connects. What is subscribed before goes out with the first connection. */
  start(): void {
    this.#publishState()
    for (const { connections } of this.#sides) connections.start()
    if (this.connector.fetchInstruments) this.#instruments.start()
  }

  /** True: it is new. A deeper book than was asked so far is asked of the venue. */
  subscribe(asked: Subscription): boolean {
    const subscription = this.#normal(asked)
    const key = subscriptionKey(subscription)
    const existing = this.#wanted.get(key)
    for (const feed of existing?.feeds ?? []) {
      if (feed.isRefused) feed.resubscribe()
      this.#deepen(feed, subscription)
    }
    if (existing) return false
    const wanted = this.#createFeeds(subscription)
    this.#wanted.set(key, wanted)
    for (const [side, feed] of wanted.feeds.entries()) this.#sides[side]!.connections.add(feed)
    return true
  }

  #createFeeds(subscription: Subscription): Wanted {
    const contextOf = ({ connections }: SourceSide): FeedContext => ({
      ...this.#context,
      source: this.spec.id,
      connector: this.connector,
      options: connections.options,
      unknownSymbol: (symbol, reason) => this.#refuseSilent(reason, (one) => one === symbol),
    })
    const [a, b] = this.#sides as [SourceSide, SourceSide?]
    if (!b) return { feeds: [new Feed(subscription, contextOf(a))] }
    const { feeds, ...merge } = mergeFeeds(subscription, [contextOf(a), contextOf(b)], [a.tally, b.tally])
    return { feeds, merge }
  }

  /** False: there is no such subscription. */
  unsubscribe(asked: Subscription): boolean {
    const key = subscriptionKey(asked)
    const wanted = this.#wanted.get(key)
    if (!wanted) return false
    this.#wanted.delete(key)
    for (const [side, feed] of wanted.feeds.entries()) this.#sides[side]!.connections.remove(feed)
    wanted.merge?.close()
    return true
  }

  has(asked: Subscription): boolean {
    return this.#wanted.has(subscriptionKey(asked))
  }

  /** Does the venue's list of instruments, where one is known, lack the symbol? */
  lacks(symbol: string): boolean {
    return this.#instruments.lacks(symbol)
  }

  rotate(): void {
    for (const { connections } of this.#sides) connections.rotate()
  }

  pause(): void {
    for (const { connections } of this.#sides) connections.pause()
  }

  resume(): void {
    for (const { connections } of this.#sides) connections.resume()
  }

  sweep(time: number): void {
    for (const side of this.#sides) {
      side.connections.sweep(time)
      if (side.name) this.#tell(side, side.name)
    }
    for (const { merge } of this.#wanted.values()) merge?.sweep()
  }

  /** What a side has done since it was told last. */
  #tell(side: SourceSide, name: SideName): void {
    const first = side.tally.first - side.told.first
    const filled = side.tally.filled - side.told.filled
    if (first > 0 || filled > 0) signals.sideServed.emit({ source: this.spec.id, side: name, first, filled })
    side.told = { ...side.tally }
  }

  /** `tell`: as an event; not when the whole program ends. */
  close(reason: string, tell: boolean): void {
    this.#instruments.close()
    for (const { connections } of this.#sides) connections.close(reason)
    for (const { merge } of this.#wanted.values()) merge?.close()
    this.#tellSides()
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
      ...(this.spec.sides && { sides: this.#sides.map(statusOfSide) }),
      topics: [...this.#wanted.values()].map(({ feeds }) => bestOf(feeds.map((feed) => feed.status()))),
    }
  }

  *topics(): Generator<Topic> {
    for (const { feeds } of this.#wanted.values()) yield feeds[0]!.topic
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

  /** Two sides are as well as the better one; the other is what there is to say. */
  #update(): void {
    const [best, rest] = this.#sides.toSorted(
      (one, other) => severityOf(one.connections.state) - severityOf(other.connections.state),
    ) as [SourceSide, SourceSide?]
    const { state, attempt } = best.connections
    const ails = rest && rest.connections.state !== state ? rest : undefined
    const reason = ails
      ? `side ${ails.name} ${ails.connections.state}: ${ails.connections.reason}`
      : best.connections.reason
    const told = state !== this.#state || (state !== 'down' && reason !== this.#reason)
    const tried = state === 'reconnecting' && attempt !== this.#attempt
    if (state !== this.#state) this.#since = this.#context.now()
    this.#state = state
    this.#reason = reason
    this.#attempt = attempt
    this.#tellSides()
    if (told || tried) this.#publishState()
  }

  #tellSides(): void {
    for (const { name, connections } of this.#sides) {
      if (name) signals.sideState.emit({ source: this.spec.id, side: name, state: connections.state })
    }
  }

  #publishState(): void {
    const fact = { state: this.#state, reason: this.#reason, attempt: this.#attempt }
    signals.sourceState.emit({ source: this.spec.id, ...fact })
    this.#context.log.info({ source: this.spec.id, ...fact }, 'source')
    this.#writer.write({ type: 'source', ...fact }, { receivedTime: this.#context.now() })
  }

  #exhausted(reason: string, side: SideName | undefined): void {
    const { maxRetries, giveUp } = { ...RECONNECT, ...this.spec.reconnect }
    const who = side ? `side ${side}: ` : ''
    const what = `${who}no connection after ${maxRetries} attempts (${reason}); ${giveUp ? 'given up' : 'attempts go on'}`
    this.#context.log.error({ source: this.spec.id, reason }, what)
    this.#context.notify({ time: this.#context.now(), source: this.spec.id, what })
  }

  #learned(error?: Error): void {
    if (error)
      this.#context.log.debug({ source: this.spec.id, error: error.message }, 'no list of instruments')
    else
      this.#refuseSilent(`not among the instruments of ${this.connector.kind}`, (symbol) =>
        this.lacks(symbol),
      )
  }

  /** Of the first side that answers. */
  #fetchInstruments(signal: AbortSignal): Promise<readonly Instrument[]> {
    const fetchOf = ({ connections }: SourceSide) =>
      this.connector.fetchInstruments!(connections.options, signal)
    const [first, ...rest] = this.#sides as [SourceSide, ...SourceSide[]]
    return rest.reduce((answer, side) => answer.catch(() => fetchOf(side)), fetchOf(first))
  }

  /** Some venues acknowledge whatever is asked: then their list, or their REST answer, is the refusal. */
  #refuseSilent(reason: string, isUnknown: (symbol: string) => boolean): void {
    for (const { feeds } of this.#wanted.values()) {
      if (feeds.some((feed) => feed.isDelivered)) continue
      for (const feed of feeds)
        if (!feed.isRefused && isUnknown(feed.subscription.symbol)) feed.refused(reason)
    }
  }
}

function statusOfSide({ name, connections, tally }: SourceSide): SideStatus {
  const { state, reason, since, attempt } = connections
  return { side: name!, state, reason, since, attempt, ...tally }
}

function bestOf(sides: readonly TopicStatus[]): TopicStatus {
  return sides.reduce((one, other) =>
    TOPIC_STATES.indexOf(other.state) < TOPIC_STATES.indexOf(one.state) ? other : one,
  )
}
