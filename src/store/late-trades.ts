import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Micros } from '../market/event.ts'
import { BUCKETS_PER_BATCH, CANDLE_LEVELS } from './candle-aggregates.ts'
import { type StoreSettings, secondsOf } from './settings.ts'
import type { Sql } from './store.ts'
import { microsOf, timeOf } from './tables.ts'

/** Half of what the finest aggregate leaves to be computed when asked: the commit has the other half. */
const LATE: Micros = (CANDLE_LEVELS[0]!.endOffsetSeconds / 2) * 1_000_000
const HOUR_MS = 3_600_000
/** Taken together at a time. */
const MAX_STRETCHES = 10_000
/** One node refreshes at a time. */
const LOCK = 7_235_610

/** In the transaction of the trades: the stretch of time in which aggregates may miss some of them. */
export async function noteLateTrades(tx: Sql, events: readonly EncodedEvent[]): Promise<void> {
  const before = Date.now() * 1_000 - LATE
  let from = Number.POSITIVE_INFINITY
  let to = 0
  for (const { type, eventTime } of events) {
    if (type !== 'trade' || eventTime >= before) continue
    from = Math.min(from, eventTime)
    to = Math.max(to, eventTime)
  }
  if (to > 0)
    await tx.query(
      `insert into late_trades (from_time, to_time) values (${timeOf('$1::float8')}, ${timeOf('$2::float8')})`,
      [from, to],
    )
}

interface Stretch {
  readonly id: number
  readonly from: Micros
  readonly to: Micros
}

/**
 * Refreshes the aggregates where late trades were noted, bottom up; then the notes go. Killed in between, it is done
 * again. Answers false when nothing was noted, or another node is at it.
 */
export async function refreshLate(session: Sql, settings: StoreSettings, nowMs: number): Promise<boolean> {
  const { rows: locks } = await session.query<{ is_mine: boolean }>(
    'select pg_try_advisory_lock($1::bigint) as is_mine',
    [LOCK],
  )
  if (!locks[0]?.is_mine) return false
  const { rows } = await session.query<Stretch>(
    `select id, ${microsOf('from_time')} as "from", ${microsOf('to_time')} as "to" from late_trades
     order by id limit ${MAX_STRETCHES}`,
  )
  for (const range of inHours(rows)) await refresh(session, range, settings, nowMs)
  await session.query('delete from late_trades where id = any($1::bigint[])', [rows.map(({ id }) => id)])
  await session.query('select pg_advisory_unlock($1::bigint)', [LOCK])
  return rows.length > 0
}

interface Hours {
  readonly fromMs: number
  readonly toMs: number
}

/** Whole hours, those that touch put together. */
function inHours(stretches: readonly Stretch[]): Hours[] {
  const merged: Hours[] = []
  for (const { from, to } of stretches.toSorted((a, b) => a.from - b.from)) {
    const fromMs = Math.floor(from / 1_000 / HOUR_MS) * HOUR_MS
    const toMs = (Math.floor(to / 1_000 / HOUR_MS) + 1) * HOUR_MS
    const last = merged.at(-1)
    if (last && fromMs <= last.toMs)
      merged[merged.length - 1] = { fromMs: last.fromMs, toMs: Math.max(last.toMs, toMs) }
    else merged.push({ fromMs, toMs })
  }
  return merged
}

async function refresh(
  session: Sql,
  { fromMs, toMs }: Hours,
  { retainEvents }: StoreSettings,
  nowMs: number,
): Promise<void> {
  // Where trades were dropped, a refresh would drop their candles.
  const oldest = Math.ceil((nowMs - secondsOf(retainEvents) * 1_000) / HOUR_MS) * HOUR_MS
  const start = Math.max(fromMs, oldest)
  for (const { name, seconds, endOffsetSeconds } of CANDLE_LEVELS) {
    const width = seconds * 1_000
    const end = Math.min(toMs, Math.floor((nowMs - endOffsetSeconds * 1_000) / width) * width)
    if (start >= end) continue
    await session.query(
      `call refresh_continuous_aggregate('${name}', '${timestamp(start)}'::timestamptz, '${timestamp(end)}'::timestamptz,
         options => '{"buckets_per_batch":${BUCKETS_PER_BATCH}}')`,
    )
  }
}

function timestamp(ms: number): string {
  return new Date(ms).toISOString()
}
