import fc from 'fast-check'
import type { ExchangeFault } from '../../src/exchange/exchange.ts'
import { FaultRun, pause, SOURCE, VENUE_IDS, type VenueId } from './run.ts'

/** What happens next. `symbol`: which of the two. */
type Act =
  | { readonly act: 'step'; readonly steps: number }
  | { readonly act: 'burst'; readonly steps: number }
  | { readonly act: 'pause'; readonly ms: number }
  | { readonly act: 'rotate' }
  | {
      readonly act: 'message'
      readonly fault: ExchangeFault
      readonly matter: 'book' | 'trade'
      readonly symbol: 0 | 1
      readonly after: number
      readonly count: number
    }
  | { readonly act: 'connection'; readonly fault: ExchangeFault }
  | {
      readonly act: 'refusal'
      readonly fault: ExchangeFault
      readonly where: 'handshake' | 'rest'
      readonly count: number
    }
  | { readonly act: 'subscription'; readonly fault: ExchangeFault; readonly symbol: 0 | 1 }

export interface Schedule {
  readonly venue: VenueId
  readonly seed: number
  readonly acts: readonly Act[]
}

const MESSAGE_FAULTS = [
  ...(['drop', 'duplicate', 'reorder', 'corrupt', 'absurd', 'exponent', 'two-maps', 'unknown-type'] as const),
]

const symbol = fc.constantFrom(0 as const, 1 as const)
const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ act: fc.constant('step' as const), steps: fc.integer({ min: 1, max: 16 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ act: fc.constant('burst' as const), steps: fc.integer({ min: 1, max: 24 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ act: fc.constant('pause' as const), ms: fc.integer({ min: 0, max: 20 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ act: 'rotate' as const }) },
  {
    weight: 8,
    arbitrary: fc.record({
      act: fc.constant('message' as const),
      fault: fc.constantFrom(...MESSAGE_FAULTS),
      matter: fc.constantFrom('book' as const, 'trade' as const),
      symbol,
      after: fc.integer({ min: 0, max: 3 }),
      count: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      act: fc.constant('connection' as const),
      fault: fc.constantFrom('hard-cut' as const, 'cut' as const, 'shutdown' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      act: fc.constant('refusal' as const),
      fault: fc.constantFrom('429' as const, '418' as const, '451' as const),
      where: fc.constantFrom('handshake' as const, 'rest' as const),
      count: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      act: fc.constant('subscription' as const),
      fault: fc.constantFrom('old-snapshot' as const, 'rate-limited' as const, 'quiet' as const),
      symbol,
    }),
  },
)

/** Any acts at any native venue. */
export const schedules: fc.Arbitrary<Schedule> = fc.record({
  venue: fc.constantFrom(...VENUE_IDS),
  seed: fc.integer({ min: 1, max: 1_000 }),
  acts: fc.array(act, { minLength: 2, maxLength: 14 }),
})

/** What nothing that the venue sends could tell, see `table.ts`. */
function isBeyondProof(venue: VenueId, fault: ExchangeFault, matter: 'book' | 'trade'): boolean {
  const moves = fault === 'drop' || fault === 'reorder'
  if (matter === 'book') return venue === 'coinbase' && moves
  if (venue === 'bybit') return fault === 'drop'
  // Without id and time nobody could tell which trade it is.
  return venue === 'kraken-v1' && (moves || fault === 'duplicate' || fault === 'absurd')
}

function happen(run: FaultRun, venue: VenueId, one: Act): Promise<unknown> | undefined {
  switch (one.act) {
    case 'step':
      return run.step(one.steps)
    case 'burst':
      run.burst(one.steps)
      return
    case 'pause':
      return pause(one.ms)
    case 'rotate':
      return run.upstream.manager.rotate({ exchangeId: SOURCE })
    case 'connection':
      run.inject({ fault: one.fault })
      return
    case 'refusal': {
      const { fault, where, count } = one
      run.inject({ fault, where, count, retryAfterS: 0.02 })
      return
    }
    case 'subscription': {
      if (one.fault === 'old-snapshot' && venue === 'coinbase') return
      const lasts = one.fault === 'quiet' ? { ms: 30 } : {}
      run.inject({ fault: one.fault, symbol: run.symbols[one.symbol], ...lasts })
      return
    }
    case 'message': {
      const { fault, matter, after, count } = one
      if (isBeyondProof(venue, fault, matter)) return
      run.inject({ fault, matter, after, count, symbol: run.symbols[one.symbol] })
      return
    }
  }
}

/** What was wrong while the schedule ran and when all had settled; nothing: all was right. */
export async function carriedOut({ venue, seed, acts }: Schedule): Promise<readonly string[]> {
  const run = await FaultRun.start({ venue, seed, timeScale: 20 })
  try {
    await run.live()
    for (const one of acts) await happen(run, venue, one)
    run.calm()
    await run.step(4)
    await run.settled()
    return run.faultless()
  } finally {
    await run.stop()
  }
}
