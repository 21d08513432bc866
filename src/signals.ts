import type { EncodedEvent } from './market/encoded-event.ts'
import type { Micros } from './market/event.ts'

/** Facts that the program tells about itself. Emitters name no listener; `metrics/` and logs listen. */
export class Signal<T> {
  readonly #listeners = new Set<(fact: T) => void>()

  /** For facts that cost something to gather. */
  get isHeard(): boolean {
    return this.#listeners.size > 0
  }

  emit(fact: T): void {
    for (const listener of this.#listeners) listener(fact)
  }

  /** The answer removes the listener. */
  on(listener: (fact: T) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

/**
 * What happens to a traced event, in this order: `receive` from the socket read until the bus has it, `record` into the
 * store and `relay` into the cache, each by a group that reads the bus, and `deliver` to the sockets of one node's clients.
 */
export type Stage = 'receive' | 'record' | 'relay' | 'deliver'

/** A stage of one traced event is done. */
export interface TracedStage {
  readonly stage: Stage
  readonly event: EncodedEvent
  readonly began: Micros
  readonly ended: Micros
  /** Of `deliver`: clients that were sent the event, or will be when their pace allows. */
  readonly clients?: number
}

export const signals = {
  /** A connection to a venue changed its state. */
  sourceState: new Signal<{ source: string; state: string; reason: string; attempt: number }>(),
  /** Of a source with two sides: the state of one. */
  sideState: new Signal<{ source: string; side: string; state: string }>(),
  /** Events that a side was first to deliver, and holes of the other side that it filled, since it was told last. */
  sideServed: new Signal<{ source: string; side: string; first: number; filled: number }>(),
  /** Connections to venues that this node opened for others and keeps. */
  tunnels: new Signal<{ open: number }>(),
  /** Frames read from a venue. */
  framesReceived: new Signal<{ source: string; count: number }>(),
  /** Frames of a type we do not know. */
  frameIgnored: new Signal<{ source: string; what: string }>(),
  /** Events that go to the bus next: the moment to mark those that are to be traced. */
  publishing: new Signal<readonly EncodedEvent[]>(),
  eventsPublished: new Signal<{ source: string; channel: string; count: number }>(),
  deadLetter: new Signal<{ source: string; reason: string }>(),
  /** A book failed its proof (`reason`: checksum, sequence, …) and is being rebuilt. */
  bookGap: new Signal<{ source: string; symbol: string; reason: string }>(),
  /** A hole was declared in a topic. */
  gap: new Signal<{ source: string; channel: string; reason: string }>(),
  /** Trades of a hole that the venue gave again. */
  backfilled: new Signal<{ source: string; channel: string; count: number }>(),
  /** Events and odds prices the recorder took from the bus. */
  recorderConsumed: new Signal<{ events: number; odds: number }>(),
  recorderWrote: new Signal<{ rows: number; ms: number }>(),
  recorderError: new Signal<{ reason: string }>(),
  /** An event came from an owner of its topic that was replaced before: it is not stored. */
  eventFenced: new Signal<{ source: string; channel: string }>(),
  /** Background jobs of the database that fail or do not run. */
  storeJobsFailing: new Signal<{ count: number }>(),
  cacheSet: new Signal<{ count: number }>(),
  /** A batch was not taken, and is tried again. */
  cacheError: new Signal<object>(),
  /** A gateway missed events of a topic; `by`: what filled the hole, `image` where nothing did. */
  topicRepaired: new Signal<{ by: 'cache' | 'store' | 'image'; events: number }>(),
  clientConnected: new Signal<{ endpoint: string; tier: string }>(),
  clientDisconnected: new Signal<{ endpoint: string; tier: string; code: number }>(),
  /** `encoding`: what the clients negotiated, such as `msgpack+deflate`. */
  framesSent: new Signal<{ encoding: string; count: number; bytes: number }>(),
  /** One frame was compressed, for all clients that are sent it: bytes before and after. */
  frameDeflated: new Signal<{ plain: number; deflated: number }>(),
  clientError: new Signal<{ code: string }>(),
  /** From receivedTime to sentTime, µs. */
  latency: new Signal<{ micros: number }>(),
  /** Emitted through `traceStage`. */
  traced: new Signal<TracedStage>(),
} as const
