import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { type Exchange, type ExchangeFault, startExchange } from '../../src/exchange/exchange.ts'
import { startUpstream, type Upstream } from '../manager/venue-world.ts'
import { hurriedConnectors, IMPATIENT } from './hurry.ts'
import { BookWatch, TradeWatch } from './watch.ts'

/** Schedules for each venue; more on request. */
const RUNS = Number(process.env.SIDES_RUNS ?? 6)
const SEED = Number(process.env.SIDES_SEED ?? 20_261_123)
const SETTLE_MS = 10_000
/** Steps that a host may be behind the market. */
const MAX_LAG = 12

const VENUES = {
  binance: { symbol: 'BTC/USDT' },
  'binance-futures': { symbol: 'BTC/USDT:USDT' },
  bybit: { symbol: 'BTC/USDT', limit: 50 },
  coinbase: { symbol: 'BTC/USD' },
  // Of so small a book all is under their checksum.
  kraken: { symbol: 'BTC/USD', limit: 10, depth: 10 },
  'kraken-v1': { symbol: 'BTC/USD', limit: 10, depth: 10 },
  okx: { symbol: 'BTC/USDT' },
} as const
type VenueId = keyof typeof VENUES

const FAULTS: readonly ExchangeFault[] = [
  ...(['drop', 'duplicate', 'reorder', 'old-snapshot', 'zombie', 'pongs-only', 'shutdown', 'cut'] as const),
  ...(['hard-cut', 'hard-cut', 'corrupt', 'unknown-type', 'rate-limited'] as const),
]

type Act =
  | { readonly steps: number; readonly lags: readonly [number, number] }
  | { readonly fault: ExchangeFault; readonly side: number; readonly after: number; readonly count: number }
  | { readonly ms: number }

const schedule: fc.Arbitrary<readonly Act[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ steps: fc.integer({ min: 1, max: 20 }), lags: lags() }) },
    {
      weight: 3,
      arbitrary: fc.record({
        fault: fc.constantFrom(...FAULTS),
        side: fc.nat(1),
        after: fc.nat(5),
        count: fc.integer({ min: 1, max: 3 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ ms: fc.constantFrom(20, 100, 300) }) },
  ),
  { minLength: 3, maxLength: 14 },
)

