import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { FeedgateError } from '../errors.ts'
import type { Sql } from './store.ts'

/** The migrations that come with the program; the same place from `src` and from `dist`. */
export const MIGRATIONS = new URL('../../migrations/', import.meta.url)

interface Migration {
  readonly version: number
  readonly name: string
  readonly text: string
  readonly checksum: string
}

/**
 * Brings the schema up to date: every `NNN_name.sql` of `dir` that the database lacks, in order, each in a transaction
 * of its own. Answers the names of those applied now. Rejects with one sentence when the database was migrated by a
 * newer program, or a migration was changed after it was applied.
 */
export async function migrate(sql: Sql, dir: URL = MIGRATIONS): Promise<readonly string[]> {
  const migrations = await readMigrations(dir)
  await sql.query(`create table if not exists schema_migrations (
    version integer primary key, name text not null, checksum text not null,
    applied_at timestamptz not null default now())`)
  const applied: string[] = []
  for (const migration of migrations) {
    if (await applyOnce(sql, migration, migrations.length)) applied.push(migration.name)
  }
  return applied
}

async function readMigrations(dir: URL): Promise<Migration[]> {
  const names = (await readdir(dir)).filter((name) => /^\d{3}_[a-z0-9_-]+\.sql$/.test(name)).sort()
  return Promise.all(
    names.map(async (name, at) => {
      const version = Number(name.slice(0, 3))
      if (version !== at + 1)
        throw new Error(`migration ${name} is out of order: ${String(at + 1).padStart(3, '0')}_… comes here`)
      // A checkout may have changed the line ends.
      const text = (await readFile(new URL(name, dir), 'utf8')).replaceAll('\r\n', '\n')
      return { version, name, text, checksum: createHash('sha256').update(text).digest('hex') }
    }),
  )
}

/** The lock makes a second program that starts at the same time wait, and then find the work done. */
function applyOnce(sql: Sql, migration: Migration, newest: number): Promise<boolean> {
  return sql.transaction(async (tx) => {
    await tx.query('lock table schema_migrations in exclusive mode')
    const { rows } = await tx.query<{ version: number; name: string; checksum: string }>(
      'select version, name, checksum from schema_migrations where version = $1 or version > $2 order by version desc',
      [migration.version, newest],
    )
    const known = rows.find((row) => row.version === migration.version)
    if (rows[0] && rows[0].version > newest)
      throw refused(
        `the database has schema ${rows[0].name}, newer than this program knows: start the newer program`,
      )
    if (known && known.checksum !== migration.checksum)
      throw refused(
        `migration ${migration.name} was changed after the database applied it: restore the file, add a new migration`,
      )
    if (known) return false
    await tx.query(migration.text)
    await tx.query('insert into schema_migrations (version, name, checksum) values ($1, $2, $3)', [
      migration.version,
      migration.name,
      migration.checksum,
    ])
    return true
  })
}

function refused(message: string): FeedgateError {
  return new FeedgateError('store-unavailable', message)
}
