import Value from 'typebox/value'
import { afterEach, describe, expect, it } from 'vitest'
import type { Exchange } from '../../src/exchange/exchange.ts'
import { SourceEntry } from '../../src/gateway/rest/sources.ts'
import type { SourceSpec } from '../../src/manager/manager.ts'
import { PATIENCE } from '../../src/manager/patience.ts'
import { bookOf, closeAll, exchangeOf } from '../exchange/simulated-venue.ts'
import { startUpstream, type Upstream, until } from './venue-world.ts'

const stops: (() => unknown)[] = []

afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop()
  await closeAll()
})

const SYMBOLS: Readonly<Record<string, string>> = {
  binance: 'BTC/USDT',
  'binance-futures': 'BTC/USDT:USDT',
  okx: 'BTC/USDT',
  bybit: 'BTC/USDT',
  coinbase: 'BTC/USD',
  kraken: 'BTC/USD',
  'kraken-v1': 'BTC/USD',
}
/** Tests need not wait as long as operators want to. */
const HURRIED = { ...PATIENCE, sweepMs: 50, sideMs: 300, sideSilentMs: 300 }

interface Duel {
  readonly a: Exchange
  readonly b: Exchange
  readonly upstream: Upstream
  readonly symbol: string
  /** The same steps of both markets; `first` is ahead by `lagMs`. */
  step(steps: number, first?: Exchange, lagMs?: number): Promise<void>
  /** Waits until clients have the book that the market is. */
  settled(): Promise<void>
  trades(): string[]
  gaps(channel?: string): string[]
  side(name: 'A' | 'B'): { state: string; first: number; filled: number }
  topic(channel: string): string
}

/** One source with two hosts: exchanges with the same seed, which do the same when they are told to step. */
async function duel(venue: string, spec: Partial<SourceSpec> = {}): Promise<Duel> {
  const symbol = SYMBOLS[venue]!
  const options = { seed: 5, symbols: [symbol], startTime: 1.77e15, enforceLimits: false }
  const [a, b] = [await exchangeOf(venue, options), await exchangeOf(venue, options)]
  const channels = ['trades', 'orderbook', 'ticker'] as const
  const upstream = await startUpstream(
    [
      {
        id: 'x',
        kind: venue,
        sides: [a, b].map(({ url, restUrl }) => ({ url, restUrl })),
        reconnect: { baseMs: 20, capMs: 50 },
        subscriptions: channels.map((channel) => ({ channel, symbols: [symbol] })),
        ...spec,
      },
    ],
    { patience: HURRIED },
  )
  stops.push(() => upstream.stop())
  const topic = (channel: string) => `x|${channel}|${symbol}`
  const book = () => bookOf(upstream.of(topic('orderbook')))
  const isTrue = () => {
    const mine = book()
    const truth = a.truth(symbol).book(mine?.bids.length)
    return mine !== undefined && JSON.stringify(mine.bids) === JSON.stringify(truth.bids)
  }
  const pair: Duel = {
    ...{ a, b, upstream, symbol, topic },
    async step(steps, first = a, lagMs = 0) {
      for (let done = 0; done < steps; done++) {
        first.advance(1)
        const second = first === a ? b : a
        if (lagMs > 0) setTimeout(() => second.advance(1), lagMs)
        else second.advance(1)
        await new Promise((resolve) => setTimeout(resolve, 2))
      }
    },
    settled: () => until('the book of the market', isTrue),
    trades: () =>
      upstream
        .of(topic('trades'))
        .filter(({ type }) => type === 'trade')
        .map(({ id }) => id),
    gaps: (channel) =>
      (channel ? [channel] : channels).flatMap((one) =>
        upstream
          .of(topic(one))
          .filter(({ type }) => type === 'gap')
          .map(({ reason }) => `${one}: ${reason}`),
      ),
    side: (name) => upstream.manager.status('x')!.sides!.find((one) => one.side === name)!,
  }
  await until('both sides subscribed', () => [a, b].every((one) => streamsOf(one) >= 3))
  await pair.step(20)
  await pair.settled()
  await until(
    'both sides',
    () => pair.side('A').state === 'connected' && pair.side('B').state === 'connected',
  )
  return pair
}

