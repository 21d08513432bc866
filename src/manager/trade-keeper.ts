import type { DecodedEvent, TradeRules } from '../connectors/connector.ts'
import type { Flag, Micros, VenueId } from '../market/event.ts'
import type { Keeper, Role, StateListener } from './keeper.ts'
import type { TopicWriter } from './topic-writer.ts'
import { idAfter, idBefore, parseVenueId } from './venue-ids.ts'

/** Ids that are remembered: a double comes within seconds, on venues of at most a few thousand trades a second. */
const WINDOW = 10_000
/** A heartbeat may overtake the trade it tells of by so much, µs. */
const HEARTBEAT_GRACE = 2_000_000

/**
 * Each trade once, by the venue's id; where ids grow by one, a jump is a hole, declared before the trade behind it.
 * A late trade that fills the hole is still published.
 */
export class TradeKeeper implements Keeper {
  readonly #writer: TopicWriter
  readonly #contiguous: boolean
  readonly #changed: StateListener
  /** Two generations of at most `WINDOW` each: when the younger is full, the older is forgotten as a whole. */
  #seen: Set<string>
  #seenBefore: ReadonlySet<string> = new Set()
  /** The highest id; undefined where ids prove nothing. */
  #high: VenueId | undefined
  #interrupted: boolean
  /** A heartbeat told of a trade that we do not have yet. */
  #awaited: { id: VenueId; since: Micros } | undefined

  constructor(
    writer: TopicWriter,
    rules: TradeRules,
    storedIds: readonly string[] = [],
    changed: StateListener,
  ) {
    this.#writer = writer
    this.#contiguous = rules.contiguousIds
    this.#changed = changed
    this.#seen = new Set(storedIds)
    this.#interrupted = writer.epoch !== null
    for (const id of storedIds) this.#raise(parseVenueId(id))
  }

  received(update: DecodedEvent, receivedTime: Micros, role: Role): boolean {
    const { payload, sourceTime, flags, venueSeq } = update
    const id = payload.type === 'trade' ? payload.id : undefined
    // Two connections are told apart by id; without one, only one of them counts.
    if (id === undefined && role === 'old') return false
    if (id !== undefined && !this.#isNew(id)) return role === 'next'
    this.#declareHole(id, receivedTime, flags)
    this.#writer.write(payload, { receivedTime, sourceTime, flags, venueSeq })
    this.#changed('live')
    return role === 'next'
  }

  lastTrade(id: string, receivedTime: Micros): void {
    const last = parseVenueId(id)
    if (!this.#contiguous || last === undefined) return
    if (this.#high === undefined) {
      this.#high = last
      return
    }
    const awaited = this.#awaited
    if (last > this.#high) this.#awaited ??= { id: last, since: receivedTime }
    if (!awaited) return
    if (awaited.id <= this.#high) this.#awaited = undefined
    else if (receivedTime - awaited.since >= HEARTBEAT_GRACE) {
      this.#hole('sequence', awaited.id, receivedTime)
      this.#high = awaited.id
      this.#awaited = undefined
    }
  }

  interrupted(): void {
    this.#interrupted = this.#writer.epoch !== null
    this.#awaited = undefined
  }

  /** Where ids are contiguous the next trade shows the hole, with its ids. */
  malformed(receivedTime: Micros): void {
    if (!this.#contiguous && this.#writer.epoch !== null)
      this.#writer.gap({ reason: 'malformed' }, { receivedTime })
  }

  takenOver(lost: boolean): void {
    if (lost) this.interrupted()
  }

  acknowledged(): void {}
  close(): void {}

  #isNew(id: string): boolean {
    if (this.#seen.has(id) || this.#seenBefore.has(id)) return false
    this.#seen.add(id)
    if (this.#seen.size >= WINDOW) {
      this.#seenBefore = this.#seen
      this.#seen = new Set()
    }
    return true
  }

  #declareHole(id: string | undefined, receivedTime: Micros, flags: readonly Flag[] | undefined): void {
    const number = this.#contiguous && id !== undefined ? parseVenueId(id) : undefined
    const interrupted = this.#interrupted
    this.#interrupted = false
    if (number === undefined || this.#high === undefined) {
      if (interrupted) this.#writer.gap({ reason: 'reconnect' }, { receivedTime, flags })
    } else if (number > idAfter(this.#high)) {
      this.#hole(interrupted ? 'reconnect' : 'sequence', idBefore(number), receivedTime, flags)
    } else if (number < this.#high && BigInt(this.#high) - BigInt(number) >= WINDOW) {
      // No late trade comes so late: the venue counts anew, or an id was absurd. What lies between, nobody can say.
      this.#writer.gap({ reason: 'sequence' }, { receivedTime, flags })
      this.#high = number
    }
    this.#raise(number)
  }

  #hole(reason: string, last: VenueId, receivedTime: Micros, flags?: readonly Flag[]): void {
    const first = idAfter(this.#high as VenueId)
    this.#writer.gap({ reason, fromVenueSeq: first, toVenueSeq: last }, { receivedTime, flags })
  }

  #raise(number: VenueId | undefined): void {
    if (!this.#contiguous || number === undefined) return
    if (this.#high === undefined || number > this.#high) this.#high = number
  }
}
