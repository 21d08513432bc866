import { setTimeout as sleep } from 'node:timers/promises'
import { FeedgateError } from '../../errors.ts'
import { toDecimal } from '../../market/decimal.ts'
import { marketOf } from '../../market/symbol.ts'
import type { DecodedEvent, FetchedTrades, Instrument, LinkOptions, TradesWanted } from '../connector.ts'
import { parseRetryAfter } from '../rest.ts'
import { createExchange } from './exchange.ts'
import {
  type CcxtExchange,
  type CcxtLibrary,
  type CcxtMarket,
  failureOf,
  type Numeric,
  reasonOf,
} from './library.ts'
import { decodeTrade, timeOf } from './readers.ts'

const PAGE = 1_000
/** Requests for one hole at most. */
const MAX_PAGES = 20

/** What ccxt gets by REST for all links of one exchange and `restUrl`: its markets are loaded once. */
export class CcxtRest {
  readonly #hasTickSizes: boolean
  readonly #exchange: CcxtExchange
  #loading: Promise<unknown> | undefined

  constructor(library: CcxtLibrary, exchangeId: string, options: LinkOptions) {
    const { source, restUrl } = options
    this.#exchange = createExchange(library, exchangeId, {
      source,
      ...(restUrl !== undefined && { restUrl }),
    })
    this.#hasTickSizes = this.#exchange.precisionMode === library.TICK_SIZE
  }

  /** The exchange with its markets, old ones rather than none. Rejects as ccxt does; the next call tries again. */
  async markets(): Promise<CcxtExchange> {
    if (!this.#exchange.markets) await this.#load()
    return this.#exchange
  }

  #load(): Promise<unknown> {
    // Without `true` ccxt gives the same failure for ever.
    this.#loading ??= this.#exchange.loadMarkets(true).finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  /** Of the last answer, ms. */
  retryAfterMs(): number | undefined {
    const headers = this.#exchange.last_response_headers
    return parseRetryAfter(headers?.['Retry-After'] ?? headers?.['retry-after'])
  }

  async instruments(): Promise<readonly Instrument[]> {
    await this.#load().catch((cause) => {
      throw this.#unavailable(cause)
    })
    const { markets = {} } = this.#exchange
    return Object.values(markets).flatMap((market) => instrumentOf(market, this.#hasTickSizes) ?? [])
  }

  /**
   * Forward from the last known trade. Ids that REST and stream write alike are the proof that nothing comes twice: where
   * no known trade is among those fetched, none of them is taken.
   */
  async trades(symbol: string, wanted: TradesWanted, signal: AbortSignal): Promise<FetchedTrades> {
    const found = new Map<string, DecodedEvent>()
    let since = Math.floor(wanted.afterTime / 1_000)
    let reached = false
    for (let page = 0; page < MAX_PAGES && !reached; page++) {
      const before = found.size
      for (const event of await this.#page(symbol, since, signal)) {
        const { payload, sourceTime = 0 } = event
        if (payload.type !== 'trade' || payload.id === undefined) continue
        found.set(payload.id, event)
        since = Math.max(since, Math.floor(sourceTime / 1_000))
        reached ||= payload.id === wanted.untilId || sourceTime > wanted.untilTime
      }
      if (found.size === before) break
    }
    return between(found, wanted, reached)
  }

  async #page(symbol: string, since: number, signal: AbortSignal): Promise<readonly DecodedEvent[]> {
    signal.throwIfAborted()
    try {
      const exchange = await this.markets()
      const trades = await exchange.fetchTrades(symbol, since, PAGE)
      const events = trades.map((trade) => decodeTrade(trade, symbol))
      return events
        .filter((event) => event.kind === 'event')
        .map((event) => ({ ...event, flags: ['backfilled'] }))
    } catch (cause) {
      throw this.#unavailable(cause)
    }
  }

  #unavailable(cause: unknown): FeedgateError {
    const retryAfterMs = this.retryAfterMs()
    return new FeedgateError('venue-unavailable', `${this.#exchange.id}: ${reasonOf(cause)}`, {
      cause,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    })
  }
}

function between(
  found: ReadonlyMap<string, DecodedEvent>,
  { afterId, untilId, afterTime, untilTime }: TradesWanted,
  reached: boolean,
): FetchedTrades {
  const sawAfter = afterId !== undefined && found.has(afterId)
  const sawUntil = untilId !== undefined && found.has(untilId)
  if (!sawAfter && !sawUntil) return { trades: [], complete: false }
  const trades = [...found.values()]
    .filter(({ sourceTime = 0 }) => sourceTime >= afterTime && sourceTime <= untilTime)
    .toSorted((a, b) => (a.sourceTime ?? 0) - (b.sourceTime ?? 0))
    .filter(({ payload }) => payload.type === 'trade' && payload.id !== afterId && payload.id !== untilId)
  return { trades, complete: sawAfter && reached }
}

/** Asks for what only the owner of the credentials may see. Rejects as `Connector.verify` says. */
export async function verifyCredentials(
  library: CcxtLibrary,
  exchangeId: string,
  rest: CcxtRest,
  options: LinkOptions,
  signal: AbortSignal,
): Promise<void> {
  const exchange = createExchange(library, exchangeId, options)
  const unanswered = new FeedgateError(
    'venue-unavailable',
    `${exchangeId} gave no verdict on the credentials`,
  )
  if (!exchange.has.fetchBalance) throw unanswered
  const secrets = Object.values(options.credentials ?? {})
  try {
    await Promise.race([
      rest.markets().then((known) => {
        exchange.setMarketsFromExchange(known)
        return exchange.fetchBalance()
      }),
      sleep(2 ** 31 - 1, undefined, { signal, ref: false }).catch(() => {
        throw unanswered
      }),
    ])
  } catch (cause) {
    if (failureOf(library, cause) === 'credentials')
      throw new FeedgateError(
        'venue-credentials-refused',
        `${exchangeId} refused the credentials: ${reasonOf(cause, secrets)}`,
      )
    throw unanswered
  } finally {
    await exchange.close().catch(() => {})
  }
}

/** Undefined for what is neither spot nor a swap nor a future. */
function instrumentOf(market: CcxtMarket, hasTickSizes: boolean): Instrument | undefined {
  const named = marketOf(market.symbol)
  if (!named) return undefined
  const { expiry: _day, ...parts } = named
  const expiry = timeOf(market.expiry)
  const sizes = {
    contractSize: decimal(market.contractSize),
    // Other exchanges count digits here.
    ...(hasTickSizes && {
      tickSize: decimal(market.precision?.price),
      lotSize: decimal(market.precision?.amount),
    }),
    minSize: decimal(market.limits?.amount?.min),
  }
  return {
    ...parts,
    symbol: market.symbol,
    venueSymbol: market.id,
    ...(expiry !== undefined && { expiry }),
    ...Object.fromEntries(Object.entries(sizes).filter(([, value]) => value !== undefined)),
    status: market.active === false ? 'inactive' : 'active',
  }
}

function decimal(value: Numeric): string | undefined {
  return value === undefined || value === null ? undefined : toDecimal(value)
}
