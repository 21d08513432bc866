import type { Filter } from './filter.ts'

/** What a client wants of a topic. Those of the same key share their views. */
export interface Shape {
  readonly key: string
  /** Of books: levels a side, Infinity is full; else 0. */
  readonly depth: number
  readonly filter: Filter | undefined
  /** Least ms between two values of a key; 0: each is sent. */
  readonly conflateMs: number
  /** What happened so long ago; 0: what happens. */
  readonly delayMs: number
}

export function shapeOf(depth: number, filter?: Filter, conflateMs = 0, delayMs = 0): Shape {
  const key = `${depth}|${conflateMs}|${delayMs}|${filter?.key ?? ''}`
  return { key, depth, filter, conflateMs, delayMs }
}

/** Every event of a channel that is not a book. */
export const PLAIN = shapeOf(0)
