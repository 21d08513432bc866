import type { EventType, Micros, Payload } from './event.ts'
import type { Topic } from './topic.ts'

/**
 * One event with the bytes made at ingest: the same bytes go to the bus, the store, the cache and,
 * with a few fields before the closing brace, to every client.
 */
export class EncodedEvent {
  readonly topic: Topic
  readonly type: EventType
  readonly epoch: number
  readonly seq: number
  readonly receivedTime: Micros
  /** `sourceTime`, else `receivedTime`: the time a trade is stored and bucketed by. */
  readonly eventTime: Micros
  /** See `conflationKey`; undefined for what is never thinned. */
  readonly key: string | undefined
  /** UTF-8 JSON, one object, ending in `}`. */
  readonly bytes: Buffer
  /** W3C `traceparent` of the few events that are traced. */
  trace: string | undefined
  #payload: Payload | undefined

  constructor(
    topic: Topic,
    type: EventType,
    epoch: number,
    seq: number,
    receivedTime: Micros,
    eventTime: Micros,
    key: string | undefined,
    bytes: Buffer,
    payload?: Payload,
  ) {
    this.topic = topic
    this.type = type
    this.epoch = epoch
    this.seq = seq
    this.receivedTime = receivedTime
    this.eventTime = eventTime
    this.key = key
    this.bytes = bytes
    this.#payload = payload
  }

  /** What the event says. Free where the event was made in this process; parsed once from the bytes elsewhere. */
  get payload(): Payload {
    this.#payload ??= JSON.parse(this.bytes.toString()) as Payload
    return this.#payload
  }
}
