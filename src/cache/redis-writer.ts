import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { goesOn, isAfter } from '../market/continuity.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { linesOf } from '../market/event-line.ts'
import type { Topic } from '../market/topic.ts'
import { type RedisOptions, redisUnavailable, Script } from '../redis.ts'
import { signals } from '../signals.ts'
import type { TopicImage } from './cache.ts'
import { fanOf, groupOf, headsOf, lastOf, statusKeyOf, writePosition } from './redis-keys.ts'
import { APPLY, KEEP_BOOK, RESTORE } from './redis-scripts.ts'
import { snapshotOf, TopicState } from './topic-image.ts'

/** Events in one step: Redis does nothing else meanwhile, about 3 µs an event. */
const STEP_EVENTS = 500
/** A changed book is written whole after so many events, or this long: readers add what the window has since. */
const BOOK_EVENTS = 250
const BOOK_MS = 5_000
const TICK_MS = 1_000
/** The life of a topic's keys is prolonged with its events, at most so often. */
const PROLONG_MS = 60_000
/** Topics restored or loaded at a time. */
const TOPICS_AT_ONCE = 100

interface WriterOptions extends Pick<RedisOptions, 'log'> {
  readonly windowEvents: number
  readonly windowMs: number
  readonly lastMs: number
}

interface Written {
  readonly state: TopicState
  /** Of books: events since it was written whole, and when that was (monotonic ms). */
  bookEvents: number
  bookAt: number
  /** When the life of its keys was prolonged last (monotonic ms). */
  prolongedAt: number
}

const apply = new Script(APPLY)
const keepBook = new Script(KEEP_BOOK)
const restore = new Script(RESTORE)

/**
 * The writing half. It keeps the state of every topic that it wrote, as many as its share of the bus has, so that books
 * can be written whole, and so that a Redis that came back empty has its last values again. It may overlap with another
 * relay: Redis decides by position what is new.
 */
export class RedisWriter {
  readonly #redis: Redis
  readonly #load: (topic: Topic) => Promise<TopicImage | undefined>
  readonly #options: WriterOptions
  readonly #topics = new Map<Topic, Written>()
  /** Of Redis as it was when the topics were written; see `cache:id`. */
  #id: string | undefined
  /** Has `#id` been compared since the connection was made? */
  #compared = false
  /** Changed since heads were told. */
  readonly #changed = new Set<Topic>()
  #tail: Promise<unknown> = Promise.resolve()
  #timer: NodeJS.Timeout | undefined
  /** Why Redis refuses what is written, since it began to. */
  #refusal: string | undefined

