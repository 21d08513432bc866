/**
 * Every error an outsider can meet. `status` is HTTP's; `ws` the code of a WebSocket `error` message (where it differs
 * from HTTP's); `close` the code a WebSocket is closed with where the error ends it; `retryable`: the same call may go
 * through later.
 */
export const ERRORS = {
  'bad-request': { status: 400, ws: 400, retryable: false, title: 'Bad request' },
  'not-authenticated': { status: 401, ws: 401, close: 4001, retryable: false, title: 'Not authenticated' },
  'token-expired': { status: 401, ws: 411, close: 4003, retryable: false, title: 'Token expired or revoked' },
  'venue-credentials-refused': {
    status: 401,
    ws: 401,
    retryable: false,
    title: 'Venue refused the credentials',
  },
  forbidden: { status: 403, ws: 403, close: 4009, retryable: false, title: 'Not entitled' },
  'unknown-source': { status: 404, ws: 422, retryable: false, title: 'Unknown source' },
  'not-found': { status: 404, ws: 422, retryable: false, title: 'Not found' },
  'symbol-limit': { status: 403, ws: 405, retryable: false, title: 'Symbol limit reached' },
  'too-many-connections': {
    status: 429,
    ws: 406,
    close: 4106,
    retryable: true,
    title: 'Connection limit reached',
  },
  'request-timeout': { status: 408, ws: 400, retryable: true, title: 'Request took too long' },
  'too-large': { status: 413, ws: 400, close: 1009, retryable: false, title: 'Message too large' },
  'unsupported-media-type': { status: 415, ws: 400, retryable: false, title: 'Unsupported media type' },
  'unknown-exchange': { status: 422, ws: 422, retryable: false, title: 'Unknown exchange' },
  'unknown-channel': { status: 422, ws: 422, retryable: false, title: 'Unknown channel' },
  'unknown-symbol': { status: 422, ws: 422, retryable: false, title: 'Unknown symbol' },
  'unknown-timeframe': { status: 422, ws: 422, retryable: false, title: 'Unknown timeframe' },
  'unknown-tenant': { status: 422, ws: 422, retryable: false, title: 'Unknown tenant' },
  'unknown-tier': { status: 422, ws: 422, retryable: false, title: 'Unknown tier' },
  'not-supported-yet': { status: 422, ws: 422, retryable: false, title: 'Not supported by this version' },
  'rate-limited': { status: 429, ws: 429, close: 4129, retryable: true, title: 'Too many requests' },
  'slow-client': { status: 503, ws: 503, close: 4100, retryable: true, title: 'Client reads too slowly' },
  'no-pong': { status: 503, ws: 503, close: 4201, retryable: true, title: 'No pong' },
  'shutting-down': { status: 503, ws: 503, close: 4200, retryable: true, title: 'Shutting down' },
  internal: { status: 500, ws: 503, retryable: true, title: 'Internal error' },
  'not-implemented': { status: 501, ws: 422, retryable: false, title: 'Not implemented by this version' },
  'source-down': { status: 503, ws: 503, retryable: true, title: 'Source is down' },
  'source-stale': { status: 503, ws: 503, retryable: true, title: 'Source is stale' },
  'store-unavailable': { status: 503, ws: 503, retryable: true, title: 'Store is not available' },
  'cache-unavailable': { status: 503, ws: 503, retryable: true, title: 'Cache is not available' },
  'bus-unavailable': { status: 503, ws: 503, retryable: true, title: 'Bus is not available' },
  fenced: { status: 503, ws: 503, retryable: true, title: 'Another node does this now' },
  'issuer-unavailable': { status: 503, ws: 503, retryable: true, title: 'Token issuer does not answer' },
  'not-ready': { status: 503, ws: 503, retryable: true, title: 'Not ready' },
  'venue-unavailable': { status: 503, ws: 503, retryable: true, title: 'Venue does not answer' },
  'port-unavailable': { status: 500, ws: 503, retryable: true, title: 'Port not available' },
  'data-dir-locked': { status: 500, ws: 503, retryable: false, title: 'Data directory in use' },
  'bad-setting': { status: 500, ws: 503, retryable: false, title: 'Wrong setting' },
} as const satisfies Record<
  string,
  { status: number; ws: number; close?: number; retryable: boolean; title: string }
>

export type ErrorCode = keyof typeof ERRORS

/**
 * The one error class: `message` is a sentence for the caller that says what is accepted. It has no stack, which nobody
 * would be shown: making one costs more than the refusal itself, and callers decide how many refusals there are.
 */
export class FeedgateError extends Error {
  readonly code: ErrorCode
  readonly retryAfterMs?: number

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; retryAfterMs?: number } = {}) {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    Error.stackTraceLimit = stackTraceLimit
    this.name = 'FeedgateError'
    this.code = code
    if (options.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs
  }
}

/** Of a command: 2 for a wrong call or setting, 1 for a failure. */
export function exitCodeOf(error: FeedgateError): 1 | 2 {
  const { status } = ERRORS[error.code]
  return error.code === 'bad-setting' || (status >= 400 && status < 500) ? 2 : 1
}
