import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Micros } from '../market/event.ts'

/** Input that could not become an event: its bytes and why, kept for people to look at. */
export interface DeadLetter {
  readonly source: string
  readonly channel?: string
  readonly subject?: string
  readonly receivedTime: Micros
  readonly reason: string
  readonly bytes: Buffer
}

/**
 * A stretch of one partition: `from` is where the group had stored that it stands (`0` where it had not), `to` where the
 * batch ends.
 */
export interface OffsetRange {
  readonly from: string
  readonly to: string
}

export interface BusBatch {
  readonly events: readonly EncodedEvent[]
  readonly deadLetters: readonly DeadLetter[]
  /**
   * By partition (`md.trade/0`), to be stored with the rows of the batch. Whoever stores them refuses a `from` that is not
   * what is stored: then the partition has another owner. Absent where the bus keeps nothing (embedded).
   */
  readonly offsets?: ReadonlyMap<string, OffsetRange>
  /**
   * For a batch that was refused as fenced: its partitions, as far as they are still this reader's, are read again from
   * where they are stored. There where `offsets` are; called before the next batch is asked for.
   */
  reload?(): void
}

/** The group that stores what it takes; on a bus that keeps dead letters it is the only one that gets them. */
export const RECORDER = 'recorder'

/** Where a group that keeps its offsets beside its rows goes on; partitions that are not known begin at the oldest. */
export interface StoredOffsets {
  offsets(group: string, partitions: readonly string[]): Promise<ReadonlyMap<string, string>>
}

/**
 * Order holds within one topic; delivery to each group is at least once; a group sees what was published after it
 * subscribed (embedded) or after the offset that it stored (Kafka). A batch counts as taken when the next one is asked
 * for. With several readers of one group (Kafka) each partition has one of them at a time.
 */
export interface Bus {
  /**
   * Resolves when the bus has taken the events: memory, disk or broker, so that they outlive the bus being away. Waits
   * while it is full, so that the caller slows its sources down.
   */
  publish(events: readonly EncodedEvent[]): Promise<void>
  reject(letters: readonly DeadLetter[]): Promise<void>
  /** With `stored` the group's place is there and nowhere else. */
  subscribe(group: string, signal: AbortSignal, stored?: StoredOffsets): AsyncIterable<BusBatch>
  /** Where each partition ends now: what is before it has been published. Empty where the bus keeps nothing. */
  ends(): Promise<ReadonlyMap<string, string>>
  /** What was published from these offsets up to now, in the order of its topics. Rejects while that cannot be known. */
  tail(from: ReadonlyMap<string, string>): AsyncIterable<readonly EncodedEvent[]>
  /** One phrase for `/readyz`: what stops the bus from carrying, or undefined. */
  fault(): string | undefined
  close(): Promise<void>
}
