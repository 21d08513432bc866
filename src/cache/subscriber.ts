import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Topic } from '../market/topic.ts'
import type { TopicPosition } from './cache.ts'

/** What a subscriber may have waiting; beyond it the oldest batches are dropped, which it sees by `seq`. */
export const MAX_WAITING_EVENTS = 100_000

export type Heads = (topic: Topic, position: TopicPosition) => void

/** The queue between a cache and one who reads it. Heads are told behind the batches that came before them. */
export class Subscriber {
  readonly #maxEvents: number
  readonly #tell: Heads | undefined
  #batches: (readonly EncodedEvent[])[] = []
  #waiting = 0
  /** The newest of each topic; as many as topics are followed. */
  #heads = new Map<Topic, TopicPosition>()
  #ended = false
  #wake: (() => void) | undefined

  constructor(maxEvents: number, heads?: Heads) {
    this.#maxEvents = maxEvents
    this.#tell = heads
  }

  push(events: readonly EncodedEvent[]): void {
    this.#batches.push(events)
    this.#waiting += events.length
    while (this.#waiting > this.#maxEvents && this.#batches.length > 1)
      this.#waiting -= this.#batches.shift()!.length
    this.#wake?.()
  }

  head(topic: Topic, position: TopicPosition): void {
    if (!this.#tell) return
    this.#heads.set(topic, position)
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
        else if (this.#heads.size > 0) {
          const heads = this.#heads
          this.#heads = new Map()
          for (const [topic, position] of heads) this.#tell!(topic, position)
        } else
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
      }
    } finally {
      left()
    }
  }
}
