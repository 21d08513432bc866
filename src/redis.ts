import { createHash } from 'node:crypto'
import { Redis } from 'ioredis'
import { FeedgateError } from './errors.ts'

/** What we ask of a logger. */
interface Log {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export interface RedisOptions {
  /** `redis://[user:password@]host[:port][/db]`, `rediss://` with TLS. Never logged: it may hold a password. */
  readonly url: string
  readonly log: Log
  /** As `CLIENT LIST` shows it. */
  readonly name: string
}

/** A call that has no answer by then has failed, and a server that is silent for so long is taken as gone. */
const PATIENCE_MS = 2_000
/** Longest wait between two attempts to connect; they go on for ever. */
const MAX_BACKOFF_MS = 2_000

/** Their end is no news. */
const closing = new WeakSet<Redis>()

/**
 * A connection that fails quickly and comes back by itself. While Redis is away every call rejects at once: nothing is
 * queued here, whoever calls keeps what must not be lost.
 */
export function openRedis({ url, log, name }: RedisOptions): Redis {
  const redis = new Redis(url, {
    connectionName: name,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // What follows a new connection is up to its owner, who knows what was missed.
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    commandTimeout: PATIENCE_MS,
    connectTimeout: PATIENCE_MS,
    retryStrategy: (attempt) => Math.random() * Math.min(MAX_BACKOFF_MS, 50 * 2 ** Math.min(attempt, 10)),
  })
  let away = false
  redis.on('error', (error: NodeJS.ErrnoException) => {
    if (!away) log.warn({ connection: name, error: error.code ?? error.message }, 'Redis is away')
    away = true
  })
  redis.on('close', () => {
    if (!away && !closing.has(redis)) log.warn({ connection: name }, 'Redis is away')
    away = true
  })
  redis.on('ready', () => {
    if (away) log.info({ connection: name }, 'Redis is back')
    away = false
  })
  watch(redis)
  return redis
}

/** A peer that vanished without a word is found by asking. */
function watch(redis: Redis): void {
  const timer = setInterval(() => {
    if (redis.status === 'ready') redis.ping().catch(() => redis.status === 'ready' && redis.disconnect(true))
  }, PATIENCE_MS).unref()
  redis.once('end', () => clearInterval(timer))
}

/** Ends at once; safe to call twice. */
export function closeRedis(redis: Redis): void {
  closing.add(redis)
  redis.disconnect()
}

export function redisUnavailable(cause: unknown): FeedgateError {
  return new FeedgateError('cache-unavailable', 'Redis does not answer now: try again', {
    cause,
    retryAfterMs: 1_000,
  })
}

/** A Lua script: one step in Redis. Its keys follow from its arguments, so it is not for clusters. */
export class Script {
  readonly #lua: string
  readonly #sha: string

  constructor(lua: string) {
    this.#lua = lua
    this.#sha = createHash('sha1').update(lua).digest('hex')
  }

  /** Texts in the answer are Buffers. A Redis that does not know the script yet is given it. */
  async run(redis: Redis, args: (string | Buffer | number)[]): Promise<unknown> {
    try {
      return await redis.callBuffer('EVALSHA', [this.#sha, 0, ...args])
    } catch (error) {
      if (!(error as Error).message.startsWith('NOSCRIPT')) throw error
      return redis.callBuffer('EVAL', [this.#lua, 0, ...args])
    }
  }
}
