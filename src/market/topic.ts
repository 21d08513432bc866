import { CHANNELS, type Channel, type ChannelClass } from './event.ts'

/**
 * A topic is `source|channel|subject[|timeframe]`: the unit of order, numbering, storage and subscription.
 * Topics are interned: `topicOf` gives the same object for the same parts, so they may be compared by identity.
 */
export interface Topic {
  /** `source|channel|subject[|timeframe]`. */
  readonly id: string
  readonly source: string
  readonly channel: Channel
  readonly class: ChannelClass
  /** Symbol, eventId, or `tenant/conversationId` for `status`. */
  readonly subject: string
  readonly timeframe?: string
  /** Of `status` topics: whose conversation it is; never shown to clients. */
  readonly tenant?: string
  /** The subject as clients name it: without the tenant. */
  readonly publicSubject: string
  /** The id as clients see it: without the tenant. */
  readonly publicId: string
}

/** Source and tenant ids. */
export const SOURCE_ID = /^[A-Za-z0-9_-]{1,64}$/
/** Event, message and conversation ids. */
export const SUBJECT_ID = /^[A-Za-z0-9_.:@+-]{1,128}$/

const interned = new Map<string, Topic>()

/** Symbols may hold anything a venue invents; what would break a topic id or a pattern is percent-encoded. */
export function encodeSymbol(symbol: string): string {
  let encoded = ''
  for (const c of symbol) {
    const code = c.charCodeAt(0)
    const breaks = c === '|' || c === '*' || c === '%' || code < 0x20 || code === 0x7f
    encoded += breaks ? `%${code.toString(16).toUpperCase().padStart(2, '0')}` : c
  }
  return encoded
}

/**
 * The one topic object of these parts. `subject` is already encoded (`encodeSymbol`).
 * The table is bounded by the topics that sources carry, which only operators can add to.
 */
export function topicOf(source: string, channel: Channel, subject: string, timeframe?: string): Topic {
  const id =
    timeframe === undefined
      ? `${source}|${channel}|${subject}`
      : `${source}|${channel}|${subject}|${timeframe}`
  const known = interned.get(id)
  if (known) return known
  const slash = channel === 'status' ? subject.indexOf('/') : -1
  const publicSubject = slash < 0 ? subject : subject.slice(slash + 1)
  const topic: Topic = {
    id,
    source,
    channel,
    class: CHANNELS[channel].class,
    subject,
    ...(timeframe === undefined ? {} : { timeframe }),
    ...(slash < 0 ? {} : { tenant: subject.slice(0, slash) }),
    publicSubject,
    publicId: slash < 0 ? id : `${source}|${channel}|${publicSubject}`,
  }
  interned.set(id, topic)
  return topic
}

/** The topic of an id as `topicOf` writes it; undefined if it is none. */
export function parseTopic(id: string): Topic | undefined {
  const known = interned.get(id)
  if (known) return known
  const [source, channel, subject, timeframe, ...rest] = id.split('|')
  if (rest.length > 0 || !source || !subject || !channel || !Object.hasOwn(CHANNELS, channel))
    return undefined
  if (CHANNELS[channel as Channel].timeframe !== (timeframe !== undefined)) return undefined
  return topicOf(source, channel as Channel, subject, timeframe)
}
