import Type, { type Static, type TSchema } from 'typebox'
import type * as market from '../market/event.ts'
import { DECIMAL, Decimal, KnownChannel, Position, Timeframe } from './fields.ts'

/** Events as clients get them: the envelope, the payload, and what the gateway adds at the end. */

const optional = Type.Optional
const oneOf = <const T extends string>(values: readonly T[], description?: string) =>
  Type.Enum(values, description === undefined ? {} : { description })
const text = (description: string) => Type.String({ description })
const whole = (description: string) => Type.Integer({ description })
/** As the venue wrote it. */
const decimal = (description: string) => Type.String({ pattern: DECIMAL, description })
const micros = (description: string) => Type.Integer({ minimum: 0, description })
const levels = (side: string) =>
  Type.Array(Type.Tuple([Decimal, Decimal]), {
    description: `${side}: [price, size], best first in a snapshot; size "0" removes the level`,
  })

const PRICE = 'in the quote currency'
const SIZE = "in the venue's unit: the base asset, or contracts (`contractSize` of `GET /v1/instruments`)"
const VenueSeq = whole("the venue's own number")
const TakerSide = oneOf(['buy', 'sell', 'unknown'], 'of the taker')

const Ticker = Type.Object({
  type: Type.Literal('ticker'),
  bid: optional(decimal(`best price that is bid, ${PRICE}`)),
  bidSize: optional(decimal(`size at the best bid, ${SIZE}`)),
  ask: optional(decimal(`best price that is asked, ${PRICE}`)),
  askSize: optional(decimal('size at the best ask, in the same unit')),
  last: optional(decimal('price of the last trade')),
  open: optional(decimal("price at the beginning of the venue's day, for most the last 24 hours")),
  high: optional(decimal('highest price since then')),
  low: optional(decimal('lowest price since then')),
  volume: optional(decimal('size traded since then, in the same unit')),
})

const Trade = Type.Object({
  type: Type.Literal('trade'),
  id: optional(text("the venue's trade id; absent where it has none")),
  price: decimal(PRICE),
  size: decimal(SIZE),
  side: TakerSide,
})

const Orderbook = Type.Object({
  type: Type.Literal('orderbook'),
  kind: oneOf(['snapshot', 'delta'], 'a snapshot replaces the book, a delta changes levels of it'),
  bids: levels('bids'),
  asks: levels('asks'),
  depth: whole('levels a side; 0: all'),
  checksum: optional(
    whole('CRC32 of the best 25 levels of the view: asks then bids, best first, price:size joined by |'),
  ),
})

const Candle = Type.Object({
  type: Type.Literal('ohlcv'),
  timeframe: Timeframe,
  openTime: micros('when the candle begins, µs since the Unix epoch'),
  open: decimal(`first price, ${PRICE}`),
  high: decimal('highest price'),
  low: decimal('lowest price'),
  close: decimal('last price so far'),
  volume: decimal(`size traded, ${SIZE}`),
  quoteVolume: optional(decimal('the same in the quote currency')),
  trades: optional(whole('number of trades')),
  closed: Type.Boolean({ description: 'true: the candle is complete' }),
  origin: oneOf(['venue', 'computed'], "the venue's own candle, or one made of trades"),
  revision: whole('0, and more when a closed candle was corrected'),
})

const EventId = text('the event, such as a match')
const MarketId = text('the market within the event')
const SelectionId = text('the selection within the market')
const MarketName = text('name of the market')
const Line = optional(decimal('of handicaps and totals: the line, such as "2.5"'))

const OddsMarket = Type.Object({
  type: Type.Literal('odds'),
  kind: Type.Literal('market'),
  eventId: EventId,
  marketId: MarketId,
  market: MarketName,
  line: Line,
  phase: oneOf(['PRE', 'LIVE', 'ENDED', 'CANCELLED'], 'of the event'),
  status: oneOf(['OPEN', 'SUSPENDED', 'CLOSED', 'SETTLED', 'VOID'], 'of the whole market'),
  version: whole('grows with every change of the market'),
  betDelay: optional(Type.Number({ description: 'seconds that a bet waits before it is accepted' })),
  selections: Type.Array(
    Type.Object({ selectionId: Type.String(), name: Type.String(), status: Type.String() }),
    { description: 'all of the market' },
  ),
})

const OddsPrice = Type.Object({
  type: Type.Literal('odds'),
  kind: Type.Literal('price'),
  eventId: EventId,
  marketId: MarketId,
  market: MarketName,
  line: Line,
  selectionId: SelectionId,
  selection: text('name of the selection'),
  side: oneOf(['back', 'lay'], 'for the selection, or against it'),
  level: whole('0 is the best'),
  odds: decimal('decimal odds'),
  size: optional(decimal('stake on offer at these odds')),
  sourcePrice: text('the price as the supplier wrote it'),
  sourceFormat: text('the format of `sourcePrice`, such as `decimal`'),
  marketVersion: whole('`version` of the market that the price belongs to'),
})

const OddsResult = Type.Object({
  type: Type.Literal('odds'),
  kind: Type.Literal('result'),
  eventId: EventId,
  marketId: MarketId,
  selectionId: SelectionId,
  outcome: oneOf(['WON', 'LOST', 'VOID', 'PUSH', 'HALF_WON', 'HALF_LOST']),
  deadHeat: optional(decimal('share of the stake that counts as won')),
  revision: whole('0, and more when a result was corrected'),
})

