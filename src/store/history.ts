import { FeedgateError } from '../errors.ts'
import type { Micros } from '../market/event.ts'
import { parseTopic, type Topic } from '../market/topic.ts'
import type { CompactRow } from './compact.ts'
import type { GapQuery, HistoryQuery, Page, Sql, StoredEvent } from './store.ts'
import { type EventTable, GAPS, microsOf, tableOf, timeOf } from './tables.ts'

/** Where a page ended: events are read by (receivedTime, topic, epoch, seq). */
type Position = readonly [receivedTime: Micros, topic: string, epoch: number, seq: number]

/** An event as its columns have it: whole, or in parts where it is stored without its bytes. */
export type EventRow = {
  readonly received_time: Micros
  readonly name: string
  readonly epoch: number
  readonly seq: number
} & ({ readonly body: string } | ({ readonly body: null } & CompactRow))

const KEY_COLUMNS = `${microsOf('e.received_time')} as received_time, t.name,
  e.epoch::float8 as epoch, e.seq::float8 as seq`

export function eventColumns(table: EventTable): string {
  return `${KEY_COLUMNS}, ${table.bodyColumns}`
}

export async function history(sql: Sql, query: HistoryQuery): Promise<Page<StoredEvent>> {
  return readPage(sql, tableOf(query.channel), query, new Conditions())
}

/** Holes that reach into the time asked for, whenever they were declared. */
export async function gaps(sql: Sql, query: GapQuery): Promise<Page<StoredEvent>> {
  const { from, to, ...others } = query
  const where = new Conditions()
  if (from !== undefined) where.add('e.to_time >= ?', timeOf, from)
  if (to !== undefined) where.add('e.from_time < ?', timeOf, to)
  return readPage(sql, GAPS, others, where)
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

  copy(): Conditions {
    const copied = new Conditions()
    copied.values.push(...this.values)
    copied.#texts.push(...this.#texts)
    return copied
  }

  toString(): string {
    return this.#texts.length > 0 ? this.#texts.join(' and ') : 'true'
  }
}

async function readPage(
  sql: Sql,
  table: EventTable,
  query: Partial<HistoryQuery> & { readonly limit: number },
  where: Conditions,
): Promise<Page<StoredEvent>> {
  const after = query.cursor === undefined ? undefined : readCursor(query.cursor)
  const topics = await matchingTopics(sql, query)
  const wanted = query.limit + 1
  const from = Math.max(query.from ?? 0, after?.[0] ?? 0)
  const until = query.to ?? MAX_TIME
  const read = (since: Micros, upto: Micros, limit: number) =>
    readRows(sql, table, topics, [since, upto], after, where, limit)
  const rows: EventRow[] = []
  if (topics.length === 1) rows.push(...(await read(from, until, wanted)))
  else if (topics.length > 1)
    for await (const some of inSteps(sql, table, topics, from, until, () => wanted - rows.length, read))
      rows.push(...some)
  const items = rows.slice(0, query.limit).map((row) => storedEvent(row, table))
  const last = rows.length > query.limit ? items.at(-1) : undefined
  return { items, next: last ? writeCursor(last) : null }
}

/** Beyond this no time is stored; it is still a timestamp. */
const MAX_TIME: Micros = 2 ** 53 - 1
/** The first step of a read over many topics. */
const FIRST_STEP: Micros = 100_000

/**
 * Many topics are read in steps of time that grow until they are worth their statement: an index by topic and time is all
 * there is, and what one statement finds and throws away stays small.
 */
async function* inSteps(
  sql: Sql,
  table: EventTable,
  topics: readonly number[],
  from: Micros,
  until: Micros,
  missing: () => number,
  read: (since: Micros, upto: Micros, limit: number) => Promise<readonly EventRow[]>,
): AsyncGenerator<readonly EventRow[]> {
  let since: Micros | undefined = from
  for (let step = FIRST_STEP; missing() > 0; ) {
    since = await firstTime(sql, table, topics, since, until)
    if (since === undefined) return
    const upto = Math.min(since + step, until)
    const limit = missing()
    const rows = await read(since, upto, limit)
    yield rows
    if (rows.length < limit / 4) step *= 4
    since = upto
  }
}

async function firstTime(
  sql: Sql,
  table: EventTable,
  topics: readonly number[],
  from: Micros,
  until: Micros,
): Promise<Micros | undefined> {
  const { rows } = await sql.query<{ first: Micros | null }>(
    `select ${microsOf('min(first)')} as first
     from unnest($1::integer[]) as one (topic_id) cross join lateral (
       select min(e.received_time) as first from ${table.name} e
       where e.topic_id = one.topic_id and e.received_time >= ${time('$2')} and e.received_time < ${time('$3')}
     ) found`,
    [topics, from, until],
  )
  return rows[0]?.first ?? undefined
}

/** Each topic is asked by itself, for its own index gives the order. */
async function readRows(
  sql: Sql,
  table: EventTable,
  topics: readonly number[],
  [since, upto]: readonly [Micros, Micros],
  after: Position | undefined,
  conditions: Conditions,
  limit: number,
): Promise<readonly EventRow[]> {
  const where = conditions.copy()
  where.add('e.received_time >= ?', time, since)
  where.add('e.received_time < ?', time, upto)
  if (after) afterPosition(where, after)
  const next = where.values.length
  const { rows } = await sql.query<EventRow>(
    `select ${eventColumns(table)}
     from topics t cross join lateral (
       select * from ${table.name} e where e.topic_id = t.id and ${where}
       order by e.received_time, e.epoch, e.seq limit $${next + 1}
     ) e
     where t.id = any($${next + 2}::integer[])
     order by e.received_time, t.name, e.epoch, e.seq limit $${next + 1}`,
    [...where.values, limit, topics],
  )
  return rows
}

function time(placeholder: string): string {
  return timeOf(`${placeholder}::float8`)
}

function afterPosition(where: Conditions, [receivedTime, topic, epoch, seq]: Position): void {
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

export function storedEvent(row: EventRow, table: EventTable): StoredEvent {
  const topic = storedTopic(row.name)
  return {
    topic,
    epoch: row.epoch,
    seq: row.seq,
    receivedTime: row.received_time,
    body: row.body ?? table.shape!.text(topic, row),
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