function streamsOf({ connections }: Exchange): number {
  return connections.reduce((sum, { streams }) => sum + streams.length, 0)
}

/** Numbers of the topic are contiguous, its times grow, and no trade comes twice. */
function expectSound({ upstream, topic, trades }: Duel): void {
  for (const channel of ['trades', 'orderbook', 'ticker']) {
    const events = upstream.of(topic(channel))
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, at) => at + 1))
    const times = events.map(({ receivedTime }) => receivedTime)
    expect(times.every((time, at) => at === 0 || time > times[at - 1])).toBe(true)
    expect(new Set(events.map(({ epoch }) => epoch)).size).toBe(1)
  }
  expect(new Set(trades()).size).toBe(trades().length)
}

/** Waits for every trade of the market since the first that was published. Bybit puts a number before its ids. */
async function expectAllTrades({ a, symbol, trades }: Duel): Promise<void> {
  const real = a
    .truth(symbol)
    .trades()
    .map(({ id }) => id)
  // Coinbase also tells of the one before.
  const mine = () =>
    trades()
      .map((id) => Number(BigInt(id) % 1_000_000_000n))
      .filter((id) => id >= real[0]!)
      .toSorted((one, other) => one - other)
  const due = real.filter((id) => id >= mine()[0]!)
  await until('every trade', () => mine().length >= due.length).catch(() => {})
  expect(mine()).toEqual(due)
}

/** Resets all its connections. */
function cut(exchange: Exchange): void {
  exchange.inject({ fault: 'hard-cut', count: exchange.connections.length })
}

const NUMBERED = ['binance', 'binance-futures', 'okx', 'bybit'] as const
const UNNUMBERED = ['kraken', 'coinbase'] as const

describe.each([...NUMBERED, ...UNNUMBERED])('two hosts of %s', (venue) => {
  it('are published once, in one numbering, with what is true', async () => {
    const pair = await duel(venue)
    await pair.step(60)
    await pair.settled()
    expect(pair.gaps()).toEqual([])
    expectSound(pair)
    await expectAllTrades(pair)
    const snapshots = pair.upstream.shape(pair.topic('orderbook')).filter((shape) => shape === 'snapshot')
    expect(snapshots).toHaveLength(1)
  })

  it('miss nothing when one is cut and comes back, whichever', async () => {
    const pair = await duel(venue)
    for (const [name, exchange] of [
      ['A', pair.a],
      ['B', pair.b],
    ] as const) {
      await pair.step(10)
      cut(exchange)
      await pair.step(30)
      await until('it is back', () => pair.side(name).state === 'connected')
      await pair.step(30)
    }
    await pair.settled()
    expect(pair.gaps()).toEqual([])
    expectSound(pair)
    await expectAllTrades(pair)
    const told = pair.upstream.of('x|source|x').map(({ state, reason }) => `${state}: ${reason}`)
    expect(told.some((one) => /^connected: side A reconnecting: closed by the venue/.test(one))).toBe(true)
    expect(pair.upstream.manager.status('x')).toMatchObject({ state: 'connected', reason: 'connected' })
  })

  it('declare a gap when both are cut', async () => {
    const pair = await duel(venue)
    await pair.step(10)
    cut(pair.a)
    cut(pair.b)
    await pair.step(30)
    await until('back', () => pair.side('A').state === 'connected' && pair.side('B').state === 'connected')
    await until('both sides subscribed', () => [pair.a, pair.b].every((one) => streamsOf(one) >= 3))
    await pair.step(30)
    await pair.settled()
    expect(pair.gaps('orderbook')).toEqual(['orderbook: reconnect'])
    expectSound(pair)
    await expectAllTrades(pair)
  })
})

