import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { RateLimiterMemory, RateLimiterRedis } from 'rate-limiter-flexible'
import { closeRedis, openRedis, type RedisOptions, Script } from '../redis.ts'
import type { RateLimits } from './auth.ts'
import { createRateLimits, limiters, type SharedUsage, type Usage } from './rate-limit.ts'

/** What a node holds is told again so often, and forgotten when it is not told for `LEASE_MS`: the node died. */
const RENEW_MS = 3_000
const LEASE_MS = 10_000
/** Changes within this time are told together. */
const TOGETHER_MS = 20

/**
 * `limits:{limitKey}`: hash, by node `connections symbols until`, the last in ms of Redis' clock.
 * ARGV: limit key, node, connections, symbols, most connections over all nodes (-1: any), lease ms.
 * Answers whether it was kept, and what the other nodes hold.
 */
const USE = `
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, node, mine = 'limits:' .. ARGV[1], ARGV[2], tonumber(ARGV[3])
local connections, symbols, nodes = 0, 0, 0
local all = redis.call('hgetall', key)
for i = 1, #all, 2 do
  if all[i] ~= node then
    local c, s, till = string.match(all[i + 1], '^(%d+) (%d+) (%d+)$')
    if not c or tonumber(till) < now then
      redis.call('hdel', key, all[i])
    else
      connections, symbols = connections + c, symbols + s
      if tonumber(c) > 0 then nodes = nodes + 1 end
    end
  end
end
local most = tonumber(ARGV[5])
local kept = most < 0 or connections + mine <= most
if kept then
  if mine == 0 and ARGV[4] == '0' then
    redis.call('hdel', key, node)
  else
    redis.call('hset', key, node, string.format('%d %d %.0f', mine, ARGV[4], now + ARGV[6]))
    redis.call('pexpire', key, ARGV[6])
  end
end
return { kept and 1 or 0, connections, symbols, nodes }
`

/** Limits over all nodes. While Redis is away each node counts by itself, with what it knew of the others. */
export function createRedisRateLimits(options: Omit<RedisOptions, 'name'>): RateLimits & { close(): void } {
  const redis = openRedis({ ...options, name: 'feedgate-limits' })
  const usage = new RedisUsage(redis)
  return {
    ...createRateLimits(undefined, usage),
    close: () => {
      usage.close()
      closeRedis(redis)
    },
  }
}

interface Known {
  held: Usage
  others: Usage & { readonly nodes: number }
  /** Not told yet. */
  changed: boolean
}

const use = new Script(USE)
/** Told with the next renewal, or when its lease ends. */
const LATER = () => {}
const NOBODY = { connections: 0, symbols: 0, nodes: 0 }

class RedisUsage implements SharedUsage {
  readonly #redis: Redis
  readonly #node = randomUUID()
  readonly #limiterOf: (perSecond: number) => RateLimiterRedis
  /** Keys with a connection here; they go with the last one. */
  readonly #known = new Map<string, Known>()
  readonly #timer: NodeJS.Timeout
  #soon: NodeJS.Timeout | undefined

  constructor(redis: Redis) {
    this.#redis = redis
    this.#limiterOf = limiters((points) => {
      const limit = { points, duration: 1, keyPrefix: `commands:${points}` }
      return new RateLimiterRedis({
        ...limit,
        storeClient: redis,
        rejectIfRedisNotReady: true,
        insuranceLimiter: new RateLimiterMemory(limit),
      })
    })
    this.#timer = setInterval(() => this.#tellAll(), RENEW_MS).unref()
    // It may have come back empty.
    redis.on('ready', () => this.#tellAll())
  }

  command(limitKey: string, perSecond: number): Promise<unknown> {
    // It may be for more symbols: what the other nodes hold is asked in the same round trip.
    const known = this.#known.get(limitKey)
    const asked = known && this.#tell(limitKey, known, -1).catch(LATER)
    return Promise.all([this.#limiterOf(perSecond).consume(limitKey), asked])
  }

  async take(limitKey: string, held: Usage, most: number): Promise<boolean> {
    const known = this.#keep(limitKey, held)
    try {
      return await this.#tell(limitKey, known, most)
    } catch {
      return known.others.connections + held.connections <= most
    }
  }

  changed(limitKey: string, held: Usage): void {
    const before = this.#known.get(limitKey)?.held.connections ?? 0
    const known = this.#keep(limitKey, held)
    known.changed = true
    // Room for a client that comes back at another node is told at once, the rest together.
    if (held.connections < before && this.#redis.status === 'ready')
      this.#tell(limitKey, known, -1).catch(LATER)
    else
      this.#soon ??= setTimeout(() => {
        this.#soon = undefined
        this.#tellAll(false)
      }, TOGETHER_MS).unref()
  }

  others(limitKey: string): Usage & { readonly nodes: number } {
    return this.#known.get(limitKey)?.others ?? NOBODY
  }

  #keep(limitKey: string, held: Usage): Known {
    let known = this.#known.get(limitKey)
    if (!known) {
      known = { held, others: NOBODY, changed: true }
      this.#known.set(limitKey, known)
    }
    known.held = held
    return known
  }

  async #tell(limitKey: string, known: Known, most: number): Promise<boolean> {
    const { connections, symbols } = known.held
    const finite = Number.isFinite(most) ? most : -1
    known.changed = false
    try {
      const args = [limitKey, this.#node, connections, symbols, finite, LEASE_MS]
      const answer = (await use.run(this.#redis, args)) as [number, number, number, number]
      known.others = { connections: answer[1], symbols: answer[2], nodes: answer[3] }
      return answer[0] === 1
    } catch (error) {
      known.changed = true
      throw error
    }
  }

  #tellAll(unchanged = true): void {
    if (this.#redis.status !== 'ready') return
    for (const [limitKey, known] of this.#known) {
      if (!unchanged && !known.changed) continue
      const gone = known.held.connections === 0 && known.held.symbols === 0
      if (gone) this.#known.delete(limitKey)
      this.#tell(limitKey, known, -1).catch(LATER)
    }
  }

  close(): void {
    clearInterval(this.#timer)
    clearTimeout(this.#soon)
  }
}
