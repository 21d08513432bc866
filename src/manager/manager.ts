import type { Instrument } from '../connectors/connector.ts'
import type { Channel, Micros, SourceState } from '../market/event.ts'
import type { Topic } from '../market/topic.ts'

/** What a source is to be: from the settings file, or from an admin. */
export interface SourceSpec {
  readonly id: string
  readonly kind: string
  readonly url?: string
  readonly restUrl?: string
  /** Instead of `url` and `restUrl` exactly two: hosts that say the same, or nodes to reach one from; see `sides.ts`. */
  readonly sides?: readonly SideSpec[]
  /** Of ccxt: its id of the exchange; default the source's id. */
  readonly exchange?: string
  /** Sealed by the vault; opened only where a connection is made. */
  readonly credentials?: string
  readonly licence?: 'open' | 'restricted'
  readonly onDemand?: boolean
  readonly subscriptions?: readonly SubscriptionSpec[]
  readonly reconnect?: ReconnectSpec
  /** Of simulators: the same seed gives the same run. */
  readonly seed?: number
  /** Of simulators: events a second of each topic. */
  readonly rate?: number
}

export interface SideSpec {
  readonly url?: string
  readonly restUrl?: string
  /** The node from which its connections are opened, `http://host:port`; see `tunnel.ts`. */
  readonly via?: string
}

export interface SubscriptionSpec {
  readonly channel: Channel
  readonly symbols: readonly string[]
  readonly timeframe?: string
  readonly limit?: number
}

export interface ReconnectSpec {
  /** First delay; doubles up to `capMs`, with full jitter. */
  readonly baseMs?: number
  readonly capMs?: number
  /** Attempts in a row after which the source is `down`; attempts go on at the cap unless `giveUp`. */
  readonly maxRetries?: number
  readonly giveUp?: boolean
  /** A connection is replaced, without a break, before it is so old: venues cut them at 24 h. */
  readonly maxAgeMs?: number
}

export type TopicState = 'pending' | 'syncing' | 'live' | 'stale' | 'refused'

export interface TopicStatus {
  readonly channel: Channel
  /** As clients name it. */
  readonly symbol: string
  readonly timeframe?: string
  readonly state: TopicState
  /** Why it is `refused` or `stale`. */
  readonly reason?: string
  readonly epoch: number | null
  readonly seq: number | null
  readonly lastReceivedTime: Micros | null
}

/** The entry of a source in every answer about it. */
export interface SourceStatus {
  readonly id: string
  readonly kind: string
  readonly licence: 'open' | 'restricted'
  readonly state: SourceState
  readonly reason: string
  readonly since: Micros
  readonly attempt: number
  /** Of a source with two sides; it is as well as the better one. */
  readonly sides?: readonly SideStatus[]
  readonly topics: readonly TopicStatus[]
}

export type SideName = 'A' | 'B'

/** One of the two sides of a source, without its addresses. */
export interface SideStatus {
  readonly side: SideName
  readonly state: SourceState
  readonly reason: string
  readonly since: Micros
  readonly attempt: number
  /** Events that it delivered first, or alone, since the program started. */
  readonly first: number
  /** Holes and failures of the other side that it made good. */
  readonly filled: number
}

/** Body of the admin's connect, subscribe, … after the edge has checked its shape. */
export interface SourceRequest {
  readonly exchangeId: string
  readonly kind?: string
  readonly url?: string
  readonly restUrl?: string
  readonly channel?: Channel
  readonly symbol?: string
  readonly timeframe?: string
  readonly limit?: number
  /** Sealed by the vault. */
  readonly credentials?: string
}

export interface Answer {
  /** true: 201, false: it was so already, 200. */
  readonly created: boolean
  readonly status: SourceStatus
}

/** Somebody in charge should know: retries exhausted, credentials refused. */
export interface Notification {
  readonly time: Micros
  readonly source: string
  readonly what: string
}

/**
 * One supervised session for each source and route. Answers at once; what happens later is in `status` and in `source`
 * events; only credentials are first judged by the venue, for 10 s at most. Rejects with FeedgateErrors:
 * unknown-exchange, unknown-channel, unknown-symbol, unknown-timeframe (422), unknown-source (404), source-down (503),
 * venue-credentials-refused (401).
 * What an admin asked for survives a restart.
 */
export interface Manager {
  connect(request: SourceRequest): Promise<Answer>
  disconnect(request: SourceRequest): Promise<Answer>
  subscribe(request: SourceRequest): Promise<Answer>
  unsubscribe(request: SourceRequest): Promise<Answer>
  /** Replaces the source's connections by new ones. */
  rotate(request: SourceRequest): Promise<Answer>
  status(): readonly SourceStatus[]
  /** Undefined: no such source. */
  status(id: string): SourceStatus | undefined
  /** Every topic that sources are subscribed to, whether or not it had an event yet; and each source's own topic. */
  topics(): Iterable<Topic>
  /** Is the source there, and may only tenants with a grant see it? */
  licence(source: string): 'open' | 'restricted' | undefined
  /** As the venue listed them within the last hour or so; undefined while no list is known. */
  instruments(source: string): Promise<readonly Instrument[] | undefined>
  notifications(): readonly Notification[]
  /** Connects what the settings and earlier admins asked for. */
  start(): Promise<void>
  close(): Promise<void>
}
