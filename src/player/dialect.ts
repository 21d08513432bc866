import { readdir } from 'node:fs/promises'
import type { Level } from '../market/event.ts'
import type { BookMessage, Mirror } from './mirror.ts'

/**
 * Terms. A *stream* is what a client subscribes to at a venue, named without what the client may choose (depth, speed):
 * `book|XBT/USD`. An *ask* is a client's wish for a stream. A *recorded* frame is one of a recording, read. A dialect is
 * how one venue's clients and frames speak: all that the player knows of a venue is in its file in `venues/`.
 */

export interface Recorded {
  /**
   * `data` belongs to a stream; a `notice` to the whole connection (heartbeat, status); an `answer` was for the recorder
   * alone (its ids, its depths): clients get answers of their own instead.
   */
  readonly kind: 'data' | 'notice' | 'answer'
  readonly stream?: string
  /** The venue's name of the symbol. */
  readonly symbol?: string
  readonly book?: BookMessage
  readonly trade?: { readonly id: number; readonly sequence?: number }
  /** The venue numbers or hashes these, so that a client can prove that one is lost, doubled or moved. */
  readonly provable?: boolean
  /** Texts of the sizes in the frame, with their quotes where the venue has them. */
  readonly amounts?: readonly string[]
}

export interface Ask {
  readonly stream: string
  /** The venue's name of the symbol; empty where the stream has none. */
  readonly symbol: string
  /** The channel as the client wrote it. */
  readonly channel: string
  /** Book levels a side. */
  readonly depth?: number
  /** false: the client wants no snapshot. */
  readonly snapshot?: boolean
}

export interface Subscribing {
  readonly kind: 'subscribe' | 'unsubscribe'
  readonly asks: readonly Ask[]
  /** One bad symbol voids the message. */
  readonly whole?: boolean
  /** What the venue answers; `held` are all asks of the connection after the request. */
  answer(accepted: readonly Ask[], refused: readonly Ask[], held: readonly Ask[]): readonly string[]
}

export interface Replying {
  readonly kind: 'ping' | 'other'
  readonly frames: readonly string[]
}

/** What a client says, and what the venue answers. */
export type Request = Subscribing | Replying

/** What is known of a connection's subscription when heartbeats are made for it. */
export interface HeartbeatState {
  readonly asks: readonly Ask[]
  /** Milliseconds since anything was sent on the connection. */
  readonly idleMs: number
  /** Milliseconds since a frame of the stream was sent; Infinity: never. */
  streamIdleMs(stream: string): number
  /** The last trade of the symbol that the recording has shown. */
  lastTrade(symbol: string): Recorded['trade']
}

/** How a venue's clients and frames speak. One for each player: it may learn from the recording. */
export interface Dialect {
  readonly id: string
  /** Is this URL of a connection, or this recorded frame, the venue's? */
  recognises(text: string): boolean
  /** Sees every recorded frame when the files are read: for what answers need before their frame's turn. */
  learn?(frame: string): void
  /** Never throws: what is no frame of the venue is a notice. */
  read(frame: string): Recorded
  /** `message`: parsed JSON, else the text. Undefined: not a message of the venue's clients. */
  request(message: unknown, held: readonly Ask[]): Request | undefined
  /** What a URL subscribes to. */
  requestInUrl?(url: URL): Request | undefined
  greeting?(): string
  heartbeats?(state: HeartbeatState): readonly string[]
  /** The frame in the form this client gets: its path and ask may differ from the recorder's. */
  adapt?(frame: string, recorded: Recorded, path: string, ask: Ask | undefined): string
  /** A snapshot, or what changed for a client of fewer levels than were recorded. */
  bookFrame?(
    kind: 'snapshot' | 'update',
    ask: Ask,
    bids: readonly Level[],
    asks: readonly Level[],
    state: BookState,
  ): string
  /** A snapshot of what is no book, for an ask whose first snapshot has passed. */
  latest?(ask: Ask): string | undefined
  /** Is this REST request one for a book, and of which stream? */
  restBook?(url: URL): { readonly stream: string; readonly limit: number } | undefined
  readRestBook?(body: string): BookMessage
  writeRestBook?(mirror: Mirror, limit: number): string
  readonly faults: DialectFaults
}

/** The venue's part in faults; what a venue lacks does not happen there. */
export interface DialectFaults {
  /** Matches an id's key and digits: `"(key)":(digits)`. */
  readonly ids?: RegExp
  /** A level as it stands in a frame; only where the venue hashes its books. */
  levelText?(price: string, size: string): string
  /** The frame with a time of the year 1; unchanged if it has none. */
  absurdTime(frame: string): string
  unknownType(count: number): string
  shutdown?(path: string): string
  /** The frame with its bids and asks in two maps; undefined if it cannot be one. */
  twoMaps?(frame: string, recorded: Recorded, now: Pick<Mirror, 'book' | 'time'>): string | undefined
  /** A book's REST answer as it was long before. */
  olderRestBook?(body: string): string
  /** The answer to a REST request for a symbol that is refused. */
  badSymbol?: string
}

const FOLDER = new URL('./venues/', import.meta.url)

/** Every dialect of the folder, new. */
export async function loadDialects(): Promise<Dialect[]> {
  const files = (await readdir(FOLDER)).filter((name) => /(?<!\.d)\.[jt]s$/.test(name)).sort()
  return Promise.all(
    files.map(async (name) => {
      const module = (await import(new URL(name, FOLDER).href)) as { createDialect(): Dialect }
      return module.createDialect()
    }),
  )
}

/**
 * Of a venue that the player does not know: whatever a client says first subscribes it to all that was recorded, and
 * nothing is answered.
 */
export function plainDialect(): Dialect {
  return {
    id: 'unknown venue',
    recognises: () => true,
    read: () => ({ kind: 'notice' }),
    request: () => ({
      kind: 'subscribe',
      asks: [{ stream: '*', symbol: '', channel: '*' }],
      answer: () => [],
    }),
    faults: { absurdTime: (frame) => frame, unknownType: (count) => `{"unknown":${count}}` },
  }
}

/** What a venue says of a book besides its levels. */
export type BookState = Pick<Mirror, 'time' | 'checksum'> & Partial<Pick<Mirror, 'last'>>

/** Parsed JSON, or undefined. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Parsed JSON whose numbers are left as the texts they were: no digit is lost. */
export function parseExact(text: string): unknown {
  return parseJson(
    text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (part) => (part[0] === '"' ? part : `"${part}"`)),
  )
}

export type Fields = Readonly<Record<string, unknown>>

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The strings among the items of a list. */
export function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : []
}

/** A list of levels, those that are none left out. */
export function levelsOf(value: unknown): Level[] {
  if (!Array.isArray(value)) return []
  return value.filter(
    (level) => Array.isArray(level) && typeof level[0] === 'string' && typeof level[1] === 'string',
  )
}
