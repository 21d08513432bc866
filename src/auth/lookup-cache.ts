interface Entry<V> {
  readonly value: Promise<V>
  readonly until: number
}

/**
 * Answers of a slow place, kept for a short time: what is asked many times at once is looked up once, and "there is
 * none" is an answer too. Bounded: when it is full the oldest answer goes, and is looked up again if asked for.
 */
export class LookupCache<V> {
  readonly #entries = new Map<string, Entry<V>>()
  readonly #limit: number
  readonly #keepMs: number
  readonly #now: () => number

  constructor(limit: number, keepMs: number, now: () => number) {
    this.#limit = limit
    this.#keepMs = keepMs
    this.#now = now
  }

  /** A failure is told to all who waited for it and not kept. */
  get(key: string, load: () => Promise<V>): Promise<V> {
    const known = this.#entries.get(key)
    if (known && known.until > this.#now()) return known.value
    const entry: Entry<V> = { value: load(), until: this.#now() + this.#keepMs }
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    if (this.#entries.size > this.#limit) this.#entries.delete(this.#entries.keys().next().value!)
    entry.value.catch(() => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key)
    })
    return entry.value
  }

  /** Whoever asks from now on gets a new look-up, even if an older one is still under way. */
  delete(key: string): void {
    this.#entries.delete(key)
  }
}
