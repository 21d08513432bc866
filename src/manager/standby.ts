import type { Micros, Payload, VenueId } from '../market/event.ts'
import type { TopicState } from './manager.ts'
import { type Merge, type MergeHost, otherOf, type Said, type Side } from './sides.ts'
import type { Hole, Stamp } from './topic-writer.ts'

/** Of what the side that stands by said and the other did not; older ones are forgotten, and cannot be taken up. */
const MAX_REMEMBERED = 256

/**
 * What carries nothing by which two copies could be told to be one: one side is active, and of the other it is only
 * remembered what it said last. When the active one ends, fails, or is silent while the other speaks, that takes over:
 * from behind the last thing that was published, where it said that too, so that nothing is missed and nothing comes
 * twice. If it lags it is waited for, a moment. If it never says that, what was missed is not known: a gap `side-switch`.
 */
export class Standby implements Merge {
  protected readonly host: MergeHost
  /** What was published last. */
  protected last: Said | undefined
  /** Of the side that is not active, newest last; at most `MAX_REMEMBERED`. */
  protected remembered: Said[] = []
  readonly #live = [false, false]
  #active: Side | undefined
  /** Is to take over, from where the other ended. */
  #heir: Side | undefined
  #timer: NodeJS.Timeout | undefined
  /** To be declared before the next event. */
  #hole: Hole | undefined
  /** The newest published id and time; some topics have events with the one and events with the other. */
  #id: VenueId | undefined
  #time: Micros | undefined
  /** When the other side began to say what the active one does not, µs. */
  #silentSince: Micros | undefined
  /** After a switch to a side that lags, until then what leads back in time is left out; µs. */
  #forwardUntil: Micros = 0

  constructor(host: MergeHost) {
    this.host = host
  }

  said(side: Side, said: Said): void {
    this.#live[side] = true
    if (this.#active === undefined && this.#heir === undefined) this.#begin(side, said.stamp)
    if (side === this.#active) {
      this.#silentSince = undefined
      this.#publish(side, said)
    } else if (side === this.#heir) {
      this.remember(said)
      this.#takeUp(side)
    } else if (this.#heir === undefined) this.#standsBy(said)
  }

  #standsBy(said: Said): void {
    const reached = this.last !== undefined && this.isSame(said, this.last)
    if (reached) this.remembered = []
    this.remember(said)
    if (reached || (this.#order(said) ?? 1) <= 0) this.#silentSince = undefined
    else this.#silentSince ??= said.stamp.receivedTime
  }

  missed(side: Side, hole: Hole, stamp: Stamp): void {
    if (this.#live[side]) this.#ended(side, hole, stamp)
  }

  changed(side: Side, state: TopicState): void {
    if (state !== 'live' && this.#live[side]) this.#ended(side, { reason: 'reconnect' })
  }

  sweep(): void {
    const { now, patience } = this.host
    if (this.#active === undefined || this.#silentSince === undefined) return
    if (now() - this.#silentSince >= patience.sideSilentMs * 1_000) this.#handOver(this.#active)
  }

  close(): void {
    clearTimeout(this.#timer)
  }

  protected remember(said: Said): void {
    const { remembered } = this
    remembered.push(said)
    while (remembered.length > MAX_REMEMBERED || this.#order(remembered[0]) === -1) remembered.shift()
  }

  protected isSame(one: Said, other: Said): boolean {
    return one.stamp.sourceTime === other.stamp.sourceTime && isEqual(one.payload, other.payload)
  }

  /** What the side said after the last thing that was published; undefined: nobody knows. */
  protected missing(_side: Side): readonly Said[] | undefined {
    const after = this.saidAfter()
    if (after || !this.#isState) return after
    // The newest of a state stands for all that were before it.
    const newer = this.remembered.filter((said) => this.#order(said) === 1)
    return newer.length > 0 ? newer : undefined
  }

  protected saidAfter(): readonly Said[] | undefined {
    const at = this.remembered.findLastIndex((said) => this.last && this.isSame(said, this.last))
    return at < 0 ? undefined : this.remembered.slice(at + 1)
  }

  /** With what a side begins that cannot go on where the other ended. */
  protected beginning(_side: Side): readonly Said[] {
    return this.remembered.filter((said) => this.#order(said) !== -1).slice(this.#isState ? -1 : 0)
  }

  protected published(said: Said): void {
    const { venueSeq, sourceTime } = said.stamp
    this.last = said
    if (venueSeq) this.#id = venueSeq[1]
    else this.#time = sourceTime ?? this.#time
  }

  get #isState(): boolean {
    return this.host.writer.topic.class === 'state'
  }

  /** 1: newer than what was published, -1: older; undefined: nobody knows. */
  #order(said: Said | undefined): -1 | 0 | 1 | undefined {
    const id = said?.stamp.venueSeq?.[1]
    const [one, other] = id === undefined ? [said?.stamp.sourceTime, this.#time] : [id, this.#id]
    if (one === undefined || other === undefined) return undefined
    return one > other ? 1 : one < other ? -1 : 0
  }

  #begin(side: Side, stamp: Stamp): void {
    this.#active = side
    this.remembered = []
    if (this.#hole) this.host.writer.gap(this.#hole, stamp)
    this.#hole = undefined
  }

  #publish(side: Side, said: Said): void {
    const isBack = this.#isState && said.stamp.receivedTime < this.#forwardUntil && this.#order(said) === -1
    if (isBack) return
    this.host.writer.write(said.payload, said.stamp)
    this.host.first(side)
    this.published(said)
  }

  /** `stamp`: the hole is known now; else it ends with the next event. */
  #ended(side: Side, hole: Hole, stamp?: Stamp): void {
    const rest = otherOf(side)
    this.#live[side] = false
    if (side === this.#active && this.#live[rest]) {
      this.#handOver(side)
      return
    }
    // What it says next does not continue this.
    this.remembered = []
    this.#silentSince = undefined
    if (side !== this.#active && side !== this.#heir) return
    clearTimeout(this.#timer)
    if (this.#live[rest]) {
      // It had ended, and was back before the heir had taken over.
      this.#switch(rest)
      return
    }
    this.#active = this.#heir = undefined
    if (stamp) this.host.writer.gap(hole, stamp)
    else this.#hole = hole
  }

  #handOver(from: Side): void {
    const side = otherOf(from)
    this.#active = undefined
    this.#heir = side
    this.#silentSince = undefined
    this.#timer = setTimeout(() => this.#switch(side), this.host.patience.sideMs)
    this.#takeUp(side)
  }

  #takeUp(side: Side): void {
    const missing = this.missing(side)
    if (missing) this.#activate(side, missing)
  }

  #switch(side: Side): void {
    const { writer, now, patience } = this.host
    const beginning = this.beginning(side)
    writer.gap({ reason: 'side-switch' }, { receivedTime: now() })
    this.#forwardUntil = now() + patience.sideSilentMs * 1_000
    this.#activate(side, beginning)
  }

  #activate(side: Side, said: readonly Said[]): void {
    clearTimeout(this.#timer)
    this.#heir = undefined
    this.#active = side
    this.remembered = []
    this.host.filled(side)
    for (const one of said) this.#publish(side, one)
  }
}

/** Of payloads without nested fields, which all but books are where there are sides. */
function isEqual(one: Payload, other: Payload): boolean {
  const keys = Object.keys(one) as (keyof Payload)[]
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key])
}
