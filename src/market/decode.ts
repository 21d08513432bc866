import { EncodedEvent } from './encoded-event.ts'
import { conflationKey, type Envelope, type EventType, type Payload } from './event.ts'
import type { Topic } from './topic.ts'

/** An event from its bytes alone, as stores and caches keep it. Throws where the bytes are no JSON. */
export function decodeEvent(topic: Topic, bytes: Buffer): EncodedEvent {
  const all = JSON.parse(bytes.toString()) as Envelope & Payload & { readonly type: EventType }
  const { type, epoch, seq, receivedTime, sourceTime = receivedTime } = all
  return new EncodedEvent(topic, type, epoch, seq, receivedTime, sourceTime, conflationKey(all), bytes, all)
}
