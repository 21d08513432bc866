import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { ERRORS, FeedgateError } from '../errors.ts'
import type { Log } from './gateway.ts'

export const PROBLEM_TYPE = 'application/problem+json'

/** What a caller is asked to wait where the error does not say how long. */
const RETRY_AFTER_SECONDS: Readonly<Record<number, number>> = { 429: 1, 503: 5 }

/** A problem document (RFC 9457). `members` extend it. */
export function problemOf(error: FeedgateError, members: object = {}): object {
  const { status, title } = ERRORS[error.code]
  return {
    type: `urn:feedgate:problem:${error.code}`,
    title,
    status,
    detail: error.message,
    code: error.code,
    ...members,
  }
}

export function sendProblem(reply: FastifyReply, error: FeedgateError, members?: object): FastifyReply {
  const { status } = ERRORS[error.code]
  const retryAfter =
    error.retryAfterMs === undefined ? RETRY_AFTER_SECONDS[status] : Math.ceil(error.retryAfterMs / 1_000)
  if (retryAfter !== undefined) reply.header('retry-after', Math.max(1, retryAfter))
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  return reply
    .code(status)
    .type(PROBLEM_TYPE)
    .send(JSON.stringify(problemOf(error, members)))
}

/** The one place where an error becomes an answer. What was not foreseen is logged, and told only by its request's id. */
export function errorHandler(log: Log) {
  return (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply =>
    sendProblem(reply, foreseen(error) ?? unforeseen(error, request, log))
}

function foreseen(error: unknown): FeedgateError | undefined {
  if (error instanceof FeedgateError) return error
  const { code, statusCode = 500 } = error as Partial<FastifyError>
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
    return new FeedgateError('unsupported-media-type', 'send the body as application/json')
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new FeedgateError('too-large', 'the body may have 256 KiB at most')
  if (code?.startsWith('FST_ERR_CTP_') || error instanceof SyntaxError)
    return new FeedgateError('bad-request', 'the body is not valid JSON')
  if (statusCode === 404) return new FeedgateError('not-found', 'there is no such page')
  if (statusCode >= 400 && statusCode < 500)
    return new FeedgateError('bad-request', 'the request cannot be read: check its path and its headers')
  return undefined
}

function unforeseen(error: unknown, request: FastifyRequest, log: Log): FeedgateError {
  // The route's pattern, not the URL: a query may hold a token.
  const route = `${request.method} ${request.routeOptions.url ?? ''}`
  log.error(
    { requestId: request.id, route, error: (error as Error)?.stack ?? String(error) },
    'request failed',
  )
  return new FeedgateError('internal', `something went wrong here; the log has it as request ${request.id}`)
}

/** For what is no HTTP at all, so that no request was made of it. */
export function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const problem = brokenRequest(error.code)
  const { status } = ERRORS[problem.code]
  const body = JSON.stringify(problemOf(problem))
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: ${PROBLEM_TYPE}\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}

function brokenRequest(code: string | undefined): FeedgateError {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new FeedgateError('request-timeout', 'the request did not arrive in time')
  const detail =
    code === 'HPE_HEADER_OVERFLOW' ? 'the headers are too large' : 'the request is not valid HTTP'
  return new FeedgateError('bad-request', detail)
}
