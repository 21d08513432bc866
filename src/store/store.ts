import type { BusBatch } from '../bus/bus.ts'
import type { Channel, Decimal, Level, Micros } from '../market/event.ts'
import type { Topic } from '../market/topic.ts'

/** Where a topic ends in the store. */
export interface StoredPosition {
  readonly epoch: number
  readonly seq: number
  readonly receivedTime: Micros
  /** Of trades: the newest ids, oldest first; at most 256. */
  readonly tradeIds?: readonly string[]
}

/** What `latest` is asked for; what is absent is not restricted. */
export interface LatestQuery {
  readonly channel?: Channel
  readonly source?: string
  /** Exact; see `Topic.subject`. */
  readonly subject?: string
  readonly timeframe?: string
  /** As it was then: of what was received before, µs. */
  readonly before?: Micros
}

/** The part of a database that other folders use: parameterised SQL, PostgreSQL's dialect on every engine. */
export interface Sql {
  query<Row>(text: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly Row[] }>
  /** Statements of `work` commit together or not at all. */
  transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T>
}

/** An event as stored; `body` is byte for byte what was made at ingest. */
export interface StoredEvent {
  readonly topic: Topic
  readonly epoch: number
  readonly seq: number
  readonly receivedTime: Micros
  readonly body: string
}

export interface HistoryQuery {
  readonly channel: Channel
  readonly source?: string
  readonly subject?: string
  readonly timeframe?: string
  /** Of `status`: whose conversations; without it every tenant's. */
  readonly tenant?: string
  /** Sources the caller may see; absent: all. */
  readonly sources?: readonly string[]
  /** Inclusive. */
  readonly from?: Micros
  /** Exclusive. */
  readonly to?: Micros
  /** 1 to 10,000. */
  readonly limit: number
  /** As a page's `next` gave it; one that is none is refused 400. */
  readonly cursor?: string
}

export interface Page<T> {
  readonly items: readonly T[]
  readonly next: string | null
}

export interface CandleQuery {
  readonly source: string
  readonly subject: string
  /** `1s`, `1m`, `5m`, `1h`, `1d`, `1w`, … any whole number of s, m, h, d or w. */
  readonly timeframe: string
  readonly from?: Micros
  readonly to?: Micros
  readonly limit: number
  readonly cursor?: string
}

/** A candle computed from stored trades (each trade id once), or the venue's own where it is stored. */
export interface StoredCandle {
  readonly source: string
  readonly symbol: string
  readonly timeframe: string
  readonly openTime: Micros
  readonly open: Decimal
  readonly high: Decimal
  readonly low: Decimal
  readonly close: Decimal
  readonly volume: Decimal
  readonly trades?: number
  readonly closed: boolean
  readonly origin: 'venue' | 'computed'
}

export interface StoredBook {
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
  readonly epoch: number
  readonly seq: number
  readonly receivedTime: Micros
  readonly depth: number
}

export interface GapQuery {
  readonly source?: string
  readonly sources?: readonly string[]
  readonly channel?: Channel
  readonly subject?: string
  readonly tenant?: string
  readonly from?: Micros
  readonly to?: Micros
  readonly limit: number
  readonly cursor?: string
}

/**
 * History. `record` is exactly once: an event already stored (same topic, epoch, seq) is skipped, one of an epoch below
 * the topic's newest stored one is refused (its owner was replaced), and rows, positions and bus offsets commit together.
 * `record` rejects with FeedgateError('fenced'), and stores nothing, when the stored offset of a partition is not the
 * batch's `from`: another recorder has the partition now. Every read waits up to 30 s for the store to be open and migrated, then fails with
 * `store-unavailable` (503). What is read is what was recorded, byte for byte.
 */
export interface Store {
  /** Opens and migrates; safe to await from many places. Rejects only when the store can never be opened. */
  ready(): Promise<void>
  record(batch: BusBatch): Promise<void>
  history(query: HistoryQuery): Promise<Page<StoredEvent>>
  candles(query: CandleQuery): Promise<Page<StoredCandle>>
  /** The book as it stood after the last event with `receivedTime` at or before `at`; undefined if unknown then. */
  bookAt(topic: Topic, at: Micros): Promise<StoredBook | undefined>
  gaps(query: GapQuery): Promise<Page<StoredEvent>>
  /** The newest event of each key of an odds event, over all sources that may be seen. */
  oddsCurrent(eventId: string, sources?: readonly string[]): Promise<readonly StoredEvent[]>
  /** Where a group stands in the bus, by partition, as stored with its rows. */
  offsets(group: string, partitions: readonly string[]): Promise<ReadonlyMap<string, string>>
  /** Where each topic of a source ends. */
  positions(source: string): Promise<ReadonlyMap<string, StoredPosition>>
  /** The newest event of each topic and key that matches (of candles the two newest), books not among them: `bookAt`. */
  latest(query: LatestQuery): Promise<readonly StoredEvent[]>
  /** For what is not market history: keys, tenants, audit. */
  readonly sql: Sql
  /** One word for `/readyz`: what stops the store from answering, or undefined when it answers. */
  fault(): string | undefined
  /** What works badly while the store answers, a phrase each: jobs of the database that fail. */
  warnings(): readonly string[]
  close(): Promise<void>
}
