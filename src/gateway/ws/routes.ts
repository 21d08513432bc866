import type { IncomingHttpHeaders } from 'node:http'
import websocket from '@fastify/websocket'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import type { WebSocket } from 'ws'
import type { Credential } from '../../auth/auth.ts'
import { ERRORS } from '../../errors.ts'
import type { ClientEntry } from '../clients.ts'
import { credentialOf } from '../credentials.ts'
import type { GatewayPorts } from '../gateway.ts'
import { AddressLimits } from './address-limits.ts'
import type { Client } from './client.ts'
import { Connection } from './connection.ts'
import { canDeflate, type Encoding, encodingOf, subprotocolOf } from './encoding.ts'
import type { ClientHub } from './hub.ts'
import type { LegacyOrigin } from './legacy-session.ts'
import { OddsSession } from './odds-session.ts'
import { Origins } from './origins.ts'
import { Session } from './session.ts'
import { StatusSession } from './status-session.ts'

/** Largest message of a client; more is close 1009. */
const MAX_MESSAGE_BYTES = 256 * 1_024
/** When the server closes before the hub was closed. */
const CLOSE_GRACE_MS = 1_000

/** `/ws`, `/ws/odds` and `/ws/status`. */
export function webSocketRoutes(ports: GatewayPorts, hub: ClientHub): FastifyPluginAsync {
  const addresses = new AddressLimits()
  const origins = new Origins(hub.options.allowedOrigins)

  const callerOf = ({ headers, query }: FastifyRequest): Credential | undefined => {
    origins.check(headers, false)
    return givenCredential(headers, query as Readonly<Record<string, unknown>>)
  }
  const anonymous = ({ headers }: FastifyRequest): Credential => {
    origins.check(headers, true)
    return { kind: 'none' }
  }

  const connect = (
    ws: WebSocket,
    request: FastifyRequest,
    endpoint: ClientEntry['endpoint'],
    encoding?: Encoding,
  ) =>
    new Connection(ws, request.raw.socket, hub.feeds.fanout, hub.options, {
      ...{ endpoint, address: request.ip },
      ...(encoding ? { encoding } : {}),
    })

  const legacy = (
    ws: WebSocket,
    request: FastifyRequest,
    endpoint: ClientEntry['endpoint'],
    create: (connection: Connection, from: LegacyOrigin) => Client,
  ) => {
    const connection = connect(ws, request, endpoint)
    const leave = addresses.connect(request.ip)
    if (!leave) {
      connection.send({ type: 'error', message: 'too many connections from this address: close one first' })
      return connection.close(ERRORS['too-many-connections'].close, 'too many connections from this address')
    }
    connection.onClose(leave)
    const { ip } = request
    hub.add(
      create(connection, {
        credential: () => callerOf(request) ?? anonymous(request),
        mayCommand: () => addresses.mayCommand(ip),
      }),
    )
  }

  return async (server) => {
    await server.register(websocket, {
      options: {
        // Of compressed messages too: as soon as what came out of one is longer, it is refused.
        maxPayload: MAX_MESSAGE_BYTES,
        // Each message stands for itself: one of the server's goes to many, and for none is a window kept.
        perMessageDeflate: { serverNoContextTakeover: true, clientNoContextTakeover: true },
        handleProtocols: (offered, { url = '' }) =>
          /^\/ws(\?|$)/.test(url) ? subprotocolOf(offered) : ([...offered][0] ?? false),
      },
      errorHandler: (error, socket) => {
        // `ws` has sent the close frame of a protocol error (1009 and its like): the peer is to read it.
        if ((error as NodeJS.ErrnoException).code?.startsWith('WS_ERR_')) return
        ports.log.debug({ error: String(error) }, 'a client socket failed')
        socket.terminate()
      },
      preClose: (done) => {
        void hub.close(CLOSE_GRACE_MS).then(() => server.websocketServer.close(() => done()))
      },
    })
    server.addHook('onRequest', async (request) => {
      const { headers } = request.raw
      if (!asksForCompression(request)) delete headers['sec-websocket-extensions']
    })
    server.get('/ws', { websocket: true }, (ws, request) => {
      const { batch } = request.query as Readonly<Record<string, unknown>>
      const connection = connect(ws, request, '/ws', encodingOf(ws))
      hub.add(
        new Session(hub, connection, {
          credential: () => callerOf(request),
          anonymous: () => anonymous(request),
          batch: batch === 'true',
        }),
      )
    })
    server.get('/ws/odds', { websocket: true }, (ws, request) =>
      legacy(ws, request, '/ws/odds', (connection, from) => new OddsSession(hub, connection, from)),
    )
    server.get('/ws/status', { websocket: true }, (ws, request) =>
      legacy(ws, request, '/ws/status', (connection, from) => new StatusSession(hub, connection, from)),
    )
  }
}

/** A browser offers it by itself, so the offer alone asks for nothing: compressing takes time. */
function asksForCompression({ routeOptions, query, headers }: FastifyRequest): boolean {
  const { compress } = query as Readonly<Record<string, unknown>>
  return (
    routeOptions.url === '/ws' && compress === 'true' && canDeflate(headers['sec-websocket-extensions'] ?? '')
  )
}

/** By headers, else by what a browser can give: a token or a ticket in the URL. */
function givenCredential(
  headers: IncomingHttpHeaders,
  query: Readonly<Record<string, unknown>>,
): Credential | undefined {
  const credential = credentialOf(headers)
  if (credential.kind !== 'none') return credential
  const { access_token: token, ticket } = query
  if (typeof token === 'string' && token !== '') return { kind: 'token', token }
  if (typeof ticket === 'string' && ticket !== '') return { kind: 'ticket', ticket }
  return undefined
}
