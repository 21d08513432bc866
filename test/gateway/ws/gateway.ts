import { once } from 'node:events'
import fastify, { type FastifyInstance } from 'fastify'
import { WebSocket } from 'ws'
import type { Auth, RateLimits, Tier, TierName } from '../../../src/auth/auth.ts'
import { createAuth } from '../../../src/auth/create-auth.ts'
import { createRateLimits } from '../../../src/auth/rate-limit.ts'
import { TIERS } from '../../../src/auth/tiers.ts'
import type { Cache } from '../../../src/cache/cache.ts'
import { createMemoryCache } from '../../../src/cache/memory.ts'
import type { GatewayPorts } from '../../../src/gateway/gateway.ts'
import { type ClientHub, createHub, type HubOptions } from '../../../src/gateway/ws/hub.ts'
import { webSocketRoutes } from '../../../src/gateway/ws/routes.ts'
import { BookFollower } from '../../../src/market/book-follower.ts'
import { encodeEvent } from '../../../src/market/encode.ts'
import type { EncodedEvent } from '../../../src/market/encoded-event.ts'
import type { Envelope, Payload } from '../../../src/market/event.ts'
import { type Topic, topicOf } from '../../../src/market/topic.ts'
import type { HistoryQuery, Page, Store, StoredBook, StoredEvent } from '../../../src/store/store.ts'

export const JWT_SECRET = 'test-jwt-secret-of-more-than-32-bytes'
export const KEYS: Readonly<Record<TierName, string>> = {
  basic: `fg_basic_${'b'.repeat(40)}`,
  premium: `fg_premium_${'p'.repeat(40)}`,
  institutional: `fg_institutional_${'i'.repeat(40)}`,
}

export interface GatewayOptions {
  readonly hub?: Partial<HubOptions>
  readonly tiers?: Readonly<Record<TierName, Tier>>
  readonly anonymous?: boolean
  readonly demo?: boolean
  readonly cache?: Cache
  /** What the store answers; else it has nothing. */
  readonly history?: Store['history']
  readonly bookAt?: Store['bookAt']
}

export const now = () => Math.round((performance.timeOrigin + performance.now()) * 1_000)

/** The real hub, routes, cache, auth and limits behind a real server; only the sources are the test's own. */
export class TestGateway {
  readonly cache: Cache
  readonly auth: Auth
  readonly limits: RateLimits
  readonly hub: ClientHub
  readonly topics = new Set<Topic>()
  readonly sources = new Map<string, 'open' | 'restricted'>()
  readonly logged: string[] = []
  readonly #server: FastifyInstance
  readonly #abort = new AbortController()
  readonly #positions = new Map<Topic, { epoch: number; seq: number }>()
  #running: Promise<void> | undefined
  port = 0
  revoke: (keyId: string) => void = () => {}

  constructor(options: GatewayOptions = {}) {
    this.cache = options.cache ?? createMemoryCache()
    this.auth = createAuth({
      // Keys of this test are the demo's: they need no store. Of what else is stored it has the ceilings of tenants.
      store: {
        sql: {
          query: async (text: string, [id, tier] = []) => ({
            rows: this.#ceilings(text, id, tier) as never[],
          }),
          transaction: async () => undefined as never,
        },
      },
      jwtSecret: JWT_SECRET,
      jwtIssuer: 'feedgate',
      adminApiKeys: [],
      ...(options.anonymous === false
        ? {}
        : {
            anonymous: { tier: 'basic', tenant: options.demo === false ? 'anonymous' : 'demo' },
          }),
      licence: (source) => this.sources.get(source),
      demoKeys: (Object.keys(KEYS) as TierName[]).map((tier) => ({ tier, key: KEYS[tier] })),
      ...(options.tiers ? { tiers: options.tiers } : {}),
    })
    const listeners = new Set<(keyId: string) => void>()
    this.revoke = (keyId) => {
      for (const listener of listeners) listener(keyId)
    }
    this.auth.onRevoked = (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    }
    this.limits = createRateLimits()
    const log = (fields: object, message: string) =>
      void this.logged.push(`${message} ${JSON.stringify(fields)}`)
    const ports = {
      auth: this.auth,
      limits: this.limits,
      manager: {
        topics: () => this.topics,
        licence: (source: string) => this.sources.get(source),
      },
      cache: this.cache,
      store: {
        history: options.history ?? (async () => ({ items: [], next: null })),
        bookAt: options.bookAt ?? (async () => undefined),
      },
      log: { debug: () => {}, info: () => {}, warn: log, error: log },
      demo: options.demo ?? true,
      version: '0.0.0',
      now,
    } as unknown as GatewayPorts
    this.hub = createHub(ports, options.hub)
    this.#server = fastify()
    this.#server.register(webSocketRoutes(ports, this.hub))
  }

