/**
 * The part of ccxt that feedgate uses. ccxt is 60 MB on disk; it is loaded when the first source needs it, which takes
 * about half a second and 100 MB of memory, and never otherwise.
 */
import { FeedgateError } from '../../errors.ts'

/** With `number = String` a decimal as the venue wrote it where ccxt still has its text; else a number. */
export type Numeric = string | number | null | undefined

export interface CcxtTicker {
  readonly timestamp?: number
  readonly bid?: Numeric
  readonly bidVolume?: Numeric
  readonly ask?: Numeric
  readonly askVolume?: Numeric
  readonly last?: Numeric
  readonly open?: Numeric
  readonly high?: Numeric
  readonly low?: Numeric
  readonly baseVolume?: Numeric
}

export interface CcxtTrade {
  readonly id?: string
  readonly symbol?: string
  readonly timestamp?: number
  readonly price?: Numeric
  readonly amount?: Numeric
  readonly side?: string
}

/** `[openTime ms, open, high, low, close, volume]`. */
export type CcxtCandle = readonly Numeric[]

/** `[price, size, …]`, best first. ccxt goes on changing the object: read it at once. */
export interface CcxtBook {
  readonly bids: readonly (readonly Numeric[])[]
  readonly asks: readonly (readonly Numeric[])[]
  readonly timestamp?: number
  readonly nonce?: number
}

export interface CcxtMarket {
  readonly id: string
  readonly symbol: string
  readonly active?: boolean
  readonly expiry?: number
  readonly contractSize?: Numeric
  /** Smallest steps. */
  readonly precision?: { readonly price?: Numeric; readonly amount?: Numeric }
  readonly limits?: { readonly amount?: { readonly min?: Numeric } }
}

/** One socket of an exchange. */
export interface CcxtClient {
  url: string
  /** Request hashes that were sent. */
  readonly subscriptions: Record<string, unknown>
  /** Resolves when the socket is open; never, where it fails. */
  readonly connected: Promise<unknown>
  readonly duplex: AsyncIterable<string | Buffer>
  readonly connection?: { terminate(): void }
  createConnection(): void
  deliverLoop(): Promise<void>
  onMessage(event: { data: string | Buffer }): void
  send(message: unknown): Promise<unknown>
  future(hash: string): Promise<unknown>
  onError(error: Error): void
  close(): void
}

type Params = Readonly<Record<string, unknown>>

export interface CcxtExchange {
  readonly id: string
  readonly has: Record<string, boolean | 'emulated' | undefined>
  readonly timeframes?: Readonly<Record<string, unknown>>
  /** How `precision` is to be read. */
  readonly precisionMode: number
  readonly requiredCredentials: Readonly<Record<string, boolean>>
  readonly clients: Record<string, CcxtClient>
  readonly orderbooks: Record<string, unknown>
  readonly markets?: Readonly<Record<string, CcxtMarket>>
  readonly last_response_headers?: Readonly<Record<string, string>>
  number: (value: unknown) => unknown
  loadMarkets(reload?: boolean): Promise<Readonly<Record<string, CcxtMarket>>>
  setMarketsFromExchange(source: CcxtExchange): void
  client(url: string): CcxtClient
  fetch(url: string, ...rest: readonly unknown[]): Promise<unknown>
  watch(url: string, messageHash: string, message?: unknown, subscribeHash?: string, info?: unknown): unknown
  watchMultiple(
    url: string,
    messageHashes: readonly string[],
    message?: unknown,
    subscribeHashes?: readonly string[],
    info?: unknown,
  ): unknown
  watchTicker(symbol: string): Promise<CcxtTicker>
  watchTickers(symbols: readonly string[]): Promise<Readonly<Record<string, CcxtTicker>>>
  watchBidsAsks(symbols: readonly string[]): Promise<Readonly<Record<string, CcxtTicker>>>
  watchTrades(symbol: string): Promise<readonly CcxtTrade[]>
  watchOrderBook(symbol: string, limit?: number): Promise<CcxtBook>
  watchOHLCV(symbol: string, timeframe: string): Promise<readonly CcxtCandle[]>
  unWatchTicker(symbol: string): Promise<unknown>
  unWatchTickers(symbols: readonly string[]): Promise<unknown>
  unWatchBidsAsks(symbols: readonly string[]): Promise<unknown>
  unWatchTrades(symbol: string): Promise<unknown>
  unWatchOrderBook(symbol: string): Promise<unknown>
  unWatchOHLCV(symbol: string, timeframe: string): Promise<unknown>
  fetchTicker(symbol: string): Promise<CcxtTicker>
  fetchTrades(symbol: string, since?: number, limit?: number, params?: Params): Promise<readonly CcxtTrade[]>
  fetchOrderBook(symbol: string, limit?: number): Promise<CcxtBook>
  fetchOHLCV(
    symbol: string,
    timeframe: string,
    since?: number,
    limit?: number,
  ): Promise<readonly CcxtCandle[]>
  fetchBalance(): Promise<unknown>
  orderBook(snapshot?: object, depth?: number): CcxtOrderBook
  indexedOrderBook(snapshot?: object, depth?: number): CcxtOrderBook
  countedOrderBook(snapshot?: object, depth?: number): CcxtOrderBook
  close(): Promise<void>
}

export interface CcxtOrderBook {
  readonly bids: CcxtBookSide
  readonly asks: CcxtBookSide
  reset(snapshot: object): unknown
}
export interface CcxtBookSide {
  storeArray(level: unknown[]): void
}

type ErrorClass = new (message?: string) => Error

export interface CcxtLibrary {
  /** Exchange classes with watch methods, by id. */
  readonly pro: Readonly<Record<string, new (config: object) => CcxtExchange>> & {
    readonly exchanges: readonly string[]
  }
  readonly AuthenticationError: ErrorClass
  readonly BadSymbol: ErrorClass
  readonly NotSupported: ErrorClass
  readonly InvalidNonce: ErrorClass
  readonly NetworkError: ErrorClass
  readonly TICK_SIZE: number
}

let loading: Promise<CcxtLibrary> | undefined

/** Rejects with `venue-unavailable` where ccxt is not installed. */
export function loadCcxt(): Promise<CcxtLibrary> {
  loading ??= import('ccxt').then(
    (module) => module.default as unknown as CcxtLibrary,
    (cause) => {
      loading = undefined
      throw new FeedgateError('venue-unavailable', 'the package ccxt cannot be loaded: run npm ci', { cause })
    },
  )
  return loading
}

/** What an error of a watch or fetch means for the one who asked. */
export type Failure = 'connection' | 'refused' | 'credentials' | 'integrity' | 'other'

export function failureOf(library: CcxtLibrary, error: unknown): Failure {
  if (error instanceof library.InvalidNonce) return 'integrity'
  if (error instanceof library.AuthenticationError) return 'credentials'
  if (error instanceof library.BadSymbol || error instanceof library.NotSupported) return 'refused'
  return error instanceof library.NetworkError ? 'connection' : 'other'
}

/** One line of at most 200 characters for people; what of it is secret is taken out. */
export function reasonOf(error: unknown, secrets: Iterable<string> = []): string {
  let text = error instanceof Error ? error.message || error.name : String(error)
  for (const secret of secrets) text = text.replaceAll(secret, '***')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return text.replace(/[\u0000-\u001f\u007f]+/g, ' ').slice(0, 200)
}
