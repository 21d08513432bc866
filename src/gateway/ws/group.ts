import type { Micros } from '../../market/event.ts'
import type { Fanout, Sender } from './fanout.ts'
import { arrayFrame, joinFrames } from './frame.ts'
import type { Taker, View, ViewItem } from './view.ts'

/** A client as its group sees it. */
export interface Member {
  /** Is it to get frames of its own for this, because it was sent something else before in one of these topics? */
  differs(items: readonly ViewItem[]): boolean
  /** The frames as this member needs them. */
  framesOf(items: readonly ViewItem[], sentTime: Micros): Buffer[]
  write(bytes: Buffer): void
  tell(message: object): void
}

/** Clients that follow the same views: what a flush holds is framed and joined once for all of them. */
export class Group implements Taker, Sender {
  readonly key: string
  readonly views: readonly View[]
  readonly members = new Set<Member>()
  readonly #batch: boolean
  readonly #fanout: Fanout
  #items: ViewItem[] = []

  constructor(key: string, views: readonly View[], batch: boolean, fanout: Fanout) {
    this.key = key
    this.views = views
    this.#batch = batch
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
    this.#fanout.sample(items[0]!.receivedTime)
    const frameCount = this.#batch ? 1 : items.length
    let shared: Buffer | undefined
    for (const member of this.members) {
      let bytes: Buffer
      if (member.differs(items)) bytes = this.#bytes(member.framesOf(items, sentTime))
      else {
        shared ??= this.#bytes(items.map((item) => item.sharedFrame(sentTime)))
        bytes = shared
      }
      member.write(bytes)
      this.#fanout.sent(frameCount, bytes.length)
    }
  }

  #bytes(frames: readonly Buffer[]): Buffer {
    return this.#batch ? arrayFrame(frames) : joinFrames(frames)
  }
}

/** Which group a client belongs to follows from the views it has. Bounded by the clients: an empty group is gone. */
export class Groups {
  readonly #fanout: Fanout
  readonly #groups = new Map<string, Group>()

  constructor(fanout: Fanout) {
    this.#fanout = fanout
  }

  join(member: Member, views: Iterable<View>, batch: boolean): Group {
    const sorted = [...views].sort((one, other) => one.id - other.id)
    const key = `${batch ? 'batch' : 'single'}:${sorted.map((view) => view.id).join()}`
    let group = this.#groups.get(key)
    if (!group) {
      group = new Group(key, sorted, batch, this.#fanout)
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
