import pg from 'pg'
import { FeedgateError } from '../errors.ts'
import type { RecordingSql } from './database.ts'

/** How long a new connection, or a turn at one of the pool's, may take. */
const CONNECT_MS = 5_000
/** The server ends a statement by its own time limit; a server that is gone cannot. */
const GRACE_MS = 5_000
/** Calls that wait for a connection; beyond it they are refused with 503, so that a slow database cannot fill our memory. */
const MAX_WAITING = 10_000

export interface PoolOptions {
  readonly url: string
  readonly max: number
  readonly statementTimeoutMs: number
  /** Resolves when the database is open; rejects when it has not been for too long. `deadline` is of `performance.now`. */
  opened(deadline: number): Promise<void>
  /** The server went away, or refuses us. */
  lost(reason: string): void
  readonly patienceMs: number
}

/** A bounded pool of connections as an `Sql`. Calls wait while the server is away and then fail with `store-unavailable`. */
export class PgConnections implements RecordingSql {
  readonly #options: PoolOptions
  readonly #pool: pg.Pool

  constructor(options: PoolOptions) {
    this.#options = options
    this.#pool = new pg.Pool({
      ...configOf(options.url),
      max: options.max,
      query_timeout: options.statementTimeoutMs + GRACE_MS,
      onConnect: (client) => prepared(client, options.statementTimeoutMs),
    })
    this.#pool.on('error', (error) => options.lost(lossOf(error) ?? error.message))
  }

  query<Row>(text: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly Row[] }> {
    return this.#use((client) => run<Row>(client, text, values))
  }

  copy(into: string, rows: Iterable<Uint8Array>): Promise<void> {
    return this.#use((client) => copy(client, into, rows))
  }

  transaction<T>(work: (sql: RecordingSql) => Promise<T>): Promise<T> {
    return this.#use((client) => inTransaction(client, work))
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }

  async #use<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#connect()
    let broken = false
    try {
      return await work(client)
    } catch (error) {
      const reason = lossOf(error)
      if (reason === undefined) throw isTimeout(error) ? slow(this.#options.statementTimeoutMs, error) : error
      broken = true
      this.#options.lost(reason)
      throw unavailable(reason, error)
    } finally {
      client.release(broken)
    }
  }

  async #connect(): Promise<pg.PoolClient> {
    const deadline = performance.now() + this.#options.patienceMs
    for (;;) {
      await this.#options.opened(deadline)
      if (this.#pool.waitingCount >= MAX_WAITING) throw unavailable('too many calls are waiting')
      try {
        return await this.#pool.connect()
      } catch (error) {
        if (this.#pool.ending) throw unavailable('closed', error)
        const isBusy = this.#pool.totalCount >= this.#options.max && performance.now() < deadline
        if (isBusy) continue
        const reason = lossOf(error)
        if (reason === undefined || performance.now() >= deadline) throw unavailable(reason ?? 'busy', error)
        this.#options.lost(reason)
      }
    }
  }
}

/** One connection of its own, without a limit of time: for migrations and upkeep. The caller ends it. */
export async function connectOnce(url: string): Promise<RecordingSql & { end(): Promise<void> }> {
  const client = new pg.Client(configOf(url))
  try {
    await client.connect()
    await prepared(client, 0)
  } catch (error) {
    await client.end().catch(() => undefined)
    throw error
  }
  return {
    query: (text, values) => run(client, text, values),
    copy: (into, rows) => copy(client, into, rows),
    transaction: (work) => inTransaction(client, work),
    end: () => client.end().catch(() => undefined),
  }
}

/** Throws `bad-setting` for a url that is none; it never says the url, which may hold a password. */
export function checkUrl(url: string): void {
  try {
    new pg.Client(configOf(url))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new FeedgateError(
      'bad-setting',
      `setting DATABASE_URL (databaseUrl) is not usable (${code ?? 'malformed'}): accepted is postgresql://user:password@host:port/database, with percent-encoding and readable certificate files`,
    )
  }
}

/** Where the server is, without a name or a password. */
export function placeOf(url: string): string {
  const { host, port, database } = new pg.Client(configOf(url))
  return `${host}:${port}/${database ?? ''}`
}

function configOf(url: string): pg.ClientConfig {
  return {
    connectionString: url,
    fallback_application_name: 'feedgate',
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    types: { getTypeParser: typeParser as typeof pg.types.getTypeParser },
  }
}

/** Times as text in UTC on every server; compiling a plan costs more than it gains at our sizes. */
async function prepared(client: pg.ClientBase, statementTimeoutMs: number): Promise<void> {
  // A connection that is lost while it is used fails its statement too; without a listener it would end the process.
  client.on('error', () => undefined)
  await client.query(`set timezone = 'UTC'; set jit = off; set statement_timeout = ${statementTimeoutMs}`)
}

const INT8 = 20

