import { createHmac, timingSafeEqual } from 'node:crypto'
import { request as httpRequest, type IncomingMessage, type Server } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { FeedgateError } from './errors.ts'
import type { Log } from './gateway/gateway.ts'
import { signals } from './signals.ts'

/**
 * A way to a venue through another node: that opens the TCP connection, and passes bytes both ways (HTTP CONNECT,
 * RFC 9110 §9.3.6). TLS, WebSocket frames, pings and closes are between the venue and the node that asked.
 */

const CONNECT_TIMEOUT_MS = 10_000
/** More are refused. */
const MAX_TUNNELS = 1_000
/** A tunnel through which nothing goes for so long leads nowhere: venues ping more often. */
const IDLE_MS = 900_000
const KEEP_ALIVE_MS = 30_000
/** So long a request may be on its way; clocks of nodes may differ by as much. */
const TOKEN_LIFE_S = 60
const REFUSALS: Readonly<Record<number, string>> = {
  403: 'none of its sources is at this address',
  407: 'its JWT_SECRET is another, or its clock',
  429: 'it may not connect so often',
  502: 'it cannot reach the venue',
  503: 'it has enough tunnels',
}

/** Where a node lets others go. */
export interface Passage {
  /** Until the venue allows another connection from here, ms. */
  waitMs(): number
  /** The answer is to be called when the connection came to something. */
  spend(): () => void
}

export interface TunnelOptions {
  /** The same on all nodes; tokens are derived from it. */
  readonly secret: string
  readonly log: Log
  /** `authority`: `host:port`. Undefined: none of this node's sources is there. */
  passage(authority: string): Passage | undefined
}

