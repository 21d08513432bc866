import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { FeedgateError } from '../errors.ts'
import type { Identity, RateLimits } from './auth.ts'

/** Above this, buckets that have filled up again are forgotten: a full bucket and none are the same. */
const SWEEP_BUCKETS_ABOVE = 10_000

interface Bucket {
  tokens: number
  /** Monotonic ms of the last refill. */
  at: number
}

/**
 * Limits in this process's memory. The counters of connections and symbols are as many as there are live connections;
 * those of commands live for one second.
 */
export function createRateLimits(monotonicMs: () => number = () => performance.now()): RateLimits {
  const commands = new Map<number, RateLimiterMemory>()
  const connections = new Map<string, number>()
  const symbols = new Map<string, number>()
  const buckets = new Map<string, Bucket>()
  let sweptAt = 0

  const limiterOf = (perSecond: number): RateLimiterMemory => {
    let limiter = commands.get(perSecond)
    if (!limiter) {
      limiter = new RateLimiterMemory({ points: perSecond, duration: 1 })
      commands.set(perSecond, limiter)
    }
    return limiter
  }

  return {
    async command(identity) {
      const { commandsPerSecond } = identity.tier
      if (identity.admin || commandsPerSecond === Infinity) return
      try {
        await limiterOf(commandsPerSecond).consume(identity.limitKey)
      } catch (refusal) {
        if (!(refusal instanceof RateLimiterRes)) throw refusal
        throw new FeedgateError(
          'rate-limited',
          `tier ${identity.tier.name} may give ${commandsPerSecond} commands a second`,
          { retryAfterMs: Math.max(1, refusal.msBeforeNext) },
        )
      }
    },
    async connection(identity) {
      const { limitKey, tier } = identity
      const open = connections.get(limitKey) ?? 0
      if (open >= tier.connections)
        throw new FeedgateError(
          'too-many-connections',
          `tier ${tier.name} may hold ${tier.connections} connections: close one first`,
          { retryAfterMs: 1_000 },
        )
      connections.set(limitKey, open + 1)
      let held = true
      return () => {
        if (held) add(connections, limitKey, -1)
        held = false
      }
    },
    frame(identity) {
      if (identity.tier.framesPerMinute === Infinity) return 0
      const now = monotonicMs()
      if (buckets.size > SWEEP_BUCKETS_ABOVE && now - sweptAt > 60_000) {
        sweptAt = now
        sweep(buckets, now)
      }
      return takeToken(buckets, identity, now)
    },
    symbols(identity, count) {
      if (count > 0 && (symbols.get(identity.limitKey) ?? 0) + count > identity.tier.symbols) return false
      add(symbols, identity.limitKey, count)
      return true
    },
  }
}

function add(counts: Map<string, number>, key: string, count: number): void {
  const sum = (counts.get(key) ?? 0) + count
  if (sum > 0) counts.set(key, sum)
  else counts.delete(key)
}

function takeToken(buckets: Map<string, Bucket>, identity: Identity, now: number): number {
  const { frameBurst, framesPerMinute } = identity.tier
  const perMs = framesPerMinute / 60_000
  let bucket = buckets.get(identity.limitKey)
  if (!bucket) {
    bucket = { tokens: frameBurst, at: now }
    buckets.set(identity.limitKey, bucket)
  }
  bucket.tokens = Math.min(frameBurst, bucket.tokens + (now - bucket.at) * perMs)
  bucket.at = now
  if (bucket.tokens < 1) return Math.ceil((1 - bucket.tokens) / perMs)
  bucket.tokens -= 1
  return 0
}

/** A bucket refills within a minute whatever the tier: burst is at most a minute's frames. */
function sweep(buckets: Map<string, Bucket>, now: number): void {
  for (const [key, bucket] of buckets) if (now - bucket.at > 60_000) buckets.delete(key)
}