function lags(): fc.Arbitrary<[number, number]> {
  const lag = fc.oneof(fc.constant(0), fc.nat(MAX_LAG))
  return fc.tuple(lag, lag)
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** The market, two hosts that follow it, each at its own distance, and one source that has both for its sides. */
class Hosts {
  readonly market: Exchange
  readonly sides: readonly [Exchange, Exchange]
  readonly symbol: string
  readonly book: BookWatch
  readonly trades: TradeWatch
  upstream!: Upstream
  #taken = 0

  private constructor(venue: VenueId, exchanges: readonly [Exchange, Exchange, Exchange]) {
    const { symbol, depth }: { symbol: string; depth?: number } = VENUES[venue]
    this.symbol = symbol
    this.market = exchanges[0]
    this.sides = [exchanges[1], exchanges[2]]
    this.book = new BookWatch(this.market.truth(symbol), depth === undefined ? {} : { depth })
    this.trades = new TradeWatch(this.market.truth(symbol))
  }

  static async start(venue: VenueId, seed: number): Promise<Hosts> {
    const { symbol, limit }: { symbol: string; limit?: number } = VENUES[venue]
    const options = {
      ...{ venue, seed, symbols: [symbol], depth: 12, rate: 0, enforceLimits: false, startTime: 1.77e15 },
    }
    const hosts = new Hosts(venue, [
      await startExchange(options),
      await startExchange(options),
      await startExchange(options),
    ])
    hosts.upstream = await startUpstream(
      [
        {
          id: 'x',
          kind: venue,
          sides: hosts.sides.map(({ url, restUrl }) => ({ url, restUrl })),
          reconnect: { baseMs: 10, capMs: 60, maxRetries: 1_000 },
          subscriptions: [
            { channel: 'orderbook', symbols: [symbol], ...(limit !== undefined && { limit }) },
            { channel: 'trades', symbols: [symbol] },
            { channel: 'ticker', symbols: [symbol] },
          ],
        },
      ],
      {
        connectors: hurriedConnectors(venue),
        patience: { ...IMPATIENT, sideMs: 100, sideSilentMs: 200 },
      },
    )
    return hosts
  }

  async stop(): Promise<void> {
    await this.upstream.stop()
    for (const exchange of [this.market, ...this.sides]) await exchange.close()
  }

  async run(acts: readonly Act[]): Promise<void> {
    await this.step(10, [0, 0])
    for (const act of acts) {
      if ('steps' in act) await this.step(act.steps, act.lags)
      else if ('ms' in act) await pause(act.ms)
      else {
        const { fault, side, after, count } = act
        this.sides[side]!.inject({ fault, after, count, ms: 1_000 })
      }
    }
  }

  /** The market steps, and the hosts follow so far behind. */
  async step(steps: number, distances: readonly [number, number]): Promise<void> {
    for (let done = 0; done < steps; done++) {
      this.market.advance(1)
      this.book.stepped()
      this.trades.stepped()
      this.#follow(distances)
      await pause(done % 3 === 0 ? 1 : 0)
    }
  }

  #follow(distances: readonly [number, number]): void {
    const { seq } = this.market.truth(this.symbol)
    for (const [side, exchange] of this.sides.entries()) {
      const behind = seq - exchange.truth(this.symbol).seq - distances[side]!
      if (behind > 0) exchange.advance(behind)
    }
  }

  async settled(): Promise<void> {
    const end = performance.now() + SETTLE_MS
    for (let what = this.#unsettled(); what !== undefined; what = this.#unsettled()) {
      if (performance.now() > end) throw new Error(`not settled: ${what}`)
      await this.step(2, [0, 0])
      await pause(10)
    }
  }

  #unsettled(): string | undefined {
    this.take()
    const { sides = [], topics } = this.upstream.manager.status('x')!
    if (sides.some(({ state }) => state !== 'connected')) return `the sides are ${JSON.stringify(sides)}`
    if (topics.some(({ state }) => state !== 'live')) return `the topics are ${JSON.stringify(topics)}`
    if (!this.book.isCurrent) return "the book is not the venue's"
    const { untold } = this.trades
    return untold.length > 0 ? `trades are missing, untold: ${untold.join()}` : undefined
  }

  take(): void {
    const { events } = this.upstream
    for (; this.#taken < events.length; this.#taken++) {
      const event = events[this.#taken]!
      if (event.topic.channel === 'orderbook') this.book.take(event)
      else if (event.topic.channel === 'trades') this.trades.take(event)
    }
  }

  /** What may never be. */
  wrong(): string[] {
    this.take()
    const numbering = ['orderbook', 'trades', 'ticker'].filter((channel) => {
      const events = this.upstream.of(`x|${channel}|${this.symbol}`)
      return events.some(
        ({ seq, receivedTime }, at) =>
          seq !== at + 1 || (at > 0 && receivedTime <= events[at - 1].receivedTime),
      )
    })
    const { doubled, untold } = this.trades
    return [
      ...(this.book.wrong === undefined ? [] : [this.book.wrong]),
      ...numbering.map((channel) => `${channel} is not numbered without a hole`),
      ...(doubled.length > 0 ? [`trades came twice: ${doubled.join()}`] : []),
      ...(untold.length > 0 ? [`trades are missing, untold: ${untold.join()}`] : []),
    ]
  }
}

let open: Hosts | undefined

afterEach(async () => {
  await open?.stop()
  open = undefined
})

describe.each(Object.keys(VENUES) as VenueId[])(
  'after any schedule of faults on two hosts of %s',
  (venue) => {
    it('clients have had no wrong book, and each trade once, or were told', {
      timeout: 600_000,
    }, async () => {
      await fc.assert(
        fc.asyncProperty(schedule, fc.integer({ min: 1, max: 1_000 }), async (acts, seed) => {
          open = await Hosts.start(venue, seed)
          await open.run(acts)
          await open.settled()
          expect(open.wrong()).toEqual([])
          await open.stop()
          open = undefined
        }),
        { numRuns: RUNS, seed: SEED, endOnFailure: true },
      )
    })
  },
)
