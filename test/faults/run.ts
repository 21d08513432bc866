import {
  type Exchange,
  type Injected,
  type InjectOptions,
  startExchange,
} from '../../src/exchange/exchange.ts'
import type { SourceSpec, TopicStatus } from '../../src/manager/manager.ts'
import { startUpstream, type Upstream } from '../manager/venue-world.ts'
import { hurriedConnectors, PATIENCE_OF, type Pace, scaleOf } from './hurry.ts'
import { BookWatch, TradeWatch } from './watch.ts'

interface Wanted {
  readonly symbols: readonly [string, string]
  /** Of the books. */
  readonly limit?: number
  /** Levels of the true books that are compared; default all. */
  readonly depth?: number
  /** false: messages of books have no numbers. */
  readonly numbered?: boolean
}

/** The native venues, and what is asked of each. */
export const VENUES = {
  binance: { symbols: ['BTC/USDT', 'ETH/USDT'] },
  'binance-futures': { symbols: ['BTC/USDT:USDT', 'ETH/USDT:USDT'] },
  bybit: { symbols: ['BTC/USDT', 'ETH/USDT'], limit: 50 },
  coinbase: { symbols: ['BTC/USD', 'ETH/USD'] },
  // Of so small a book all is under their checksum.
  kraken: { symbols: ['BTC/USD', 'ETH/USD'], limit: 10, depth: 10, numbered: false },
  'kraken-v1': { symbols: ['BTC/USD', 'DOGE/USD'], limit: 10, depth: 10, numbered: false },
  okx: { symbols: ['BTC/USDT', 'ETH/USDT'] },
} as const satisfies Record<string, Wanted>

export type VenueId = keyof typeof VENUES
export const VENUE_IDS = Object.keys(VENUES) as VenueId[]
export const CHANNELS = ['orderbook', 'trades', 'ticker', 'openinterest'] as const
export const SOURCE = 'x'

/** Levels a side of the true books. */
const BOOK_LEVELS = 12
const SETTLE_MS = 10_000
/** When no hole is repaired for so long, those that are left stay. */
const REPAIR_MS = 1_500

export interface RunOptions {
  readonly venue: VenueId
  readonly seed?: number
  /** Default calm. */
  readonly pace?: Pace
  /** Of the exchange's time; default as the connector's. */
  readonly timeScale?: number
  /** What is wrong from the beginning. */
  readonly faults?: readonly InjectOptions[]
  /** Steps before anybody connects. */
  readonly history?: number
  /** Open interest is subscribed to as well. */
  readonly polled?: true
}

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** A venue, the upstream half of a gateway that follows it, and what the venue's markets ever were. */
export class FaultRun {
  readonly symbols: readonly [string, string]
  readonly exchange: Exchange
  readonly books = new Map<string, BookWatch>()
  readonly trades = new Map<string, TradeWatch>()
  upstream!: Upstream
  readonly #injected: Injected[] = []
  /** Events of `upstream.events` that the watches have taken. */
  #taken = 0

  private constructor(exchange: Exchange, wanted: Wanted) {
    const { symbols } = wanted
    this.exchange = exchange
    this.symbols = symbols
    for (const symbol of symbols) {
      const truth = exchange.truth(symbol)
      this.books.set(symbol, new BookWatch(truth, wanted))
      this.trades.set(symbol, new TradeWatch(truth))
    }
  }

  static async start(options: RunOptions): Promise<FaultRun> {
    const { venue, seed = 1, pace = 'calm', faults = [], history = 0, polled } = options
    const { timeScale = scaleOf(venue, pace) } = options
    const wanted: Wanted = VENUES[venue]
    const { symbols, limit } = wanted
    const exchange = await startExchange({
      ...{ venue, seed, timeScale, symbols, depth: BOOK_LEVELS, rate: 0, enforceLimits: false },
    })
    const run = new FaultRun(exchange, wanted)
    run.burst(history)
    for (const fault of faults) run.inject(fault)
    const spec: SourceSpec = {
      id: SOURCE,
      kind: venue,
      url: exchange.url,
      restUrl: exchange.restUrl,
      reconnect: { baseMs: 10, capMs: 60, maxRetries: 1_000 },
      subscriptions: [
        { channel: 'orderbook', symbols, ...(limit !== undefined && { limit }) },
        { channel: 'trades', symbols },
        { channel: 'ticker', symbols },
        ...(polled ? [{ channel: 'openinterest', symbols } as const] : []),
      ],
    }
    const connectors = hurriedConnectors(venue, pace)
    run.upstream = await startUpstream([spec], { connectors, patience: PATIENCE_OF[pace] })
    return run
  }

  inject(options: InjectOptions): Injected {
    const injected = this.exchange.inject(options)
    this.#injected.push(injected)
    return injected
  }

