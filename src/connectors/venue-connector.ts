import { FeedgateError } from '../errors.ts'
import type { Connector, DecodedBook, Instrument, LinkOptions, Subscription } from './connector.ts'
import { RestClient } from './rest.ts'
import { openSession } from './session.ts'
import { bookDepth, type Venue } from './venue.ts'

/** The way to a venue: its description, the one socket session, and REST within its limits. */
export function venueConnector(venue: Venue): Connector {
  /** One for each base URL in the settings. */
  const clients = new Map<string, RestClient>()
  const clientOf = ({ restUrl = venue.restUrl }: LinkOptions): RestClient => {
    if (restUrl === undefined) throw new FeedgateError('venue-unavailable', `${venue.id} has no REST address`)
    let client = clients.get(restUrl)
    if (!client) {
      client = new RestClient(restUrl, venue.limits.restWeightPerMinute)
      clients.set(restUrl, client)
    }
    return client
  }
  const { bookRequest, instrumentsRequest } = venue
  return {
    kind: venue.id,
    channels: venue.channels,
    timeframes: venue.timeframes,
    bookRules: venue.book,
    tradeRules: venue.trades,
    subscriptionsPerLink: venue.limits.subscriptionsPerConnection,
    connects: venue.limits.connects,
    route: (subscription) => venue.route?.(subscription) ?? '',
    bookDepth: (limit) => bookDepth(venue, limit),
    refuse: (subscription) => refuse(venue, subscription),
    open: (route, options, sink) => openSession(venue, route, options, sink),
    ...(bookRequest && {
      fetchBook: (symbol: string, depth: number, options: LinkOptions, signal: AbortSignal) =>
        fetchBook(venue, bookRequest, clientOf(options), symbol, depth, signal),
    }),
    ...(instrumentsRequest && {
      fetchInstruments: async (options: LinkOptions, signal: AbortSignal): Promise<readonly Instrument[]> => {
        const body = await clientOf(options).get(instrumentsRequest.path, instrumentsRequest.weight, signal)
        if (body === undefined)
          throw new FeedgateError('venue-unavailable', `${venue.id} gives no list of instruments`)
        return parsed(venue, () => instrumentsRequest.parse(body))
      },
    }),
  }
}

async function fetchBook(
  venue: Venue,
  request: NonNullable<Venue['bookRequest']>,
  client: RestClient,
  symbol: string,
  depth: number,
  signal: AbortSignal,
): Promise<DecodedBook> {
  const venueSymbol = venue.venueSymbol(symbol)
  if (venueSymbol === undefined)
    throw new FeedgateError('unknown-symbol', `${venue.id} cannot name the symbol ${symbol}`)
  const body = await client.get(request.path(venueSymbol, depth), request.weight(depth), signal)
  if (body === undefined) throw new FeedgateError('venue-unavailable', `no book of ${symbol}: HTTP 404`)
  return parsed(venue, () => request.parse(body, symbol))
}

function parsed<T>(venue: Venue, parse: () => T): T {
  try {
    return parse()
  } catch (cause) {
    throw new FeedgateError('venue-unavailable', `${venue.id} gave a REST answer that cannot be read`, {
      cause,
    })
  }
}

function refuse(venue: Venue, { channel, symbol }: Subscription): string | undefined {
  if (!venue.channels.includes(channel))
    return `${venue.id} has no channel ${channel}: accepted are ${venue.channels.join(', ')}`
  if (venue.venueSymbol(symbol) === undefined)
    return `${venue.id} cannot name the symbol ${symbol}: accepted is BASE/QUOTE, such as BTC/USD`
  return undefined
}
