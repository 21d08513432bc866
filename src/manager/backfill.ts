import { setTimeout as delay } from 'node:timers/promises'
import type { DecodedEvent, FetchedTrades, TradesWanted } from '../connectors/connector.ts'
import type { Gap } from '../market/event.ts'

/** Holes of one topic that wait for their turn; what comes beyond them stays a hole. */
const MAX_WAITING = 16
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

interface Hole {
  readonly gap: Gap
  readonly wanted: TradesWanted
}

/** Asks the venue for the trades of a topic's holes, one hole at a time, while the stream goes on. */
export class Backfill {
  readonly #fetch: FetchTrades
  readonly #retryMs: number
  readonly #target: BackfillTarget
  readonly #waiting: Hole[] = []
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
    if (this.#waiting.length >= MAX_WAITING) return
    this.#waiting.push({ gap, wanted })
    if (!this.#running) void this.#run()
  }

  close(): void {
    this.#ended.abort()
    this.#waiting.length = 0
  }

  async #run(): Promise<void> {
    this.#running = true
    for (let hole = this.#waiting[0]; hole; hole = this.#waiting[0]) {
      await this.#repairPatiently(hole)
      if (this.#ended.signal.aborted) return
      this.#waiting.shift()
    }
    this.#running = false
  }

  async #repairPatiently({ gap, wanted }: Hole): Promise<void> {
    const { signal } = this.#ended
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (attempt > 0)
        await delay(this.#retryMs * 2 ** (attempt - 1), undefined, { signal }).catch(() => undefined)
      // A venue that does not answer, refuses for now or is late may have them at the next attempt.
      const fetched = await this.#fetch(wanted, signal).catch(() => undefined)
      if (signal.aborted) return
      for (const trade of fetched?.trades ?? []) this.#target.trade(trade)
      if (fetched && !fetched.complete) return
      if (fetched && this.#target.isWhole(gap)) {
        this.#target.repaired(gap)
        return
      }
    }
  }
}
