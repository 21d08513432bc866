import type { ExchangeFault, InjectOptions } from '../../src/exchange/exchange.ts'
import type { Pace } from './hurry.ts'
import { type FaultRun, pause, type VenueId } from './run.ts'

/** What a client is told, besides data. Nothing: it notices nothing. */
export interface Cell {
  /** Of the topics of the symbol that the fault concerns, as `FaultRun.seen` says it. */
  readonly sees?: readonly string[]
  /** What it sees as well, or not: it depends on what comes first. */
  readonly maybe?: readonly string[]
  /** States of the source after it was connected. */
  readonly source?: readonly string[]
  /** Messages end in the dead-letter topic. */
  readonly letters?: true
  /** Why the fault cannot be at this venue, or cannot be told there; then nothing is tried. */
  readonly not?: string
}

export interface FaultCase {
  readonly name: string
  /** Of a whole connection: clients of every symbol are told the same. Else those of others are told nothing. */
  readonly all?: true
  /** Wrong from the beginning, or made so by `act` when all is live. */
  readonly from?: (symbol: string) => readonly InjectOptions[]
  readonly act?: (run: FaultRun, symbol: string) => void | Promise<void>
  /** Steps of the markets before anybody connects. */
  readonly history?: number
  /** What the venue has no stream of is subscribed to as well. */
  readonly polled?: true
  readonly pace?: Pace
  /** Of the exchange; default as the connector's. */
  readonly timeScale?: number
  readonly cells: Readonly<Record<VenueId, Cell>>
}

function every(cell: Cell, others: Partial<Record<VenueId, Cell>> = {}): Record<VenueId, Cell> {
  return {
    ...{ binance: cell, 'binance-futures': cell, bybit: cell, coinbase: cell },
    ...{ kraken: cell, 'kraken-v1': cell, okx: cell },
    ...others,
  }
}

const not = (why: string): Cell => ({ not: why })
const sees = (...all: string[]): Cell => ({ sees: all })

const NOTHING: Cell = {}
const SEQUENCE = sees('orderbook: gap sequence')
const CHECKSUM = sees('orderbook: gap checksum')
const REBUILT = { kraken: CHECKSUM, 'kraken-v1': CHECKSUM }
const REPAIRED = sees('trades: gap sequence, repaired')
const NO_PROOF = not('its books have neither numbers nor checksums')
const NO_POLLS = not('all its channels are streams')
const NO_IDS = not('its trades have no ids')
const IDS_JUMP = not('its trade ids are not contiguous')

/** One message of the symbol, when a few have passed. */
const message =
  (fault: ExchangeFault, matter: 'book' | 'trade', count = 1) =>
  async (run: FaultRun, symbol: string) => {
    const injected = run.inject({ fault, symbol, matter, after: 2, count })
    for (let steps = 0; injected.hits < count; steps += 2) {
      if (steps > 400) throw new Error(`${fault} did not happen`)
      await run.step(2)
    }
    await run.step(6)
  }

/** Every connection, and steps of the market that nobody hears of. */
const connections = (fault: ExchangeFault) => async (run: FaultRun) => {
  run.inject({ fault, count: run.exchange.connections.length })
  run.burst(24)
  await run.until('connected again', () => run.states().includes('reconnecting') && run.isConnected)
}

/** Refused while the connections are cut, and what was missed cannot be asked for either. */
const refusal = (fault: ExchangeFault, where: 'handshake' | 'rest') => async (run: FaultRun) => {
  // Who does not wait as long as it is told to comes again meanwhile.
  const count = Number.POSITIVE_INFINITY
  const injected = run.inject({ fault, where, count, retryAfterS: 0.6, ms: 500 })
  await connections('hard-cut')(run)
  injected.end()
}

/** Until it is noticed. */
const withheld = (matter: 'book' | 'trade') => async (run: FaultRun, symbol: string) => {
  const injected = run.inject({ fault: 'withheld', symbol, matter })
  for (let waited = 0; run.seen(symbol).length === 0; waited += 30) {
    if (waited > 10_000) throw new Error('nobody notices')
    run.burst(2)
    await pause(30)
  }
  injected.end()
}

const RECONNECTED: Cell = {
  sees: ['orderbook: gap reconnect', 'trades: gap reconnect, repaired', 'ticker: gap reconnect'],
  source: ['reconnecting'],
}
const STALE: Cell = { ...RECONNECTED, source: ['stale', 'reconnecting'] }

/** Kraken sends its last 50 trades again with each subscription: after so short a break nothing is missing. */
function unlessKraken(cell: Cell): Record<VenueId, Cell> {
  const complete = { ...cell, sees: ['orderbook: gap reconnect', 'ticker: gap reconnect'] }
  return every(cell, { kraken: complete, 'kraken-v1': complete })
}

