import type { DecodedEvent, TradeRules } from '../connectors/connector.ts'
import type { Micros, VenueId } from '../market/event.ts'
import type { Keeper, StateListener } from './keeper.ts'
import { type MergeHost, otherOf, type Side } from './sides.ts'
import type { TradeKeeper } from './trade-keeper.ts'
import { parseVenueId } from './venue-ids.ts'

/** Trades that wait for the other side; one more, and none of them waits any longer. */
const MAX_HELD = 10_000

interface Arrival {
  readonly side: Side
  readonly update: DecodedEvent
  readonly receivedTime: Micros
  readonly id: string | undefined
  /** The id, where those of a symbol are contiguous. */
  readonly number: VenueId | undefined
}

interface Held extends Arrival {
  /** Monotonic ms. */
  readonly until: number
}

/**
 * Trades of two sides, through one keeper, which takes each id once: the first copy is published at once. A trade waits,
 * for a moment, only where something may lie before it that the other side has: where ids are contiguous, behind a hole;
 * elsewhere, when its side is new and nothing that it said has come from the other as well, for only that shows that
 * nothing lies between what is published and what it says.
 */
export class MergedTrades {
  readonly #host: MergeHost
  readonly #keeper: TradeKeeper
  readonly #contiguous: boolean
  /** Its subscription is taken, on a connection that lives. */
  readonly #up = [false, false]
  /** Of ids that are not contiguous: what it says goes on where something ends that was published. */
  readonly #joined = [false, false]
  readonly #closed = [false, false]
  /** By number, else as they came; at most `MAX_HELD`. */
  readonly #held: Held[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(host: MergeHost, keeper: TradeKeeper, { contiguousIds }: TradeRules) {
    this.#host = host
    this.#keeper = keeper
    this.#contiguous = contiguousIds
  }

  /** What the feed of that side takes for its keeper. */
  keeperOf(side: Side, changed: StateListener): Keeper {
    return {
      received: (update, receivedTime, role) => {
        if (update.kind === 'event') this.#received(this.#arrival(side, update, receivedTime))
        changed('live')
        return role === 'next'
      },
      acknowledged: () => {
        this.#up[side] = true
      },
      interrupted: () => this.#interrupted(side),
      malformed: (receivedTime, named) => {
        this.#joined[side] = false
        if (!this.#carries(otherOf(side))) this.#keeper.malformed(receivedTime, named, 'current')
      },
      lastTrade: (id, receivedTime) => this.#keeper.lastTrade(id, receivedTime),
      takenOver: (lost) => {
        if (lost) this.#interrupted(side)
      },
      close: () => this.#close(side),
    }
  }

  #arrival(side: Side, update: DecodedEvent, receivedTime: Micros): Arrival {
    const id = update.payload.type === 'trade' ? update.payload.id : undefined
    const number = this.#contiguous && id !== undefined ? parseVenueId(id) : undefined
    return { side, update, receivedTime, id, number }
  }

  #received(arrival: Arrival): void {
    const { side, id } = arrival
    this.#up[side] = true
    if (id !== undefined && this.#keeper.knows(id)) {
      this.#join(side)
      return
    }
    if (this.#mustWait(arrival)) {
      if (this.#carries(otherOf(side))) {
        this.#hold(arrival)
        return
      }
      this.#declare()
    }
    this.#publish(arrival)
    if (this.#held.length === 0) return
    if (this.#contiguous) {
      if (this.#release()) this.#host.filled(side)
    } else if (this.#held.some((held) => held.id === id)) this.#join(otherOf(side))
  }

  #mustWait({ side, number }: Arrival): boolean {
    return this.#contiguous ? number !== undefined && this.#keeper.leaps(number) : !this.#joined[side]
  }

  /** Would it have what the other side lacks? */
  #carries(side: Side): boolean {
    return this.#up[side]! && (this.#contiguous || this.#joined[side]!)
  }

  /** It said what was published: all that it says behind that goes on from there. */
  #join(side: Side): void {
    if (this.#contiguous || this.#joined[side]) return
    this.#joined[side] = true
    this.#declare()
  }

  #publish({ side, id, update, receivedTime }: Arrival): void {
    if (id !== undefined && this.#keeper.knows(id)) return
    if (!this.#contiguous && !this.#joined[side]) {
      // Published trades go on with this side; what was missed before, nobody knows.
      this.#keeper.interrupted()
      this.#joined[side] = true
      this.#joined[otherOf(side)] = false
    }
    this.#keeper.received(update, receivedTime, 'current')
    this.#host.first(side)
  }

  #interrupted(side: Side): void {
    this.#up[side] = this.#joined[side] = false
    if (this.#carries(otherOf(side))) return
    this.#declare()
    if (!this.#up[otherOf(side)]) this.#keeper.interrupted()
  }

  #hold(arrival: Arrival): void {
    const held = this.#held
    const { number } = arrival
    let at = held.length
    if (number !== undefined) {
      while (at > 0 && held[at - 1]!.number! > number) at--
      if (held[at - 1]?.number === number) return
    }
    held.splice(at, 0, { ...arrival, until: performance.now() + this.#host.patience.sideMs })
    if (held.length > MAX_HELD) this.#declare()
    else this.#timer ??= setTimeout(this.#overdue, this.#host.patience.sideMs)
  }

  /** Publishes what need not wait any more; true: there was some. */
  #release(): boolean {
    const held = this.#held
    const before = held.length
    for (let next = held[0]; next && !this.#mustWait(next); next = held[0]) {
      held.shift()
      this.#publish(next)
    }
    clearTimeout(this.#timer)
    const first = held[0]
    this.#timer = first && setTimeout(this.#overdue, Math.max(0, first.until - performance.now()))
    return held.length < before
  }

  /** The other side did not have it: the keeper declares the hole. */
  #overdue = (): void => {
    const first = this.#held.shift()
    if (!first) return
    this.#publish(first)
    this.#release()
  }

  /** Publishes all that waits, with every hole. */
  #declare(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const held of this.#held.splice(0)) this.#publish(held)
  }

  #close(side: Side): void {
    this.#closed[side] = true
    this.#up[side] = this.#joined[side] = false
    if (!this.#closed[otherOf(side)]) return
    this.#declare()
    this.#keeper.close()
  }
}
