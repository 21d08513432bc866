import type { Redis } from 'ioredis'
import { chainFrom, isAfter } from '../market/continuity.ts'
import { decodeEvent } from '../market/decode.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { CHANNELS } from '../market/event.ts'
import { parseTopic, type Topic, topicOf } from '../market/topic.ts'
import { closeRedis, openRedis, type RedisOptions, redisUnavailable, Script } from '../redis.ts'
import type { Cache, CacheFeed, TopicImage, TopicMatch, TopicPosition } from './cache.ts'
import { matches } from './match.ts'
import { RedisFeed } from './redis-feed.ts'
import { type ImageReply, imageOf } from './redis-image.ts'
import { lastOf, readPosition, writePosition } from './redis-keys.ts'
import { IMAGE, SINCE } from './redis-scripts.ts'
import { RedisWriter } from './redis-writer.ts'
import { type Heads, MAX_WAITING_EVENTS } from './subscriber.ts'

export interface RedisCacheOptions extends Omit<RedisOptions, 'name'> {
  /** Events that the window of each topic holds. */
  readonly windowEvents?: number
  /** How long a window outlives the last event of its topic. */
  readonly windowMs?: number
  /** How long the last values of a topic outlive its last event; the store has them longer. */
  readonly lastMs?: number
  /** What a subscriber may have waiting, events. */
  readonly maxWaitingEvents?: number
}

const WINDOW_EVENTS = 2_000
/** The longest resume window of a tier. */
const WINDOW_MS = 15 * 60_000
const LAST_MS = 7 * 86_400_000
/** Images asked for at a time: an image may be large. */
const IMAGES_AT_ONCE = 64

/** Last values, windows and fan-out between processes; `redis-scripts.ts` tells the keys. */
export function createRedisCache(options: RedisCacheOptions): Cache {
  return new RedisCache(options)
}

const image = new Script(IMAGE)
const since = new Script(SINCE)

type Entries = readonly [id: Buffer, fields: readonly [name: Buffer, event: Buffer]][]

class RedisCache implements Cache {
  readonly #options: RedisCacheOptions
  readonly #redis: Redis
  readonly #writer: RedisWriter
  readonly #feeds = new Set<RedisFeed>()

  constructor(options: RedisCacheOptions) {
    this.#options = options
    this.#redis = openRedis({ ...options, name: 'feedgate-cache' })
    this.#writer = new RedisWriter(this.#redis, (topic) => this.image(topic), {
      windowEvents: options.windowEvents ?? WINDOW_EVENTS,
      windowMs: options.windowMs ?? WINDOW_MS,
      lastMs: options.lastMs ?? LAST_MS,
      log: options.log,
    })
  }

  apply(events: readonly EncodedEvent[]): Promise<void> {
    return this.#writer.apply(events)
  }

  async image(topic: Topic): Promise<TopicImage | undefined> {
    const reply = await this.#ask(() => image.run(this.#redis, [topic.id, topic.class]))
    return imageOf(topic, reply as ImageReply)
  }

  async images(match: TopicMatch): Promise<readonly TopicImage[]> {
    const topics = exactTopic(match) ?? (await this.#topics(match))
    const found: TopicImage[] = []
    for (let at = 0; at < topics.length; at += IMAGES_AT_ONCE) {
      const some = topics.slice(at, at + IMAGES_AT_ONCE).map((topic) => this.image(topic))
      for (const one of await Promise.all(some)) if (one) found.push(one)
    }
    return found
  }

  topics(): Promise<readonly Topic[]> {
    return this.#topics({})
  }

  /** By the sets of topics; those whose last values have expired are taken out of them on the way. */
  async #topics(match: TopicMatch): Promise<readonly Topic[]> {
    const found: Topic[] = []
    for (const channel of match.channel === undefined ? Object.keys(CHANNELS) : [match.channel]) {
      let cursor = '0'
      do {
        const [next, ids] = await this.#ask(() =>
          this.#redis.sscan(`topics:${channel}`, cursor, 'COUNT', 1_000),
        )
        const topics = ids.flatMap((id) => parseTopic(id) ?? []).filter((topic) => matches(topic, match))
        found.push(...(await this.#alive(channel, topics)))
        cursor = next
      } while (cursor !== '0')
    }
    return [...new Set(found)]
  }

  async #alive(channel: string, topics: readonly Topic[]): Promise<Topic[]> {
    if (topics.length === 0) return []
    const there = await this.#ask(() => Promise.all(topics.map((topic) => this.#redis.exists(lastOf(topic)))))
    const gone = topics.filter((_, index) => there[index] === 0)
    if (gone.length > 0)
      await this.#ask(() => this.#redis.srem(`topics:${channel}`, ...gone.map((topic) => topic.id)))
    return topics.filter((_, index) => there[index] === 1)
  }

  async since(topic: Topic, after: TopicPosition): Promise<readonly EncodedEvent[] | undefined> {
    const reply = await this.#ask(() => since.run(this.#redis, [topic.id, writePosition(after)]))
    const [position, entries] = reply as [Buffer | null, Entries]
    const head = readPosition(position)
    if (!head) return undefined
    if (!isAfter(head, after)) return []
    if (entries.length === 0) return undefined
    return chainFrom(
      after,
      entries.map(([, [, bytes]]) => decodeEvent(topic, bytes)),
    )
  }

  subscribe(signal: AbortSignal, heads?: Heads): CacheFeed {
    const feed = new RedisFeed(
      () => openRedis({ ...this.#options, name: 'feedgate-feed' }),
      (topics) => this.#heads(topics),
      { maxWaitingEvents: this.#options.maxWaitingEvents ?? MAX_WAITING_EVENTS, heads },
      () => this.#feeds.delete(feed),
    )
    this.#feeds.add(feed)
    if (signal.aborted) feed.close()
    else signal.addEventListener('abort', () => feed.close(), { once: true })
    return feed
  }

  async #heads(topics: readonly Topic[]): Promise<readonly (TopicPosition | undefined)[]> {
    const texts = await this.#ask(() =>
      Promise.all(topics.map((topic) => this.#redis.hget(lastOf(topic), 'position'))),
    )
    return texts.map(readPosition)
  }

  async #ask<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (error) {
      throw redisUnavailable(error)
    }
  }

  fault(): string | undefined {
    if (this.#redis.status !== 'ready') return 'Redis does not answer'
    const { refusal } = this.#writer
    return refusal === undefined ? undefined : `Redis refuses what is written: ${refusal}`
  }

  async close(): Promise<void> {
    for (const feed of this.#feeds) feed.close()
    this.#writer.close()
    closeRedis(this.#redis)
  }
}

/** A match that names every part needs no search. */
function exactTopic({ source, channel, subject, timeframe }: TopicMatch): readonly Topic[] | undefined {
  if (source === undefined || channel === undefined || subject === undefined) return undefined
  if (!Object.hasOwn(CHANNELS, channel)) return []
  const known = channel as keyof typeof CHANNELS
  if (!CHANNELS[known].timeframe) return timeframe === undefined ? [topicOf(source, known, subject)] : []
  return timeframe === undefined ? undefined : [topicOf(source, known, subject, timeframe)]
}
