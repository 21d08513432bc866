import type { Auth, RateLimits } from '../auth/auth.ts'
import type { Cache } from '../cache/cache.ts'
import type { Credentials } from '../connectors/connector.ts'
import type { Manager } from '../manager/manager.ts'
import type { Store } from '../store/store.ts'
import type { Clients } from './clients.ts'

/** What those who run a process see of it, whatever its roles. */
export interface OperationsPorts {
  readonly log: Log
  readonly version: string
  /** Prometheus text of `/metrics`. */
  metrics(): Promise<string>
  /** Each dependency of `/readyz` by name: undefined when it is well, else what is wrong with it. */
  readiness(): Readonly<Record<string, string | undefined>>
  /** What somebody should look at though everything is served; shown by `/readyz`. */
  warnings(): readonly string[]
}

/** All that the gateway sees of the rest of the program. */
export interface GatewayPorts extends OperationsPorts {
  readonly auth: Auth
  readonly limits: RateLimits
  readonly manager: Manager
  /** Venue credentials leave the edge sealed. */
  seal(credentials: Credentials): string
  readonly cache: Cache
  readonly store: Store
  /** Demo mode: the console may get a token of its own, see `rest/console.ts`. */
  readonly demo: boolean
  /** Wall clock, µs; a port so that tests can set it. */
  now(): number
}

/** And of who is connected. */
export interface RestPorts extends GatewayPorts {
  readonly clients: Clients
}

/** What we ask of a logger; pino is one. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** The client half of the gateway: one hub a process. */
export interface Hub {
  /** Reads the cache's fan-out until the signal ends. */
  run(signal: AbortSignal): Promise<void>
  /** Tells every client `shutdown`, closes with 4200 and waits at most `graceMs`. */
  close(graceMs: number): Promise<void>
}
