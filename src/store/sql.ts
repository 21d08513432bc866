import type { BusBatch } from '../bus/bus.ts'
import { bookAt } from './book-images.ts'
import { candles } from './candles.ts'
import { EVENT_COLUMNS, type EventRow, gaps, history, storedEvent } from './history.ts'
import { Recording } from './record.ts'
import type { Sql, Store, StoredEvent } from './store.ts'

/** A database that a store stands on: what an adapter brings. */
export interface Database {
  /** Statements wait until the database is open and migrated. */
  readonly sql: Sql
  ready(): Promise<void>
  fault(): string | undefined
  close(): Promise<void>
}

/** The store's statements, the same for every engine that speaks PostgreSQL 15. */
export function createSqlStore(database: Database): Store {
  const { sql } = database
  const recording = new Recording(sql)
  return {
    sql,
    ready: () => database.ready(),
    fault: () => database.fault(),
    close: () => database.close(),
    record: (batch: BusBatch) => recording.record(batch),
    history: (query) => history(sql, query),
    candles: (query) => candles(sql, query, Date.now() * 1_000),
    bookAt: (topic, at) => bookAt(sql, topic, at),
    gaps: (query) => gaps(sql, query),
    offsets: (group, partitions) => offsets(sql, group, partitions),
    positions: async () => new Map(),
    latest: async () => [],
    oddsCurrent: (eventId, sources) => oddsCurrent(sql, eventId, sources),
  }
}

async function oddsCurrent(
  sql: Sql,
  eventId: string,
  sources: readonly string[] | undefined,
): Promise<readonly StoredEvent[]> {
  const { rows } = await sql.query<EventRow>(
    `select ${EVENT_COLUMNS} from odds_current e join topics t on t.id = e.topic_id
     where t.channel = 'odds' and t.symbol = $1 and ($2::text[] is null or t.source = any($2::text[]))
     order by e.received_time, t.name, e.epoch, e.seq`,
    [eventId, sources ?? null],
  )
  return rows.map(storedEvent)
}

async function offsets(
  sql: Sql,
  group: string,
  partitions: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await sql.query<{ name: string; position: string }>(
    'select name, position from consumer_offsets where name = any($1::text[])',
    [partitions.map((partition) => `${group}/${partition}`)],
  )
  return new Map(rows.map(({ name, position }) => [name.slice(group.length + 1), position]))
}
