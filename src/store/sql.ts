import type { BusBatch } from '../bus/bus.ts'
import { bookAt } from './book-images.ts'
import { candles } from './candles.ts'
import type { Database } from './database.ts'
import { positions } from './heads.ts'
import { type EventRow, eventColumns, gaps, history, storedEvent } from './history.ts'
import { latest } from './latest.ts'
import { readOffsets } from './offsets.ts'
import { Recording } from './record.ts'
import type { Sql, Store, StoredEvent } from './store.ts'
import { tableOf } from './tables.ts'

const ODDS = tableOf('odds')

/** The store's statements, the same for every engine that speaks PostgreSQL 15. */
export function createSqlStore(database: Database): Store {
  const { sql, reads = sql } = database
  const recording = new Recording(database)
  return {
    sql,
    ready: () => database.ready(),
    fault: () => database.fault(),
    warnings: () => database.warnings?.() ?? [],
    close: () => database.close(),
    record: (batch: BusBatch) => recording.record(batch),
    history: (query) => history(reads, query),
    candles: (query) => candles(reads, query, Date.now() * 1_000, database.aggregates?.() ?? false),
    bookAt: (topic, at) => bookAt(reads, topic, at),
    gaps: (query) => gaps(reads, query),
    offsets: (group, partitions) => readOffsets(sql, group, partitions),
    positions: (source) => positions(reads, source),
    latest: (query) => latest(reads, query),
    oddsCurrent: (eventId, sources) => oddsCurrent(reads, eventId, sources),
  }
}

async function oddsCurrent(
  sql: Sql,
  eventId: string,
  sources: readonly string[] | undefined,
): Promise<readonly StoredEvent[]> {
  const { rows } = await sql.query<EventRow>(
    `select ${eventColumns(ODDS)} from odds_current e join topics t on t.id = e.topic_id
     where t.channel = 'odds' and t.symbol = $1 and ($2::text[] is null or t.source = any($2::text[]))
     order by e.received_time, t.name, e.epoch, e.seq`,
    [eventId, sources ?? null],
  )
  return rows.map((row) => storedEvent(row, ODDS))
}
