import { setTimeout as delay } from 'node:timers/promises'
import { FeedgateError } from '../errors.ts'
import { type Pacer, venuePacer } from '../pacer.ts'
import type { Limit } from './venue.ts'

const TIMEOUT_MS = 10_000
/** The largest answer known, an instrument list, has 20 MB. */
const MAX_BYTES = 64 * 1024 * 1024
/** What a venue that refuses us without a Retry-After gets. */
const DEFAULT_RETRY_AFTER_MS = 10_000
/** Nobody is obeyed for longer: a wrong header must not end a source. */
const MAX_RETRY_AFTER_MS = 24 * 3_600_000

/** A request that can wait is made again at most so often after a 429. */
const MAX_TRIES = 3
/** At its turn a request waits no longer: a little more than the longest period of a limit. */
const MAX_WAIT_MS = 65_000
/** Of those that wait for their turn so many at once: a thousand books must not be a thousand connections. */
const MAX_UNDER_WAY = 10

/** Of the limit, what is asked for again and again takes so much at most: snapshots and missed trades have the rest. */
const POLL_SHARE = 0.5

/** REST requests to one host: within its weight limit, and silent for as long as it asked us to be. */
export class RestClient {
  readonly #origin: string
  readonly #budget: Pacer | undefined
  /** Between polls, for each unit of weight, ms. */
  readonly #pollSpacingMs: number
  /** Monotonic ms. */
  #nextPollAt = 0
  #silentUntil = 0
  /** Ends when the last that waits for its turn has begun. Bounded by the topics: each has one request at a time. */
  #line: Promise<unknown> = Promise.resolve()
  /** At most `MAX_UNDER_WAY`. */
  readonly #underWay = new Set<Promise<unknown>>()

  constructor(baseUrl: string, limit?: Limit) {
    this.#origin = baseUrl.replace(/\/+$/, '')
    if (limit) this.#budget = venuePacer(limit)
    this.#pollSpacingMs = limit ? limit.perMs / (limit.count * POLL_SHARE) : 0
  }

  urlOf(path: string): string {
    return this.#origin + path
  }

  /** How long a poll of this weight has to wait, ms. */
  pollWaitMs(weight: number): number {
    return Math.max(this.#waitMs(weight), this.#nextPollAt - performance.now(), 0)
  }

  /** As `getInTurn`, for what is asked for again and again. The polls of all sources of the host are spread evenly. */
  poll(path: string, weight: number, signal: AbortSignal): Promise<string | undefined> {
    this.#nextPollAt = performance.now() + weight * this.#pollSpacingMs
    return this.getInTurn(path, weight, signal)
  }

  /** As `getInTurn`, and in turn again when it is refused for now. */
  async getPatiently(path: string, weight: number, signal: AbortSignal): Promise<string | undefined> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.getInTurn(path, weight, signal)
      } catch (error) {
        const { retryAfterMs = Number.POSITIVE_INFINITY } = error as Partial<FeedgateError>
        if (retryAfterMs > MAX_WAIT_MS || tries === MAX_TRIES) throw error
      }
    }
  }

  /**
   * As `get`, but waits until those that came before have begun and the limit allows it. Rejects when the venue wants no
   * requests for long, and when `signal` says so.
   */
  getInTurn(path: string, weight: number, signal: AbortSignal): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      const leave = () => reject(signal.reason)
      signal.addEventListener('abort', leave, { once: true })
      const turn = async () => {
        await this.#wait(weight, signal)
        const answer = this.get(path, weight, signal)
        resolve(answer)
        await this.#room(answer)
      }
      this.#line = this.#line
        .then(turn)
        .catch(reject)
        .finally(() => signal.removeEventListener('abort', leave))
    })
  }

  async #wait(weight: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    for (let waitMs = this.#waitMs(weight); waitMs > 0; waitMs = this.#waitMs(weight)) {
      if (waitMs > MAX_WAIT_MS) throw this.#limited(waitMs)
      await delay(waitMs, undefined, { signal })
    }
  }

  async #room(answer: Promise<unknown>): Promise<void> {
    const settled = answer.catch(() => {}).finally(() => this.#underWay.delete(settled))
    this.#underWay.add(settled)
    if (this.#underWay.size >= MAX_UNDER_WAY) await Promise.race(this.#underWay)
  }

  /**
   * The body, or undefined for 404. Rejects with `venue-unavailable` (with `retryAfterMs` where waiting helps) and, when
   * the venue calls the request wrong (400), with `unknown-symbol`.
   */
  async get(path: string, weight: number, signal: AbortSignal): Promise<string | undefined> {
    const waitMs = this.#waitMs(weight)
    if (waitMs > 0) throw this.#limited(waitMs)
    const arrived = this.#budget?.spend(weight)
    const response = await this.#fetch(path, signal).finally(arrived)
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
