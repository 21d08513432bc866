import { setTimeout as delay } from 'node:timers/promises'
import { FeedgateError } from '../errors.ts'
import { Pacer } from '../pacer.ts'
import type { Limit } from './venue.ts'

const TIMEOUT_MS = 10_000
/** The largest answer known, an instrument list, has 20 MB. */
const MAX_BYTES = 64 * 1024 * 1024
/** What a venue that refuses us without a Retry-After gets. */
const DEFAULT_RETRY_AFTER_MS = 10_000
/** Nobody is obeyed for longer: a wrong header must not end a source. */
const MAX_RETRY_AFTER_MS = 24 * 3_600_000

/** A request that can wait is made again at most so often after a 429, and waits no longer than this at a time. */
const MAX_TRIES = 3
const MAX_WAIT_MS = 60_000

/** REST requests to one host: within its weight limit, and silent for as long as it asked us to be. */
export class RestClient {
  readonly #origin: string
  readonly #budget: Pacer | undefined
  #silentUntil = 0

  constructor(baseUrl: string, limit?: Limit) {
    this.#origin = baseUrl.replace(/\/+$/, '')
    if (limit) this.#budget = new Pacer(limit.count, limit.perMs)
  }

  /** As `get`, but waits for its turn. Rejects when that would be long, and when `signal` says so. */
  async getInTurn(path: string, weight: number, signal: AbortSignal): Promise<string | undefined> {
    for (let tries = 1; ; tries++) {
      const waitMs = this.#waitMs(weight)
      if (waitMs > MAX_WAIT_MS) throw this.#limited(waitMs)
      if (waitMs > 0) await delay(waitMs, undefined, { signal })
      try {
        return await this.get(path, weight, signal)
      } catch (error) {
        const waits = error instanceof FeedgateError && error.retryAfterMs !== undefined
        if (!waits || tries === MAX_TRIES) throw error
      }
    }
  }

  /**
   * The body, or undefined for 404. Rejects with `venue-unavailable` (with `retryAfterMs` where waiting helps) and, when
   * the venue calls the request wrong (400), with `unknown-symbol`.
   */
  async get(path: string, weight: number, signal: AbortSignal): Promise<string | undefined> {
    const waitMs = this.#waitMs(weight)
    if (waitMs > 0) throw this.#limited(waitMs)
    this.#budget?.spend(weight)
    const response = await this.#fetch(path, signal)
    if (response.ok) return await readText(response, this.#origin)
    await response.body?.cancel()
    if (response.status === 404) return undefined
    throw this.#refusal(response)
  }

  #waitMs(weight: number): number {
    return Math.max(0, Math.ceil(this.#silentUntil - performance.now()), this.#budget?.waitMs(weight) ?? 0)
  }

  #limited(retryAfterMs: number): FeedgateError {
    return new FeedgateError('venue-unavailable', `REST limit of ${this.#origin} reached`, { retryAfterMs })
  }

  async #fetch(path: string, signal: AbortSignal): Promise<Response> {
    try {
      return await fetch(this.#origin + path, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
        headers: { accept: 'application/json' },
      })
    } catch (cause) {
      throw new FeedgateError('venue-unavailable', `${this.#origin} cannot be reached: ${reasonOf(cause)}`, {
        cause,
      })
    }
  }

  #refusal(response: Response): FeedgateError {
    const message = `refused by ${this.#origin}: HTTP ${response.status}`
    if (response.status === 400) return new FeedgateError('unknown-symbol', message)
    if (response.status !== 429 && response.status !== 418)
      return new FeedgateError('venue-unavailable', message)
    const retryAfterMs = parseRetryAfter(response.headers.get('retry-after')) ?? DEFAULT_RETRY_AFTER_MS
    this.#silentUntil = performance.now() + retryAfterMs
    return new FeedgateError('venue-unavailable', message, { retryAfterMs })
  }
}

async function readText(response: Response, origin: string): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of response.body ?? []) {
      chunks.push(chunk as Uint8Array)
      size += (chunk as Uint8Array).byteLength
      if (size > MAX_BYTES) throw new Error(`the answer is longer than ${MAX_BYTES} bytes`)
    }
  } catch (cause) {
    throw new FeedgateError('venue-unavailable', `${origin} broke off its answer: ${reasonOf(cause)}`, {
      cause,
    })
  }
  return Buffer.concat(chunks).toString()
}

/** The header of 429, 418 and 503: seconds or a date. Undefined where it is absent or makes no sense. */
export function parseRetryAfter(header: string | null | undefined): number | undefined {
  if (!header) return undefined
  const ms = /^\d{1,9}(\.\d+)?$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - Date.now()
  return Number.isFinite(ms) ? Math.min(Math.max(0, Math.ceil(ms)), MAX_RETRY_AFTER_MS) : undefined
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error'
  const code = (error.cause as NodeJS.ErrnoException | undefined)?.code
  return code ?? (error.name === 'TimeoutError' ? `no answer within ${TIMEOUT_MS / 1_000} s` : error.message)
}
