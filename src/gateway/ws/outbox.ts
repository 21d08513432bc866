import type { Micros } from '../../market/event.ts'
import type { Connection } from './connection.ts'
import { DueItems } from './due.ts'
import type { Encoding } from './encoding.ts'
import type { Fanout, Sender } from './fanout.ts'
import { joinFrames, runsOf } from './frame.ts'
import type { Group, Groups, Member } from './group.ts'
import { type Position, samePosition } from './outgoing.ts'
import type { Taker, View, ViewItem } from './view.ts'

/** A paced client: ms until it may get a frame; 0: now, and it is counted. */
export type Pacer = () => number

/** Events that wait for a paced client; older ones are dropped and told by `slow`. */
const MAX_PACED_EVENTS = 500
/** Events and bytes that wait for a client that reads too slowly; beyond either it is closed with 4100. */
const MAX_BEHIND_EVENTS = 10_000
const MAX_BEHIND_BYTES = 4 * 1_048_576
/** Of one client since it connected. */
export interface Sent {
  readonly events: number
  /** Values that newer ones stood for, because of its pace or while it read too slowly. */
  readonly conflated: number
  /** Events that were left out of a frame of a paced client. */
  readonly skipped: number
  /** It reads too slowly now. */
  readonly slow: boolean
}

/** First values of many topics leave in several writes. */
const MAX_WRITE_BYTES = 256 * 1_024

/**
 * What one client is to be sent. It shares its frames with a group of clients of the same views whenever it can; by
 * itself it gets what it joins (first values), what a pace allows (`basic`), and what is left after thinning while it
 * reads too slowly.
 */
export class Outbox implements Taker, Sender, Member {
  readonly clients = 1
  readonly #connection: Connection
  readonly #fanout: Fanout
  readonly #groups: Groups
  /** Of what it alone is sent: never compressed. */
  readonly encoding: Encoding
  #batch: boolean
  #pacer: Pacer | undefined
  #behind = false
  #closed = false
  readonly #views = new Set<View>()
  /** Views that it takes from by itself; the others come through the group. */
  readonly #own = new Set<View>()
  /** What was sent last: of own views, and of the group's where it is not what the group was sent. */
  readonly #positions = new Map<View, Position | undefined>()
  #group: Group | undefined
  /** In a group there is a position of its own: asked at each write. */
  #apart = false
  /** Of all but the group it is in, of which `#joinedAt` was sent before it came. */
  #events = 0
  #joinedAt = 0
  #conflated = 0
  #skipped = 0
  #due = new DueItems(MAX_BEHIND_EVENTS)
  #touched = false
  #timer: NodeJS.Timeout | undefined

  constructor(connection: Connection, fanout: Fanout, groups: Groups) {
    this.#connection = connection
    this.#fanout = fanout
    this.#groups = groups
    this.encoding = connection.encoding.plain
    this.#batch = false
  }

