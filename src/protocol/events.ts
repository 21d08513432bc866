import Type, { type Static, type TSchema } from 'typebox'
import type * as market from '../market/event.ts'
import { Decimal, KnownChannel, Micros, Position, Timeframe } from './fields.ts'

/** Events as clients get them: the envelope, the payload, and what the gateway adds at the end. */

const optional = Type.Optional
const oneOf = <const T extends string>(...values: readonly T[]) => Type.Enum(values)
const Price = Decimal
const VenueSeq = Type.Integer({ description: "the venue's own number" })
const Levels = Type.Array(Type.Tuple([Price, Decimal]), {
  description: '[price, size], best first in a snapshot; size "0" removes the level',
})
const TakerSide = oneOf('buy', 'sell', 'unknown')

const Ticker = Type.Object({
  type: Type.Literal('ticker'),
  bid: optional(Price),
  bidSize: optional(Decimal),
  ask: optional(Price),
  askSize: optional(Decimal),
  last: optional(Price),
  open: optional(Price),
  high: optional(Price),
  low: optional(Price),
  volume: optional(Decimal),
})

const Trade = Type.Object({
  type: Type.Literal('trade'),
  id: optional(Type.String()),
  price: Price,
  size: Decimal,
  side: TakerSide,
})

const Orderbook = Type.Object({
  type: Type.Literal('orderbook'),
  kind: oneOf('snapshot', 'delta'),
  bids: Levels,
  asks: Levels,
  depth: Type.Integer({ description: 'levels a side; 0: all' }),
  checksum: optional(
    Type.Integer({
      description:
        'CRC32 of the best 25 levels of the view: asks then bids, best first, price:size joined by |',
    }),
  ),
})

const Candle = Type.Object({
  type: Type.Literal('ohlcv'),
  timeframe: Timeframe,
  openTime: Micros,
  open: Price,
  high: Price,
  low: Price,
  close: Price,
  volume: Decimal,
  quoteVolume: optional(Decimal),
  trades: optional(Type.Integer()),
  closed: Type.Boolean(),
  origin: oneOf('venue', 'computed'),
  revision: Type.Integer(),
})

const OddsMarket = Type.Object({
  type: Type.Literal('odds'),
  kind: Type.Literal('market'),
  eventId: Type.String(),
  marketId: Type.String(),
  market: Type.String(),
  line: optional(Decimal),
  phase: oneOf('PRE', 'LIVE', 'ENDED', 'CANCELLED'),
  status: oneOf('OPEN', 'SUSPENDED', 'CLOSED', 'SETTLED', 'VOID'),
  version: Type.Integer(),
  betDelay: optional(Type.Number()),
  selections: Type.Array(
    Type.Object({ selectionId: Type.String(), name: Type.String(), status: Type.String() }),
  ),
})

const OddsPrice = Type.Object({
  type: Type.Literal('odds'),
  kind: Type.Literal('price'),
  eventId: Type.String(),
  marketId: Type.String(),
  market: Type.String(),
  line: optional(Decimal),
  selectionId: Type.String(),
  selection: Type.String(),
  side: oneOf('back', 'lay'),
  level: Type.Integer({ description: '0 is the best' }),
  odds: Decimal,
  size: optional(Decimal),
  sourcePrice: Type.String(),
  sourceFormat: Type.String(),
  marketVersion: Type.Integer(),
})

const OddsResult = Type.Object({
  type: Type.Literal('odds'),
  kind: Type.Literal('result'),
  eventId: Type.String(),
  marketId: Type.String(),
  selectionId: Type.String(),
  outcome: oneOf('WON', 'LOST', 'VOID', 'PUSH', 'HALF_WON', 'HALF_LOST'),
  deadHeat: optional(Decimal),
  revision: Type.Integer(),
})

const Status = Type.Object({
  type: Type.Literal('status'),
  messageId: Type.String(),
  conversationId: Type.String(),
  tenantId: Type.String(),
  status: oneOf('QUEUED', 'SENT', 'DELIVERED', 'READ', 'FAILED'),
  channel: Type.String({ description: 'whatsapp, instagram, …' }),
})

const Funding = Type.Object({
  type: Type.Literal('funding'),
  rate: optional(Decimal),
  nextTime: optional(Micros),
  markPrice: optional(Price),
})

const OpenInterest = Type.Object({ type: Type.Literal('openinterest'), amount: Decimal })

const Liquidation = Type.Object({
  type: Type.Literal('liquidation'),
  price: Price,
  size: Decimal,
  side: TakerSide,
})

const Source = Type.Object({
  type: Type.Literal('source'),
  state: oneOf('connecting', 'connected', 'stale', 'reconnecting', 'down'),
  reason: Type.String(),
  attempt: Type.Integer(),
})

const Gap = Type.Object({
  type: Type.Literal('gap'),
  channel: KnownChannel,
  timeframe: optional(Timeframe),
  reason: Type.String(),
  fromTime: Micros,
  toTime: Micros,
  fromVenueSeq: optional(VenueSeq),
  toVenueSeq: optional(VenueSeq),
  repairedBy: optional(Type.String()),
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
  source: Type.String(),
  symbol: optional(Type.String()),
  eventId: optional(Type.String()),
  conversationId: optional(Type.String()),
  epoch: Type.Integer(),
  seq: Type.Integer({ minimum: 1 }),
  prevEpoch: optional(Type.Integer()),
  prevSeq: optional(Type.Integer()),
  sourceTime: optional(Micros),
  receivedTime: Micros,
  publishedTime: Micros,
  flags: optional(Type.Array(oneOf('backfilled', 'replay', 'simulated', 'delayed', 'revised'))),
  venueSeq: optional(Type.Tuple([VenueSeq, VenueSeq])),
} as const

/** What the gateway puts before the closing brace. */
export const DELIVERY = {
  sentTime: Micros,
  prev: optional(Type.Integer({ description: 'seq of the event sent before, when it is not seq-1' })),
  prevSent: optional(Position),
  conflated: optional(Type.Literal(true)),
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