  readonly #tiers = new Map<unknown, unknown>()
  #ceilings(text: string, id: unknown, tier: unknown): object[] {
    if (text.startsWith('INSERT INTO tenants')) this.#tiers.set(id, tier)
    return text.includes('tenants') && this.#tiers.has(id) ? [{ id, tier: this.#tiers.get(id) }] : []
  }

  async start(): Promise<this> {
    this.#running = this.hub.run(this.#abort.signal)
    await this.#server.listen({ port: 0, host: '127.0.0.1' })
    this.port = (this.#server.server.address() as { port: number }).port
    return this
  }

  async stop(): Promise<void> {
    await this.hub.close(300)
    this.#abort.abort()
    await this.#running
    await this.#server.close()
    await this.cache.close()
  }

  /** A topic that a source carries from now on. */
  carry(...parts: Parameters<typeof topicOf>): Topic {
    const topic = topicOf(...parts)
    this.topics.add(topic)
    if (!this.sources.has(topic.source)) {
      this.sources.set(topic.source, 'open')
      this.topics.add(topicOf(topic.source, 'source', topic.source))
    }
    return topic
  }

  /** The topic's next event. */
  event(topic: Topic, payload: Payload, extra: Partial<Envelope> = {}): EncodedEvent {
    const at = this.#positions.get(topic) ?? { epoch: 1_000, seq: 0 }
    const epoch = extra.epoch ?? at.epoch
    const seq = extra.seq ?? (epoch === at.epoch ? at.seq + 1 : 1)
    this.#positions.set(topic, { epoch, seq })
    const receivedTime = now()
    return encodeEvent(topic, { epoch, seq, receivedTime, publishedTime: receivedTime, ...extra }, payload)
  }

  async publish(topic: Topic, payload: Payload, extra: Partial<Envelope> = {}): Promise<EncodedEvent> {
    const event = this.event(topic, payload, extra)
    await this.cache.apply([event])
    return event
  }

  async client(
    options: { tier?: TierName; path?: string; headers?: Record<string, string> } = {},
  ): Promise<TestClient> {
    return this.connect(options).opened()
  }

  connect(options: { tier?: TierName; path?: string; headers?: Record<string, string> } = {}): TestClient {
    const headers = { ...options.headers, ...(options.tier ? { 'x-api-key': KEYS[options.tier] } : {}) }
    return new TestClient(`ws://127.0.0.1:${this.port}${options.path ?? '/ws'}`, headers)
  }
}

// biome-ignore lint/suspicious/noExplicitAny: what a socket says is looked at field by field
export type Said = Record<string, any>

/** Keeps every frame as it came, and what was in it. */
export class TestClient {
  readonly socket: WebSocket
  readonly frames: string[] = []
  /** Arrays are flattened. */
  readonly messages: Said[] = []
  readonly closed: Promise<number>

  constructor(url: string, headers: Record<string, string>) {
    this.socket = new WebSocket(url, { headers, perMessageDeflate: false })
    this.socket.on('error', () => {})
    this.socket.on('message', (data) => {
      const text = String(data)
      this.frames.push(text)
      const value = JSON.parse(text) as Said | Said[]
      if (Array.isArray(value)) this.messages.push(...value)
      else this.messages.push(value)
    })
    this.closed = new Promise((done) => this.socket.once('close', (code) => done(code)))
  }

  async opened(): Promise<this> {
    if (this.socket.readyState !== WebSocket.OPEN) await once(this.socket, 'open')
    return this
  }

  send(message: unknown): void {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message))
  }

  ofType(type: string): Said[] {
    return this.messages.filter((message) => message.type === type)
  }

  next(what: (message: Said) => boolean, after = 0): Promise<Said> {
    return until(() => this.messages.slice(after).find(what))
  }

  /** Sends and waits for the answer of this type. */
  async ask(message: Said, type: string): Promise<Said> {
    const before = this.messages.length
    this.send(message)
    return this.next((answer) => answer.type === type || answer.type === 'error', before)
  }

  /** Everything that the gateway wrote before now has come. */
  async settled(): Promise<void> {
    const before = this.messages.length
    this.send({ type: 'ping', id: `settle-${before}` })
    await this.next((m) => (m.type === 'pong' && m.id === `settle-${before}`) || m.code === 429, before)
  }
}

export async function until<T>(probe: () => T | undefined | false, timeoutMs = 5_000): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const answer = probe()
    if (answer !== undefined && answer !== false) return answer
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${probe}`)
    await new Promise((resume) => setTimeout(resume, 5))
  }
}

export const pause = (ms: number) => new Promise((resume) => setTimeout(resume, ms))

export function tier(name: TierName, changes: Partial<Tier> = {}): Readonly<Record<TierName, Tier>> {
  return { ...TIERS, [name]: { ...TIERS[name], ...changes } }
}

export const ticker = (last: string): Payload => ({ type: 'ticker', last })
export const trade = (id: number): Payload => ({
  type: 'trade',
  id: String(id),
  price: '1.50',
  size: '2',
  side: 'buy',
})

/** A store as far as clients see it: what was recorded, in pages. `record` is the recorder: it may lag behind. */
export class RecordedEvents {
  readonly events: EncodedEvent[] = []

  record(events: readonly EncodedEvent[]): void {
    this.events.push(...events)
  }

  readonly history = async (query: HistoryQuery): Promise<Page<StoredEvent>> => {
    const { channel, source, subject, from = 0, limit, cursor = '0' } = query
    const found = this.events.filter(
      ({ topic, receivedTime }) =>
        topic.channel === channel &&
        topic.source === source &&
        topic.subject === subject &&
        topic.timeframe === query.timeframe &&
        receivedTime >= from,
    )
    const end = Number(cursor) + limit
    const items = found.slice(Number(cursor), end).map(({ topic, epoch, seq, receivedTime, bytes }) => ({
      ...{ topic, epoch, seq, receivedTime, body: bytes.toString() },
    }))
    return { items, next: end < found.length ? String(end) : null }
  }

  readonly bookAt = async (topic: Topic, at: number): Promise<StoredBook | undefined> => {
    const book = new BookFollower<EncodedEvent>()
    for (const event of this.events) if (event.topic === topic && event.receivedTime <= at) book.apply(event)
    const image = book.image()
    if (!image) return undefined
    const { bids, asks, depth, last } = image
    return { bids, asks, depth, epoch: last.epoch, seq: last.seq, receivedTime: last.receivedTime }
  }
}
