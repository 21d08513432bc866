import { setTimeout as delay } from 'node:timers/promises'
import { FeedgateError } from '../errors.ts'
import type { Database } from './database.ts'
import { setUpTimescale } from './hypertables.ts'
import { migrate } from './migrate.ts'
import {
  checkUrl,
  connectOnce,
  isRefusedLogin,
  lossOf,
  PgConnections,
  placeOf,
  unavailable,
} from './pg-connections.ts'
import { checkStoreSettings, DEFAULT_STORE_SETTINGS, type StoreSettings } from './settings.ts'
import { TimescaleUpkeep } from './timescale-upkeep.ts'

/** How long a call waits for the server before it fails with `store-unavailable`. */
const PATIENCE_MS = 30_000
const LOCK = 7_235_611
const RETRY_BASE_MS = 100
const RETRY_CAP_MS = 2_000

/**
 * Three pools, so that nobody waits for a kind of work that is not his: slow reads of history neither hold up recording
 * nor the short statements of keys and leases.
 */
const READ_TIMEOUT_MS = 30_000
const OWN_CONNECTIONS = 4
const OWN_TIMEOUT_MS = 10_000
/** One records; the other is for what is derived meanwhile. */
const RECORDING_CONNECTIONS = 2
const RECORDING_TIMEOUT_MS = 20_000

/** What we ask of a logger. */
interface Log {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export interface PgDatabaseOptions {
  readonly url: string
  readonly settings?: StoreSettings
  readonly log?: Log
  readonly patienceMs?: number
}

/**
 * A server of PostgreSQL's kind. Opened and migrated from the moment of the call, and for ever tried again while it is
 * away; `ready` rejects only when it refuses the login at the first start, or its schema is not ours. Throws
 * `bad-setting` for a url that is none.
 */
export class PgDatabase implements Database {
  readonly sql: PgConnections
  readonly reads: PgConnections
  readonly recording: PgConnections
  readonly #url: string
  readonly #settings: StoreSettings
  readonly #log: Log | undefined
  readonly #upkeep: TimescaleUpkeep
  #isTimescale = false
  readonly #closing = new AbortController()
  #fault: string | undefined = 'opening'
  #ready: Promise<void>
  #closed: Promise<void> | undefined

  constructor({ url, settings = DEFAULT_STORE_SETTINGS, log, patienceMs = PATIENCE_MS }: PgDatabaseOptions) {
    checkUrl(url)
    checkStoreSettings(settings)
    this.#url = url
    this.#settings = settings
    this.#log = log
    const pool = (max: number, statementTimeoutMs: number) =>
      new PgConnections({
        ...{ url, max, statementTimeoutMs, patienceMs },
        opened: (deadline) => this.#opened(deadline),
        lost: (reason) => this.#lost(reason),
      })
    this.sql = pool(OWN_CONNECTIONS, OWN_TIMEOUT_MS)
    this.reads = pool(settings.connections, READ_TIMEOUT_MS)
    this.recording = pool(RECORDING_CONNECTIONS, RECORDING_TIMEOUT_MS)
    this.#upkeep = new TimescaleUpkeep(url, this.sql, settings, log)
    this.#ready = this.#open(true)
    // Whoever needs the store asks for `ready`; without such a one a failure is no unhandled rejection.
    this.#ready.catch(() => undefined)
  }

  ready(): Promise<void> {
    return this.#ready
  }

  fault(): string | undefined {
    return this.#fault
  }

  warnings(): readonly string[] {
    return this.#upkeep.warnings()
  }

  aggregates(): boolean {
    return this.#isTimescale
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#fault = 'closed'
    this.#closing.abort()
    await this.#ready.catch(() => undefined)
    await this.#upkeep.stop()
    await Promise.all([this.sql.close(), this.reads.close(), this.recording.close()])
  }

  /** Until it is open. Rejects when trying again cannot help. */
  async #open(isFirst: boolean): Promise<void> {
    for (let attempt = 0; !this.#closing.signal.aborted; attempt++) {
      try {
        await this.#openOnce()
        return
      } catch (error) {
        const reason = lossOf(error)
        if (reason === undefined || (isFirst && isRefusedLogin(error))) {
          this.#fault = 'cannot be opened'
          throw cannotOpen(this.#url, error)
        }
        if (attempt === 0) this.#log?.warn({ reason }, 'the database is away, trying again for ever')
        this.#setFault(reason)
      }
      await delay(backoffMs(attempt), undefined, { signal: this.#closing.signal }).catch(() => undefined)
    }
    throw unavailable('closed')
  }

  async #openOnce(): Promise<void> {
    const began = performance.now()
    const session = await connectOnce(this.#url)
    const end = () => void session.end()
    this.#closing.signal.addEventListener('abort', end)
    try {
      // Programs that start at the same time take turns; the lock goes with the session.
      await session.query('select pg_advisory_lock($1::bigint)', [LOCK])
      const applied = await migrate(session)
      this.#isTimescale = await setUpTimescale(session, this.#settings, this.#log)
      this.#setFault(undefined)
      if (this.#isTimescale) this.#upkeep.start()
      const ms = Math.round(performance.now() - began)
      this.#log?.info({ applied, timescale: this.#isTimescale, ms }, 'store is open')
    } finally {
      this.#closing.signal.removeEventListener('abort', end)
      await session.end()
    }
  }

  #lost(reason: string): void {
    // While it is away somebody is trying already.
    if (this.#fault !== undefined) return
    this.#fault = reason
    this.#ready = this.#open(false)
    this.#ready.catch(() => undefined)
  }

  #setFault(reason: string | undefined): void {
    if (!this.#closing.signal.aborted) this.#fault = reason
  }

  async #opened(deadline: number): Promise<void> {
    if (this.#closing.signal.aborted) throw unavailable('closed')
    if (this.#fault === undefined) return
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const error = () => reject(unavailable(this.#fault ?? 'busy'))
      timer = setTimeout(error, Math.max(0, deadline - performance.now()))
    })
    try {
      await Promise.race([this.#ready, late])
    } finally {
      clearTimeout(timer)
    }
  }
}

function backoffMs(attempt: number): number {
  return Math.random() * Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** Math.min(attempt, 10))
}

function cannotOpen(url: string, cause: unknown): FeedgateError {
  if (cause instanceof FeedgateError) return cause
  const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
  return new FeedgateError(
    isRefusedLogin(cause) ? 'bad-setting' : 'store-unavailable',
    `the database at ${placeOf(url)} cannot be opened (${reason}): correct DATABASE_URL, or the database`,
    { cause },
  )
}
