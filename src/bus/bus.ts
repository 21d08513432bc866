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

export interface BusBatch {
  readonly events: readonly EncodedEvent[]
  readonly deadLetters: readonly DeadLetter[]
  /** Where the batch ends in the bus, to be stored with its rows; absent where the bus keeps nothing (embedded). */
  readonly offsets?: ReadonlyMap<string, string>
}

/**
 * Order holds within one topic; delivery to each group is at least once; a group sees what was published after it
 * subscribed (embedded) or after the offset it stored (Kafka). A batch counts as taken when the next one is asked for.
 */
export interface Bus {
  /** Resolves when the bus has taken the events; waits while it is full, so that the caller slows its sources down. */
  publish(events: readonly EncodedEvent[]): Promise<void>
  reject(letters: readonly DeadLetter[]): Promise<void>
  subscribe(group: string, signal: AbortSignal): AsyncIterable<BusBatch>
  close(): Promise<void>
}
