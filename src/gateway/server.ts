import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import fastify, {
  type FastifyInstance,
  type FastifyPluginAsync,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify'
import { FeedgateError } from '../errors.ts'
import type { Log, OperationsPorts, RestPorts } from './gateway.ts'
import { answerBrokenRequest, errorHandler, sendProblem } from './problem.ts'
import { adminRoutes } from './rest/admin.ts'
import { consoleRoutes } from './rest/console.ts'
import { describeApi, docsRoutes } from './rest/docs.ts'
import { inboundRoutes, operationsRoutes } from './rest/operations.ts'
import { apiRoutes } from './rest/routes.ts'
import { validatorCompiler } from './validation.ts'

const BODY_LIMIT = 256 * 1_024
const REQUEST_TIMEOUT_MS = 30_000
/** Without a byte in or out. Longer than any wait for the store; who stops reading an answer holds it no longer. */
const IDLE_TIMEOUT_MS = 120_000

/** The HTTP server, not yet listening. `plugins` are registered beside the REST routes (the WebSocket endpoints). */
export async function createServer(
  ports: RestPorts,
  plugins: readonly FastifyPluginAsync[] = [],
): Promise<FastifyInstance> {
  const server = bareServer(ports.log)
  await describeApi(server, ports.version)
  for (const plugin of plugins) await server.register(plugin)
  await server.register(apiRoutes(ports))
  await server.register(adminRoutes(ports))
  await server.register(inboundRoutes)
  await server.register(operationsRoutes(ports))
  await server.register(docsRoutes(ports.version))
  await server.register(consoleRoutes(ports))
  return server
}

/** The HTTP server of a process without the role `gateway`: health and metrics. */
export async function createOperationsServer(ports: OperationsPorts): Promise<FastifyInstance> {
  const server = bareServer(ports.log)
  await server.register(operationsRoutes(ports))
  return server
}

function bareServer(log: Log): FastifyInstance {
  const server = fastify({
    logger: false,
    bodyLimit: BODY_LIMIT,
    // A slow request may not hold a connection for longer.
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: IDLE_TIMEOUT_MS,
    http: { headersTimeout: REQUEST_TIMEOUT_MS, connectionsCheckingInterval: 5_000 },
    forceCloseConnections: true,
    return503OnClosing: false,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 512 },
    genReqId: () => randomUUID(),
    frameworkErrors: (_error, _request, reply) => {
      sendProblem(
        reply,
        new FeedgateError('bad-request', 'the path cannot be read: check its percent-encoding'),
      )
    },
    clientErrorHandler: answerBrokenRequest,
  })
  server.setValidatorCompiler(validatorCompiler)
  // Schemas of answers describe; they do not change what is sent.
  server.setSerializerCompiler(() => (data) => JSON.stringify(data))
  server.setErrorHandler(errorHandler(log))
  server.setNotFoundHandler((request, reply) =>
    sendProblem(reply, new FeedgateError('not-found', `there is no ${request.method} on this path`)),
  )
  server.decorateRequest('identity')
  takeJsonOnly(server)
  guard(server)
  return server
}

/** No body is a body left out, whatever its content type says. */
function takeJsonOnly(server: FastifyInstance): void {
  const parseJson = server.getDefaultJsonParser('error', 'error')
  server.removeAllContentTypeParsers()
  server.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else parseJson(request, body as string, done)
  })
}

/** What holds for every request, and the headers of every answer. */
function guard(server: FastifyInstance): void {
  let closing = false
  server.addHook('preClose', async () => {
    closing = true
  })
  server.addHook('onRequest', async (request, reply) => {
    reply.headers({
      'x-request-id': request.id,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    })
    if (closing) throw new FeedgateError('shutting-down', 'this gateway is shutting down: try again')
    guardUpgrade(request, reply)
  })
  server.addHook('onResponse', async ({ raw, headers }) => {
    if (asksForUpgrade(headers)) raw.socket.destroySoon()
  })
}

/**
 * Node hands over the socket of whoever asks for another protocol, and looks after it no more: no body is read from it,
 * and no time ends it. What is answered and becomes no WebSocket therefore ends with its answer.
 */
function guardUpgrade({ headers, routeOptions }: FastifyRequest, reply: FastifyReply): void {
  const isWebSocket = headers.upgrade?.toLowerCase() === 'websocket'
  const forWebSocket = /^\/ws(\/|$)/.test(routeOptions.url ?? '')
  if (asksForUpgrade(headers)) reply.header('connection', 'close')
  if (forWebSocket && !isWebSocket)
    throw new FeedgateError('bad-request', 'this path takes WebSocket connections only')
  if (isWebSocket && !forWebSocket)
    throw new FeedgateError(
      'not-found',
      'there is no WebSocket on this path: use /ws, /ws/odds or /ws/status',
    )
  if (asksForUpgrade(headers) && !isWebSocket && hasBody(headers))
    throw new FeedgateError('bad-request', 'a request with a body must not ask for an upgrade: leave it out')
}

function asksForUpgrade({ upgrade, connection }: IncomingHttpHeaders): boolean {
  return upgrade !== undefined && /\bupgrade\b/i.test(connection ?? '')
}

function hasBody(headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}
