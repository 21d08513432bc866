import { ByteWriter, bytesOf } from './bytes.ts'
import { EncodedEvent } from './encoded-event.ts'
import {
  type BookPayload,
  CHANNELS,
  conflationKey,
  type Envelope,
  type Level,
  type Payload,
  type Ticker,
  type Trade,
} from './event.ts'
import type { Topic } from './topic.ts'

/** One for the process: an event is written without interruption. */
const writer = new ByteWriter()

/**
 * Makes an event's bytes, once: UTF-8 JSON with the contract's fields in the contract's order. Prices and sizes are
 * decimals already (`toDecimal`), so they need no escaping.
 */
export function encodeEvent(topic: Topic, envelope: Envelope, payload: Payload): EncodedEvent {
  writer.begin()
  writeHead(topic, envelope.epoch, payload.type)
  writeEnvelope(envelope)
  if (payload.type === 'orderbook') writeBook(payload)
  else if (payload.type === 'ticker') writeTicker(payload)
  else if (payload.type === 'trade') writeTrade(payload)
  else writeFields(payload, payload.type === 'odds' ? ODDS_FIELDS[payload.kind] : FIELDS[payload.type])
  writer.raw(END)
  return new EncodedEvent(
    topic,
    payload.type,
    envelope.epoch,
    envelope.seq,
    envelope.receivedTime,
    envelope.sourceTime ?? envelope.receivedTime,
    conflationKey(payload),
    writer.take(),
    payload,
  )
}

/** What is the same in every event of a topic, type and epoch. */
interface Head {
  readonly type: string
  readonly epoch: number
  readonly bytes: Uint8Array
}

/** The head last used of each topic; bounded as topics are, and goes with them. */
const heads = new WeakMap<Topic, Head>()

function writeHead(topic: Topic, epoch: number, type: string): void {
  let head = heads.get(topic)
  if (head?.epoch !== epoch || head.type !== type) {
    const subject = `"${CHANNELS[topic.channel].subject}":${JSON.stringify(topic.publicSubject)}`
    const source = JSON.stringify(topic.source)
    const bytes = bytesOf(`{"v":1,"type":"${type}","source":${source},${subject},"epoch":${epoch},"seq":`)
    head = { type, epoch, bytes }
    heads.set(topic, head)
  }
  writer.raw(head.bytes)
}

const PREV_EPOCH = bytesOf(',"prevEpoch":')
const PREV_SEQ = bytesOf(',"prevSeq":')
const SOURCE_TIME = bytesOf(',"sourceTime":')
const RECEIVED_TIME = bytesOf(',"receivedTime":')
const PUBLISHED_TIME = bytesOf(',"publishedTime":')
const END = bytesOf('}')

function writeEnvelope(envelope: Envelope): void {
  writer.integer(envelope.seq)
  if (envelope.prevEpoch !== undefined) writeNumber(PREV_EPOCH, envelope.prevEpoch)
  if (envelope.prevSeq !== undefined) writeNumber(PREV_SEQ, envelope.prevSeq)
  if (envelope.sourceTime !== undefined) writeNumber(SOURCE_TIME, envelope.sourceTime)
  writeNumber(RECEIVED_TIME, envelope.receivedTime)
  writeNumber(PUBLISHED_TIME, envelope.publishedTime)
  if (envelope.flags !== undefined && envelope.flags.length > 0)
    writer.ascii(`,"flags":${JSON.stringify(envelope.flags)}`)
  if (envelope.venueSeq !== undefined)
    writer.ascii(`,"venueSeq":[${envelope.venueSeq[0]},${envelope.venueSeq[1]}]`)
}

function writeNumber(label: Uint8Array, value: number): void {
  writer.raw(label)
  writer.integer(value)
}

const DELTA = bytesOf(',"kind":"delta","bids":')
const SNAPSHOT = bytesOf(',"kind":"snapshot","bids":')
const ASKS = bytesOf(',"asks":')
const DEPTH = bytesOf(',"depth":')
const CHECKSUM = bytesOf(',"checksum":')

function writeBook(book: BookPayload): void {
  writer.raw(book.kind === 'delta' ? DELTA : SNAPSHOT)
  writeLevels(book.bids)
  writer.raw(ASKS)
  writeLevels(book.asks)
  writeNumber(DEPTH, book.depth)
  if (book.checksum !== undefined) writeNumber(CHECKSUM, book.checksum)
}

function writeLevels(levels: readonly Level[]): void {
  writer.ascii('[')
  for (let at = 0; at < levels.length; at++) {
    const level = levels[at]!
    if (at > 0) writer.ascii(',')
    writer.pair(level[0], level[1])
  }
  writer.ascii(']')
}

const BID = bytesOf(',"bid":"')
const BID_SIZE = bytesOf(',"bidSize":"')
const ASK = bytesOf(',"ask":"')
const ASK_SIZE = bytesOf(',"askSize":"')
const LAST = bytesOf(',"last":"')
const OPEN = bytesOf(',"open":"')
const HIGH = bytesOf(',"high":"')
const LOW = bytesOf(',"low":"')
const VOLUME = bytesOf(',"volume":"')

function writeTicker(ticker: Ticker): void {
  writeDecimal(BID, ticker.bid)
  writeDecimal(BID_SIZE, ticker.bidSize)
  writeDecimal(ASK, ticker.ask)
  writeDecimal(ASK_SIZE, ticker.askSize)
  writeDecimal(LAST, ticker.last)
  writeDecimal(OPEN, ticker.open)
  writeDecimal(HIGH, ticker.high)
  writeDecimal(LOW, ticker.low)
  writeDecimal(VOLUME, ticker.volume)
}

const ID = bytesOf(',"id":')
const PRICE = bytesOf(',"price":"')
const SIZE = bytesOf(',"size":"')
const SIDE = bytesOf(',"side":"')

function writeTrade(trade: Trade): void {
  if (trade.id !== undefined) {
    writer.raw(ID)
    writer.string(trade.id)
  }
  writeDecimal(PRICE, trade.price)
  writeDecimal(SIZE, trade.size)
  writeDecimal(SIDE, trade.side)
}

/** `label` ends in the opening quote. */
function writeDecimal(label: Uint8Array, value: string | undefined): void {
  if (value !== undefined) writer.field(label, value)
}

/** Fields that are absent are left out; ids above 2^53 stand as plain digits. */
function writeFields(payload: object, fields: readonly string[]): void {
  for (const field of fields) {
    const value = (payload as Record<string, unknown>)[field]
    if (value === undefined) continue
    writer.text(`,"${field}":${typeof value === 'bigint' ? value : JSON.stringify(value)}`)
  }
}

/** The keys of a payload's interface: a field is written only where it has its place here. */
type FieldsOf<T extends Payload['type']> = readonly Exclude<keyof Extract<Payload, { type: T }>, 'type'>[]

/** Field order, as the contract's table has it. `conversationId` and `eventId` stand in the head. */
const FIELDS: {
  readonly [T in Exclude<Payload['type'], 'orderbook' | 'trade' | 'ticker' | 'odds'>]: FieldsOf<T>
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
