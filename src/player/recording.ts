import { readFile, stat } from 'node:fs/promises'
import { FeedgateError } from '../errors.ts'
import { type Dialect, plainDialect } from './dialect.ts'

/** All files together: they are held in memory, as they are, so that frames can be sent without waiting for a disk. */
const MAX_BYTES = 1024 * 1024 * 1024
/** A longer line is skipped and counted: no venue sends frames of this size. */
const MAX_LINE = 64 * 1024 * 1024
/** So many bytes of a line may stand before its frame: the URL and the time. */
const MAX_HEAD = 64 * 1024
/** So many of them hold the time. */
const MAX_TIME = 40
/** Frames of a file that are looked at to tell whose it is. */
const TELLING_FRAMES = 100

const RECEIVED = /^(\d{1,12}(?:\.\d{1,20})?): /
const CONNECTED = /^(wss?:\/\/\S+) <-> \d/
const SENT = /^wss?:\/\/\S+ <- \d/
const ANSWERED = /^(https?:\/\/\S+) -> \d{1,12}(?:\.\d{1,20})?: /

/** Where a frame's text lies, and when it was received. */
interface Place {
  readonly file: number
  readonly start: number
  readonly end: number
  /** Seconds since the epoch; never before the frame ahead of it in its file. */
  readonly time: number
}

export interface RecordedFrame {
  readonly text: string
  readonly dialect: Dialect
  readonly time: number
}

export interface RecordedAnswer {
  readonly url: URL
  readonly body: string
}

/** Files of recorded traffic as one sequence. */
export class Recording {
  readonly files: readonly string[]
  /** Of the venues recorded, in the order of the files, each once. */
  readonly dialects: readonly Dialect[]
  /** REST answers in the order of the files, by `answerKey`. */
  readonly answers: ReadonlyMap<string, readonly RecordedAnswer[]>
  /** Lines that are none of the format, or too long; empty ones do not count. */
  readonly skipped: number
  readonly #buffers: readonly Buffer[]
  readonly #dialects: readonly Dialect[]
  readonly #places: readonly Place[]

  constructor(files: readonly string[], scans: readonly Scan[]) {
    this.files = files
    this.#buffers = scans.map((scan) => scan.buffer)
    this.#dialects = scans.map((scan) => scan.dialect)
    this.dialects = [...new Set(scans.filter((scan) => scan.places.length > 0).map((scan) => scan.dialect))]
    this.skipped = scans.reduce((sum, scan) => sum + scan.skipped, 0)
    // Stable: at one time, as the files were named.
    this.#places = scans.flatMap((scan) => scan.places).sort((a, b) => a.time - b.time)
    const answers = new Map<string, RecordedAnswer[]>()
    for (const answer of scans.flatMap((scan) => scan.answers)) {
      const key = answerKey(answer.url)
      answers.set(key, [...(answers.get(key) ?? []), answer])
    }
    this.answers = answers
  }

  get length(): number {
    return this.#places.length
  }

  timeAt(position: number): number {
    return this.#places[position]!.time
  }

  at(position: number): RecordedFrame {
    const { file, start, end, time } = this.#places[position]!
    return { text: this.#buffers[file]!.toString('utf8', start, end), dialect: this.#dialects[file]!, time }
  }
}

/** Requests are the same by path and symbol, whatever the limit. */
export function answerKey(url: URL): string {
  const of = url.searchParams
  const symbol = of.get('symbol') ?? of.get('pair') ?? of.get('product_id') ?? ''
  return `${url.pathname}?${symbol.toUpperCase()}`
}

/** Throws `bad-request` with one sentence if a file cannot be read, is too large, or none holds anything to play. */
export async function readRecording(
  files: readonly string[],
  dialects: readonly Dialect[],
): Promise<Recording> {
  let bytes = 0
  const scans: Scan[] = []
  const unknown = plainDialect()
  for (const [index, file] of files.entries()) {
    const buffer = await open(file, MAX_BYTES - bytes)
    bytes += buffer.length
    scans.push(scan(buffer, index, dialects, unknown))
  }
  const recording = new Recording(files, scans)
  if (recording.length === 0 && recording.answers.size === 0)
    throw new FeedgateError(
      'bad-request',
      `${files.join(', ')}: no line of the recording format, such as "1633998512.06: {…}"`,
    )
  return recording
}

async function open(file: string, room: number): Promise<Buffer> {
  try {
    const { size } = await stat(file)
    if (size > room)
      throw new FeedgateError(
        'bad-request',
        `${file}: the files to play are over 1 GiB together, play fewer or shorter ones`,
      )
    return await readFile(file)
  } catch (cause) {
    if (cause instanceof FeedgateError) throw cause
    const { code } = cause as NodeJS.ErrnoException
    throw new FeedgateError(
      'bad-request',
      `${file} cannot be read (${code}): name a file of recorded frames`,
      { cause },
    )
  }
}

interface Scan {
  readonly buffer: Buffer
  readonly dialect: Dialect
  readonly places: readonly Place[]
  readonly answers: readonly RecordedAnswer[]
  readonly skipped: number
}

function scan(buffer: Buffer, file: number, dialects: readonly Dialect[], unknown: Dialect): Scan {
  const places: Place[] = []
  const answers: RecordedAnswer[] = []
  const urls: string[] = []
  let skipped = 0
  let time = 0
  for (const [start, end] of linesOf(buffer)) {
    if (end - start > MAX_LINE) {
      skipped++
      continue
    }
    const received = RECEIVED.exec(buffer.toString('latin1', start, Math.min(end, start + MAX_TIME)))
    if (received) {
      time = Math.max(time, Number(received[1]))
      places.push({ file, start: start + received[0].length, end, time })
      continue
    }
    const head = buffer.toString('latin1', start, Math.min(end, start + MAX_HEAD))
    const answered = ANSWERED.exec(head)
    if (answered && URL.canParse(answered[1]!)) {
      answers.push({
        url: new URL(answered[1]!),
        body: buffer.toString('utf8', start + answered[0].length, end),
      })
      continue
    }
    const connected = CONNECTED.exec(head)
    if (connected) urls.push(connected[1]!)
    else if (!SENT.test(head)) skipped++
  }
  const frames = places
    .slice(0, TELLING_FRAMES)
    .map((place) => buffer.toString('utf8', place.start, place.end))
  const telling = [...urls, ...frames]
  const dialect = dialects.find((one) => telling.some((text) => one.recognises(text))) ?? unknown
  if (dialect.learn)
    for (const place of places) dialect.learn(buffer.toString('utf8', place.start, place.end))
  return { buffer, dialect, places, answers, skipped }
}

/** Bounds of each line that is not empty, without its end. */
function* linesOf(buffer: Buffer): Iterable<readonly [start: number, end: number]> {
  for (let start = 0; start < buffer.length; ) {
    const newline = buffer.indexOf(10, start)
    const next = newline < 0 ? buffer.length : newline
    const end = next > start && buffer[next - 1] === 13 ? next - 1 : next
    if (end > start) yield [start, end]
    start = next + 1
  }
}
