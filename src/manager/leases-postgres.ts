import type { Log } from '../gateway/gateway.ts'
import type { Sql } from '../store/store.ts'
import type { Lease, Leases } from './leases.ts'

/** A node that does not renew for so long is taken for dead. */
const TTL_MS = 5_000
const RENEW_MS = 1_000
/** Between two renewals that got through; longer, and the database was away, however patiently they waited for it. */
const AWAY_MS = 2_500

interface Held {
  readonly lease: Lease
  readonly lost: AbortController
}

/**
 * Leases as rows of a database, by its clock. A renewal that cannot reach the database changes nothing, and nobody takes a
 * lease that ended meanwhile: only a node that has reached the database for as long as a lease lives may, because by then
 * every living owner has renewed. `node` must be one process at a time; a process that restarts under the same name gets
 * its leases back at once, with new tokens.
 */
export function createPostgresLeases(sql: Sql, node: string, log: Log): Leases {
  const held = new Map<string, Held>()
  /** Monotonic ms: since when the database has been reached without a break, and when it was reached last. */
  let reachedSince = Number.POSITIVE_INFINITY
  let reachedAt = Number.NEGATIVE_INFINITY
  let renewing: Promise<void> | undefined

  const renew = async () => {
    const asked = [...held]
    const { rows } = await sql.query<{ source: string; token: string }>(
      `update source_leases l set expires_at = clock_timestamp() + $2 * interval '1 ms'
       from unnest($3::text[], $4::bigint[]) as mine (source, token)
       where l.source = mine.source and l.token = mine.token and l.owner = $1
       returning l.source, l.token::text as token`,
      [node, TTL_MS, asked.map(([source]) => source), asked.map(([, { lease }]) => String(lease.token))],
    )
    const kept = new Set(rows.map(({ source, token }) => `${source} ${token}`))
    for (const [source, one] of asked) {
      if (kept.has(`${source} ${one.lease.token}`)) continue
      if (held.get(source) === one) held.delete(source)
      log.warn({ source }, 'another node runs the source now')
      one.lost.abort()
    }
  }

  const timer = setInterval(() => {
    renewing ??= renew()
      .then(() => {
        const now = performance.now()
        if (now - reachedAt > AWAY_MS) reachedSince = now
        reachedAt = now
      })
      .catch((error: Error) => log.warn({ error: error.message }, 'leases cannot be renewed'))
      .finally(() => {
        renewing = undefined
      })
  }, RENEW_MS)

  return {
    async acquire(source) {
      const known = held.get(source)
      if (known) return known.lease
      const now = performance.now()
      const mayTakeOver = now - reachedSince > TTL_MS && now - reachedAt < AWAY_MS
      const { rows } = await sql.query<{ token: string }>(
        `insert into source_leases as l (source, owner, token, expires_at)
         values ($1, $2, (extract(epoch from clock_timestamp()) * 1000000)::bigint,
                 clock_timestamp() + $3 * interval '1 ms')
         on conflict (source) do update
           set owner = excluded.owner, token = greatest(excluded.token, l.token + 1), expires_at = excluded.expires_at
           where l.owner = excluded.owner or l.expires_at = '-infinity' or ($4 and l.expires_at < clock_timestamp())
         returning token::text as token`,
        [source, node, TTL_MS, mayTakeOver],
      )
      const [row] = rows
      if (!row) return undefined
      const lost = new AbortController()
      const lease: Lease = { token: Number(row.token), lost: lost.signal }
      held.set(source, { lease, lost })
      return lease
    },
    async release(source) {
      const one = held.get(source)
      if (!held.delete(source) || !one) return
      await sql.query(
        `update source_leases set expires_at = '-infinity' where source = $1 and owner = $2 and token = $3`,
        [source, node, String(one.lease.token)],
      )
    },
    async close() {
      clearInterval(timer)
      await renewing
      const sources = [...held.keys()]
      held.clear()
      if (sources.length === 0) return
      await sql
        .query(
          `update source_leases set expires_at = '-infinity' where owner = $1 and source = any($2::text[])`,
          [node, sources],
        )
        .catch(() => undefined)
    },
  }
}
