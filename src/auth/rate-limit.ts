import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { FeedgateError } from '../errors.ts'
import type { Identity, RateLimits } from './auth.ts'

/** Above this, buckets that have filled up again are forgotten: a full bucket and none are the same. */
const SWEEP_BUCKETS_ABOVE = 10_000

/** What the connections of one key hold on one node, or on all others. */
export interface Usage {
  readonly connections: number
  readonly symbols: number
}

/** What nodes tell each other. */
export interface SharedUsage {
  /** Throws RateLimiterRes when the commands of this second are used up. */
  command(limitKey: string, perSecond: number): Promise<unknown>
  /** This node would hold so much; false: that is more than `most` connections over all nodes. */
  take(limitKey: string, held: Usage, most: number): Promise<boolean>
  /** This node holds so much now. */
  changed(limitKey: string, held: Usage): void
  /** As told with the key's last command, a few seconds ago at most. `nodes`: others that have connections of this key. */
  others(limitKey: string): Usage & { readonly nodes: number }
}

interface Bucket {
  tokens: number
  /** Monotonic ms of the last refill. */
  at: number
}

/**
 * Limits in this process's memory, or with `shared` over all nodes: then commands and connections are counted exactly,
 * symbols by what the others told before the command came, and each node that has connections of a key gives out its part of the key's
 * frames. The counters of connections and symbols are as many as there are live connections; those of commands live for
 * one second.
 */
export function createRateLimits(
  monotonicMs: () => number = () => performance.now(),
  shared: SharedUsage = alone(),
): RateLimits {
  const connections = new Map<string, number>()
  const symbols = new Map<string, number>()
  const buckets = new Map<string, Bucket>()
  let sweptAt = 0

  const held = (limitKey: string): Usage => ({
    connections: connections.get(limitKey) ?? 0,
    symbols: symbols.get(limitKey) ?? 0,
  })
  const change = (counts: Map<string, number>, limitKey: string, count: number) => {
    add(counts, limitKey, count)
    shared.changed(limitKey, held(limitKey))
  }

  return {
    async command(identity) {
      const { commandsPerSecond } = identity.tier
      if (identity.admin || commandsPerSecond === Infinity) return
      try {
        await shared.command(identity.limitKey, commandsPerSecond)
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
      // Counted before it is asked for: two at once do not both get the last one.
      add(connections, limitKey, 1)
      const mine = held(limitKey)
      if (mine.connections > tier.connections || !(await shared.take(limitKey, mine, tier.connections))) {
        change(connections, limitKey, -1)
        throw new FeedgateError(
          'too-many-connections',
          `tier ${tier.name} may hold ${tier.connections} connections: close one first`,
          { retryAfterMs: 1_000 },
        )
      }
      let open = true
      return () => {
        if (open) change(connections, limitKey, -1)
        open = false
      }
    },
    frame(identity) {
      if (identity.tier.framesPerMinute === Infinity) return 0
      const now = monotonicMs()
      if (buckets.size > SWEEP_BUCKETS_ABOVE && now - sweptAt > 60_000) {
        sweptAt = now
        sweep(buckets, now)
      }
      return takeToken(buckets, identity, shared.others(identity.limitKey).nodes + 1, now)
    },
    symbols(identity, count) {
      const { limitKey, tier } = identity
      const all = held(limitKey).symbols + shared.others(limitKey).symbols
      if (count > 0 && all + count > tier.symbols) return false
      if (count !== 0) change(symbols, limitKey, count)
      return true
    },
  }
}

const NOBODY = { connections: 0, symbols: 0, nodes: 0 }

/** There is no other node. */
function alone(): SharedUsage {
  const limiterOf = limiters((points) => new RateLimiterMemory({ points, duration: 1 }))
  return {
    command: (limitKey, perSecond) => limiterOf(perSecond).consume(limitKey),
    take: async () => true,
    changed: () => {},
    others: () => NOBODY,
  }
}

/** One limiter for each number of commands a second; as many as there are tiers. */
export function limiters<L>(make: (perSecond: number) => L): (perSecond: number) => L {
  const made = new Map<number, L>()
  return (perSecond) => {
    let limiter = made.get(perSecond)
    if (!limiter) {
      limiter = make(perSecond)
      made.set(perSecond, limiter)
    }
    return limiter
  }
}

function add(counts: Map<string, number>, key: string, count: number): void {
  const sum = (counts.get(key) ?? 0) + count
  if (sum > 0) counts.set(key, sum)
  else counts.delete(key)
}

/** `nodes` share the bucket: each has its part of it. */
function takeToken(buckets: Map<string, Bucket>, identity: Identity, nodes: number, now: number): number {
  const frameBurst = Math.max(1, identity.tier.frameBurst / nodes)
  const perMs = identity.tier.framesPerMinute / nodes / 60_000
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
