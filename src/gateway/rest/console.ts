import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import type { FastifyRequest } from 'fastify'
import type { Identity } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import type { GatewayPorts } from '../gateway.ts'
import type { RoutePlugin } from './route.ts'
import { answers } from './schema.ts'
import { TokenAnswer } from './token.ts'

/** From `src/` and from `dist/` alike. */
const CONSOLE = fileURLToPath(new URL('../../../dist/console/', import.meta.url))

/** The page runs its own scripts and talks to its own host; nothing else, and in nobody's frame. */
const POLICY = [
  "default-src 'self'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self' ws: wss:",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const LOOPBACK_PEER = /^(127(\.\d{1,3}){3}|::1|::ffff:127(\.\d{1,3}){3})$/
const LOOPBACK_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i
/** The standard's, and those of the proxies in use. */
const FORWARDING =
  /^(x-)?forwarded|^via$|^x-real-ip$|client-?ip$|^cf-|connecting-ip$|^x-(original|envoy|proxyuser)-/

/** The console's page, and in demo mode the token that it shows live data with. */
export function consoleRoutes(ports: GatewayPorts, folder = CONSOLE): RoutePlugin {
  return async (server) => {
    server.post(
      '/console/token',
      {
        schema: {
          summary: 'A short-lived premium token for the console of a demo, on this machine only',
          tags: ['auth'],
          response: answers({ 200: TokenAnswer }, [403, 404, 429]),
        },
      },
      async (request) => {
        if (!ports.demo) throw new FeedgateError('not-found', 'only the demo has a token for its console')
        requireThisMachine(request)
        const visitor = visitorOf(ports)
        await ports.limits.command({ ...visitor, limitKey: 'console' })
        return ports.auth.issueToken(visitor)
      },
    )
    if (!existsSync(folder)) {
      server.get('/', { schema: { hide: true } }, async (_request, reply) =>
        reply
          .type('text/plain; charset=utf-8')
          .send('feedgate is running; its console is not built. See /docs.\n'),
      )
      return
    }
    await server.register(async (files) => {
      // After the server's own hook, whose policy for answers of the API would stop the page's script.
      files.addHook('onRequest', async (_request, reply) => {
        reply.headers({ 'content-security-policy': POLICY, 'cache-control': 'no-cache' })
      })
      await files.register(fastifyStatic, { root: folder, wildcard: false, cacheControl: false })
    })
  }
}

/** Another page of the same browser, a name that was bound to this address, or a proxy must not get a token. */
function requireThisMachine({ socket, headers }: FastifyRequest): void {
  const { host = '', origin } = headers
  const here =
    LOOPBACK_PEER.test(socket.remoteAddress ?? '') &&
    LOOPBACK_HOST.test(host) &&
    !isForwarded(headers) &&
    (origin === undefined || origin.toLowerCase() === `http://${host.toLowerCase()}`)
  if (!here)
    throw new FeedgateError(
      'forbidden',
      'the console gets its token on the machine of the gateway only, by localhost',
    )
}

function isForwarded(headers: IncomingHttpHeaders): boolean {
  return Object.keys(headers).some((name) => FORWARDING.test(name))
}

/** Each page has limits of its own. */
function visitorOf(ports: GatewayPorts): Identity {
  const subject = `console-${randomUUID()}`
  return {
    tenant: 'demo',
    tier: ports.auth.tiers.premium,
    subject,
    anonymous: false,
    admin: false,
    limitKey: subject,
  }
}
