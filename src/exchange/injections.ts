import { FeedgateError } from '../errors.ts'
import { FAULTS } from '../player/faults.ts'

/**
 * What an exchange can be made to do wrong while it runs, by name: the faults of `feedgate play` and three more. Faults
 * touch what is sent, never the market.
 */
export const EXCHANGE_FAULTS = {
  ...FAULTS,
  drop: 'leaves out a book or trade message',
  duplicate: 'sends a book or trade message twice',
  reorder: 'sends a book or trade message after the next one of its feed',
  'old-snapshot': 'gives a book snapshot, by REST or on the stream, of 20 steps before',
  zombie: 'acknowledges a subscription and sends nothing for it until it is subscribed to again',
  'pongs-only': 'sends nothing more than pongs on a connection',
  shutdown: 'announces that a connection will end, and ends it 3 s later',
  cut: 'resets a connection in the middle of a frame',
  'hard-cut': 'resets a connection between two frames',
  '429': 'refuses a handshake or a REST request with it: too many',
  '418': 'refuses a handshake or a REST request with it: banned',
  '451': 'refuses a handshake or a REST request with it: not in this country',
  'two-maps': 'Kraken v1: puts the two sides of a book message into two maps',
  corrupt: 'Kraken, OKX: changes one digit of a size among the best ten, so that the checksum does not hold',
  absurd: 'gives a message a time of the year 1, and by turns another the size 0.-10000',
  exponent: 'writes a size with an exponent, such as 5.100e-05',
  'bad-symbol': 'does not know the symbol any more',
  'unknown-type': 'sends a message of a type nobody knows',
  quiet: 'nothing happens in a market, while heartbeats go on',
  withheld: 'acknowledges subscriptions and never sends anything for them, whoever asks again',
  'rate-limited': 'answers a subscription as one too many',
} as const

export type ExchangeFault = keyof typeof EXCHANGE_FAULTS

/** Faults that last until they are ended; all others happen `count` times. */
const LASTING: ReadonlySet<ExchangeFault> = new Set<ExchangeFault>([
  'big-id',
  'bad-symbol',
  'quiet',
  'withheld',
])

/** What of a connection can be meant. */
export type Matter = 'book' | 'trade' | 'other'

export interface InjectOptions {
  readonly fault: ExchangeFault
  /** feedgate's name (`BTC/USDT`). Default: any. */
  readonly symbol?: string
  /** Its number (`exchange.connections`). Default: any. */
  readonly connection?: number
  /** Messages of books or of trades. Default: both, where the venue numbers or hashes them. */
  readonly matter?: Matter
  /**
   * Occasions that are let pass first: messages, subscriptions or requests that match. Absent, faults of a whole
   * connection happen at once, without waiting for a message.
   */
  readonly after?: number
  /** Default 1; of those that last (`big-id`, `bad-symbol`, `quiet`, `withheld`) no end. */
  readonly count?: number
  /** Ends by itself after so long. */
  readonly ms?: number
  /** Of 429, 418 and 451. Default: both. */
  readonly where?: 'handshake' | 'rest'
  /** Of 429, 418 and 451, in seconds. Default 1. */
  readonly retryAfterS?: number
}

export interface Injected {
  /** How often it happened. */
  readonly hits: number
  /** Safe to call twice. */
  end(): void
}

/** What an occasion is about; what it does not name, no injection can ask of it. */
export interface Occasion {
  readonly symbol?: string | undefined
  readonly connection?: number | undefined
  readonly matter?: Matter | undefined
  readonly where?: 'handshake' | 'rest'
}

export class Injection implements Injected {
  readonly options: InjectOptions
  hits = 0
  #wait: number
  #left: number
  readonly #ended: (injection: Injection) => void

  constructor(options: InjectOptions, ended: (injection: Injection) => void) {
    this.options = options
    this.#wait = options.after ?? 0
    this.#left = options.count ?? (LASTING.has(options.fault) ? Number.POSITIVE_INFINITY : 1)
    this.#ended = ended
  }

  matches({ symbol, connection, matter, where }: Occasion): boolean {
    const wanted = this.options
    return (
      (wanted.symbol === undefined || wanted.symbol === symbol) &&
      (wanted.connection === undefined || wanted.connection === connection) &&
      (wanted.matter === undefined || wanted.matter === matter) &&
      (wanted.where === undefined || wanted.where === where)
    )
  }

  /** Counts an occasion that matches; true: it happens now. */
  happens(): boolean {
    if (this.#wait > 0) {
      this.#wait--
      return false
    }
    this.hits++
    if (--this.#left <= 0) this.end()
    return true
  }

  end(): void {
    this.#ended(this)
  }
}

/** What is switched on. */
export class Injections {
  readonly #active = new Set<Injection>()

  /** Nothing is switched on: frames need not be looked at. */
  get none(): boolean {
    return this.#active.size === 0
  }

  /** Throws `bad-request` for a name that is no fault. */
  add(options: InjectOptions, then: () => void = () => {}): Injection {
    if (!Object.hasOwn(EXCHANGE_FAULTS, options.fault))
      throw new FeedgateError(
        'bad-request',
        `unknown fault ${JSON.stringify(options.fault)}: accepted are ${Object.keys(EXCHANGE_FAULTS).join(', ')}`,
      )
    let timer: NodeJS.Timeout | undefined
    const injection = new Injection(options, () => {
      clearTimeout(timer)
      if (this.#active.delete(injection)) then()
    })
    this.#active.add(injection)
    if (options.ms !== undefined) timer = setTimeout(() => injection.end(), options.ms).unref()
    return injection
  }

  /** Is the fault switched on for this? Counts no occasion. */
  holds(fault: ExchangeFault, occasion: Occasion): Injection | undefined {
    for (const one of this.#active) if (one.options.fault === fault && one.matches(occasion)) return one
    return undefined
  }

  /** Does the fault happen on this occasion? */
  take(fault: ExchangeFault, occasion: Occasion): Injection | undefined {
    for (const one of this.#active)
      if (one.options.fault === fault && one.matches(occasion) && one.happens()) return one
    return undefined
  }

  endAll(): void {
    for (const one of [...this.#active]) one.end()
  }
}
