import { setTimeout as delay } from 'node:timers/promises'
import kafkajs, { type Kafka, type Message, type Producer } from 'kafkajs'
import type { Log } from '../gateway/gateway.ts'

// A CommonJS package: Node finds only some of its names.
const { KafkaJSProtocolError, Partitioners } = kafkajs

/** Between attempts that are ours; kafkajs has its own below them. */
const RETRY_MS = 500
/** kafkajs does not number on rightly at 2^31 messages of a partition: a new producer begins at 0. */
const RENEW_AFTER = 1e9
const CLOSE_MS = 500

/** Of the message, not of the moment: no repetition cures it. */
const REFUSALS = new Set([
  'MESSAGE_TOO_LARGE',
  'RECORD_LIST_TOO_LARGE',
  'INVALID_RECORD',
  'INVALID_TIMESTAMP',
])

export interface Outgoing {
  readonly topic: string
  readonly message: Message
  /** The same in fewer bytes, for a topic that refuses it. */
  readonly smaller?: () => Message
}

/**
 * Sends batches with an idempotent producer, one at a time, until the broker has them: while it is away for ever. The
 * same batch is repeated under the same sequence numbers, so that a broker which had stored it before it fell knows it.
 * Only a batch of which a broker refuses a part is sent in pieces by a new producer, and may then be stored twice; so may
 * one for several brokers, on those that have it, while another of them is away.
 */
export class Sender {
  connected = false
  /** Why it is not connected. */
  reason = 'not connected yet'
  readonly #kafka: Kafka
  /** Makes the topics; resolves to the largest message that each takes. */
  readonly #setUp: () => Promise<ReadonlyMap<string, number>>
  readonly #log: Log
  #producer: Producer | undefined
  #largest: ReadonlyMap<string, number> = new Map()
  #signal = new AbortController().signal
  #sent = 0

  constructor(kafka: Kafka, setUp: () => Promise<ReadonlyMap<string, number>>, log: Log) {
    this.#kafka = kafka
    this.#setUp = setUp
    this.#log = log
  }

  /** Bytes, of a topic. */
  largest(topic: string): number {
    return this.#largest.get(topic) ?? Number.POSITIVE_INFINITY
  }

  /** Tries until it is done; false: the signal ended first. */
  open(signal: AbortSignal): Promise<boolean> {
    this.#signal = signal
    return this.#patiently(async () => {
      this.#largest = await this.#setUp()
      await this.#connect()
    })
  }

  /** False: the signal ended before the broker had all. `refused` is told of messages that it does not take. */
  async send<T extends Outgoing>(
    messages: readonly T[],
    refused: (message: T, reason: string) => void,
  ): Promise<boolean> {
    if (messages.length === 0) return true
    let refusal: string | undefined
    const sent = await this.#patiently(async () => {
      refusal = await this.#attempt(messages)
    })
    if (!sent || refusal === undefined) return sent
    const [only] = messages
    if (only && messages.length === 1) {
      if (!only.smaller) refused(only, refusal)
      else return this.send([{ ...only, message: only.smaller(), smaller: undefined }], refused)
      return true
    }
    const half = messages.length >> 1
    return (
      (await this.send(messages.slice(0, half), refused)) && (await this.send(messages.slice(half), refused))
    )
  }

  async close(): Promise<void> {
    this.connected = false
    await Promise.race([this.#drop(), delay(CLOSE_MS, undefined, { ref: false })])
  }

  /** Resolves to why the broker refuses the messages, or undefined when it has them. */
  async #attempt(messages: readonly Outgoing[]): Promise<string | undefined> {
    if (!this.#producer || this.#sent > RENEW_AFTER) await this.#connect()
    try {
      await this.#producer!.sendBatch({ acks: -1, topicMessages: byTopic(messages) })
    } catch (error) {
      // What is no answer of the broker leaves the sequence numbers as they were: the same batch may go on under them.
      if (error instanceof KafkaJSProtocolError) {
        await this.#drop()
        if (REFUSALS.has(error.type)) return error.message
      }
      throw error
    }
    this.#sent += messages.length
    return undefined
  }

  async #connect(): Promise<void> {
    await this.#drop()
    this.#producer = this.#kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      createPartitioner: cachedPartitioner,
    })
    await this.#producer.connect()
    this.connected = true
    this.#sent = 0
  }

  async #drop(): Promise<void> {
    const producer = this.#producer
    this.#producer = undefined
    await producer?.disconnect().catch(() => undefined)
  }

  async #patiently(act: () => Promise<void>): Promise<boolean> {
    while (!this.#signal.aborted) {
      try {
        await act()
        return true
      } catch (error) {
        this.reason = (error as Error).message
        this.#log.warn({ error: this.reason }, 'Kafka takes nothing, trying again')
        await delay(RETRY_MS, undefined, { signal: this.#signal }).catch(() => undefined)
      }
    }
    return false
  }
}

/** Kafka's own choice for the key; made once for each key object, of which there is one a topic. */
function cachedPartitioner(): ReturnType<typeof Partitioners.DefaultPartitioner> {
  const choose = Partitioners.DefaultPartitioner()
  const chosen = new WeakMap<Buffer, { readonly partition: number; readonly of: number }>()
  return (args) => {
    const { key } = args.message
    if (!Buffer.isBuffer(key)) return choose(args)
    const known = chosen.get(key)
    if (known && known.of === args.partitionMetadata.length) return known.partition
    const partition = choose(args)
    chosen.set(key, { partition, of: args.partitionMetadata.length })
    return partition
  }
}

function byTopic(messages: readonly Outgoing[]): { topic: string; messages: Message[] }[] {
  const topics = new Map<string, Message[]>()
  for (const { topic, message } of messages) {
    const found = topics.get(topic)
    if (found) found.push(message)
    else topics.set(topic, [message])
  }
  return [...topics].map(([topic, of]) => ({ topic, messages: of }))
}
