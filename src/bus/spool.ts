import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { linesOf, readLines } from '../market/event-line.ts'

/** While events come one by one their lines are written together so often, ms: a write each would cost more than all else. */
const TOGETHER_MS = 5

/** A file is begun anew beyond this, so that what was recorded can be deleted. */
const SEGMENT_BYTES = 8 << 20

interface Segment {
  readonly path: string
  /** Events in it that the recorder has not taken. */
  left: number
}

/**
 * What the embedded bus has handed out and the recorder has not stored yet, on disk: one line an event, written at once
 * or, while many come, within 5 ms. The kernel keeps what was written when the process is killed, and the next start
 * records it: nothing that a client saw longer ago than that is lost. As large as the recorder's queue, which is bounded.
 */
export class Spool {
  #recovered: readonly EncodedEvent[]
  readonly #folder: string
  /** Oldest first; the last one is written to. */
  readonly #segments: Segment[] = []
  #file: number | undefined
  #bytes = 0
  #number = 0
  /** Lines to be written; what comes in within `TOGETHER_MS`. */
  #lines: Buffer[] = []
  #timer: NodeJS.Timeout | undefined
  /** The last write broke off: its rest must not grow together with the next line. */
  #torn = false

  constructor(folder: string) {
    this.#folder = folder
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    this.#recovered = readdirSync(folder)
      .filter((name) => /^\d+\.log$/.test(name))
      .sort()
      .flatMap((name) => this.#recover(name))
  }

  /** What an earlier process left, in its order. Some of it may be stored already: recording is exactly once. */
  get recovered(): readonly EncodedEvent[] {
    return this.#recovered
  }

  /** The same, for the recorder: from then on it is kept on disk only. */
  takeRecovered(): readonly EncodedEvent[] {
    const recovered = this.#recovered
    this.#recovered = []
    return recovered
  }

  /** Throws when the disk is full; then nothing was taken. */
  append(events: readonly EncodedEvent[]): void {
    const segment = this.#current()
    const before = this.#lines.length
    this.#lines.push(linesOf(events))
    if (!this.#timer || this.#torn) {
      try {
        this.#write()
      } catch (error) {
        this.#lines.length = before
        throw error
      }
      this.#timer ??= setTimeout(() => this.#writeLater(), TOGETHER_MS)
    }
    segment.left += events.length
  }

  #writeLater(): void {
    this.#timer = undefined
    if (this.#lines.length === 0) return
    try {
      this.#write()
    } catch {
      // The next append tries again, and tells.
    }
  }

  #write(): void {
    const lines = Buffer.concat(this.#torn ? [NEWLINE, ...this.#lines] : this.#lines)
    this.#torn = true
    for (let at = 0; at < lines.length; ) at += writeSync(this.#file as number, lines, at)
    this.#torn = false
    this.#lines = []
    this.#bytes += lines.length
  }

  /** The oldest `count` events are stored. */
  release(count: number): void {
    let rest = count
    while (rest > 0) {
      const [oldest] = this.#segments
      if (!oldest) return
      const taken = Math.min(rest, oldest.left)
      oldest.left -= taken
      rest -= taken
      if (oldest.left > 0) return
      // The one that is written to stays until it is full, or has nothing left when the program ends.
      if (this.#segments.length === 1) return
      this.#segments.shift()
      rmSync(oldest.path, { force: true })
    }
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#writeLater()
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
    for (const { path, left } of this.#segments.splice(0)) if (left === 0) rmSync(path, { force: true })
  }

  #current(): Segment {
    const current = this.#segments.at(-1)
    if (current && this.#file !== undefined && this.#bytes < SEGMENT_BYTES) return current
    if (this.#file !== undefined) {
      this.#write()
      closeSync(this.#file)
    }
    const segment = { path: join(this.#folder, `${String(++this.#number).padStart(12, '0')}.log`), left: 0 }
    this.#file = openSync(segment.path, 'a', 0o600)
    this.#bytes = 0
    this.#segments.push(segment)
    return segment
  }

  #recover(name: string): EncodedEvent[] {
    this.#number = Number.parseInt(name, 10)
    const path = join(this.#folder, name)
    // A line that was torn by the end of its process is no event: no client saw it.
    const events = readLines(readFileSync(path))
    this.#segments.push({ path, left: events.length })
    return events
  }
}

const NEWLINE = Buffer.from('\n')
