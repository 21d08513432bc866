import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { type Engine, givenEngine, ownEngine, Unavailable } from './engine.ts'
import { isGone, killTree } from './process-tree.ts'
import { freePort, serverFolder, tellKeeper } from './processes.ts'

const SCRIPT =
  process.env.TIMESCALEDB_START ?? resolve(import.meta.dirname, '../../../shared/timescaledb/start')

export async function startTimescale(): Promise<Engine> {
  const given = process.env.DATABASE_URL
  if (given && (await hasExtension(given))) return givenEngine('timescale', given, 'DATABASE_URL')
  if (!existsSync(SCRIPT)) {
    throw new Unavailable(
      `no TimescaleDB here: ${SCRIPT} is not there (TIMESCALEDB_START names another), or set DATABASE_URL to one`,
    )
  }
  const port = await freePort()
  const folder = serverFolder('timescale')
  const pidFile = join(folder, 'data/postmaster.pid')
  tellKeeper(`pidfile ${pidFile}`)
  let url = ''
  const server = {
    async start() {
      const { stdout } = await promisify(execFile)(SCRIPT, [folder, `${port}`])
      url = stdout.match(/^DATABASE_URL=(\S+)/m)![1]!
    },
    async kill() {
      const pid = existsSync(pidFile) ? Number.parseInt(readFileSync(pidFile, 'utf8'), 10) : 0
      if (pid > 1 && !isGone(pid)) await killTree(pid)
    },
  }
  await server.start()
  return ownEngine({ name: 'timescale', url, origin: `${await versions(url)}, native, by ${SCRIPT}` }, server)
}

async function query<Row>(url: string, text: string): Promise<Row[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text)).rows as Row[]
  } finally {
    await client.end()
  }
}

/** Both are needed: making the extension where it is not preloaded ends the connection. */
async function hasExtension(url: string): Promise<boolean> {
  const rows = await query(
    url,
    `select 1 from pg_available_extensions
     where name = 'timescaledb' and current_setting('shared_preload_libraries') like '%timescaledb%'`,
  )
  return rows.length > 0
}

async function versions(url: string): Promise<string> {
  const [row] = await query<{ server: string; extension: string }>(
    url,
    `select split_part(current_setting('server_version'), ' ', 1) as server, default_version as extension
     from pg_available_extensions where name = 'timescaledb'`,
  )
  return `TimescaleDB ${row!.extension} on PostgreSQL ${row!.server}`
}
