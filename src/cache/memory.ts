import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Topic } from '../market/topic.ts'
import type { Cache, CacheFeed, TopicImage, TopicMatch } from './cache.ts'
import { TopicState } from './topic-image.ts'

/** What a subscriber may have waiting; beyond it the oldest batches are dropped, which it sees by `seq`. */
const MAX_WAITING_EVENTS = 100_000

/** Last values and fan-out inside one process. Its topics are bounded by those that sources carry. */
export function createMemoryCache(options: { readonly maxWaitingEvents?: number } = {}): Cache {
  return new MemoryCache(options.maxWaitingEvents ?? MAX_WAITING_EVENTS)
}

class MemoryCache implements Cache {
  readonly #maxWaitingEvents: number
  readonly #states = new Map<Topic, TopicState>()
  readonly #subscribers = new Set<Subscriber>()

  constructor(maxWaitingEvents: number) {
    this.#maxWaitingEvents = maxWaitingEvents
  }

  async apply(events: readonly EncodedEvent[]): Promise<void> {
    for (const event of events) {
      let state = this.#states.get(event.topic)
      if (!state) {
        state = new TopicState(event.topic)
        this.#states.set(event.topic, state)
      }
      state.apply(event)
    }
    if (events.length > 0) for (const subscriber of this.#subscribers) subscriber.push(events)
  }

  async image(topic: Topic): Promise<TopicImage | undefined> {
    return this.#states.get(topic)?.image()
  }

  async images(match: TopicMatch): Promise<readonly TopicImage[]> {
    const found: TopicImage[] = []
    for (const state of this.#states.values()) if (matches(state.topic, match)) found.push(state.image())
    return found
  }

  async topics(): Promise<readonly Topic[]> {
    return [...this.#states.keys()]
  }

  async since(): Promise<undefined> {
    return undefined
  }

  fault(): undefined {
    return undefined
  }

  subscribe(signal: AbortSignal): CacheFeed {
    const subscriber = new Subscriber(this.#maxWaitingEvents)
    const leave = () => {
      this.#subscribers.delete(subscriber)
      subscriber.end()
    }
    if (signal.aborted) subscriber.end()
    else {
      this.#subscribers.add(subscriber)
      signal.addEventListener('abort', leave, { once: true })
    }
    const batches = subscriber.batches(leave)
    return { [Symbol.asyncIterator]: () => batches, follow: () => undefined, unfollow: () => {} }
  }

  async close(): Promise<void> {
    for (const subscriber of this.#subscribers) subscriber.end()
    this.#subscribers.clear()
  }
}

class Subscriber {
  readonly #maxEvents: number
  #batches: (readonly EncodedEvent[])[] = []
  #waiting = 0
  #ended = false
  #wake: (() => void) | undefined

  constructor(maxEvents: number) {
    this.#maxEvents = maxEvents
  }

  push(events: readonly EncodedEvent[]): void {
    this.#batches.push(events)
    this.#waiting += events.length
    while (this.#waiting > this.#maxEvents && this.#batches.length > 1)
      this.#waiting -= this.#batches.shift()!.length
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  /** Everything that has queued comes as one batch, so that a reader that was busy catches up in one step. */
  async *batches(left: () => void): AsyncGenerator<readonly EncodedEvent[]> {
    try {
      while (true) {
        if (this.#batches.length > 0) {
          const taken = this.#batches
          this.#batches = []
          this.#waiting = 0
          yield taken.length === 1 ? taken[0]! : taken.flat()
        } else if (this.#ended) return
        else
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
      }
    } finally {
      left()
    }
  }
}

function matches(topic: Topic, match: TopicMatch): boolean {
  return (
    (match.channel === undefined || topic.channel === match.channel) &&
    (match.source === undefined || topic.source === match.source) &&
    (match.subject === undefined || topic.subject === match.subject) &&
    (match.timeframe === undefined || topic.timeframe === match.timeframe)
  )
}
