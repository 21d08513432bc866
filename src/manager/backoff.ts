/** Exponential back-off with full jitter: a crowd of clients that lost one venue at once does not come back at once. */
export interface Backoff {
  readonly baseMs: number
  readonly capMs: number
}

/** How long to wait before the nth attempt (from 1), ms; `random` in [0, 1). */
export function backoffMs(
  attempt: number,
  { baseMs, capMs }: Backoff,
  random: () => number = Math.random,
): number {
  return Math.round(random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt - 1, 52)))
}
