import { randomUUID } from 'node:crypto'
import type { Admin, Kafka, KafkaMessage } from 'kafkajs'
import { FeedgateError } from '../errors.ts'
import type { Log } from '../gateway/gateway.ts'
import { EncodedEvent } from '../market/encoded-event.ts'
import {
  CHANNELS,
  type Channel,
  conflationKey,
  type EventType,
  isChannel,
  type Payload,
} from '../market/event.ts'
import { topicOf } from '../market/topic.ts'
import type { DeadLetter } from './bus.ts'
import { createKafkaClient, type KafkaAddress } from './kafka-client.ts'
import { eventMessage, letterFrom, type Origin, text } from './kafka-messages.ts'
import { Sender } from './kafka-sender.ts'
import { boundsOf, KafkaTopics } from './kafka-topics.ts'

/** A partition that gives nothing for so long is given up. */
const READ_MS = 15_000
const SEND_MS = 15_000

/** A dead letter where it lies. */
export interface KeptLetter {
  /** The topic it concerns; it lies in `<topic>.dlq`. */
  readonly topic: string
  /** In the `.dlq` topic. */
  readonly partition: number
  readonly offset: string
  readonly letter: DeadLetter
  /** Where it was read from Kafka before it was found to be no event. */
  readonly origin?: Origin
}

export interface LetterChoice {
  /** Of an event topic, without `.dlq`; absent: all. */
  readonly topic?: string
  readonly partition?: number
  readonly offset?: string
  /** The newest so many of each partition. */
  readonly limit: number
}

/** The dead letters of a Kafka installation, for people: to look at, and to publish again. */
export interface DeadLetters {
  /** By time, oldest first. Rejects `not-found` for a topic that is none, `bus-unavailable` when Kafka does not answer. */
  list(choice: LetterChoice): Promise<readonly KeptLetter[]>
  /**
   * Publishes the events among them again, in their order; resolves to those that never were one. A letter stays where it
   * lies; an event that is stored already is not stored twice.
   */
  retry(letters: readonly KeptLetter[]): Promise<readonly KeptLetter[]>
}

export function openDeadLetters(address: KafkaAddress & { topicPrefix?: string }, log: Log): DeadLetters {
  const kafka = createKafkaClient(address, log)
  const topics = new KafkaTopics(address.topicPrefix)
  return {
    list: (choice) => list(kafka, topics, choice),
    retry: (letters) => retry(kafka, topics, letters, log),
  }
}

async function list(kafka: Kafka, topics: KafkaTopics, choice: LetterChoice): Promise<KeptLetter[]> {
  const { topic } = choice
  if (topic !== undefined && !topics.events.includes(topic))
    throw new FeedgateError(
      'bad-setting',
      `topic ${JSON.stringify(topic)} has no dead letters: accepted are ${topics.events.join(', ')}`,
    )
  const admin = kafka.admin()
  try {
    await admin.connect()
    return await read(kafka, admin, topic === undefined ? topics.letters : [`${topic}.dlq`], choice)
  } catch (cause) {
    throw new FeedgateError('bus-unavailable', `Kafka does not answer: ${(cause as Error).message}`, {
      cause,
    })
  } finally {
    await admin.disconnect().catch(() => undefined)
  }
}

/** A stretch to be read; `from` before `to`. */
interface Stretch {
  readonly topic: string
  readonly partition: number
  readonly from: bigint
  readonly to: bigint
}

/** By a group of its own that is gone afterwards: kafkajs reads in no other way. */
async function read(
  kafka: Kafka,
  admin: Admin,
  topics: readonly string[],
  choice: LetterChoice,
): Promise<KeptLetter[]> {
  const existing = new Set(await admin.listTopics())
  const bounds = await boundsOf(
    admin,
    topics.filter((topic) => existing.has(topic)),
  )
  const stretches = new Map<string, Stretch>()
  for (const [name, { low, high }] of bounds) {
    const stretch = chosen(name, BigInt(low), BigInt(high), choice)
    if (stretch.from < stretch.to) stretches.set(name, stretch)
  }
  if (stretches.size === 0) return []
  const groupId = `feedgate-dlq-${randomUUID()}`
  const found = await consume(kafka, groupId, stretches)
  await admin.deleteGroups([groupId]).catch(() => undefined)
  return found.sort((a, b) => a.letter.receivedTime - b.letter.receivedTime)
}

function chosen(name: string, low: bigint, high: bigint, choice: LetterChoice): Stretch {
  const slash = name.lastIndexOf('/')
  const [topic, partition] = [name.slice(0, slash), Number(name.slice(slash + 1))]
  if (choice.partition !== undefined && choice.partition !== partition)
    return { topic, partition, from: high, to: high }
  if (choice.offset === undefined) {
    const from = high - BigInt(choice.limit)
    return { topic, partition, from: from > low ? from : low, to: high }
  }
  const offset = BigInt(choice.offset)
  const there = offset >= low && offset < high
  return { topic, partition, from: there ? offset : high, to: there ? offset + 1n : high }
}

