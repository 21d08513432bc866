import { cpSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyInstance, InjectOptions } from 'fastify'
import type { TierName } from '../../../src/auth/auth.ts'
import { createAuth } from '../../../src/auth/create-auth.ts'
import { createRateLimits } from '../../../src/auth/rate-limit.ts'
import { createMemoryCache } from '../../../src/cache/memory.ts'
import type { Instrument } from '../../../src/connectors/connector.ts'
import { FeedgateError } from '../../../src/errors.ts'
import type { RestPorts } from '../../../src/gateway/gateway.ts'
import { noPeers } from '../../../src/gateway/peers.ts'
import { createServer } from '../../../src/gateway/server.ts'
import { LiveClients } from '../../../src/gateway/ws/clients.ts'
import type { Manager, SourceRequest, SourceStatus, TopicState } from '../../../src/manager/manager.ts'
import type { EncodedEvent } from '../../../src/market/encoded-event.ts'
import { type Topic, topicOf } from '../../../src/market/topic.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { createPgliteStore } from '../../../src/store/pglite.ts'
import type { Store } from '../../../src/store/store.ts'
import { createVault } from '../../../src/vault.ts'

export const ADMIN_KEY = 'test-admin-key-of-more-than-32-bytes'
const TIERS: readonly TierName[] = ['basic', 'premium', 'institutional']

/** Sources as a test says they are; what is asked of them is noted. */
export class Desk {
  readonly topics: { topic: Topic; state: TopicState }[] = []
  readonly licences = new Map<string, 'open' | 'restricted'>()
  readonly asked: { act: string; request: SourceRequest }[] = []
  /** What the next act is answered with. */
  refusal: FeedgateError | undefined

  carry(topic: Topic, state: TopicState = 'live', licence: 'open' | 'restricted' = 'open'): Topic {
    this.topics.push({ topic, state })
    this.licences.set(topic.source, licence)
    return topic
  }

  statusOf(id: string): SourceStatus {
    return {
      id,
      kind: 'simulator',
      licence: this.licences.get(id) ?? 'open',
      state: 'connected',
      reason: '',
      since: 1_704_067_200_000_000,
      attempt: 0,
      topics: this.topics
        .filter(({ topic }) => topic.source === id)
        .map(({ topic, state }) => ({
          channel: topic.channel,
          symbol: topic.publicSubject,
          ...(topic.timeframe === undefined ? {} : { timeframe: topic.timeframe }),
          state,
          epoch: null,
          seq: null,
          lastReceivedTime: null,
        })),
    }
  }

  /** By source. */
  readonly instruments = new Map<string, readonly Instrument[]>()

  manager(): Manager {
    const act = (name: string) => async (request: SourceRequest) => {
      this.asked.push({ act: name, request })
      const { refusal } = this
      this.refusal = undefined
      if (refusal) throw refusal
      const created = !this.licences.has(request.exchangeId)
      this.licences.set(request.exchangeId, 'open')
      return { created, status: this.statusOf(request.exchangeId) }
    }
    const status = (id?: string) => {
      if (id === undefined) return [...this.licences.keys()].map((one) => this.statusOf(one))
      return this.licences.has(id) ? this.statusOf(id) : undefined
    }
    return {
      connect: act('connect'),
      disconnect: act('disconnect'),
      subscribe: act('subscribe'),
      unsubscribe: act('unsubscribe'),
      rotate: act('rotate'),
      status: status as Manager['status'],
      topics: () => this.topics.map(({ topic }) => topic),
      licence: (source) => this.licences.get(source),
      instruments: async (source) => this.instruments.get(source),
      notifications: () => [{ time: 1, source: 'quiet', what: 'retries exhausted' }],
      start: async () => {},
      close: async () => {},
    }
  }
}

export interface TestGateway {
  readonly server: FastifyInstance
  readonly ports: RestPorts
  readonly desk: Desk
  /** Keys of tenant `demo`. */
  readonly keys: Readonly<Record<TierName, string>>
  /** A key of tenant `demo` that nobody used yet: its limits are untouched. */
  newKey(tier: TierName): Promise<string>
  /** Into the store and the cache, as recorder and relay would. */
  publish(events: readonly EncodedEvent[]): Promise<void>
  get(path: string, key?: string, headers?: Record<string, string>): Promise<Answer>
  call(options: InjectOptions, key?: string): Promise<Answer>
  close(): Promise<void>
}

