import type { BusBatch, DeadLetter } from '../bus/bus.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Topic } from '../market/topic.ts'
import { signals } from '../signals.ts'
import { BookImager } from './book-images.ts'
import { advanceHeads, lockHeads } from './heads.ts'
import { claimOffsets } from './offsets.ts'
import type { Sql } from './store.ts'
import { type EventTable, GAP, GAPS, tableOf } from './tables.ts'

/** Of malformed input so much is kept; the rest says no more. */
const MAX_LETTER_BYTES = 1 << 20

/** Writes batches: rows, what is derived from them, and where the bus goes on, in one transaction. */
export class Recording {
  readonly #sql: Sql
  /** Integer ids of topics; bounded as `topicOf`'s own table is. */
  readonly #topicIds = new Map<Topic, number>()
  readonly #imager = new BookImager()

  constructor(sql: Sql) {
    this.#sql = sql
  }

  async record(batch: BusBatch): Promise<void> {
    await this.#internTopics(batch.events)
    const accepted = await this.#sql.transaction(async (tx) => {
      if (batch.offsets) await claimOffsets(tx, batch.offsets)
      const events = await this.#unfenced(tx, batch.events)
      await this.#insertEvents(tx, events)
      if (batch.deadLetters.length > 0) await insertDeadLetters(tx, batch.deadLetters)
      return events
    })
    tellOfFenced(batch.events, accepted)
    await this.#insertImages(accepted)
  }

  /**
   * Without the events of owners that were replaced. The heads of the topics are locked first and moved on, so that of
   * two recorders with events of the same topic one waits for the other.
   */
  async #unfenced(tx: Sql, events: readonly EncodedEvent[]): Promise<readonly EncodedEvent[]> {
    if (events.length === 0) return events
    const heads = await lockHeads(tx, new Set(this.#ids(events)))
    const accepted = events.filter((event) => heads.accept(this.#topicIds.get(event.topic)!, event))
    await advanceHeads(tx, heads)
    return accepted
  }

  async #insertEvents(tx: Sql, events: readonly EncodedEvent[]): Promise<void> {
    const tables = new Map<EventTable, EncodedEvent[]>()
    for (const event of events) {
      add(tables, tableOf(event.topic.channel), event)
      if (event.type === GAP) add(tables, GAPS, event)
    }
    for (const [table, of] of tables) await this.#insert(tx, table.insert, of)
    const odds = newestOfEachKey(events.filter((event) => event.topic.channel === 'odds'))
    if (odds.length > 0) await this.#updateOdds(tx, odds)
  }

  /** Outside the transaction: an id that was given stays given when the batch fails. */
  async #internTopics(events: readonly EncodedEvent[]): Promise<void> {
    const unknown = new Set<Topic>()
    for (const event of events) if (!this.#topicIds.has(event.topic)) unknown.add(event.topic)
    if (unknown.size === 0) return
    const topics = [...unknown]
    const names = topics.map((topic) => topic.id)
    await this.#sql.query(
      `insert into topics (name, source, channel, subject, symbol, timeframe, tenant)
       select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
       on conflict (name) do nothing`,
      [
        names,
        topics.map((topic) => topic.source),
        topics.map((topic) => topic.channel),
        topics.map((topic) => topic.subject),
        topics.map((topic) => topic.publicSubject),
        topics.map((topic) => topic.timeframe ?? null),
        topics.map((topic) => topic.tenant ?? null),
      ],
    )
    const { rows } = await this.#sql.query<{ id: number; name: string }>(
      'select id, name from topics where name = any($1::text[])',
      [names],
    )
    const ids = new Map(rows.map((row) => [row.name, row.id]))
    for (const topic of topics) {
      const id = ids.get(topic.id)
      // What is no valid Unicode comes back as something else. 22021: the database's own code for it.
      if (id === undefined) throw Object.assign(new Error('topic is not valid text'), { code: '22021' })
      this.#topicIds.set(topic, id)
    }
  }

  #ids(events: readonly EncodedEvent[]): number[] {
    return events.map((event) => this.#topicIds.get(event.topic)!)
  }

  async #insert(tx: Sql, statement: string, events: readonly EncodedEvent[]): Promise<void> {
    await tx.query(statement, [this.#ids(events), jsonArray(events)])
  }

  async #updateOdds(tx: Sql, events: readonly EncodedEvent[]): Promise<void> {
    await tx.query(
      `insert into odds_current as kept (topic_id, key, body, epoch, seq, received_time)
       select topic_id, key, body::text, epoch, seq, to_timestamp("receivedTime" / 1e6::float8)
       from rows from (unnest($1::integer[]), unnest($2::text[]), json_array_elements($3::json),
                       json_to_recordset($3::json) as (epoch bigint, seq bigint, "receivedTime" float8))
         as batch (topic_id, key, body, epoch, seq, "receivedTime")
       on conflict (topic_id, key) do update
         set body = excluded.body, epoch = excluded.epoch, seq = excluded.seq, received_time = excluded.received_time
         where (excluded.epoch, excluded.seq) > (kept.epoch, kept.seq)`,
      [this.#ids(events), events.map((event) => event.key), jsonArray(events)],
    )
  }

  /** After the commit: an image is made of stored events only. One that is lost here is made a minute later. */
  async #insertImages(events: readonly EncodedEvent[]): Promise<void> {
    const images = this.#imager.take(events)
    if (images.length === 0) return
    await this.#sql.query(
      `insert into book_images (topic_id, received_time, epoch, seq, body)
       select topic_id, to_timestamp(received_time / 1e6::float8), epoch, seq, body
       from unnest($1::integer[], $2::float8[], $3::bigint[], $4::bigint[], $5::text[])
         as image (topic_id, received_time, epoch, seq, body)
       on conflict do nothing`,
      [
        this.#ids(images.map((image) => image.last)),
        images.map((image) => image.last.receivedTime),
        images.map((image) => image.last.epoch),
        images.map((image) => image.last.seq),
        images.map((image) => image.body),
      ],
    )
  }
}

