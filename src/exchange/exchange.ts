import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { FeedgateError } from '../errors.ts'
import type { Level, Micros } from '../market/event.ts'
import { withBigIds } from '../player/rewrites.ts'
import { Client } from './client.ts'
import { Floor } from './floor.ts'
import { type ExchangeFault, type Injected, Injections, type InjectOptions } from './injections.ts'
import { Limits, type Violation } from './limits.ts'
import { Market, type MarketTrade } from './market.ts'
import { Pump } from './pump.ts'
import { createTruth, type Truth } from './truth.ts'
import { loadWire, type Markets, type RestAnswer, type Wire } from './wire.ts'

export { EXCHANGE_FAULTS } from './injections.ts'
export type { ExchangeFault, Injected, InjectOptions, Level, MarketTrade, Truth, Violation }

const DEFAULT_DEPTH = 100
const HEARTBEAT_MS = 1_000
/** A client's message; more ends the connection with 1009. */
const MAX_MESSAGE = 1024 * 1024
const REASONS: Readonly<Record<string, string>> = {
  '403': 'Forbidden',
  '418': "I'm a teapot",
  '429': 'Too Many Requests',
  '451': 'Unavailable For Legal Reasons',
}

export interface ExchangeOptions {
  /** As `kind` of a source: `binance`, `kraken` … */
  readonly venue: string
  /** The same seed and symbol make the same market, step by step. Default 1. */
  readonly seed?: number
  /** feedgate's names. Default: two or three of the venue. */
  readonly symbols?: readonly string[]
  /**
   * Steps a second, over all markets by turns; each changes a book, and four in ten are trades. 0: none but by `advance`;
   * Infinity: as fast as clients take them. Default 10.
   */
  readonly rate?: number
  /** Default 0: any free one. */
  readonly port?: number
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Levels a side of the true books. Default 100. */
  readonly depth?: number
  /** Are limits enforced as the venue does? They are counted in any case. Default true. */
  readonly enforceLimits?: boolean
  /** Heartbeats, pings and deadlines come so many times sooner. Default 1. */
  readonly timeScale?: number
  /** Of the markets, when `rate` is 0: epoch µs. Default now. */
  readonly startTime?: Micros
}

export interface ExchangeConnection {
  /** Counted from 1 in the order of the handshakes. */
  readonly id: number
  readonly path: string
  /** The venue's names of the streams subscribed to, without depth and speed. */
  readonly streams: readonly string[]
}

/** A venue of its own: markets made of a seed, and the venue's protocol to see them by, WebSocket and REST on one port. */
export interface Exchange {
  readonly venue: string
  /** `ws://127.0.0.1:N`. */
  readonly url: string
  /** `http://127.0.0.1:N`. */
  readonly restUrl: string
  readonly port: number
  /** Those that are open, oldest first. */
  readonly connections: readonly ExchangeConnection[]
  /** Of the venue's limits, by clients; the first 1,000. */
  readonly violations: readonly Violation[]
  stats(): {
    readonly steps: number
    readonly sent: number
    readonly handshakes: number
    readonly violations: number
  }
  /** What the market of the symbol really is. Throws `unknown-symbol`. */
  truth(symbol: string): Truth
  /** Switches a fault on. */
  inject(options: InjectOptions): Injected
  /** Steps at once, over all markets by turns; what they say is written before it returns. */
  advance(steps: number): void
  /** From now on; see `ExchangeOptions.rate`. */
  setRate(rate: number): void
  /** Safe to call twice. */
  close(): Promise<void>
}

/**
 * Starts a simulated venue. Rejects with `bad-request` for a venue that there is not, `unknown-symbol` for a symbol it
 * cannot have, and `port-unavailable`.
 */
export async function startExchange(options: ExchangeOptions): Promise<Exchange> {
  const wire = await loadWire(options.venue)
  const host = options.host ?? '127.0.0.1'
  const house = new House(wire, options)
  const port = await house.listen(options.port ?? 0, host)
  const { floor, limits, pump } = house
  return {
    venue: wire.id,
    url: `ws://${host}:${port}`,
    restUrl: `http://${host}:${port}`,
    port,
    get connections() {
      return [...floor.clients].map(({ id, path, asks }) => ({ id, path, streams: [...asks.keys()] }))
    },
    violations: limits.violations,
    stats: () => ({
      steps: pump.steps,
      sent: floor.sent,
      handshakes: house.handshakes,
      violations: limits.count,
    }),
    truth: (symbol) => createTruth(house.market(symbol)),
    inject: (fault) => house.inject(fault),
    advance: (steps) => pump.advance(steps),
    setRate: (rate) => pump.setRate(rate),
    close: () => house.close(),
  }
}

