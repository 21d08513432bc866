import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import type { Auth, TierName } from './auth/auth.ts'
import { createAuth } from './auth/create-auth.ts'
import { createRateLimits } from './auth/rate-limit.ts'
import { createEmbeddedBus } from './bus/embedded.ts'
import { Spool } from './bus/spool.ts'
import { createMemoryCache } from './cache/memory.ts'
import { runRelay } from './cache/relay.ts'
import { now } from './clock.ts'
import type { Config } from './config.ts'
import { loadConnectors } from './connectors/registry.ts'
import { openDataDir } from './data-dir.ts'
import { DEMO_SOURCES } from './demo.ts'
import { FeedgateError } from './errors.ts'
import type { GatewayPorts, Log } from './gateway/gateway.ts'
import { createServer } from './gateway/server.ts'
import { createHub } from './gateway/ws/hub.ts'
import { webSocketRoutes } from './gateway/ws/routes.ts'
import { createManager } from './manager/create-manager.ts'
import { openDesiredState } from './manager/desired-state.ts'
import { createMemoryLeases } from './manager/leases.ts'
import type { SourceSpec } from './manager/manager.ts'
import { openPositions } from './manager/positions-file.ts'
import { createMetrics } from './metrics/metrics.ts'
import { loadSecrets, randomSecret, type Secrets } from './secrets.ts'
import { createPgliteStore } from './store/pglite.ts'
import { runRecorder } from './store/recorder.ts'
import type { Store } from './store/store.ts'
import type { Tracing } from './tracing/tracing.ts'
import { VERSION } from './version.ts'

export const ROLES = ['ingest', 'recorder', 'relay', 'analytics', 'gateway'] as const
export type Role = (typeof ROLES)[number]

/** The whole program: adapters are chosen here and nowhere else. */
export interface App {
  /** Clients are served when this resolves; the store may still be opening. */
  start(): Promise<void>
  /** One path for every end; safe to call twice. */
  stop(): Promise<void>
  /** What a person sees at the start: the URL, and in demo mode the keys. */
  greeting(): readonly string[]
}

const TIERS: readonly TierName[] = ['basic', 'premium', 'institutional']
/** Clients get this long to close by themselves before their sockets are ended. */
const CLIENT_GRACE_MS = 300

export function openStore(config: Config, log: Log = SILENT): Store {
  refuseOtherEngines(config)
  return createPgliteStore({ dataDir: config.dataDir, log })
}

/** Keys and tenants without a gateway, for commands. */
export function openAuth(config: Config): { auth: Auth; store: Store } {
  const store = openStore(config)
  return { store, auth: buildAuth(config, loadSecrets(config), store, [], [], () => 'open') }
}

export async function createApp(config: Config, roles: ReadonlySet<Role>, log: Log): Promise<App> {
  refuseOtherEngines(config)
  refuseSomeRoles(roles)
  const dataDir = openDataDir(config.dataDir)
  try {
    return await assemble(config, log, dataDir)
  } catch (error) {
    dataDir.release()
    throw error
  }
}

async function assemble(config: Config, log: Log, dataDir: ReturnType<typeof openDataDir>): Promise<App> {
  const secrets = loadSecrets(config)
  const demoKeys = config.demo ? TIERS.map((tier) => ({ tier, key: demoKey(tier) })) : []
  const localAdminKey = randomSecret()
  const metrics = createMetrics()
  const tracing = await openTracing(config)
  const spool = new Spool(join(config.dataDir, 'spool'))
  const bus = createEmbeddedBus({ spool })
  const cache = createMemoryCache()
  const positions = openPositions(join(config.dataDir, 'positions'))
  // What the spool holds will be stored before anything new: it counts as stored from here on.
  positions.stored(spool.recovered)
  const manager = createManager({
    connectors: await loadConnectors(),
    bus,
    sources: (config.sources as readonly SourceSpec[] | undefined) ?? (config.demo ? DEMO_SOURCES : []),
    desired: openDesiredState(join(config.dataDir, 'sources.json')),
    positions,
    leases: createMemoryLeases(now),
    log,
  })
  // Behind what may refuse the settings: it starts a thread.
  const store = openStore(config, log)
  const auth = buildAuth(config, secrets, store, demoKeys, [localAdminKey], (id) => manager.licence(id))
  const ports: GatewayPorts = {
    auth,
    limits: createRateLimits(),
    manager,
    cache,
    store,
    log,
    demo: config.demo,
    version: VERSION,
    metrics: () => metrics.text(),
    readiness: () => ({ store: store.fault() }),
    now,
  }
  const hub = createHub(ports)
  const server = await createServer(ports, [webSocketRoutes(ports, hub)])

  const ingest = new AbortController()
  const readers = new AbortController()
  const running: Promise<void>[] = []
  let stopped: Promise<void> | undefined

  const start = async () => {
    // Everything that reads the bus is there before the first event is published: nothing is missed.
    running.push(
      runRecorder({ bus, store, positions, log }, ingest.signal),
      runRelay({ bus, cache }, readers.signal),
      hub.run(readers.signal),
    )
    await listen(server, config)
    dataDir.announce({ url: urlOf(server, config), adminKey: localAdminKey })
    await manager.start()
    store.ready().catch((error: Error) => log.error({ error: error.message }, 'the store cannot be opened'))
  }

  const stop = async () => {
    await hub.close(CLIENT_GRACE_MS)
    await manager.close()
    ingest.abort()
    readers.abort()
    await Promise.allSettled(running)
    await Promise.allSettled([server.close(), bus.close(), cache.close()])
    await store.close()
    positions.close()
    await tracing?.close()
    metrics.close()
    dataDir.release()
  }

  return {
    start,
    stop: () => {
      stopped ??= stop()
      return stopped
    },
    greeting: () => greeting(config, urlOf(server, config), demoKeys, secrets),
  }
}

