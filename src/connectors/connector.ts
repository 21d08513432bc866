import type { Duplex } from 'node:stream'
import type { Channel, Decimal, Flag, Level, Micros, Payload, VenueId } from '../market/event.ts'
import type { Market } from '../market/symbol.ts'

/** One thing asked of a source. */
export interface Subscription {
  readonly channel: Channel
  /** feedgate's name (`BTC/USDT`); an eventId for odds; `tenant/conversationId` for status. */
  readonly symbol: string
  /** Of ohlcv. */
  readonly timeframe?: string
  /** Of orderbook: levels a side asked of the venue. Not part of the identity: the deepest asked wins. */
  readonly limit?: number
}

/** Identity of a subscription within its source. */
export function subscriptionKey(s: {
  channel: string
  symbol: string
  timeframe?: string | undefined
}): string {
  return s.timeframe === undefined ? `${s.channel}|${s.symbol}` : `${s.channel}|${s.symbol}|${s.timeframe}`
}

/** Anything but a book: ready to be numbered and published. */
export interface DecodedEvent {
  readonly kind: 'event'
  readonly channel: Channel
  /** feedgate's symbol, eventId, or `tenant/conversationId`. */
  readonly symbol: string
  readonly timeframe?: string
  readonly sourceTime?: Micros
  readonly venueSeq?: readonly [VenueId, VenueId]
  readonly flags?: readonly Flag[]
  readonly payload: Payload
}

/** One venue message about one book; goes through integrity before it is published. Sizes of zero are already `"0"`. */
export interface DecodedBook {
  readonly kind: 'book'
  readonly symbol: string
  readonly snapshot: boolean
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
  readonly sourceTime?: Micros
  readonly flags?: readonly Flag[]
  /** The venue's first and last update id (Binance `U` and `u`; a snapshot's `lastUpdateId` is both). */
  readonly first?: VenueId
  readonly last?: VenueId
  /** The update id that this message must follow, where the venue names it (Binance futures `pu`, OKX `prevSeqId`). */
  readonly previous?: VenueId
  /** The venue's checksum after this message, unsigned. */
  readonly checksum?: number
}

/** What a decoder makes of a frame, in the frame's order. */
export type Decoded =
  | DecodedEvent
  | DecodedBook
  /** Names the subscription, or the request by its id (Binance), or both. */
  | { readonly kind: 'acknowledged'; readonly requestId?: number; readonly subscription?: Subscription }
  | {
      readonly kind: 'refused'
      readonly requestId?: number
      readonly subscription?: Subscription
      readonly reason: string
      /** The request came too soon after others, and is made again later; nothing is wrong with it. */
      readonly tooMany?: true
    }
  /**
   * The venue stopped carrying this subscription for a while, on a connection that lives: what came meanwhile is not
   * known, and what follows begins anew.
   */
  | { readonly kind: 'interrupted'; readonly subscription: Subscription; readonly reason: string }
  /** The venue is alive; with a `symbol`, what it says of that symbol (Coinbase: the last trade id). */
  | { readonly kind: 'heartbeat'; readonly symbol?: string; readonly lastTradeId?: string }
  /** The venue announces that it will cut the connection. */
  | { readonly kind: 'shutdown'; readonly reason: string }
  /** Understood and of no interest, or of a type not known: counted, never fatal. */
  | { readonly kind: 'ignored'; readonly what: string }
  /** Cannot be right (no number, no id): to the dead-letter topic. A malformed book message makes the book unknown. */
  | {
      readonly kind: 'malformed'
      readonly reason: string
      readonly channel?: Channel
      readonly symbol?: string
    }

export interface LinkEnd {
  /** One short phrase for people: `closed by the venue (1006)`, `no message for 30 s`, `refused: HTTP 451`. */
  readonly reason: string
  /** The venue asked to wait at least this long (Retry-After). */
  readonly retryAfterMs?: number
  /** The socket was open and nothing came: it is known to be dead, not to be closed. */
  readonly silent?: boolean
}

/**
 * Where a link delivers, synchronously and in socket order: there is no queue between a socket and the manager, so
 * nothing can overflow; to slow a venue down the manager pauses the link. Methods never throw.
 */
