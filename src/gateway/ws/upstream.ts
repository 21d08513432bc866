import type { CacheFeed, TopicImage } from '../../cache/cache.ts'
import { chainFrom, isAfter, type Place } from '../../market/continuity.ts'
import { decodeEvent } from '../../market/decode.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { Micros } from '../../market/event.ts'
import type { Topic } from '../../market/topic.ts'
import type { GatewayPorts } from '../gateway.ts'

/** Reads of cache and store under way at a time, whatever the number of topics that need one; the others wait. */
const MAX_READS = 16
/** Events asked of the store at a time. */
const PAGE = 2_000

/** Where feeds get what they hold: images, and events that did not arrive. */
export class Upstream {
  readonly #ports: Pick<GatewayPorts, 'cache' | 'store'>
  #feed: CacheFeed | undefined
  #reading = 0
  /** As many as there are feeds. */
  readonly #waiting: (() => void)[] = []

  constructor(ports: Pick<GatewayPorts, 'cache' | 'store'>) {
    this.#ports = ports
  }

  /** The fan-out that the process listens to; before it is there nobody follows anything. */
  listen(feed: CacheFeed): void {
    this.#feed = feed
  }

  follow(topic: Topic): Promise<void> | undefined {
    return this.#feed?.follow(topic)
  }

  unfollow(topic: Topic): void {
    this.#feed?.unfollow(topic)
  }

  image(topic: Topic): Promise<TopicImage | undefined> {
    return this.#read(() => this.#ports.cache.image(topic))
  }

  /** What the cache has after a place; undefined where that does not reach back to it, or it is away. */
  since(topic: Topic, after: Place): Promise<readonly EncodedEvent[] | undefined> {
    return this.#read(() => this.#ports.cache.since(topic, after).catch(() => undefined))
  }

  /**
   * Events that go on from the place one by one, as many as the cache has, else a page of what the store has.
   * `receivedTime` is at or before that of the event at the place; 0: not known. Undefined: neither has the next one.
   * Rejects where the store cannot be asked.
   */
  async missing(
    topic: Topic,
    after: Place,
    receivedTime: Micros,
  ): Promise<{ readonly events: readonly EncodedEvent[]; readonly by: 'cache' | 'store' } | undefined> {
    const events = await this.since(topic, after)
    if (events && events.length > 0) return { events, by: 'cache' }
    if (receivedTime === 0) return undefined
    const stored = await this.#read(() => this.#stored(topic, after, receivedTime))
    return stored && stored.length > 0 ? { events: stored, by: 'store' } : undefined
  }

  async #stored(topic: Topic, after: Place, receivedTime: Micros): Promise<EncodedEvent[] | undefined> {
    const { source, channel, subject, timeframe } = topic
    const page = await this.#ports.store.history({
      ...{ source, channel, subject, from: receivedTime, limit: PAGE },
      ...(timeframe === undefined ? {} : { timeframe }),
    })
    const events = page.items
      .filter((event) => event.topic === topic && isAfter(event, after))
      .map((event) => decodeEvent(topic, Buffer.from(event.body)))
    return chainFrom(after, events)
  }

  async #read<T>(read: () => Promise<T>): Promise<T> {
    if (this.#reading >= MAX_READS) await new Promise<void>((go) => this.#waiting.push(go))
    else this.#reading++
    try {
      return await read()
    } finally {
      // Whoever waits takes the place over.
      const next = this.#waiting.shift()
      if (next) next()
      else this.#reading--
    }
  }
}
