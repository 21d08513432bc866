import { createHash, randomInt, randomUUID } from 'node:crypto'
import type { Sql } from '../store/store.ts'
import type { ApiKey, TierName } from './auth.ts'
import { LookupCache } from './lookup-cache.ts'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const SECRET_LENGTH = 40
const PREFIX_LENGTH = 6
/** Ids in the database are UUIDs. */
const DEMO_ID = 'demo-'
const KEY = /^fg_(basic|premium|institutional)_[A-Za-z0-9]{32,128}$/
/** A key deleted by another process ends here after this long at most; one deleted here, at once. */
const KEEP_MS = 2_000
const KEEP_KEYS = 10_000
/** A deletion commits at most so long after the time that it carries. */
const LATE_SECONDS = 30

interface Row {
  id: string
  prefix: string
  sha256: string
  tenant: string
  tier: TierName
  name: string | null
  scope: string | null
  created_at: string
}

const COLUMNS = `id, prefix, sha256, tenant, tier, name, scope,
  to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at`

export interface KeySpec {
  readonly tenant: string
  readonly tier: TierName
  readonly name?: string
  readonly scope?: string
}

/**
 * Keys in the database, and those of the demo in memory. Only prefix and SHA-256 of a key are kept: a key has 238 bits
 * of chance, so a slow hash would add nothing, and looking for the hash tells nobody how much of a guess was right.
 */
export class ApiKeys {
  readonly #sql: Sql
  readonly #byHash: LookupCache<ApiKey | undefined>
  readonly #byId: LookupCache<ApiKey | undefined>
  /** By hash; as many as there are tiers. */
  readonly #demo = new Map<string, ApiKey>()

  /** Deletions that were told, and when the database was asked last (its own clock, epoch seconds). */
  #told = new Set<string>()
  #askedAt: number | undefined

  constructor(sql: Sql, demoKeys: readonly { tier: TierName; key: string }[], now: () => number) {
    this.#sql = sql
    this.#byHash = new LookupCache(KEEP_KEYS, KEEP_MS, now)
    this.#byId = new LookupCache(KEEP_KEYS, KEEP_MS, now)
    const createdAt = new Date(now()).toISOString()
    for (const { tier, key } of demoKeys) {
      const hash = hashOf(key)
      const id = `${DEMO_ID}${tier}-${hash.slice(0, 8)}`
      this.#demo.set(hash, { id, prefix: prefixOf(key, tier), tenant: 'demo', tier, createdAt })
    }
  }

  async find(key: string): Promise<ApiKey | undefined> {
    if (!KEY.test(key)) return undefined
    const hash = hashOf(key)
    return this.#demo.get(hash) ?? this.#byHash.get(hash, () => this.#select('sha256', hash))
  }

  async findById(id: string): Promise<ApiKey | undefined> {
    for (const key of this.#demo.values()) if (key.id === id) return key
    if (id.startsWith(DEMO_ID)) return undefined
    return this.#byId.get(id, () => this.#select('id', id))
  }

  async #select(column: 'sha256' | 'id', value: string): Promise<ApiKey | undefined> {
    const { rows } = await this.#sql.query<Row>(
      `SELECT ${COLUMNS} FROM api_keys WHERE ${column} = $1 AND deleted_at IS NULL`,
      [value],
    )
    return rows[0] && keyOf(rows[0])
  }

  /** The tenant is made with its first key. */
  async create(spec: KeySpec): Promise<ApiKey & { key: string }> {
    const id = randomUUID()
    const key = randomKey(spec.tier)
    const row = await this.#sql.transaction(async (sql) => {
      await sql.query(
        "INSERT INTO tenants (id, tier) VALUES ($1, 'institutional') ON CONFLICT (id) DO NOTHING",
        [spec.tenant],
      )
      const { rows } = await sql.query<Row>(
        `INSERT INTO api_keys (id, prefix, sha256, tenant, tier, name, scope) VALUES ($1, $2, $3, $4, $5, $6, $7)
         RETURNING ${COLUMNS}`,
        [
          id,
          prefixOf(key, spec.tier),
          hashOf(key),
          spec.tenant,
          spec.tier,
          spec.name ?? null,
          spec.scope ?? null,
        ],
      )
      return rows[0]!
    })
    return { ...keyOf(row), key }
  }

  async list(): Promise<readonly ApiKey[]> {
    const { rows } = await this.#sql.query<Row>(
      `SELECT ${COLUMNS} FROM api_keys WHERE deleted_at IS NULL ORDER BY created_at, id`,
    )
    return [...this.#demo.values(), ...rows.map(keyOf)]
  }

  /** False: no such key. */
  async delete(id: string): Promise<boolean> {
    for (const [hash, key] of this.#demo) if (key.id === id) return this.#demo.delete(hash)
    const { rows } = await this.#sql.query<{ sha256: string }>(
      'UPDATE api_keys SET deleted_at = now() WHERE id = $1 AND deleted_at IS NULL RETURNING sha256',
      [id],
    )
    if (!rows[0]) return false
    this.#told.add(id)
    this.#forget(id, rows[0].sha256)
    return true
  }

  /** Keys that another process deleted since it was asked last; from the first call on. */
  async deletedElsewhere(): Promise<readonly string[]> {
    const { rows } = await this.#sql.query<{ now: number; id: string | null; sha256: string | null }>(
      `SELECT extract(epoch FROM now())::float8 AS now, id, sha256
       FROM (SELECT 1) AS clock LEFT JOIN api_keys
         ON deleted_at >= to_timestamp(coalesce($1::float8, extract(epoch FROM now())) - ${LATE_SECONDS})`,
      [this.#askedAt ?? null],
    )
    const first = this.#askedAt === undefined
    this.#askedAt = rows[0]!.now
    const fresh = rows.flatMap(({ id, sha256 }) =>
      id === null || this.#told.has(id) ? [] : [{ id, sha256 }],
    )
    this.#told = new Set(rows.flatMap(({ id }) => id ?? []))
    for (const { id, sha256 } of fresh) this.#forget(id, sha256!)
    return first ? [] : fresh.map(({ id }) => id)
  }

  #forget(id: string, hash: string): void {
    this.#byHash.delete(hash)
    this.#byId.delete(id)
  }
}

export function hashOf(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}

function randomKey(tier: TierName): string {
  let secret = ''
  for (let i = 0; i < SECRET_LENGTH; i++) secret += ALPHABET[randomInt(ALPHABET.length)]
  return `fg_${tier}_${secret}`
}

function prefixOf(key: string, tier: TierName): string {
  return key.slice(0, `fg_${tier}_`.length + PREFIX_LENGTH)
}

function keyOf(row: Row): ApiKey {
  return {
    id: row.id,
    prefix: row.prefix,
    tenant: row.tenant,
    tier: row.tier,
    ...(row.name === null ? {} : { name: row.name }),
    ...(row.scope === null ? {} : { scope: row.scope }),
    createdAt: row.created_at,
  }
}
