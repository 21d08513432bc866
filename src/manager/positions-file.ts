import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import type { EncodedEvent } from '../market/encoded-event.ts'
import type { StoredPosition } from '../store/store.ts'
import type { Position, Positions } from './positions.ts'
import { laterOf } from './unstored.ts'

/** Enough for what a venue sends again after a connection (at most 50 trades) and what was on its way. */
const MAX_TRADE_IDS = 256
/** Beyond it the topics that have been silent for longest are forgotten: a resume over their next seam is unrecovered. */
const MAX_TOPICS = 100_000
/** The file is written anew when what was appended outgrows this and what is alive. */
const MIN_APPENDED_BYTES = 1024 * 1024

/** One line of the file: only the trade ids that are new since the line before. */
type Line = readonly [
  topicId: string,
  epoch: number,
  seq: number,
  receivedTime: number,
  ...tradeIds: string[],
]

interface Known {
  epoch: number
  seq: number
  receivedTime: number
  tradeIds?: string[]
}

/**
 * Positions in a file that is appended to: one short write for each commit, whatever the number of topics. The kernel
 * keeps what was written when the process is killed; a line torn by a crash is ignored.
 * `unstored`: of a bus that outlives the process, where what it still holds for the store ends.
 */
export function openPositions(
  path: string,
  unstored?: () => Promise<ReadonlyMap<string, StoredPosition>>,
): Positions {
  return new PositionsFile(path, unstored)
}

class PositionsFile implements Positions {
  readonly #path: string
  readonly #unstored: (() => Promise<ReadonlyMap<string, StoredPosition>>) | undefined
  #loading: Promise<void> | undefined
  /** Longest silent first. */
  readonly #known = new Map<string, Known>()
  #file: number | undefined
  #appended = 0
  #alive = 0

  constructor(path: string, unstored: (() => Promise<ReadonlyMap<string, StoredPosition>>) | undefined) {
    this.#path = path
    this.#unstored = unstored
    for (const line of readLines(path)) this.#note(line)
    this.#compact()
  }

  /** Once for all sources: only an earlier process of this folder can have left something in the bus. */
  load(): Promise<void> {
    this.#loading ??= this.#load()
    this.#loading.catch(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #load(): Promise<void> {
    for (const [id, position] of (await this.#unstored?.()) ?? []) {
      const later = laterOf(this.#known.get(id), position)!
      this.#known.set(id, { ...later, ...(later.tradeIds && { tradeIds: [...later.tradeIds] }) } as Known)
    }
  }

  last(topicId: string): Position | undefined {
    const known = this.#known.get(topicId)
    return known && { ...known, ...(known.tradeIds && { tradeIds: [...known.tradeIds] }) }
  }

  stored(events: readonly EncodedEvent[]): void {
    if (this.#file === undefined || events.length === 0) return
    const lines = new Map<string, [string, number, number, number, ...string[]]>()
    for (const event of events) {
      const { id } = event.topic
      let line = lines.get(id)
      if (!line) {
        line = [id, event.epoch, event.seq, event.receivedTime]
        lines.set(id, line)
      } else if (isLater(event, line)) {
        line[1] = event.epoch
        line[2] = event.seq
        line[3] = event.receivedTime
      }
      if (event.type !== 'trade') continue
      const { payload } = event
      if (payload.type === 'trade' && payload.id !== undefined) line.push(payload.id)
    }
    let text = ''
    for (const line of lines.values()) {
      this.#note(line)
      text += `${JSON.stringify(line)}\n`
    }
    this.#appended += writeSync(this.#file, text)
    if (this.#appended > Math.max(MIN_APPENDED_BYTES, this.#alive)) this.#compact()
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
  }

  #note([id, epoch, seq, receivedTime, ...tradeIds]: Line): void {
    const known = this.#known.get(id)
    const newer = !known || epoch > known.epoch || (epoch === known.epoch && seq > known.seq)
    const next: Known = newer ? { epoch, seq, receivedTime } : known
    if (known?.tradeIds || tradeIds.length > 0)
      next.tradeIds = [...(known?.tradeIds ?? []), ...tradeIds].slice(-MAX_TRADE_IDS)
    this.#known.delete(id)
    this.#known.set(id, next)
    if (this.#known.size > MAX_TOPICS) this.#known.delete(this.#known.keys().next().value as string)
  }

  /** In one step: a reader finds the old file or the new one, never half of it. */
  #compact(): void {
    let text = ''
    for (const [id, { epoch, seq, receivedTime, tradeIds = [] }] of this.#known)
      text += `${JSON.stringify([id, epoch, seq, receivedTime, ...tradeIds])}\n`
    const draft = `${this.#path}.new`
    writeFileSync(draft, text, { mode: 0o600 })
    renameSync(draft, this.#path)
    this.close()
    this.#file = openSync(this.#path, 'a', 0o600)
    this.#appended = 0
    this.#alive = text.length
  }
}

function isLater(event: EncodedEvent, line: Line): boolean {
  return event.epoch > line[1] || (event.epoch === line[1] && event.seq > line[2])
}

function* readLines(path: string): Generator<Line> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  for (const line of text.split('\n')) {
    try {
      const parsed: unknown = JSON.parse(line)
      if (isLine(parsed)) yield parsed
    } catch {
      // The last line of a process that was killed while it wrote, and the empty one at the end.
    }
  }
}

function isLine(parsed: unknown): parsed is Line {
  if (!Array.isArray(parsed)) return false
  const [id, epoch, seq, receivedTime, ...ids] = parsed as unknown[]
  return (
    typeof id === 'string' &&
    [epoch, seq, receivedTime].every(Number.isSafeInteger) &&
    ids.every((one) => typeof one === 'string')
  )
}
