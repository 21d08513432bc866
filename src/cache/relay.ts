import type { Bus } from '../bus/bus.ts'
import { FeedgateError } from '../errors.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { signals } from '../signals.ts'
import { traceStage } from '../tracing/tracing.ts'
import type { Cache } from './cache.ts'

const RETRY_MS = 100
const MAX_RETRY_MS = 1_000

/**
 * Carries the bus into the cache, batch by batch and without a timer, until the signal ends and the rest is applied.
 * While the cache is away the same batch is tried again and again: the bus keeps what comes meanwhile.
 */
export async function runRelay(ports: { bus: Bus; cache: Cache }, signal: AbortSignal): Promise<void> {
  for await (const { events } of ports.bus.subscribe('relay', signal)) {
    if (events.length === 0) continue
    const began = performance.now()
    if (!(await applyAtLast(ports.cache, events, signal))) return
    signals.cacheSet.emit({ count: events.length })
    traceStage('relay', events, began)
  }
}

/** False: the signal ended first. The batch does not count as taken then, and comes again after the next start. */
async function applyAtLast(
  cache: Cache,
  events: readonly EncodedEvent[],
  signal: AbortSignal,
): Promise<boolean> {
  for (let wait = RETRY_MS; ; wait = Math.min(wait * 2, MAX_RETRY_MS)) {
    try {
      await cache.apply(events)
      return true
    } catch (error) {
      if (!(error instanceof FeedgateError) || error.code !== 'cache-unavailable') throw error
      if (signal.aborted) return false
      await new Promise((resume) => setTimeout(resume, wait))
    }
  }
}
