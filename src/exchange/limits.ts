import { Pacer } from '../pacer.ts'
import type { Client } from './client.ts'
import type { LimitName, Rate, RestRequest, WireLimits } from './wire.ts'

/** Violations that are remembered; those beyond are only counted. */
const MAX_REMEMBERED = 1_000

/** What was on its way when a client was told to wait cannot know of it. */
const ON_ITS_WAY_MS = 250

export type Door = 'handshake' | 'rest'

export interface Violation {
  readonly limit: LimitName
  /** Number of the connection; absent where there is none. */
  readonly connection?: number
  /** Epoch ms. */
  readonly at: number
  readonly detail: string
}

/** A venue's limits: kept, or not kept, by all its clients. */
export class Limits {
  readonly violations: Violation[] = []
  count = 0
  readonly #limits: WireLimits
  readonly #connects: Pacer | undefined
  readonly #rest: Pacer | undefined
  /** Since when everybody has to wait there, and until when; monotonic ms. */
  readonly #told: Record<Door, { at: number; until: number }> = {
    handshake: { at: 0, until: 0 },
    rest: { at: 0, until: 0 },
  }

  constructor(limits: WireLimits) {
    this.#limits = limits
    const pacer = (rate: Rate | undefined) => rate && new Pacer(rate.count, rate.perMs)
    this.#connects = pacer(limits.connects)
    this.#rest = pacer(limits.rest)
  }

  violated(limit: LimitName, detail: string, client?: Client): void {
    this.count++
    if (this.violations.length >= MAX_REMEMBERED) return
    this.violations.push({ limit, at: Date.now(), detail, ...(client && { connection: client.id }) })
  }

  /** Somebody comes: sooner than was said? */
  comes(door: Door): void {
    const time = performance.now()
    const { at, until } = this.#told[door]
    if (time > at + ON_ITS_WAY_MS && time < until)
      this.violated('retry-after', `${door} ${Math.round(until - time)} ms too soon`)
  }

  tellToWait(door: Door, retryAfterS: number): void {
    const time = performance.now()
    const { at, until } = this.#told[door]
    this.#told[door] = {
      at: time < until ? at : time,
      until: Math.max(until, time + retryAfterS * 1_000),
    }
  }

  /** What to refuse a handshake with, if it is one too many. */
  connect(): { readonly status: number; readonly retryAfterS: number } | undefined {
    const waitMs = this.#connects?.waitMs() ?? 0
    this.#connects?.spend()
    if (waitMs === 0) return undefined
    this.violated('connects', `the next is allowed in ${waitMs} ms`)
    return { status: this.#limits.connects?.status ?? 429, retryAfterS: Math.ceil(waitMs / 1_000) }
  }

  message(client: Client): LimitName | undefined {
    return this.#spend(client, client.messages, 'messages')
  }

  subscribe(client: Client, asks: number, subscribing: boolean): LimitName | undefined {
    const late = this.#spend(client, client.subscribes, 'subscribes')
    if (late) return late
    const { streamsPerConnection = Number.POSITIVE_INFINITY } = this.#limits
    if (asks > (this.#limits.asksPerMessage?.(client.path) ?? asks))
      return this.#exceeded(client, 'asks-per-message', asks)
    if (subscribing && client.asks.size + asks > streamsPerConnection)
      return this.#exceeded(client, 'streams', client.asks.size + asks)
    return undefined
  }

  /** Seconds to wait, if the request is one too many. */
  rest({ path, query }: Pick<RestRequest, 'path' | 'query'>): number | undefined {
    const weight = this.#limits.rest?.weigh?.(path, query) ?? 1
    const waitMs = this.#rest?.waitMs(weight) ?? 0
    this.#rest?.spend(weight)
    if (waitMs === 0) return undefined
    this.violated('rest', path)
    return Math.ceil(waitMs / 1_000)
  }

  #spend(client: Client, pacer: Pacer | undefined, limit: LimitName): LimitName | undefined {
    const waitMs = pacer?.waitMs() ?? 0
    pacer?.spend()
    return waitMs === 0 ? undefined : this.#exceeded(client, limit, `the next is allowed in ${waitMs} ms`)
  }

  #exceeded(client: Client, limit: LimitName, detail: string | number): LimitName {
    this.violated(limit, String(detail), client)
    return limit
  }
}
