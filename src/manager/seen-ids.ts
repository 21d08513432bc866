/** A double comes within seconds, on venues of at most a few thousand trades a second. */
export const WINDOW = 10_000
/** Of calmer markets those of two minutes, and more than a venue sends again (50): there may be thousands of them. */
const CALM_WINDOW = 128
const CALM_MS = 120_000

/** Ids that came lately: two generations of at most `WINDOW`; when the younger is full or old, the older is forgotten. */
export class SeenIds {
  #younger: Set<string>
  #older: ReadonlySet<string> = new Set()
  /** When the younger began, monotonic ms. */
  #since = performance.now()

  constructor(ids: readonly string[]) {
    this.#younger = new Set(ids)
  }

  has(id: string): boolean {
    return this.#younger.has(id) || this.#older.has(id)
  }

  /** False: it was there. */
  add(id: string): boolean {
    if (this.has(id)) return false
    this.#younger.add(id)
    const { size } = this.#younger
    const time = performance.now()
    if (size >= WINDOW || (size >= CALM_WINDOW && time - this.#since >= CALM_MS)) {
      this.#older = this.#younger
      this.#younger = new Set()
      this.#since = time
    }
    return true
  }
}
