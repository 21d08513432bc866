import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { Odds } from '../../market/event.ts'
import { Outgoing } from './outgoing.ts'
import type { Shape } from './shape.ts'
import { Spacing } from './spacing.ts'
import type { TopicFeed } from './topic-feed.ts'
import { EventView, slotOf, type View, type ViewItem } from './view.ts'

/** Keys that wait; one more and all are sent. */
const MAX_WAITING = 10_000

/**
 * A state channel of which each key is sent at most once in a while: the newest value stands for older ones. What is no
 * state (results, gaps) and closed candles wait too, in their order, and none is left out. A market of odds is never
 * held back: it leaves at once, behind the prices that were before it.
 */
export class ConflatedView extends EventView {
  /** In the order of the newest of each slot, so that `seq` grows. */
  readonly #waiting = new Map<string, { readonly event: EncodedEvent; readonly conflated: boolean }>()
  /** What was sent last, by key: whoever joins stands where the others do. No more keys than the feed has. */
  readonly #shown: Map<string, EncodedEvent>
  readonly #spacing: Spacing

  constructor(feed: TopicFeed, shape: Shape) {
    super(feed, shape)
    this.#shown = new Map(this.newest().map((event) => [event.key ?? '', event]))
    this.#spacing = new Spacing(shape.conflateMs, () => this.#send())
  }

  override latest(): readonly ViewItem[] {
    return Array.from(
      this.#shown.values(),
      (event) => new Outgoing<View>(this, event, event.receivedTime, slotOf(event), event.bytes),
    )
  }

  override take(event: EncodedEvent): void {
    const { filter } = this.shape
    if (filter && !filter.passes(event)) return
    const slot = slotOf(event) ?? `|${event.epoch}|${event.seq}`
    const conflated = this.#waiting.delete(slot)
    this.#waiting.set(slot, { event, conflated })
    if (this.#waiting.size > MAX_WAITING || isMarket(event)) this.#spacing.actNow()
    else this.#spacing.ask()
  }

  override settle(): void {
    if (this.#waiting.size > 0) this.#spacing.actNow()
  }

  override close(): void {
    this.#spacing.close()
  }

  #send(): void {
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { event, conflated } of waiting) {
      if (event.key !== undefined) {
        this.#shown.delete(event.key)
        this.#shown.set(event.key, event)
      }
      this.send(event, slotOf(event), event.bytes, conflated)
    }
    if (this.#shown.size <= this.feed.values.size) return
    for (const key of this.#shown.keys()) if (!this.feed.values.has(key)) this.#shown.delete(key)
  }
}

function isMarket({ type, payload }: EncodedEvent): boolean {
  return type === 'odds' && (payload as Odds).kind === 'market'
}
