import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Admin, Kafka } from 'kafkajs'
import { FeedgateError } from '../errors.ts'
import type { Log } from '../gateway/gateway.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { signals } from '../signals.ts'
import { type Bus, type BusBatch, type DeadLetter, RECORDER, type StoredOffsets } from './bus.ts'
import { createKafkaClient } from './kafka-client.ts'
import { GroupReader, type Start } from './kafka-reader.ts'
import { Sender } from './kafka-sender.ts'
import { boundsOf, ensureTopics, KafkaTopics, TOPIC_DEFAULTS, type TopicSettings } from './kafka-topics.ts'
import { Outbox } from './outbox.ts'
import { Spill } from './spill.ts'

/** `ends` waits at most so long for what an earlier process left on disk. */
const RECOVERY_MS = 10_000
/** Half a minute: longer than a broker takes to start again. */
const READER_ATTEMPTS = 60
const SEEN_RETRY_MS = 500
/** Who stores is in no hurry and commits many at a time: seldom asked, the broker has more time for the others. */
const STORE_FETCH_BYTES = 512 << 10
/** Behind, it commits this many at once: 20,000 are stored a quarter faster a row than 5,000 (bench/record.ts). */
const STORE_BATCH_EVENTS = 20_000
const BATCH_EVENTS = 5_000
const ADMIN_ATTEMPTS = 10
const ADMIN_RETRY_MS = 100

export interface KafkaBusOptions extends Partial<TopicSettings> {
  /** `host:port` */
  readonly brokers: readonly string[]
  readonly clientId: string
  readonly log: Log
  /** Has the folder `spill` for what comes while Kafka is away; without it only memory does. */
  readonly dataDir?: string
  /** Before the names of topics and groups, where installations share a cluster. */
  readonly topicPrefix?: string
  /** What may wait for Kafka in memory before it goes to disk, or publishers wait. */
  readonly memoryEvents?: number
  readonly memoryBytes?: number
  readonly spillBytes?: number
}

/**
 * The bus on Apache Kafka. Topics and keys are those of the contract, see `kafka-topics.ts` and `kafka-messages.ts`;
 * the groups are `feedgate-<group>`. Only the group `recorder` gets dead letters: it reads the `.dlq` topics.
 * A group that is new begins where the topics end when it subscribes; one with `stored` offsets at the oldest.
 */
export function createKafkaBus(options: KafkaBusOptions): Bus {
  return new KafkaBus(options)
}

class KafkaBus implements Bus {
  readonly #kafka: Kafka
  readonly #patientKafka: Kafka
  readonly #topics: KafkaTopics
  readonly #log: Log
  readonly #outbox: Outbox
  readonly #readers = new Map<string, Set<GroupReader>>()
  /** Settles with the first attempt that made or found all topics. */
  #settingUp: Promise<ReadonlyMap<string, number>> | undefined
  readonly #settings: TopicSettings
  #closed = false

