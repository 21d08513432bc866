import { now } from '../clock.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { type Stage, signals } from '../signals.ts'

/** Listens to `publishing`, where it picks the events to trace, and to `traced`. */
export interface Tracing {
  /** Hands over what is left, for half a second at most; safe to call twice. */
  close(): Promise<void>
}

/**
 * Tells of those of the events that are traced; one check for all of them while nobody listens. `beganMs` is what
 * `performance.now()` was.
 */
export function traceStage(
  stage: Stage,
  events: readonly EncodedEvent[],
  beganMs: number,
  clientsOf?: (event: EncodedEvent) => number,
): void {
  if (!signals.traced.isHeard) return
  const ended = now()
  const began = ended - Math.round((performance.now() - beganMs) * 1_000)
  for (const event of events) {
    if (event.trace === undefined) continue
    const clients = clientsOf?.(event)
    if (clients !== 0) signals.traced.emit({ stage, event, began, ended, ...(clients && { clients }) })
  }
}
