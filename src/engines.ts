import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { RateLimits } from './auth/auth.ts'
import { createRateLimits } from './auth/rate-limit.ts'
import type { Tickets } from './auth/tickets.ts'
import type { Bus } from './bus/bus.ts'
import { createEmbeddedBus } from './bus/embedded.ts'
import { Spool } from './bus/spool.ts'
import type { Cache } from './cache/cache.ts'
import { withStore } from './cache/fallback.ts'
import { createMemoryCache } from './cache/memory.ts'
import { now } from './clock.ts'
import type { Config } from './config.ts'
import type { DataDir } from './data-dir.ts'
import type { Log } from './gateway/gateway.ts'
import { noPeers, type Peers } from './gateway/peers.ts'
import { type DesiredState, openDesiredState } from './manager/desired-state.ts'
import { createStoredDesiredState } from './manager/desired-store.ts'
import { createMemoryLeases, type Leases } from './manager/leases.ts'
import { createPostgresLeases } from './manager/leases-postgres.ts'
import type { Positions } from './manager/positions.ts'
import { openPositions } from './manager/positions-file.ts'
import { createStorePositions } from './manager/positions-store.ts'
import { unstored } from './manager/unstored.ts'
import type { Store } from './store/store.ts'

/** Engines that nodes share: then roles can be split over processes, and several nodes can have the same role. */
export function isClustered({ databaseUrl, kafkaBrokers, redisUrl }: Config): boolean {
  return Boolean(databaseUrl && kafkaBrokers && redisUrl)
}

/** What the program stands on, chosen by the settings; nothing else names an adapter. */
export interface Engines {
  readonly bus: Bus
  readonly store: Store
  readonly cache: Cache
  /** What the manager keeps: in the database that nodes share, else in `DATA_DIR`. */
  readonly desired: DesiredState
  readonly positions: Positions
  readonly leases: Leases
  /** By name, for `/readyz`. */
  faults(): Readonly<Record<string, string | undefined>>
  /** Safe to call twice. What reads the bus must have ended. */
  close(): Promise<void>
}

/** All are opened at once and wait for what they need by themselves. An adapter's package is loaded when it is needed. */
export async function openEngines(config: Config, dataDir: DataDir, log: Log): Promise<Engines> {
  const { bus, spool } = await openBus(config, dataDir, log)
  const store = await openStore(config, log)
  const cache = await openCache(config, store, log)
  const { desired, positions, leases } = openKeeping(config, dataDir, { bus, spool, store }, log)
  return {
    bus,
    store,
    cache,
    desired,
    positions,
    leases,
    faults: () => ({
      store: store.fault(),
      ...(config.kafkaBrokers && { bus: bus.fault() }),
      ...(config.redisUrl && { cache: cache.fault() }),
    }),
    close: async () => {
      await leases.close()
      await Promise.allSettled([bus.close(), cache.close()])
      await store.close()
      positions.close()
    },
  }
}

/** What gateways count together and ask each other, where they have a place for it. */
export interface Counters {
  readonly limits: RateLimits
  /** Absent: tickets are this process's own. */
  readonly tickets?: Tickets
  readonly peers: Peers
  close(): void
}

export async function openCounters({ redisUrl: url }: Config, node: string, log: Log): Promise<Counters> {
  if (url === undefined) return { limits: createRateLimits(), peers: noPeers(node), close: () => {} }
  const { createRedisPeers } = await import('./gateway/peers-redis.ts')
  const { createRedisRateLimits } = await import('./auth/rate-limit-redis.ts')
  const { createRedisTickets } = await import('./auth/tickets-redis.ts')
  const limits = createRedisRateLimits({ url, log })
  const tickets = createRedisTickets({ url, log })
  const peers = createRedisPeers({ url, log, node })
  const close = () => {
    limits.close()
    tickets.close()
    peers.close()
  }
  return { limits, tickets, peers, close }
}

export async function openStore(
  { databaseUrl: url, dataDir, store: settings }: Config,
  log: Log,
): Promise<Store> {
  if (url !== undefined) {
    const { createPostgresStore } = await import('./store/postgres.ts')
    return createPostgresStore({ url, settings, log })
  }
  const { createPgliteStore } = await import('./store/pglite.ts')
  return createPgliteStore({ dataDir, log })
}

async function openBus(
  config: Config,
  dataDir: DataDir,
  log: Log,
): Promise<{ readonly bus: Bus; readonly spool: Spool | undefined }> {
  if (config.kafkaBrokers) {
    const { createKafkaBus } = await import('./bus/kafka.ts')
    // Of an earlier process that was killed. Nobody has seen it, and another node may have gone on without it: what the
    // gap behind it lacks is asked of the venue.
    if (isClustered(config)) rmSync(join(dataDir.path, 'spill'), { recursive: true, force: true })
    const clientId = `feedgate-${dataDir.node}`
    const brokers = config.kafkaBrokers.split(',')
    const bus = createKafkaBus({ ...config.kafka, brokers, clientId, dataDir: dataDir.path, log })
    return { bus, spool: undefined }
  }
  const spool = new Spool(join(dataDir.path, 'spool'))
  return { bus: createEmbeddedBus({ spool }), spool }
}

/** One that can be lost is backed by the store. */
async function openCache({ redisUrl: url }: Config, store: Store, log: Log): Promise<Cache> {
  if (url === undefined) return createMemoryCache()
  const { createRedisCache } = await import('./cache/redis.ts')
  return withStore(createRedisCache({ url, log }), store)
}

function openKeeping(
  config: Config,
  dataDir: DataDir,
  { bus, spool, store }: { bus: Bus; spool: Spool | undefined; store: Store },
  log: Log,
): Pick<Engines, 'desired' | 'positions' | 'leases'> {
  const waiting = () => unstored(bus, store)
  if (isClustered(config))
    return {
      desired: createStoredDesiredState(store.sql),
      positions: createStorePositions(store, waiting),
      leases: createPostgresLeases(store.sql, dataDir.node, log),
    }
  const positions = openPositions(join(dataDir.path, 'positions'), spool ? undefined : waiting)
  // What the spool holds will be stored before anything new: it counts as stored from here on.
  if (spool) positions.stored(spool.recovered)
  return {
    desired: openDesiredState(join(dataDir.path, 'sources.json')),
    positions,
    leases: createMemoryLeases(now),
  }
}
