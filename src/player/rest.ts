import type { Dialect } from './dialect.ts'
import type { Faults } from './faults.ts'
import type { Mirrors } from './mirror.ts'
import { answerKey, type Recording } from './recording.ts'

export interface RestAnswer {
  readonly status: number
  readonly body: string
}

/** What the venue answers to REST requests. */
export class RestDesk {
  readonly #recording: Recording
  readonly #dialects: readonly Dialect[]
  readonly #mirrors: Mirrors
  readonly #faults: Faults
  /** Requests so far, by what they ask. Bounded by what was recorded. */
  readonly #requests = new Map<string, number>()

  constructor(recording: Recording, dialects: readonly Dialect[], mirrors: Mirrors, faults: Faults) {
    this.#recording = recording
    this.#dialects = dialects
    this.#mirrors = mirrors
    this.#faults = faults
    for (const answers of recording.answers.values()) {
      const dialect = this.#dialectOf(answers[0]!.url)
      const stream = dialect?.restBook?.(answers[0]!.url)?.stream
      if (dialect?.readRestBook && stream !== undefined)
        mirrors.of(
          dialect,
          stream,
          answers.map(({ body }) => dialect.readRestBook!(body)),
        )
    }
  }

  #dialectOf(url: URL): Dialect | undefined {
    return this.#dialects.find((dialect) => dialect.restBook?.(url) !== undefined)
  }

  /** The nth recording for the nth request; then the player's own book, or for what is no book the last recording. */
  answer(url: URL): RestAnswer {
    const key = answerKey(url)
    const dialect = this.#dialectOf(url)
    if (dialect?.faults.badSymbol && this.#faults.isBad(url.searchParams.get('symbol') ?? undefined))
      return { status: 400, body: dialect.faults.badSymbol }
    const { answers: all } = this.#recording
    // A list that was recorded whole serves requests for a part of it.
    const answers = all.get(key) ?? all.get(answerKey(new URL(url.pathname, url)))
    if (!answers) return { status: 404, body: '{"error":"not in the recording"}' }
    const older = dialect?.faults.olderRestBook
    const body =
      older && this.#faults.oldBook(key)
        ? older(answers[0]!.body)
        : this.#body(
            key,
            url,
            dialect,
            answers.map((answer) => answer.body),
          )
    return { status: 200, body: dialect ? this.#faults.rewriteIds(body, dialect) : body }
  }

  #body(key: string, url: URL, dialect: Dialect | undefined, recorded: readonly string[]): string {
    const before = this.#requests.get(key) ?? 0
    this.#requests.set(key, before + 1)
    const book = dialect?.restBook?.(url)
    if (before < recorded.length || !book || !dialect?.writeRestBook)
      return recorded[Math.min(before, recorded.length - 1)]!
    const mirror = this.#mirrors.of(dialect, book.stream)
    mirror.begin()
    return dialect.writeRestBook(mirror, book.limit)
  }
}
