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

  /** Items that wait. */
  get size(): number {
    return this.#items.length - this.#head
  }

  put(item: T): void {
    if (this.#ended) return
    const waiter = this.#waiters.shift()
    if (waiter) waiter.resolve({ value: item, done: false })
    else {
      const next = this.size < this.#limit ? item : this.#conflate(item)
      if (!this.#ended) this.#items.push(next)
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
      if (this.size > 0) resolve({ value: this.#take(), done: false })
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

  /** Makes room. Answers the item, marked if it stands for one that waited. */
  #conflate(next: T): T {
    const kept: T[] = []
    /** Of each key the newest, and where it is in `kept`. */
    const newest = new Map<string, number>()
    for (const item of [...this.#items.slice(this.#head), next].reverse()) {
      const key = keyOf(item)
      const at = key === undefined ? undefined : newest.get(key)
      if (at !== undefined) kept[at] = { ...kept[at]!, conflated: true }
      else {
        if (key !== undefined) newest.set(key, kept.length)
        kept.push(item)
      }
    }
    const [last = next, ...others] = kept
    this.#items = others.reverse()
    this.#head = 0
    if (this.#items.length >= this.#limit) {
      this.end(
        new FeedgateError(0, 'slow-consumer', `more than ${this.#limit} events waited: the loop is too slow`),
      )
      this.#left()
    }
    return last
  }
}

function keyOf(item: Item): string | undefined {
  if (!('seq' in item)) return undefined
  const event = item as AnyEvent
  const key = conflationKey(event)
  return key === undefined ? undefined : `${topicOf(event)}|${key}`
}