  constructor(redis: Redis, load: (topic: Topic) => Promise<TopicImage | undefined>, options: WriterOptions) {
    this.#redis = redis
    this.#load = load
    this.#options = options
    redis.on('ready', () => {
      this.#compared = false
      if (this.#topics.size > 0) void this.#inTurn(() => this.#compare()).catch(() => {})
    })
  }

  /** Why nothing can be written though Redis answers: it is full, or only reads. */
  get refusal(): string | undefined {
    return this.#refusal
  }

  /** One after the other: the order of events is the order of calls. */
  apply(events: readonly EncodedEvent[]): Promise<void> {
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS).unref()
    return this.#inTurn(async () => {
      try {
        await this.#apply(events)
        this.#setRefusal(undefined)
      } catch (error) {
        signals.cacheError.emit({})
        // What Redis itself answered; an outage is told by the connection.
        if ((error as Error).name === 'ReplyError') this.#setRefusal((error as Error).message.slice(0, 200))
        throw error
      }
    })
  }

  #setRefusal(reason: string | undefined): void {
    const { log } = this.#options
    if (reason !== undefined && this.#refusal === undefined)
      log.warn({ reason }, 'Redis refuses what is written, trying again')
    if (reason === undefined && this.#refusal !== undefined) log.info({}, 'Redis takes what is written again')
    this.#refusal = reason
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(work).catch((error: unknown) => {
      throw redisUnavailable(error)
    })
    this.#tail = done.catch(() => {})
    return done
  }

  async #apply(events: readonly EncodedEvent[]): Promise<void> {
    for (let at = 0; at < events.length; at += STEP_EVENTS) {
      const step = byTopic(events.slice(at, at + STEP_EVENTS))
      if (!this.#compared) await this.#compare()
      await this.#loadUnknown(step)
      try {
        await apply.run(this.#redis, this.#argumentsOf(step))
      } catch (error) {
        if (!String(error).includes('CACHE-LOST')) throw error
        this.#compared = false
        await this.#compare()
        await apply.run(this.#redis, this.#argumentsOf(step))
      }
      this.#applied(step)
    }
  }

  /** Whoever sees an empty Redis first gives it an id; all who knew another one write what they have. */
  async #compare(): Promise<void> {
    const made = randomUUID()
    const id = (await this.#redis.set('cache:id', made, 'NX', 'GET')) ?? made
    if (this.#id !== undefined && id !== this.#id) await this.#restoreAll(id)
    this.#id = id
    this.#compared = true
  }

  async #restoreAll(id: string): Promise<void> {
    const all = [...this.#topics.values()]
    for (let at = 0; at < all.length; at += TOPICS_AT_ONCE)
      await Promise.all(all.slice(at, at + TOPICS_AT_ONCE).map(({ state }) => this.#restore(id, state)))
    this.#options.log.warn({ topics: all.length }, 'Redis came back empty: last values are restored')
  }

  async #restore(id: string, state: TopicState): Promise<void> {
    const { topic, values, book } = state.image()
    const fields: (string | Buffer)[] = values.flatMap((event) => [fieldOf(event.key), event.bytes])
    if (book) fields.push('bookAt', writePosition(book.last), 'book', snapshotOf(book).bytes)
    const position = writePosition(state)
    const head = [id, topic.id, position, topic.channel, this.#options.lastMs]
    // Lua takes a few thousand values at once: the rest follows as plain fields, under the position just written.
    const written = await restore.run(this.#redis, [...head, ...fields.slice(0, 4_000)])
    for (let at = 4_000; written && at < fields.length; at += 4_000)
      await this.#redis.hset(lastOf(topic), ...fields.slice(at, at + 4_000))
  }

  /** A topic that is new here, or that another relay wrote in between, begins from what Redis has. */
  async #loadUnknown(step: ReadonlyMap<Topic, readonly EncodedEvent[]>): Promise<void> {
    const unknown = [...step].filter(([topic, [first]]) => {
      const known = this.#topics.get(topic)?.state
      return (
        !known ||
        (first!.seq > 1 && first!.epoch === known.epoch && first!.seq > known.seq + 1) ||
        (first!.epoch > known.epoch && !goesOn(known, first!))
      )
    })
    for (let at = 0; at < unknown.length; at += TOPICS_AT_ONCE)
      await Promise.all(unknown.slice(at, at + TOPICS_AT_ONCE).map(([topic]) => this.#loadTopic(topic)))
  }

  async #loadTopic(topic: Topic): Promise<void> {
    const image = await this.#load(topic)
    const forgotten = (key: string) => void this.#redis.hdel(lastOf(topic), fieldOf(key)).catch(() => {})
    const known = this.#topics.get(topic)
    const written = known ?? {
      state: new TopicState(topic, forgotten),
      bookEvents: 0,
      bookAt: 0,
      prolongedAt: -PROLONG_MS,
    }
    if (image && isAfter(image, written.state)) written.state.adopt(image)
    this.#topics.set(topic, written)
  }

  #argumentsOf(step: ReadonlyMap<Topic, readonly EncodedEvent[]>): (string | Buffer | number)[] {
    const { windowEvents, windowMs, lastMs } = this.#options
    const args: (string | Buffer | number)[] = [this.#id!, windowEvents, windowMs + PROLONG_MS, lastMs]
    const due = performance.now() - PROLONG_MS
    for (const [topic, events] of step) {
      args.push(topic.id, topic.channel, topic.class, fanOf(groupOf(topic)), statusKeyOf(topic))
      args.push(this.#topics.get(topic)!.prolongedAt <= due ? 1 : 0, events.length)
      for (const event of events) args.push(linesOf([event]))
    }
    return args
  }

  #applied(step: ReadonlyMap<Topic, readonly EncodedEvent[]>): void {
    const now = performance.now()
    const due = now - PROLONG_MS
    for (const [topic, events] of step) {
      const written = this.#topics.get(topic)!
      for (const event of events) written.state.apply(event)
      this.#changed.add(topic)
      if (written.prolongedAt <= due) written.prolongedAt = now
      if (topic.class !== 'delta') continue
      written.bookEvents += events.length
      if (written.bookEvents >= BOOK_EVENTS) this.#writeBook(written)
    }
  }

  #writeBook(written: Written): void {
    written.bookEvents = 0
    written.bookAt = performance.now()
    const { topic, book } = written.state.image()
    if (!book) return
    const args = [this.#id!, topic.id, writePosition(book.last), snapshotOf(book).bytes]
    // One that is lost is written with a later change; until then readers have the window.
    keepBook.run(this.#redis, args).catch(() => {})
  }

  #tick(): void {
    if (this.#redis.status !== 'ready') return
    this.#tellHeads()
    const due = performance.now() - BOOK_MS
    for (const written of this.#topics.values())
      if (written.bookEvents > 0 && written.bookAt < due) this.#writeBook(written)
  }

  #tellHeads(): void {
    const lines = new Map<number, string>()
    for (const topic of this.#changed) {
      const { epoch, seq } = this.#topics.get(topic)!.state
      const group = groupOf(topic)
      lines.set(group, `${lines.get(group) ?? ''}${topic.id}\t${writePosition({ epoch, seq })}\n`)
    }
    this.#changed.clear()
    for (const [group, text] of lines) this.#redis.publish(headsOf(group), text).catch(() => {})
  }

  close(): void {
    clearInterval(this.#timer)
  }
}

/** Where the value of a conflation key stands in the hash. */
function fieldOf(key: string | undefined): string {
  return key === undefined || key === '' ? 'value' : key
}

function byTopic(events: readonly EncodedEvent[]): Map<Topic, EncodedEvent[]> {
  const topics = new Map<Topic, EncodedEvent[]>()
  for (const event of events) {
    const list = topics.get(event.topic)
    if (list) list.push(event)
    else topics.set(event.topic, [event])
  }
  return topics
}