const Status = Type.Object({
  type: Type.Literal('status'),
  messageId: text('the message'),
  conversationId: text('the conversation that the message belongs to'),
  tenantId: text("the caller's own tenant"),
  status: oneOf(['QUEUED', 'SENT', 'DELIVERED', 'READ', 'FAILED'], 'how far the message has come'),
  channel: text('how it is sent: whatsapp, instagram, …'),
})

const Funding = Type.Object({
  type: Type.Literal('funding'),
  rate: optional(decimal('rate of the present interval, as a fraction: "0.0001" is 0.01 %')),
  nextTime: optional(micros('when it is paid next, µs since the Unix epoch')),
  markPrice: optional(decimal(`price by which positions are valued, ${PRICE}`)),
})

const OpenInterest = Type.Object({
  type: Type.Literal('openinterest'),
  amount: decimal(`size of all open positions, ${SIZE}`),
})

const Liquidation = Type.Object({
  type: Type.Literal('liquidation'),
  price: decimal(PRICE),
  size: decimal(SIZE),
  side: oneOf(['buy', 'sell', 'unknown'], 'of the order by which the position is closed'),
})

const Source = Type.Object({
  type: Type.Literal('source'),
  state: oneOf(
    ['connecting', 'connected', 'stale', 'reconnecting', 'down'],
    'of the connection to the venue',
  ),
  reason: text('why, in a few words'),
  attempt: whole('connection attempts since the last success'),
})

const Gap = Type.Object({
  type: Type.Literal('gap'),
  channel: KnownChannel,
  timeframe: optional(Timeframe),
  reason: text('what showed the hole, such as `sequence`, `checksum`, `reconnect` or `restart`'),
  fromTime: micros('what is missing was received after this, µs since the Unix epoch'),
  toTime: micros('and before this'),
  fromVenueSeq: optional(whole("first of the venue's own ids that are missing")),
  toVenueSeq: optional(whole('last of them')),
  repairedBy: optional(text('what filled the hole; without it, what lay between is not known')),
})

export const PAYLOADS = {
  ticker: Ticker,
  trade: Trade,
  orderbook: Orderbook,
  ohlcv: Candle,
  oddsMarket: OddsMarket,
  oddsPrice: OddsPrice,
  oddsResult: OddsResult,
  status: Status,
  funding: Funding,
  openinterest: OpenInterest,
  liquidation: Liquidation,
  source: Source,
  gap: Gap,
} as const

/** Fields before the payload; which of the three subjects is there follows from the channel. */
export const ENVELOPE = {
  source: text('id of the source'),
  symbol: optional(text('such as `BTC/USDT`, or `BTC/USDT:USDT` of a perpetual swap settled in USDT')),
  eventId: optional(text('of odds, instead of `symbol`')),
  conversationId: optional(text('of statuses, instead of `symbol`')),
  epoch: whole('grows when the numbering of the topic begins anew: a start of the program, or a new owner'),
  seq: Type.Integer({ minimum: 1, description: 'number in the topic and epoch: from 1, without a hole' }),
  prevEpoch: optional(whole('on the first event of an epoch: the last epoch stored before it')),
  prevSeq: optional(whole('on the first event of an epoch: the last `seq` stored in `prevEpoch`')),
  sourceTime: optional(micros("the venue's time, µs since the Unix epoch")),
  receivedTime: micros('when it was read from the socket, µs; strictly increasing in a topic'),
  publishedTime: micros('when it was published, µs'),
  flags: optional(
    Type.Array(oneOf(['backfilled', 'replay', 'simulated', 'delayed', 'revised']), {
      description: 'what is special about it',
    }),
  ),
  venueSeq: optional(
    Type.Tuple([VenueSeq, VenueSeq], { description: "first and last of the venue's own ids that it covers" }),
  ),
} as const

/** What the gateway puts before the closing brace. */
export const DELIVERY = {
  sentTime: micros('when it was sent to this client, µs'),
  prev: optional(whole('`seq` of the event sent before, where it is not `seq - 1`')),
  prevSent: optional(
    Type.Tuple([Position.items[0], Position.items[1]], {
      description: '[epoch, seq] of the event sent before, on the first one sent of a new epoch',
    }),
  ),
  conflated: optional(Type.Literal(true, { description: 'older values of the key were left out' })),
} as const

/** The schema of an event on the wire. */
export function eventSchema(payload: { readonly properties: Readonly<Record<string, TSchema>> }): TSchema {
  const { type, ...fields } = payload.properties
  return Type.Object({ v: Type.Literal(1), type: type!, ...ENVELOPE, ...fields, ...DELIVERY })
}

/**
 * Schemas and the vocabulary of `market/event.ts` must say the same: this line does not compile where they differ.
 * (Ids above 2^53 are plain digits on the wire and a bigint in the program.)
 */
type Payloads = { [K in keyof typeof PAYLOADS]: Static<(typeof PAYLOADS)[K]> }[keyof typeof PAYLOADS]
type Loose<T> = T extends bigint ? number : T extends object ? { -readonly [K in keyof T]: Loose<T[K]> } : T
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never
export const agrees: Same<Loose<market.Payload>, Loose<Payloads>> = true
