import { CHANNELS, type Channel } from '../market/event.ts'
import { EVENT_COLUMNS, type EventRow, storedEvent } from './history.ts'
import type { LatestQuery, Sql, StoredEvent } from './store.ts'
import { tableOf } from './tables.ts'

const CHANNEL_NAMES = Object.keys(CHANNELS) as Channel[]

/** A candle that closed longer ago, before the newest event of its topic, is not looked for. */
const CANDLES_WITHIN = "interval '14 days'"

/** Gaps are no values. The field order is fixed, so that the type is known from the beginning of the text. */
const IS_VALUE = `e.body not like '{"v":1,"type":"gap"%'`

/**
 * The newest of each topic: as many short descents of the index by topic and time as there are topics, however much is
 * stored.
 */
export async function latest(sql: Sql, query: LatestQuery): Promise<readonly StoredEvent[]> {
  const channels = query.channel === undefined ? CHANNEL_NAMES : [query.channel]
  const byStatement = new Map<string, Channel[]>()
  for (const channel of channels) {
    if (channel === 'orderbook') continue
    const statement = statementOf(channel)
    byStatement.set(statement, [...(byStatement.get(statement) ?? []), channel])
  }
  const found: StoredEvent[] = []
  for (const [newest, of] of byStatement) {
    const { rows } = await sql.query<EventRow>(
      `select ${EVENT_COLUMNS}
       from topics t join topic_heads h on h.topic_id = t.id cross join lateral (${newest}) e
       where t.channel = any($1::text[]) and ($2::text is null or t.source = $2)
         and ($3::text is null or t.subject = $3) and ($4::text is null or t.timeframe = $4)
       order by e.received_time, t.name, e.epoch, e.seq`,
      [of, query.source ?? null, query.subject ?? null, query.timeframe ?? null],
    )
    found.push(...rows.map(storedEvent))
  }
  return found
}

/** What is newest of the topic `t`, which ends at `h`. */
function statementOf(channel: Channel): string {
  if (channel === 'odds') return 'select * from odds_current e where e.topic_id = t.id'
  if (channel === 'ohlcv')
    return `select distinct on (e.open_time) e.received_time, e.epoch, e.seq, e.body from events_ohlcv e
      where e.topic_id = t.id and e.open_time is not null and e.received_time > h.received_time - ${CANDLES_WITHIN}
      order by e.open_time desc, e.received_time desc, e.epoch desc, e.seq desc limit 2`
  return `select e.received_time, e.epoch, e.seq, e.body from ${tableOf(channel).name} e
    where e.topic_id = t.id and ${IS_VALUE} order by e.received_time desc limit 1`
}
