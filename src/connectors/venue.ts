import type { Channel, VenueId } from '../market/event.ts'
import type { BookRules, Decoded, DecodedBook, Instrument, Subscription, TradeRules } from './connector.ts'

/** Turns a frame into what it says. New for each connection; no socket, no clock, no environment. */
export interface Decoder {
  /** Calls `emit` for each thing the frame says, in order. Never throws: what cannot be read is `malformed`. */
  decode(frame: string, emit: (update: Decoded) => void): void
}

export interface DecoderContext {
  /** feedgate's symbol for the venue's name of it, among what is subscribed or known; undefined if it is neither. */
  symbolOf(venueSymbol: string): string | undefined
}

/** A venue is what differs from other venues, as data and pure functions. `session.ts` does the rest. */
export interface Venue {
  /** The `kind` of a source, and the name of the venue's file. */
  readonly id: string
  readonly url: string
  readonly restUrl?: string
  /** Where the rules below come from. */
  readonly docs: string
  readonly channels: readonly Channel[]
  readonly timeframes: readonly string[]
  /** Book depths that may be asked, ascending; empty: the venue has one depth only. */
  readonly bookDepths: readonly number[]
  readonly defaultBookDepth: number
  readonly limits: {
    /** Messages from us on one connection, pings included. */
    readonly messagesPerSecond: number
    readonly subscriptionsPerConnection: number
    /** Subscriptions in one message. */
    readonly subscriptionsPerMessage: number
    readonly connects: { readonly count: number; readonly perMs: number }
    /** REST request weight a minute. */
    readonly restWeightPerMinute?: number
  }
  readonly heartbeat: {
    /** Nothing at all from the venue for this long: the connection is dead. */
    readonly silentMs: number
    /** Sent by us when nothing was heard for `everyMs`, so that a quiet venue must speak. */
    readonly ping?: { readonly everyMs: number; frame(requestId: number): string | 'protocol' }
  }
  readonly book: BookRules
  readonly trades: TradeRules
  /** Subscriptions of different routes need different sockets. Default: one route, `''`. */
  route?(subscription: Subscription): string
  /** The URL to connect to for a route, from the source's `url`. Default: the url itself. */
  endpoint?(url: string, route: string): string
  /** The venue's name of a symbol; undefined if it cannot have one (`BTC` without a quote). */
  venueSymbol(symbol: string): string | undefined
  /** Frames that ask for these. All are of one route, at most `subscriptionsPerMessage`. */
  subscribe(subscriptions: readonly Subscription[], requestId: number): readonly string[]
  unsubscribe(subscriptions: readonly Subscription[], requestId: number): readonly string[]
  createDecoder(context: DecoderContext): Decoder
  /** Path and weight of a book request, and its answer read. */
  readonly bookRequest?: {
    path(venueSymbol: string, depth: number): string
    weight(depth: number): number
    parse(body: string, symbol: string): DecodedBook
  }
  readonly instrumentsRequest?: {
    readonly path: string
    readonly weight: number
    parse(body: string): readonly Instrument[]
  }
}

/** `id + 1` without loss above 2^53. */
export function nextId(id: VenueId): VenueId {
  return typeof id === 'number' && id < Number.MAX_SAFE_INTEGER ? id + 1 : BigInt(id) + 1n
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
