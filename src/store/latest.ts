import { CHANNELS, type Channel } from '../market/event.ts'
import { type EventRow, eventColumns, storedEvent } from './history.ts'
import type { LatestQuery, Sql, StoredEvent } from './store.ts'
import { type EventTable, tableOf, timeOf } from './tables.ts'

const ODDS = tableOf('odds')
const CANDLES = tableOf('ohlcv')
/** As `conflationKey` has it. */
const ODDS_KEY = 'e.kind, e.market_id, e.selection_id, e.side, e.level'
const CHANNEL_NAMES = Object.keys(CHANNELS) as Channel[]

/** A candle that closed longer ago, before the newest event of its topic, is not looked for. */
const CANDLES_WITHIN = "interval '14 days'"

/**
 * Gaps are no values, and never stored without their bytes. The field order is fixed, so that the type is known from the
 * beginning of the text.
 */
const IS_VALUE = `(e.body is null or e.body not like '{"v":1,"type":"gap"%')`

/**
 * The newest of each topic: as many short descents of the index by topic and time as there are topics, however much is
 * stored.
 */
export async function latest(sql: Sql, query: LatestQuery): Promise<readonly StoredEvent[]> {
  const channels = query.channel === undefined ? CHANNEL_NAMES : [query.channel]
  const found: StoredEvent[] = []
  for (const [table, of] of byTable(channels.filter((channel) => channel !== 'orderbook'))) {
    const { rows } = await sql.query<EventRow>(
      `select ${eventColumns(table)}
       from topics t join topic_heads h on h.topic_id = t.id cross join lateral (${newestIn(table, query.before !== undefined)}) e
       where t.channel = any($1::text[]) and ($2::text is null or t.source = $2)
         and ($3::text is null or t.subject = $3) and ($4::text is null or t.timeframe = $4)
       order by e.received_time, t.name, e.epoch, e.seq`,
      [
        ...[of, query.source ?? null, query.subject ?? null, query.timeframe ?? null],
        ...(query.before === undefined ? [] : [query.before]),
      ],
    )
    for (const row of rows) found.push(storedEvent(row, table))
  }
  return found
}

function byTable(channels: readonly Channel[]): Map<EventTable, Channel[]> {
  const tables = new Map<EventTable, Channel[]>()
  for (const channel of channels) {
    const table = tableOf(channel)
    const of = tables.get(table)
    if (of) of.push(channel)
    else tables.set(table, [channel])
  }
  return tables
}

/** What is newest of the topic `t`, which ends at `h`; or was, `$5` says when. */
function newestIn(table: EventTable, then: boolean): string {
  const before = then ? `and e.received_time < ${timeOf('$5::float8')}` : ''
  if (table === ODDS)
    return then
      ? `select distinct on (${ODDS_KEY}) e.* from events_odds e
         where e.topic_id = t.id and e.kind in ('market', 'price') ${before}
         order by ${ODDS_KEY}, e.received_time desc, e.epoch desc, e.seq desc`
      : 'select * from odds_current e where e.topic_id = t.id'
  if (table === CANDLES) {
    const end = then ? `least(h.received_time, ${timeOf('$5::float8')})` : 'h.received_time'
    return `select distinct on (e.open_time) e.* from events_ohlcv e
      where e.topic_id = t.id and e.open_time is not null and e.received_time > ${end} - ${CANDLES_WITHIN} ${before}
      order by e.open_time desc, e.received_time desc, e.epoch desc, e.seq desc limit 2`
  }
  return `select * from ${table.name} e
    where e.topic_id = t.id and ${IS_VALUE} ${before} order by e.received_time desc limit 1`
}
