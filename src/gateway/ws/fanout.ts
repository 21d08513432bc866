import type { Micros } from '../../market/event.ts'
import { signals } from '../../signals.ts'
import { ENCODINGS, type Encoding } from './encoding.ts'

/** Who has something to send. */
export interface Sender {
  flush(sentTime: Micros): void
}

/**
 * When things are sent: what one batch of events became leaves together, as soon as the batch is handled. Idle, that is
 * at once; busy, what has queued meanwhile is one batch. What comes otherwise (joins, drained sockets, paces) leaves at
 * the end of the turn of the event loop.
 */
export class Fanout {
  readonly #now: () => Micros
  #senders: Sender[] = []
  #settling: (() => void)[] = []
  #scheduled = false
  /** By the id of the encoding. */
  readonly #frames = ENCODINGS.map(() => 0)
  readonly #bytes = ENCODINGS.map(() => 0)
  #sampled: Micros | undefined

  constructor(now: () => Micros) {
    this.#now = now
  }

  /** Wall clock, µs. */
  now(): Micros {
    return this.#now()
  }

  /** The sender is flushed at the end of this turn. Called once by each until its flush. */
  touch(sender: Sender): void {
    this.#senders.push(sender)
    this.#schedule()
  }

  /** After the next flush, when nothing is on its way: the moment to change who follows what. */
  afterFlush(settle: () => void): void {
    this.#settling.push(settle)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.flush()
    })
  }

  /** One of each flush stands for all of it in the measure of latency. */
  sample(receivedTime: Micros): void {
    this.#sampled ??= receivedTime
  }

  /** For the count of frames and bytes. */
  sent(frames: number, bytes: number, { id }: Encoding): void {
    this.#frames[id]! += frames
    this.#bytes[id]! += bytes
  }

  flush(): void {
    if (this.#senders.length > 0) {
      const senders = this.#senders
      this.#senders = []
      const sentTime = this.#now()
      for (const sender of senders) sender.flush(sentTime)
      if (this.#sampled !== undefined) signals.latency.emit({ micros: sentTime - this.#sampled })
      this.#sampled = undefined
    }
    if (this.#settling.length > 0) {
      const settling = this.#settling
      this.#settling = []
      for (const settle of settling) settle()
    }
    for (const { id, name } of ENCODINGS) {
      const count = this.#frames[id]!
      if (count === 0) continue
      signals.framesSent.emit({ encoding: name, count, bytes: this.#bytes[id]! })
      this.#frames[id] = this.#bytes[id] = 0
    }
  }
}
