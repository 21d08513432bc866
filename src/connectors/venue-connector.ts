import { FeedgateError } from '../errors.ts'
import type { Channel } from '../market/event.ts'
import { type MarketType, marketOf } from '../market/symbol.ts'
import type {
  Connector,
  DecodedBook,
  FetchedTrades,
  Instrument,
  LinkOptions,
  Subscription,
  TradesWanted,
} from './connector.ts'
import { openPolls } from './polling.ts'
import { RestClient } from './rest.ts'
import { openSession } from './session.ts'
import { fetchTradePages } from './trade-pages.ts'
import { bookDepth, type InstrumentsRequest, type TradesRequest, UnknownSymbol, type Venue } from './venue.ts'

/** Parts of a list of instruments at most: of 1,000 each, more than any venue has. */
const MAX_LIST_PAGES = 20

/** Before the channel: routes of what is polled. */
const POLLED = 'polled '

/** The way to a venue: its description, the one socket session, and REST within its limits. */
export function venueConnector(venue: Venue): Connector {
  /** One for each base URL in the settings. */
  const clients = new Map<string, RestClient>()
  const clientOf = ({ restUrl = venue.restUrl }: LinkOptions): RestClient => {
    if (restUrl === undefined) throw new FeedgateError('venue-unavailable', `${venue.id} has no REST address`)
    let client = clients.get(restUrl)
    if (!client) {
      client = new RestClient(restUrl, venue.limits.rest)
      clients.set(restUrl, client)
    }
    return client
  }
  const { bookRequest, instrumentsRequests, tradesRequest, polled = [] } = venue
  return {
    kind: venue.id,
    url: venue.url,
    channels: venue.channels,
    timeframes: venue.timeframes,
    bookRules: venue.book,
    tradeRules: venue.trades,
    takesSides: true,
    subscriptionsPerLink: venue.limits.subscriptionsPerConnection,
    booksPerLink: venue.limits.booksPerConnection,
    connects: venue.limits.connects,
    route: (subscription) =>
      polled.some(({ channel }) => channel === subscription.channel)
        ? POLLED + subscription.channel
        : (venue.route?.(subscription) ?? ''),
    bookDepth: (limit) => bookDepth(venue, limit),
    quietMs: (subscription) => venue.heartbeat.quietMs?.(subscription),
    pollMs: (subscription) => polled.find(({ channel }) => channel === subscription.channel)?.everyMs,
    refuse: (subscription) => refuse(venue, subscription),
    open: (route, options, sink) => {
      const poll = polled.find(({ channel }) => route === POLLED + channel)
      return poll ? openPolls(venue, poll, clientOf(options), sink) : openSession(venue, route, options, sink)
    },
    ...(bookRequest && {
      fetchBook: (symbol: string, depth: number, options: LinkOptions, signal: AbortSignal) =>
        fetchBook(venue, bookRequest, clientOf(options), symbol, depth, signal),
    }),
    ...(instrumentsRequests && {
      fetchInstruments: (options: LinkOptions, signal: AbortSignal) =>
        fetchInstruments(venue, instrumentsRequests, clientOf(options), signal),
    }),
    ...(tradesRequest && {
      fetchTrades: (symbol: string, wanted: TradesWanted, options: LinkOptions, signal: AbortSignal) =>
        fetchTrades(venue, tradesRequest, clientOf(options), symbol, wanted, signal),
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
  const venueSymbol = nameOf(venue, symbol)
  const body = await client.getInTurn(request.path(venueSymbol, depth), request.weight(depth), signal)
  if (body === undefined) throw new FeedgateError('venue-unavailable', `no book of ${symbol}: HTTP 404`)
  return parsed(venue, () => request.parse(body, symbol))
}

/** All lists or none: a list with a part missing would refuse symbols that exist. */
async function fetchInstruments(
  venue: Venue,
  requests: readonly InstrumentsRequest[],
  client: RestClient,
  signal: AbortSignal,
): Promise<readonly Instrument[]> {
  const instruments: Instrument[] = []
  for (const request of requests) {
    let path: string | undefined = request.path
    for (let page = 0; path !== undefined && page < MAX_LIST_PAGES; page++) {
      const body: string | undefined = await client.getInTurn(path, request.weight, signal)
      if (body === undefined)
        throw new FeedgateError('venue-unavailable', `${venue.id} gives no list of instruments`)
      for (const instrument of parsed(venue, () => request.parse(body))) instruments.push(instrument)
      path = parsed(venue, () => request.next?.(body))
    }
  }
  return instruments
}

function fetchTrades(
  venue: Venue,
  request: TradesRequest,
  client: RestClient,
  symbol: string,
  wanted: TradesWanted,
  signal: AbortSignal,
): Promise<FetchedTrades> {
  nameOf(venue, symbol)
  return fetchTradePages(request, symbol, wanted, venue.trades.contiguousIds, async (path) => {
    const body = await client.getPatiently(path, request.weight, signal)
    if (body === undefined) throw new FeedgateError('venue-unavailable', `no trades of ${symbol}: HTTP 404`)
    return parsed(venue, () => request.parse(body, symbol))
  })
}

function nameOf(venue: Venue, symbol: string): string {
  const name = venue.venueSymbol(symbol)
  if (name === undefined)
    throw new FeedgateError('unknown-symbol', `${venue.id} cannot name the symbol ${symbol}`)
  return name
}

function parsed<T>(venue: Venue, parse: () => T): T {
  try {
    return parse()
  } catch (cause) {
    if (cause instanceof UnknownSymbol)
      throw new FeedgateError('unknown-symbol', `${venue.id} says: ${cause.message}`, { cause })
    throw new FeedgateError('venue-unavailable', `${venue.id} gave a REST answer that cannot be read`, {
      cause,
    })
  }
}

const SPELLING: Readonly<Record<MarketType, string>> = {
  spot: 'BASE/QUOTE, such as BTC/USD',
  swap: 'BASE/QUOTE:SETTLE, such as BTC/USDT:USDT',
  future: 'BASE/QUOTE:SETTLE-YYMMDD, such as BTC/USDT:USDT-261225',
}

const OF_DERIVATIVES: readonly Channel[] = ['funding', 'openinterest', 'liquidations']

function refuse(venue: Venue, { channel, symbol }: Subscription): string | undefined {
  if (!venue.channels.includes(channel))
    return `${venue.id} has no channel ${channel}: accepted are ${venue.channels.join(', ')}`
  if (venue.venueSymbol(symbol) === undefined) {
    const accepted = venue.markets.map((market) => SPELLING[market]).join('; ')
    return `${venue.id} cannot name the symbol ${symbol}: accepted is ${accepted}`
  }
  if (OF_DERIVATIVES.includes(channel) && marketOf(symbol)?.type === 'spot')
    return `${symbol} is a spot market, which has no ${channel}: accepted is ${SPELLING.swap}`
  return undefined
}
