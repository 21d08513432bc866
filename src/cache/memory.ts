import { isAfter } from '../market/continuity.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Topic } from '../market/topic.ts'
import type { Cache, CacheFeed, TopicImage, TopicMatch, TopicPosition } from './cache.ts'
import { matches } from './match.ts'
import { type Heads, MAX_WAITING_EVENTS, Subscriber } from './subscriber.ts'
import { TopicState } from './topic-image.ts'
import { Window, WindowShare } from './window.ts'

const HEADS_EVERY_MS = 1_000

interface Kept {
  readonly state: TopicState
  readonly window: Window
}

/** Last values, windows and fan-out inside one process. Its topics are bounded by those that sources carry. */
export function createMemoryCache(options: { readonly maxWaitingEvents?: number } = {}): Cache {
  return new MemoryCache(options.maxWaitingEvents ?? MAX_WAITING_EVENTS)
}

class MemoryCache implements Cache {
  readonly #maxWaitingEvents: number
  readonly #topics = new Map<Topic, Kept>()
  readonly #share = new WindowShare()
  readonly #subscribers = new Set<Subscriber>()

  constructor(maxWaitingEvents: number) {
    this.#maxWaitingEvents = maxWaitingEvents
  }

  async apply(events: readonly EncodedEvent[]): Promise<void> {
    for (const event of events) {
      const { state, window } = this.#topics.get(event.topic) ?? this.#add(event.topic)
      if (state.apply(event)) window.push(event)
    }
    if (events.length > 0) for (const subscriber of this.#subscribers) subscriber.push(events)
  }

  #add(topic: Topic): Kept {
    const kept = { state: new TopicState(topic), window: new Window(this.#share) }
    this.#topics.set(topic, kept)
    this.#share.divide(this.#topics.size)
    // A window that is quiet keeps what it had: each time the topics have doubled all are cut to their share.
    if ((this.#topics.size & (this.#topics.size - 1)) === 0)
      for (const { window } of this.#topics.values()) window.trim()
    return kept
  }

  async image(topic: Topic): Promise<TopicImage | undefined> {
    return this.#topics.get(topic)?.state.image()
  }

  async images(match: TopicMatch): Promise<readonly TopicImage[]> {
    const found: TopicImage[] = []
    for (const [topic, { state }] of this.#topics) if (matches(topic, match)) found.push(state.image())
    return found
  }

  async topics(): Promise<readonly Topic[]> {
    return [...this.#topics.keys()]
  }

  async since(topic: Topic, after: TopicPosition): Promise<readonly EncodedEvent[] | undefined> {
    const kept = this.#topics.get(topic)
    if (!kept) return undefined
    return isAfter(kept.state, after) ? kept.window.since(after) : []
  }

  fault(): undefined {
    return undefined
  }

  subscribe(signal: AbortSignal, heads?: Heads): CacheFeed {
    const subscriber = new Subscriber(this.#maxWaitingEvents, heads)
    const timer = heads && this.#tellHeads(subscriber)
    const leave = () => {
      clearInterval(timer)
      this.#subscribers.delete(subscriber)
      subscriber.end()
    }
    if (signal.aborted) leave()
    else {
      this.#subscribers.add(subscriber)
      signal.addEventListener('abort', leave, { once: true })
    }
    const batches = subscriber.batches(leave)
    return { [Symbol.asyncIterator]: () => batches, follow: () => undefined, unfollow: () => {} }
  }

  /** Its own queue is all that loses events here: it is told what changed since it was told last. */
  #tellHeads(subscriber: Subscriber): NodeJS.Timeout {
    const told = new Map<Topic, number>()
    return setInterval(() => {
      for (const [topic, { state }] of this.#topics) {
        const { epoch, seq, changes } = state
        if (told.get(topic) === changes) continue
        told.set(topic, changes)
        subscriber.head(topic, { epoch, seq })
      }
    }, HEADS_EVERY_MS).unref()
  }

  async close(): Promise<void> {
    for (const subscriber of this.#subscribers) subscriber.end()
    this.#subscribers.clear()
  }
}