export interface Answer {
  readonly status: number
  readonly headers: Record<string, unknown>
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into every kind of answer
  readonly body: any
}

export interface GatewayOptions {
  readonly demo?: boolean
  readonly anonymous?: boolean
  readonly store?: Store
  readonly readiness?: () => Record<string, string | undefined>
}

/** The real server on real auth, limits, cache, metrics and store; only sources are the test's own. */
/** Making a database takes seconds, copying one does not; see `test/database-template.ts`. */
function preparedFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'feedgate-rest-'))
  const template = process.env.FEEDGATE_TEST_DATABASE
  if (template) cpSync(template, join(folder, 'pglite'), { recursive: true })
  return folder
}

export async function startRest(options: GatewayOptions = {}): Promise<TestGateway> {
  const { demo = true, anonymous = true } = options
  const store = options.store ?? createPgliteStore({ dataDir: preparedFolder() })
  const cache = createMemoryCache()
  const desk = new Desk()
  const metrics = createMetrics()
  const keys = Object.fromEntries(TIERS.map((tier) => [tier, `fg_${tier}_${'k'.repeat(40)}`])) as Record<
    TierName,
    string
  >
  const manager = desk.manager()
  const auth = createAuth({
    store,
    jwtSecret: 'test-jwt-secret-of-more-than-32-bytes',
    jwtIssuer: 'feedgate',
    adminApiKeys: [ADMIN_KEY],
    ...(anonymous ? { anonymous: { tier: 'basic', tenant: demo ? 'demo' : 'anonymous' } } : {}),
    licence: (source) => manager.licence(source),
    demoKeys: TIERS.map((tier) => ({ tier, key: keys[tier] })),
  })
  const ports: RestPorts = {
    auth,
    limits: createRateLimits(),
    manager,
    seal: createVault('a key of the tests, long enough for one').seal,
    cache,
    store,
    clients: new LiveClients(noPeers('here'), 1),
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    demo,
    version: '1.2.3',
    metrics: () => metrics.text(),
    readiness: options.readiness ?? (() => ({ store: store.fault() })),
    warnings: () => store.warnings(),
    now: () => Date.now() * 1_000,
  }
  const server = await createServer(ports)
  const call = async (request: InjectOptions, key?: string): Promise<Answer> => {
    const headers = { ...(key ? { 'x-api-key': key } : {}), ...request.headers }
    const response = await server.inject({ ...request, headers })
    const { statusCode: status, payload: text } = response
    const json = String(response.headers['content-type'] ?? '').includes('json') && !text.includes('\n')
    return { status, headers: response.headers, text, body: json && text ? JSON.parse(text) : undefined }
  }
  return {
    server,
    ports,
    desk,
    keys,
    newKey: async (tier) => (await auth.createKey({ tenant: 'demo', tier })).key,
    publish: async (events) => {
      await store.record({ events, deadLetters: [] })
      await cache.apply(events)
    },
    call,
    get: (url, key = ADMIN_KEY, headers = {}) => call({ method: 'GET', url, headers }, key),
    close: async () => {
      await server.close()
      metrics.close()
      await store.close()
    },
  }
}

/** A store that is not open and never will be. */
export function closedStore(): Store {
  const unavailable = async () => {
    throw new FeedgateError('store-unavailable', 'the store is not open: try again', { retryAfterMs: 30_000 })
  }
  return {
    ready: unavailable,
    record: unavailable,
    history: unavailable,
    candles: unavailable,
    bookAt: unavailable,
    gaps: unavailable,
    oddsCurrent: unavailable,
    offsets: unavailable,
    positions: unavailable,
    latest: unavailable,
    warnings: () => [],
    sql: { query: unavailable, transaction: unavailable },
    fault: () => 'not open',
    close: async () => {},
  }
}

export const symbolTopic = (channel: 'ticker' | 'trades' | 'orderbook', symbol: string, source = 'sim') =>
  topicOf(source, channel, symbol)
