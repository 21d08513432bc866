import type * as wire from './wire.ts'

/** `[epoch, seq]`: a place in a topic. */
export type Position = readonly [epoch: number, seq: number]

type OfSymbol<T> = T & { readonly symbol: string }
type OfMatch<T> = T & { readonly eventId: string }

export type Ticker = OfSymbol<wire.TickerEvent>
export type Trade = OfSymbol<wire.TradeEvent>
export type BookEvent = OfSymbol<wire.OrderbookEvent>
export type Candle = OfSymbol<wire.OhlcvEvent>
export type OddsMarket = OfMatch<wire.OddsMarketEvent>
export type OddsPrice = OfMatch<wire.OddsPriceEvent>
export type OddsResult = OfMatch<wire.OddsResultEvent>
export type MessageStatus = wire.StatusEvent
export type Funding = OfSymbol<wire.FundingEvent>
export type OpenInterest = OfSymbol<wire.OpeninterestEvent>
export type Liquidation = OfSymbol<wire.LiquidationEvent>
export type SourceChange = OfSymbol<wire.SourceEvent>
/** A hole that the gateway itself knows of, in its place in the topic. */
export type Gap = wire.GapEvent

interface ByChannel {
  ticker: Ticker
  trades: Trade
  orderbook: BookEvent
  ohlcv: Candle
  odds: OddsMarket | OddsPrice | OddsResult
  status: MessageStatus
  funding: Funding
  openinterest: OpenInterest
  liquidations: Liquidation
  source: SourceChange
}

/** An event of a derived channel: each has fields of its own. */
type Derived<C> = wire.Envelope & { readonly type: C; readonly [field: string]: unknown }

/** The events of a channel, without gaps. */
export type EventOf<C extends wire.Channel> = C extends keyof ByChannel ? ByChannel[C] : Derived<C>
/** Any event that has a place in a topic. */
export type AnyEvent = EventOf<wire.Channel> | Gap

/** What was received does not join what came before: events are missing. They are asked for again. */
export interface Hole {
  readonly type: 'hole'
  readonly topic: string
  /** The last event before the hole. */
  readonly last: Position
  /** The place that the gateway went on from, or told. */
  readonly next: Position
}

/** Events after `last` could not be had again: the topic begins anew, with its newest value or a snapshot. */
export interface Unrecovered {
  readonly type: 'unrecovered'
  readonly topic: string
  readonly last: Position
}

/** The topic begins anew, with its newest value or a snapshot: the source built its book anew, or the gateway missed events. */
export type Resync = wire.ResyncMessage

/** What interrupts a topic stands in its stream, in its place. */
export type Break = Hole | Unrecovered | Resync

/** What a subscription gives, in order: every event, and whatever interrupts them. */
export type StreamItem<C extends wire.Channel> = EventOf<C> | Gap | Break

/** A book did not have the checksum that the gateway gave for it: it is asked for again. */
export interface WrongChecksum {
  readonly type: 'checksum'
  readonly topic: string
  readonly at: Position
  readonly expected: number
  readonly actual: number
}

/** A symbol of a subscription was refused; `code` as in errors: 403, 405 or 422. */
export interface Rejected {
  readonly type: 'rejected'
  readonly channel: wire.Channel
  readonly symbol: string
  readonly code: number
  readonly message: string
}

/** What a client is told beside events: breaks of any topic, and the gateway's own messages. */
export type Notice = Break | WrongChecksum | Rejected | SourceChange | wire.ServerMessage

const CHANNEL_OF: Readonly<Record<string, wire.Channel>> = { trade: 'trades', liquidation: 'liquidations' }

export function channelOf(event: AnyEvent): wire.Channel {
  return event.type === 'gap' ? event.channel : (CHANNEL_OF[event.type] ?? (event.type as wire.Channel))
}

/** `source|channel|subject[|timeframe]`, as the gateway names topics. */
export function topicOf(event: AnyEvent): string {
  const subject = event.symbol ?? event.eventId ?? event.conversationId
  const channel = channelOf(event)
  const topic = `${event.source}|${channel}|${subject}`
  return channel === 'ohlcv' || channel === 'technical_analysis'
    ? `${topic}|${(event as { readonly timeframe?: string }).timeframe}`
    : topic
}

/**
 * The newest event of a key may stand for older ones of its topic. Undefined: the event is never left out; a closed
 * candle among them.
 */
export function conflationKey(event: AnyEvent): string | undefined {
  switch (event.type) {
    case 'ticker':
    case 'funding':
    case 'openinterest':
      return event.type
    case 'ohlcv':
      return (event as Candle).closed ? undefined : String((event as Candle).openTime)
    case 'odds': {
      const odds = event as EventOf<'odds'>
      if (odds.kind === 'market') return `market|${odds.marketId}`
      if (odds.kind === 'price')
        return `price|${odds.marketId}|${odds.selectionId}|${odds.side}|${odds.level}`
      return undefined
    }
    default:
      return undefined
  }
}
