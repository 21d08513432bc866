import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { Credential, Identity } from '../auth/auth.ts'
import { FeedgateError } from '../errors.ts'
import type { GatewayPorts } from './gateway.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who is calling; set before a REST handler runs. */
    identity: Identity
  }
}

const BEARER = /^Bearer +(\S+)$/i
const JSON_WEB_TOKEN = /^[\w-]+\.[\w-]+\.[\w-]*$/

/** What a request's headers say of its caller. A key is taken as a bearer too: many clients know no other way. */
export function credentialOf(headers: IncomingHttpHeaders): Credential {
  const apiKey = headers['x-api-key']
  if (apiKey !== undefined) return { kind: 'apiKey', apiKey: String(apiKey) }
  if (headers.authorization === undefined) return { kind: 'none' }
  const bearer = BEARER.exec(headers.authorization)?.[1]
  if (bearer === undefined)
    throw new FeedgateError('not-authenticated', 'the Authorization header must be "Bearer" and a token')
  return JSON_WEB_TOKEN.test(bearer) ? { kind: 'token', token: bearer } : { kind: 'apiKey', apiKey: bearer }
}

/** Before the body is read: nothing is parsed for a caller who may not call. */
export function authenticate(ports: GatewayPorts) {
  return async (request: FastifyRequest): Promise<void> => {
    request.identity = await ports.auth.identify(credentialOf(request.headers), request.ip)
    await ports.limits.command(request.identity)
  }
}

export async function requireAdmin(request: FastifyRequest): Promise<void> {
  if (request.identity.admin) return
  if (request.identity.anonymous)
    throw new FeedgateError('not-authenticated', 'the admin key or a token with scope admin is required')
  throw new FeedgateError('forbidden', 'only the admin key or a token with scope admin may call this')
}
