import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from '../config.ts'
import { FeedgateError } from '../errors.ts'
import type { Store } from '../store/store.ts'

const PATIENCE_MS = 10_000

/** For a server a command does not wait for ever, as a gateway does. Rejects with `store-unavailable` and what is wrong. */
export async function opened(store: Store, { databaseUrl }: Pick<Config, 'databaseUrl'>): Promise<void> {
  if (databaseUrl === undefined) return store.ready()
  const patience = new AbortController()
  const late = delay(PATIENCE_MS, undefined, { signal: patience.signal }).then(() => {
    throw new FeedgateError(
      'store-unavailable',
      `the database does not answer (${store.fault() ?? 'no reason known'}): is DATABASE_URL right, and the server up?`,
    )
  })
  try {
    await Promise.race([store.ready(), late])
  } finally {
    patience.abort()
    late.catch(() => undefined)
  }
}