async function consume(
  kafka: Kafka,
  groupId: string,
  stretches: ReadonlyMap<string, Stretch>,
): Promise<KeptLetter[]> {
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100, allowAutoTopicCreation: false })
  const letters: KeptLetter[] = []
  const left = new Set(stretches.keys())
  await consumer.connect()
  try {
    await consumer.subscribe({
      topics: [...new Set([...stretches.values()].map(({ topic }) => topic))],
      fromBeginning: true,
    })
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('dead letters did not come')), READ_MS)
      const done = () => {
        clearTimeout(timer)
        resolve()
      }
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
      consumer.on(consumer.events.GROUP_JOIN, () => {
        for (const { topic, partition, from } of stretches.values())
          consumer.seek({ topic, partition, offset: String(from) })
      })
      consumer
        .run({
          autoCommit: false,
          eachBatch: async ({ batch, isStale }) => {
            const stretch = stretches.get(`${batch.topic}/${batch.partition}`)
            if (!stretch || isStale()) return
            for (const message of batch.messages) {
              const offset = BigInt(message.offset)
              if (offset >= stretch.from && offset < stretch.to) letters.push(kept(stretch, message))
            }
            if (BigInt(batch.lastOffset()) + 1n >= stretch.to)
              left.delete(`${batch.topic}/${batch.partition}`)
            if (left.size === 0) done()
          },
        })
        .catch(reject)
    })
  } finally {
    await consumer.disconnect()
  }
  return letters
}

function kept(stretch: Stretch, message: KafkaMessage): KeptLetter {
  const partition = text(message.headers, 'partition')
  const offset = text(message.headers, 'offset')
  const topic = text(message.headers, 'topic')
  return {
    topic: stretch.topic.slice(0, -'.dlq'.length),
    partition: stretch.partition,
    offset: message.offset,
    letter: letterFrom(message),
    ...(topic !== undefined && partition !== undefined && offset !== undefined
      ? { origin: { topic, partition: Number(partition), offset } }
      : {}),
  }
}

async function retry(
  kafka: Kafka,
  topics: KafkaTopics,
  letters: readonly KeptLetter[],
  log: Log,
): Promise<readonly KeptLetter[]> {
  const none: KeptLetter[] = []
  const outgoing = []
  for (const of of letters) {
    const event = eventOfLetter(of.letter)
    if (event) outgoing.push({ topic: topics.of(event.topic.channel), message: eventMessage(event), of })
    else none.push(of)
  }
  if (outgoing.length === 0) return none
  const sender = new Sender(kafka, async () => new Map(), log)
  const deadline = AbortSignal.timeout(SEND_MS)
  const refused = (reason: string) => {
    throw new FeedgateError('bus-unavailable', `Kafka takes not all of the events: ${reason}`)
  }
  try {
    if (!(await sender.open(deadline))) refused(sender.reason)
    for (let at = 0; at < outgoing.length; at += 500) {
      const sent = await sender.send(outgoing.slice(at, at + 500), (_, reason) => refused(reason))
      if (!sent) refused(sender.reason)
    }
  } finally {
    await sender.close()
  }
  return none
}

/** The event whose bytes the letter holds, whole; undefined: it never was one. */
export function eventOfLetter({ channel, subject, bytes }: DeadLetter): EncodedEvent | undefined {
  if (channel === undefined || !isChannel(channel) || subject === undefined) return undefined
  const fields = parse(bytes)
  if (!fields) return undefined
  const { v, type, source, epoch, seq, receivedTime, sourceTime, timeframe } = fields
  if (v !== 1 || typeof source !== 'string' || (type !== CHANNELS[channel].type && type !== 'gap'))
    return undefined
  const [at, from, received] = [epoch, seq, receivedTime].map(natural)
  if (at === undefined || from === undefined || received === undefined) return undefined
  const topic = topicFor(source, channel, subject, timeframe)
  if (!topic) return undefined
  const key = conflationKey(fields as unknown as Payload)
  return new EncodedEvent(
    topic,
    type as EventType,
    at,
    from,
    received,
    natural(sourceTime) ?? received,
    key,
    bytes,
  )
}

function topicFor(source: string, channel: Channel, subject: string, timeframe: unknown) {
  if (!CHANNELS[channel].timeframe) return topicOf(source, channel, subject)
  return typeof timeframe === 'string' ? topicOf(source, channel, subject, timeframe) : undefined
}

function parse(bytes: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString())
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function natural(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined
}
