import type { Channel } from '../market/event.ts'
import { Pacer } from '../pacer.ts'
import { type CcxtExchange, type CcxtLibrary, loadCcxt } from './ccxt/library.ts'
import { CcxtLink, PATIENCE, type Patience } from './ccxt/link.ts'
import { CcxtRest, verifyCredentials } from './ccxt/rest.ts'
import type { Connector, LinkOptions, Subscription } from './connector.ts'

const DEFAULT_DEPTH = 100
const MAX_DEPTH = 1_000
/** Within what the strictest venue known allows (OKX: 3 a second), also where the network bunches them. */
const DIALS = { count: 2, perMs: 1_500 }
/** `1M` and `1m` differ; the rest is what topics can name. */
const TIMEFRAME = /^[0-9A-Za-z]{1,16}$/

/** Every exchange that ccxt can watch. */
export interface CcxtConnectors {
  readonly exchanges: readonly string[]
  /** Undefined: ccxt has no such exchange, or cannot watch it. */
  connectorFor(exchange: string): Connector | undefined
}

/** Loads ccxt. Rejects with `venue-unavailable` where that cannot be had. */
export async function loadCcxtConnectors(): Promise<CcxtConnectors> {
  return createCcxtConnectors(await loadCcxt())
}

export function createCcxtConnectors(library: CcxtLibrary, patience = PATIENCE): CcxtConnectors {
  /** One for each exchange, so that its markets and REST limits are shared; bounded by the exchanges there are. */
  const connectors = new Map<string, Connector | undefined>()
  return {
    exchanges: library.pro.exchanges,
    connectorFor: (exchange) => {
      if (!library.pro.exchanges.includes(exchange)) return undefined
      if (!connectors.has(exchange)) connectors.set(exchange, ccxtConnector(library, exchange, patience))
      return connectors.get(exchange)
    },
  }
}

function ccxtConnector(library: CcxtLibrary, exchangeId: string, patience: Patience): Connector | undefined {
  const description = new library.pro[exchangeId]!({})
  const channels = channelsOf(description)
  if (channels.length === 0) return undefined
  const timeframes = Object.keys(description.timeframes ?? {}).filter((one) => TIMEFRAME.test(one))
  /** What all links to the same hosts share; by their URLs, which only operators name. */
  const shared = new Map<string, { readonly rest: CcxtRest; readonly dials: Pacer }>()
  const sharedOf = (options: LinkOptions) => {
    const key = `${options.url} ${options.restUrl}`
    const known = shared.get(key)
    if (known) return known
    const rest = new CcxtRest(library, exchangeId, options)
    const made = { rest, dials: new Pacer(DIALS.count, DIALS.perMs) }
    shared.set(key, made)
    return made
  }
  const depth = (limit = DEFAULT_DEPTH) => Math.min(limit, MAX_DEPTH)
  return {
    kind: 'ccxt',
    channels,
    timeframes,
    // ccxt checks what venues number and sum by itself, where it knows how; a crossed book is our own proof.
    bookRules: { snapshots: 'stream', truncates: false },
    tradeRules: { contiguousIds: false },
    subscriptionsPerLink: 200,
    connects: { count: 10, perMs: 10_000 },
    credentials: credentialsOf(description),
    // Several exchanges of ccxt do not tell the timeframes of a symbol apart: each has its own exchange object.
    route: ({ channel, timeframe }) => (channel === 'ohlcv' ? `ohlcv ${timeframe}` : ''),
    bookDepth: depth,
    refuse: ({ channel }: Subscription) =>
      channels.includes(channel)
        ? undefined
        : `${exchangeId} has no channel ${channel}: accepted are ${channels.join(', ')}`,
    open: (_route, options, sink) =>
      new CcxtLink({ library, exchangeId, patience, depth, ...sharedOf(options) }, options, sink),
    fetchInstruments: (options) => sharedOf(options).rest.instruments(),
    verify: (options, signal) =>
      verifyCredentials(library, exchangeId, sharedOf(options).rest, options, signal),
    ...(description.has.fetchTrades && {
      fetchTrades: (symbol, wanted, options, signal) => sharedOf(options).rest.trades(symbol, wanted, signal),
    }),
  }
}

function channelsOf({ has, timeframes }: CcxtExchange): readonly Channel[] {
  const channels: Channel[] = []
  if (has.watchTicker || has.watchTickers || has.watchBidsAsks) channels.push('ticker')
  if (has.watchTrades) channels.push('trades')
  if (has.watchOrderBook) channels.push('orderbook')
  if (has.watchOHLCV && timeframes) channels.push('ohlcv')
  return channels
}

function credentialsOf({ requiredCredentials }: CcxtExchange): NonNullable<Connector['credentials']> {
  const names = Object.keys(requiredCredentials)
  return {
    required: names.filter((name) => requiredCredentials[name]),
    optional: names.filter((name) => !requiredCredentials[name]),
  }
}
