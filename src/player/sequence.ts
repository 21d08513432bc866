import type { RecordedFrame, Recording } from './recording.ts'

/** Frames begin so long after the last subscription. */
const BEGIN_MS = 1_000
/** A longer silence between two frames is played as one of this length: files may be years apart. */
const MAX_SILENCE_MS = 60_000
/** Frames sent before others in this process have their turn. */
const BURST = 256

/** Where frames are played to. */
export interface Stage {
  /** Is anybody subscribed? */
  ready(): boolean
  /** `again`: the frame was not taken and stays next. A promise: wait for it, somebody reads slowly. */
  play(frame: RecordedFrame): 'again' | Promise<void> | undefined
}

/** The one position in a recording, and when it moves on. Order never changes, whatever the speed. */
export class Sequence {
  readonly ended: Promise<void>
  readonly #recording: Recording
  /** Times as fast as recorded; Infinity: as fast as the sockets take it. */
  readonly #speed: number
  readonly #stage: Stage
  #position = 0
  #running = false
  #beginAt = 0
  /** A frame recorded at `recorded` (s) is due at `wall` (ms). */
  #origin = { wall: 0, recorded: 0 }
  #timer: NodeJS.Timeout | undefined
  /** The loop waits for the turn of others, or for a slow reader. */
  #waiting = false
  #closed = false
  #end: () => void = () => {}

  constructor(recording: Recording, speed: number, stage: Stage) {
    this.#recording = recording
    this.#speed = speed
    this.#stage = stage
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
    if (recording.length === 0) this.#end()
  }

  /** Frames that the position has passed. */
  get position(): number {
    return this.#position
  }

  get running(): boolean {
    return this.#running
  }

  /** Somebody has subscribed. */
  subscribed(): void {
    if (this.#running || this.#closed) return
    this.#beginAt = performance.now() + BEGIN_MS
    this.#arm(BEGIN_MS)
  }

  /** Somebody is gone, or wants less. */
  left(): void {
    if (this.#stage.ready()) return
    this.#running = false
    clearTimeout(this.#timer)
  }

  close(): void {
    this.#closed = true
    this.#running = false
    clearTimeout(this.#timer)
  }

  #arm(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#step(), Math.max(0, ms))
  }

  /** After the turn of others, or when a slow reader has caught up. */
  #resume = (): void => {
    this.#waiting = false
    this.#step()
  }

  #step(): void {
    if (this.#waiting || this.#closed) return
    if (!this.#stage.ready()) {
      this.#running = false
      return
    }
    const now = performance.now()
    if (!this.#running) {
      if (now < this.#beginAt) {
        this.#arm(this.#beginAt - now)
        return
      }
      this.#running = true
      if (this.#position < this.#recording.length)
        this.#origin = { wall: now, recorded: this.#recording.timeAt(this.#position) }
    }
    for (let burst = 0; this.#position < this.#recording.length; burst++) {
      const wait = this.#waitMs()
      if (wait > 0) {
        this.#arm(wait)
        return
      }
      if (burst === BURST) {
        this.#waiting = true
        setImmediate(this.#resume)
        return
      }
      const answer = this.#stage.play(this.#recording.at(this.#position))
      if (answer === 'again') {
        if (this.#stage.ready()) continue
        this.#running = false
        return
      }
      this.#position++
      if (answer) {
        this.#waiting = true
        void answer.then(this.#resume)
        return
      }
    }
    this.#end()
  }

  /** Until the next frame is due. */
  #waitMs(): number {
    if (this.#speed === Number.POSITIVE_INFINITY) return 0
    const recorded = this.#recording.timeAt(this.#position)
    const wait =
      this.#origin.wall + ((recorded - this.#origin.recorded) * 1000) / this.#speed - performance.now()
    if (wait <= MAX_SILENCE_MS) return wait
    this.#origin = { wall: performance.now() + MAX_SILENCE_MS, recorded }
    return MAX_SILENCE_MS
  }
}
