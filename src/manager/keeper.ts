import type { DecodedBook, DecodedEvent } from '../connectors/connector.ts'
import type { Micros } from '../market/event.ts'
import type { TopicState } from './manager.ts'
import type { Output } from './topic-writer.ts'

/**
 * Which connection an update came over: the one that carries the topic, the one that is to replace it, or the one it
 * replaced and that still speaks.
 */
export type Role = 'current' | 'next' | 'old'

/** Keeps one topic right: what may be published, in which order, and what is a hole. */
export interface Keeper {
  /** Answers true when from now on the `next` connection carries the topic. */
  received(update: DecodedEvent | DecodedBook, receivedTime: Micros, role: Role): boolean
  /** The venue took the subscription. */
  acknowledged(): void
  /** The connection ended: what came meanwhile, nobody knows. */
  interrupted(): void
  /**
   * A message could not be read. `named`: it was one of this topic; else it may have been of any.
   */
  malformed(receivedTime: Micros, named: boolean, role: Role): void
  /** The venue tells the id of its last trade. */
  lastTrade(id: string, receivedTime: Micros): void
  /** The `next` connection carries the topic now, whether or not it delivered. `lost`: the one before broke. */
  takenOver(lost: boolean): void
  /** The `next` connection ended before it carried the topic. */
  abandoned?(): void
  /** The subscription ended. */
  close(): void
}

/** What a keeper tells of its topic. */
export type StateListener = (state: TopicState, reason?: string) => void

/** Topics whose venue proves nothing: tickers, candles, odds, statuses … A hole is declared after every interruption. */
export class PlainKeeper implements Keeper {
  readonly #writer: Output
  readonly #changed: StateListener
  /** Was written before, by an earlier subscription or connection, and nobody knows what came since. */
  #interrupted: boolean

  constructor(writer: Output, changed: StateListener) {
    this.#writer = writer
    this.#changed = changed
    this.#interrupted = writer.epoch !== null
  }

  received(update: DecodedEvent, receivedTime: Micros, role: Role): boolean {
    if (role === 'old') return false
    if (this.#interrupted) this.#writer.gap({ reason: 'reconnect' }, { receivedTime, flags: update.flags })
    this.#interrupted = false
    const { sourceTime, flags, venueSeq } = update
    this.#writer.write(update.payload, { receivedTime, sourceTime, flags, venueSeq })
    this.#changed('live')
    return role === 'next'
  }

  interrupted(): void {
    this.#interrupted = this.#writer.epoch !== null
  }

  /** Only where each event counts is one that cannot be read a hole; of a state the next one stands for it. */
  malformed(receivedTime: Micros, named: boolean, role: Role): void {
    if (role === 'current' && named && this.#writer.topic.class === 'event' && this.#writer.epoch !== null)
      this.#writer.gap({ reason: 'malformed' }, { receivedTime })
  }

  acknowledged(): void {}
  takenOver(lost: boolean): void {
    if (lost) this.interrupted()
  }

  lastTrade(): void {}
  close(): void {}
}