describe.each(NUMBERED)('a message that one host of %s leaves out', (venue) => {
  it('comes from the other, without a gap', async () => {
    const pair = await duel(venue)
    const lost = [
      pair.a.inject({ fault: 'drop', matter: 'book' }),
      pair.a.inject({ fault: 'drop', matter: 'trade' }),
    ]
    await pair.step(40)
    await pair.settled()
    expect(lost.map(({ hits }) => hits)).toEqual([1, 1])
    expect(pair.gaps()).toEqual([])
    expect(pair.side('B').filled).toBeGreaterThanOrEqual(1)
    expectSound(pair)
    await expectAllTrades(pair)
  })

  it('is a gap when the other lacks it too', async () => {
    const pair = await duel(venue)
    for (const one of [pair.a, pair.b]) one.inject({ fault: 'drop', matter: 'book' })
    await pair.step(10)
    await until('the gap', () => pair.gaps('orderbook').length > 0)
    await pair.step(10)
    await pair.settled()
    expect(pair.gaps()).toEqual(['orderbook: sequence'])
    expectSound(pair)
  })

  it('does not keep the faster host from being first', async () => {
    const pair = await duel(venue)
    const before = pair.side('B').first
    await pair.step(20, pair.b, 100)
    await until(
      'the slower one is through',
      () => pair.a.truth(pair.symbol).seq === pair.b.truth(pair.symbol).seq,
    )
    await pair.settled()
    const events = pair.upstream.of(pair.topic('orderbook')).slice(-15)
    expect(pair.side('B').first - before).toBeGreaterThanOrEqual(20)
    expect(events.every(({ type }) => type === 'orderbook')).toBe(true)
    expect(pair.gaps()).toEqual([])
    expectSound(pair)
    await expectAllTrades(pair)
  })
})

describe('a book whose venue numbers nothing', () => {
  it('goes on with the other side when its checksum fails, and is never wrong', async () => {
    const pair = await duel('kraken')
    for (const exchange of [pair.a, pair.b, pair.a]) {
      const corrupt = exchange.inject({ fault: 'corrupt', matter: 'book' })
      await pair.step(20)
      expect(corrupt.hits).toBe(1)
    }
    await pair.settled()
    expect(pair.gaps()).toEqual([])
    expectSound(pair)
    const kinds = pair.upstream.shape(pair.topic('orderbook'))
    expect(kinds.filter((kind) => kind === 'snapshot')).toHaveLength(1)
    const steps = pair.upstream.of(pair.topic('orderbook')).map((_, at, events) => {
      const book = bookOf(events.slice(0, at + 1))!
      return pair.a.truth(pair.symbol).seqOf(book)
    })
    expect(steps).not.toContain(undefined)
  })

  it('waits for a side that lags, a moment', async () => {
    const pair = await duel('kraken')
    await pair.step(10, pair.a, 100)
    cut(pair.a)
    await until('the slower one', () => pair.b.truth(pair.symbol).seq === pair.a.truth(pair.symbol).seq)
    await pair.step(10)
    await pair.settled()
    expect(pair.gaps('orderbook')).toEqual([])
    expectSound(pair)
  })

  it.each([
    ['never was where it ended', 1],
    ['was there, with another book', 4],
  ])('is replaced, and clients are told, when the other side %s', async (_, steps) => {
    const pair = await duel('coinbase')
    pair.b.inject({ fault: 'drop', matter: 'book' })
    await pair.step(steps)
    cut(pair.a)
    await until('the switch', () => pair.gaps('orderbook').length > 0)
    expect(pair.gaps('orderbook')).toEqual(['orderbook: side-switch'])
    const [gap, snapshot] = pair.upstream.of(pair.topic('orderbook')).slice(-2)
    expect([gap.type, snapshot.kind]).toEqual(['gap', 'snapshot'])
  })
})

describe.each(['kraken', 'binance', 'okx'])('the ticker of two hosts of %s', (venue) => {
  it('goes on with the other when one is silent, never back in time, and stays there', async () => {
    const pair = await duel(venue)
    const times = () => pair.upstream.of(pair.topic('ticker'))
    const withheld = pair.a.inject({ fault: 'withheld', matter: 'other' })
    for (let turn = 0; turn < 20; turn++) {
      await pair.step(5)
      await new Promise((resolve) => setTimeout(resolve, 40))
    }
    expect(withheld.hits).toBeGreaterThan(0)
    const silent = times().length
    await pair.step(20)
    await until('tickers of B', () => times().length > silent)
    expect(pair.gaps()).toEqual([])
    expect(pair.side('B').first).toBeGreaterThan(0)
    const newest = new Map<string, number>()
    for (const { venueSeq, sourceTime } of times()) {
      const [key, value] = venueSeq ? ['id', venueSeq[1]] : ['time', sourceTime]
      expect(value).toBeGreaterThanOrEqual(newest.get(key) ?? 0)
      newest.set(key, value)
    }
  })
})