export interface LinkSink {
  opened(): void
  /** `frame` is the raw text (undefined for a simulator); `receivedTime` was read at the socket. */
  decoded(update: Decoded, receivedTime: Micros, frame: string | undefined): void
  /** Every raw frame, both ways, before it is decoded; for capture and journal. */
  frame?(direction: 'in' | 'out', text: string, time: Micros): void
  /** Every REST answer that the link itself asked for. */
  answered?(url: string, body: string, time: Micros): void
  /** Once, last. */
  ended(end: LinkEnd): void
}

/** One live connection. `subscribe` and `unsubscribe` pace themselves to the venue's limits. */
export interface Link {
  subscribe(subscriptions: readonly Subscription[]): void
  unsubscribe(subscriptions: readonly Subscription[]): void
  /** Stops and restarts reading from the socket: back-pressure. */
  pause(): void
  resume(): void
  /** Safe to call twice; `ended` follows. */
  close(reason: string): void
  /**
   * It asks for all that it delivers, again and again, and says itself what is `interrupted`: its silence says nothing.
   * It never ends by itself.
   */
  readonly polls?: true
}

export interface LinkOptions {
  /** The source's id: for logs and metrics. */
  readonly source: string
  readonly url?: string
  readonly restUrl?: string
  /** The way to `url`. Absent: the shortest. */
  readonly via?: Via
  /** Never logged, never shown. */
  readonly credentials?: Credentials
}

/** Another node, from which connections are opened instead of from here. */
export interface Via {
  /** Its address. */
  readonly node: string
  /** Rejects with `venue-unavailable`. */
  connect(host: string, port: number): Promise<Duplex>
}

/** What a venue knows us by, under the venue's own names: `apiKey`, `secret`, `password` … */
export type Credentials = Readonly<Record<string, string>>

/** What proves a book right, and where its snapshots come from. */
export interface BookRules {
  /**
   * `stream`: the venue sends snapshots by itself after a subscription (where it does not, and there is `fetchBook`,
   * that gets them); `rest`: `fetchBook` gets them.
   */
  readonly snapshots: 'stream' | 'rest'
  /** Asking for a book again on the same connection costs little, and shows by its snapshot whether a silent one is right. */
  readonly resends?: true
  /**
   * Does this message follow a book whose last update id is `local`? `old`: drop it; `gap`: something is missing and
   * the book must be rebuilt. `fresh`: the book is a snapshot to which nothing was applied yet: a message may then reach
   * back behind it. Absent: the venue numbers nothing.
   */
  follows?(local: VenueId, update: DecodedBook, fresh?: boolean): 'apply' | 'old' | 'gap'
  /** The venue's checksum over the book after the message; compared with `DecodedBook.checksum` where that is there. */
  checksum?(book: ChecksummedBook): number
  /** The venue keeps only the subscribed depth and never says that a level fell out of it. */
  readonly truncates: boolean
}

/** The part of an order book that a checksum reads; `OrderBook` in `market/order-book.ts` is one. */
export interface ChecksummedBook {
  /** Best first, at most `depth`. */
  top(side: 'bids' | 'asks', depth: number): readonly Level[]
  /** CRC32 (unsigned) as Kraken defines it: top 10 asks then bids, without the point and leading zeros. */
  krakenChecksum(): number
  /** CRC32 (unsigned) as OKX defines it: top 25 bids and asks in turn, `price:size` joined by `:`. */
  okxChecksum(): number
}

/** How trade ids behave, so that doubles are dropped and holes found. */
export interface TradeRules {
  /** Ids of one symbol grow by exactly 1, so a jump is a hole. */
  readonly contiguousIds: boolean
  /** Trades have no ids at all. */
  readonly withoutIds?: true
}

/** What a venue says of one of its markets. What it does not say is absent. */
export interface Instrument extends Omit<Market, 'expiry'> {
  readonly symbol: string
  readonly venueSymbol: string
  /** Of futures. */
  readonly expiry?: Micros
  /**
   * Of derivatives whose sizes count contracts: what one contract is worth, in the base asset, or, of those settled in
   * it, in the quote asset. Trades, books and open interest keep the venue's unit.
   */
  readonly contractSize?: Decimal
  /** Prices are multiples of this. */
  readonly tickSize?: Decimal
  /** Sizes are multiples of this. */
  readonly lotSize?: Decimal
  /** The smallest order. */
  readonly minSize?: Decimal
  /** In the venue's own word: `TRADING`, `live`, `online` … */
  readonly status: string
}

