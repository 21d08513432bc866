import { FeedgateError } from '../errors.ts'
import type { Decimal, Micros } from '../market/event.ts'
import { CANDLE_LEVELS, type CandleLevel } from './candle-aggregates.ts'
import { badCursor, parseCursor } from './history.ts'
import type { CandleQuery, Page, Sql, StoredCandle } from './store.ts'
import { microsOf, timeOf } from './tables.ts'

const UNITS = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 } as const
const MAX_SECONDS = 3_660 * UNITS.d
/** Weeks begin on Monday, as the venues' do; every other bucket counts from the epoch. */
const MONDAY: Micros = 4 * UNITS.d * 1_000_000

/** Beyond this no time is stored; it is still a timestamp. */
const MAX_TIME: Micros = 2 ** 53 - 1
/**
 * Buckets computed by one statement: enough to be quick, and few enough that recording goes on in between. Where little
 * was traded the steps grow.
 */
const STEP = 256

interface Bucketing {
  readonly source: string
  readonly subject: string
  readonly seconds: number
  readonly origin: Micros
  /** The aggregate to read instead of trades, where there is one. */
  readonly level: CandleLevel | undefined
}

interface CandleRow {
  readonly open_time: Micros
  readonly open: Decimal
  readonly high: Decimal
  readonly low: Decimal
  readonly close: Decimal
  readonly volume: Decimal
  readonly trades: number | null
  readonly closed: boolean
  readonly origin: 'venue' | 'computed'
}

/**
 * Candles by bucket of the trades' own time. Of each bucket the first of these that is stored:
 * 1. the venue's own candle of this width, its newest revision;
 * 2. the trades, each trade id counted once (a double carries the venue's time, so it is looked for in its second);
 * 3. the venue's candles of the widest finer timeframe that fits, put together.
 * Buckets in which nothing was traded are left out.
 *
 * With `aggregates` candles of trades are put together from those of whole hours, minutes or seconds. Where these count a
 * double, or trades came too late for them, the trades themselves are read: the answer is the same.
 */
export async function candles(
  sql: Sql,
  query: CandleQuery,
  now: Micros,
  aggregates: boolean,
): Promise<Page<StoredCandle>> {
  const seconds = timeframeSeconds(query.timeframe)
  const origin = seconds % UNITS.w === 0 ? MONDAY : 0
  const level = aggregates ? CANDLE_LEVELS.findLast((one) => seconds % one.seconds === 0) : undefined
  const buckets: Bucketing = { source: query.source, subject: query.subject, seconds, origin, level }
  const width = seconds * 1_000_000
  const found: StoredCandle[] = []
  // A bucket belongs to the answer when it opens inside [from, to).
  const start = query.cursor === undefined ? (query.from ?? 0) : readCursor(query.cursor)
  let from: Micros | undefined = bucketAtOrAfter(start, width, origin)
  const until =
    query.to === undefined ? MAX_TIME : Math.min(bucketAtOrAfter(query.to, width, origin), MAX_TIME)
  let step = Math.min(query.limit + 1, STEP)
  while (found.length <= query.limit) {
    from = await nextBucket(sql, buckets, from, until)
    if (from === undefined) break
    const end: Micros = Math.min(from + step * width, until)
    const rows = await readBuckets(sql, buckets, from, end, query.limit + 1 - found.length)
    for (const row of rows) found.push(storedCandle(query, row, width, now))
    if (rows.length < step / 8) step *= 4
    from = end
  }
  const items = found.slice(0, query.limit)
  const next = found[query.limit]
  return { items, next: next ? writeCursor(next.openTime) : null }
}

/** `Ns Nm Nh Nd Nw` in seconds; rejects with `unknown-timeframe`. */
export function timeframeSeconds(timeframe: string): number {
  const [, count, unit] = /^([1-9]\d{0,8})([smhdw])$/.exec(timeframe) ?? []
  const seconds = Number(count) * UNITS[unit as keyof typeof UNITS]
  if (seconds <= MAX_SECONDS) return seconds
  throw new FeedgateError(
    'unknown-timeframe',
    `timeframe ${JSON.stringify(timeframe.slice(0, 32))} is none: accepted are whole numbers of s, m, h, d or w up to 10 years, such as 5m`,
  )
}

function bucketAtOrAfter(time: Micros, width: Micros, origin: Micros): Micros {
  return Math.ceil((time - origin) / width) * width + origin
}

