import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Auth, TierName } from './auth/auth.ts'
import { type AuthOptions, createAuth, type WatchingAuth } from './auth/create-auth.ts'
import { runRelay } from './cache/relay.ts'
import { now } from './clock.ts'
import type { Config } from './config.ts'
import { loadConnectors } from './connectors/registry.ts'
import { type DataDir, openDataDir } from './data-dir.ts'
import { DEMO_SOURCES } from './demo.ts'
import { type Counters, type Engines, isClustered, openCounters, openEngines, openStore } from './engines.ts'
import { FeedgateError } from './errors.ts'
import type { Log, OperationsPorts } from './gateway/gateway.ts'
import { createOperationsServer, createServer } from './gateway/server.ts'
import { type ClientHub, createHub } from './gateway/ws/hub.ts'
import { webSocketRoutes } from './gateway/ws/routes.ts'
import { createManager, type OwningManager, prepareConnectors } from './manager/create-manager.ts'
import type { Manager, SourceSpec } from './manager/manager.ts'
import { serveNodes } from './manager/nodes.ts'
import { createRemoteManager } from './manager/remote.ts'
import { createMetrics } from './metrics/metrics.ts'
import { ROLES, type Role } from './roles.ts'
import { loadSecrets, randomSecret, type Secrets } from './secrets.ts'
import { runRecorder } from './store/recorder.ts'
import type { Store } from './store/store.ts'
import type { Tracing } from './tracing/tracing.ts'
import { openTunnel, type Passage, serveTunnels, type TunnelOptions } from './tunnel.ts'
import { createVault, type Vault } from './vault.ts'
import { VERSION } from './version.ts'

export { openStore }

/** The program: its parts, put together as the roles ask. */
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

/** Keys and tenants without a gateway, for commands. */
export async function openAuth(config: Config): Promise<{ auth: Auth; store: Store }> {
  const store = await openStore(config, SILENT)
  const auth = buildAuth({ config, secrets: loadSecrets(config), store }, { licence: () => 'open' })
  return { store, auth }
}

export async function createApp(config: Config, roles: ReadonlySet<Role>, log: Log): Promise<App> {
  refuseSomeRoles(config, roles)
  const dataDir = openDataDir(config.dataDir)
  let engines: Engines | undefined
  try {
    const secrets = loadSecrets(config)
    engines = await openEngines(config, dataDir, log)
    return await assemble({ config, roles, log, dataDir, secrets, engines })
  } catch (error) {
    await engines?.close()
    dataDir.release()
    throw error
  }
}

interface Parts {
  readonly config: Config
  readonly roles: ReadonlySet<Role>
  readonly log: Log
  readonly dataDir: DataDir
  readonly secrets: Secrets
  readonly engines: Engines
}

async function assemble(parts: Parts): Promise<App> {
  const { config, roles, log, dataDir, secrets, engines } = parts
  const { bus, store, cache, positions } = engines
  const owner = roles.has('ingest') ? await createOwner(parts) : undefined
  // Where several nodes run sources, what clients see of them is what all nodes report.
  const remote = isClustered(config) ? createRemoteManager(store.sql, log) : undefined
  const manager = (remote ?? owner)!
  const metrics = createMetrics()
  const tracing = await openTracing(config)
  const operations: OperationsPorts = {
    log,
    version: VERSION,
    metrics: () => metrics.text(),
    warnings: () => store.warnings(),
    readiness: () => ({
      ...engines.faults(),
      ...(remote && roles.has('gateway') && { sources: remote.fault() }),
    }),
  }
  const demoKeys = config.demo ? TIERS.map((tier) => ({ tier, key: demoKey(tier) })) : []
  const localAdminKey = randomSecret()
  const gateway = roles.has('gateway')
    ? await createGateway(parts, manager, operations, demoKeys, localAdminKey)
    : undefined
  const server = gateway?.server ?? (await createOperationsServer(operations))

  const endTunnels = owner && serveTunnels(server.server, tunnelOptions(parts, owner))

  const ingest = new AbortController()
  const readers = new AbortController()
  const running: Promise<void>[] = []
  let stopped: Promise<void> | undefined

  const start = async () => {
    // Everything that reads the bus is there before the first event is published: nothing is missed.
    if (roles.has('recorder')) running.push(runRecorder({ bus, store, positions, log }, ingest.signal))
    if (roles.has('relay')) running.push(runRelay({ bus, cache }, readers.signal))
    if (gateway) running.push(gateway.run(readers.signal))
    // Clients that come back at once are not told that their symbols are unknown.
    if (gateway && remote) await remote.start()
    await listen(server, config)
    if (gateway) dataDir.announce({ url: urlOf(server, config), adminKey: localAdminKey })
    await owner?.start()
    if (owner && owner !== manager)
      running.push(serveNodes({ manager: owner, sql: store.sql, node: dataDir.node, log }, readers.signal))
    store.ready().catch((error: Error) => log.error({ error: error.message }, 'the store cannot be opened'))
  }

  const stop = async () => {
    await gateway?.hub.close(CLIENT_GRACE_MS)
    gateway?.counters.close()
    await owner?.close()
    ingest.abort()
    readers.abort()
    await manager.close()
    await Promise.allSettled(running)
    endTunnels?.()
    await server.close().catch(() => undefined)
    await engines.close()
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
    greeting: () => greeting(config, roles, urlOf(server, config), demoKeys, secrets),
  }
}

