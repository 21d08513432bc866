import type { Channel, VenueId } from '../market/event.ts'
import type { MarketType } from '../market/symbol.ts'
import type {
  BookRules,
  Decoded,
  DecodedBook,
  DecodedEvent,
  Instrument,
  Subscription,
  TradeRules,
  TradesWanted,
} from './connector.ts'

/** Turns a frame into what it says. New for each connection; no socket, no clock, no environment. */
export interface Decoder {
  /** Calls `emit` for each thing the frame says, in order. Never throws: what cannot be read is `malformed`. */
  decode(frame: string, emit: (update: Decoded) => void): void
}

export interface DecoderContext {
  /** feedgate's symbol for the venue's name of it, among what is subscribed or known; undefined if it is neither. */
  symbolOf(venueSymbol: string): string | undefined
  /** The venue's names of all that is subscribed. */
  venueSymbols(): Iterable<string>
}

export interface Limit {
  readonly count: number
  readonly perMs: number
}

/** A REST answer says that there is no such symbol. */
export class UnknownSymbol extends Error {}

/** A venue is what differs from other venues, as data and pure functions. `session.ts` does the rest. */
export interface Venue {
  /** The `kind` of a source, and the name of the venue's file. */
  readonly id: string
  readonly url: string
  readonly restUrl?: string
  /** Where the rules below come from. */
  readonly docs: string
  readonly markets: readonly MarketType[]
  readonly channels: readonly Channel[]
  readonly timeframes: readonly string[]
  /** Book depths that may be asked, ascending; empty: the venue has one depth only. */
  readonly bookDepths: readonly number[]
  readonly defaultBookDepth: number
  readonly limits: {
    /** Messages from us on one connection, pings included. */
    readonly messagesPerSecond: number
    readonly subscriptionsPerConnection: number
    /** Of them, books: the heaviest there are, and all must be built anew at once when their connection is lost. */
    readonly booksPerConnection: number
    /** Subscriptions in one message. */
    readonly subscriptionsPerMessage: number
    /** Requests to subscribe or unsubscribe on one connection, besides the limit on messages. */
    readonly requests?: Limit
    readonly connects: Limit
    /** REST request weight. */
    readonly rest?: Limit
  }
  readonly heartbeat: {
    /** Nothing at all from the venue for this long: the connection is dead. */
    readonly silentMs: number
    /** Sent by us when nothing was heard for `everyMs`, so that a quiet venue must speak. */
    readonly ping?: {
      readonly everyMs: number
      frame(requestId: number): string | 'protocol'
      /** The venue wants them also while it sends data. */
      readonly always?: boolean
    }
    /** The venue says something about this subscription at least so often, ms; see `Connector`. */
    quietMs?(subscription: Subscription): number | undefined
  }
  readonly book: BookRules
  readonly trades: TradeRules
  /** Subscriptions of different routes need different sockets. Default: one route, `''`. */
  route?(subscription: Subscription): string
  /** The URL to connect to for a route, from the source's `url`. Default: the url itself. */
  endpoint?(url: string, route: string): string
  /** The venue's name of a symbol, unique within a route; undefined if it cannot have one (`BTC` without a quote). */
  venueSymbol(symbol: string): string | undefined
  /**
   * Frames that ask for these. All are of one route, at most `subscriptionsPerMessage`. `held` are the connection's other
   * subscriptions: where several share a stream of the venue, it must not be given up with one of them.
   */
  subscribe(
    subscriptions: readonly Subscription[],
    requestId: number,
    held?: readonly Subscription[],
  ): readonly string[]
  unsubscribe(
    subscriptions: readonly Subscription[],
    requestId: number,
    held?: readonly Subscription[],
  ): readonly string[]
  createDecoder(context: DecoderContext): Decoder
  /** Path and weight of a book request, and its answer read. Readers throw Unreadable or UnknownSymbol. */
  readonly bookRequest?: {
    path(venueSymbol: string, depth: number): string
    weight(depth: number): number
    parse(body: string, symbol: string): DecodedBook
  }
  /** One for each list of products. */
  readonly instrumentsRequests?: readonly InstrumentsRequest[]
  readonly tradesRequest?: TradesRequest
  /** Of `channels`, those of which there is no stream. They are no part of `subscribe`, `unsubscribe` and the decoder. */
  readonly polled?: readonly PolledChannel[]
}

