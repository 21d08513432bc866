import { BookFollower } from '../market/book-follower.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Topic } from '../market/topic.ts'
import type { BookImage, TopicImage } from './cache.ts'

/**
 * Most keys that a topic keeps: of candles the open times, of odds markets and prices. When full, the key that changed
 * longest ago is forgotten, and is back with its next change.
 */
const MAX_KEYS = { ohlcv: 1_000, odds: 10_000 } as const
/** Of every other channel: they have one key. */
const MAX_OTHER_KEYS = 1_000

/** The changing state of one topic, from which images are taken. */
export class TopicState {
  readonly topic: Topic
  #epoch = 0
  #seq = 0
  /** By conflation key, least recently changed first. */
  readonly #values = new Map<string, EncodedEvent>()
  readonly #maxKeys: number
  readonly #book: BookFollower<EncodedEvent> | undefined
  /** Taken from `#book` when first asked for after a change. */
  #bookImage: BookImage | undefined

  constructor(topic: Topic) {
    this.topic = topic
    this.#maxKeys = MAX_KEYS[topic.channel as keyof typeof MAX_KEYS] ?? MAX_OTHER_KEYS
    if (topic.class === 'delta') this.#book = new BookFollower()
  }

  /** Events at or before the topic's position are skipped: delivery is at least once. */
  apply(event: EncodedEvent): void {
    if (event.epoch < this.#epoch || (event.epoch === this.#epoch && event.seq <= this.#seq)) return
    this.#epoch = event.epoch
    this.#seq = event.seq
    if (this.#book) {
      this.#book.apply(event)
      this.#bookImage = undefined
    } else if (this.topic.class === 'event') {
      if (event.type !== 'gap') this.#values.set('', event)
    } else if (event.key !== undefined) this.#setValue(event.key, event)
  }

  image(): TopicImage {
    this.#bookImage ??= this.#book?.image()
    return {
      topic: this.topic,
      epoch: this.#epoch,
      seq: this.#seq,
      values: [...this.#values.values()],
      ...(this.#bookImage ? { book: this.#bookImage } : {}),
    }
  }

  #setValue(key: string, event: EncodedEvent): void {
    this.#values.delete(key)
    this.#values.set(key, event)
    if (this.#values.size > this.#maxKeys) this.#values.delete(this.#values.keys().next().value as string)
  }
}
