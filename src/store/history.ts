import { FeedgateError } from '../errors.ts'
import type { Micros } from '../market/event.ts'
import { parseTopic, type Topic } from '../market/topic.ts'
import type { GapQuery, HistoryQuery, Page, Sql, StoredEvent } from './store.ts'
import { GAPS, microsOf, tableOf, timeOf } from './tables.ts'

/** Where a page ended: events are read by (receivedTime, topic, epoch, seq). */
type Position = readonly [receivedTime: Micros, topic: string, epoch: number, seq: number]

export interface EventRow {
  readonly received_time: Micros
  readonly name: string
  readonly epoch: number
  readonly seq: number
  readonly body: string
}

export const EVENT_COLUMNS = `${microsOf('e.received_time')} as received_time, t.name,
  e.epoch::float8 as epoch, e.seq::float8 as seq, e.body`

export async function history(sql: Sql, query: HistoryQuery): Promise<Page<StoredEvent>> {
  return readPage(sql, tableOf(query.channel).name, query, new Conditions())
}

/** Holes that reach into the time asked for, whenever they were declared. */
export async function gaps(sql: Sql, query: GapQuery): Promise<Page<StoredEvent>> {
  const { from, to, ...others } = query
  const where = new Conditions()
  if (from !== undefined) where.add('e.to_time >= ?', timeOf, from)
  if (to !== undefined) where.add('e.from_time < ?', timeOf, to)
  return readPage(sql, GAPS.name, others, where)
}

/** Conditions joined by `and`, and the values of their `?`. */
class Conditions {
  readonly values: unknown[] = []
  readonly #texts: string[] = []

  /** The value stands where `?` is; `as` wraps its placeholder. */
  add(text: string, as: (placeholder: string) => string, value: unknown): void {
    this.values.push(value)
    this.#texts.push(text.replace('?', as(`$${this.values.length}`)))
  }

  toString(): string {
    return this.#texts.length > 0 ? this.#texts.join(' and ') : 'true'
  }
}

async function readPage(
  sql: Sql,
  table: string,
  query: Partial<HistoryQuery> & { readonly limit: number },
  where: Conditions,
): Promise<Page<StoredEvent>> {
  const after = query.cursor === undefined ? undefined : readCursor(query.cursor)
  const topics = await matchingTopics(sql, query)
  if (topics.length === 0) return { items: [], next: null }
  // One topic is asked for as such: then its own index gives the order.
  const single = topics.length === 1
  if (single) where.add('e.topic_id = ?', (v) => `${v}::integer`, topics[0])
  else where.add('e.topic_id = any(?)', (v) => `${v}::integer[]`, topics)
  if (query.from !== undefined) where.add('e.received_time >= ?', time, query.from)
  if (query.to !== undefined) where.add('e.received_time < ?', time, query.to)
  if (after) afterPosition(where, after)
  const { rows } = await sql.query<EventRow>(
    `select ${EVENT_COLUMNS} from ${table} e join topics t on t.id = e.topic_id
     where ${where} order by e.received_time, ${single ? '' : 't.name, '}e.epoch, e.seq limit $${where.values.length + 1}`,
    [...where.values, query.limit + 1],
  )
  const items = rows.slice(0, query.limit).map(storedEvent)
  const last = rows.length > query.limit ? items.at(-1) : undefined
  return { items, next: last ? writeCursor(last) : null }
}

function time(placeholder: string): string {
  return timeOf(`${placeholder}::float8`)
}

/** The first condition says less than the second; it is what an index on the time can use. */
function afterPosition(where: Conditions, [receivedTime, topic, epoch, seq]: Position): void {
  where.add('e.received_time >= ?', time, receivedTime)
  const at = where.values.length
  where.values.push(topic, epoch, seq)
  where.add(
    `(e.received_time, t.name, e.epoch, e.seq) >
      (?, $${at + 1}::text collate "C", $${at + 2}::bigint, $${at + 3}::bigint)`,
    time,
    receivedTime,
  )
}

async function matchingTopics(
  sql: Sql,
  query: Partial<Pick<HistoryQuery, 'channel' | 'source' | 'subject' | 'timeframe' | 'tenant' | 'sources'>>,
): Promise<number[]> {
  const where = new Conditions()
  const text = (v: string) => `${v}::text`
  if (query.channel !== undefined) where.add('channel = ?', text, query.channel)
  if (query.source !== undefined) where.add('source = ?', text, query.source)
  if (query.subject !== undefined) where.add('? in (subject, symbol)', text, query.subject)
  if (query.timeframe !== undefined) where.add('timeframe = ?', text, query.timeframe)
  if (query.tenant !== undefined) where.add('(tenant = ? or tenant is null)', text, query.tenant)
  if (query.sources !== undefined) where.add('source = any(?)', (v) => `${v}::text[]`, query.sources)
  const { rows } = await sql.query<{ id: number }>(`select id from topics where ${where}`, where.values)
  return rows.map((row) => row.id)
}

export function storedEvent(row: EventRow): StoredEvent {
  return {
    topic: storedTopic(row.name),
    epoch: row.epoch,
    seq: row.seq,
    receivedTime: row.received_time,
    body: row.body,
  }
}

function storedTopic(name: string): Topic {
  const topic = parseTopic(name)
  if (!topic) throw new FeedgateError('internal', `the store holds a topic of no known channel: ${name}`)
  return topic
}

function writeCursor(last: StoredEvent): string {
  const position: Position = [last.receivedTime, last.topic.id, last.epoch, last.seq]
  return Buffer.from(JSON.stringify(position)).toString('base64url')
}

function readCursor(cursor: string): Position {
  const position = parseCursor(cursor)
  const [receivedTime, topic, epoch, seq] = position
  const numbers = [receivedTime, epoch, seq].every((n) => Number.isSafeInteger(n) && (n as number) >= 0)
  if (position.length !== 4 || !numbers || typeof topic !== 'string' || topic.includes('\0'))
    throw badCursor()
  return position as unknown as Position
}

/** The array that a cursor holds; anything else is refused with 400. */
export function parseCursor(cursor: string): readonly unknown[] {
  if (/^[A-Za-z0-9_-]{1,4096}$/.test(cursor)) {
    try {
      const parsed: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
      if (Array.isArray(parsed)) return parsed
    } catch {
      // Falls through to the one refusal.
    }
  }
  throw badCursor()
}

export function badCursor(): FeedgateError {
  return new FeedgateError('bad-request', 'cursor is not one that a page gave as its next')
}
