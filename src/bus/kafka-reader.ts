import { setTimeout as delay } from 'node:timers/promises'
import type { Consumer, EachBatchPayload, Kafka, KafkaMessage } from 'kafkajs'
import type { Log } from '../gateway/gateway.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { Bell } from './bell.ts'
import type { BusBatch, DeadLetter, OffsetRange } from './bus.ts'
import { eventFrom, letterFrom, type Origin } from './kafka-messages.ts'

/** Read ahead beyond this, nothing more is fetched (one piece more at most). */
const AHEAD_EVENTS = 40_000
const AHEAD_BYTES = 16 << 20
const PIECE_BYTES = 1 << 20
const FETCH_BYTES = 4 << 20
/** How long the broker holds a fetch open at most while it has less than was asked for. */
const FETCH_WAIT_MS = 100
const SESSION_MS = 6_000
const HEARTBEAT_MS = 1_000
/** While nobody takes what was read, the group hears of us so often. */
const STAY_MS = 500
const COMMIT_EVERY_MS = 200
const RESTART_MS = 500
const CLOSE_MS = 1_000

/** Where a group goes on in a partition. */
export interface Start {
  /** What is stored; `0` where nothing is. */
  readonly stored: string
  /** Where to read: later than `stored` where what is between has been deleted. */
  readonly from: string
}

export interface ReaderOptions {
  /** One that tries long: a member that sees a broker's restart through keeps its place in the group. */
  readonly kafka: Kafka
  readonly groupId: string
  readonly topics: readonly string[]
  /** Those of them that hold dead letters. */
  readonly letters: ReadonlySet<string>
  /** Settles before reading begins. */
  readonly ready: () => Promise<void>
  /** Asked again while it rejects; the partitions wait. */
  readonly starts: (partitions: readonly string[]) => Promise<ReadonlyMap<string, Start>>
  /** A fetch is answered as soon as there is so much, or after 100 ms: 1 for who is in a hurry. */
  readonly fetchBytes: number
  /** A batch is what has queued, up to this many events (one fetched piece more at most). */
  readonly batchEvents: number
  /** Commit to Kafka what was taken, or tell it with each batch to whom stores it. */
  readonly commits: boolean
  /** A message of an event topic that is no event of ours. */
  readonly stray: (bytes: Buffer, time: number, origin: Origin) => void
  readonly log: Log
}

/** A partition that is ours, from one assignment of it to its loss. */
interface Place {
  readonly topic: string
  readonly partition: number
  /** `topic/partition`. */
  readonly name: string
  /** The offset to be read next; undefined until it is known where to begin. */
  next: bigint | undefined
  /** Where the group stands when all that was handed out is stored or committed. */
  handedOut: string
  /** Taken by the group, and not committed yet. */
  taken: string | undefined
}

/** Consecutive messages of one partition. */
interface Piece {
  readonly place: Place
  readonly events: readonly EncodedEvent[]
  readonly letters: readonly DeadLetter[]
  readonly to: string
  readonly bytes: number
}

/**
 * One member of a consumer group. Reads ahead of its user, bounded, and stays in the group however long the user takes.
 * A partition is read only from where `starts` says; one that is lost to another member is forgotten, with what was read
 * of it, and begins anew when it comes back. A consumer that crashes is replaced, for ever.
 */
export class GroupReader {
  readonly #options: ReaderOptions
  #places = new Map<string, Place>()
  #ahead: Piece[] = []
  #aheadEvents = 0
  #aheadBytes = 0
  #consumer: Consumer | undefined
  /** Rings when something was read, taken, placed, or ended. */
  readonly #bell = new Bell()
  readonly #stop = new AbortController()
  #stopped: Promise<void> | undefined
  #commitTimer: NodeJS.Timeout | undefined
  #committing: Promise<void> = Promise.resolve()
  #lastSign = performance.now()
  readonly #running: Promise<void>

  constructor(options: ReaderOptions) {
    this.#options = options
    this.#running = this.#keepRunning()
  }

  /** The group has not heard of us for a session: it thinks us dead. */
  get silent(): boolean {
    return !this.#stop.signal.aborted && performance.now() - this.#lastSign > SESSION_MS
  }

  async *batches(): AsyncGenerator<BusBatch> {
    try {
      while (!this.#stop.signal.aborted) {
        const pieces = this.#take()
        if (pieces.length > 0) {
          yield this.#batchOf(pieces)
          this.#taken(pieces)
        } else await this.#bell.wait()
      }
    } finally {
      await this.stop()
    }
  }

  /** Commits what was taken and leaves the group. */
  stop(): Promise<void> {
    this.#stopped ??= this.#end()
    return this.#stopped
  }

