import { CHANNELS, type Channel, type Payload } from '../../market/event.ts'

type FieldOf<P> = P extends unknown ? Exclude<keyof P, 'type'> : never
type PayloadFields = readonly FieldOf<Payload>[]

const ENVELOPE = ['epoch', 'seq', 'sourceTime', 'receivedTime', 'publishedTime', 'flags', 'venueSeq'] as const

/** Columns of a channel's payload. A channel without an entry has its events whole, as JSON, in the column `event`. */
const COLUMNS: { readonly [C in Channel]?: PayloadFields } = {
  ticker: ['bid', 'bidSize', 'ask', 'askSize', 'last', 'open', 'high', 'low', 'volume'],
  trades: ['id', 'price', 'size', 'side'],
  orderbook: ['kind', 'bids', 'asks', 'depth', 'checksum'],
  ohlcv: [
    ...(['timeframe', 'openTime', 'open', 'high', 'low', 'close', 'volume', 'quoteVolume'] as const),
    ...(['trades', 'closed', 'origin', 'revision'] as const),
  ],
  odds: [
    ...([
      'kind',
      'marketId',
      'market',
      'line',
      'phase',
      'status',
      'version',
      'betDelay',
      'selections',
    ] as const),
    ...([
      'selectionId',
      'selection',
      'side',
      'level',
      'odds',
      'size',
      'sourcePrice',
      'sourceFormat',
    ] as const),
    ...(['marketVersion', 'outcome', 'deadHeat', 'revision'] as const),
  ],
  status: ['messageId', 'tenantId', 'status', 'channel'],
  funding: ['rate', 'nextTime', 'markPrice'],
  openinterest: ['amount'],
  liquidations: ['price', 'size', 'side'],
  source: ['state', 'reason', 'attempt'],
}
/** A gap stands among the events of its topic. */
const GAP: PayloadFields = ['reason', 'fromTime', 'toTime', 'repairedBy']

/** How a channel's events are written as CSV, RFC 4180: digits as they were sent, what is nested as JSON. */
export function csvOf(channel: Channel): { readonly header: string; row(body: string): string } {
  const payload = COLUMNS[channel]
  const head = ['type', 'source', CHANNELS[channel].subject, ...ENVELOPE]
  const columns = payload ? [...new Set<string>([...head, ...payload, ...GAP])] : [...head, 'event']
  return {
    header: `${columns.join(',')}\r\n`,
    row: (body) => {
      const fields = fieldsOf(body).set('event', body)
      return `${columns.map((column) => quoted(fields.get(column) ?? '')).join(',')}\r\n`
    },
  }
}

/** A spreadsheet takes a field that begins so for a formula and runs it; a number is none. */
const FORMULA = /^[=+\-@\t\r]/
const NUMBER = /^[+-]?\d+(\.\d+)?$/

/** Text that would be a formula gets an apostrophe before it, as spreadsheets show text: names come from outside. */
function quoted(text: string): string {
  const safe = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/**
 * The fields of a flat walk over an event's JSON: text unquoted, everything else the very characters. A number above
 * 2^53, which JSON.parse would change, stays what it was.
 */
function fieldsOf(body: string): Map<string, string> {
  const fields = new Map<string, string>()
  let at = 1
  while (at < body.length - 1) {
    const nameEnd = endOfText(body, at)
    const valueEnd = endOfValue(body, nameEnd + 1)
    const value = body.slice(nameEnd + 1, valueEnd)
    fields.set(body.slice(at + 1, nameEnd - 1), value[0] === '"' ? (JSON.parse(value) as string) : value)
    at = valueEnd + 1
  }
  return fields
}

/** Behind the closing quote of the text that opens at `start`. */
function endOfText(body: string, start: number): number {
  let at = start + 1
  while (at < body.length && body[at] !== '"') at += body[at] === '\\' ? 2 : 1
  return at + 1
}

/** The comma or brace that ends the value that begins at `start`. */
function endOfValue(body: string, start: number): number {
  let depth = 0
  let at = start
  while (at < body.length) {
    const c = body[at]
    if (c === '"') {
      at = endOfText(body, at)
      continue
    }
    if (depth === 0 && (c === ',' || c === '}')) return at
    if (c === '[' || c === '{') depth++
    else if (c === ']' || c === '}') depth--
    at++
  }
  return at
}
