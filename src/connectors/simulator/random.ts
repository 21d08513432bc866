const SQRT_3 = Math.sqrt(3)

/**
 * A small seeded generator (Chris Doty-Humphrey's sfc32): the same seed text gives the same numbers on every machine.
 * Only integer and exactly rounded operations are used; nothing here is fit for secrets.
 */
export class Random {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: string) {
    this.#a = hash(seed, 0x811c9dc5)
    this.#b = hash(seed, 0x9e3779b9)
    this.#c = hash(seed, 0x85ebca6b)
    for (let i = 0; i < 12; i++) this.uint32()
  }

  uint32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  /** From 0 to 1, 1 excluded. */
  unit(): number {
    return this.uint32() / 0x1_0000_0000
  }

  /** An integer from `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.unit() * (high - low + 1))
  }

  chance(probability: number): boolean {
    return this.unit() < probability
  }

  /** Bell-shaped, mean 0, standard deviation 1: a sum of uniforms, since Math.log may differ between machines. */
  normal(): number {
    return (this.unit() + this.unit() + this.unit() + this.unit() - 2) * SQRT_3
  }

  pick<T>(from: readonly T[]): T {
    return from[this.integer(0, from.length - 1)] as T
  }
}

/** FNV-1a with a final mix, 32 bits, unsigned. */
export function hash(text: string, basis = 0x811c9dc5): number {
  let h = basis | 0
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d)
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b)
  return (h ^ (h >>> 16)) >>> 0
}
