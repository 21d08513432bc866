import type { TopicImage } from '../cache/cache.ts'
import { decodeEvent } from '../market/decode.ts'
import { encodeEvent } from '../market/encode.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import type { BookPayload, Micros } from '../market/event.ts'
import type { Topic } from '../market/topic.ts'
import type { Store } from '../store/store.ts'

/** What is shown to those whose grant has a delay. */

const FLAG = '"delayed"'

/** The same event with the flag `delayed`, from its JSON: keys stand unescaped in one place only. */
export function lateEvent(topic: Topic, body: string): EncodedEvent {
  return decodeEvent(topic, Buffer.from(lateBody(body)))
}

function lateBody(body: string): string {
  const flags = ',"flags":['
  const published = ',"publishedTime":'
  const start = body.indexOf(published) + published.length
  const end = start + /^\d*/.exec(body.slice(start, start + 20))![0].length
  return body.startsWith(flags, end)
    ? `${body.slice(0, end)}${flags}${FLAG},${body.slice(end + flags.length)}`
    : `${body.slice(0, end)}${flags}${FLAG}]${body.slice(end)}`
}

/**
 * What a topic looked like before a time, as the store has it. Undefined: nothing of it had been received then, or none
 * of it was a value.
 */
export async function imageBefore(
  store: Pick<Store, 'latest' | 'bookAt'>,
  topic: Topic,
  before: Micros,
): Promise<TopicImage | undefined> {
  if (topic.channel === 'orderbook') return bookBefore(store, topic, before)
  const { source, channel, subject, timeframe } = topic
  const stored = await store.latest({
    ...{ source, channel, subject, before },
    ...(timeframe === undefined ? {} : { timeframe }),
  })
  const values = stored
    .map(({ body }) => lateEvent(topic, body))
    .sort((one, other) => one.receivedTime - other.receivedTime)
  const last = values.at(-1)
  return last && { topic, epoch: last.epoch, seq: last.seq, values }
}

async function bookBefore(
  store: Pick<Store, 'bookAt'>,
  topic: Topic,
  before: Micros,
): Promise<TopicImage | undefined> {
  const book = await store.bookAt(topic, before - 1)
  if (!book) return undefined
  const { bids, asks, depth, epoch, seq, receivedTime } = book
  const payload: BookPayload = { type: 'orderbook', kind: 'snapshot', bids, asks, depth }
  const envelope = { epoch, seq, receivedTime, publishedTime: receivedTime, flags: ['delayed' as const] }
  const last = encodeEvent(topic, envelope, payload)
  return { topic, epoch, seq, values: [], book: { bids, asks, depth, last } }
}
