import { FeedgateError } from '../errors.ts'
import type { Ask, Dialect, Recorded } from './dialect.ts'
import type { Mirror } from './mirror.ts'
import { corrupted, withAbsurdSize, withBigIds, withExponent } from './rewrites.ts'

/**
 * What goes wrong at venues, by name, with what the player does. Faults touch what is sent, never the player's own book.
 * Each happens once or a few times in a run, at places that the seed decides, and says so in one line.
 */
export const FAULTS = {
  drop: 'leaves out one book or trade message whose loss can be proven',
  duplicate: 'sends a book or trade message twice, three times',
  reorder: 'sends a book or trade message after the next one of its stream',
  'old-snapshot':
    'gives a book snapshot older than the messages that follow it, once for each book by REST, else once',
  zombie: 'acknowledges a subscription and sends nothing for it until it is subscribed to again',
  'pongs-only': 'sends nothing more than pongs on one connection until the client reconnects',
  'half-open': 'reads and writes nothing more on one connection, and leaves it open',
  shutdown: 'announces that the connection will end, and ends it 3 s later',
  cut: 'resets a connection in the middle of a frame, which comes again after the reconnect',
  '429': 'refuses the first two handshakes and REST requests with it: too many',
  '418': 'refuses the first two handshakes and REST requests with it: banned',
  '451': 'refuses the first two handshakes and REST requests with it: not in this country',
  'two-maps': 'Kraken v1: puts the two sides of a book message into two maps, three times',
  corrupt: 'Kraken: changes one digit of a quantity among the best ten, so that the checksum does not hold',
  absurd: 'gives one message a time of the year 1, and another the size 0.-10000',
  'big-id': 'moves every trade and update id above 2^53',
  exponent: 'writes a size with an exponent, such as 5.100e-05, three times',
  'bad-symbol': 'refuses the second symbol that is asked for',
  'unknown-type': 'sends a message of a type nobody knows, three times',
  quiet: 'says nothing of one symbol for 30 s, while heartbeats go on',
} as const

export type Fault = keyof typeof FAULTS

/** Throws `bad-request` with what is accepted. */
export function parseFaults(text: string): Fault[] {
  const names = text.split(',').map((name) => name.trim())
  for (const name of names) {
    if (!Object.hasOwn(FAULTS, name))
      throw new FeedgateError(
        'bad-request',
        `unknown fault ${JSON.stringify(name)}: accepted are ${Object.keys(FAULTS).join(', ')}`,
      )
  }
  return [...new Set(names)] as Fault[]
}

/** Handshakes, and REST requests, that a refusal takes. */
const REFUSALS = 2
const REFUSAL_STATUS = {
  '429': 'Too Many Requests',
  '418': "I'm a teapot",
  '451': 'Unavailable For Legal Reasons',
} as const

/** How often a fault happens, and that not at once. */
interface Turn {
  wait: number
  left: number
}

/** Where a frame goes, as far as faults need to know it. */
export interface Delivery {
  readonly text: string
  readonly recorded: Recorded
  readonly dialect: Dialect
  readonly mirror: Mirror | undefined
  /** The client asked for the stream, and can prove that the message is lost, doubled or moved. */
  readonly provable: boolean
}

export class Faults {
  readonly #on: ReadonlySet<Fault>
  readonly #turns = new Map<Fault, Turn>()
  readonly #random: () => number
  readonly #log: (line: string) => void
  readonly #refusals = { handshake: new Map<Fault, number>(), rest: new Map<Fault, number>() }
  /** REST books that were given in an old form. */
  readonly #oldBooks = new Set<string>()
  /** The stream whose messages are left out until one that can be missed is among them. */
  #withheld: string | undefined
  #badSymbol: string | undefined
  #firstSymbol: string | undefined
  #bigIdsTold = false

  constructor(on: readonly Fault[], seed: number, log: (line: string) => void) {
    this.#on = new Set(on)
    this.#random = randomOf(seed)
    this.#log = log
  }

  /** Lines for faults that none of the recorded venues can have. */
  explain(dialects: readonly Dialect[]): void {
    const can: Partial<Record<Fault, (dialect: Dialect) => unknown>> = {
      'two-maps': (dialect) => dialect.faults.twoMaps,
      corrupt: (dialect) => dialect.faults.levelText,
      'big-id': (dialect) => dialect.faults.ids,
      'old-snapshot': ({ faults }) => faults.levelText ?? faults.olderRestBook,
    }
    for (const [fault, has] of Object.entries(can))
      if (this.has(fault as Fault) && !dialects.some(has))
        this.#log(`fault ${fault}: no venue of this recording can have it`)
  }

  has(fault: Fault): boolean {
    return this.#on.has(fault)
  }

  say(fault: Fault, what: string): void {
    this.#log(`fault ${fault}: ${what}`)
  }

