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

/** Where somebody stands in a topic. */
export interface TopicPosition {
  readonly epoch: number
  readonly seq: number
}

/** Batches from now on, of the topics that are followed (and perhaps of others), in the order of their topics. */
export interface CacheFeed extends AsyncIterable<readonly EncodedEvent[]> {
  /**
   * Undefined: events of the topic come already. Else a promise that resolves when they do: an image or `since` read after
   * that leaves no hole to them. Counted: as many `unfollow` end it.
   */
  follow(topic: Topic): Promise<void> | undefined
  unfollow(topic: Topic): void
}

/**
 * Last values, a window of the newest events of each topic, and fan-out to gateways. `apply` takes events in the order of
 * their topics and first updates images and windows, then hands the batch to every subscriber: an image read after a
 * batch was seen holds at least that batch. What is not newer than the image of its topic is skipped: delivery to `apply`
 * is at least once, and an owner that was replaced has a lower epoch.
 * Fan-out is at most once: subscribers check `seq`.
 * Rejections are FeedgateError('cache-unavailable') while the cache is away.
 */
export interface Cache {
  apply(events: readonly EncodedEvent[]): Promise<void>
  image(topic: Topic): Promise<TopicImage | undefined>
  images(match: TopicMatch): Promise<readonly TopicImage[]>
  /** Every topic that has an image. */
  topics(): Promise<readonly Topic[]>
  /**
   * Every event of the topic after the position, in order, over epochs that join by `prevEpoch`/`prevSeq`; undefined when
   * the window does not reach back to the position.
   */
  since(topic: Topic, after: TopicPosition): Promise<readonly EncodedEvent[] | undefined>
  /**
   * The first event of a topic that had no image comes to every subscriber, followed or not. Every second or so the
   * subscriber is told through `heads` where the topics that it follows stand, so that the loss of a last event is found.
   * The queue of a subscriber is bounded: one that does not keep up loses the oldest batches and finds out by `seq`.
   */
  subscribe(signal: AbortSignal, heads?: (topic: Topic, position: TopicPosition) => void): CacheFeed
  /** One phrase for `/readyz`: what stops the cache from answering, or undefined. */
  fault(): string | undefined
  close(): Promise<void>
}
