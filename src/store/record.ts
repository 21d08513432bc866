import type { BusBatch, DeadLetter } from '../bus/bus.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Topic } from '../market/topic.ts'
import { signals } from '../signals.ts'
import { BookImager } from './book-images.ts'
import type { Database, RecordingSql } from './database.ts'
import { advanceHeads, type Heads, lockHeads } from './heads.ts'
import { noteLateTrades } from './late-trades.ts'
import { claimOffsets } from './offsets.ts'
import { rowsOf } from './rows.ts'
import type { Sql } from './store.ts'
import { type EventTable, GAP, GAPS, tableOf } from './tables.ts'

/** Of malformed input so much is kept; the rest says no more. */
const MAX_LETTER_BYTES = 1 << 20

/** A row is there already, which the heads said it is not: 23505, on a hypertable with the name of a chunk. */
const DUPLICATE = '23505'

/**
 * Writes batches: rows, what is derived from them, and where the bus goes on, in one transaction. What the heads of the
 * topics prove to be new is copied, twice as fast as it can be inserted; what may be stored already is inserted unless it
 * is (docs/decisions/0007).
 */
export class Recording {
  readonly #database: Database
  readonly #sql: RecordingSql
  /** Integer ids of topics; bounded as `topicOf`'s own table is. */
  readonly #topicIds = new Map<Topic, number>()
  readonly #imager = new BookImager()

  constructor(database: Database) {
    this.#database = database
    this.#sql = database.recording
  }

  async record(batch: BusBatch): Promise<void> {
    await this.#internTopics(batch.events)
    const accepted = await this.#store(batch, false).catch((error: { code?: unknown }) => {
      // Rows that somebody else put there: slower, and whatever is there.
      if (error.code === DUPLICATE) return this.#store(batch, true)
      // After an outage the database may be another one: restored from a copy, with other ids.
      this.#topicIds.clear()
      throw error
    })
    tellOfFenced(batch.events, accepted)
    await this.#insertImages(accepted)
  }

  /** Answers the events that are stored now: all but those of owners that were replaced. */
  #store(batch: BusBatch, isDoubtful: boolean): Promise<readonly EncodedEvent[]> {
    return this.#sql.transaction(async (tx) => {
      if (batch.offsets && batch.offsets.size > 0) await claimOffsets(tx, batch.offsets)
      const accepted = batch.events.length > 0 ? await this.#storeEvents(tx, batch.events, isDoubtful) : []
      if (batch.deadLetters.length > 0) await insertDeadLetters(tx, batch.deadLetters)
      return accepted
    })
  }

  async #storeEvents(
    tx: RecordingSql,
    events: readonly EncodedEvent[],
    isDoubtful: boolean,
  ): Promise<readonly EncodedEvent[]> {
    // Of two recorders with events of the same topic one waits here for the other.
    const heads = await lockHeads(tx, new Set(this.#ids(events)))
    const { accepted, fresh, doubtful } = this.#judge(events, heads, isDoubtful)
    await advanceHeads(tx, heads)
    for (const [table, of] of fresh) await tx.copy(target(table.name, table), rowsOf(table, of, this.#idOf))
    for (const [table, of] of doubtful) await this.#insertUnlessStored(tx, table, of)
    const odds = newestOfEachKey(accepted.filter((event) => event.topic.channel === 'odds'))
    if (odds.length > 0) await this.#updateOdds(tx, odds)
    if (this.#database.aggregates?.()) await noteLateTrades(tx, accepted)
    return accepted
  }

  #judge(events: readonly EncodedEvent[], heads: Heads, isDoubtful: boolean) {
    const accepted: EncodedEvent[] = []
    const fresh = new Map<EventTable, EncodedEvent[]>()
    const doubtful = new Map<EventTable, EncodedEvent[]>()
    for (const event of events) {
      const verdict = heads.judge(this.#idOf(event), event)
      if (verdict === 'fenced') continue
      accepted.push(event)
      const tables = verdict === 'new' && !isDoubtful ? fresh : doubtful
      add(tables, tableOf(event.topic.channel), event)
      if (event.type === GAP) add(tables, GAPS, event)
    }
    return { accepted, fresh, doubtful }
  }

  async #insertUnlessStored(
    tx: RecordingSql,
    table: EventTable,
    events: readonly EncodedEvent[],
  ): Promise<void> {
    await tx.query(`create temporary table incoming (like ${table.name}) on commit drop`)
    await tx.copy(target('incoming', table), rowsOf(table, events, this.#idOf))
    await tx.query(`insert into ${table.name} select * from incoming on conflict do nothing`)
    await tx.query('drop table incoming')
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

  readonly #idOf = (event: EncodedEvent): number => this.#topicIds.get(event.topic)!

  #ids(events: readonly EncodedEvent[]): number[] {
    return events.map(this.#idOf)
  }

  async #updateOdds(tx: Sql, events: readonly EncodedEvent[]): Promise<void> {
    await tx.query(
      `insert into odds_current as kept (topic_id, key, received_time, epoch, seq, body)
       select topic_id, key, to_timestamp(received_time / 1e6::float8), epoch, seq, body
       from unnest($1::integer[], $2::text[], $3::float8[], $4::bigint[], $5::bigint[], $6::text[])
         as batch (topic_id, key, received_time, epoch, seq, body)
       on conflict (topic_id, key) do update
         set body = excluded.body, epoch = excluded.epoch, seq = excluded.seq, received_time = excluded.received_time
         where (excluded.epoch, excluded.seq) > (kept.epoch, kept.seq)`,
      [
        this.#ids(events),
        events.map((event) => event.key),
        events.map((event) => event.receivedTime),
        events.map((event) => event.epoch),
        events.map((event) => event.seq),
        events.map((event) => event.bytes.toString()),
      ],
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

function target(name: string, table: EventTable): string {
  return `${name} (${table.columns.join(', ')})`
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