/** The bucket of the first trade or candle at or after `from`; undefined if there is none before `until`. */
async function nextBucket(
  sql: Sql,
  { source, subject, seconds, origin, level }: Bucketing,
  from: Micros,
  until: Micros,
): Promise<Micros | undefined> {
  const range = (column: string) =>
    `e.${column} >= ${timeOf('$3::float8')} and e.${column} < ${timeOf('$4::float8')}`
  const { rows } = await sql.query<{ first: Micros | null }>(
    `select ${microsOf('min(first)')} as first from topics t, lateral (
       select min(e.event_time) as first from events_trade e
       where t.channel = 'trades' and e.topic_id = t.id and ${range('event_time')}
       union all
       select min(e.open_time) from events_ohlcv e
       where t.channel = 'ohlcv' and e.topic_id = t.id and ${range('open_time')}
       ${level ? `union all ${FIRST_HOUR}` : ''}
     ) found
     where t.source = $1 and t.symbol = $2 and t.channel in ('trades', 'ohlcv')`,
    [source, subject, from, until],
  )
  const first = rows[0]?.first ?? undefined
  const width = seconds * 1_000_000
  return first === undefined ? undefined : Math.floor((first - origin) / width) * width + origin
}

/** Trades may be gone while their candles are kept. An hour that began before `from` may hold it: then it is `from`. */
const FIRST_HOUR = `
  (select greatest(c.bucket, ${timeOf('$3::float8')}) from trade_candles_1h c
   where t.channel = 'trades' and c.topic_id = t.id and c.bucket < ${timeOf('$4::float8')}
     and c.bucket > ${timeOf('$3::float8')} - interval '1 hour'
   order by c.bucket limit 1)`

/** A trade without an id is one by its position. */
const TRADE = `coalesce(e.trade_id, e.epoch || '/' || e.seq) collate "C"`

/** Open and close are taken by array_agg: plain SQL on every engine. */
const OF_TRADES = `
  once as (
    select distinct on (date_trunc('second', e.event_time), ${TRADE})
      e.event_time, e.epoch, e.seq, e.price, e.size
    from topics t join events_trade e on e.topic_id = t.id
    where t.source = $1 and t.symbol = $2 and t.channel = 'trades' and e.price is not null
      and e.event_time >= ${timeOf('$3::float8')} and e.event_time < ${timeOf('$4::float8')}
    order by date_trunc('second', e.event_time), ${TRADE}, e.received_time, e.epoch, e.seq
  ), traded as (
    select ${bucketOf('event_time')} as bucket,
      (array_agg(price order by event_time, epoch, seq))[1] as open, max(price) as high, min(price) as low,
      (array_agg(price order by event_time desc, epoch desc, seq desc))[1] as close,
      sum(size) as volume, count(*) as trades, 0 as doubles
    from once group by 1
  )`

function ofAggregate({ name }: CandleLevel): string {
  return `
  traded as (
    select ${bucketOf('bucket')} as bucket,
      (array_agg(open order by bucket))[1] as open, max(high) as high, min(low) as low,
      (array_agg(close order by bucket desc))[1] as close,
      sum(volume) as volume, sum(trades) as trades, sum(doubles) as doubles
    from ${name}
    where topic_id = (select id from topics where name = $1 || '|trades|' || $2)
      and bucket >= ${timeOf('$3::float8')} and bucket < ${timeOf('$4::float8')}
    group by 1
  )`
}

/** In the same statement as the candles, so that it speaks of what they were made of. */
const IS_LATE = `exists (
  select 1 from late_trades where from_time < ${timeOf('$4::float8')} and to_time >= ${timeOf('$3::float8')})`

