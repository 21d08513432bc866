import { BookFollower } from '../market/book-follower.ts'
import { EncodedEvent } from '../market/encoded-event.ts'
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
  epoch = 0
  seq = 0
  /** Events applied. */
  changes = 0
  /** By conflation key, least recently changed first. */
  readonly #values = new Map<string, EncodedEvent>()
  readonly #maxKeys: number
  #book: BookFollower<EncodedEvent> | undefined
  /** Taken from `#book` when first asked for after a change. */
  #bookImage: BookImage | undefined
  readonly #forgotten: ((key: string) => void) | undefined

  /** `forgotten` is told of keys that had to go. */
  constructor(topic: Topic, forgotten?: (key: string) => void) {
    this.topic = topic
    this.#forgotten = forgotten
    this.#maxKeys = MAX_KEYS[topic.channel as keyof typeof MAX_KEYS] ?? MAX_OTHER_KEYS
    if (topic.class === 'delta') this.#book = new BookFollower()
  }

  /** Stands where the image does from now on. */
  adopt(image: TopicImage): void {
    this.epoch = image.epoch
    this.seq = image.seq
    this.#values.clear()
    for (const event of image.values) this.#setValue(event.key ?? '', event)
    this.#bookImage = undefined
    if (this.#book) this.#book = new BookFollower()
    if (image.book) this.#book?.apply(snapshotOf(image.book))
  }

  /** False: the event is not newer than the topic and was skipped: delivery is at least once. */
  apply(event: EncodedEvent): boolean {
    if (event.epoch < this.epoch || (event.epoch === this.epoch && event.seq <= this.seq)) return false
    this.epoch = event.epoch
    this.seq = event.seq
    this.changes++
    if (this.#book) {
      this.#book.apply(event)
      this.#bookImage = undefined
    } else if (this.topic.class === 'event') {
      if (event.type !== 'gap') this.#values.set('', event)
    } else if (event.key !== undefined) this.#setValue(event.key, event)
    return true
  }

  image(): TopicImage {
    this.#bookImage ??= this.#book?.image()
    return {
      topic: this.topic,
      epoch: this.epoch,
      seq: this.seq,
      values: [...this.#values.values()],
      ...(this.#bookImage ? { book: this.#bookImage } : {}),
    }
  }

  #setValue(key: string, event: EncodedEvent): void {
    this.#values.delete(key)
    this.#values.set(key, event)
    if (this.#values.size <= this.#maxKeys) return
    const oldest = this.#values.keys().next().value as string
    this.#values.delete(oldest)
    this.#forgotten?.(oldest)
  }
}

/** The image as one event: the envelope of the newest event that it holds, and every level. */
export function snapshotOf({ bids, asks, depth, last }: BookImage): EncodedEvent {
  // `"kind"` cannot stand earlier in an event's bytes: text is escaped.
  const envelope = last.bytes.subarray(0, last.bytes.indexOf(',"kind":'))
  const levels = `"bids":${JSON.stringify(bids)},"asks":${JSON.stringify(asks)},"depth":${depth}}`
  return new EncodedEvent(
    last.topic,
    'orderbook',
    last.epoch,
    last.seq,
    last.receivedTime,
    last.eventTime,
    undefined,
    Buffer.concat([envelope, Buffer.from(`,"kind":"snapshot",${levels}`, 'latin1')]),
    { type: 'orderbook', kind: 'snapshot', bids, asks, depth },
  )
}
