import { createWriteStream, type WriteStream } from 'node:fs'
import { FeedgateError } from '../errors.ts'
import type { Micros } from '../market/event.ts'

/** Bytes that may wait for the disk; beyond it whoever writes must wait. */
const MAX_WAITING = 16 * 1024 * 1024

/** A file in the line format that `recording.ts` reads. */
export class Tape {
  frames = 0
  answers = 0
  bytes = 0
  readonly #out: WriteStream
  /** Why the file cannot be written any more. */
  readonly failed: Promise<never>

  /** Rejects with `bad-request` if the file is there already or cannot be written. */
  static async create(file: string): Promise<Tape> {
    const out = createWriteStream(file, { flags: 'wx', highWaterMark: 1024 * 1024 })
    await new Promise<void>((resolve, reject) => {
      out.once('open', () => resolve())
      out.once('error', (cause: NodeJS.ErrnoException) => {
        const why = cause.code === 'EEXIST' ? 'is there already' : `cannot be written (${cause.code})`
        reject(new FeedgateError('bad-request', `--out ${file} ${why}: name a new file`, { cause }))
      })
    })
    return new Tape(out)
  }

  constructor(out: WriteStream) {
    this.#out = out
    this.failed = new Promise((_, reject) => {
      out.on('error', (cause) =>
        reject(new FeedgateError('internal', `the recording cannot be written: ${cause.message}`, { cause })),
      )
    })
    this.failed.catch(() => {})
  }

  connected(url: string, time: Micros): void {
    this.#write(`${url} <-> ${seconds(time)}`)
  }

  sent(url: string, frame: string, time: Micros): void {
    this.#write(`${url} <- ${seconds(time)}: ${frame}`)
  }

  received(frame: string, time: Micros): void {
    this.frames++
    this.#write(`${seconds(time)}: ${frame}`)
  }

  answered(url: string, body: string, time: Micros): void {
    this.answers++
    this.#write(`${url} -> ${seconds(time)}: ${body}`)
  }

  #write(line: string): void {
    // A line break is never part of JSON's strings: as white space it may be a space.
    const text = `${line.replace(/[\r\n]+/g, ' ')}\n`
    this.bytes += Buffer.byteLength(text)
    this.#out.write(text)
  }

  /** Does more wait than may? */
  get full(): boolean {
    return this.#out.writableLength > MAX_WAITING
  }

  onDrain(then: () => void): void {
    this.#out.once('drain', then)
  }

  summary(): string {
    return `${this.frames} frames, ${this.answers} REST answers, ${(this.bytes / 1024 ** 2).toFixed(1)} MiB`
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#out.end(() => resolve())
      this.#out.once('error', () => resolve())
    })
  }
}

/** Seconds since the epoch, as recordings have them. */
function seconds(time: Micros): string {
  return `${Math.floor(time / 1e6)}.${String(time % 1e6).padStart(6, '0')}`
}