/** The manager that runs sources. Throws `bad-setting` for what `sources` cannot be. */
async function createOwner({ config, log, engines, secrets }: Parts): Promise<OwningManager> {
  const vault = createVault(secrets.secretsKey)
  const connectors = await loadConnectors()
  const sources = config.sources ? specsOf(config.sources, vault) : config.demo ? DEMO_SOURCES : []
  await prepareConnectors(connectors, sources)
  const { bus, desired, positions, leases } = engines
  return createManager({
    connectors,
    bus,
    sources,
    desired,
    positions,
    leases,
    vault,
    via: (node) => ({
      node,
      connect: (host, port) => openTunnel(node, secrets.jwtSecret, host, port),
    }),
    log,
  })
}

/** Other nodes may go where this one goes, and where its settings let them. */
function tunnelOptions({ config, secrets, log }: Parts, owner: OwningManager): TunnelOptions {
  const free: Passage = { waitMs: () => 0, spend: () => () => {} }
  return {
    secret: secrets.jwtSecret,
    log,
    passage: (to) => owner.passage(to) ?? (config.tunnelTo?.includes(to) ? free : undefined),
  }
}

/** Credentials leave the settings sealed. */
function specsOf(sources: NonNullable<Config['sources']>, vault: Vault): readonly SourceSpec[] {
  return sources.map(
    ({ credentials, ...spec }) =>
      ({ ...spec, ...(credentials && { credentials: vault.seal(credentials) }) }) as SourceSpec,
  )
}

interface Gateway {
  readonly server: FastifyInstance
  readonly hub: ClientHub
  readonly counters: Counters
  run(signal: AbortSignal): Promise<void>
}

/** What clients connect to, not yet listening. */
async function createGateway(
  { config, dataDir, secrets, engines, log }: Parts,
  manager: Manager,
  operations: OperationsPorts,
  demoKeys: readonly { tier: TierName; key: string }[],
  localAdminKey: string,
): Promise<Gateway> {
  const { store, cache } = engines
  const counters = await openCounters(config, dataDir.node, log)
  const auth = buildAuth(
    { config, secrets, store },
    {
      licence: (id) => manager.licence(id),
      demoKeys,
      localAdminKeys: [localAdminKey],
      ...(counters.tickets && { tickets: counters.tickets }),
    },
  )
  const ports = {
    ...operations,
    auth,
    limits: counters.limits,
    manager,
    seal: createVault(secrets.secretsKey).seal,
    cache,
    store,
    demo: config.demo,
    now,
  }
  const allowedOrigins = config.allowedOrigins?.split(',')
  const hub = createHub(ports, allowedOrigins ? { allowedOrigins } : {}, counters.peers)
  const server = await createServer({ ...ports, clients: hub.clients }, [webSocketRoutes(ports, hub)])
  const run = async (signal: AbortSignal) => {
    // Keys and ceilings are changed at other nodes too.
    await Promise.all([hub.run(signal), ...(config.databaseUrl ? [auth.watch(signal)] : [])])
  }
  return { server, hub, counters, run }
}

type AuthParts = Pick<AuthOptions, 'licence' | 'tickets'> & {
  readonly demoKeys?: AuthOptions['demoKeys']
  readonly localAdminKeys?: readonly string[]
}

function buildAuth(
  { config, secrets, store }: { config: Config; secrets: Secrets; store: Store },
  { licence, tickets, demoKeys = [], localAdminKeys = [] }: AuthParts,
): WatchingAuth {
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
    ...(tickets && { tickets }),
  })
}

/** OpenTelemetry is not loaded unless somebody wants traces. */
async function openTracing(config: Config): Promise<Tracing | undefined> {
  const { otelExporterOtlpEndpoint: endpoint, traceRatio: ratio } = config
  if (endpoint === undefined) return undefined
  const { createOtelTracing } = await import('./tracing/otel.ts')
  return createOtelTracing({ endpoint, ratio, version: VERSION })
}

function refuseSomeRoles(config: Config, roles: ReadonlySet<Role>): void {
  const lacking = ROLES.filter((role) => !roles.has(role))
  if (lacking.length === 0 || isClustered(config)) return
  const engines = {
    DATABASE_URL: config.databaseUrl,
    KAFKA_BROKERS: config.kafkaBrokers,
    REDIS_URL: config.redisUrl,
  }
  const missing = Object.entries(engines).flatMap(([name, value]) => (value ? [] : [name]))
  throw new FeedgateError(
    'bad-setting',
    `--roles lacks ${lacking.join(', ')}: a process with some of the roles needs engines that it shares with the others, set ${missing.join(', ')} too`,
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
  roles: ReadonlySet<Role>,
  url: string,
  demoKeys: readonly { tier: TierName; key: string }[],
  secrets: Secrets,
): readonly string[] {
  const some = roles.size < ROLES.length ? ` (${[...roles].join(', ')})` : ''
  const lines = [`feedgate ${VERSION} is ready at ${url}/${some}`]
  if (!config.demo) return lines
  lines.push('', 'Demo mode: simulated sources; these keys live until the next start.')
  for (const { tier, key } of demoKeys) lines.push(`  ${tier.padEnd(13)} ${key}`)
  if (config.adminApiKey === undefined) lines.push(`  ${'admin'.padEnd(13)} ${secrets.adminApiKey}`)
  lines.push('', `Try: npx wscat -c ${url.replace('http', 'ws')}/ws/odds`)
  lines.push('     { "type": "subscribe", "eventId": "MATCH_002" }')
  return lines
}

export const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
