import type { Micros } from './market/event.ts'

/** Wall clock less monotonic clock, µs. */
let offset = Date.now() * 1_000 - performance.now() * 1_000

/**
 * Wall clock in µs. `Date.now` says which millisecond it is, the monotonic clock where in it: so the answer follows
 * every correction of the system's clock and still tells apart what happens within a millisecond.
 */
export function now(): Micros {
  // In this order: were we interrupted between the two, the answer would be early and not late, and so never go back.
  const millisecond = Date.now() * 1_000
  const elapsed = performance.now() * 1_000
  const time = offset + elapsed
  if (time < millisecond) offset = millisecond - elapsed
  else if (time >= millisecond + 1_000) offset = millisecond + 999 - elapsed
  return Math.floor(offset + elapsed)
}
