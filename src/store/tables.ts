import type { Channel, EventType } from '../market/event.ts'
import { COMPACT_TICKER, COMPACT_TRADE, type CompactShape } from './compact.ts'

/** A column beside those that every event has, and the field of the event's JSON that it is taken from. */
export interface Column {
  readonly name: string
  readonly field: string
  /** `micros`: an integer of µs that becomes a timestamptz. */
  readonly type: 'numeric' | 'text' | 'bigint' | 'boolean' | 'micros'
}

export interface EventTable {
  readonly name: string
  /** Of `e`, that `eventBody` makes an event's text of. */
  readonly bodyColumns: string
  /** As COPY takes them, in the order in which `rows.ts` writes them. */
  readonly columns: readonly string[]
  readonly own: readonly Column[]
  /** Where an event may be stored without its bytes. */
  readonly shape?: CompactShape
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

const COMMON = ['topic_id', 'received_time', 'epoch', 'seq', 'event_time', 'body']
/** Of tables with a shape. */
const COMPACT = ['published', 'flags', 'venue_first', 'venue_last']

function eventTable(name: string, own: readonly Column[], shape?: CompactShape): EventTable {
  const names = own.map((column) => column.name)
  const parts = [
    `${microsOf('e.event_time')} as event_time, e.published, e.flags`,
    'e.venue_first::float8 as venue_first, e.venue_last::float8 as venue_last',
    `array[${names.map((column) => `e.${column}::text`).join(', ')}] as own`,
  ]
  return {
    name,
    own,
    bodyColumns: shape ? `e.body, ${parts.join(', ')}` : 'e.body',
    columns: [...COMMON, ...(shape ? COMPACT : []), ...names],
    ...(shape ? { shape } : {}),
  }
}

const OTHER = eventTable('events_other', [])

const TABLES: Partial<Record<Channel, EventTable>> = {
  ticker: eventTable(
    'events_ticker',
    columns('numeric', 'bid', 'bid_size', 'ask', 'ask_size', 'last', 'open', 'high', 'low', 'volume'),
    COMPACT_TICKER,
  ),
  trades: eventTable(
    'events_trade',
    [
      { name: 'trade_id', field: 'id', type: 'text' },
      ...columns('numeric', 'price', 'size'),
      ...columns('text', 'side'),
    ],
    COMPACT_TRADE,
  ),
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
