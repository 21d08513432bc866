import type { Bus } from '../bus/bus.ts'
import { signals } from '../signals.ts'
import { traceStage } from '../tracing/tracing.ts'
import type { Cache } from './cache.ts'

/** Carries the bus into the cache, batch by batch and without a timer, until the signal ends and the rest is applied. */
export async function runRelay(ports: { bus: Bus; cache: Cache }, signal: AbortSignal): Promise<void> {
  for await (const { events } of ports.bus.subscribe('relay', signal)) {
    if (events.length === 0) continue
    const began = performance.now()
    await ports.cache.apply(events)
    signals.cacheSet.emit({ count: events.length })
    traceStage('relay', events, began)
  }
}
