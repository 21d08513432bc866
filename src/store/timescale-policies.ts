import type { Sql } from './store.ts'

export interface Policy {
  readonly kind: 'policy_compression' | 'policy_retention' | 'policy_refresh_continuous_aggregate'
  readonly relation: string
  /** Durations by the name that the job knows them by; undefined: no such policy. */
  readonly config: Readonly<Record<string, string>> | undefined
  /** How often it runs; absent: as TimescaleDB says. */
  readonly every?: string
  /** `$1` and on: the durations in their order, then `every`. */
  readonly add: string
  readonly remove: string
}

/** Makes the policy what it should be: what changed is removed and added, for nothing else changes all of it. */
export async function ensurePolicy(sql: Sql, policy: Policy): Promise<void> {
  const { config, every } = policy
  const { rows } = await sql.query<{ is_same: boolean }>(
    `select coalesce(bool_and((config ->> wanted.name)::interval = wanted.value::interval), false)
            and ($5::interval is null or schedule_interval = $5::interval) as is_same
     from timescaledb_information.jobs left join unnest($3::text[], $4::text[]) as wanted (name, value) on true
     where proc_name = $1 and hypertable_schema = current_schema() and hypertable_name = $2
     group by job_id, schedule_interval`,
    [policy.kind, policy.relation, Object.keys(config ?? {}), Object.values(config ?? {}), every ?? null],
  )
  const isThere = rows.length > 0
  if (isThere && config && rows[0]!.is_same) return
  if (isThere) await sql.query(policy.remove)
  if (config) await sql.query(withValues(policy.add, [...Object.values(config), ...(every ? [every] : [])]))
}

/** CALL takes no parameters of an unknown type; durations have been checked and hold digits and a letter. */
function withValues(statement: string, durations: readonly string[]): string {
  return statement.replace(/\$(\d)/g, (_, n: string) => `'${durations[Number(n) - 1]}'`)
}

export async function isThere(
  sql: Sql,
  kind: 'hypertables' | 'continuous_aggregates',
  name: string,
): Promise<boolean> {
  const prefix = kind === 'hypertables' ? 'hypertable' : 'view'
  const { rows } = await sql.query(
    `select 1 from timescaledb_information.${kind} where ${prefix}_schema = current_schema() and ${prefix}_name = $1`,
    [name],
  )
  return rows.length > 0
}
