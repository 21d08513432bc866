/** What the gateway's close codes say: whether and when to come back. */
export type Return = 'stop' | 'now' | 'back-off'

/** 40xx: not unchanged; 42xx: at once; 41xx and all others, a lost network among them: after a while. */
export function returnAfter(code: number): Return {
  if (code >= 4000 && code < 4100) return 'stop'
  return code >= 4200 && code < 4300 ? 'now' : 'back-off'
}

/** No entitlement: another token of the same caller changes nothing. */
export const FORBIDDEN = 4009

/** ms to wait before attempt `attempt` (0 the first): exponential with full jitter, so that many come back spread. */
export function backoffMs(attempt: number, baseMs: number, capMs: number): number {
  return Math.random() * Math.min(capMs, baseMs * 2 ** attempt)
}

/**
 * Why a client or a subscription ended. `code` is the gateway's (of an error 401, 403, 422 …, of a close 4001 …), or 0
 * where the client itself gave up.
 */
export class FeedgateError extends Error {
  readonly code: number
  /** Stable, such as `unknown-symbol`. */
  readonly reason: string

  constructor(code: number, reason: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'FeedgateError'
    this.code = code
    this.reason = reason
  }
}