function authorityOf(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** `host:port` of a URL, as tunnels name it. */
export function authority(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined
  const { hostname, port, protocol } = new URL(url)
  return `${hostname}:${port || (protocol === 'wss:' || protocol === 'https:' ? 443 : 80)}`
}

/** Good for one address and a minute. */
function tokenFor(secret: string, to: string, expiresAt: number): string {
  const key = createHmac('sha256', secret).update('feedgate tunnel').digest()
  const signature = createHmac('sha256', key).update(`${expiresAt} ${to}`).digest('base64url')
  return `${expiresAt}.${signature}`
}

function isToken(secret: string, to: string, header: string | undefined): boolean {
  const [, token = '', expiry = ''] = /^Bearer (([1-9]\d{0,11})\.[\w-]{43})$/.exec(header ?? '') ?? []
  const expiresAt = Number(expiry)
  const leftS = expiresAt - Date.now() / 1_000
  if (token === '' || leftS < -TOKEN_LIFE_S || leftS > 2 * TOKEN_LIFE_S) return false
  return timingSafeEqual(Buffer.from(token), Buffer.from(tokenFor(secret, to, expiresAt)))
}

/**
 * A connection to the address, opened by the node `via` (`http://ingest-2:8080`). Rejects with `venue-unavailable`, with
 * `retryAfterMs` when the venue has had enough connections from there.
 */
export function openTunnel(via: string, secret: string, host: string, port: number): Promise<Duplex> {
  const to = authorityOf(host, port)
  const node = new URL(via)
  const token = tokenFor(secret, to, Math.floor(Date.now() / 1_000) + TOKEN_LIFE_S)
  return new Promise((resolve, reject) => {
    const fail = (what: string, more: { cause?: unknown; retryAfterMs?: number } = {}) => {
      clearTimeout(timer)
      reject(new FeedgateError('venue-unavailable', what, more))
      request.destroy()
    }
    const request = (node.protocol === 'https:' ? httpsRequest : httpRequest)({
      ...{ method: 'CONNECT', path: to, agent: false },
      ...{ host: node.hostname.replace(/^\[|\]$/g, ''), port: node.port },
      headers: { host: to, 'proxy-authorization': `Bearer ${token}` },
    })
    const timer = setTimeout(() => fail('the node does not answer'), CONNECT_TIMEOUT_MS)
    request.once('connect', ({ statusCode, headers }, socket, head) => {
      if (statusCode !== 200) {
        socket.destroy()
        const retryAfterMs = Number(headers['retry-after']) * 1_000
        fail(
          `the node refuses: ${REFUSALS[statusCode ?? 0] ?? `HTTP ${statusCode}`}`,
          retryAfterMs > 0 ? { retryAfterMs } : {},
        )
        return
      }
      clearTimeout(timer)
      if (head.length > 0) socket.unshift(head)
      resolve(socket)
    })
    request.on('error', (cause: NodeJS.ErrnoException) =>
      fail(`the node cannot be reached: ${cause.code ?? cause.message}`, { cause }),
    )
    request.end()
  })
}

/** Opens connections for other nodes, as far as `options` allow, on a server of this one. The answer ends them all. */
export function serveTunnels(server: Server, options: TunnelOptions): () => void {
  const { secret, log, passage } = options
  /** At most `MAX_TUNNELS`. */
  const open = new Set<Socket>()
  const count = () => signals.tunnels.emit({ open: open.size })

  /** The way there, or the head of the answer that there is none. */
  const wayTo = (to: string, header: string | undefined): Passage | string => {
    if (!isToken(secret, to, header)) return '407 Proxy Authentication Required\r\nproxy-authenticate: Bearer'
    const way = passage(to)
    if (!way) return '403 Forbidden'
    if (open.size >= MAX_TUNNELS) return '503 Service Unavailable'
    const waitMs = way.waitMs()
    return waitMs > 0 ? `429 Too Many Requests\r\nretry-after: ${Math.ceil(waitMs / 1_000)}` : way
  }

  const onConnect = ({ url: to = '', headers }: IncomingMessage, stream: Duplex, head: Buffer) => {
    const socket = stream as Socket
    socket.on('error', () => socket.destroy())
    const way = wayTo(to, headers['proxy-authorization'])
    if (typeof way === 'string') {
      // Who has no token must not fill the log.
      const level = way.startsWith('407') ? 'debug' : 'warn'
      log[level]({ to: to.slice(0, 300), refusal: way.slice(0, 3) }, 'a tunnel was refused')
      answer(socket, way)
      return
    }
    open.add(socket)
    count()
    socket.once('close', () => {
      open.delete(socket)
      count()
    })
    join(socket, head, to, way.spend())
  }
  server.on('connect', onConnect)
  return () => {
    server.off('connect', onConnect)
    for (const socket of open) socket.destroy()
  }
}

function answer(socket: Socket, refusal: string): void {
  if (socket.writable) socket.write(`HTTP/1.1 ${refusal}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`)
  socket.destroySoon()
}

/** Streams hold back the faster end by themselves: what waits is at most their two buffers. */
function join(client: Socket, head: Buffer, to: string, arrived: () => void): void {
  const { hostname, port } = new URL(`tcp://${to}`)
  const venue = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) })
  const timer = setTimeout(() => venue.destroy(new Error('ETIMEDOUT')), CONNECT_TIMEOUT_MS)
  for (const [one, other] of [
    [client, venue],
    [venue, client],
  ] as const) {
    one.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS)
    one.setTimeout(IDLE_MS, () => one.destroy())
    // What came before the end is still passed on.
    one.once('close', () => other.destroySoon())
  }
  const refuse = () => answer(client, '502 Bad Gateway')
  venue.once('error', refuse)
  venue.once('connect', () => {
    venue.off('error', refuse)
    client.write('HTTP/1.1 200 Connection Established\r\n\r\n')
    if (head.length > 0) venue.write(head)
    client.pipe(venue).pipe(client)
  })
  venue.on('error', () => {})
  for (const event of ['connect', 'close'])
    venue.once(event, () => {
      clearTimeout(timer)
      arrived()
    })
}