/** Trades to be had again: those between two that are known. */
export interface TradesWanted {
  /** The last known one; only later ones are wanted. */
  readonly afterId?: string
  /** Nothing earlier is wanted, µs. */
  readonly afterTime: Micros
  /** Known again from here on; only earlier ones are wanted. */
  readonly untilId?: string
  /** Nothing later is wanted, µs. */
  readonly untilTime: Micros
}

export interface FetchedTrades {
  /** In the venue's order, flagged `backfilled`, with the ids that the stream gives them. */
  readonly trades: readonly DecodedEvent[]
  /** The venue gave all that was wanted; false: it remembers too little, or it was more than is fetched at once. */
  readonly complete: boolean
}

/**
 * The way to one kind of source. A connector holds no connection and no state of its own: `open` makes links, one for
 * each route, and the manager supervises them.
 */
export interface Connector {
  readonly kind: string
  /** Where its links lead without a `url`; absent: to no address. */
  readonly url?: string
  readonly channels: readonly Channel[]
  /** Of ohlcv, as feedgate names them. */
  readonly timeframes: readonly string[]
  readonly bookRules: BookRules
  readonly tradeRules: TradeRules
  /** Subscriptions of different routes need different sockets (hosts or paths). */
  route(subscription: Subscription): string
  /** The book depth that will be asked of the venue for a wanted `limit`; 0: all that the venue sends. */
  bookDepth(limit: number | undefined): number
  /** Subscriptions that can share one link, at most what the venue allows on a connection. */
  readonly subscriptionsPerLink: number
  /** Of them, books; see `Venue`. Default: all. */
  readonly booksPerLink?: number
  /** Connection attempts that the venue allows. */
  readonly connects: { readonly count: number; readonly perMs: number }
  /**
   * The venue says something about this subscription at least so often, ms, however quiet its market: longer silence
   * means that it is dead. Undefined: it promises nothing.
   */
  quietMs?(subscription: Subscription): number | undefined
  /** It is asked for again and again, with so much between two requests or more, ms. Undefined: it is streamed. */
  pollMs?(subscription: Subscription): number | undefined
  /** Is the symbol one the connector can name at the venue? A reason if not. */
  refuse(subscription: Subscription): string | undefined
  open(route: string, options: LinkOptions, sink: LinkSink): Link
  /** A book by REST. Rejects with a FeedgateError; obeys the venue's weights and Retry-After. */
  fetchBook?(symbol: string, depth: number, options: LinkOptions, signal: AbortSignal): Promise<DecodedBook>
  /** The venue's instruments, or undefined when it has no list. Rejects when it cannot be had now. */
  fetchInstruments?(options: LinkOptions, signal: AbortSignal): Promise<readonly Instrument[]>
  /** All hosts of the venue say the same, with the same ids: a source can have two sides. Absent: nobody knows. */
  readonly takesSides?: true
  /** Names of the credentials that a source can have; absent: it takes none. */
  readonly credentials?: { readonly required: readonly string[]; readonly optional: readonly string[] }
  /**
   * Has the venue judge the credentials. Rejects with `venue-credentials-refused` when it refuses them, with
   * `venue-unavailable` when it says nothing of them.
   */
  verify?(options: LinkOptions, signal: AbortSignal): Promise<void>
  /**
   * Trades of the past by REST, waiting for its turn within the venue's limits. Rejects with a FeedgateError when the
   * venue does not answer.
   */
  fetchTrades?(
    symbol: string,
    wanted: TradesWanted,
    options: LinkOptions,
    signal: AbortSignal,
  ): Promise<FetchedTrades>
}

/** Every kind of source there is. */
export interface Connectors {
  /** What `kind` may say. */
  readonly kinds: readonly string[]
  /**
   * Loads what connectors of this kind need and the program does without until then. `connectorFor` answers for such a
   * kind from then on.
   */
  prepare(kind: string): Promise<void>
  /** What `exchange` may say, where that kind was prepared. */
  exchanges(): readonly string[]
  /** Undefined: no such kind, or no such exchange. `seed` and `rate` are of simulators, `exchange` of ccxt. */
  connectorFor(
    kind: string,
    options: { readonly seed?: number; readonly rate?: number; readonly exchange?: string },
  ): Connector | undefined
}
