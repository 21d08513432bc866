/** Acts when asked, at once or later, so that between two acts there is at least a time. */
export class Spacing {
  readonly #ms: number
  readonly #act: () => void
  #timer: NodeJS.Timeout | undefined
  #actedAt = Number.NEGATIVE_INFINITY

  constructor(ms: number, act: () => void) {
    this.#ms = ms
    this.#act = act
  }

  ask(): void {
    this.#timer ??= setTimeout(
      () => this.actNow(),
      Math.max(0, Math.ceil(this.#actedAt + this.#ms - performance.now())),
    )
  }

  actNow(): void {
    this.close()
    this.#actedAt = performance.now()
    this.#act()
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
