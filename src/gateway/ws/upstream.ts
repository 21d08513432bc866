import type { CacheFeed, TopicImage } from '../../cache/cache.ts'
import { chainFrom, goesOn, isAfter, type Place } from '../../market/continuity.ts'
import { decodeEvent } from '../../market/decode.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { Micros } from '../../market/event.ts'
import type { Topic } from '../../market/topic.ts'
import type { Page, StoredBook } from '../../store/store.ts'
import type { GatewayPorts } from '../gateway.ts'
import { imageBefore } from '../late.ts'

/** Reads of the cache, and reads of the store, under way at a time, whatever the number of topics that need one. */
const MAX_READS = 16
/** Events asked of the store at a time. */
const PAGE = 2_000
/** Events of a history read at a time: decoding them must not hold up what is live. */
const HISTORY_PAGE = 1_000

export interface Missing {
  readonly events: readonly EncodedEvent[]
  readonly by: 'cache' | 'store'
}

/** What a feed, and who catches up with it, ask about its topic. */
export type TopicUpstream = Pick<
  Upstream,
  'follow' | 'unfollow' | 'image' | 'since' | 'missing' | 'history' | 'bookAt' | 'locate'
>

/** Where feeds get what they hold: images, and events that did not arrive. */
export class Upstream {
  readonly #ports: Pick<GatewayPorts, 'cache' | 'store'>
  #feed: CacheFeed | undefined
  readonly #cacheReads = new Turns()
  /** Apart: a store that is slow, or asked for much, keeps nobody from what the cache has. */
  readonly #storeReads = new Turns()

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
    return this.#cacheReads.take(() => this.#ports.cache.image(topic))
  }

  /** As it was before a time, as the store has it; its events are flagged `delayed`. */
  imageBefore(topic: Topic, before: Micros): Promise<TopicImage | undefined> {
    return this.#storeReads.take(() => imageBefore(this.#ports.store, topic, before))
  }

  /** What the cache has after a place; undefined where that does not reach back to it, or it is away. */
  since(topic: Topic, after: Place): Promise<readonly EncodedEvent[] | undefined> {
    return this.#cacheReads.take(() => this.#ports.cache.since(topic, after).catch(() => undefined))
  }

  /**
   * Events that go on from the place one by one, as many as the cache has, else a page of what the store has.
   * `receivedTime` is at or before that of the event at the place; 0: not known. Undefined: neither has the next one.
   * Rejects where the store cannot be asked.
   */
  async missing(topic: Topic, after: Place, receivedTime: Micros): Promise<Missing | undefined> {
    const events = await this.since(topic, after)
    if (events && events.length > 0) return { events, by: 'cache' }
    if (receivedTime === 0) return undefined
    const stored = await this.#storeReads.take(() => this.#stored(topic, after, receivedTime))
    return stored && stored.length > 0 ? { events: stored, by: 'store' } : undefined
  }

  async #stored(topic: Topic, after: Place, receivedTime: Micros): Promise<EncodedEvent[] | undefined> {
    const { items } = await this.#page(topic, receivedTime, PAGE)
    return chainFrom(
      after,
      items.filter((event) => isAfter(event, after)),
    )
  }

  /** Stored events from a time on, oldest first; `cursor`: as the page before gave it. */
  history(topic: Topic, from: Micros, cursor?: string): Promise<Page<EncodedEvent>> {
    return this.#storeReads.take(() => this.#page(topic, from, HISTORY_PAGE, cursor))
  }

  /** The book as it stood at a time, as the store has it. */
  bookAt(topic: Topic, at: Micros): Promise<StoredBook | undefined> {
    return this.#storeReads.take(() => this.#ports.store.bookAt(topic, at))
  }

  /**
   * A time at which a read of the store begins that has all after the place: less than a second, if the place is later,
   * before its event. Undefined: the place, or what follows it, lies before `oldest`, or the store has neither.
   */
  async locate(topic: Topic, place: Place, oldest: Micros, newest: Micros): Promise<Micros | undefined> {
    const first = async (from: Micros) =>
      (await this.#storeReads.take(() => this.#page(topic, from, 1))).items[0]
    const begin = await first(oldest)
    if (!begin) return undefined
    if (isAfter(begin, place)) return goesOn(place, begin) ? oldest : undefined
    let [low, high] = [oldest, newest]
    while (high - low > 1_000_000) {
      const middle = Math.floor((low + high) / 2)
      const event = await first(middle)
      if (event && !isAfter(event, place)) low = middle
      else high = middle
    }
    return low
  }

  async #page(topic: Topic, from: Micros, limit: number, cursor?: string): Promise<Page<EncodedEvent>> {
    const { source, channel, subject, timeframe, tenant } = topic
    const page = await this.#ports.store.history({
      ...{ source, channel, subject, from, limit },
      ...(timeframe === undefined ? {} : { timeframe }),
      ...(tenant === undefined ? {} : { tenant }),
      ...(cursor === undefined ? {} : { cursor }),
    })
    const items = page.items
      .filter((event) => event.topic === topic)
      .map((event) => decodeEvent(topic, Buffer.from(event.body)))
    return { items, next: page.next }
  }
}

/** Lets `MAX_READS` run at a time; the others wait, as many as there are feeds and catch-ups. */
class Turns {
  #reading = 0
  readonly #waiting: (() => void)[] = []

  async take<T>(read: () => Promise<T>): Promise<T> {
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
