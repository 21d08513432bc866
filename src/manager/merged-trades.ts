import type { DecodedEvent } from '../connectors/connector.ts'
import type { Micros, VenueId } from '../market/event.ts'
import type { Keeper, Role, StateListener } from './keeper.ts'
import { type MergeHost, otherOf, type Side } from './sides.ts'
import type { TradeKeeper } from './trade-keeper.ts'
import { parseVenueId } from './venue-ids.ts'

/** Trades that wait behind a hole; one more, and the hole is declared. */
const MAX_HELD = 10_000

interface Held {
  readonly side: Side
  readonly number: VenueId
  readonly update: DecodedEvent
  readonly receivedTime: Micros
  /** Monotonic ms. */
  readonly until: number
}

/**
 * Trades of two sides, through one keeper, which takes each id once: the first copy is published at once. Where ids are
 * contiguous, a trade behind a hole waits a moment for the other side's copy of what is missing. Elsewhere nothing was
 * missed when a side ends if the other has delivered, or still delivers, the last trade that was published.
 */
export class MergedTrades {
  readonly #host: MergeHost
  readonly #keeper: TradeKeeper
  /** Its subscription is taken, on a connection that lives. */
  readonly #up = [false, false]
  /** It delivered the last trade that was published. */
  readonly #reached = [false, false]
  readonly #closed = [false, false]
  #last: string | undefined
  /** A side ended when the other had not reached the last trade. */
  #doubted = false
  /** By id; at most `MAX_HELD`. */
  readonly #held: Held[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(host: MergeHost, keeper: TradeKeeper) {
    this.#host = host
    this.#keeper = keeper
  }

  /** What the feed of that side takes for its keeper. */
  keeperOf(side: Side, changed: StateListener): Keeper {
    return {
      received: (update, receivedTime, role) => {
        if (update.kind === 'event') this.#received(side, update, receivedTime, role)
        changed('live')
        return role === 'next'
      },
      acknowledged: () => {
        this.#up[side] = true
      },
      interrupted: () => this.#interrupted(side),
      malformed: () => {
        if (!this.#up[otherOf(side)]) this.#keeper.malformed()
      },
      lastTrade: (id, receivedTime) => this.#keeper.lastTrade(id, receivedTime),
      takenOver: (lost) => {
        if (lost) this.#interrupted(side)
      },
      close: () => this.#close(side),
    }
  }

  #received(side: Side, update: DecodedEvent, receivedTime: Micros, role: Role): void {
    this.#up[side] = true
    const id = update.payload.type === 'trade' ? update.payload.id : undefined
    if (id !== undefined && this.#keeper.knows(id)) {
      if (id !== this.#last) return
      this.#reached[side] = true
      this.#doubted = false
      return
    }
    const number = id === undefined ? undefined : parseVenueId(id)
    if (number !== undefined && this.#keeper.leaps(number)) {
      const until = performance.now() + this.#host.patience.sideMs
      if (this.#up[otherOf(side)]) {
        this.#hold({ side, number, update, receivedTime, until })
        return
      }
      this.#declare()
    }
    this.#publish(side, update, receivedTime, role)
    if (this.#held.length > 0 && this.#release()) this.#host.filled(side)
  }

  #publish(side: Side, update: DecodedEvent, receivedTime: Micros, role: Role): void {
    if (this.#doubted) this.#keeper.interrupted()
    this.#doubted = false
    this.#keeper.received(update, receivedTime, role)
    this.#last = update.payload.type === 'trade' ? update.payload.id : undefined
    this.#reached[side] = true
    this.#reached[otherOf(side)] = false
    this.#host.first(side)
  }

  #interrupted(side: Side): void {
    const other = otherOf(side)
    this.#up[side] = this.#reached[side] = false
    if (this.#up[other]) {
      this.#doubted ||= !this.#reached[other]
      return
    }
    this.#doubted = false
    this.#declare()
    this.#keeper.interrupted()
  }

  #hold(entry: Held): void {
    const held = this.#held
    let at = held.length
    while (at > 0 && held[at - 1]!.number > entry.number) at--
    if (held[at - 1]?.number === entry.number) return
    held.splice(at, 0, entry)
    if (held.length > MAX_HELD) this.#declare()
    else this.#timer ??= setTimeout(this.#overdue, this.#host.patience.sideMs)
  }

  /** Publishes what is behind no hole any more; true: there was some. */
  #release(): boolean {
    const held = this.#held
    const before = held.length
    for (let next = held[0]; next && !this.#keeper.leaps(next.number); next = held[0]) {
      held.shift()
      this.#publish(next.side, next.update, next.receivedTime, 'current')
    }
    clearTimeout(this.#timer)
    const first = held[0]
    this.#timer = first && setTimeout(this.#overdue, Math.max(0, first.until - performance.now()))
    return held.length < before
  }

  /** Neither side has what is missing: the keeper declares the hole. */
  #overdue = (): void => {
    const first = this.#held.shift()
    if (!first) return
    this.#publish(first.side, first.update, first.receivedTime, 'current')
    this.#release()
  }

  /** All holes at once: there is nobody to wait for. */
  #declare(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const { side, update, receivedTime } of this.#held.splice(0))
      this.#publish(side, update, receivedTime, 'current')
  }

  #close(side: Side): void {
    this.#closed[side] = true
    this.#up[side] = this.#reached[side] = false
    if (!this.#closed[otherOf(side)]) return
    this.#declare()
    this.#keeper.close()
  }
}
