import { readdir } from 'node:fs/promises'
import { FeedgateError } from '../errors.ts'
import type { Ask, Dialect } from '../player/dialect.ts'
import type { Market } from './market.ts'

/**
 * Terms. A *market* is the truth of one symbol. A *stream* is what a client subscribes to, and a *feed* one wording of
 * it (depth, path, name), encoded once for all its subscribers. A *wire* is what one venue says of a market; what its
 * clients say, and the answers, are the player's dialect of the venue.
 */
export interface Wire {
  readonly id: string
  readonly dialect: Dialect
  /** Markets if none are named. */
  readonly symbols: readonly string[]
  readonly limits: WireLimits
  /** The market's key: the venue's name of it, in a form that is unique at the venue. Undefined: no such symbol here. */
  keyOf(symbol: string): string | undefined
  /** Asks whose frames are the same, byte for byte, have the same key. Default: channel, symbol and depth. */
  feedKey?(ask: Ask, path: string): string
  /** Undefined: the venue has no such stream (on this path). */
  open(ask: Ask, path: string, markets: Markets): Stream | undefined
  /** A bad ask is acknowledged like a good one, and then nothing is sent. */
  readonly acknowledgesAll?: boolean
  /** Undefined: not found. */
  rest(request: RestRequest): RestAnswer | undefined
}

export interface Markets {
  readonly all: readonly Market[]
  /** By the venue's key; not one that the venue does not know any more (`bad-symbol`). */
  find(key: string): Market | undefined
}

export interface Stream {
  /** Whose steps it tells. */
  readonly markets: readonly Market[]
  /** What a new subscriber is sent at once. `market`: the market as it is, or as it was (`old-snapshot`). */
  begin?(market: Market): readonly string[]
  /** What the market's last step says. */
  step(market: Market, emit: (frame: string) => void): void
}

export interface RestRequest {
  readonly path: string
  readonly query: URLSearchParams
  readonly markets: Markets
  /** The market as books are to be told of it: as it is, or as it was (`old-snapshot`). */
  bookOf(market: Market): Market
}

export interface RestAnswer {
  readonly status?: number
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface Rate {
  readonly count: number
  readonly perMs: number
}

export interface WireLimits {
  /** Messages of a client on one connection. */
  readonly messages?: Rate
  /** Requests to subscribe or unsubscribe on one connection. */
  readonly subscribes?: Rate
  readonly streamsPerConnection?: number
  asksPerMessage?(path: string): number
  readonly connects?: Rate & { readonly status?: number }
  /** A connection that asked for nothing so long is closed. */
  readonly subscribeWithinMs?: number
  /** A connection on which the client said nothing, and was sent nothing, for so long is closed. */
  readonly idleMs?: number
  readonly rest?: Rate & { readonly status?: number; weigh?(path: string, query: URLSearchParams): number }
  /** The venue pings, and closes the connection that leaves pings unanswered for so long. */
  readonly pings?: { readonly everyMs: number; readonly silentMs: number }
  /** What a client is told that exceeds a limit; nothing to tell: it is disconnected. */
  excess?(limit: LimitName, message: unknown): readonly string[]
}

export type LimitName =
  | 'messages'
  | 'subscribes'
  | 'streams'
  | 'asks-per-message'
  | 'connects'
  | 'retry-after'
  | 'subscribe-deadline'
  | 'idle'
  | 'rest'

const FOLDER = new URL('./venues/', import.meta.url)
const NAME = /^([a-z0-9-]+)(?<!\.d)\.[jt]s$/

/** Every venue there is. */
export async function wireNames(): Promise<string[]> {
  return (await readdir(FOLDER)).flatMap((file) => NAME.exec(file)?.[1] ?? []).sort()
}

/** The venue's wire, new. Rejects with `bad-request` and what is accepted. */
export async function loadWire(id: string): Promise<Wire> {
  const file = (await readdir(FOLDER)).find((name) => NAME.exec(name)?.[1] === id)
  if (file === undefined)
    throw new FeedgateError(
      'bad-request',
      `venue is ${JSON.stringify(id)}: accepted are ${(await wireNames()).join(', ')}`,
    )
  const module = (await import(new URL(file, FOLDER).href)) as { createWire(): Wire }
  return module.createWire()
}
