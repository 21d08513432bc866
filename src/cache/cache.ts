import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Level } from '../market/event.ts'
import type { Topic } from '../market/topic.ts'

/** A book as it stood after the event (`epoch`, `seq`) of `last`; levels best first. */
export interface BookImage {
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
  /** Levels a side that the source keeps; 0: all. */
  readonly depth: number
  /** The newest `orderbook` event that the image holds: its times are the image's. */
  readonly last: EncodedEvent
}

/** What a topic's newest events leave behind: all that a client who joins now needs. */
export interface TopicImage {
  readonly topic: Topic
  /** Position of the newest event of the topic, of whatever type; what follows continues at `seq + 1`. */
  readonly epoch: number
  readonly seq: number
  /** The newest event of each conflation key, oldest first (of `event` channels: the newest event only). */
  readonly values: readonly EncodedEvent[]
  /** Of `orderbook` topics; absent while the book is unknown or known to be wrong (after a gap, before a snapshot). */
  readonly book?: BookImage
}

export interface TopicMatch {
  readonly channel?: string
  readonly source?: string
  /** Exact subject; see `Topic.subject`. */
  readonly subject?: string
  readonly timeframe?: string
}

/**
 * Last values, and fan-out to gateways. `apply` takes events in the order of their topics and first updates the
 * images, then hands the batch to every subscriber: an image read after a batch was seen holds at least that batch.
 * Fan-out is at most once: subscribers check `seq`.
 */
export interface Cache {
  apply(events: readonly EncodedEvent[]): Promise<void>
  image(topic: Topic): Promise<TopicImage | undefined>
  images(match: TopicMatch): Promise<readonly TopicImage[]>
  /** Every topic that has an image. */
  topics(): Promise<readonly Topic[]>
  /**
   * Batches from now on. The queue of a subscriber is bounded: one that does not keep up loses the oldest batches
   * and finds out by `seq`.
   */
  subscribe(signal: AbortSignal): AsyncIterable<readonly EncodedEvent[]>
  close(): Promise<void>
}