  /** How frames are made from now on; without a pacer as many as there are. */
  shape(batch: boolean, pacer: Pacer | undefined): void {
    this.#fanout.flush()
    this.#leaveGroup()
    this.#batch = batch
    this.#pacer = pacer
    if (this.#due.size === 0) this.#due = new DueItems(pacer ? MAX_PACED_EVENTS : MAX_BEHIND_EVENTS)
    this.#settleLater()
  }

  /** From the next event on; `first`: what the view has now goes before. `after`: what was sent of the topic. */
  join(view: View, first: boolean, after?: Position): void {
    const latest = first ? view.latest() : []
    const newest = latest.at(-1)
    // Nobody was sent anything of the view yet: it stands where its first client does.
    if (view.takers.size === 0 && newest) view.last = { epoch: newest.epoch, seq: newest.seq }
    this.#views.add(view)
    this.#own.add(view)
    this.#positions.set(view, after)
    view.takers.add(this)
    for (const item of latest) this.take(item)
    this.#settleLater()
  }

  leave(views: readonly View[]): void {
    this.#fanout.flush()
    this.#leaveGroup()
    for (const view of views) {
      view.takers.delete(this)
      this.#views.delete(view)
      this.#own.delete(view)
      this.#positions.delete(view)
      this.#due.forget(view)
    }
    this.#settle()
  }

  /** The newest that this client was sent of the view; what waits is not counted. */
  position(view: View): Position | undefined {
    return this.#positions.has(view) ? this.#positions.get(view) : view.last
  }

  get sent(): Sent {
    const events = this.#events + (this.#group ? this.#group.events - this.#joinedAt : 0)
    return { events, conflated: this.#conflated, skipped: this.#skipped, slow: this.#behind }
  }

  take(item: ViewItem): void {
    // One that is being closed is sent nothing more: nothing waits for it.
    if (!this.#connection.open) return
    this.#due.put(item, this.#behind || this.#pacer !== undefined)
    this.#touch()
    if (!this.#behind) return
    if (this.#due.dropped > 0 || this.#due.bytes > MAX_BEHIND_BYTES) this.#connection.tooSlow()
  }

  /** Nothing is held back from this client: what it takes leaves with the next flush. */
  get prompt(): boolean {
    return !this.#behind && this.#pacer === undefined
  }

  /**
   * Frames of a topic that this client has not joined yet, when its socket has taken what was written before and its pace
   * allows. False: they were not sent, for `wanted` said no, or it is closed.
   */
  async past(frames: readonly Buffer[], wanted: () => boolean): Promise<boolean> {
    do await this.#connection.room()
    while (wanted() && !this.#closed && !(await this.#paced(wanted)))
    if (!wanted() || this.#closed || !this.#connection.open) return false
    const array = this.#batch || this.#pacer !== undefined
    const bytes = array ? this.encoding.array(frames) : joinFrames(frames)
    this.#connection.write(bytes)
    this.#events += frames.length
    this.#count(array ? 1 : frames.length, bytes.length)
    return true
  }

  /** False: time went by. */
  async #paced(wanted: () => boolean): Promise<boolean> {
    const wait = wanted() ? (this.#pacer?.() ?? 0) : 0
    if (wait > 0) await new Promise((go) => setTimeout(go, wait).unref())
    return wait === 0
  }

  tell(message: object): void {
    this.#fanout.flush()
    this.#connection.send(message)
  }

  write(bytes: Buffer): void {
    if (this.#connection.write(bytes) || this.#behind || this.#pacer || !this.#connection.behind) return
    this.#behind = true
    this.#fanout.afterFlush(() => this.#settle())
  }

  differs(items: readonly ViewItem[]): boolean {
    return this.#apart && items.some((item) => this.#positions.has(item.view))
  }

  framesOf(items: readonly ViewItem[], sentTime: Micros, encoding: Encoding): Buffer[] {
    return items.map((item) => {
      if (!this.#positions.has(item.view)) return item.sharedFrame(sentTime, encoding)
      const frame = item.frameAfter(this.#positions.get(item.view), sentTime, this.encoding)
      this.#positions.delete(item.view)
      this.#apart = this.#positions.size > 0
      return frame
    })
  }

  #touch(): void {
    if (this.#touched) return
    this.#touched = true
    this.#fanout.touch(this)
  }

  flush(sentTime: Micros): void {
    this.#touched = false
    if (this.#due.size === 0 || this.#timer || this.#closed) return
    if (this.#connection.behind) {
      this.#connection.whenDrained(() => this.#touch())
      return
    }
    const wait = this.#pacer?.() ?? 0
    if (wait > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined
        this.#touch()
      }, wait)
      return
    }
    this.#sendDue(sentTime)
    if (!this.#behind || this.#connection.behind) return
    this.#behind = false
    this.#settleLater()
  }

  #sendDue(sentTime: Micros): void {
    this.#tellSlow()
    const frames: Buffer[] = []
    for (const { item, conflated } of this.#due.take()) {
      // What was merged of a book is told by the book as it stands now.
      const now = conflated && item.view.merges ? item.view.latest()[0] : item
      if (!now) continue
      const before = this.#positions.get(now.view)
      frames.push(now.frameAfter(before, sentTime, this.encoding, conflated || now.conflated))
      this.#positions.set(now.view, { epoch: now.epoch, seq: now.seq })
    }
    if (frames.length === 0) return
    this.#events += frames.length
    const array = this.#batch || this.#pacer !== undefined
    for (const run of array ? [frames] : runsOf(frames, MAX_WRITE_BYTES)) {
      const bytes = array ? this.encoding.array(run) : joinFrames(run)
      this.write(bytes)
      this.#count(array ? 1 : run.length, bytes.length)
    }
  }

  #count(frames: number, bytes: number): void {
    this.#fanout.sent(frames, bytes, this.#connection.encoding)
  }

  #tellSlow(): void {
    const { dropped, droppedIn, replaced, replacedIn } = this.#due
    this.#conflated += replaced
    this.#skipped += dropped
    if (this.#behind && replaced > 0)
      this.#connection.send({
        type: 'slow',
        topics: replacedIn.size,
        skipped: replaced,
        reason: 'the connection reads too slowly: newer values stand for older ones',
      })
    if (dropped > 0)
      this.#connection.send({
        type: 'slow',
        topics: droppedIn.size,
        skipped: dropped,
        reason: `more than ${MAX_PACED_EVENTS} events were due in one frame: older ones were left out`,
      })
  }

  #settleLater(): void {
    this.#fanout.afterFlush(() => this.#settle())
  }

  /** With nothing on its way: into the group of its views, or out of it. */
  #settle(): void {
    if (this.#closed) return
    if (this.#pacer || this.#behind) this.#leaveGroup()
    else if (this.#due.size === 0 && (this.#own.size > 0 || (!this.#group && this.#views.size > 0)))
      this.#joinGroup()
  }

  #joinGroup(): void {
    this.#leaveGroup()
    for (const view of this.#own) {
      view.takers.delete(this)
      if (samePosition(this.#positions.get(view), view.last)) this.#positions.delete(view)
    }
    this.#own.clear()
    this.#apart = this.#positions.size > 0
    this.#group = this.#groups.join(this, this.#views, this.#batch, this.#connection.encoding)
    this.#joinedAt = this.#group.events
  }

  #leaveGroup(): void {
    if (!this.#group) return
    for (const view of this.#views) {
      if (this.#own.has(view)) continue
      this.#own.add(view)
      if (!this.#positions.has(view)) this.#positions.set(view, view.last)
      view.takers.add(this)
    }
    this.#events += this.#group.events - this.#joinedAt
    this.#groups.leave(this, this.#group)
    this.#group = undefined
  }

  close(): readonly View[] {
    this.#closed = true
    clearTimeout(this.#timer)
    if (this.#group) {
      this.#events += this.#group.events - this.#joinedAt
      this.#groups.leave(this, this.#group)
    }
    this.#group = undefined
    for (const view of this.#views) view.takers.delete(this)
    return [...this.#views]
  }
}