  /**
   * Is it the fault's turn? Counts one occasion. The first turn comes within `from` and twice that many occasions, so
   * that short recordings see it.
   */
  turn(fault: Fault, times: number, from: number): boolean {
    if (!this.#on.has(fault)) return false
    let turn = this.#turns.get(fault)
    if (!turn) {
      turn = { wait: this.#between(from), left: times }
      this.#turns.set(fault, turn)
    }
    if (turn.left === 0 || turn.wait-- > 0) return false
    turn.left--
    turn.wait = this.#between(20)
    return true
  }

  #between(from: number): number {
    return from + Math.floor(this.#random() * from)
  }

  /** The status line to refuse a handshake or a REST request with. */
  refusal(what: 'handshake' | 'rest'): { status: number; reason: string; retryAfterS: number } | undefined {
    for (const fault of ['429', '418', '451'] as const) {
      if (!this.#on.has(fault)) continue
      const done = this.#refusals[what].get(fault) ?? 0
      if (done >= REFUSALS) continue
      this.#refusals[what].set(fault, done + 1)
      this.say(fault, `refused a ${what === 'rest' ? 'REST request' : what}`)
      return { status: Number(fault), reason: REFUSAL_STATUS[fault], retryAfterS: 1 }
    }
    return undefined
  }

  /** Is this the one symbol that the venue does not know? */
  refuses(ask: Ask): boolean {
    if (!this.#on.has('bad-symbol') || ask.symbol === '') return false
    this.#firstSymbol ??= ask.symbol
    if (this.#badSymbol === undefined && ask.symbol !== this.#firstSymbol) {
      this.#badSymbol = ask.symbol
      this.say('bad-symbol', ask.symbol)
    }
    return ask.symbol === this.#badSymbol
  }

  isBad(symbol: string | undefined): boolean {
    return symbol !== undefined && symbol === this.#badSymbol
  }

  /** Should this REST book be given in an old form first? */
  oldBook(key: string): boolean {
    if (!this.#on.has('old-snapshot') || this.#oldBooks.has(key)) return false
    this.#oldBooks.add(key)
    this.say('old-snapshot', key)
    return true
  }

  /** The texts to send for a frame, in order. */
  apply(delivery: Delivery): string[] {
    const { recorded, dialect } = delivery
    const texts: string[] = []
    if (recorded.kind === 'data' && this.turn('unknown-type', 3, 3)) {
      this.say('unknown-type', dialect.id)
      texts.push(dialect.faults.unknownType(3 - this.#turns.get('unknown-type')!.left))
    }
    if (this.#leavesOut(delivery)) return texts
    const text = this.rewriteIds(this.#rewrite(delivery), dialect)
    texts.push(text)
    if (delivery.provable && this.turn('duplicate', 3, 3)) {
      this.say('duplicate', recorded.stream!)
      texts.push(text)
    }
    return texts
  }

  #leavesOut({ recorded, provable }: Delivery): boolean {
    const { stream, book } = recorded
    if (book && !book.snapshot && this.#withheld !== undefined && this.#withheld === stream) {
      if (provable) this.#withheld = undefined
      return true
    }
    if (!provable || !this.turn('drop', 1, 3)) return false
    this.say('drop', stream!)
    return true
  }

  /** Of a venue that sends snapshots by itself: what follows this one is left out, which makes it too old. */
  snapshotSent(stream: string, dialect: Dialect): void {
    if (this.#withheld === stream) this.#withheld = undefined
    if (dialect.faults.levelText && this.turn('old-snapshot', 1, 0)) {
      this.say('old-snapshot', `${stream}: messages behind the snapshot are left out`)
      this.#withheld = stream
    }
  }

  #rewrite(delivery: Delivery): string {
    const { recorded, dialect, mirror } = delivery
    let { text } = delivery
    const change = (fault: Fault, times: number, from: number, rewritten: string | undefined) => {
      if (rewritten === undefined || rewritten === text || !this.turn(fault, times, from)) return
      this.say(fault, `${recorded.stream}: ${rewritten.slice(0, 200)}`)
      text = rewritten
    }
    if (mirror && recorded.book && !recorded.book.snapshot) {
      if (this.has('two-maps')) change('two-maps', 3, 2, dialect.faults.twoMaps?.(text, recorded, mirror))
      if (this.has('corrupt')) change('corrupt', 1, 3, corrupted(text, recorded, dialect, mirror.book))
    }
    if (recorded.kind === 'data' && !recorded.book?.snapshot) {
      if (this.has('exponent')) change('exponent', 3, 3, withExponent(text, recorded))
      // By turns: first the time, then the size.
      if (this.has('absurd') && recorded.amounts)
        change(
          'absurd',
          2,
          3,
          this.#turns.get('absurd')?.left === 1
            ? withAbsurdSize(text, recorded)
            : dialect.faults.absurdTime(text),
        )
    }
    return text
  }

  /** `big-id` concerns every text that is sent, made ones too. */
  rewriteIds(text: string, dialect: Dialect): string {
    if (!this.#on.has('big-id') || !dialect.faults.ids) return text
    if (!this.#bigIdsTold) this.say('big-id', `every id is 2^53 greater than recorded`)
    this.#bigIdsTold = true
    return withBigIds(text, dialect)
  }
}

/** A small generator (mulberry32): the same seed gives the same run. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