describe('sides', () => {
  it('that are silent do not stand for what the other missed', async () => {
    const pair = await duel('bybit')
    pair.b.inject({ fault: 'pongs-only', count: pair.b.connections.length })
    await pair.step(5)
    const old = pair.a.connections.map(({ id }) => id)
    cut(pair.a)
    for (const exchange of [pair.a, pair.b]) exchange.advance(20)
    const isNew = () => pair.a.connections.every(({ id }) => !old.includes(id))
    await until('its new connection', () => isNew() && streamsOf(pair.a) >= 3)
    await pair.step(10)
    await until('the gap', () => pair.gaps('trades').length > 0)
    expect(pair.gaps('trades')[0]).toBe('trades: reconnect')
    expectSound(pair)
    await expectAllTrades(pair)
  })

  it('are refused of what nobody knows to say the same twice', async () => {
    const sides = [{ url: 'ws://127.0.0.1:1' }, { url: 'ws://127.0.0.1:2' }]
    await expect(startUpstream([{ id: 'b', kind: 'simulator', sides }])).rejects.toMatchObject({
      code: 'bad-setting',
      message: expect.stringMatching(/^setting sources: b: b cannot have sides: of simulator [^\n]*one url$/),
    })
    await expect(startUpstream([{ id: 'kraken', kind: 'ccxt', sides }])).rejects.toMatchObject({
      message: expect.stringMatching(/kraken cannot have sides: of ccxt/),
    })
  })

  it('are replaced without a break, both, on demand', async () => {
    const pair = await duel('okx')
    await pair.upstream.manager.rotate({ exchangeId: 'x' })
    const before = pair.a.stats().handshakes + pair.b.stats().handshakes
    for (let turn = 0; turn < 10; turn++) {
      await pair.step(5)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await pair.settled()
    expect(pair.a.stats().handshakes + pair.b.stats().handshakes).toBeGreaterThanOrEqual(before)
    expect(pair.gaps()).toEqual([])
    expectSound(pair)
    await expectAllTrades(pair)
  })

  it('are told without their addresses', async () => {
    const { upstream, a } = await duel('kraken')
    const status = upstream.manager.status('x')!
    expect(status.sides).toMatchObject([
      { side: 'A', state: 'connected', reason: 'connected', attempt: 0 },
      { side: 'B', state: 'connected', reason: 'connected', attempt: 0 },
    ])
    expect(JSON.stringify(status)).not.toContain(String(a.port))
    expect(Value.Errors(SourceEntry, status)).toEqual([])
    expect(status.sides!.reduce((sum, { first }) => sum + first, 0)).toBeGreaterThan(0)
  })

  it('have a deeper book when one is asked for, without a gap', async () => {
    for (const venue of ['binance', 'kraken']) {
      const pair = await duel(venue, {
        subscriptions: [
          { channel: 'orderbook', symbols: [SYMBOLS[venue]!], limit: 10 },
          { channel: 'trades', symbols: [SYMBOLS[venue]!] },
          { channel: 'ticker', symbols: [SYMBOLS[venue]!] },
        ],
      })
      await pair.upstream.manager.subscribe({
        ...{ exchangeId: 'x', channel: 'orderbook', symbol: pair.symbol, limit: 100 },
      })
      const deep = () => pair.upstream.of(pair.topic('orderbook')).some(({ depth }) => depth === 100)
      for (let turn = 0; turn < 100 && !deep(); turn++) await pair.step(2)
      await pair.step(20)
      await pair.settled()
      expect(pair.gaps()).toEqual([])
      expectSound(pair)
    }
  })
})
