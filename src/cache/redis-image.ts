import { BookFollower } from '../market/book-follower.ts'
import { decodeEvent } from '../market/decode.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Topic } from '../market/topic.ts'
import type { BookImage, TopicImage, TopicPosition } from './cache.ts'
import { readPosition } from './redis-keys.ts'

/** What the script IMAGE answers: names and values of the hash, and the events behind its book. */
export type ImageReply = readonly [
  fields: readonly Buffer[],
  events: readonly (readonly [id: Buffer, fields: readonly [name: Buffer, event: Buffer]])[],
]

/** Undefined: the topic has none. */
export function imageOf(topic: Topic, [fields, entries]: ImageReply): TopicImage | undefined {
  let position: TopicPosition | undefined
  let book: Buffer | undefined
  const values: EncodedEvent[] = []
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const name = fields[at]!.toString()
    const value = fields[at + 1]!
    if (name === 'position') position = readPosition(value)
    else if (name === 'book') book = value
    else if (name !== 'bookAt') values.push(decodeEvent(topic, value))
  }
  if (!position) return undefined
  values.sort((one, other) => one.epoch - other.epoch || one.seq - other.seq)
  const events = entries.map(([, [, bytes]]) => decodeEvent(topic, bytes))
  const known = topic.class === 'delta' ? bookOf(topic, book, events) : undefined
  const stands = known?.last.epoch === position.epoch && known.last.seq === position.seq
  return { topic, ...position, values, ...(stands ? { book: known } : {}) }
}

/** The kept book and what its events made of it since; undefined where it is not known or the window is too short. */
function bookOf(
  topic: Topic,
  kept: Buffer | undefined,
  events: readonly EncodedEvent[],
): BookImage | undefined {
  const book = new BookFollower<EncodedEvent>()
  if (kept) book.apply(decodeEvent(topic, kept))
  for (const event of events) book.apply(event)
  return book.image()
}
