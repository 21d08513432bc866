import { describe, expect, it } from 'vitest'
import { ERRORS, type ErrorCode, exitCodeOf, FeedgateError } from '../src/errors.ts'

/** Contract §3: the codes a WebSocket `error` may carry, and the close codes by what a client should do next. */
const WEB_SOCKET_CODES = [400, 401, 403, 405, 406, 411, 422, 429, 503]

describe('the error table', () => {
  it.each(Object.entries(ERRORS))(
    '%s has a status, a WebSocket code of the contract and a close code that agrees',
    (code, row) => {
      expect(row.status).toBeGreaterThanOrEqual(400)
      expect(row.status).toBeLessThan(600)
      expect(WEB_SOCKET_CODES).toContain(row.ws)
      expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/)
      // 40xx and 1009: do not retry unchanged; 41xx and 42xx: retry.
      if ('close' in row) expect(row.close >= 4100).toBe(row.retryable)
    },
  )

  it('gives commands 2 for a wrong call or setting and 1 for a failure', () => {
    const exit = (code: ErrorCode) => exitCodeOf(new FeedgateError(code, ''))
    expect(exit('bad-setting')).toBe(2)
    expect(exit('unknown-exchange')).toBe(2)
    expect(exit('port-unavailable')).toBe(1)
    expect(exit('data-dir-locked')).toBe(1)
    expect(exit('store-unavailable')).toBe(1)
  })
})
