import type { Micros } from '../../market/event.ts'
import { ENCODINGS, type Encoding } from './encoding.ts'

/** A place in a topic. */
export interface Position {
  readonly epoch: number
  readonly seq: number
}

export function samePosition(one: Position | undefined, other: Position | undefined): boolean {
  return one?.epoch === other?.epoch && one?.seq === other?.seq
}

/** One event on its way to clients, in the shape of one view. */
export class Outgoing<V = unknown> {
  readonly view: V
  readonly epoch: number
  readonly seq: number
  readonly receivedTime: Micros
  /** What of the view it stands for: a later one of the same slot may replace it. Undefined: it is an event. */
  readonly slot: string | undefined
  /** JSON of the event, without what the gateway adds. */
  readonly body: Buffer
  /** What the view sent before it. */
  readonly previous: Position | undefined
  /** For every client it stands for older ones. */
  readonly conflated: boolean
  /** By the id of the encoding. */
  readonly #frames: Buffer[] = []
  /** By the id of the encoding, those of arrays behind them; only of the first one in a flush. */
  #joined: Buffer[] | undefined

  constructor(
    view: V,
    at: Position,
    receivedTime: Micros,
    slot: string | undefined,
    body: Buffer,
    previous?: Position,
    conflated = false,
  ) {
    this.view = view
    this.epoch = at.epoch
    this.seq = at.seq
    this.receivedTime = receivedTime
    this.slot = slot
    this.body = body
    this.previous = previous
    this.conflated = conflated
  }

  /** The frame that all who follow the view in this encoding share: made once, in the flush it is sent in. */
  sharedFrame(sentTime: Micros, encoding: Encoding): Buffer {
    const made = this.#frames[encoding.id]
    if (made) return made
    const frame = encoding.shared(this.frameAfter(this.previous, sentTime, encoding))
    this.#frames[encoding.id] = frame
    return frame
  }

  /** All frames of the view in the flush that begins with this one, as one write. */
  joined({ id }: Encoding, array: boolean, join: () => Buffer): Buffer {
    const at = array ? ENCODINGS.length + id : id
    this.#joined ??= []
    this.#joined[at] ??= join()
    return this.#joined[at]
  }

  /** The frame for one who was sent `previous` before it in the topic; `conflated`: it stands for older ones. */
  frameAfter(
    previous: Position | undefined,
    sentTime: Micros,
    encoding: Encoding,
    conflated = this.conflated,
  ): Buffer {
    return encoding.event(
      this.body,
      `,"sentTime":${sentTime}${this.#link(previous)}${conflated ? ',"conflated":true}' : '}'}`,
    )
  }

  #link(previous: Position | undefined): string {
    if (!previous) return ''
    if (previous.epoch !== this.epoch) return `,"prevSent":[${previous.epoch},${previous.seq}]`
    return previous.seq === this.seq - 1 ? '' : `,"prev":${previous.seq}`
  }
}
