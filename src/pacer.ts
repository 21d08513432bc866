/** Acts arrive at a venue later than they are made, and not all equally late: by so much at most. */
const TRAVEL_MS = 500

/** Keeps acts within a limit as the venue counts them. */
export function venuePacer({ count, perMs }: { readonly count: number; readonly perMs: number }): Pacer {
  return new Pacer(count, perMs + TRAVEL_MS)
}

/** Keeps acts within a limit of others: at most `count` (or `count` of weight) in any `perMs`. */
export class Pacer {
  readonly #count: number
  readonly #perMs: number
  readonly #clock: () => number
  /** Oldest first; bounded by `count`. */
  readonly #acts: { at: number; weight: number }[] = []
  #spent = 0

  /** `clock`: monotonic ms. */
  constructor(count: number, perMs: number, clock: () => number = () => performance.now()) {
    this.#count = count
    this.#perMs = perMs
    this.#clock = clock
  }

  /** How long to wait until an act of this weight is allowed, ms; 0: now. What weighs more than all is let through alone. */
  waitMs(weight = 1): number {
    const now = this.#clock()
    this.#forget(now)
    let free = this.#count - this.#spent
    if (free >= weight || this.#acts.length === 0) return 0
    for (const act of this.#acts) {
      free += act.weight
      if (free >= weight) return Math.max(1, Math.ceil(act.at + this.#perMs - now))
    }
    return Math.max(1, Math.ceil(this.#acts.at(-1)!.at + this.#perMs - now))
  }

  /**
   * An act happened, whether or not it was allowed. The answer may be called when it is known to have arrived at the venue,
   * which counts it from then on.
   */
  spend(weight = 1): () => void {
    const now = this.#clock()
    this.#forget(now)
    const act = { at: now, weight }
    this.#acts.push(act)
    this.#spent += weight
    return () => {
      const at = this.#acts.indexOf(act)
      if (at >= 0) this.#acts.splice(at, 1)
      else this.#spent += weight
      act.at = this.#clock()
      this.#acts.push(act)
    }
  }

  #forget(now: number): void {
    while (this.#acts.length > 0 && this.#acts[0]!.at + this.#perMs <= now)
      this.#spent -= this.#acts.shift()!.weight
  }
}
