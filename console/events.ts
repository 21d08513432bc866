import type { Static, TObject } from 'typebox'
import type { Subscribe as SubscribeCommand } from '../src/protocol/commands.ts'
import type { DELIVERY, ENVELOPE, PAYLOADS } from '../src/protocol/events.ts'
import type { ServerMessage } from '../src/protocol/messages.ts'

/** The gateway's messages as its own schemas define them, types only: no schema is shipped to the browser. */

type Envelope = Static<TObject<typeof ENVELOPE & typeof DELIVERY>>
type Event<K extends keyof typeof PAYLOADS> = Static<(typeof PAYLOADS)[K]> & Envelope

export type Ticker = Event<'ticker'> & { readonly symbol: string }
export type Trade = Event<'trade'> & { readonly symbol: string }
export type Candle = Event<'ohlcv'> & { readonly symbol: string }
export type Book = Event<'orderbook'> & { readonly symbol: string }
export type OddsMarket = Event<'oddsMarket'>
export type OddsPrice = Event<'oddsPrice'>
export type SourceChange = Event<'source'>
export type Gap = Event<'gap'>

export type DataEvent = Ticker | Trade | Candle | Book | OddsMarket | OddsPrice | SourceChange | Gap
export type Message = DataEvent | ServerMessage

/** A subscription without its `type` and `id`. */
export type Wanted = Pick<
  Static<typeof SubscribeCommand>,
  'channel' | 'source' | 'symbols' | 'timeframe' | 'depth'
>

export type Level = Book['bids'][number]

/** An item of `/v1/candles`; a candle event has the same fields. */
export type StoredCandle = Pick<Candle, 'openTime' | 'open' | 'high' | 'low' | 'close' | 'volume'>

export interface TopicStatus {
  readonly channel: string
  readonly symbol: string
  readonly timeframe?: string
  readonly state: string
  readonly seq: number | null
}

/** An item of `/v1/sources`; `since` in µs. */
export interface SourceStatus {
  readonly id: string
  readonly kind: string
  readonly state: string
  readonly since: number
  readonly attempt: number
  readonly reason?: string
  readonly topics: readonly TopicStatus[]
}
