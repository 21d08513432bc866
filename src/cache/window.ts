import { chainFrom, isAfter } from '../market/continuity.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import type { TopicPosition } from './cache.ts'

/** What the windows of all topics may hold together, each its share; a share is never under `MIN_EVENTS`. */
const MAX_EVENTS = 200_000
const MAX_BYTES = 128 * 1_048_576
/** What one topic may hold at most. */
const MAX_TOPIC_EVENTS = 2_000
const MIN_EVENTS = 16

/** How much each window may hold now: the more topics there are, the less. */
export class WindowShare {
  events = MAX_TOPIC_EVENTS
  bytes = MAX_BYTES

  divide(topics: number): void {
    this.events = Math.min(MAX_TOPIC_EVENTS, Math.max(MIN_EVENTS, Math.floor(MAX_EVENTS / topics)))
    this.bytes = Math.floor(MAX_BYTES / topics)
  }
}

/** The newest events of one topic in memory. When it is full the oldest go: who stood before them asks the store. */
export class Window {
  readonly #share: WindowShare
  #events: EncodedEvent[] = []
  /** Those before it are gone; the array is cut when half of it is. */
  #first = 0
  #bytes = 0

  constructor(share: WindowShare) {
    this.#share = share
  }

  push(event: EncodedEvent): void {
    this.#events.push(event)
    this.#bytes += event.bytes.length
    this.trim()
  }

  trim(): void {
    const { events, bytes } = this.#share
    while (this.#events.length - this.#first > events || this.#bytes > bytes)
      this.#bytes -= this.#events[this.#first++]!.bytes.length
    if (this.#first * 2 <= this.#events.length) return
    this.#events = this.#events.slice(this.#first)
    this.#first = 0
  }

  since(after: TopicPosition): readonly EncodedEvent[] | undefined {
    let from = this.#events.length
    while (from > this.#first && isAfter(this.#events[from - 1]!, after)) from--
    return chainFrom(after, this.#events.slice(from))
  }
}