export const CASES: readonly FaultCase[] = [
  {
    name: 'one book message is left out',
    act: message('drop', 'book'),
    cells: every(SEQUENCE, { ...REBUILT, coinbase: NO_PROOF }),
  },
  {
    name: 'one trade is left out',
    act: message('drop', 'trade'),
    cells: every(REPAIRED, { bybit: IDS_JUMP, 'kraken-v1': NO_IDS }),
  },
  { name: 'a book message comes twice', act: message('duplicate', 'book'), cells: every(NOTHING) },
  {
    name: 'a trade comes twice',
    act: message('duplicate', 'trade'),
    cells: every(NOTHING, { 'kraken-v1': NO_IDS }),
  },
  {
    name: 'a book message comes after the next',
    act: message('reorder', 'book'),
    cells: every(SEQUENCE, { ...REBUILT, coinbase: NO_PROOF }),
  },
  {
    name: 'a trade comes after the next',
    act: message('reorder', 'trade'),
    cells: every(REPAIRED, { bybit: NOTHING, 'kraken-v1': NOTHING }),
  },
  {
    name: 'a snapshot is older than the messages behind it',
    history: 60,
    // By REST nothing is had at first, so that messages wait for the snapshot.
    from: (symbol) => [
      { fault: 'old-snapshot', symbol },
      { fault: '429', where: 'rest', retryAfterS: 0.1, ms: 150, count: 100 },
    ],
    cells: every(SEQUENCE, {
      ...REBUILT,
      binance: NOTHING,
      'binance-futures': NOTHING,
      coinbase: not('a snapshot is a message of the stream, in its place'),
    }),
  },
  {
    name: 'a book is acknowledged and never sent',
    pace: 'brisk',
    from: (symbol) => [{ fault: 'zombie', symbol, matter: 'book' }],
    cells: every(NOTHING, { binance: SEQUENCE, 'binance-futures': SEQUENCE }),
  },
  {
    name: 'trades are acknowledged and never sent',
    pace: 'brisk',
    from: (symbol) => [{ fault: 'zombie', symbol, matter: 'trade' }],
    // Its heartbeats name the last trade.
    cells: every(NOTHING, { coinbase: REPAIRED }),
  },
  {
    name: 'a book that was sent is withheld',
    pace: 'brisk',
    act: withheld('book'),
    // Snapshots by REST go on meanwhile, and then the stream does not follow them.
    cells: every(sees('orderbook: gap no data'), {
      binance: { ...sees('orderbook: gap no data'), maybe: ['orderbook: gap sequence'] },
      'binance-futures': { ...sees('orderbook: gap no data'), maybe: ['orderbook: gap sequence'] },
    }),
  },
  {
    name: 'a book stays withheld on a connection',
    pace: 'brisk',
    act: async (run, symbol) => {
      const { exchange } = run
      const first = new Set(exchange.connections.map(({ id }) => id))
      for (const connection of first) run.inject({ fault: 'withheld', symbol, matter: 'book', connection })
      const isReplaced = () =>
        exchange.connections.some(({ id, streams }) => !first.has(id) && streams.length > 0)
      for (let waited = 0; !isReplaced(); waited += 30) {
        if (waited > 20_000) throw new Error('nobody tries another connection')
        run.burst(2)
        await pause(30)
      }
    },
    cells: every(sees('orderbook: gap no data'), {
      binance: { ...sees('orderbook: gap no data'), maybe: ['orderbook: gap sequence'] },
      'binance-futures': { ...sees('orderbook: gap no data'), maybe: ['orderbook: gap sequence'] },
    }),
  },
  {
    name: 'trades that were sent are withheld',
    pace: 'brisk',
    act: withheld('trade'),
    cells: every(sees('trades: gap no data, repaired'), {
      // Its heartbeats name the last trade.
      coinbase: { ...REPAIRED, maybe: ['trades: gap no data, repaired'] },
      'kraken-v1': NO_IDS,
    }),
  },
  {
    name: 'pongs, and nothing else',
    pace: 'brisk',
    all: true,
    act: connections('pongs-only'),
    cells: unlessKraken(STALE),
  },
  {
    name: 'a connection is half open',
    pace: 'brisk',
    all: true,
    act: connections('half-open'),
    cells: unlessKraken(STALE),
  },
  {
    name: 'a shutdown is announced',
    all: true,
    // Time enough on a busy machine.
    timeScale: 2,
    act: async (run) => {
      run.inject({ fault: 'shutdown', count: run.exchange.connections.length })
      for (let waited = 0; waited < 1_800; waited += 20) {
        run.burst(2)
        await pause(20)
      }
    },
    cells: every(NOTHING, {
      bybit: not('it announces nothing'),
      coinbase: not('it announces nothing'),
    }),
  },
  {
    name: 'a connection is cut within a frame',
    all: true,
    act: connections('cut'),
    cells: unlessKraken(RECONNECTED),
  },
  {
    name: 'a connection is reset',
    all: true,
    act: connections('hard-cut'),
    cells: unlessKraken(RECONNECTED),
  },
  ...(['429', '418', '451'] as const).flatMap((fault): FaultCase[] => [
    {
      name: `HTTP ${fault} to connects`,
      all: true,
      act: refusal(fault, 'handshake'),
      cells: unlessKraken(RECONNECTED),
    },
    {
      name: `HTTP ${fault} to requests`,
      all: true,
      act: refusal(fault, 'rest'),
      cells: unlessKraken(RECONNECTED),
    },
  ]),
  {
    name: 'HTTP 429 to polls',
    all: true,
    pace: 'brisk',
    polled: true,
    act: async (run) => {
      const count = Number.POSITIVE_INFINITY
      const injected = run.inject({ fault: '429', where: 'rest', count, retryAfterS: 0.6 })
      const isStale = () =>
        run.topics.every(({ channel, state }) => channel !== 'openinterest' || state === 'stale')
      for (let waited = 0; !isStale(); waited += 30) {
        if (waited > 10_000) throw new Error('nobody notices')
        run.burst(2)
        await pause(30)
      }
      injected.end()
    },
    cells: { ...every(NO_POLLS), 'binance-futures': sees('openinterest: gap reconnect') },
  },
  {
    name: 'a subscription is one too many',
    all: true,
    from: () => [{ fault: 'rate-limited' }],
    cells: every(NOTHING, {
      binance: { source: ['reconnecting'] },
      'binance-futures': { source: ['reconnecting'] },
    }),
  },
  {
    name: 'a frame has two maps',
    act: message('two-maps', 'book', 3),
    cells: every(not('its frames have one'), { 'kraken-v1': NOTHING }),
  },
  {
    name: 'a checksum is wrong',
    act: message('corrupt', 'book'),
    cells: every(not('it sends none'), { kraken: CHECKSUM, 'kraken-v1': CHECKSUM, okx: CHECKSUM }),
  },
  {
    name: 'time and size of a book are absurd',
    act: message('absurd', 'book', 2),
    cells: every({ sees: ['orderbook: gap malformed'], letters: true }),
  },
  {
    name: 'time and size of trades are absurd',
    act: message('absurd', 'trade', 2),
    cells: every(
      { ...REPAIRED, letters: true },
      {
        bybit: { sees: ['trades: gap malformed, repaired'], letters: true },
        'kraken-v1': { sees: ['trades: gap malformed'], letters: true },
      },
    ),
  },
  {
    name: 'ids of book messages are above 2^53',
    from: () => [{ fault: 'big-id' }],
    act: message('drop', 'book'),
    cells: every(SEQUENCE, {
      coinbase: not('its book messages have none'),
      kraken: not('its book messages have none'),
      'kraken-v1': not('its book messages have none'),
    }),
  },
  {
    name: 'ids of trades are above 2^53',
    from: () => [{ fault: 'big-id' }],
    act: message('duplicate', 'trade'),
    // Bybit's always are, and OKX's are texts.
    cells: every(NOTHING, { 'kraken-v1': NO_IDS }),
  },
  { name: 'sizes of a book have exponents', act: message('exponent', 'book', 3), cells: every(NOTHING) },
  { name: 'sizes of trades have exponents', act: message('exponent', 'trade', 3), cells: every(NOTHING) },
  {
    name: 'one symbol is not known',
    from: (symbol) => [{ fault: 'bad-symbol', symbol }],
    cells: every(sees('orderbook: refused', 'trades: refused', 'ticker: refused')),
  },
  { name: 'a message is of an unknown type', act: message('unknown-type', 'book', 3), cells: every(NOTHING) },
  {
    name: 'one market is quiet',
    pace: 'brisk',
    act: async (run, symbol) => {
      const quiet = run.inject({ fault: 'quiet', symbol })
      for (let waited = 0; waited < 3_000; waited += 30) {
        run.burst(2)
        await pause(30)
      }
      quiet.end()
    },
    cells: every(NOTHING),
  },
  {
    name: 'all markets are quiet',
    pace: 'brisk',
    all: true,
    act: () => pause(3_000),
    cells: every(NOTHING),
  },
]
