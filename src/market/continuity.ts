import type { EncodedEvent } from './encoded-event.ts'

/** Where somebody stands in a topic; 0, 0 before its first event. */
export interface Place {
  readonly epoch: number
  readonly seq: number
}

export function isAfter(one: Place, other: Place): boolean {
  return one.epoch > other.epoch || (one.epoch === other.epoch && one.seq > other.seq)
}

const SEAM = /,"seq":1,"prevEpoch":(\d+),"prevSeq":(\d+),/

/**
 * What the first event of an epoch says of the epoch before: the last place that is known to be stored. Undefined where
 * it says nothing. Cannot be deceived by a symbol: quotes inside text are escaped.
 */
export function placeBefore(event: EncodedEvent): Place | undefined {
  if (event.seq !== 1) return { epoch: event.epoch, seq: event.seq - 1 }
  const head = event.bytes.toString('latin1', 0, event.bytes.indexOf(',"receivedTime":') + 1)
  const seam = SEAM.exec(head)
  return seam ? { epoch: Number(seam[1]), seq: Number(seam[2]) } : undefined
}

/**
 * Does the event go on from this place, so that nothing of the topic lies between? Of an epoch that ended, more may have
 * been seen than was known to be stored. From nowhere the first event of any epoch goes on.
 */
export function goesOn(from: Place, event: EncodedEvent): boolean {
  if (event.epoch === from.epoch) return event.seq === from.seq + 1
  if (from.epoch === 0) return event.seq === 1
  const before = placeBefore(event)
  return event.seq === 1 && before?.epoch === from.epoch && before.seq <= from.seq
}

/** The events after the place, if they go on from it one by one; those before it are left out. */
export function chainFrom(from: Place, events: readonly EncodedEvent[]): EncodedEvent[] | undefined {
  const chain: EncodedEvent[] = []
  let at = from
  for (const event of events) {
    if (!isAfter(event, at)) continue
    if (!goesOn(at, event)) return undefined
    chain.push(event)
    at = event
  }
  return chain
}
