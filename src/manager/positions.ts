import type { EncodedEvent } from '../market/encoded-event.ts'
import type { StoredPosition } from '../store/store.ts'

/** Where a topic ends in the store. */
export type Position = StoredPosition

/**
 * The last position of each topic that is known to be stored. It outlives the process, so that a new epoch can say what
 * it follows, `receivedTime` keeps growing, and a trade sent again after a restart is known to be a double.
 * It may be behind the store (a kill between commit and note), never ahead of it.
 */
export interface Positions {
  /** Learns the positions of a source that this node has just come to own, as far as they are not at hand. */
  load(source: string): Promise<void>
  last(topicId: string): Position | undefined
  /** Called by the recorder after each commit. */
  stored(events: readonly EncodedEvent[]): void
  close(): void
}
