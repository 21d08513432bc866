import { once } from 'node:events'
import { existsSync, readlinkSync, renameSync, rmSync } from 'node:fs'
import { setPriority } from 'node:os'
import { basename, join } from 'node:path'
import { type MessagePort, parentPort, Worker, workerData } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'

/**
 * The thread that PGlite lives in: it runs synchronously, milliseconds at a time, and must not do so on the event loop
 * that serves clients. One statement at a time; `pglite.ts` sees to that.
 */

export interface ThreadData {
  readonly dataDir: string
  /** Only make the database, then end. */
  readonly create?: boolean
}

export interface Statement {
  readonly id: number
  readonly text: string
  /** Without values `text` may hold several statements; the rows are the last one's. */
  readonly values?: readonly unknown[]
  /** What a COPY from `/dev/blob` reads. */
  readonly blob?: Uint8Array<ArrayBuffer>
}

export type Reply =
  | { readonly id: number; readonly rows: readonly unknown[] }
  | { readonly id: number; readonly error: { readonly message: string; readonly code?: string } }

/**
 * `max_wal_size`: nobody else makes checkpoints here, and what was written since the last is read again at the start
 * after a kill.
 */
const SETTINGS = ['max_wal_size = 128MB']

/** Niceness of this thread: where cores are short, clients are served first. */
const NICENESS = 10

const { dataDir, create } = workerData as ThreadData
yieldToServing()
if (create) await createDatabase()
else await serve(parentPort!)

/** Made aside and moved into place whole: a program that is killed meanwhile leaves nothing half made behind. */
async function createDatabase(): Promise<void> {
  const aside = `${dataDir}.new`
  rmSync(aside, { recursive: true, force: true })
  await (await open(aside)).close()
  renameSync(aside, dataDir)
}

/** On Linux a thread has a priority of its own, by the number that the kernel shows under /proc; elsewhere nothing is done. */
function yieldToServing(): void {
  try {
    setPriority(Number(basename(readlinkSync('/proc/thread-self'))), NICENESS)
  } catch {
    // No /proc, or not allowed: slower, not wrong.
  }
}

async function serve(port: MessagePort): Promise<void> {
  // In a thread of its own, whose end gives back the memory that making a database takes: more than half of all.
  if (!existsSync(join(dataDir, 'PG_VERSION'))) {
    const data: ThreadData = { dataDir, create: true }
    await once(new Worker(new URL(import.meta.url), { workerData: data }), 'exit')
  }
  const db = await open(dataDir)
  port.on('message', async (statement: Statement | 'close') => {
    if (statement !== 'close') return port.postMessage(await run(db, statement))
    await db.close().catch(() => undefined)
    port.close()
  })
  port.postMessage('open')
}

function open(folder: string): Promise<PGlite> {
  return PGlite.create({ dataDir: folder, postgresqlconf: SETTINGS })
}

async function run(db: PGlite, { id, text, values, blob }: Statement): Promise<Reply> {
  try {
    if (blob) return { id, rows: (await db.query(text, [], { blob: new Blob([blob]) })).rows }
    if (values === undefined) return { id, rows: (await db.exec(text)).at(-1)?.rows ?? [] }
    return { id, rows: (await db.query<unknown>(text, [...values])).rows }
  } catch (cause) {
    const error = cause as Error & { code?: string }
    return { id, error: { message: error.message, ...(error.code ? { code: error.code } : {}) } }
  }
}
