/**
 * The event vocabulary: what every venue's traffic becomes, and what the bus, the store and every client speak.
 * Field order on the wire is fixed by `encode.ts`.
 */

/** `-?\d+(\.\d+)?`, the digits as the venue wrote them; a JavaScript number would lose trailing zeros and precision. */
export type Decimal = string
/** Integer µs since the Unix epoch, UTC. Below 2^53 until the year 2255. */
export type Micros = number
/** A venue's own id. A bigint only above 2^53-1, where a number would be wrong. */
export type VenueId = number | bigint
/** Price and size. In a delta the size `"0"` removes the level. */
export type Level = readonly [price: Decimal, size: Decimal]

/**
 * state: the newest value of a key may stand for older ones.
 * delta: may be merged per price since the last one sent, or replaced by a snapshot.
 * event: never thinned.
 */
export type ChannelClass = 'state' | 'delta' | 'event'

/** Every channel, the `type` its events carry, and how they may be thinned. */
export const CHANNELS = {
  ticker: { type: 'ticker', class: 'state', subject: 'symbol', timeframe: false },
  trades: { type: 'trade', class: 'event', subject: 'symbol', timeframe: false },
  orderbook: { type: 'orderbook', class: 'delta', subject: 'symbol', timeframe: false },
  ohlcv: { type: 'ohlcv', class: 'state', subject: 'symbol', timeframe: true },
  odds: { type: 'odds', class: 'state', subject: 'eventId', timeframe: false },
  status: { type: 'status', class: 'event', subject: 'conversationId', timeframe: false },
  funding: { type: 'funding', class: 'state', subject: 'symbol', timeframe: false },
  openinterest: { type: 'openinterest', class: 'state', subject: 'symbol', timeframe: false },
  liquidations: { type: 'liquidation', class: 'event', subject: 'symbol', timeframe: false },
  source: { type: 'source', class: 'event', subject: 'symbol', timeframe: false },
  raw_ticks: { type: 'raw_ticks', class: 'state', subject: 'symbol', timeframe: false },
  ml_features: { type: 'ml_features', class: 'state', subject: 'symbol', timeframe: false },
  technical_analysis: { type: 'technical_analysis', class: 'state', subject: 'symbol', timeframe: true },
  premium_analytics: { type: 'premium_analytics', class: 'state', subject: 'symbol', timeframe: false },
  microstructure: { type: 'microstructure', class: 'state', subject: 'symbol', timeframe: false },
  risk_metrics: { type: 'risk_metrics', class: 'state', subject: 'symbol', timeframe: false },
  consolidated: { type: 'consolidated', class: 'state', subject: 'symbol', timeframe: false },
  trading_signals: { type: 'trading_signals', class: 'event', subject: 'symbol', timeframe: false },
  pattern_alerts: { type: 'pattern_alerts', class: 'event', subject: 'symbol', timeframe: false },
  news_sentiment: { type: 'news_sentiment', class: 'event', subject: 'symbol', timeframe: false },
  bars: { type: 'bars', class: 'event', subject: 'symbol', timeframe: false },
} as const satisfies Record<
  string,
  { type: string; class: ChannelClass; subject: 'symbol' | 'eventId' | 'conversationId'; timeframe: boolean }
>

export type Channel = keyof typeof CHANNELS
export type EventType = (typeof CHANNELS)[Channel]['type'] | 'gap'

export function isChannel(name: string): name is Channel {
  return Object.hasOwn(CHANNELS, name)
}

/** A field the venue's frame lacks is absent. */
export interface Ticker {
  readonly type: 'ticker'
  readonly bid?: Decimal
  readonly bidSize?: Decimal
  readonly ask?: Decimal
  readonly askSize?: Decimal
  readonly last?: Decimal
  readonly open?: Decimal
  readonly high?: Decimal
  readonly low?: Decimal
  readonly volume?: Decimal
}

export interface Trade {
  readonly type: 'trade'
  /** The venue's trade id as text; absent where the venue has none (Kraken v1). */
  readonly id?: string
  readonly price: Decimal
  readonly size: Decimal
  /** The taker's side. */
  readonly side: 'buy' | 'sell' | 'unknown'
}

export interface BookPayload {
  readonly type: 'orderbook'
  readonly kind: 'snapshot' | 'delta'
  /** Best first in a snapshot. */
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
  /**
   * Levels a side that were asked of the venue, or of a client's view; 0: all. Nobody need truncate: what falls out is
   * removed by the delta.
   */
  readonly depth: number
  /** CRC32 of the best 25 levels of the view, see `order-book.ts`. */
  readonly checksum?: number
}

