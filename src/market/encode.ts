import { EncodedEvent } from './encoded-event.ts'
import { CHANNELS, conflationKey, type Envelope, type Level, type Payload } from './event.ts'
import type { Topic } from './topic.ts'

/**
 * Makes an event's bytes, once: UTF-8 JSON with the contract's fields in the contract's order. Prices and sizes are
 * decimals already (`toDecimal`), so they need no escaping.
 */
export function encodeEvent(topic: Topic, envelope: Envelope, payload: Payload): EncodedEvent {
  const text = `${head(topic, payload)}${envelopeText(envelope)}${payloadText(payload)}}`
  return new EncodedEvent(
    topic,
    payload.type,
    envelope.epoch,
    envelope.seq,
    envelope.receivedTime,
    envelope.sourceTime ?? envelope.receivedTime,
    conflationKey(payload),
    Buffer.from(text),
    payload,
  )
}

/** The part up to the epoch is the same in every event of a topic; bounded as topics are, and goes with them. */
const heads = new WeakMap<Topic, string>()

function head(topic: Topic, payload: Payload): string {
  if (payload.type === 'gap') return headOf(topic, 'gap')
  let text = heads.get(topic)
  if (text === undefined) {
    text = headOf(topic, CHANNELS[topic.channel].type)
    heads.set(topic, text)
  }
  return text
}

function headOf(topic: Topic, type: string): string {
  const subject = `"${CHANNELS[topic.channel].subject}":${JSON.stringify(topic.publicSubject)}`
  return `{"v":1,"type":"${type}","source":${JSON.stringify(topic.source)},${subject},"epoch":`
}

function envelopeText(envelope: Envelope): string {
  let text = `${envelope.epoch},"seq":${envelope.seq}`
  if (envelope.prevEpoch !== undefined) text += `,"prevEpoch":${envelope.prevEpoch}`
  if (envelope.prevSeq !== undefined) text += `,"prevSeq":${envelope.prevSeq}`
  if (envelope.sourceTime !== undefined) text += `,"sourceTime":${envelope.sourceTime}`
  text += `,"receivedTime":${envelope.receivedTime},"publishedTime":${envelope.publishedTime}`
  if (envelope.flags !== undefined && envelope.flags.length > 0)
    text += `,"flags":${JSON.stringify(envelope.flags)}`
  if (envelope.venueSeq !== undefined) text += `,"venueSeq":[${envelope.venueSeq[0]},${envelope.venueSeq[1]}]`
  return text
}

function payloadText(payload: Payload): string {
  switch (payload.type) {
    case 'orderbook': {
      const levels = `,"bids":${levelsText(payload.bids)},"asks":${levelsText(payload.asks)}`
      const checksum = payload.checksum === undefined ? '' : `,"checksum":${payload.checksum}`
      return `,"kind":"${payload.kind}"${levels},"depth":${payload.depth}${checksum}`
    }
    case 'trade': {
      const id = payload.id === undefined ? '' : `,"id":${JSON.stringify(payload.id)}`
      return `${id},"price":"${payload.price}","size":"${payload.size}","side":"${payload.side}"`
    }
    case 'odds':
      return fieldsText(payload, ODDS_FIELDS[payload.kind])
    default:
      return fieldsText(payload, FIELDS[payload.type])
  }
}

function levelsText(levels: readonly Level[]): string {
  if (levels.length === 0) return '[]'
  let text = ''
  for (let at = 0; at < levels.length; at++) {
    const level = levels[at]!
    text += `${at === 0 ? '[["' : '"],["'}${level[0]}","${level[1]}`
  }
  return `${text}"]]`
}

/** Fields that are absent are left out; ids above 2^53 stand as plain digits. */
function fieldsText(payload: object, fields: readonly string[]): string {
  let text = ''
  for (const field of fields) {
    const value = (payload as Record<string, unknown>)[field]
    if (value === undefined) continue
    text += `,"${field}":${typeof value === 'bigint' ? value : JSON.stringify(value)}`
  }
  return text
}

/** The keys of a payload's interface, all of them: what is added there must be given its place here. */
type FieldsOf<P> = readonly Exclude<keyof P, 'type'>[]
type PayloadOf<T extends Payload['type']> = Extract<Payload, { type: T }>

/** Field order, as the contract's table has it. `conversationId` and `eventId` stand in the head. */
const FIELDS: {
  readonly [T in Exclude<Payload['type'], 'orderbook' | 'trade' | 'odds'>]: FieldsOf<PayloadOf<T>>
} = {
  ticker: ['bid', 'bidSize', 'ask', 'askSize', 'last', 'open', 'high', 'low', 'volume'],
  ohlcv: [
    ...(['timeframe', 'openTime', 'open', 'high', 'low', 'close', 'volume', 'quoteVolume'] as const),
    ...(['trades', 'closed', 'origin', 'revision'] as const),
  ],
  status: ['messageId', 'tenantId', 'status', 'channel'],
  funding: ['rate', 'nextTime', 'markPrice'],
  openinterest: ['amount'],
  liquidation: ['price', 'size', 'side'],
  source: ['state', 'reason', 'attempt'],
  gap: [
    ...(['channel', 'timeframe', 'reason', 'fromTime', 'toTime'] as const),
    ...(['fromVenueSeq', 'toVenueSeq', 'repairedBy'] as const),
  ],
}

const ODDS_FIELDS: { readonly [K in 'market' | 'price' | 'result']: readonly string[] } = {
  market: ['kind', 'marketId', 'market', 'line', 'phase', 'status', 'version', 'betDelay', 'selections'],
  price: [
    ...['kind', 'marketId', 'market', 'line', 'selectionId', 'selection', 'side', 'level', 'odds', 'size'],
    ...['sourcePrice', 'sourceFormat', 'marketVersion'],
  ],
  result: ['kind', 'marketId', 'selectionId', 'outcome', 'deadHeat', 'revision'],
}
