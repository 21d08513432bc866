import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { linesOf, readLines } from '../market/event-line.ts'

/** A file is begun anew beyond this: what is read at once, and what may be sent twice after a kill. */
const SEGMENT_BYTES = 1 << 20
/** Events that are written together. */
const CHUNK = 1_000

interface Segment {
  readonly path: string
  bytes: number
}

/**
 * A queue of events on disk, bounded by bytes, for the time in which the broker is away: written at its end, read and
 * dropped file by file from its beginning. The kernel keeps what was written when the process is killed: the next one
 * finds it. Of a file that was being sent then, all is sent again.
 */
export class Spill {
  /** Of all files. */
  bytes = 0
  readonly #folder: string
  readonly #maxBytes: number
  /** Oldest first; the last one is written to while `#file` is open. */
  readonly #segments: Segment[]
  #file: number | undefined
  #number = 0

  constructor(folder: string, maxBytes: number) {
    this.#folder = folder
    this.#maxBytes = maxBytes
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    this.#segments = readdirSync(folder)
      .filter((name) => /^\d+\.log$/.test(name))
      .sort()
      .map((name) => {
        this.#number = Number.parseInt(name, 10)
        const path = join(folder, name)
        return { path, bytes: statSync(path).size }
      })
    for (const segment of this.#segments) this.bytes += segment.bytes
  }

  get files(): number {
    return this.#segments.length
  }

  get empty(): boolean {
    return this.#segments.length === 0
  }

  /** Beyond it (one publish more at most) its user waits. */
  get full(): boolean {
    return this.bytes >= this.#maxBytes
  }

  /** All of them, or, when the disk does not take them, none: then it throws. */
  append(events: readonly EncodedEvent[]): void {
    const before = this.#segments.length
    const end = this.#segments.at(-1)
    const endBytes = end?.bytes ?? 0
    try {
      for (let at = 0; at < events.length; at += CHUNK) this.#write(linesOf(events.slice(at, at + CHUNK)))
    } catch (error) {
      for (const segment of this.#segments.splice(before)) this.#remove(segment)
      this.#close()
      if (end) this.#cut(end, endBytes)
      throw error
    }
  }

  /** The oldest file's events; empty when its lines are none. It is written to no more. */
  read(): EncodedEvent[] {
    if (this.#segments.length === 1) this.#close()
    // A line that was torn by the end of its process is no event: its `publish` had not resolved.
    return readLines(readFileSync(this.#segments[0]!.path))
  }

  /** The oldest file's events are in Kafka. */
  drop(): void {
    const segment = this.#segments.shift()
    if (segment) this.#remove(segment)
  }

  close(): void {
    this.#close()
  }

  #write(lines: Buffer): void {
    const file = this.#current()
    for (let at = 0; at < lines.length; ) at += writeSync(file, lines, at)
    this.#segments.at(-1)!.bytes += lines.length
    this.bytes += lines.length
  }

  #current(): number {
    const current = this.#segments.at(-1)
    if (current && this.#file !== undefined && current.bytes < SEGMENT_BYTES) return this.#file
    this.#close()
    const path = join(this.#folder, `${String(++this.#number).padStart(12, '0')}.log`)
    this.#file = openSync(path, 'a', 0o600)
    this.#segments.push({ path, bytes: 0 })
    return this.#file
  }

  #cut(segment: Segment, bytes: number): void {
    truncateSync(segment.path, bytes)
    this.bytes -= segment.bytes - bytes
    segment.bytes = bytes
  }

  #remove(segment: Segment): void {
    this.bytes -= segment.bytes
    rmSync(segment.path, { force: true })
  }

  #close(): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
  }
}