export interface Candle {
  readonly type: 'ohlcv'
  readonly timeframe: string
  readonly openTime: Micros
  readonly open: Decimal
  readonly high: Decimal
  readonly low: Decimal
  readonly close: Decimal
  readonly volume: Decimal
  readonly quoteVolume?: Decimal
  readonly trades?: number
  readonly closed: boolean
  readonly origin: 'venue' | 'computed'
  readonly revision: number
}

export interface OddsMarket {
  readonly type: 'odds'
  readonly kind: 'market'
  readonly eventId: string
  readonly marketId: string
  readonly market: string
  readonly line?: Decimal
  readonly phase: 'PRE' | 'LIVE' | 'ENDED' | 'CANCELLED'
  readonly status: 'OPEN' | 'SUSPENDED' | 'CLOSED' | 'SETTLED' | 'VOID'
  readonly version: number
  readonly betDelay?: number
  readonly selections: readonly {
    readonly selectionId: string
    readonly name: string
    readonly status: string
  }[]
}

export interface OddsPrice {
  readonly type: 'odds'
  readonly kind: 'price'
  readonly eventId: string
  readonly marketId: string
  readonly market: string
  readonly line?: Decimal
  readonly selectionId: string
  readonly selection: string
  readonly side: 'back' | 'lay'
  /** 0 is the best. */
  readonly level: number
  readonly odds: Decimal
  readonly size?: Decimal
  readonly sourcePrice: string
  readonly sourceFormat: string
  readonly marketVersion: number
}

export interface OddsResult {
  readonly type: 'odds'
  readonly kind: 'result'
  readonly eventId: string
  readonly marketId: string
  readonly selectionId: string
  readonly outcome: 'WON' | 'LOST' | 'VOID' | 'PUSH' | 'HALF_WON' | 'HALF_LOST'
  readonly deadHeat?: Decimal
  readonly revision: number
}

export type Odds = OddsMarket | OddsPrice | OddsResult

export interface MessageStatus {
  readonly type: 'status'
  readonly messageId: string
  readonly conversationId: string
  readonly tenantId: string
  readonly status: 'QUEUED' | 'SENT' | 'DELIVERED' | 'READ' | 'FAILED'
  readonly channel: string
}

export interface Funding {
  readonly type: 'funding'
  readonly rate?: Decimal
  readonly nextTime?: Micros
  readonly markPrice?: Decimal
}

export interface OpenInterest {
  readonly type: 'openinterest'
  readonly amount: Decimal
}

export interface Liquidation {
  readonly type: 'liquidation'
  readonly price: Decimal
  readonly size: Decimal
  readonly side: 'buy' | 'sell' | 'unknown'
}

export type SourceState = 'connecting' | 'connected' | 'stale' | 'reconnecting' | 'down'

export interface SourceChange {
  readonly type: 'source'
  readonly state: SourceState
  readonly reason: string
  readonly attempt: number
}

/** A hole in the topic it stands in: what lay between is not known, or was repaired by what `repairedBy` names. */
export interface Gap {
  readonly type: 'gap'
  readonly channel: Channel
  readonly timeframe?: string
  readonly reason: string
  readonly fromTime: Micros
  readonly toTime: Micros
  readonly fromVenueSeq?: VenueId
  readonly toVenueSeq?: VenueId
  readonly repairedBy?: string
}

export type Payload =
  | Ticker
  | Trade
  | BookPayload
  | Candle
  | Odds
  | MessageStatus
  | Funding
  | OpenInterest
  | Liquidation
  | SourceChange
  | Gap

export type Flag = 'backfilled' | 'replay' | 'simulated' | 'delayed' | 'revised'

/** What stands before the payload in every event. */
export interface Envelope {
  readonly epoch: number
  readonly seq: number
  /** On the first event of an epoch: the last position of the topic that is known to be stored. */
  readonly prevEpoch?: number
  readonly prevSeq?: number
  readonly sourceTime?: Micros
  readonly receivedTime: Micros
  readonly publishedTime: Micros
  readonly flags?: readonly Flag[]
  /** First and last of the venue's own ids that the event covers. */
  readonly venueSeq?: readonly [VenueId, VenueId]
}

/**
 * The conflation key inside a topic: of a `state` channel the newest event of a key stands for older ones.
 * Undefined for what is never thinned.
 */
export function conflationKey(payload: Payload): string | undefined {
  switch (payload.type) {
    case 'ticker':
    case 'funding':
    case 'openinterest':
      return ''
    case 'ohlcv':
      return String(payload.openTime)
    case 'odds':
      if (payload.kind === 'market') return `market|${payload.marketId}`
      if (payload.kind === 'price')
        return `price|${payload.marketId}|${payload.selectionId}|${payload.side}|${payload.level}`
      return undefined
    default:
      return undefined
  }
}
