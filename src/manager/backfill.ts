import { setTimeout as delay } from 'node:timers/promises'
import type { DecodedEvent, FetchedTrades, TradesWanted } from '../connectors/connector.ts'
import type { Gap } from '../market/event.ts'

/** Requests of one topic that wait for their turn; what comes beyond them is asked for together with the last. */
const MAX_WAITING = 16
/** Holes of one request; what comes beyond them stays a hole. */
const MAX_TOGETHER = 1_000
/** A venue that does not answer, or has not yet what is wanted, is asked again, ever more slowly, so often. */
const ATTEMPTS = 6

export type FetchTrades = (wanted: TradesWanted, signal: AbortSignal) => Promise<FetchedTrades>

/** Where a repair delivers. */
export interface BackfillTarget {
  /** Publishes a trade if it is new. */
  trade(trade: DecodedEvent): void
  /** Is all that the gap told of there, as far as can be known? */
  isWhole(gap: Gap): boolean
  /** It is. */
  repaired(gap: Gap): void
}

/** Holes in a row, and what lies between the trade before the first and the one behind the last. */
interface Holes {
  readonly gaps: Gap[]
  wanted: TradesWanted
}

/** Asks the venue for the trades of a topic's holes, one request at a time, while the stream goes on. */
export class Backfill {
  readonly #fetch: FetchTrades
  readonly #retryMs: number
  readonly #target: BackfillTarget
  readonly #waiting: Holes[] = []
  readonly #ended = new AbortController()
  #running = false

  /** `retryMs`: before the second attempt. */
  constructor(fetch: FetchTrades, retryMs: number, target: BackfillTarget) {
    this.#fetch = fetch
    this.#retryMs = retryMs
    this.#target = target
  }

  /** The gap has been told already: whatever becomes of this, it stands until it is repaired. */
  repair(gap: Gap, wanted: TradesWanted): void {
    const last = this.#waiting.at(-1)
    if (last && this.#waiting.length >= MAX_WAITING) {
      if (last.gaps.length >= MAX_TOGETHER) return
      last.gaps.push(gap)
      const { untilId, ...since } = last.wanted
      const { untilTime } = wanted
      last.wanted = { ...since, untilTime, ...(wanted.untilId !== undefined && { untilId: wanted.untilId }) }
      return
    }
    this.#waiting.push({ gaps: [gap], wanted })
    if (!this.#running) void this.#run()
  }

  close(): void {
    this.#ended.abort()
    this.#waiting.length = 0
  }

  async #run(): Promise<void> {
    this.#running = true
    for (let holes = this.#waiting[0]; holes; holes = this.#waiting[0]) {
      await this.#repairPatiently(holes)
      if (this.#ended.signal.aborted) return
      this.#waiting.shift()
    }
    this.#running = false
  }

  async #repairPatiently({ gaps, wanted }: Holes): Promise<void> {
    const { signal } = this.#ended
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (attempt > 0)
        await delay(this.#retryMs * 2 ** (attempt - 1), undefined, { signal }).catch(() => undefined)
      // A venue that does not answer, refuses for now or is late may have them at the next attempt.
      const fetched = await this.#fetch(wanted, signal).catch(() => undefined)
      if (signal.aborted) return
      for (const trade of fetched?.trades ?? []) this.#target.trade(trade)
      if (fetched && !fetched.complete) return
      if (fetched && gaps.every((gap) => this.#target.isWhole(gap))) {
        for (const gap of gaps) this.#target.repaired(gap)
        return
      }
    }
  }
}