const AT_ONCE: ReadonlySet<string> = new Set(['shutdown', 'hard-cut', 'pongs-only', 'half-open'])

/** The server, and all that it serves. */
class House {
  readonly floor: Floor
  readonly injections = new Injections()
  readonly limits: Limits
  readonly pump: Pump
  handshakes = 0
  readonly #wire: Wire
  readonly #markets = new Map<string, Market>()
  readonly #list: readonly Market[]
  readonly #find: Markets
  readonly #enforce: boolean
  readonly #timeScale: number
  readonly #server: Server
  readonly #sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE,
  })
  readonly #timers: NodeJS.Timeout[] = []

  constructor(wire: Wire, options: ExchangeOptions) {
    this.#wire = wire
    this.#enforce = options.enforceLimits ?? true
    this.#timeScale = options.timeScale ?? 1
    this.limits = new Limits(wire.limits)
    const startTime = options.startTime ?? Date.now() * 1_000
    for (const symbol of options.symbols ?? wire.symbols) {
      const key = wire.keyOf(symbol)
      if (key === undefined)
        throw new FeedgateError(
          'unknown-symbol',
          `${wire.id} cannot have the symbol ${JSON.stringify(symbol)}`,
        )
      const { seed = 1, depth = DEFAULT_DEPTH } = options
      this.#markets.set(key, new Market({ seed, symbol, depth, startTime }))
    }
    this.#list = [...this.#markets.values()]
    this.#find = { all: this.#list, find: (key) => this.#findMarket(key) }
    this.floor = new Floor({
      wire,
      markets: this.#find,
      injections: this.injections,
      limits: this.limits,
      enforce: this.#enforce,
      timeScale: this.#timeScale,
    })
    this.pump = new Pump(this.#list, this.injections, this.floor, startTime)
    this.#server = createServer((request, response) => this.#rest(request, response))
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    this.#every(HEARTBEAT_MS, () => this.#beat())
    const { pings } = wire.limits
    if (pings)
      this.#every(pings.everyMs, () => {
        for (const client of this.floor.clients) client.ping(pings.silentMs / this.#timeScale)
      })
    this.pump.setRate(options.rate ?? 10)
  }

  #every(ms: number, act: () => void): void {
    this.#timers.push(setInterval(act, ms / this.#timeScale))
  }

  async listen(port: number, host: string): Promise<number> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject)
        this.#server.listen(port, host, resolve)
      })
    } catch (cause) {
      await this.close()
      const { code } = cause as NodeJS.ErrnoException
      const why = code === 'EADDRINUSE' ? 'is taken' : `cannot be had (${code})`
      throw new FeedgateError('port-unavailable', `port ${port} of ${host} ${why}: give another --port`, {
        cause,
      })
    }
    return (this.#server.address() as AddressInfo).port
  }

  #findMarket(key: string): Market | undefined {
    const market = this.#markets.get(key)
    if (!market || this.injections.none) return market
    return this.injections.take('bad-symbol', { symbol: market.symbol }) ? undefined : market
  }

  market(symbol: string): Market {
    const market = this.#list.find((one) => one.symbol === symbol)
    if (market) return market
    throw new FeedgateError('unknown-symbol', `there is no market ${JSON.stringify(symbol)}`)
  }

  inject(options: InjectOptions): Injected {
    const injection = this.injections.add(options, () => this.pump.wake())
    const { fault, symbol, connection, after, count = 1 } = options
    if (after !== undefined || !AT_ONCE.has(fault)) return injection
    const key = symbol === undefined ? undefined : this.market(symbol)
    for (const client of [...this.floor.clients].reverse()) {
      if (injection.hits >= count) break
      if (connection !== undefined && connection !== client.id) continue
      if (key && ![...client.feeds.values()].some((feed) => feed.stream.markets.includes(key))) continue
      injection.happens()
      this.floor.break(client, fault as Parameters<Floor['break']>[1])
    }
    return injection
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.handshakes++
    this.limits.comes('handshake')
    const injected = this.#refusal('handshake')
    const late = this.limits.connect()
    const refusal = injected ?? (this.#enforce ? late : undefined)
    // A client that is gone already needs no answer.
    socket.on('error', () => {})
    if (refusal) {
      const { status, retryAfterS } = refusal
      if (status !== 451) this.limits.tellToWait('handshake', retryAfterS)
      socket.end(
        `HTTP/1.1 ${status} ${REASONS[status]}\r\nRetry-After: ${retryAfterS}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
      )
      return
    }
    const id = this.handshakes
    this.#sockets.handleUpgrade(request, socket, head, (ws) => {
      const url = new URL(request.url ?? '/', 'http://exchange')
      const client = new Client(id, ws, socket, url.pathname, this.#wire.limits)
      ws.on('message', (data) => this.floor.receive(client, String(data)))
      ws.on('error', () => {})
      ws.on('close', () => this.floor.disconnect(client))
      this.floor.connect(client, url)
      this.#expectSubscription(client)
    })
  }

  #expectSubscription(client: Client): void {
    const { subscribeWithinMs } = this.#wire.limits
    if (subscribeWithinMs === undefined) return
    setTimeout(() => {
      if (!client.open || client.asks.size > 0) return
      this.limits.violated('subscribe-deadline', `nothing asked for ${subscribeWithinMs} ms`, client)
      if (this.#enforce) client.terminate()
    }, subscribeWithinMs / this.#timeScale).unref()
  }

  #beat(): void {
    const { dialect, limits } = this.#wire
    for (const client of [...this.floor.clients]) {
      if (!client.open) continue
      if (limits.idleMs && performance.now() - client.activeAt > limits.idleMs / this.#timeScale) {
        this.limits.violated('idle', `nothing said for ${limits.idleMs} ms`, client)
        if (this.#enforce) client.terminate()
        continue
      }
      const frames = dialect.heartbeats?.({
        asks: client.held(),
        idleMs: (performance.now() - client.activeAt) * this.#timeScale,
        streamIdleMs: () => Number.POSITIVE_INFINITY,
        lastTrade: (name) => this.#lastTrade(name),
      })
      for (const frame of frames ?? []) this.floor.tell(client, frame)
    }
  }

  #lastTrade(name: string): { id: number; sequence: number } | undefined {
    const market = this.#markets.get(name)
    return market && { id: market.lastTrade.id, sequence: market.lastUpdate }
  }

  // REST

  #rest(request: IncomingMessage, response: ServerResponse): void {
    const { status = 200, body, headers } = this.#answer(request)
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(body)
  }

  #answer(request: IncomingMessage): RestAnswer {
    if (request.method !== 'GET') return { status: 405, body: '{"error":"only GET is served"}' }
    const { pathname: path, searchParams: query } = new URL(request.url ?? '/', 'http://exchange')
    this.limits.comes('rest')
    const late = this.limits.rest({ path, query })
    const refusal =
      this.#refusal('rest') ??
      (this.#enforce && late
        ? { status: this.#wire.limits.rest?.status ?? 429, retryAfterS: late }
        : undefined)
    if (refusal) {
      if (refusal.status !== 451) this.limits.tellToWait('rest', refusal.retryAfterS)
      return {
        status: refusal.status,
        body: `{"error":${JSON.stringify(REASONS[refusal.status])}}`,
        headers: { 'retry-after': String(refusal.retryAfterS) },
      }
    }
    const answer = this.#wire.rest({
      path,
      query,
      markets: this.#find,
      bookOf: (market) => this.floor.bookOf(market),
    })
    if (!answer) return { status: 404, body: '{"error":"not found"}' }
    return this.injections.holds('big-id', {})
      ? { ...answer, body: withBigIds(answer.body, this.#wire.dialect) }
      : answer
  }

  #refusal(where: 'handshake' | 'rest'): { status: number; retryAfterS: number } | undefined {
    for (const fault of ['429', '418', '451'] as const) {
      const injection = this.injections.take(fault, { where })
      if (injection) return { status: Number(fault), retryAfterS: injection.options.retryAfterS ?? 1 }
    }
    return undefined
  }

  async close(): Promise<void> {
    this.pump.close()
    this.injections.endAll()
    for (const timer of this.#timers.splice(0)) clearInterval(timer)
    for (const client of this.floor.clients) client.terminate()
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}
