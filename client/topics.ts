import type { AnyEvent, Hole, Position } from './events.ts'
import type { Wanted } from './subscription.ts'

/** What is known of a topic that comes. */
export interface TopicState {
  readonly topic: string
  /** Absent until its first event, and after it was let go. */
  position?: Position | undefined
  /** Events of before are on their way still: the topic was asked for anew. */
  held: boolean
  /** The last event, for who comes later. */
  latest?: AnyEvent
  /** Times that it was asked for anew without a quiet time between, and the last of them. */
  repairs: number
  repairedAt: number
  takers: readonly Wanted[]
}

/**
 * Where the client stands in each topic, which is what it resumes by. Bounded by the topics that the gateway sends, and
 * those go when nobody wants them.
 */
export class Topics {
  readonly #topics = new Map<string, TopicState>()
  #wanted: readonly Wanted[] = []

  /** From now on these decide who takes what. */
  want(wanted: Iterable<Wanted>): void {
    this.#wanted = [...wanted]
    for (const state of this.#topics.values()) {
      state.takers = this.#takersOf(state.topic)
      if (state.takers.length === 0) this.#topics.delete(state.topic)
    }
  }

  get(topic: string): TopicState | undefined {
    return this.#topics.get(topic)
  }

  /** Undefined: nobody wants it. */
  of(topic: string): TopicState | undefined {
    const known = this.#topics.get(topic)
    if (known) return known
    const takers = this.#takersOf(topic)
    if (takers.length === 0) return undefined
    const state: TopicState = { topic, held: false, repairs: 0, repairedAt: 0, takers }
    this.#topics.set(topic, state)
    return state
  }

  *[Symbol.iterator](): Iterator<TopicState> {
    yield* this.#topics.values()
  }

  #takersOf(topic: string): Wanted[] {
    return this.#wanted.filter(({ selection }) => selection.has(topic))
  }
}

/**
 * Does the event follow the one before, by what it says itself? `prevSent` names it across epochs, `prev` inside one,
 * and without either it is the one numbered before.
 */
export function holeBefore({ topic, position }: TopicState, event: AnyEvent): Hole | undefined {
  if (!position) return undefined
  const [epoch, seq] = position
  const { prevSent, prev = event.seq - 1 } = event
  const joins = prevSent
    ? prevSent[0] === epoch && prevSent[1] === seq
    : event.epoch === epoch && prev === seq
  return joins ? undefined : { type: 'hole', topic, last: position, next: [event.epoch, event.seq] }
}

/** What the gateway says it sent last must have come. */
export function holeAtEnd({ topic, position }: TopicState, epoch: number, seq: number): Hole | undefined {
  if (!position || (position[0] === epoch && position[1] === seq)) return undefined
  return { type: 'hole', topic, last: position, next: [epoch, seq] }
}
