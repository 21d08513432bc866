import { accessSync, constants, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { FeedgateError } from '../errors.ts'
import type { Database, RecordingSql } from './database.ts'
import { migrate } from './migrate.ts'
import type { Reply, Statement, ThreadData } from './pglite-worker.ts'
import { createSqlStore } from './sql.ts'
import type { Store } from './store.ts'

/** How long a statement waits for the database to open before it fails with `store-unavailable`. */
const PATIENCE_MS = 30_000
/** Between the end of a database thread that failed and the next attempt. */
const RESTART_MS = 1_000

/** PGlite has no autovacuum: its statistics, and the rows that updates leave behind, are for us to look after. */
const UPKEEP_MS = 300_000
const UPKEEP = ['analyze', 'vacuum odds_current']

/** What we ask of a logger. */
interface Log {
  info(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface PgliteOptions {
  /** The database lives in its folder `pglite`. */
  readonly dataDir: string
  readonly log?: Log
  readonly patienceMs?: number
}

/**
 * The embedded store: PGlite in a worker thread, opened and migrated from the moment of the call. Throws `bad-setting`
 * when the folder cannot be written; `ready` rejects when what is in it cannot be opened.
 *
 * A committed transaction is in the operating system's hands, so it survives a kill of the process; it is not flushed
 * to the disk at once, so a loss of power may cost more.
 */
export function createPgliteStore(options: PgliteOptions): Store {
  makeWritable(options.dataDir)
  const database = new PgliteDatabase(
    join(options.dataDir, 'pglite'),
    options.log,
    options.patienceMs ?? PATIENCE_MS,
  )
  return createSqlStore(database)
}

function makeWritable(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new FeedgateError(
      'bad-setting',
      `setting DATA_DIR (dataDir) is ${JSON.stringify(dataDir)}: accepted is a folder that can be written (${code})`,
      { cause },
    )
  }
}

class PgliteDatabase implements Database {
  readonly sql: RecordingSql
  readonly recording: RecordingSql
  readonly #dataDir: string
  readonly #log: Log | undefined
  readonly #patienceMs: number
  #thread: DatabaseThread
  #ready: Promise<void>
  #fault: string | undefined = 'opening'
  #closing: Promise<void> | undefined

  constructor(dataDir: string, log: Log | undefined, patienceMs: number) {
    this.#dataDir = dataDir
    this.#log = log
    this.#patienceMs = patienceMs
    this.#thread = new DatabaseThread(dataDir)
    this.#ready = this.#open()
    // Whoever needs the store asks for `ready`; without such a one a failure is no unhandled rejection.
    this.#ready.catch(() => undefined)
    this.sql = {
      query: async (text, values) => (await this.#opened()).query(text, values),
      copy: async (into, rows) => (await this.#opened()).copy(into, rows),
      transaction: async (work) => (await this.#opened()).transaction(work),
    }
    this.recording = this.sql
  }

  ready(): Promise<void> {
    return this.#ready
  }

  fault(): string | undefined {
    return this.#fault
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#fault = 'closed'
    await this.#thread.close()
  }

  async #open(): Promise<void> {
    const began = performance.now()
    const thread = this.#thread
    try {
      await thread.opened
      const applied = await migrate(thread)
      this.#fault = undefined
      this.#log?.info({ applied, ms: Math.round(performance.now() - began) }, 'store is open')
    } catch (cause) {
      this.#fault = 'cannot be opened'
      await thread.close()
      throw this.#closing ? closed() : cannotOpen(this.#dataDir, cause)
    }
    const upkeep = setInterval(() => {
      for (const statement of UPKEEP) thread.query(statement).catch(() => undefined)
    }, UPKEEP_MS)
    upkeep.unref()
    void thread.ended.then((reason) => {
      clearInterval(upkeep)
      this.#ready = this.#reopen(reason)
    })
  }

  /** The thread ended by itself (out of memory, for one): what it had committed is there when it is opened again. */
  async #reopen(reason: string): Promise<void> {
    while (!this.#closing) {
      this.#fault = reason
      this.#log?.error({ reason }, 'the database thread ended, it is started again')
      await new Promise((resolve) => setTimeout(resolve, RESTART_MS))
      if (this.#closing) return
      this.#thread = new DatabaseThread(this.#dataDir)
      try {
        return await this.#open()
      } catch (error) {
        reason = (error as Error).message
      }
    }
  }

  async #opened(): Promise<DatabaseThread> {
    if (this.#closing) throw closed()
    if (this.#fault !== undefined) await this.#patiently(this.#ready)
    if (this.#closing) throw closed()
    return this.#thread
  }

  async #patiently(ready: Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const error = () => new FeedgateError('store-unavailable', 'the store is not open yet, try again')
      timer = setTimeout(() => reject(error()), this.#patienceMs)
    })
    try {
      await Promise.race([ready, late])
    } finally {
      clearTimeout(timer)
    }
  }
}

/**
 * The worker as an `Sql`. It has one session, so statements and transactions take turns, in the order of their calls;
 * what waits is bounded by the callers, each of whom awaits its answer.
 */
class DatabaseThread implements RecordingSql {
  readonly opened: Promise<void>
  /** Why the thread ended; never rejects. */
  readonly ended: Promise<string>
  readonly #worker: Worker
  readonly #waiting = new Map<
    number,
    { resolve(rows: readonly unknown[]): void; reject(error: Error): void }
  >()
  #turn: Promise<unknown> = Promise.resolve()
  #lastId = 0
  #isOpen = false
  #over: string | undefined

  constructor(dataDir: string) {
    const data: ThreadData = { dataDir }
    this.#worker = new Worker(workerUrl(), { workerData: data })
    let reason: string | undefined
    this.ended = new Promise((resolve) => {
      this.#worker.on('error', (error) => {
        reason = error.message || error.name
      })
      this.#worker.on('exit', () => resolve(this.#end(reason ?? 'the database thread ended')))
    })
    this.opened = new Promise((resolve, reject) => {
      this.#worker.once('message', () => resolve())
      void this.ended.then((why) => reject(new Error(why)))
    })
    this.opened.catch(() => undefined)
    this.#worker.on('message', (reply: Reply | 'open') => {
      if (reply !== 'open') this.#answer(reply)
      else this.#isOpen = true
    })
  }

  query<Row>(text: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly Row[] }> {
    return this.#takeTurn(() => this.#run<Row>(text, values))
  }

  copy(into: string, rows: Iterable<Uint8Array>): Promise<void> {
    return this.#takeTurn(() => this.#copy(into, rows))
  }

  transaction<T>(work: (sql: RecordingSql) => Promise<T>): Promise<T> {
    const inside: RecordingSql = {
      query: (text, values) => this.#run(text, values),
      copy: (into, rows) => this.#copy(into, rows),
      transaction: (nested) => nested(inside),
    }
    return this.#takeTurn(async () => {
      await this.#run('begin')
      try {
        const result = await work(inside)
        await this.#run('commit')
        return result
      } catch (error) {
        // The first failure is what the caller must hear of, not that the session is gone too.
        await this.#run('rollback').catch(() => undefined)
        throw error
      }
    })
  }

  /** Lets what was asked finish, closes the database and ends the thread; one that is still opening ends at once. */
  async close(): Promise<void> {
    if (!this.#isOpen) await this.#worker.terminate()
    else if (this.#over === undefined) {
      await this.#turn
      this.#worker.postMessage('close')
    }
    await this.ended
  }

  #takeTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(act)
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  async #run<Row>(text: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly Row[] }> {
    return { rows: (await this.#post({ text, ...(values ? { values } : {}) })) as readonly Row[] }
  }

  /** The bytes are moved to the thread, not copied. */
  async #copy(into: string, rows: Iterable<Uint8Array>): Promise<void> {
    const pieces = [...rows]
    const blob = new Uint8Array(pieces.reduce((bytes, piece) => bytes + piece.length, 0))
    let at = 0
    for (const piece of pieces) {
      blob.set(piece, at)
      at += piece.length
    }
    await this.#post({ text: `copy ${into} from '/dev/blob' (format binary)`, blob }, [blob.buffer])
  }

  #post(statement: Omit<Statement, 'id'>, moved: ArrayBuffer[] = []): Promise<readonly unknown[]> {
    if (this.#over !== undefined) return Promise.reject(unavailable(this.#over))
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#worker.postMessage({ ...statement, id } satisfies Statement, moved)
    })
  }

  #answer(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if ('rows' in reply) waiting?.resolve(reply.rows)
    else waiting?.reject(Object.assign(new Error(reply.error.message), { code: reply.error.code }))
  }

  #end(reason: string): string {
    this.#over = reason
    for (const { reject } of this.#waiting.values()) reject(unavailable(reason))
    this.#waiting.clear()
    return reason
  }
}

/** Run from sources (tests) on a Node that cannot run TypeScript, the thread is the built one; `pretest` builds it. */
function workerUrl(): URL {
  if (!import.meta.url.endsWith('.ts')) return new URL('./pglite-worker.js', import.meta.url)
  const runsTypeScript = 'typescript' in process.features && process.features.typescript !== false
  return new URL(runsTypeScript ? './pglite-worker.ts' : '../../dist/store/pglite-worker.js', import.meta.url)
}

function unavailable(reason: string): FeedgateError {
  return new FeedgateError('store-unavailable', `the store does not answer (${reason})`)
}

function closed(): FeedgateError {
  return new FeedgateError('store-unavailable', 'the store is closed')
}

function cannotOpen(dataDir: string, cause: unknown): FeedgateError {
  if (cause instanceof FeedgateError) return cause
  const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
  return new FeedgateError(
    'store-unavailable',
    `the embedded database in ${dataDir} cannot be opened (${reason}): put a copy back, or move the folder away to begin anew`,
    { cause },
  )
}
