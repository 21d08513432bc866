import type { OffsetRange } from '../bus/bus.ts'
import { FeedgateError } from '../errors.ts'
import type { Sql } from './store.ts'

/** The group whose offsets are stored with its rows. */
const GROUP = 'recorder'

/** Where a group stands, by partition; partitions that it never stored are absent. */
export async function readOffsets(
  sql: Sql,
  group: string,
  partitions: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await sql.query<{ name: string; position: string }>(
    'select name, position from consumer_offsets where name = any($1::text[])',
    [partitions.map((partition) => `${group}/${partition}`)],
  )
  return new Map(rows.map(({ name, position }) => [name.slice(group.length + 1), position]))
}

/**
 * Moves the partitions on, each only from where the batch says that it begins; a partition that was never stored begins
 * wherever its first batch does. Rejects with `fenced` when one stands elsewhere: another recorder has it now. One that
 * stands at the end of the batch already is no such case: the batch was committed, and its recorder never heard of it.
 */
export async function claimOffsets(tx: Sql, offsets: ReadonlyMap<string, OffsetRange>): Promise<void> {
  // In one order for all, so that two recorders wait for each other and never both.
  const ranges = [...offsets].sort(([a], [b]) => (a < b ? -1 : 1))
  const names = ranges.map(([partition]) => `${GROUP}/${partition}`)
  const from = ranges.map(([, range]) => range.from)
  const to = ranges.map(([, range]) => range.to)
  await tx.query(
    `insert into consumer_offsets (name, position) select * from unnest($1::text[], $2::text[])
     on conflict (name) do nothing`,
    [names, from],
  )
  const { rows } = await tx.query<{ name: string }>(
    `update consumer_offsets stored set position = batch.upto, updated_at = now()
     from unnest($1::text[], $2::text[], $3::text[]) as batch (name, since, upto)
     where stored.name = batch.name and stored.position in (batch.since, batch.upto)
     returning stored.name`,
    [names, from, to],
  )
  if (rows.length === ranges.length) return
  const moved = new Set(rows.map(({ name }) => name))
  const partition = names.find((name) => !moved.has(name))?.slice(GROUP.length + 1)
  throw new FeedgateError('fenced', `another recorder has ${partition} now: read again from what is stored`)
}
