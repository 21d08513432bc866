import type { Redis } from 'ioredis'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { readLines } from '../market/event-line.ts'
import { parseTopic, type Topic } from '../market/topic.ts'
import { closeRedis } from '../redis.ts'
import type { CacheFeed, TopicPosition } from './cache.ts'
import { fanOf, groupOf, headsOf, NEW_TOPICS, readPosition } from './redis-keys.ts'
import { type Heads, Subscriber } from './subscriber.ts'

/** Positions asked for at a time after a connection was lost. */
const HEADS_AT_ONCE = 500
const RETRY_MS = 500

interface Group {
  /** How often each topic is followed. */
  readonly topics: Map<Topic, number>
  /** Redis has confirmed: events come. */
  listening: boolean
  /** Whoever waits for that; bounded by those who follow. */
  waiting: (() => void)[]
}

/**
 * One subscriber of the fan-out, on a connection of its own. Redis drops a subscriber that is too slow, and forgets one
 * whose connection ends: with each new connection it is asked where every followed topic stands.
 */
export class RedisFeed implements CacheFeed {
  readonly #redis: Redis
  readonly #ask: (topics: readonly Topic[]) => Promise<readonly (TopicPosition | undefined)[]>
  readonly #subscriber: Subscriber
  readonly #tellsHeads: boolean
  readonly #batches: AsyncGenerator<readonly EncodedEvent[]>
  readonly #groups = new Map<number, Group>()
  readonly #left: () => void
  #closed = false

  constructor(
    open: () => Redis,
    ask: (topics: readonly Topic[]) => Promise<readonly (TopicPosition | undefined)[]>,
    options: { readonly maxWaitingEvents: number; readonly heads: Heads | undefined },
    left: () => void,
  ) {
    this.#ask = ask
    this.#left = left
    this.#tellsHeads = options.heads !== undefined
    this.#subscriber = new Subscriber(options.maxWaitingEvents, options.heads)
    this.#batches = this.#subscriber.batches(() => this.close())
    this.#redis = open()
    this.#redis.on('ready', () => void this.#listenAgain())
    this.#redis.on('close', () => {
      for (const group of this.#groups.values()) group.listening = false
    })
    this.#redis.on('messageBuffer', (channel: Buffer, message: Buffer) =>
      this.#received(channel.toString(), message),
    )
  }

  [Symbol.asyncIterator](): AsyncGenerator<readonly EncodedEvent[]> {
    return this.#batches
  }

  follow(topic: Topic): Promise<void> | undefined {
    const number = groupOf(topic)
    let group = this.#groups.get(number)
    if (!group) {
      group = { topics: new Map(), listening: false, waiting: [] }
      this.#groups.set(number, group)
      if (this.#redis.status === 'ready') void this.#listen([number])
    }
    group.topics.set(topic, (group.topics.get(topic) ?? 0) + 1)
    if (group.listening || this.#closed) return undefined
    const { waiting } = group
    return new Promise((resolve) => waiting.push(resolve))
  }

  unfollow(topic: Topic): void {
    const number = groupOf(topic)
    const group = this.#groups.get(number)
    const count = group?.topics.get(topic)
    if (!group || count === undefined) return
    if (count > 1) group.topics.set(topic, count - 1)
    else group.topics.delete(topic)
    if (group.topics.size > 0) return
    this.#groups.delete(number)
    for (const resolve of group.waiting) resolve()
    if (this.#redis.status === 'ready')
      this.#redis.unsubscribe(fanOf(number), headsOf(number)).catch(() => {})
  }

  async #listen(numbers: readonly number[]): Promise<void> {
    const groups = numbers.map((number) => this.#groups.get(number)!)
    try {
      await this.#redis.subscribe(...numbers.flatMap((number) => [fanOf(number), headsOf(number)]))
    } catch {
      // The next connection subscribes to everything; one that goes on without that is of no use.
      if (this.#redis.status === 'ready') this.#redis.disconnect(true)
      return
    }
    for (const group of groups) {
      group.listening = true
      for (const resolve of group.waiting.splice(0)) resolve()
    }
  }

  async #listenAgain(): Promise<void> {
    try {
      await this.#redis.subscribe(NEW_TOPICS)
    } catch {
      return
    }
    if (this.#groups.size > 0) await this.#listen([...this.#groups.keys()])
    if (this.#tellsHeads) await this.#compareHeads()
  }

  /** What was published while nobody listened is found by where the topics stand now. */
  async #compareHeads(): Promise<void> {
    const followed = [...this.#groups.values()].flatMap(({ topics }) => [...topics.keys()])
    for (let at = 0; at < followed.length && !this.#closed; ) {
      const some = followed.slice(at, at + HEADS_AT_ONCE)
      try {
        const heads = await this.#ask(some)
        for (const [index, head] of heads.entries()) if (head) this.#subscriber.head(some[index]!, head)
        at += HEADS_AT_ONCE
      } catch {
        if (this.#redis.status !== 'ready') return
        await new Promise((resume) => setTimeout(resume, RETRY_MS).unref())
      }
    }
  }

  #received(channel: string, message: Buffer): void {
    if (channel.startsWith('heads:')) this.#receivedHeads(message.toString())
    else {
      // A first event of a topic that is listened to comes in its group as well.
      const wanted =
        channel === NEW_TOPICS
          ? ({ topic }: EncodedEvent) => !this.#follows(topic) || !this.#groups.get(groupOf(topic))!.listening
          : ({ topic }: EncodedEvent) => this.#follows(topic)
      const events = readLines(message).filter(wanted)
      if (events.length > 0) this.#subscriber.push(events)
    }
  }

  #receivedHeads(text: string): void {
    for (const line of text.split('\n')) {
      const [id, position] = line.split('\t')
      const head = readPosition(position)
      const topic = head && parseTopic(id!)
      if (topic && this.#follows(topic)) this.#subscriber.head(topic, head)
    }
  }

  #follows(topic: Topic): boolean {
    return this.#groups.get(groupOf(topic))?.topics.has(topic) ?? false
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const group of this.#groups.values()) for (const resolve of group.waiting.splice(0)) resolve()
    this.#subscriber.end()
    closeRedis(this.#redis)
    this.#left()
  }
}
