import type { Sql } from '../store/store.ts'
import { type DesiredSource, type DesiredState, isDesiredSource } from './desired-state.ts'

/** What admins asked for, in the database that all nodes share. A row that cannot be read is left out, and kept. */
export function createStoredDesiredState(sql: Sql): DesiredState {
  return {
    shared: true,
    load: async () => {
      const { rows } = await sql.query<{ id: string; spec: string | null; subscriptions: string }>(
        'select id, spec, subscriptions from sources order by id',
      )
      return rows.flatMap(read)
    },
    put: async ({ id, spec, subscriptions }) => {
      await sql.query(
        `insert into sources (id, spec, subscriptions) values ($1, $2, $3)
         on conflict (id) do update
           set spec = excluded.spec, subscriptions = excluded.subscriptions, updated_at = now()`,
        [id, spec ? JSON.stringify(spec) : null, JSON.stringify(subscriptions)],
      )
    },
    remove: async (id) => {
      await sql.query('delete from sources where id = $1', [id])
    },
  }
}

function read(row: { id: string; spec: string | null; subscriptions: string }): DesiredSource[] {
  try {
    const source: unknown = {
      id: row.id,
      ...(row.spec !== null && { spec: JSON.parse(row.spec) }),
      subscriptions: JSON.parse(row.subscriptions),
    }
    return isDesiredSource(source) ? [source] : []
  } catch {
    return []
  }
}