/** As PGlite has it: a bigint is a number while it can be. */
function typeParser(oid: number, format?: 'text' | 'binary'): (text: string) => unknown {
  if (oid !== INT8) return pg.types.getTypeParser(oid, format as 'text')
  return (text) => {
    const number = Number(text)
    return Number.isSafeInteger(number) ? number : BigInt(text)
  }
}

async function run<Row>(
  client: pg.ClientBase,
  text: string,
  values?: readonly unknown[],
): Promise<{ readonly rows: readonly Row[] }> {
  const result: pg.QueryResult | pg.QueryResult[] = await (values
    ? client.query(text, [...values])
    : client.query(text))
  return { rows: (Array.isArray(result) ? result.at(-1)?.rows : result.rows) ?? [] }
}

function copy(client: pg.ClientBase, into: string, rows: Iterable<Uint8Array>): Promise<void> {
  return new Promise((resolve, reject) => {
    const copying: CopyIn = new CopyIn(into, rows, (error) => {
      if (error) reject(copying.failure ?? error)
      else resolve()
    })
    client.query(copying)
  })
}

interface CopyConnection extends pg.Connection {
  sendCopyFromChunk(chunk: Uint8Array): void
  endCopyFrom(): void
  sendCopyFail(reason: string): void
}

/**
 * The rows follow the statement at once, for a batch is bounded; the kernel hands each piece to the server while the next
 * is made. A server that refuses the statement skips them.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
 */
class CopyIn extends pg.Query {
  /** What making the rows threw. */
  failure: unknown
  readonly #statement: string
  readonly #rows: Iterable<Uint8Array>

  constructor(into: string, rows: Iterable<Uint8Array>, done: (error: Error | null | undefined) => void) {
    const statement = `copy ${into} from stdin (format binary)`
    super(statement, done)
    this.#statement = statement
    this.#rows = rows
  }

  override submit = (connection: pg.Connection): void => {
    const copying = connection as CopyConnection
    copying.query(this.#statement)
    try {
      for (const piece of this.#rows) copying.sendCopyFromChunk(piece)
      copying.endCopyFrom()
    } catch (error) {
      this.failure = error
      copying.sendCopyFail('the rows cannot be made')
    }
  }

  handleCopyInResponse(): void {}
}

async function inTransaction<T>(client: pg.ClientBase, work: (sql: RecordingSql) => Promise<T>): Promise<T> {
  const inside: RecordingSql = {
    query: (text, values) => run(client, text, values),
    copy: (into, rows) => copy(client, into, rows),
    transaction: (nested) => nested(inside),
  }
  await client.query('begin')
  try {
    const result = await work(inside)
    await client.query('commit')
    return result
  } catch (error) {
    // The first failure is what the caller must hear of, not that the connection is gone too.
    await client.query('rollback').catch(() => undefined)
    throw error
  }
}

const NETWORK = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH'],
  ...['ENETUNREACH', 'ENETDOWN', 'EHOSTDOWN', 'ECONNABORTED'],
])
/**
 * SQLSTATEs of a server that cannot serve us now and may later: 08 connection, 28 and 3D000 login and database (while an
 * operator works on them), 53300 too many connections, 57P0x shutting down or starting, 25006 a standby.
 */
const AWAY = /^(08...|28...|3D000|53300|57P0[1-5]|25006)$/

/** Why a connection cannot be used, in a phrase; undefined when the error says nothing about the connection. */
export function lossOf(error: unknown): string | undefined {
  const { code, message = '' } = error as { code?: unknown; message?: string }
  if (typeof code === 'string' && NETWORK.has(code)) return `unreachable (${code})`
  if (typeof code === 'string' && AWAY.test(code)) return `refuses connections (${code})`
  if (/^(Connection terminated|Client (has|was)|Query read timeout|timeout e)/i.test(message))
    return `unreachable (${message.toLowerCase()})`
  if (/SSL|TLS|certificate/i.test(message) && typeof code !== 'string') return `unreachable (${message})`
  // Several addresses were tried.
  if (error instanceof AggregateError) return lossOf(error.errors[0])
  return undefined
}

/** Login refused, no such database: what no patience cures at a first start. */
export function isRefusedLogin(error: unknown): boolean {
  const { code } = error as { code?: unknown }
  return typeof code === 'string' && /^(28...|3D000)$/.test(code)
}

function isTimeout(error: unknown): boolean {
  return (error as { code?: unknown }).code === '57014'
}

function slow(ms: number, cause: unknown): FeedgateError {
  const message = `the store took longer than ${ms / 1_000} s: ask for a shorter time or fewer items`
  return new FeedgateError('store-unavailable', message, { cause })
}

export function unavailable(reason: string, cause?: unknown): FeedgateError {
  return new FeedgateError('store-unavailable', `the store does not answer (${reason})`, { cause })
}