function buildAuth(
  config: Config,
  secrets: Secrets,
  store: Store,
  demoKeys: readonly { tier: TierName; key: string }[],
  localAdminKeys: readonly string[],
  licence: (source: string) => 'open' | 'restricted' | undefined,
): Auth {
  const { jwtExternalIssuer: issuer, jwtAudience: audience, jwtPublicKey, jwksUrl } = config
  return createAuth({
    store,
    jwtSecret: secrets.jwtSecret,
    jwtIssuer: config.jwtIssuer,
    ...((jwtPublicKey || jwksUrl) && issuer && audience
      ? { external: { publicKey: jwtPublicKey, jwksUrl, issuer, audience, admin: config.jwtExternalAdmin } }
      : {}),
    adminApiKeys: [secrets.adminApiKey, ...localAdminKeys],
    ...(config.anonymousTier === 'none'
      ? {}
      : { anonymous: { tier: config.anonymousTier, tenant: config.demo ? 'demo' : 'anonymous' } }),
    licence,
    demoKeys,
  })
}

/** Nothing of OpenTelemetry is loaded unless somebody wants traces. */
async function openTracing(config: Config): Promise<Tracing | undefined> {
  const { otelExporterOtlpEndpoint: endpoint, traceRatio: ratio } = config
  if (endpoint === undefined) return undefined
  const { createOtelTracing } = await import('./tracing/otel.ts')
  return createOtelTracing({ endpoint, ratio, version: VERSION })
}

/** Also for commands: none may work on a database that was not meant. */
function refuseOtherEngines(config: Config): void {
  for (const [setting, value] of Object.entries({
    DATABASE_URL: config.databaseUrl,
    KAFKA_BROKERS: config.kafkaBrokers,
    REDIS_URL: config.redisUrl,
  })) {
    if (value)
      throw new FeedgateError(
        'bad-setting',
        `setting ${setting} is set, but this version runs on its embedded engines only: unset it`,
      )
  }
}

function refuseSomeRoles(roles: ReadonlySet<Role>): void {
  if (ROLES.some((role) => !roles.has(role)))
    throw new FeedgateError(
      'bad-setting',
      `--roles lacks ${ROLES.filter((role) => !roles.has(role)).join(', ')}: on the embedded engines one process runs all of ${ROLES.join(',')}`,
    )
}

async function listen(server: FastifyInstance, config: Config): Promise<void> {
  try {
    await server.listen({ port: config.port, host: config.host })
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    const why = code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be listened on (${code})`
    throw new FeedgateError(
      'port-unavailable',
      `port ${config.port} of ${config.host} ${why}: give a free one as PORT (0 takes any)`,
      { cause },
    )
  }
}

function urlOf(server: FastifyInstance, config: Config): string {
  const { port } = server.server.address() as AddressInfo
  const host = config.host === '127.0.0.1' || config.host === '0.0.0.0' ? 'localhost' : config.host
  return `http://${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}`
}

function demoKey(tier: TierName): string {
  return `fg_${tier}_${randomSecret().replace(/[^A-Za-z0-9]/g, 'x')}`
}

function greeting(
  config: Config,
  url: string,
  demoKeys: readonly { tier: TierName; key: string }[],
  secrets: Secrets,
): readonly string[] {
  const lines = [`feedgate ${VERSION} is ready at ${url}/`]
  if (!config.demo) return lines
  lines.push('', 'Demo mode: simulated sources; these keys live until the next start.')
  for (const { tier, key } of demoKeys) lines.push(`  ${tier.padEnd(13)} ${key}`)
  if (config.adminApiKey === undefined) lines.push(`  ${'admin'.padEnd(13)} ${secrets.adminApiKey}`)
  lines.push('', `Try: npx wscat -c ${url.replace('http', 'ws')}/ws/odds`)
  lines.push('     { "type": "subscribe", "eventId": "MATCH_002" }')
  return lines
}

const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