  /** Whatever is wrong ends. */
  calm(): void {
    for (const injected of this.#injected.splice(0)) injected.end()
  }

  async stop(): Promise<void> {
    await this.upstream.stop()
    await this.exchange.close()
  }

  /** Steps, by turns of the markets, while nobody reads. */
  burst(steps: number): void {
    for (let step = 0; step < steps; step++) {
      const before = this.symbols.map((symbol) => this.exchange.truth(symbol).seq)
      this.exchange.advance(1)
      this.symbols.forEach((symbol, at) => {
        if (this.exchange.truth(symbol).seq === before[at]) return
        this.books.get(symbol)!.stepped()
        this.trades.get(symbol)!.stepped()
      })
    }
  }

  /** Steps, while gateway and venue do what they do. */
  async step(steps: number): Promise<void> {
    for (let done = 0; done < steps; done += 2) {
      this.burst(2)
      await pause(1)
    }
  }

  get topics(): readonly TopicStatus[] {
    return this.upstream.manager.status(SOURCE)!.topics
  }

  get isConnected(): boolean {
    return this.upstream.manager.status(SOURCE)!.state === 'connected'
  }

  /** Waits, while the markets stand still. */
  async until(what: string, holds: () => boolean): Promise<void> {
    await this.upstream.until(what, holds, SETTLE_MS)
  }

  isRefused(channel: string, symbol: string): boolean {
    return this.topics.some(
      (one) => one.state === 'refused' && one.channel === channel && one.symbol === symbol,
    )
  }

  /** Every topic has had an event, or was refused. */
  async live(): Promise<void> {
    const silent = () => this.topics.filter(({ state }) => state !== 'live' && state !== 'refused')
    await this.#stepUntil(() => silent()[0] && `not live: ${JSON.stringify(silent())}`)
  }

  /** Nothing is wrong any more: the books are those of the venue, and each trade came or lies in a hole that stays. */
  async settled(): Promise<void> {
    await this.live()
    await this.#stepUntil(() => this.#unsettled())
    let open = this.#openHoles()
    for (let end = performance.now() + REPAIR_MS; open > 0 && performance.now() < end; ) {
      await pause(10)
      if (this.#openHoles() < open) end = performance.now() + REPAIR_MS
      open = this.#openHoles()
    }
  }

  #openHoles(): number {
    this.take()
    return [...this.trades.values()].flatMap(({ holes }) => holes.filter((hole) => !hole.repaired)).length
  }

  #unsettled(): string | undefined {
    this.take()
    for (const symbol of this.symbols) {
      if (!this.isRefused('orderbook', symbol) && !this.books.get(symbol)!.isCurrent)
        return `the book of ${symbol} is not the venue's`
      const { untold } = this.trades.get(symbol)!
      if (!this.isRefused('trades', symbol) && untold.length > 0)
        return `trades of ${symbol} are missing, untold: ${untold.join()}`
    }
    return undefined
  }

  async #stepUntil(wrong: () => string | undefined): Promise<void> {
    const end = performance.now() + SETTLE_MS
    for (let what = wrong(); what !== undefined; what = wrong()) {
      if (performance.now() > end) throw new Error(`not settled: ${what}`)
      this.burst(2)
      await pause(10)
    }
  }

  /** Shows the watches the events that came since. */
  take(): void {
    const { events } = this.upstream
    for (; this.#taken < events.length; this.#taken++) {
      const event = events[this.#taken]!
      const { channel, subject } = event.topic
      if (channel === 'orderbook') this.books.get(subject)?.take(event)
      else if (channel === 'trades') this.trades.get(subject)?.take(event)
    }
  }

  /** What a client of the symbol sees besides data. */
  seen(symbol: string): string[] {
    const seen = new Set<string>()
    for (const channel of CHANNELS) {
      const gaps = this.upstream
        .of(`${SOURCE}|${channel}|${symbol}`)
        .filter(({ type }) => type === 'gap')
        .map(({ reason, repairedBy }) => `${channel}: gap ${reason}${repairedBy ? ', repaired' : ''}`)
      for (const gap of gaps) if (!gaps.includes(`${gap}, repaired`)) seen.add(gap)
      if (this.isRefused(channel, symbol)) seen.add(`${channel}: refused`)
    }
    return [...seen]
  }

  /** The states that the source had since it was connected first, each once; it is connected again. */
  states(): string[] {
    const states: string[] = this.upstream.of(`${SOURCE}|source|${SOURCE}`).map(({ state }) => state)
    const since = states.slice(states.indexOf('connected'))
    return [...new Set(since)].filter((state) => state !== 'connected')
  }

  /** What no book may ever have been, and no trade. */
  faultless(): string[] {
    this.take()
    return this.symbols.flatMap((symbol) => {
      const { wrong } = this.books.get(symbol)!
      const { doubled, untold } = this.trades.get(symbol)!
      return [
        ...(wrong === undefined ? [] : [`${symbol}: ${wrong}`]),
        ...(doubled.length === 0 ? [] : [`${symbol}: trades came twice: ${doubled.join()}`]),
        ...(untold.length === 0 ? [] : [`${symbol}: trades are missing, untold: ${untold.join()}`]),
      ]
    })
  }
}
