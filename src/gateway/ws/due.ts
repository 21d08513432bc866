import type { View, ViewItem } from './view.ts'

export interface DueItem {
  readonly item: ViewItem
  /** It stands for older ones that were not sent. */
  readonly conflated: boolean
}

/**
 * What waits for one client, in the order of the newest of each slot, so that `seq` grows inside a topic. Thinned, a
 * later state or delta replaces the one that waits, and of events, which are never replaced, the newest `maxEvents`
 * stay.
 */
export class DueItems {
  readonly #maxEvents: number
  readonly #items = new Map<string | number, DueItem>()
  /** Keys of the events, oldest first. */
  #events: number[] = []
  #lastKey = 0
  /** Bytes that wait. */
  bytes = 0
  /** Since the last `take`: states and deltas replaced, events dropped, and the topics of both. */
  replaced = 0
  dropped = 0
  replacedIn = new Set<View>()
  droppedIn = new Set<View>()

  constructor(maxEvents: number) {
    this.#maxEvents = maxEvents
  }

  get size(): number {
    return this.#items.size
  }

  put(item: ViewItem, thin: boolean): void {
    this.bytes += item.body.length
    if (!thin || item.slot === undefined) {
      this.#items.set(++this.#lastKey, { item, conflated: false })
      if (thin && this.#events.push(this.#lastKey) > this.#maxEvents) this.#dropOldest()
      return
    }
    const slot = `${item.view.id}|${item.slot}`
    const waiting = this.#items.get(slot)
    if (waiting) {
      this.bytes -= waiting.item.body.length
      this.#items.delete(slot)
      this.replaced++
      this.replacedIn.add(item.view)
    }
    this.#items.set(slot, { item, conflated: waiting !== undefined })
  }

  #dropOldest(): void {
    const key = this.#events.shift()!
    const { item } = this.#items.get(key)!
    this.#items.delete(key)
    this.bytes -= item.body.length
    this.dropped++
    this.droppedIn.add(item.view)
  }

  /** Nothing more of this view goes out. */
  forget(view: View): void {
    for (const [key, { item }] of this.#items) {
      if (item.view !== view) continue
      this.#items.delete(key)
      this.bytes -= item.body.length
    }
    this.#events = this.#events.filter((key) => this.#items.has(key))
    this.replacedIn.delete(view)
    this.droppedIn.delete(view)
  }

  take(): DueItem[] {
    const items = [...this.#items.values()]
    this.#items.clear()
    this.#events = []
    this.bytes = this.replaced = this.dropped = 0
    this.replacedIn = new Set()
    this.droppedIn = new Set()
    return items
  }
}
