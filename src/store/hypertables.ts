import { ensureAggregates } from './candle-aggregates.ts'
import type { StoreSettings } from './settings.ts'
import type { Sql } from './store.ts'
import { ensurePolicy, isThere } from './timescale-policies.ts'

/** The first release whose policies refresh in batches, which keeps a refresh of many seconds quick. */
const MIN_VERSION = [2, 20] as const

/** Every table of market history by the time that its chunks hold. What belongs to tenants stays an ordinary table. */
const HYPERTABLES: Readonly<Record<string, string>> = {
  events_ticker: 'received_time',
  events_trade: 'event_time',
  events_book: 'received_time',
  events_ohlcv: 'received_time',
  events_odds: 'received_time',
  events_other: 'received_time',
  book_images: 'received_time',
}

interface Log {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

/**
 * Makes the most of TimescaleDB where the server has it: hypertables, columnstore, continuous aggregates, retention, as the
 * settings say now. Tables that hold rows already are converted. False: the server is plain PostgreSQL, which is fine.
 */
export async function setUpTimescale(sql: Sql, settings: StoreSettings, log?: Log): Promise<boolean> {
  if (!(await hasExtension(sql, settings, log))) return false
  for (const [table, column] of Object.entries(HYPERTABLES))
    await ensureHypertable(sql, table, column, settings, log)
  await ensureAggregates(sql, settings)
  return true
}

async function hasExtension(sql: Sql, { timescale }: StoreSettings, log?: Log): Promise<boolean> {
  const { rows } = await sql.query<{ available: string; installed: string | null; is_loaded: boolean }>(
    `select default_version as available, installed_version as installed,
       exists (select 1 from pg_settings
               where name = 'shared_preload_libraries' and setting ~ '(^|[ ,/])timescaledb') as is_loaded
     from pg_available_extensions where name = 'timescaledb'`,
  )
  const extension = rows[0]
  if (!extension || (timescale === 'off' && !extension.installed)) return false
  const version = extension.installed ?? extension.available
  if (!isRecent(version)) {
    log?.warn({ version }, `TimescaleDB before ${MIN_VERSION.join('.')} is used as plain PostgreSQL`)
    return false
  }
  if (!extension.installed) {
    if (!extension.is_loaded) {
      // To create it then would end the connection.
      log?.warn({}, 'TimescaleDB is there but not in shared_preload_libraries: used as plain PostgreSQL')
      return false
    }
    await sql.query('create extension if not exists timescaledb')
  }
  const { rows: licences } = await sql.query<{ licence: string | null }>(
    "select current_setting('timescaledb.license', true) as licence",
  )
  if (licences[0]?.licence !== 'apache') return true
  log?.warn({}, 'TimescaleDB of the Apache edition has no aggregates: used as plain PostgreSQL')
  return false
}

function isRecent(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > MIN_VERSION[0] || (major === MIN_VERSION[0] && minor >= MIN_VERSION[1])
}

async function ensureHypertable(
  sql: Sql,
  table: string,
  column: string,
  settings: StoreSettings,
  log?: Log,
): Promise<void> {
  const { chunkInterval, compressAfter, retainEvents } = settings
  if (!(await isThere(sql, 'hypertables', table))) {
    log?.info({ table }, 'the table becomes a hypertable')
    await sql.query(
      `select create_hypertable('${table}', by_range('${column}', interval '${chunkInterval}'),
         create_default_indexes => false, migrate_data => true)`,
    )
    await sql.query(`alter table ${table} set (timescaledb.enable_columnstore = true,
      timescaledb.segmentby = 'topic_id', timescaledb.orderby = 'received_time, epoch, seq')`)
  }
  await sql.query(
    `select set_chunk_time_interval($1::regclass, $2::interval) from timescaledb_information.dimensions
     where hypertable_schema = current_schema() and hypertable_name = $3 and time_interval <> $2::interval`,
    [table, chunkInterval, table],
  )
  await ensurePolicy(sql, {
    kind: 'policy_compression',
    relation: table,
    config: compressAfter === 'off' ? undefined : { compress_after: compressAfter },
    add: `call add_columnstore_policy('${table}', after => $1::interval)`,
    remove: `call remove_columnstore_policy('${table}')`,
  })
  await ensurePolicy(sql, {
    kind: 'policy_retention',
    relation: table,
    config: retainEvents === 'off' ? undefined : { drop_after: retainEvents },
    add: `select add_retention_policy('${table}', drop_after => $1::interval)`,
    remove: `select remove_retention_policy('${table}')`,
  })
}