  constructor(options: KafkaBusOptions) {
    const { log, dataDir, spillBytes = 1024 ** 3, memoryEvents = 50_000, memoryBytes = 32 << 20 } = options
    this.#kafka = createKafkaClient(options, log)
    this.#patientKafka = createKafkaClient(options, log, READER_ATTEMPTS)
    this.#topics = new KafkaTopics(options.topicPrefix)
    this.#settings = { ...TOPIC_DEFAULTS, ...options }
    this.#log = log
    this.#outbox = new Outbox({
      sender: new Sender(this.#kafka, () => this.#setUp(), log),
      topics: this.#topics,
      ...(dataDir === undefined ? {} : { spill: new Spill(join(dataDir, 'spill'), spillBytes) }),
      memoryEvents,
      memoryBytes,
      log,
    })
  }

  publish(events: readonly EncodedEvent[]): Promise<void> {
    return this.#outbox.publish(events)
  }

  async reject(letters: readonly DeadLetter[]): Promise<void> {
    if (this.#closed) throw new FeedgateError('shutting-down', 'the bus is closed')
    for (const letter of letters) this.#outbox.reject(letter)
  }

  subscribe(group: string, signal: AbortSignal, stored?: StoredOffsets): AsyncIterable<BusBatch> {
    const letters = group === RECORDER ? this.#topics.letters : []
    const topics = [...this.#topics.events, ...letters]
    const groupId = this.#topics.group(group)
    // Seen before anything more is sent, so that what is published from here on is the group's.
    const begin = stored ? undefined : this.#seen(topics)
    if (begin) this.#outbox.hold(begin)
    const reader = new GroupReader({
      kafka: this.#patientKafka,
      groupId,
      topics,
      letters: new Set(letters),
      ready: async () => void (await this.#setUp()),
      starts: async (partitions) =>
        stored
          ? this.#startsOf(groupId, partitions, await stored.offsets(group, partitions))
          : this.#committedStarts(groupId, partitions, await begin!),
      fetchBytes: stored ? STORE_FETCH_BYTES : 1,
      batchEvents: stored ? STORE_BATCH_EVENTS : BATCH_EVENTS,
      commits: !stored,
      stray: (bytes, receivedTime, origin) => {
        if (group !== RECORDER) return
        const reason = 'read from Kafka: no event of this gateway'
        signals.deadLetter.emit({ source: 'kafka', reason })
        this.#outbox.reject({ source: 'kafka', receivedTime, reason, bytes }, origin)
      },
      log: this.#log,
    })
    this.#add(group, reader, signal)
    return reader.batches()
  }

  async ends(): Promise<ReadonlyMap<string, string>> {
    if (!(await this.#outbox.recovered(RECOVERY_MS)))
      throw new FeedgateError('bus-unavailable', 'Kafka does not have yet what waits on disk')
    try {
      await this.#setUp()
      const bounds = await this.#withAdmin((admin) => boundsOf(admin, this.#topics.events))
      return new Map([...bounds].map(([name, { high }]) => [name, high]))
    } catch (cause) {
      throw new FeedgateError('bus-unavailable', 'Kafka does not say where its topics end', { cause })
    }
  }

  async *tail(from: ReadonlyMap<string, string>): AsyncGenerator<readonly EncodedEvent[]> {
    const unread = new Map([...(await this.ends())].filter(([name, end]) => isBehind(from.get(name), end)))
    if (unread.size === 0) return
    const groupId = this.#topics.group(`tail-${randomUUID()}`)
    const reader = new GroupReader({
      kafka: this.#kafka,
      groupId,
      topics: topicsOf([...unread.keys()]),
      letters: new Set(),
      ready: async () => {},
      starts: (partitions) => this.#startsOf(groupId, partitions, from),
      fetchBytes: 1,
      batchEvents: BATCH_EVENTS,
      commits: false,
      stray: () => {},
      log: this.#log,
    })
    try {
      for await (const { events, offsets } of reader.batches()) {
        yield events
        for (const [name, { to }] of offsets ?? [])
          if (!isBehind(to, unread.get(name) ?? '0')) unread.delete(name)
        if (unread.size === 0) return
      }
      throw new FeedgateError('bus-unavailable', 'the bus was closed while it was read')
    } finally {
      await reader.stop()
      await this.#withAdmin((admin) => admin.deleteGroups([groupId])).catch(() => undefined)
    }
  }

  fault(): string | undefined {
    const fault = this.#outbox.fault()
    if (fault) return fault
    for (const [group, readers] of this.#readers)
      for (const reader of readers) if (reader.silent) return `Kafka does not hear of the group ${group}`
    return undefined
  }

  async close(): Promise<void> {
    this.#closed = true
    const readers = [...this.#readers.values()].flatMap((of) => [...of])
    await Promise.all([this.#outbox.close(), ...readers.map((reader) => reader.stop())])
  }

  #add(group: string, reader: GroupReader, signal: AbortSignal): void {
    const readers = this.#readers.get(group) ?? new Set()
    this.#readers.set(group, readers.add(reader))
    const leave = () => {
      readers.delete(reader)
      void reader.stop()
    }
    if (this.#closed || signal.aborted) leave()
    else signal.addEventListener('abort', leave, { once: true })
  }

  /** Once done it stays done; what failed is tried again at the next call. */
  #setUp(): Promise<ReadonlyMap<string, number>> {
    this.#settingUp ??= this.#withAdmin((admin) =>
      ensureTopics(admin, this.#topics, this.#settings, this.#log),
    ).catch((error) => {
      this.#settingUp = undefined
      throw error
    })
    return this.#settingUp
  }

  /** Where the topics end now; asked until Kafka answers. */
  async #seen(topics: readonly string[]): Promise<ReadonlyMap<string, string>> {
    while (!this.#closed) {
      try {
        await this.#setUp()
        const bounds = await this.#withAdmin((admin) => boundsOf(admin, topics))
        return new Map([...bounds].map(([name, { high }]) => [name, high]))
      } catch (error) {
        this.#log.debug({ error: (error as Error).message }, 'Kafka does not say where its topics end')
        await delay(SEEN_RETRY_MS)
      }
    }
    return new Map()
  }

  async #committedStarts(
    groupId: string,
    partitions: readonly string[],
    begin: ReadonlyMap<string, string>,
  ): Promise<ReadonlyMap<string, Start>> {
    const topics = topicsOf(partitions)
    const found = await this.#withAdmin((admin) => admin.fetchOffsets({ groupId, topics }))
    const committed = new Map<string, string>()
    for (const { topic, partitions: of } of found) {
      for (const { partition, offset } of of) {
        const name = `${topic}/${partition}`
        // Negative: nothing was committed.
        committed.set(name, offset.startsWith('-') ? (begin.get(name) ?? '0') : offset)
      }
    }
    return this.#startsOf(groupId, partitions, committed)
  }

  /** Where what is known of the group and what Kafka still has agree. */
  async #startsOf(
    groupId: string,
    partitions: readonly string[],
    known: ReadonlyMap<string, string>,
  ): Promise<ReadonlyMap<string, Start>> {
    const bounds = await this.#withAdmin((admin) => boundsOf(admin, topicsOf(partitions)))
    const starts = new Map<string, Start>()
    for (const partition of partitions) {
      const stored = known.get(partition) ?? '0'
      const { low, high } = bounds.get(partition) ?? { low: '0', high: stored }
      const lost = BigInt(stored) < BigInt(low) || BigInt(stored) > BigInt(high)
      if (lost && known.has(partition))
        this.#log.error(
          { group: groupId, partition, stored, low, high },
          'Kafka no longer has what comes after the stored offset: reading what there is',
        )
      starts.set(partition, { stored, from: lost ? low : stored })
    }
    return starts
  }

  /** A connection of its own, for a question that is asked seldom; once more and again while a topic is being made. */
  async #withAdmin<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
    const admin = this.#kafka.admin()
    try {
      await admin.connect()
      for (let left = ADMIN_ATTEMPTS; ; left--) {
        try {
          return await work(admin)
        } catch (error) {
          if (left === 0 || !(error as { retriable?: boolean }).retriable) throw error
          await delay(ADMIN_RETRY_MS)
        }
      }
    } finally {
      await admin.disconnect().catch(() => undefined)
    }
  }
}

function topicsOf(partitions: readonly string[]): string[] {
  return [...new Set(partitions.map((name) => name.slice(0, name.lastIndexOf('/'))))]
}

/** Nothing known: from the oldest. */
function isBehind(offset: string | undefined, end: string): boolean {
  return BigInt(offset ?? 0) < BigInt(end)
}
