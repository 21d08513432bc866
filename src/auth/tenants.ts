import type { Sql } from '../store/store.ts'
import type { Tenant, TierName } from './auth.ts'
import { LookupCache } from './lookup-cache.ts'
import { isTierName } from './tiers.ts'

/** A ceiling changed by another process holds here after this long at most; one changed here, at once. */
const KEEP_MS = 2_000
const KEEP_TENANTS = 10_000

/** What live identities hold of their tenant: the ceiling is changed in place. */
export interface LiveTenant {
  readonly id: string
  ceiling: TierName
}

interface Row {
  id: string
  tier: string
  created_at: string
}

const COLUMNS = `id, tier, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at`

export class Tenants {
  readonly #sql: Sql
  /** Exist without a row, as `institutional`. */
  readonly #builtIn: readonly string[]
  /** Served before the store is open, with the last ceiling known. */
  readonly #immediate: string | undefined
  readonly #startedAt: string
  readonly #changed: (id: string) => void
  readonly #lookups: LookupCache<LiveTenant | undefined>
  /** Bounded by the tenants that there are, which only admins can add to. */
  readonly #live = new Map<string, LiveTenant>()
  #changes = 0

  /** `changed` is told whose ceiling is another now, whoever changed it. */
  constructor(
    sql: Sql,
    options: {
      builtIn: readonly string[]
      immediate?: string
      now: () => number
      changed: (id: string) => void
    },
  ) {
    this.#sql = sql
    this.#changed = options.changed
    this.#builtIn = options.builtIn
    this.#immediate = options.immediate
    this.#startedAt = new Date(options.now()).toISOString()
    this.#lookups = new LookupCache(KEEP_TENANTS, KEEP_MS, options.now)
  }

  /** Undefined: no such tenant. */
  async find(id: string): Promise<LiveTenant | undefined> {
    const found = this.#lookups.get(id, () => this.#load(id))
    if (id !== this.#immediate) return found
    found.catch(() => {})
    return this.#keep(id)
  }

  async #load(id: string): Promise<LiveTenant | undefined> {
    const changes = this.#changes
    const { rows } = await this.#sql.query<{ tier: string }>('SELECT tier FROM tenants WHERE id = $1', [id])
    const tier = rows[0]?.tier ?? (this.#builtIn.includes(id) ? 'institutional' : undefined)
    if (!isTierName(tier)) return undefined
    const tenant = this.#keep(id)
    // What was read before a change that came meanwhile is not the newest.
    if (changes === this.#changes) this.#set(tenant, tier)
    return tenant
  }

  #keep(id: string): LiveTenant {
    let tenant = this.#live.get(id)
    if (!tenant) {
      tenant = { id, ceiling: 'institutional' }
      this.#live.set(id, tenant)
    }
    return tenant
  }

  #set(tenant: LiveTenant, ceiling: TierName): void {
    if (tenant.ceiling === ceiling) return
    tenant.ceiling = ceiling
    this.#changed(tenant.id)
  }

  /** Reads the ceilings of all tenants that live identities hold: another process may have changed them. */
  async refresh(): Promise<void> {
    if (this.#live.size === 0) return
    const changes = this.#changes
    const { rows } = await this.#sql.query<{ id: string; tier: string }>(
      'SELECT id, tier FROM tenants WHERE id = ANY($1::text[])',
      [[...this.#live.keys()]],
    )
    if (changes !== this.#changes) return
    for (const { id, tier } of rows) {
      const tenant = this.#live.get(id)
      if (tenant && isTierName(tier)) this.#set(tenant, tier)
    }
  }

  async list(): Promise<readonly Tenant[]> {
    const { rows } = await this.#sql.query<Row>(`SELECT ${COLUMNS} FROM tenants ORDER BY id`)
    const stored = rows.map(tenantOf)
    const builtIn = this.#builtIn
      .filter((id) => !stored.some(({ tenant }) => tenant === id))
      .map((tenant) => ({ tenant, tier: 'institutional' as const, createdAt: this.#startedAt }))
    return [...stored, ...builtIn]
  }

  /** Undefined: no such tenant. */
  async setTier(id: string, tier: TierName): Promise<Tenant | undefined> {
    const { rows } = this.#builtIn.includes(id)
      ? await this.#sql.query<Row>(
          `INSERT INTO tenants (id, tier) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET tier = excluded.tier
           RETURNING ${COLUMNS}`,
          [id, tier],
        )
      : await this.#sql.query<Row>(`UPDATE tenants SET tier = $2 WHERE id = $1 RETURNING ${COLUMNS}`, [
          id,
          tier,
        ])
    const row = rows[0]
    if (!row) return undefined
    this.forget(id)
    this.#set(this.#keep(id), tier)
    return tenantOf(row)
  }

  /** The tenant may have been made or changed. */
  forget(id: string): void {
    this.#changes++
    this.#lookups.delete(id)
  }
}

function tenantOf(row: Row): Tenant {
  return { tenant: row.id, tier: row.tier as TierName, createdAt: row.created_at }
}