  async #end(): Promise<void> {
    this.#stop.abort()
    this.#bell.ring()
    const left = this.#commit().then(() => this.#running)
    await Promise.race([left, delay(CLOSE_MS, undefined, { ref: false })])
  }

  async #keepRunning(): Promise<void> {
    const { signal } = this.#stop
    const { log, groupId } = this.#options
    while (!signal.aborted) {
      try {
        await this.#options.ready()
        if (!signal.aborted) await this.#runConsumer()
      } catch (error) {
        log.warn({ group: groupId, error: (error as Error).message }, 'a Kafka reader ended, beginning anew')
      }
      this.#forget(new Map())
      await delay(RESTART_MS, undefined, { signal }).catch(() => undefined)
    }
  }

  /** Resolves when we are to stop, rejects when the consumer has crashed. */
  async #runConsumer(): Promise<void> {
    const { kafka, groupId, topics, fetchBytes } = this.#options
    const consumer = kafka.consumer({
      groupId,
      sessionTimeout: SESSION_MS,
      heartbeatInterval: HEARTBEAT_MS,
      rebalanceTimeout: SESSION_MS,
      minBytes: fetchBytes,
      maxWaitTimeInMs: FETCH_WAIT_MS,
      maxBytesPerPartition: PIECE_BYTES,
      maxBytes: FETCH_BYTES,
      allowAutoTopicCreation: false,
      // A crash is ours to mend.
      retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 60, restartOnFailure: async () => false },
    })
    const crashed = new Promise<never>((_, reject) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
    })
    crashed.catch(() => undefined)
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => this.#joined(consumer, payload.memberAssignment))
    consumer.on(consumer.events.HEARTBEAT, () => this.#sign())
    // What was taken is committed before another member begins from it; if that comes too late it is read twice.
    consumer.on(consumer.events.REBALANCING, () => void this.#commit())
    try {
      await consumer.connect()
      await consumer.subscribe({ topics: [...topics], fromBeginning: true })
      this.#consumer = consumer
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        eachBatch: (payload) => this.#read(payload),
      })
      await Promise.race([crashed, aborted(this.#stop.signal)])
      await this.#committing
    } finally {
      this.#consumer = undefined
      await consumer.disconnect()
    }
  }

  #sign(): void {
    this.#lastSign = performance.now()
  }

  #joined(consumer: Consumer, assignment: Readonly<Record<string, number[]>>): void {
    this.#sign()
    const places = new Map<string, Place>()
    const fresh: Place[] = []
    for (const [topic, partitions] of Object.entries(assignment)) {
      for (const partition of partitions) {
        const name = `${topic}/${partition}`
        const kept = this.#places.get(name)
        const place = kept ?? { topic, partition, name, next: undefined, handedOut: '0', taken: undefined }
        places.set(name, place)
        if (!kept) fresh.push(place)
        // kafkajs itself would go back to the last commit.
        else if (kept.next !== undefined) consumer.seek({ topic, partition, offset: String(kept.next) })
      }
    }
    this.#forget(places)
    this.#options.log.debug({ group: this.#options.groupId, partitions: [...places.keys()] }, 'reading')
    void this.#place(fresh)
  }

  /** Only these partitions are ours from here on. */
  #forget(places: Map<string, Place>): void {
    this.#places = places
    this.#ahead = this.#ahead.filter(({ place }) => this.#isOurs(place))
    this.#count()
    this.#bell.ring()
  }

  #isOurs(place: Place): boolean {
    return this.#places.get(place.name) === place
  }

  /** Finds out where to begin; until then nothing of these partitions is handed out. */
  async #place(places: readonly Place[]): Promise<void> {
    const { log, groupId, starts } = this.#options
    const { signal } = this.#stop
    while (!signal.aborted) {
      const wanted = places.filter((place) => this.#isOurs(place))
      if (wanted.length === 0) return
      try {
        const found = await starts(wanted.map(({ name }) => name))
        for (const place of wanted) this.#begin(place, found.get(place.name) ?? { stored: '0', from: '0' })
        return
      } catch (error) {
        log.warn({ group: groupId, error: (error as Error).message }, 'where to go on is not known yet')
        await delay(RESTART_MS, undefined, { signal }).catch(() => undefined)
      }
    }
  }

  #begin(place: Place, { stored, from }: Start): void {
    if (!this.#isOurs(place)) return
    place.next = BigInt(from)
    place.handedOut = stored
    place.taken = from
    this.#consumer?.seek({ topic: place.topic, partition: place.partition, offset: from })
    this.#commitSoon()
    this.#bell.ring()
  }

  /** Its partitions begin anew from where they are stored. */
  #reload(pieces: readonly Piece[]): void {
    const fresh: Place[] = []
    const places = new Map(this.#places)
    for (const place of new Set(pieces.map((piece) => piece.place))) {
      if (!this.#isOurs(place)) continue
      const anew = { ...place, next: undefined, taken: undefined }
      places.set(place.name, anew)
      fresh.push(anew)
    }
    this.#forget(places)
    void this.#place(fresh)
  }

  /** One fetched piece of a partition. While too much is ahead it does not return, and nothing more is fetched. */
  async #read(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload
    const place = this.#places.get(`${batch.topic}/${batch.partition}`)
    if (!place || payload.isStale()) return
    if (place.next === undefined) {
      // Fetched from where kafkajs thought that we stand. What comes after the seek is read.
      await this.#stay(payload, () => place.next !== undefined || !this.#isOurs(place))
      return
    }
    const first = BigInt(batch.firstOffset() ?? batch.lastOffset())
    if (first !== place.next && !this.#follows(place, first)) return
    const piece = this.#decode(place, batch.messages, String(BigInt(batch.lastOffset()) + 1n))
    place.next = BigInt(piece.to)
    payload.resolveOffset(batch.lastOffset())
    this.#ahead.push(piece)
    this.#count()
    this.#bell.ring()
    await this.#stay(payload, () => this.#aheadEvents < AHEAD_EVENTS && this.#aheadBytes < AHEAD_BYTES)
    this.#sign()
  }

  /** Kafka does not have what we asked for: what is left of the partition, is it what comes next? */
  #follows(place: Place, first: bigint): boolean {
    const { log, groupId } = this.#options
    const fields = { group: groupId, partition: place.name, from: String(place.next), to: String(first) }
    if (first > place.next!) {
      log.error(fields, 'Kafka has deleted what was not read yet: a hole')
      return true
    }
    log.error(fields, 'a Kafka topic begins before what was read of it: beginning anew')
    this.#reload([{ place, events: [], letters: [], to: '0', bytes: 0 }])
    return false
  }

  /** Waits, and stays a member of the group meanwhile. Rejects, as kafkajs expects, when the group is rebalancing. */
  async #stay(payload: EachBatchPayload, until: () => boolean): Promise<void> {
    while (!until() && !this.#stop.signal.aborted && payload.isRunning() && !payload.isStale()) {
      await this.#bell.wait(STAY_MS)
      await payload.heartbeat()
    }
  }

  #decode(place: Place, messages: readonly KafkaMessage[], to: string): Piece {
    const { letters: letterTopics, stray } = this.#options
    const { topic, partition } = place
    const events: EncodedEvent[] = []
    const letters: DeadLetter[] = []
    let bytes = 0
    for (const message of messages) {
      bytes += message.value?.length ?? 0
      if (letterTopics.has(topic)) {
        letters.push(letterFrom(message))
        continue
      }
      const event = eventFrom(message)
      if (event) events.push(event)
      else
        stray(message.value ?? Buffer.alloc(0), Number(message.timestamp) * 1_000, {
          topic,
          partition,
          offset: message.offset,
        })
    }
    return { place, events, letters, to, bytes }
  }

  #take(): Piece[] {
    const { batchEvents } = this.#options
    let count = 0
    let n = 0
    while (n < this.#ahead.length && count < batchEvents) {
      const { events, letters } = this.#ahead[n++]!
      count += events.length + letters.length
    }
    const pieces = this.#ahead.splice(0, n)
    if (n > 0) {
      this.#count()
      this.#bell.ring()
    }
    return pieces
  }

  #count(): void {
    this.#aheadEvents = 0
    this.#aheadBytes = 0
    for (const { events, letters, bytes } of this.#ahead) {
      this.#aheadEvents += events.length + letters.length
      this.#aheadBytes += bytes
    }
  }

  #batchOf(pieces: readonly Piece[]): BusBatch {
    const [first] = pieces
    const events = pieces.length === 1 ? first!.events : pieces.flatMap((piece) => piece.events)
    const deadLetters = pieces.flatMap((piece) => piece.letters)
    if (this.#options.commits) return { events, deadLetters }
    const offsets = new Map<string, OffsetRange>()
    for (const { place, to } of pieces) {
      offsets.set(place.name, { from: offsets.get(place.name)?.from ?? place.handedOut, to })
      place.handedOut = to
    }
    return { events, deadLetters, offsets, reload: () => this.#reload(pieces) }
  }

  #taken(pieces: readonly Piece[]): void {
    if (!this.#options.commits) return
    for (const { place, to } of pieces) place.taken = to
    this.#commitSoon()
  }

  #commitSoon(): void {
    if (!this.#options.commits || this.#commitTimer) return
    this.#commitTimer = setTimeout(() => void this.#commit(), COMMIT_EVERY_MS)
  }

  /** What could not be committed is committed with what is taken next; at worst it is read twice. */
  #commit(): Promise<void> {
    clearTimeout(this.#commitTimer)
    this.#commitTimer = undefined
    if (this.#options.commits) this.#committing = this.#committing.then(() => this.#commitNow())
    return this.#committing
  }

  async #commitNow(): Promise<void> {
    const due = [...this.#places.values()].filter(({ taken }) => taken !== undefined)
    if (due.length === 0 || !this.#consumer) return
    const offsets = due.map(({ topic, partition, taken }) => ({ topic, partition, offset: taken! }))
    try {
      await this.#consumer.commitOffsets(offsets)
      for (const [i, place] of due.entries()) if (place.taken === offsets[i]!.offset) place.taken = undefined
    } catch (error) {
      this.#options.log.debug({ error: (error as Error).message }, 'offsets were not committed')
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
