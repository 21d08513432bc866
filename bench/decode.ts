/**
 * µs a message, for each capture, in one run: JSON.parse alone; our decoder with the book's proofs and every event's
 * bytes made; tardis-dev, which proves nothing and makes no bytes (its mappers get parsed JSON, so JSON.parse counts).
 * Passes of the three alternate, each with new books; the median pass counts. Exits 1 only if a book is wrong.
 *
 *   npm ci --prefix bench && npm run bench:decode [-- --quick] [-- --captures DIR]
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Decoded, DecodedBook, DecodedEvent } from '../src/connectors/connector.ts'
import type { Venue } from '../src/connectors/venue.ts'
import { venue as binance } from '../src/connectors/venues/binance.ts'
import { venue as coinbase } from '../src/connectors/venues/coinbase.ts'
import { venue as krakenV1 } from '../src/connectors/venues/kraken-v1.ts'
import { encodeEvent } from '../src/market/encode.ts'
import type { Payload, VenueId } from '../src/market/event.ts'
import { OrderBook } from '../src/market/order-book.ts'
import { type Topic, topicOf } from '../src/market/topic.ts'

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    /** For profiling: one contestant, one capture. */
    only: { type: 'string' },
    capture: { type: 'string' },
    captures: { type: 'string', default: process.env.CAPTURES_DIR ?? '../shared/captures' },
  },
})

/** A message as it came: a frame of the socket, or a book fetched by REST, at its place among the frames. */
interface Message {
  readonly text: string
  /** The venue's name of the book's symbol, if it was fetched. */
  readonly fetched?: string
}

interface Capture {
  readonly file: string
  readonly rest?: string
  readonly venue: Venue
  readonly exchange: string
  readonly depth: number
  /** Nothing in it builds on what came before: it may be played again and again as one long connection. */
  readonly repeats?: boolean
}

/**
 * Messages of a pass at least, where a capture may be repeated: every pass makes decoders and mappers anew, as a
 * connection does once, and in a capture of 60 messages that would be much of what is measured.
 */
const LONG_CONNECTION = 2_000

const CAPTURES: readonly Capture[] = [
  { file: 'binance.ws.txt', rest: 'binance.rest.txt', venue: binance, exchange: 'binance', depth: 0 },
  { file: 'coinbase.ws.txt', venue: coinbase, exchange: 'coinbase', depth: 0 },
  { file: 'kraken-v1.book.ws.txt', venue: krakenV1, exchange: 'kraken', depth: 1000 },
  { file: 'kraken-v1.ticker.ws.txt', venue: krakenV1, exchange: 'kraken', depth: 1000, repeats: true },
  { file: 'kraken-v1.trade.ws.txt', venue: krakenV1, exchange: 'kraken', depth: 1000, repeats: true },
]

function messagesOf(capture: Capture): Message[] {
  const messages: (Message & { time: number })[] = []
  for (const line of linesOf(capture.file)) {
    const match = /^(\d+\.\d+): (.*)$/.exec(line)
    if (match) messages.push({ time: Number(match[1]), text: received(match[2]!) })
  }
  for (const line of capture.rest ? linesOf(capture.rest) : []) {
    const match = /symbol=(\w+)\S* -> (\d+\.\d+): (.*)$/.exec(line)
    if (match) messages.push({ time: Number(match[2]), text: received(match[3]!), fetched: match[1]! })
  }
  return messages.sort((a, b) => a.time - b.time)
}

function linesOf(file: string): string[] {
  return readFileSync(join(options.captures, file), 'utf8').split('\n')
}

/** As it comes off a socket: a text of its own, and no slice of a file. */
function received(text: string): string {
  return Buffer.from(text).toString()
}

/** A topic, and where its numbering stands. */
interface Numbered {
  readonly topic: Topic
  seq: number
}
/** By channel and symbol: they exist from the subscription on, not from the first message. */
type Topics = Map<string, Map<string, Numbered>>
interface Held {
  readonly numbered: Numbered
  readonly book: OrderBook
  local: VenueId | undefined
  known: boolean
  /** Diffs that came before the fetched book. */
  readonly waiting: DecodedBook[]
}

