import { randomUUID } from 'node:crypto'
import type { Channel } from '../market/event.ts'
import type { Sql } from '../store/store.ts'
import type { Grant, GrantSpec } from './auth.ts'
import { nextChangeOf, type TenantGrants } from './entitlement.ts'

const MAX_TIMER_MS = 2 ** 31 - 1

interface Row {
  id: string
  tenant: string
  source: string
  channel: Channel | null
  depth: number | null
  delay_ms: number
  display: boolean
  from_ms: number | null
  to_ms: number | null
  created_at: string
}

const ms = (column: string) => `(extract(epoch from ${column}) * 1000)::float8`
const COLUMNS = `id, tenant, source, channel, depth, delay_ms::float8 AS delay_ms, display,
  ${ms('from_time')} AS from_ms, ${ms('to_time')} AS to_ms,
  to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at`

/** What is known of one tenant. */
interface Known {
  grants: TenantGrants
  ids: string
  /** The read it is from: an older one that ends later says nothing. */
  read: number
  /** See `nextChangeOf`. */
  changesAt: number
}

/**
 * Grants in the database, and in memory those of tenants that somebody called as: they decide about every topic at once.
 * Only admins add to them.
 */
export class Grants {
  readonly #sql: Sql
  readonly #now: () => number
  readonly #changed: (tenant: string) => void
  /** Bounded by the tenants that there are. */
  readonly #known = new Map<string, Known>()
  readonly #loads = new Map<string, Promise<void>>()
  #reads = 0
  /** Of all ids, as they were when the known ones were read last. */
  #fingerprint: string | undefined
  #timer: NodeJS.Timeout | undefined

  /** `changed` is told whose grants are others now, whoever changed them, and whose began or ended with the time. */
  constructor(sql: Sql, options: { now: () => number; changed: (tenant: string) => void }) {
    this.#sql = sql
    this.#now = options.now
    this.#changed = options.changed
  }

  /** As far as they are loaded. */
  of(tenant: string): TenantGrants {
    return this.#known.get(tenant)?.grants ?? NONE
  }

  /** They are there when this resolves, and are kept up to date from then on. */
  load(tenant: string): Promise<void> {
    let load = this.#loads.get(tenant)
    if (!load) {
      this.#known.set(tenant, { grants: NONE, ids: '', read: 0, changesAt: Infinity })
      load = this.#read([tenant])
      this.#loads.set(tenant, load)
      load.catch(() => this.#loads.delete(tenant))
    }
    return load
  }

  /** Looks whether another process changed any; if so reads those of the tenants that are known here. */
  async refresh(): Promise<void> {
    if (this.#known.size === 0) return
    // A row never changes, so the ids say it all.
    const { rows } = await this.#sql.query<{ fingerprint: string | null }>(
      "SELECT md5(string_agg(id, ',' ORDER BY id)) AS fingerprint FROM grants",
    )
    const fingerprint = rows[0]?.fingerprint ?? ''
    if (fingerprint === this.#fingerprint) return
    await this.#read([...this.#known.keys()])
    this.#fingerprint = fingerprint
  }

  async #read(tenants: readonly string[]): Promise<void> {
    const read = ++this.#reads
    const { rows } = await this.#sql.query<Row>(
      `SELECT ${COLUMNS} FROM grants WHERE tenant = ANY($1::text[]) ORDER BY id`,
      [tenants],
    )
    const all = grouped(rows.map(grantOf), ({ tenant }) => tenant)
    for (const tenant of tenants) this.#know(tenant, all.get(tenant) ?? [], read)
    this.#schedule()
  }

  #know(tenant: string, grants: readonly Grant[], read: number): void {
    const known = this.#known.get(tenant)!
    if (known.read > read) return
    known.read = read
    const ids = grants.map(({ id }) => id).join()
    if (ids === known.ids) return
    known.ids = ids
    known.grants = grouped(grants, ({ source }) => source)
    known.changesAt = nextChangeOf(known.grants, this.#now())
    this.#changed(tenant)
  }

  /** Periods begin and end by themselves. */
  #schedule(): void {
    clearTimeout(this.#timer)
    const next = Math.min(...Array.from(this.#known.values(), ({ changesAt }) => changesAt))
    if (next === Infinity) return
    this.#timer = setTimeout(
      () => this.#pass(),
      Math.min(Math.max(next - this.#now(), 1), MAX_TIMER_MS),
    ).unref()
  }

  #pass(): void {
    const now = this.#now()
    for (const [tenant, known] of this.#known) {
      if (known.changesAt > now) continue
      known.changesAt = nextChangeOf(known.grants, now)
      this.#changed(tenant)
    }
    this.#schedule()
  }

  /** Takes the place of a grant for the same tenant, source and channel, under a new id. */
  async create(spec: GrantSpec): Promise<Grant> {
    const { tenant, source, channel, depth, delayMs, display, from, to } = spec
    const { rows } = await this.#sql.query<Row>(
      `INSERT INTO grants (id, tenant, source, channel, depth, delay_ms, display, from_time, to_time)
       VALUES ($1, $2, $3, $4, $5, $6, $7, to_timestamp($8::float8 / 1000), to_timestamp($9::float8 / 1000))
       ON CONFLICT (tenant, source, coalesce(channel, '')) DO UPDATE SET
         id = excluded.id, depth = excluded.depth, delay_ms = excluded.delay_ms, display = excluded.display,
         from_time = excluded.from_time, to_time = excluded.to_time, created_at = excluded.created_at
       RETURNING ${COLUMNS}`,
      [
        ...[randomUUID(), tenant, source, channel ?? null, depth ?? null, delayMs, display],
        ...[from ?? null, to ?? null],
      ],
    )
    await this.#reread(tenant)
    return grantOf(rows[0]!)
  }

  async list(): Promise<readonly Grant[]> {
    const { rows } = await this.#sql.query<Row>(`SELECT ${COLUMNS} FROM grants ORDER BY created_at, id`)
    return rows.map(grantOf)
  }

  /** False: no such grant. */
  async delete(id: string): Promise<boolean> {
    const { rows } = await this.#sql.query<{ tenant: string }>(
      'DELETE FROM grants WHERE id = $1 RETURNING tenant',
      [id],
    )
    if (!rows[0]) return false
    await this.#reread(rows[0].tenant)
    return true
  }

  async #reread(tenant: string): Promise<void> {
    if (this.#known.has(tenant)) await this.#read([tenant])
  }
}

const NONE: TenantGrants = new Map()

function grouped(grants: readonly Grant[], keyOf: (grant: Grant) => string): Map<string, Grant[]> {
  const groups = new Map<string, Grant[]>()
  for (const grant of grants) {
    const group = groups.get(keyOf(grant))
    if (group) group.push(grant)
    else groups.set(keyOf(grant), [grant])
  }
  return groups
}

function grantOf(row: Row): Grant {
  const { id, tenant, source, channel, depth, delay_ms: delayMs, display } = row
  return {
    ...{ id, tenant, source },
    ...(channel === null ? {} : { channel }),
    ...(depth === null ? {} : { depth }),
    ...{ delayMs, display },
    ...(row.from_ms === null ? {} : { from: row.from_ms }),
    ...(row.to_ms === null ? {} : { to: row.to_ms }),
    createdAt: row.created_at,
  }
}
