import { setTimeout as delay } from 'node:timers/promises'
import type { Bus } from '../bus/bus.ts'
import type { Store } from '../store/store.ts'

/** A node that takes a source over waits at most so long for the recorder: clients wait for their events meanwhile. */
const PATIENCE_MS = 3_000
const LOOK_EVERY_MS = 50

/** Is all that the bus holds at this moment stored? Waits for the recorder, at most 3 s. */
export async function settled(bus: Bus, store: Store): Promise<boolean> {
  const deadline = performance.now() + PATIENCE_MS
  const ends = await bus.ends()
  if (ends.size === 0) return true
  for (;;) {
    const offsets = await store.offsets('recorder', [...ends.keys()])
    const behind = [...ends].filter(([partition, end]) => BigInt(offsets.get(partition) ?? 0) < BigInt(end))
    if (behind.length === 0) return true
    if (performance.now() > deadline) return false
    await delay(LOOK_EVERY_MS)
  }
}
