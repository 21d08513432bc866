import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Compact } from './compact.ts'
import { CopyWriter } from './copy-writer.ts'
import type { Column, EventTable } from './tables.ts'

/** Of the columns of a row, beside its bytes. */
const ROW_BYTES = 200
/** Rows of a piece: enough to be worth a write, and soon made. */
const PIECE = 500

/** What no repetition cures, by the database's own codes: not the text of a number, or not what a column can hold. */
function refused(what: string, code: '22P02' | '22003'): Error {
  return Object.assign(new Error(what), { code })
}

/** Events as rows for COPY, piece by piece, with the columns in the order of the table's `columns`. */
export function* rowsOf(
  table: EventTable,
  events: readonly EncodedEvent[],
  topicIdOf: (event: EncodedEvent) => number,
): Generator<Uint8Array> {
  const writer = new CopyWriter(expectedBytes(events, 0))
  for (let at = 0; at < events.length; ) {
    const end = Math.min(at + PIECE, events.length)
    while (at < end) writeRow(writer, table, events[at]!, topicIdOf(events[at++]!))
    if (at === events.length) writer.end()
    yield writer.take(expectedBytes(events, at))
  }
}

function expectedBytes(events: readonly EncodedEvent[], from: number): number {
  let bytes = 0
  for (let at = from; at < Math.min(from + PIECE, events.length); at++)
    bytes += events[at]!.bytes.length + ROW_BYTES
  return bytes
}

function writeRow(writer: CopyWriter, table: EventTable, event: EncodedEvent, topicId: number): void {
  writer.row(table.columns.length)
  writer.integer(topicId)
  writer.timestamp(event.receivedTime)
  writer.bigint(event.epoch)
  writer.bigint(event.seq)
  writer.timestamp(event.eventTime)
  const compact = table.shape?.take(event)
  if (compact) writeCompact(writer, table, compact)
  else writeWhole(writer, table, event)
}

function writeCompact(writer: CopyWriter, table: EventTable, compact: Compact): void {
  writer.null()
  writer.integer(compact.published)
  if (compact.flags === undefined) writer.null()
  else writer.text(compact.flags)
  if (compact.venueFirst === undefined) writer.null()
  else writer.bigint(compact.venueFirst)
  if (compact.venueLast === undefined) writer.null()
  else writer.bigint(compact.venueLast)
  for (let i = 0; i < table.own.length; i++) writeValue(writer, table.own[i]!, compact.own[i])
}

function writeWhole(writer: CopyWriter, table: EventTable, event: EncodedEvent): void {
  writer.utf8(event.bytes)
  if (table.shape) for (let i = 0; i < 4; i++) writer.null()
  if (table.own.length === 0) return
  const payload = payloadOf(event)
  for (const column of table.own) writeValue(writer, column, payload[column.field])
}

function payloadOf(event: EncodedEvent): Record<string, unknown> {
  try {
    return event.payload as unknown as Record<string, unknown>
  } catch (cause) {
    throw refused(`the event is not JSON: ${(cause as Error).message}`, '22P02')
  }
}

function writeValue(writer: CopyWriter, { name, type }: Column, value: unknown): void {
  if (value === undefined || value === null) writer.null()
  else if (type === 'text') writer.text(String(value))
  else if (type === 'boolean') writer.boolean(value === true)
  else if (type === 'numeric') {
    if (!writer.numeric(String(value)))
      throw refused(`${name} is no decimal: ${String(value).slice(0, 64)}`, '22P02')
  } else if (!Number.isSafeInteger(value)) throw refused(`${name} is no integer`, '22003')
  else if (type === 'bigint') writer.bigint(value as number)
  else writer.timestamp(value as number)
}