function statement(traded: string, isInexact: string): string {
  return `
  with venue as materialized (
    select distinct on (t.timeframe, e.open_time) ${widthOf('t.timeframe')} as seconds,
      e.open_time, e.open, e.high, e.low, e.close, e.volume, e.trades, e.closed, e.origin
    from topics t join events_ohlcv e on e.topic_id = t.id
    where t.source = $1 and t.symbol = $2 and t.channel = 'ohlcv'
      and e.open_time >= ${timeOf('$3::float8')} and e.open_time < ${timeOf('$4::float8')}
      and mod($5::bigint, ${widthOf('t.timeframe')}) = 0
    order by t.timeframe, e.open_time, e.received_time desc, e.epoch desc, e.seq desc
  ), ${traded}, merged as (
    select distinct on (bucket) * from (
      select ${bucketOf('open_time')} as bucket, seconds,
        (array_agg(open order by open_time))[1] as open, max(high) as high, min(low) as low,
        (array_agg(close order by open_time desc))[1] as close,
        sum(volume) as volume, case when count(trades) = count(*) then sum(trades) end as trades
      from venue where seconds < $5::bigint group by 1, 2
    ) of_one_timeframe order by bucket, seconds desc
  ), ranked as (
    select 1 as rank, origin, open_time as bucket, open, high, low, close, volume, trades, closed
      from venue where seconds = $5::bigint
    union all select 2, 'computed', bucket, open, high, low, close, volume, trades, null from traded
    union all select 3, 'computed', bucket, open, high, low, close, volume, trades, null from merged
  ), newest as (
    select distinct on (bucket) ${microsOf('bucket')} as open_time, open::text, high::text, low::text, close::text,
      volume::text, trades::float8 as trades, closed, origin
    from ranked order by bucket, rank limit $7
  )
  select newest.*, exactness.inexact
  from (select ${isInexact} as inexact) exactness left join newest on true order by newest.open_time`
}

const FROM_TRADES = statement(OF_TRADES, 'false')
const FROM_AGGREGATE: ReadonlyMap<CandleLevel, string> = new Map(
  CANDLE_LEVELS.map((level) => [
    level,
    statement(ofAggregate(level), `${IS_LATE} or exists (select 1 from traded where doubles > 0)`),
  ]),
)

function bucketOf(time: string): string {
  return `date_bin(make_interval(secs => $5::bigint), ${time}, ${timeOf('$6::float8')})`
}

/** Seconds of a timeframe as stored, `5m` for one; of what is none (a venue's `1M`) null, which fits no width. */
function widthOf(timeframe: string): string {
  const units = Object.entries(UNITS).map(([unit, seconds]) => `when '${unit}' then ${seconds}`)
  return `case when ${timeframe} ~ '^[1-9][0-9]{0,8}[smhdw]$' then
    left(${timeframe}, -1)::bigint * case right(${timeframe}, 1) ${units.join(' ')} end end`
}

/** A row without a time says only whether the others are exact. */
type FoundRow = { readonly inexact: boolean } & (CandleRow | { readonly open_time: null })

async function readBuckets(
  sql: Sql,
  buckets: Bucketing,
  from: Micros,
  end: Micros,
  limit: number,
): Promise<readonly CandleRow[]> {
  const { source, subject, seconds, origin, level } = buckets
  const read = async (text: string) => {
    const { rows } = await sql.query<FoundRow>(text, [source, subject, from, end, seconds, origin, limit])
    const candles = rows.filter((row): row is FoundRow & CandleRow => row.open_time !== null)
    return { candles, inexact: rows[0]?.inexact ?? false }
  }
  const statementOfLevel = level && FROM_AGGREGATE.get(level)
  if (!statementOfLevel) return (await read(FROM_TRADES)).candles
  const { candles, inexact } = await read(statementOfLevel)
  if (!inexact) return candles
  // Candles whose trades are gone by now stay as they are.
  const exact = (await read(FROM_TRADES)).candles
  const merged = new Map([...candles, ...exact].map((row) => [row.open_time, row]))
  return [...merged.values()].sort((a, b) => a.open_time - b.open_time).slice(0, limit)
}

function storedCandle(query: CandleQuery, row: CandleRow, width: Micros, now: Micros): StoredCandle {
  return {
    source: query.source,
    symbol: query.subject,
    timeframe: query.timeframe,
    openTime: row.open_time,
    open: row.open,
    high: row.high,
    low: row.low,
    close: row.close,
    volume: row.volume,
    ...(row.trades === null ? {} : { trades: row.trades }),
    // The venue says itself when its candle is closed; one of ours is when its time is over.
    closed: row.closed ?? row.open_time + width <= now,
    origin: row.origin,
  }
}

function writeCursor(openTime: Micros): string {
  return Buffer.from(JSON.stringify([openTime])).toString('base64url')
}

function readCursor(cursor: string): Micros {
  const [openTime, ...rest] = parseCursor(cursor)
  if (rest.length > 0 || !Number.isSafeInteger(openTime) || (openTime as number) < 0) throw badCursor()
  return openTime as Micros
}
