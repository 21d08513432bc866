import { EncodedEvent } from './encoded-event.ts'
import {
  CHANNELS,
  conflationKey,
  type Envelope,
  type Level,
  type Micros,
  type Payload,
  type Ticker,
} from './event.ts'
import type { Topic } from './topic.ts'

/**
 * Makes an event's bytes, once: UTF-8 JSON with the contract's fields in the contract's order. Prices and sizes are
 * decimals already (`toDecimal`), so they need no escaping.
 */
export function encodeEvent(topic: Topic, envelope: Envelope, payload: Payload): EncodedEvent {
  const head = headOf(topic)
  const text = `${headText(topic, head, envelope.epoch, payload)}${envelopeText(envelope)}${payloadText(payload)}}`
  return new EncodedEvent(
    topic,
    payload.type,
    envelope.epoch,
    envelope.seq,
    envelope.receivedTime,
    envelope.sourceTime ?? envelope.receivedTime,
    conflationKey(payload),
    // One step instead of two where every character is known to be one byte.
    Buffer.from(text, head.isAscii && DECIMALS_ONLY.has(payload.type) ? 'latin1' : 'utf8'),
    payload,
  )
}

/** Their payloads hold decimals, numbers and our own words, and nothing that a venue names. */
const DECIMALS_ONLY: ReadonlySet<string> = new Set(['ticker', 'orderbook'])

/** What is the same in every event of a topic and epoch. */
interface Head {
  readonly isAscii: boolean
  epoch: number
  text: string
}

/** Bounded as topics are, and goes with them. */
const heads = new WeakMap<Topic, Head>()

function headOf(topic: Topic): Head {
  let head = heads.get(topic)
  if (head === undefined) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the range of ASCII
    head = { isAscii: /^[\u0000-\u007f]*$/.test(topic.id), epoch: -1, text: '' }
    heads.set(topic, head)
  }
  return head
}

function headText(topic: Topic, head: Head, epoch: number, payload: Payload): string {
  const { subject, type } = CHANNELS[topic.channel]
  if (payload.type !== type || epoch !== head.epoch) {
    const named = `"source":${JSON.stringify(topic.source)},"${subject}":${JSON.stringify(topic.publicSubject)}`
    const text = `{"v":1,"type":"${payload.type}",${named},"epoch":${epoch},"seq":`
    if (payload.type !== type) return text
    head.epoch = epoch
    head.text = text
  }
  return head.text
}

function envelopeText(envelope: Envelope): string {
  let text = `${envelope.seq}`
  if (envelope.prevEpoch !== undefined) text += `,"prevEpoch":${envelope.prevEpoch}`
  if (envelope.prevSeq !== undefined) text += `,"prevSeq":${envelope.prevSeq}`
  if (envelope.sourceTime !== undefined) text += `,"sourceTime":${sourceTimes.textOf(envelope.sourceTime)}`
  text += `,"receivedTime":${ownTimes.textOf(envelope.receivedTime)}`
  text += `,"publishedTime":${ownTimes.textOf(envelope.publishedTime)}`
  if (envelope.flags !== undefined && envelope.flags.length > 0)
    text += `,"flags":${JSON.stringify(envelope.flags)}`
  if (envelope.venueSeq !== undefined) text += `,"venueSeq":[${envelope.venueSeq[0]},${envelope.venueSeq[1]}]`
  return text
}

const THREE_DIGITS = Array.from({ length: 1000 }, (_, number) => String(number).padStart(3, '0'))

/** Times as text: of one clock they share their second, and the text of a large number is dear. */
class TimeTexts {
  #second = -1
  #text = ''

  textOf(time: Micros): string {
    const second = Math.floor(time / 1e6)
    if (second <= 0) return String(time)
    if (second !== this.#second) {
      this.#second = second
      this.#text = String(second)
    }
    const micros = time - second * 1e6
    const millis = Math.floor(micros / 1000)
    return this.#text + THREE_DIGITS[millis]! + THREE_DIGITS[micros - millis * 1000]!
  }
}

const ownTimes = new TimeTexts()
const sourceTimes = new TimeTexts()

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
    case 'ticker':
      return tickerText(payload)
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

function tickerText(ticker: Ticker): string {
  let text = ''
  if (ticker.bid !== undefined) text += `,"bid":"${ticker.bid}"`
  if (ticker.bidSize !== undefined) text += `,"bidSize":"${ticker.bidSize}"`
  if (ticker.ask !== undefined) text += `,"ask":"${ticker.ask}"`
  if (ticker.askSize !== undefined) text += `,"askSize":"${ticker.askSize}"`
  if (ticker.last !== undefined) text += `,"last":"${ticker.last}"`
  if (ticker.open !== undefined) text += `,"open":"${ticker.open}"`
  if (ticker.high !== undefined) text += `,"high":"${ticker.high}"`
  if (ticker.low !== undefined) text += `,"low":"${ticker.low}"`
  if (ticker.volume !== undefined) text += `,"volume":"${ticker.volume}"`
  return text
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
  readonly [T in Exclude<Payload['type'], 'orderbook' | 'trade' | 'ticker' | 'odds'>]: FieldsOf<PayloadOf<T>>
} = {
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