function add(tables: Map<EventTable, EncodedEvent[]>, table: EventTable, event: EncodedEvent): void {
  const events = tables.get(table)
  if (events) events.push(event)
  else tables.set(table, [event])
}

/** One upsert must not meet the same row twice. */
function newestOfEachKey(events: readonly EncodedEvent[]): EncodedEvent[] {
  const newest = new Map<string, EncodedEvent>()
  for (const event of events)
    if (event.key !== undefined) newest.set(`${event.topic.id}\n${event.key}`, event)
  return [...newest.values()]
}

/** The bodies as they are, joined into one JSON array, in a buffer of its own that can be moved to a thread. */
function jsonArray(events: readonly EncodedEvent[]): Uint8Array {
  const [OPEN, COMMA, CLOSE] = [0x5b, 0x2c, 0x5d]
  let length = 1 + events.length
  for (const event of events) length += event.bytes.length
  const joined = Buffer.from(new ArrayBuffer(length))
  let at = 0
  for (const event of events) {
    joined[at] = at === 0 ? OPEN : COMMA
    joined.set(event.bytes, at + 1)
    at += 1 + event.bytes.length
  }
  joined[at] = CLOSE
  return joined
}

async function insertDeadLetters(tx: Sql, letters: readonly DeadLetter[]): Promise<void> {
  // NUL is what text of PostgreSQL cannot hold.
  const text = (value: string | undefined) => value?.replaceAll('\0', '\uFFFD') ?? null
  await tx.query(
    `insert into dead_letters (source, channel, subject, received_time, reason, bytes)
     select source, channel, subject, to_timestamp(received_time / 1e6::float8), reason, decode(bytes, 'base64')
     from unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::text[], $6::text[])
       as letter (source, channel, subject, received_time, reason, bytes)`,
    [
      letters.map((letter) => text(letter.source)),
      letters.map((letter) => text(letter.channel)),
      letters.map((letter) => text(letter.subject)),
      letters.map((letter) => letter.receivedTime),
      letters.map((letter) => text(letter.reason)),
      letters.map((letter) => letter.bytes.subarray(0, MAX_LETTER_BYTES).toString('base64')),
    ],
  )
}

function tellOfFenced(events: readonly EncodedEvent[], accepted: readonly EncodedEvent[]): void {
  if (accepted.length === events.length) return
  const kept = new Set(accepted)
  for (const { topic } of events.filter((event) => !kept.has(event)))
    signals.eventFenced.emit({ source: topic.source, channel: topic.channel })
}
