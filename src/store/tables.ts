import type { Channel, EventType } from '../market/event.ts'

/** A column beside those that every event has, and the field of the event's JSON that it is taken from. */
interface Column {
  readonly name: string
  readonly field: string
  /** `micros`: an integer of µs that becomes a timestamptz. */
  readonly type: 'numeric' | 'text' | 'bigint' | 'boolean' | 'micros'
}

export interface EventTable {
  readonly name: string
  /** Stores a batch of events: `$1` topic ids, `$2` their bodies as one JSON array, in the same order. */
  readonly insert: string
}

function columns(type: Column['type'], ...names: string[]): Column[] {
  return names.map((name) => ({
    name,
    field: name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
    type,
  }))
}

/** µs to timestamptz, exactly: a double holds the quotient well within half a µs until the year 2242. */
export function timeOf(micros: string): string {
  return `to_timestamp(${micros} / 1e6::float8)`
}

/** Timestamptz to µs, exactly; a double, because drivers give bigints as text. */
export function microsOf(time: string): string {
  return `(extract(epoch from ${time}) * 1000000)::float8`
}

/**
 * The database takes the columns from the JSON itself, so that no event is taken apart on the event loop that serves
 * clients; the elements of a `json` array are kept to the byte. Of the ways measured on PGlite it is also the fastest.
 */
function eventTable(name: string, own: readonly Column[]): EventTable {
  const fields = own.map(({ field, type }) => `"${field}" ${type === 'micros' ? 'float8' : type}`)
  const values = own.map(({ field, type }) => (type === 'micros' ? timeOf(`"${field}"`) : `"${field}"`))
  const record = ['epoch bigint', 'seq bigint', '"sourceTime" float8', '"receivedTime" float8', ...fields]
  const names = record.map((field) => field.slice(0, field.lastIndexOf(' ')))
  return {
    name,
    insert: `insert into ${name}
      (${['topic_id', 'body', 'epoch', 'seq', 'received_time', 'event_time', ...own.map((column) => column.name)].join(', ')})
      select ${[
        ...['topic_id', 'body::text', 'epoch', 'seq', timeOf('"receivedTime"')],
        ...[timeOf('coalesce("sourceTime", "receivedTime")'), ...values],
      ].join(', ')}
      from rows from (unnest($1::integer[]), json_array_elements($2::json),
                      json_to_recordset($2::json) as (${record.join(', ')}))
        as batch (topic_id, body, ${names.join(', ')})
      on conflict do nothing`,
  }
}

const OTHER = eventTable('events_other', [])

const TABLES: Partial<Record<Channel, EventTable>> = {
  ticker: eventTable(
    'events_ticker',
    columns('numeric', 'bid', 'bid_size', 'ask', 'ask_size', 'last', 'open', 'high', 'low', 'volume'),
  ),
  trades: eventTable('events_trade', [
    { name: 'trade_id', field: 'id', type: 'text' },
    ...columns('numeric', 'price', 'size'),
    ...columns('text', 'side'),
  ]),
  orderbook: eventTable('events_book', columns('text', 'kind')),
  ohlcv: eventTable('events_ohlcv', [
    ...columns('micros', 'open_time'),
    ...columns('numeric', 'open', 'high', 'low', 'close', 'volume', 'quote_volume'),
    ...columns('bigint', 'trades', 'revision'),
    ...columns('boolean', 'closed'),
    ...columns('text', 'origin'),
  ]),
  odds: eventTable('events_odds', [
    ...columns('text', 'kind', 'market_id', 'market', 'phase', 'status', 'selection_id', 'selection', 'side'),
    ...columns('text', 'outcome'),
    ...columns('numeric', 'line', 'odds', 'size'),
    ...columns('bigint', 'level'),
  ]),
  status: eventTable('events_status', columns('text', 'message_id', 'status', 'channel')),
  source: eventTable('events_source', [
    ...columns('text', 'state', 'reason'),
    ...columns('bigint', 'attempt'),
  ]),
}

/** Where the events of a channel are, gaps among them. */
export function tableOf(channel: Channel): EventTable {
  return TABLES[channel] ?? OTHER
}

/** All gaps once more, over all channels. */
export const GAPS = eventTable('gaps', [
  ...columns('text', 'reason', 'repaired_by'),
  ...columns('micros', 'from_time', 'to_time'),
])

export const GAP: EventType = 'gap'
