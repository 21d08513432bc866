import type { BookPayload, VenueId } from '../market/event.ts'
import type { TopicState } from './manager.ts'
import { type Merge, type MergeHost, otherOf, type Said, type Side } from './sides.ts'
import type { Hole, Stamp } from './topic-writer.ts'
import { idAfter } from './venue-ids.ts'

/** Messages of a side that is ahead; one more, and its book is published instead. */
const MAX_AHEAD = 10_000

/** A message, and the venue's ids of the book before and after it. */
interface Step extends Said {
  readonly before: VenueId
  readonly after: VenueId
}

/** One side's book, which its own keeper proves. */
interface Chain {
  live: boolean
  depth: number
  /** The id that its book has reached. */
  at: VenueId
  /** What it said behind a hole in what is published, oldest first; at most `MAX_AHEAD`. */
  ahead: Step[]
}

/**
 * A book whose venue numbers its messages, of two sides: each message is published once, from the side that has it first.
 * A side that failed begins with a new snapshot of its own, which nobody sees while the other goes on. Where a side is
 * ahead of a hole that the other does not fill, its book replaces what is published.
 */
export class MergedBook implements Merge {
  readonly #host: MergeHost
  readonly #chains: readonly [Chain, Chain] = [emptyChain(), emptyChain()]
  /** The id that is published; undefined: no book is. */
  #at: VenueId | undefined
  #depth = 0
  /** To be declared before the next book. */
  #hole: Hole | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(host: MergeHost) {
    this.#host = host
  }

  said(side: Side, said: Said): void {
    const { payload, stamp } = said
    const after = stamp.venueSeq?.[1]
    if (payload.type !== 'orderbook' || after === undefined) return
    if (payload.kind === 'snapshot') this.#snapshot(side, payload, stamp, after)
    else this.#delta(side, said, after)
  }

  #snapshot(side: Side, payload: BookPayload, stamp: Stamp, at: VenueId): void {
    const other = this.#chains[otherOf(side)]
    Object.assign(this.#chains[side], { live: true, depth: payload.depth, at, ahead: [] } satisfies Chain)
    if (this.#at !== undefined && other.live && payload.depth === this.#depth) {
      this.#watch()
      return
    }
    // The other one's book is none of this depth, until it has a snapshot of its own.
    if (payload.depth !== this.#depth) Object.assign(other, emptyChain())
    if (this.#hole) this.#host.writer.gap(this.#hole, stamp)
    this.#replace(side, payload, stamp)
  }

  #delta(side: Side, said: Said, after: VenueId): void {
    const chain = this.#chains[side]
    const before = chain.at
    const at = this.#at
    chain.at = after
    // What repeats the id changes nothing.
    if (!chain.live || at === undefined || after === at) return
    const follows = before === at || (before < at && at < after)
    if (follows) {
      this.#publish(side, said, after)
      this.#drain(otherOf(side))
    } else if (before > at && after > before) {
      chain.ahead.push({ ...said, before, after })
      if (chain.ahead.length > MAX_AHEAD) this.#change(side)
      else this.#watch()
      return
    }
    if (this.#timer) this.#watch()
  }

  #publish(side: Side, { payload, stamp }: Said, after: VenueId): void {
    this.#host.writer.write(payload, stamp)
    this.#host.first(side)
    this.#at = after
  }

  #drain(side: Side): void {
    const { ahead } = this.#chains[side]
    for (let step = ahead[0]; step && this.#at !== undefined && step.before <= this.#at; step = ahead[0]) {
      ahead.shift()
      if (step.after > this.#at) this.#publish(side, step, step.after)
    }
  }

  missed(side: Side, hole: Hole, stamp: Stamp): void {
    if (this.#chains[side].live) this.#ended(side, hole, stamp)
  }

  changed(side: Side, state: TopicState): void {
    if (state === 'live' || !this.#chains[side].live) return
    // Without a hole before it, it begins anew because another depth was asked for.
    if (state === 'syncing') this.#ended(side)
    else this.#ended(side, { reason: 'reconnect' })
  }

  /** `stamp`: the hole is known now; else it ends when there is a book again. */
  #ended(side: Side, hole?: Hole, stamp?: Stamp): void {
    const rest = otherOf(side)
    const { live, ahead, at } = this.#chains[rest]
    Object.assign(this.#chains[side], emptyChain())
    if (this.#at === undefined) return
    if (!live) {
      this.#at = undefined
      if (stamp && hole) this.#host.writer.gap(hole, stamp)
      else this.#hole = hole
      this.#watch()
      return
    }
    if (ahead.length > 0) this.#change(rest)
    else {
      if (hole) this.#host.filled(rest)
      if (at < this.#at) this.#watch()
    }
  }

  /** The book of this side replaces what is published: what lies between, nobody has. */
  #change(side: Side): void {
    const { writer, image, now } = this.#host
    const chain = this.#chains[side]
    const book = image(side)
    if (!book || this.#at === undefined) return
    const stamp: Stamp = { receivedTime: now(), venueSeq: [chain.at, chain.at] }
    const first = chain.ahead[0]
    const hole: Hole = first
      ? { reason: 'sequence', fromVenueSeq: idAfter(this.#at), toVenueSeq: first.before }
      : { reason: 'side-switch' }
    writer.gap(hole, stamp)
    this.#replace(side, book, stamp)
  }

  #replace(side: Side, payload: BookPayload, stamp: Stamp): void {
    const chain = this.#chains[side]
    this.#hole = undefined
    this.#depth = payload.depth
    chain.ahead = []
    this.#publish(side, { payload, stamp }, chain.at)
    this.#watch()
  }

  /** Waits for a side that has what the other lacks, but not for long. */
  #watch(): void {
    const stuck = this.#at !== undefined && this.#stuck !== undefined
    if (stuck) this.#timer ??= setTimeout(this.#overdue, this.#host.patience.sideMs)
    else {
      clearTimeout(this.#timer)
      this.#timer = undefined
    }
  }

  /** The side whose book is to replace what is published if nothing else comes of it. */
  get #stuck(): Side | undefined {
    const [a, b] = this.#chains
    if (a.ahead.length > 0) return 0
    if (b.ahead.length > 0) return 1
    const at = this.#at as VenueId
    if ((a.live && a.at >= at) || (b.live && b.at >= at)) return undefined
    return a.live ? 0 : b.live ? 1 : undefined
  }

  #overdue = (): void => {
    this.#timer = undefined
    const side = this.#at === undefined ? undefined : this.#stuck
    if (side !== undefined) this.#change(side)
  }

  sweep(): void {}

  close(): void {
    clearTimeout(this.#timer)
  }
}

function emptyChain(): Chain {
  return { live: false, depth: 0, at: 0, ahead: [] }
}
