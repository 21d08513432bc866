import type { BookPayload, Gap, Micros, Payload } from '../market/event.ts'
import type { Topic } from '../market/topic.ts'
import type { SideName, TopicState } from './manager.ts'
import type { Patience } from './patience.ts'
import type { Hole, Output, Stamp } from './topic-writer.ts'

/**
 * A source may have two sides, A and B: two hosts that say the same. Each has its own connections, its own feeds and its
 * own proof of every book; of each topic a merge chooses what is published, which is numbered once, by one writer.
 */
export type Side = 0 | 1

export const SIDE_NAMES: readonly [SideName, SideName] = ['A', 'B']

export function otherOf(side: Side): Side {
  return side === 0 ? 1 : 0
}

/** What a side has done since the program started. */
export interface Tally {
  /** Events that it was first to deliver, or that it alone was to deliver. */
  first: number
  /** Holes and failures of the other side that it made good. */
  filled: number
}

/** What a merge needs of its surroundings. */
export interface MergeHost {
  /** The topic itself. */
  readonly writer: Output
  readonly patience: Patience
  now(): Micros
  /** The book that the side proved, if it has one now. */
  image(side: Side): BookPayload | undefined
  first(side: Side): void
  filled(side: Side): void
}

/** What was said on one side. */
export interface Said {
  readonly payload: Payload
  readonly stamp: Stamp
}

/** Hears what the keepers of both sides would publish, and publishes what is to be. */
export interface Merge {
  said(side: Side, said: Said): void
  /** The side's keeper missed something. */
  missed(side: Side, hole: Hole, stamp: Stamp): void
  /** The state of the topic on that side. */
  changed(side: Side, state: TopicState): void
  /** Every second. */
  sweep(): void
  /** Ends its timers. */
  close(): void
}

/** What a side's keeper takes for the topic. */
export class SideOutput implements Output {
  readonly #writer: Output
  readonly #merge: Merge
  readonly #side: Side

  constructor(writer: Output, merge: Merge, side: Side) {
    this.#writer = writer
    this.#merge = merge
    this.#side = side
  }

  get topic(): Topic {
    return this.#writer.topic
  }

  get epoch(): number | null {
    return this.#writer.epoch
  }

  get seq(): number | null {
    return this.#writer.seq
  }

  get receivedTime(): Micros | null {
    return this.#writer.receivedTime
  }

  write(payload: Payload, stamp: Stamp): void {
    this.#merge.said(this.#side, { payload, stamp })
  }

  gap(hole: Hole, stamp: Stamp): Gap | undefined {
    this.#merge.missed(this.#side, hole, stamp)
    return undefined
  }
}
