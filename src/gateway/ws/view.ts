import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { Candle } from '../../market/event.ts'
import { Outgoing, type Position } from './outgoing.ts'
import type { Shape } from './shape.ts'
import type { FeedReader, TopicFeed } from './topic-feed.ts'

/** Takes what a view sends: a group of clients, or the outbox of one. */
export interface Taker {
  /** As many as it stands for. */
  readonly clients: number
  take(item: ViewItem): void
  /** A message of the gateway's own about the topic, behind everything sent so far. */
  tell(message: object): void
}

export type ViewItem = Outgoing<View>

let lastId = 0

/**
 * A topic in one shape, made once for all who follow it there. `last` is where it stands: whoever was sent just that
 * may share every frame with the others.
 */
export abstract class View implements FeedReader {
  /** Never used twice: groups are known by the ids of their views. */
  readonly id = ++lastId
  readonly feed: TopicFeed
  readonly shape: Shape
  readonly takers = new Set<Taker>()
  last: Position | undefined
  /** What is left out is told by `latest`, which holds all of it: books. */
  readonly merges: boolean = false

  constructor(feed: TopicFeed, shape: Shape) {
    this.feed = feed
    this.shape = shape
  }

  /** What one who joins now is sent first, oldest first; what follows goes on from there. */
  abstract latest(): readonly ViewItem[]
  abstract take(event: EncodedEvent): void
  abstract reload(before: Position): void

  /** Sends what is held back: whoever has every event up to where the feed stands may join then. */
  settle(): void {}

  /** Nobody follows it any more. */
  close(): void {}

  resync(reason: string): void {
    const message = { type: 'resync', topic: this.feed.topic.publicId, reason }
    for (const taker of this.takers) taker.tell(message)
  }

  protected send(event: EncodedEvent, slot: string | undefined, body: Buffer, conflated = false): void {
    const { receivedTime } = event
    const item: ViewItem = new Outgoing<View>(this, event, receivedTime, slot, body, this.last, conflated)
    this.last = { epoch: event.epoch, seq: event.seq }
    for (const taker of this.takers) taker.take(item)
  }
}

/** Every channel but books: the event's own bytes. */
export class EventView extends View {
  latest(): readonly ViewItem[] {
    return this.newest().map(
      (event) => new Outgoing<View>(this, event, event.receivedTime, slotOf(event), event.bytes),
    )
  }

  /** Of what the feed has, what passes the filter. */
  protected newest(): EncodedEvent[] {
    const { filter } = this.shape
    const values = [...this.feed.values.values()]
    return filter ? values.filter((event) => filter.passes(event)) : values
  }

  take(event: EncodedEvent): void {
    const { filter } = this.shape
    if (!filter || filter.passes(event)) this.send(event, slotOf(event), event.bytes)
  }

  reload(before: Position): void {
    for (const event of this.feed.values.values()) if (isAfter(event, before)) this.take(event)
  }
}

function isAfter(one: Position, other: Position): boolean {
  return one.epoch > other.epoch || (one.epoch === other.epoch && one.seq > other.seq)
}

/** A closed candle has a slot of its own: it is never replaced, and never dropped. */
export function slotOf(event: EncodedEvent): string | undefined {
  if (event.type === 'ohlcv' && (event.payload as Candle).closed) return `closed|${event.epoch}|${event.seq}`
  return event.key
}
