import type { Auth } from '../auth/auth.ts'
import type { Config } from '../config.ts'
import { findRunningGateway, openCommandFolder, type RunningGateway } from '../data-dir.ts'
import { FeedgateError } from '../errors.ts'
import type { Store } from '../store/store.ts'
import { opened } from './opened.ts'

/** One call of the running gateway's admin API. A 404 is an answer; other refusals reject with what it says. */
export type AdminCall = (method: string, path: string, body?: unknown) => Promise<Response>

/** What an admin does: by the gateway that runs on the folder if there is one, else on the database itself. */
export async function administer<T>(
  config: Config,
  by: { readonly gateway: (call: AdminCall) => Promise<T>; readonly database: (auth: Auth) => Promise<T> },
): Promise<T> {
  const running = findRunningGateway(config.dataDir)
  if (running) return by.gateway(callOf(running))
  const dataDir = openCommandFolder(config.dataDir, config.databaseUrl)
  let store: Store | undefined
  try {
    const { openAuth } = await import('../app.ts')
    const { auth, store: opening } = await openAuth(config)
    store = opening
    await opened(store, config)
    return await by.database(auth)
  } finally {
    await store?.close()
    dataDir.release()
  }
}

function callOf({ url, adminKey }: RunningGateway): AdminCall {
  return async (method, path, body) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        'x-api-key': adminKey,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(35_000),
    }).catch((cause: unknown) => {
      throw new FeedgateError('internal', `the running gateway at ${url} does not answer`, { cause })
    })
    if (response.ok || response.status === 404) return response
    const problem = (await response.json().catch(() => ({}))) as { detail?: string }
    const code = response.status < 500 ? 'bad-request' : 'internal'
    throw new FeedgateError(code, problem.detail ?? `the running gateway answered ${response.status}`)
  }
}
