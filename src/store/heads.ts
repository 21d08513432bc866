import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Micros } from '../market/event.ts'
import type { Sql, StoredPosition } from './store.ts'
import { microsOf, timeOf } from './tables.ts'

/** Enough for what a venue sends again after a connection and what was on its way. */
const MAX_TRADE_IDS = 256

interface Head {
  readonly epoch: number
  readonly seq: number
  readonly receivedTime: Micros
}

/** Where topics end: what is stored, and what a batch adds to it. */
export class Heads {
  readonly #stored: ReadonlyMap<number, Head>
  readonly #moved = new Map<number, EncodedEvent>()

  constructor(stored: ReadonlyMap<number, Head>) {
    this.#stored = stored
  }

  /**
   * `fenced`: of an owner that was replaced. `new`: beyond all that is stored of the topic, so not stored yet. Events are
   * given in the order in which they came.
   */
  judge(topicId: number, event: EncodedEvent): 'fenced' | 'new' | 'doubtful' {
    const head = this.#moved.get(topicId) ?? this.#stored.get(topicId)
    if (head && event.epoch < head.epoch) return 'fenced'
    if (head && event.epoch === head.epoch && event.seq <= head.seq) return 'doubtful'
    this.#moved.set(topicId, event)
    return 'new'
  }

  moved(): ReadonlyMap<number, EncodedEvent> {
    return this.#moved
  }
}

/** Nobody else stores events of these topics before the transaction ends. */
export async function lockHeads(tx: Sql, topicIds: ReadonlySet<number>): Promise<Heads> {
  const { rows } = await tx.query<{ topic_id: number; epoch: number; seq: number; received_time: Micros }>(
    `select topic_id, epoch::float8 as epoch, seq::float8 as seq, ${microsOf('received_time')} as received_time
     from topic_heads where topic_id = any($1::integer[]) order by topic_id for update`,
    [[...topicIds]],
  )
  return new Heads(
    new Map(
      rows.map(({ topic_id, epoch, seq, received_time }) => [
        topic_id,
        { epoch, seq, receivedTime: received_time },
      ]),
    ),
  )
}

export async function advanceHeads(tx: Sql, heads: Heads): Promise<void> {
  const moved = [...heads.moved()].sort(([a], [b]) => a - b)
  if (moved.length === 0) return
  await tx.query(
    `insert into topic_heads as kept (topic_id, epoch, seq, received_time)
     select topic_id, epoch, seq, ${timeOf('received_time')}
     from unnest($1::integer[], $2::bigint[], $3::bigint[], $4::float8[])
       as head (topic_id, epoch, seq, received_time)
     on conflict (topic_id) do update
       set epoch = excluded.epoch, seq = excluded.seq, received_time = excluded.received_time
       where (excluded.epoch, excluded.seq) > (kept.epoch, kept.seq)`,
    [
      moved.map(([topicId]) => topicId),
      moved.map(([, head]) => head.epoch),
      moved.map(([, head]) => head.seq),
      moved.map(([, head]) => head.receivedTime),
    ],
  )
}

interface PositionRow {
  readonly name: string
  readonly epoch: number
  readonly seq: number
  readonly received_time: Micros
  readonly trade_ids: readonly string[] | null
}

export async function positions(sql: Sql, source: string): Promise<ReadonlyMap<string, StoredPosition>> {
  const { rows } = await sql.query<PositionRow>(
    `select t.name, h.epoch::float8 as epoch, h.seq::float8 as seq, ${microsOf('h.received_time')} as received_time,
       case when t.channel = 'trades' then array(
         select trade_id from (
           select trade_id, received_time from events_trade e
           where e.topic_id = t.id and e.trade_id is not null
           order by e.received_time desc limit ${MAX_TRADE_IDS}
         ) newest order by received_time
       ) end as trade_ids
     from topics t join topic_heads h on h.topic_id = t.id where t.source = $1`,
    [source],
  )
  return new Map(
    rows.map(({ name, epoch, seq, received_time, trade_ids }) => [
      name,
      { epoch, seq, receivedTime: received_time, ...(trade_ids?.length ? { tradeIds: trade_ids } : {}) },
    ]),
  )
}
