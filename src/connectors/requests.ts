import { type Subscription, subscriptionKey } from './connector.ts'
import type { Venue } from './venue.ts'

type Act = 'subscribe' | 'unsubscribe'

interface Wish {
  readonly act: Act
  readonly subscription: Subscription
  /** In a message of its own: it was in one that the venue refused as a whole. */
  readonly alone: boolean
}

/** Requests without an answer that are remembered; beyond it the oldest is forgotten, and its answer then ignored. */
const MAX_UNANSWERED = 1_000

/** What a connection has to ask of its venue, in messages no larger than it allows, and what each answer is about. */
export class Requests {
  readonly #venue: Venue
  /** Bounded by the subscriptions of a connection: the manager asks for each again only after an answer or a time-out. */
  readonly #wishes: Wish[] = []
  readonly #unanswered = new Map<number, readonly Subscription[]>()
  /** What was asked for and not given up or refused; bounded as the wishes are. */
  readonly #held = new Map<string, Subscription>()
  #id = 0

  constructor(venue: Venue) {
    this.#venue = venue
  }

  nextId(): number {
    return ++this.#id
  }

  get isEmpty(): boolean {
    return this.#wishes.length === 0
  }

  add(act: Act, subscriptions: readonly Subscription[]): void {
    for (const subscription of subscriptions) this.#wishes.push({ act, subscription, alone: false })
  }

  /** The frames of the next request; empty: there is nothing to say, now or about it. */
  next(): string[] {
    const first = this.#wishes[0]
    if (!first) return []
    let count = 1
    const most = first.alone ? 1 : this.#venue.limits.subscriptionsPerMessage
    while (count < most && this.#wishes[count]?.act === first.act && !this.#wishes[count]?.alone) count++
    const batch = this.#wishes.splice(0, count).map((wish) => wish.subscription)
    const id = this.nextId()
    for (const subscription of batch) this.#held.delete(subscriptionKey(subscription))
    const held = [...this.#held.values()]
    if (first.act === 'unsubscribe') return [...this.#venue.unsubscribe(batch, id, held)]
    for (const subscription of batch) this.#held.set(subscriptionKey(subscription), subscription)
    this.#unanswered.set(id, batch)
    if (this.#unanswered.size > MAX_UNANSWERED)
      this.#unanswered.delete(this.#unanswered.keys().next().value as number)
    return [...this.#venue.subscribe(batch, id, held)]
  }

  /** The subscriptions that an acknowledgement is about. */
  acknowledged(answer: { requestId?: number; subscription?: Subscription }): readonly Subscription[] {
    if (answer.subscription) {
      this.#settle(answer.subscription)
      return [answer.subscription]
    }
    return answer.requestId === undefined ? [] : this.#take(answer.requestId)
  }

  /**
   * The subscriptions that a refusal is about: a venue may name one by its symbol alone, and then only what still waits
   * for an answer is meant. When it names none and was given to a message of several, each of them is
   * asked for again alone, and the bad one is told by its own refusal.
   */
  refused(answer: { requestId?: number; subscription?: Subscription }): readonly Subscription[] {
    if (answer.subscription) {
      if (!this.#settle(answer.subscription)) return []
      this.#held.delete(subscriptionKey(answer.subscription))
      return [answer.subscription]
    }
    // A venue that names not even the request answers in order.
    const id = answer.requestId ?? this.#unanswered.keys().next().value
    const batch = id === undefined ? [] : this.#take(id)
    for (const subscription of batch) this.#held.delete(subscriptionKey(subscription))
    if (batch.length <= 1) return batch
    for (const subscription of batch) this.#wishes.push({ act: 'subscribe', subscription, alone: true })
    return []
  }

  /** What a refusal of one request too many is about is asked for again. */
  postpone(answer: { requestId?: number }): void {
    const id = answer.requestId ?? this.#unanswered.keys().next().value
    const batch = id === undefined ? [] : this.#take(id)
    for (const subscription of batch) this.#held.delete(subscriptionKey(subscription))
    this.#wishes.unshift(
      ...batch.map((subscription) => ({ act: 'subscribe', subscription, alone: false }) as const),
    )
  }

  #take(id: number): readonly Subscription[] {
    const batch = this.#unanswered.get(id) ?? []
    this.#unanswered.delete(id)
    return batch
  }

  /** False: it waits for no answer. */
  #settle(subscription: Subscription): boolean {
    const key = subscriptionKey(subscription)
    for (const [id, batch] of this.#unanswered) {
      if (!batch.some((one) => subscriptionKey(one) === key)) continue
      const rest = batch.filter((one) => subscriptionKey(one) !== key)
      if (rest.length > 0) this.#unanswered.set(id, rest)
      else this.#unanswered.delete(id)
      return true
    }
    return false
  }
}
