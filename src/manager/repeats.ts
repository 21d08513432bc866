import type { Micros } from '../market/event.ts'

/**
 * Tells which trades without ids are those that came before: some venues send their last ones again with every
 * subscription. They come in the order of their times, so what is older than the newest came before, and what is as old
 * if it says the same.
 */
export class Repeats {
  #newest: Micros | undefined
  /** What the trades of that time say. Bounded by what a venue sells in a microsecond. */
  #said: string[] = []
  /** Of them, those that were said again. */
  #again: string[] = []
  #expected = false
  #repeated = false

  /** A subscription was answered: what follows may be a repeat. */
  expect(): void {
    this.#expected = this.#newest !== undefined
    this.#repeated = false
    this.#again = []
  }

  /** `text`: what the trade says besides its time. */
  isRepeat(time: Micros, text: string): boolean {
    const newest = this.#newest ?? 0
    if (this.#expected && (time < newest || (time === newest && this.#isSaidAgain(text)))) {
      this.#repeated = true
      return true
    }
    if (time > newest) {
      if (this.#repeated) this.#expected = false
      this.#newest = time
      this.#said = []
      this.#again = []
    }
    if (time >= newest) this.#said.push(text)
    return false
  }

  #isSaidAgain(text: string): boolean {
    const times = (list: readonly string[]) => list.filter((one) => one === text).length
    if (times(this.#again) >= times(this.#said)) return false
    this.#again.push(text)
    return true
  }
}
