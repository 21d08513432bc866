import type { IHeaders, KafkaMessage, Message } from 'kafkajs'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { eventOf, stampOf } from '../market/event-line.ts'
import type { Topic } from '../market/topic.ts'
import type { DeadLetter } from './bus.ts'

/** Version of what the headers and the value say. */
const SCHEMA = Buffer.from('1')

/** Where a message stands, or stood, in Kafka. */
export interface Origin {
  readonly topic: string
  readonly partition?: number
  readonly offset?: string
}

/** What is the same for all events of a topic. */
interface Address {
  readonly key: Buffer
  /** `topic` is there where the key is not the topic's id. */
  readonly headers: Readonly<Record<string, Buffer>>
}

/** Goes with the topics, which are bounded. */
const addresses = new WeakMap<Topic, Address>()

/**
 * An event as a Kafka message. Value: the bytes made at ingest. Key: the topic's id; of odds the eventId, of statuses
 * tenant and conversation. Headers: `type`, `source`, `v`, `stamp` (see `stampOf`), `topic` where the key is not its id,
 * and `traceparent` of the few events that are traced.
 */
export function eventMessage(event: EncodedEvent): Message {
  const { key, headers } = addressOf(event.topic)
  const message = { ...headers, type: event.type, stamp: stampOf(event) }
  return {
    key,
    value: event.bytes,
    headers: event.trace === undefined ? message : { ...message, traceparent: event.trace },
  }
}

function addressOf(topic: Topic): Address {
  const known = addresses.get(topic)
  if (known) return known
  const byId = topic.channel !== 'odds' && topic.channel !== 'status'
  const id = Buffer.from(topic.id)
  const address = {
    key: byId ? id : Buffer.from(topic.subject),
    headers: { source: Buffer.from(topic.source), v: SCHEMA, ...(byId ? {} : { topic: id }) },
  }
  addresses.set(topic, address)
  return address
}

/** Undefined: the message is no event of ours. */
export function eventFrom({ key, value, headers }: KafkaMessage): EncodedEvent | undefined {
  const topicId = text(headers, 'topic') ?? key?.toString()
  const type = text(headers, 'type')
  const stamp = text(headers, 'stamp')
  if (!topicId || !type || !stamp || !value || text(headers, 'v') !== '1') return undefined
  return eventOf(topicId, type, stamp, unpinned(value), text(headers, 'traceparent'))
}

/** A small value of a large fetch, if somebody kept it, would keep all of the fetch. */
function unpinned(value: Buffer): Buffer {
  return value.buffer.byteLength > 64 * value.length ? Buffer.from(value) : value
}

/**
 * A dead letter as a message of the `.dlq` topic. Value: the original bytes. Headers: `topic` (with `partition` and
 * `offset` where it was read from Kafka), `source`, `channel`, `subject`, `receivedTime` (epoch µs) and `reason`; where it
 * had to be cut to `maxBytes`, `length` is what it was.
 */
export function letterMessage(letter: DeadLetter, origin: Origin, maxBytes: number): Message {
  const { source, channel, subject, receivedTime, reason, bytes } = letter
  const headers: Record<string, string> = { v: '1', topic: origin.topic }
  if (origin.partition !== undefined) headers.partition = String(origin.partition)
  if (origin.offset !== undefined) headers.offset = origin.offset
  headers.source = source
  if (channel !== undefined) headers.channel = channel
  if (subject !== undefined) headers.subject = subject
  headers.receivedTime = String(receivedTime)
  headers.reason = reason.slice(0, 1_000)
  if (bytes.length > maxBytes) headers.length = String(bytes.length)
  return { key: source, value: bytes.subarray(0, maxBytes), headers }
}

/** Whatever stands in a `.dlq` topic is a dead letter. */
export function letterFrom({ value, headers, timestamp }: KafkaMessage): DeadLetter {
  const channel = text(headers, 'channel')
  const subject = text(headers, 'subject')
  const receivedTime = Number(text(headers, 'receivedTime'))
  return {
    source: text(headers, 'source') ?? 'unknown',
    ...(channel === undefined ? {} : { channel }),
    ...(subject === undefined ? {} : { subject }),
    receivedTime: Number.isSafeInteger(receivedTime) ? receivedTime : Number(timestamp) * 1_000,
    reason: text(headers, 'reason') ?? 'no reason given',
    bytes: value ?? Buffer.alloc(0),
  }
}

/** A header, the first of its name; undefined where there is none. */
export function text(headers: IHeaders | undefined, name: string): string | undefined {
  const value = headers?.[name]
  return (Array.isArray(value) ? value[0] : value)?.toString()
}