/** What a source does with a venue's messages, without the socket and the bus. */
class Pipeline {
  readonly #capture: Capture
  readonly #books = new Map<string, Held>()
  readonly #topics: Topics
  readonly #decode: (text: string) => void
  bytes = 0

  constructor(capture: Capture, topics: Topics) {
    this.#capture = capture
    this.#topics = topics
    const decoder = capture.venue.createDecoder({ symbolOf: (name) => name, venueSymbols: () => [] })
    const take = (update: Decoded) => this.#take(update)
    this.#decode = (text) => decoder.decode(text, take)
  }

  take({ text, fetched }: Message): void {
    if (fetched === undefined) this.#decode(text)
    else this.#book(this.#capture.venue.bookRequest!.parse(text, fetched))
  }

  #take(update: Decoded): void {
    if (update.kind === 'book') this.#book(update)
    else if (update.kind === 'event') this.#publish(this.#topic(update), update, update.payload)
    else if (update.kind === 'malformed') throw new Error(`malformed: ${update.reason}`)
  }

  #book(update: DecodedBook): void {
    const { book: rules } = this.#capture.venue
    const held = this.#held(update.symbol)
    const { book } = held
    if (update.snapshot) book.reset(update.bids, update.asks)
    else if (!held.known) {
      held.waiting.push(update)
      return
    } else {
      const follows = rules.follows && held.local !== undefined ? rules.follows(held.local, update) : 'apply'
      if (follows === 'old') return
      if (follows === 'gap') throw new Error(`gap in ${update.symbol}`)
      book.apply(update.bids, update.asks)
    }
    held.known = true
    held.local = update.last
    if (update.checksum !== undefined && rules.checksum?.(book) !== update.checksum)
      throw new Error(`wrong checksum of ${update.symbol}`)
    if (book.crossed()) throw new Error(`crossed book of ${update.symbol}`)
    const { bids, asks } = update
    const kind = update.snapshot ? 'snapshot' : 'delta'
    this.#publish(held.numbered, update, { type: 'orderbook', kind, bids, asks, depth: this.#capture.depth })
    for (const diff of held.waiting.splice(0)) this.#book(diff)
  }

  #held(symbol: string): Held {
    let held = this.#books.get(symbol)
    if (!held) {
      const numbered = this.#topic({ channel: 'orderbook', symbol })
      const book = new OrderBook({ truncateTo: this.#capture.depth })
      held = { numbered, book, local: undefined, known: false, waiting: [] }
      this.#books.set(symbol, held)
    }
    return held
  }

  #topic({ channel, symbol, timeframe }: Pick<DecodedEvent, 'channel' | 'symbol' | 'timeframe'>): Numbered {
    let topics = this.#topics.get(channel)
    if (!topics) {
      topics = new Map()
      this.#topics.set(channel, topics)
    }
    let numbered = topics.get(symbol)
    if (!numbered) {
      numbered = { topic: topicOf(this.#capture.venue.id, channel, symbol, timeframe), seq: 0 }
      topics.set(symbol, numbered)
    }
    return numbered
  }

  #publish(numbered: Numbered, from: { sourceTime?: number }, payload: Payload): void {
    numbered.seq++
    const receivedTime = 1_700_000_000_000_000 + numbered.seq
    const envelope = {
      epoch: 1_700_000_000_000_000,
      seq: numbered.seq,
      sourceTime: from.sourceTime,
      receivedTime,
      publishedTime: receivedTime + 20,
    }
    this.bytes += encodeEvent(numbered.topic, envelope, payload).bytes.length
  }
}

interface Mapper {
  canHandle(message: unknown): boolean
  map(message: unknown, localTimestamp: Date): Iterable<unknown> | undefined
}
type Normalizer = (exchange: string, localTimestamp: Date) => Mapper
interface TardisDev {
  readonly normalizeTrades: Normalizer
  readonly normalizeBookChanges: Normalizer
  readonly normalizeBookTickers: Normalizer
}

