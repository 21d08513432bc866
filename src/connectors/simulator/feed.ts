import type { Decoded } from '../connector.ts'

/** What a simulated topic says, step after step. Only its times and ids depend on the clock. */
export interface Feed {
  /** `time`: the venue's time of this step, epoch µs, later than the one before. */
  step(time: number, emit: (update: Decoded) => void): void
  /** Asked for again while it runs: what a venue would send anew (a book's snapshot) comes with the next step. */
  restart?(): void
}

export interface FeedContext {
  readonly seed: number
  /** Steps a second. */
  readonly rate: number
  /** Epoch µs; ids count from here, so that a later run never uses an id again. */
  readonly startTime: number
}

export const SIMULATED = ['simulated'] as const
