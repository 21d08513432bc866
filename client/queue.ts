import { FeedgateError } from './closing.ts'
import { type AnyEvent, conflationKey, topicOf } from './events.ts'

/** An event keeps its place in its topic; other items just theirs. */
type Item = { readonly type: string }
interface Waiter<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void
  readonly reject: (error: unknown) => void
}

/**
 * What waits for a `for await`. Bounded: when full, the newest value of a key stands for older ones (marked
 * `conflated`); where that frees nothing, as of trades and books, the stream ends with an error.
 */
export class Queue<T extends Item> implements AsyncIterator<T, undefined> {
  readonly #limit: number
  #items: T[] = []
  /** Items before it are taken. */
  #head = 0
  #waiters: Waiter<T>[] = []
  #ended = false
  #error: FeedgateError | undefined
  readonly #left: () => void

  /** `left`: the loop was left, or the queue overflowed. */
  constructor(limit: number, left: () => void) {
    this.#limit = limit
    this.#left = left
  }

  put(item: T): void {
    if (this.#ended) return
    const waiter = this.#waiters.shift()
    if (waiter) waiter.resolve({ value: item, done: false })
    else {
      if (this.#items.length - this.#head >= this.#limit) this.#conflate(item)
      if (!this.#ended) this.#items.push(item)
    }
  }

  /** What waits is still given. */
  end(error?: FeedgateError): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    for (const waiter of this.#waiters.splice(0)) this.#settle(waiter)
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve, reject) => {
      if (this.#head < this.#items.length) resolve({ value: this.#take(), done: false })
      else if (this.#ended) this.#settle({ resolve, reject })
      else this.#waiters.push({ resolve, reject })
    })
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#items = []
    this.#head = 0
    this.end()
    this.#left()
    return Promise.resolve({ value: undefined, done: true })
  }

  #take(): T {
    const item = this.#items[this.#head++]!
    if (this.#head > 1_000 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  /** The error is told once. */
  #settle({ resolve, reject }: Waiter<T>): void {
    const error = this.#error
    this.#error = undefined
    if (error) reject(error)
    else resolve({ value: undefined, done: true })
  }

  #conflate(next: T): void {
    const newest = new Set<string>()
    const replaced = new Set<string>()
    const kept: T[] = []
    const nextKey = keyOf(next)
    if (nextKey !== undefined) newest.add(nextKey)
    for (let at = this.#items.length - 1; at >= this.#head; at--) {
      const item = this.#items[at]!
      const key = keyOf(item)
      if (key === undefined || !newest.has(key)) kept.push(item)
      else replaced.add(key)
      if (key !== undefined) newest.add(key)
    }
    this.#items = kept.reverse().map((item) => {
      const key = keyOf(item)
      return key !== undefined && replaced.has(key) ? { ...item, conflated: true } : item
    })
    this.#head = 0
    if (kept.length < this.#limit) return
    this.end(
      new FeedgateError(0, 'slow-consumer', `more than ${this.#limit} events waited: the loop is too slow`),
    )
    this.#left()
  }
}

function keyOf(item: Item): string | undefined {
  if (!('seq' in item)) return undefined
  const event = item as AnyEvent
  const key = conflationKey(event)
  return key === undefined ? undefined : `${topicOf(event)}|${key}`
}