function loadTardis(): TardisDev {
  try {
    return createRequire(import.meta.url)('tardis-dev') as TardisDev
  } catch {
    console.error('tardis-dev is not installed: npm ci --prefix bench')
    process.exit(2)
  }
}

const tardis = loadTardis()

type Contestant = (capture: Capture, messages: readonly Message[]) => () => number

/** What all passes made: used, so that no work can be left out. */
let made = 0

/** Each answers a pass. */
const CONTESTANTS: Readonly<Record<string, Contestant>> = {
  'JSON.parse': (_capture, messages) => () => {
    let count = 0
    for (const { text } of messages) if (JSON.parse(text)) count++
    return count
  },
  feedgate: (capture, messages) => {
    const topics: Topics = new Map()
    return () => {
      const pipeline = new Pipeline(capture, topics)
      for (const message of messages) pipeline.take(message)
      return pipeline.bytes
    }
  },
  'tardis-dev': ({ exchange }, messages) => {
    // It takes fetched books in an envelope of its own.
    const texts = messages.map(({ text, fetched }) =>
      fetched ? `{"stream":"${fetched.toLowerCase()}@depthSnapshot","data":${text}}` : text,
    )
    const time = new Date('2021-10-12T00:00:00Z')
    return () => {
      const { normalizeTrades, normalizeBookChanges, normalizeBookTickers } = tardis
      const normalizers = [normalizeTrades, normalizeBookChanges, normalizeBookTickers]
      const mappers = normalizers.map((normalizer) => normalizer(exchange, time))
      let count = 0
      for (const text of texts) {
        const message = JSON.parse(text)
        for (const mapper of mappers) {
          if (!mapper.canHandle(message)) continue
          for (const _ of mapper.map(message, time) ?? []) count++
        }
      }
      return count
    }
  },
}

/** Passes are repeated inside a measurement until it is long enough for the clock; the first are for the compiler. */
function measure(passes: Readonly<Record<string, () => number>>, messages: number): Record<string, number> {
  const rounds = options.quick ? 9 : 75
  const times = new Map(Object.keys(passes).map((name) => [name, [] as number[]]))
  for (const pass of Object.values(passes)) timed(pass, options.quick ? 300 : 1500)
  for (let round = 0; round < rounds; round++) {
    for (const [name, pass] of Object.entries(passes))
      times.get(name)!.push((timed(pass, options.quick ? 15 : 30) * 1000) / messages)
  }
  return Object.fromEntries([...times].map(([name, all]) => [name, median(all)]))
}

/** Milliseconds a pass, over at least this time. */
function timed(pass: () => number, atLeastMs: number): number {
  const start = performance.now()
  for (let passes = 1; ; passes++) {
    made += pass()
    const elapsed = performance.now() - start
    if (elapsed >= atLeastMs) return elapsed / passes
  }
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!
}

if (!existsSync(options.captures)) {
  console.log(`no captures in ${options.captures}: nothing to measure`)
  process.exit(0)
}
console.log(`µs a message, median; Node ${process.version}`)
const rows = CAPTURES.filter(({ file }) => file.startsWith(options.capture ?? '')).map((capture) => {
  const recorded = messagesOf(capture)
  const copies = capture.repeats ? Math.ceil(LONG_CONNECTION / recorded.length) : 1
  const messages = Array.from({ length: copies }, () => recorded).flat()
  const passes = Object.entries(CONTESTANTS)
    .filter(([name]) => name === (options.only ?? name))
    .map(([name, enter]) => [name, enter(capture, messages)] as const)
  const result = measure(Object.fromEntries(passes), messages.length)
  const times = Object.fromEntries(Object.entries(result).map(([name, time]) => [name, time.toFixed(2)]))
  const ratio = ((result['tardis-dev'] ?? Number.NaN) / (result.feedgate ?? Number.NaN)).toFixed(2)
  return { capture: capture.file, messages: recorded.length, ...times, 'times as fast as tardis-dev': ratio }
})
console.table(rows)
// Its mappers know no v1 ticker: there it does what JSON.parse does.
if (made === 0) process.exitCode = 1
