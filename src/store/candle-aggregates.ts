import type { StoreSettings } from './settings.ts'
import type { Sql } from './store.ts'
import { ensurePolicy, isThere } from './timescale-policies.ts'

/**
 * Candles of trades as continuous aggregates, each made of the one before. What is newer than `endOffset` is computed when
 * it is asked for; what is older comes from the aggregate, and trades that come later than that are noted and refreshed
 * (`late-trades.ts`).
 */
export interface CandleLevel {
  readonly name: string
  /** The view for people. */
  readonly view: string
  readonly seconds: number
  readonly endOffsetSeconds: number
  readonly every: string
}

/** Bottom up. */
export const CANDLE_LEVELS: readonly CandleLevel[] = [
  { name: 'trade_candles_1s', view: 'candles_1s', seconds: 1, endOffsetSeconds: 120, every: '30s' },
  { name: 'trade_candles_1m', view: 'candles_1m', seconds: 60, endOffsetSeconds: 300, every: '1m' },
  { name: 'trade_candles_1h', view: 'candles_1h', seconds: 3_600, endOffsetSeconds: 10_800, every: '10m' },
]

/** A batch of a refresh; ten buckets, the default, would take minutes for a day of seconds. */
export const BUCKETS_PER_BATCH = 3_600

/** `doubles`: trades whose id another trade of the same second has; the candle counts both, `candles.ts` does not. */
const OF_TRADES = `
  select topic_id, time_bucket(interval '1 second', event_time) as bucket,
    (array_agg(price order by event_time, epoch, seq))[1] as open, max(price) as high, min(price) as low,
    (array_agg(price order by event_time desc, epoch desc, seq desc))[1] as close,
    sum(size) as volume, count(*) as trades, count(trade_id) - count(distinct trade_id) as doubles
  from events_trade where price is not null group by 1, 2`

function ofFiner(finer: CandleLevel, { seconds }: CandleLevel): string {
  return `
    select topic_id, time_bucket(interval '${seconds} seconds', bucket) as bucket,
      first(open, bucket) as open, max(high) as high, min(low) as low, last(close, bucket) as close,
      sum(volume) as volume, sum(trades)::bigint as trades, sum(doubles)::bigint as doubles
    from ${finer.name} group by 1, 2`
}

export async function ensureAggregates(sql: Sql, settings: StoreSettings): Promise<void> {
  for (const [i, level] of CANDLE_LEVELS.entries()) {
    if (!(await isThere(sql, 'continuous_aggregates', level.name)))
      await createAggregate(sql, level, CANDLE_LEVELS[i - 1])
    await ensurePolicy(sql, {
      kind: 'policy_refresh_continuous_aggregate',
      relation: level.name,
      config: {
        start_offset: settings.refreshWindow,
        end_offset: `${level.endOffsetSeconds}s`,
      },
      every: level.every,
      add: `select add_continuous_aggregate_policy('${level.name}', start_offset => $1::interval,
              end_offset => $2::interval, schedule_interval => $3::interval, buckets_per_batch => ${BUCKETS_PER_BATCH})`,
      remove: `select remove_continuous_aggregate_policy('${level.name}')`,
    })
    const { retainCandles } = settings
    await ensurePolicy(sql, {
      kind: 'policy_retention',
      relation: level.name,
      config: retainCandles === 'off' ? undefined : { drop_after: retainCandles },
      add: `select add_retention_policy('${level.name}', drop_after => $1::interval)`,
      remove: `select remove_retention_policy('${level.name}')`,
    })
  }
}

/** Trades that are stored already are late for it. */
async function createAggregate(sql: Sql, level: CandleLevel, finer: CandleLevel | undefined): Promise<void> {
  await sql.query(`create materialized view ${level.name}
    with (timescaledb.continuous, timescaledb.materialized_only = false) as
    ${finer ? ofFiner(finer, level) : OF_TRADES} with no data`)
  await sql.query(`create or replace view ${level.view} as
    select t.source, t.symbol, c.bucket as time, c.open, c.high, c.low, c.close, c.volume, c.trades
    from ${level.name} c join topics t on t.id = c.topic_id`)
  await sql.query(`insert into late_trades (from_time, to_time)
    select min(event_time), max(event_time) from events_trade having count(*) > 0`)
}
