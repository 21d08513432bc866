import type { TopicImage } from '../../cache/cache.ts'
import { isAfter, type Place } from '../../market/continuity.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { Micros } from '../../market/event.ts'
import type { Topic } from '../../market/topic.ts'
import type { Page, StoredBook } from '../../store/store.ts'
import type { GatewayPorts } from '../gateway.ts'
import { lateEvent } from '../late.ts'
import type { TopicFeed } from './topic-feed.ts'
import type { Missing, TopicUpstream, Upstream } from './upstream.ts'

/** From one read to the next, where the store had no more: half of the delay, so that nothing is later still. */
const MIN_PAUSE_MS = 200
const MAX_PAUSE_MS = 10_000
const RETRY_MS = 1_000

/**
 * A topic as it was a while ago, for those whose grant has a delay: to a feed it is what the present is to others. What
 * comes next is read from the store, a page ahead, and given to the feed when it is old enough; so what is held does not
 * grow with the delay. One for each topic and delay that somebody follows.
 */
export class LateTopic implements TopicUpstream {
  readonly #ports: Pick<GatewayPorts, 'now' | 'log'>
  readonly #present: Upstream
  readonly #topic: Topic
  readonly #delayMs: number
  /** Where a topic of which nothing is old enough begins. */
  readonly #start: Micros
  #closed = false

  constructor(ports: Pick<GatewayPorts, 'now' | 'log'>, present: Upstream, topic: Topic, delayMs: number) {
    this.#ports = ports
    this.#present = present
    this.#topic = topic
    this.#delayMs = delayMs
    this.#start = this.#end
  }

  /** What was received before it may be shown. */
  get #end(): Micros {
    return this.#ports.now() - this.#delayMs * 1_000
  }

  follow(): undefined {}

  unfollow(): void {
    this.#closed = true
  }

  image(topic: Topic): Promise<TopicImage | undefined> {
    return this.#present.imageBefore(topic, this.#end)
  }

  async since(topic: Topic, after: Place): Promise<readonly EncodedEvent[] | undefined> {
    const end = this.#end
    return this.#late(await this.#present.since(topic, after), end)
  }

  async missing(topic: Topic, after: Place, receivedTime: Micros): Promise<Missing | undefined> {
    const end = this.#end
    const found = await this.#present.missing(topic, after, receivedTime)
    const events = this.#late(found?.events, end)
    return found && events && events.length > 0 ? { events, by: found.by } : undefined
  }

  async history(topic: Topic, from: Micros, cursor?: string): Promise<Page<EncodedEvent>> {
    const end = this.#end
    const { items, next } = await this.#present.history(topic, from, cursor)
    const events = this.#late(items, end)!
    return { items: events, next: events.length === items.length ? next : null }
  }

  bookAt(topic: Topic, at: Micros): Promise<StoredBook | undefined> {
    return this.#present.bookAt(topic, Math.min(at, this.#end - 1))
  }

  locate(topic: Topic, place: Place, oldest: Micros, newest: Micros): Promise<Micros | undefined> {
    return this.#present.locate(topic, place, oldest, newest)
  }

  /** In the order of their topic: the first that is too new ends them. */
  #late(events: readonly EncodedEvent[] | undefined, end: Micros): EncodedEvent[] | undefined {
    if (!events) return undefined
    const tooNew = events.findIndex(({ receivedTime }) => receivedTime >= end)
    return (tooNew < 0 ? events : events.slice(0, tooNew)).map(late)
  }

  /** Gives the feed what comes next until nobody follows it. */
  async run(feed: TopicFeed): Promise<void> {
    const waitMs = Math.min(Math.max(this.#delayMs / 2, MIN_PAUSE_MS), MAX_PAUSE_MS)
    while (!this.#closed) {
      try {
        await this.#standing(feed)
        const readAt = performance.now()
        const { items, next } = await this.#present.history(this.#topic, feed.receivedTime || this.#start)
        for (const event of items) await this.#release(event, feed)
        // What came since it was read is not older than what was released meanwhile.
        const wait = readAt + waitMs - performance.now()
        if (next === null && wait > 0 && !this.#closed) await pause(wait)
      } catch (error) {
        this.#ports.log.warn({ topic: this.#topic.id, error: String(error) }, 'a late topic cannot be read')
        await pause(RETRY_MS)
      }
    }
  }

  async #release(event: EncodedEvent, feed: TopicFeed): Promise<void> {
    for (let wait = this.#tooNewBy(event); wait > 0 && !this.#closed; wait = this.#tooNewBy(event))
      await pause(Math.min(wait, MAX_PAUSE_MS))
    await this.#standing(feed)
    if (!this.#closed && isAfter(event, feed)) feed.take(late(event))
  }

  /** ms; rounded up, so that no timer ends before its time. */
  #tooNewBy({ receivedTime }: EncodedEvent): number {
    return Math.ceil((receivedTime - this.#end + 1) / 1_000)
  }

  /** The feed loads, or fills a hole. */
  async #standing(feed: TopicFeed): Promise<void> {
    while (!feed.live && !this.#closed) await pause(MIN_PAUSE_MS)
  }
}

function late(event: EncodedEvent): EncodedEvent {
  return lateEvent(event.topic, event.bytes.toString())
}

function pause(ms: number): Promise<void> {
  return new Promise((go) => setTimeout(go, ms).unref())
}
