import type { Micros } from '../../market/event.ts'
import type { Encoding } from './encoding.ts'
import type { Fanout, Sender } from './fanout.ts'
import { joinFrames } from './frame.ts'
import type { Taker, View, ViewItem } from './view.ts'

/** A client as its group sees it. */
export interface Member {
  /** Is it to get frames of its own for this, because it was sent something else before in one of these topics? */
  differs(items: readonly ViewItem[]): boolean
  /** The frames as this member needs them; those that it shares are in this encoding. */
  framesOf(items: readonly ViewItem[], sentTime: Micros, encoding: Encoding): Buffer[]
  write(bytes: Buffer): void
  tell(message: object): void
}

/** Clients that follow the same views in one encoding: what a flush holds is framed and joined once for all of them. */
export class Group implements Taker, Sender {
  readonly key: string
  readonly views: readonly View[]
  readonly members = new Set<Member>()
  /** Sent to each member so far. */
  events = 0
  readonly #batch: boolean
  readonly #encoding: Encoding
  readonly #fanout: Fanout
  #items: ViewItem[] = []

  constructor(key: string, views: readonly View[], batch: boolean, encoding: Encoding, fanout: Fanout) {
    this.key = key
    this.views = views
    this.#batch = batch
    this.#encoding = encoding
    this.#fanout = fanout
  }

  get clients(): number {
    return this.members.size
  }

  take(item: ViewItem): void {
    if (this.#items.push(item) === 1) this.#fanout.touch(this)
  }

  tell(message: object): void {
    this.#fanout.flush()
    for (const member of this.members) member.tell(message)
  }

  flush(sentTime: Micros): void {
    const items = this.#items
    this.#items = []
    this.events += items.length
    const [{ view, receivedTime }] = items as [ViewItem]
    // What is late is so by order.
    if (view.shape.delayMs === 0) this.#fanout.sample(receivedTime)
    const frameCount = this.#batch ? 1 : items.length
    const encoding = this.#batch ? this.#encoding.plain : this.#encoding
    let shared: Buffer | undefined
    let sharing = 0
    for (const member of this.members) {
      if (member.differs(items)) {
        const bytes = this.#bytes(member.framesOf(items, sentTime, encoding))
        member.write(bytes)
        this.#fanout.sent(frameCount, bytes.length, this.#encoding)
      } else {
        shared ??= this.#shared(items, sentTime)
        member.write(shared)
        sharing++
      }
    }
    if (shared) this.#fanout.sent(frameCount * sharing, shared.length * sharing, this.#encoding)
  }

  #bytes(frames: readonly Buffer[]): Buffer {
    return this.#batch ? this.#encoding.array(frames) : joinFrames(frames)
  }

  #shared(items: readonly ViewItem[], sentTime: Micros): Buffer {
    const first = items[0]!
    // Of one view every group has the same: they share what the first of them joined.
    if (items.some(({ view }) => view !== first.view)) return this.#joined(items, sentTime)
    return first.joined(this.#encoding, this.#batch, () => this.#joined(items, sentTime))
  }

  #joined(items: readonly ViewItem[], sentTime: Micros): Buffer {
    const encoding = this.#batch ? this.#encoding.plain : this.#encoding
    const bytes = this.#bytes(items.map((item) => item.sharedFrame(sentTime, encoding)))
    return this.#batch ? this.#encoding.shared(bytes) : bytes
  }
}

/** Which group a client belongs to follows from the views it has. Bounded by the clients: an empty group is gone. */
export class Groups {
  readonly #fanout: Fanout
  readonly #groups = new Map<string, Group>()

  constructor(fanout: Fanout) {
    this.#fanout = fanout
  }

  join(member: Member, views: Iterable<View>, batch: boolean, encoding: Encoding): Group {
    const sorted = [...views].sort((one, other) => one.id - other.id)
    const key = `${encoding.id}:${batch ? 'batch' : 'single'}:${sorted.map((view) => view.id).join()}`
    let group = this.#groups.get(key)
    if (!group) {
      group = new Group(key, sorted, batch, encoding, this.#fanout)
      this.#groups.set(key, group)
      for (const view of sorted) view.takers.add(group)
    }
    group.members.add(member)
    return group
  }

  /** A client that stays may leave only when nothing is on its way in the group. */
  leave(member: Member, group: Group): void {
    group.members.delete(member)
    if (group.members.size > 0) return
    for (const view of group.views) view.takers.delete(group)
    this.#groups.delete(group.key)
  }
}
