import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { FeedgateError } from '../errors.ts'
import { Connection } from './connection.ts'
import { loadDialects, parseJson } from './dialect.ts'
import { Exchange, type PlayerStats } from './exchange.ts'
import { type Fault, Faults } from './faults.ts'
import { Mirrors } from './mirror.ts'
import { readRecording } from './recording.ts'
import { RestDesk } from './rest.ts'
import { Sequence } from './sequence.ts'

const PING_MS = 20_000
const SILENT_MS = 60_000
const QUIET_MS = 30_000
/** A client's message; more ends the connection with 1009. */
const MAX_MESSAGE = 1024 * 1024
/** Clients at once; more are refused with 503. */
const MAX_CONNECTIONS = 1_000

export interface PlayerOptions {
  readonly files: readonly string[]
  /** 0: any free one. */
  readonly port: number
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Times as fast as recorded; Infinity: as fast as the sockets take it. */
  readonly speed: number
  readonly faults: readonly Fault[]
  /** The same seed puts faults in the same places. */
  readonly seed?: number
  /** How long the fault `quiet` lasts; default 30 s. */
  readonly quietMs?: number
  /** One line for people: faults as they happen. */
  readonly log: (line: string) => void
}

export interface Player {
  /** `ws://127.0.0.1:N`; REST is served on the same port. */
  readonly url: string
  readonly port: number
  /**
   * Resolves when the position has passed the last frame, with the number of frames recorded: acknowledgements, which
   * are not sent again, count as well. Connections stay alive.
   */
  readonly finished: Promise<number>
  stats(): PlayerStats
  /** Safe to call twice. */
  close(): Promise<void>
}

/**
 * Serves recorded traffic as if it were the venue. Rejects with `bad-request` for files that cannot be played, and with
 * `port-unavailable`.
 */
export async function startPlayer(options: PlayerOptions): Promise<Player> {
  const venues = await loadDialects()
  const recording = await readRecording(options.files, venues)
  // One that understands anything comes last.
  const dialects = [...new Set([...venues, ...recording.dialects])]
  const faults = new Faults(options.faults, options.seed ?? 1, options.log)
  faults.explain(recording.dialects)
  const mirrors = new Mirrors()
  const desk = new RestDesk(recording, dialects, mirrors, faults)
  const quietMs = options.quietMs ?? QUIET_MS
  const demand = { subscribed: () => sequence.subscribed(), left: () => sequence.left() }
  const exchange: Exchange = new Exchange({ recording, dialects, mirrors, faults, quietMs, demand })
  const sequence = new Sequence(recording, options.speed, exchange)
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: MAX_MESSAGE })
  const connections = new Set<Connection>()

  const server = createServer((request, response) => answer(request, response, desk, faults))
  server.on('upgrade', (request, socket, head) => {
    const refusal =
      connections.size >= MAX_CONNECTIONS
        ? { status: 503, reason: 'Service Unavailable', retryAfterS: 1 }
        : faults.refusal('handshake')
    if (refusal) {
      refuse(socket, refusal)
      return
    }
    sockets.handleUpgrade(request, socket, head, (ws) => {
      const url = urlOf(request)
      const connection = new Connection(ws, socket, url.pathname)
      connections.add(connection)
      ws.on('message', (data) => exchange.receive(connection, parseJson(String(data)) ?? String(data)))
      // A broken connection closes as well; why it broke is the client's affair.
      ws.on('error', () => {})
      ws.on('close', () => {
        connections.delete(connection)
        exchange.disconnect(connection)
      })
      exchange.connect(connection, url)
    })
  })
  const pings = setInterval(() => {
    for (const connection of connections) connection.ping(SILENT_MS)
  }, PING_MS)

  const host = options.host ?? '127.0.0.1'
  const port = await listen(server, options.port, host).catch((cause: unknown) => {
    clearInterval(pings)
    exchange.close()
    throw cause
  })
  return {
    url: `ws://${host}:${port}`,
    port,
    finished: sequence.ended.then(() => exchange.settled()).then(() => recording.length),
    stats: () => ({ frames: sequence.position, ...exchange.stats() }),
    async close() {
      clearInterval(pings)
      sequence.close()
      exchange.close()
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

function listen(server: ReturnType<typeof createServer>, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EADDRINUSE' ? 'is taken' : `cannot be had (${cause.code})`
      reject(
        new FeedgateError('port-unavailable', `port ${port} of ${host} ${why}: give another --port`, {
          cause,
        }),
      )
    })
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port))
  })
}

/** The host a client wrote is of no interest, and may be none. */
function urlOf(request: IncomingMessage): URL {
  const path = request.url ?? '/'
  return URL.canParse(path, 'http://player') ? new URL(path, 'http://player') : new URL('http://player/')
}

interface Refusal {
  readonly status: number
  readonly reason: string
  readonly retryAfterS: number
}

function refuse(socket: Duplex, { status, reason, retryAfterS }: Refusal): void {
  // A client that is gone already needs no answer.
  socket.on('error', () => {})
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nRetry-After: ${retryAfterS}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
  )
}

function answer(request: IncomingMessage, response: ServerResponse, desk: RestDesk, faults: Faults): void {
  const refusal = request.method === 'GET' ? faults.refusal('rest') : undefined
  if (refusal) response.setHeader('retry-after', refusal.retryAfterS)
  const { status, body } = refusal
    ? { status: refusal.status, body: `{"error":${JSON.stringify(refusal.reason)}}` }
    : request.method === 'GET'
      ? desk.answer(urlOf(request))
      : { status: 405, body: '{"error":"only GET is recorded"}' }
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(body)
}