/** A channel whose newest value is had by REST alone. */
export interface PolledChannel {
  readonly channel: Channel
  /** Between two requests for a symbol, ms; longer where all of them would be more than half of the venue's limit. */
  readonly everyMs: number
  readonly weight: number
  path(venueSymbol: string): string
  /** Never throws: what cannot be read is `malformed`. */
  decode(body: string, symbol: string): Decoded
}

export interface InstrumentsRequest {
  readonly path: string
  readonly weight: number
  /** Only those that `venueSymbol` can name. */
  parse(body: string): readonly Instrument[]
  /** The path of the rest of the list, where the answer is but a part. */
  next?(body: string): string | undefined
}

export interface TradesRequest {
  readonly weight: number
  /** Pages go on from the oldest that is wanted, or back from the newest. */
  readonly from: 'oldest' | 'newest'
  /** The venue has only its newest trades: so many, or fewer. */
  readonly newest?: number
  /** `cursor`: of the page before. */
  path(symbol: string, wanted: TradesWanted, cursor: string | undefined): string
  parse(body: string, symbol: string): TradesPage
}

export interface TradesPage {
  /** Oldest first. */
  readonly trades: readonly DecodedEvent[]
  /** Asks for the next page; undefined: the venue has no more. */
  readonly cursor: string | undefined
}

/** `id + 1` without loss above 2^53. */
export function nextId(id: VenueId): VenueId {
  return typeof id === 'number' && id < Number.MAX_SAFE_INTEGER ? id + 1 : BigInt(id) + 1n
}

/** A trade of the past, fetched. */
export function backfilled(trade: DecodedEvent): DecodedEvent {
  return { ...trade, flags: ['backfilled'] }
}

/** What `read` makes of the part of a frame that is about one topic, or `malformed` with the reason. Never throws. */
export function attempt(channel: Channel, symbol: string, read: () => Decoded): Decoded {
  try {
    return read()
  } catch (error) {
    return { kind: 'malformed', reason: reasonOf(error), channel, symbol }
  }
}

/**
 * A frame that cannot be read. Where `bookName` still finds the venue's symbol of a book message in it, that book has
 * become unknown.
 */
export function unreadable(
  error: unknown,
  frame: string,
  bookName: RegExp,
  context: DecoderContext,
): Decoded {
  const name = bookName.exec(frame)?.[1]
  const symbol = name === undefined ? undefined : context.symbolOf(name)
  const reason = reasonOf(error)
  return symbol === undefined
    ? { kind: 'malformed', reason }
    : { kind: 'malformed', reason, channel: 'orderbook', symbol }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unreadable'
}

/** The smallest depth on offer that is not below what is wanted, else the greatest. */
export function bookDepth(
  venue: Pick<Venue, 'bookDepths' | 'defaultBookDepth'>,
  limit: number | undefined,
): number {
  if (limit === undefined || venue.bookDepths.length === 0) return venue.defaultBookDepth
  return venue.bookDepths.find((depth) => depth >= limit) ?? venue.bookDepths.at(-1)!
}

/** The subscriptions in lists of the same key, in the order in which the keys came. */
export function grouped(
  subscriptions: readonly Subscription[],
  keyOf: (subscription: Subscription) => string,
): ReadonlyMap<string, readonly Subscription[]> {
  const groups = new Map<string, Subscription[]>()
  for (const subscription of subscriptions) {
    const key = keyOf(subscription)
    const group = groups.get(key)
    if (group) group.push(subscription)
    else groups.set(key, [subscription])
  }
  return groups
}
