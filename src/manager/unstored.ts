import { setTimeout as delay } from 'node:timers/promises'
import type { Bus } from '../bus/bus.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Store, StoredPosition } from '../store/store.ts'

/** The recorder gets so long to store what is in the bus; then the bus is read. */
const PATIENCE_MS = 1_000
const LOOK_EVERY_MS = 50
/** As many as the store gives. */
const MAX_TRADE_IDS = 256

/**
 * Where the topics end of which the bus holds what is not stored yet. Who comes to own a source must know it: what is in
 * the bus will be stored, before anything that the new owner publishes.
 */
export async function unstored(bus: Bus, store: Store): Promise<ReadonlyMap<string, StoredPosition>> {
  const ends = await bus.ends()
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const offsets = await store.offsets('recorder', [...ends.keys()])
    const behind = [...ends].some(([partition, end]) => BigInt(offsets.get(partition) ?? 0) < BigInt(end))
    if (!behind) return new Map()
    if (performance.now() > deadline) return readFrom(bus, offsets)
    await delay(LOOK_EVERY_MS)
  }
}

async function readFrom(
  bus: Bus,
  offsets: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, StoredPosition>> {
  const ends = new Map<string, StoredPosition>()
  for await (const events of bus.tail(offsets))
    for (const event of events) ends.set(event.topic.id, after(ends.get(event.topic.id), event))
  return ends
}

/** Where a topic ends with one more event; one of an owner that was replaced changes nothing. */
function after(before: StoredPosition | undefined, event: EncodedEvent): StoredPosition {
  const { epoch, seq, receivedTime, payload } = event
  if (before && (epoch < before.epoch || (epoch === before.epoch && seq <= before.seq))) return before
  const id = payload.type === 'trade' ? payload.id : undefined
  const ids = id === undefined ? before?.tradeIds : [...(before?.tradeIds ?? []), id].slice(-MAX_TRADE_IDS)
  return { epoch, seq, receivedTime, ...(ids && { tradeIds: ids }) }
}

/** The later of two; the ids of both. */
export function laterOf(
  stored: StoredPosition | undefined,
  unstored: StoredPosition | undefined,
): StoredPosition | undefined {
  if (!stored || !unstored) return stored ?? unstored
  const tradeIds = [...(stored.tradeIds ?? []), ...(unstored.tradeIds ?? [])].slice(-MAX_TRADE_IDS)
  const isLater =
    unstored.epoch > stored.epoch || (unstored.epoch === stored.epoch && unstored.seq > stored.seq)
  return { ...(isLater ? unstored : stored), ...(tradeIds.length > 0 && { tradeIds }) }
}
