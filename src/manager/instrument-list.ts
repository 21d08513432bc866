import type { Instrument } from '../connectors/connector.ts'

const RETRY_MS = 300_000
const REFRESH_MS = 3_600_000

/** What a venue lists, asked for in the background, again and again: the list grows, and everything works without it. */
export class InstrumentList {
  /** Undefined while no list is known. */
  items: readonly Instrument[] | undefined
  readonly #fetch: (signal: AbortSignal) => Promise<readonly Instrument[]>
  readonly #learned: (error?: Error) => void
  readonly #ended = new AbortController()
  #symbols: ReadonlySet<string> | undefined
  #timer: NodeJS.Timeout | undefined

  /** `learned`: there is a new list, or none could be had. */
  constructor(
    fetch: (signal: AbortSignal) => Promise<readonly Instrument[]>,
    learned: (error?: Error) => void,
  ) {
    this.#fetch = fetch
    this.#learned = learned
  }

  /** Is there a list, and the symbol not on it? */
  lacks(symbol: string): boolean {
    return this.#symbols !== undefined && !this.#symbols.has(symbol)
  }

  start(): void {
    void this.#learn()
  }

  close(): void {
    this.#ended.abort()
    clearTimeout(this.#timer)
  }

  async #learn(): Promise<void> {
    let againMs = REFRESH_MS
    try {
      this.items = await this.#fetch(this.#ended.signal)
      this.#symbols = new Set(this.items.map((instrument) => instrument.symbol))
      this.#learned()
    } catch (error) {
      againMs = RETRY_MS
      this.#learned(error as Error)
    }
    if (this.#ended.signal.aborted) return
    this.#timer = setTimeout(() => void this.#learn(), againMs)
  }
}
