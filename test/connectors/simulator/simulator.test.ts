import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type {
  Decoded,
  DecodedBook,
  DecodedEvent,
  Link,
  Subscription,
} from '../../../src/connectors/connector.ts'
import { createSimulator } from '../../../src/connectors/simulator/simulator.ts'
import type { Candle, Level, MessageStatus, Odds, Trade } from '../../../src/market/event.ts'

const BTC = 'BTC/USDT'
const links: Link[] = []

/** A link with everything it said so far. */
function open(options: { seed?: number; rate?: number }, ...subscriptions: Subscription[]) {
  const said: Decoded[] = []
  const times: number[] = []
  const ends: string[] = []
  let opened = 0
  const link = createSimulator(options).open(
    '',
    { source: 'demo' },
    {
      opened: () => opened++,
      decoded: (update, receivedTime) => {
        said.push(update)
        times.push(receivedTime)
      },
      ended: ({ reason }) => ends.push(reason),
    },
  )
  links.push(link)
  if (subscriptions.length > 0) link.subscribe(subscriptions)
  return { link, said, times, ends, opened: () => opened }
}

function eventsOf(said: readonly Decoded[], channel: string, symbol?: string): DecodedEvent[] {
  return said.filter(
    (update): update is DecodedEvent =>
      update.kind === 'event' && update.channel === channel && (!symbol || update.symbol === symbol),
  )
}

function booksOf(said: readonly Decoded[]): DecodedBook[] {
  return said.filter((update) => update.kind === 'book')
}

function payloads<T>(said: readonly Decoded[], channel: string, symbol?: string): T[] {
  return eventsOf(said, channel, symbol).map((event) => event.payload as T)
}

describe('the simulator', () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: Date.UTC(2026, 10, 22, 10, 0, 30) })
  })
  afterEach(() => {
    for (const link of links.splice(0)) link.close('test over')
    vi.useRealTimers()
  })

  it('opens asynchronously, acknowledges each subscription and refuses what it cannot carry', async () => {
    const good = { channel: 'ticker', symbol: BTC } as const
    const bad = { channel: 'ticker', symbol: 'btc' } as const
    const { said, opened } = open({}, good, bad)
    expect(opened()).toBe(0)
    await vi.advanceTimersByTimeAsync(1)
    expect(opened()).toBe(1)
    expect(said.slice(0, 2)).toEqual([
      { kind: 'acknowledged', subscription: good },
      { kind: 'refused', subscription: bad, reason: expect.stringContaining('BASE/QUOTE') },
    ])
  })

  it('carries any pair, matches and conversations, and says why it refuses others', () => {
    const { refuse } = createSimulator()
    expect(refuse({ channel: 'trades', symbol: 'NEW/COIN' })).toBeUndefined()
    expect(refuse({ channel: 'odds', symbol: 'MATCH_010' })).toBeUndefined()
    expect(refuse({ channel: 'status', symbol: 'demo/CONV_001' })).toBeUndefined()
    expect(refuse({ channel: 'odds', symbol: 'MATCH_1' })).toMatch(/MATCH_001/)
    expect(refuse({ channel: 'status', symbol: 'CONV_001' })).toMatch(/tenant/)
    expect(refuse({ channel: 'ohlcv', symbol: BTC, timeframe: '7m' })).toMatch(/timeframes are 1s/)
    expect(refuse({ channel: 'funding', symbol: BTC })).toMatch(/funding/)
  })

  it('repeats itself with the same seed, whatever the order of subscribing', async () => {
    const wanted: Subscription[] = [
      { channel: 'ticker', symbol: BTC },
      { channel: 'trades', symbol: BTC },
      { channel: 'orderbook', symbol: 'ETH/USDT' },
      { channel: 'odds', symbol: 'MATCH_003' },
      { channel: 'status', symbol: 'demo/CONV_002' },
    ]
    const run = async (options: { seed: number }, subscriptions: Subscription[]) => {
      vi.setSystemTime(Date.UTC(2026, 10, 22, 10, 0, 30))
      const { link, said } = open(options, ...subscriptions.slice(0, 2))
      await vi.advanceTimersByTimeAsync(250)
      link.subscribe(subscriptions.slice(2))
      await vi.advanceTimersByTimeAsync(20_000)
      link.close('done')
      return wanted.map(({ channel, symbol }) =>
        said
          .filter((u) => (u.kind === 'event' || u.kind === 'book') && u.symbol === symbol)
          .filter((u) => (u.kind === 'book' ? 'orderbook' : (u as DecodedEvent).channel) === channel)
          .slice(0, 190)
          .map((u) =>
            JSON.stringify(u, (key, value) => (/^(sourceTime|id|messageId)$/.test(key) ? 0 : value)),
          ),
      )
    }
    const first = await run({ seed: 7 }, wanted)
    expect(first.map((topic) => topic.length)).toEqual([190, 190, 190, 190, 190])
    expect(await run({ seed: 7 }, [...wanted].reverse())).toEqual(first)
    expect(await run({ seed: 8 }, wanted)).not.toEqual(first)
  })

  it('sends ten events a second of each symbol by default, and keeps to the clock', async () => {
    const { said, times } = open(
      {},
      { channel: 'ticker', symbol: BTC },
      { channel: 'ticker', symbol: 'EUR/USD' },
    )
    await vi.advanceTimersByTimeAsync(60_000)
    for (const symbol of [BTC, 'EUR/USD']) {
      const events = eventsOf(said, 'ticker', symbol)
      expect(events.length).toBeGreaterThanOrEqual(599)
      expect(events.length).toBeLessThanOrEqual(602)
      const sourceTimes = events.map((event) => event.sourceTime as number)
      expect(sourceTimes.every((time, i) => i === 0 || time > (sourceTimes[i - 1] as number))).toBe(true)
      expect(events.every((event) => event.flags?.includes('simulated'))).toBe(true)
    }
    expect(said.every((u, i) => u.kind !== 'event' || (u.sourceTime as number) <= (times[i] as number))).toBe(
      true,
    )
  })

  it('makes thousands of events a second when asked to', async () => {
    const symbols = Array.from({ length: 20 }, (_, i) => `SYM${i}/USD`)
    const { said } = open({ rate: 500 }, ...symbols.map((symbol) => ({ channel: 'trades', symbol }) as const))
    await vi.advanceTimersByTimeAsync(2_000)
    expect(eventsOf(said, 'trades').length).toBeGreaterThan(19_900)
    expect(eventsOf(said, 'trades').length).toBeLessThan(20_100)
  })

  it('writes prices with the decimals of their tick and never crosses bid and ask', async () => {
    const { said } = open(
      { rate: 100 },
      { channel: 'ticker', symbol: BTC },
      { channel: 'ticker', symbol: 'USD/JPY' },
    )
    await vi.advanceTimersByTimeAsync(30_000)
    for (const [symbol, shape] of [
      [BTC, /^\d{5}\.\d{2}$/],
      ['USD/JPY', /^1\d\d\.\d{3}$/],
    ] as const) {
      const tickers = payloads<Record<string, string>>(said, 'ticker', symbol)
      for (const { bid = '', ask = '', last = '', high = '', low = '', volume } of tickers) {
        expect(bid).toMatch(shape)
        expect(Number(bid)).toBeLessThan(Number(ask))
        expect(Number(low)).toBeLessThanOrEqual(Number(last))
        expect(Number(last)).toBeLessThanOrEqual(Number(high))
        expect(volume).toMatch(/^\d+(\.\d+)?$/)
      }
      expect(new Set(tickers.map(({ bid }) => bid)).size).toBeGreaterThan(10)
    }
  })

  it('builds candles from the very trades of the trades topic and closes each exactly once', async () => {
    const { said } = open(
      { rate: 20 },
      { channel: 'trades', symbol: BTC },
      { channel: 'ohlcv', symbol: BTC, timeframe: '1s' },
      { channel: 'ohlcv', symbol: BTC, timeframe: '1m' },
    )
    await vi.advanceTimersByTimeAsync(150_000)
    for (const [timeframe, length, atLeast] of [
      ['1s', 1e6, 148],
      ['1m', 6e7, 2],
    ] as const) {
      const candles = payloads<Candle>(said, 'ohlcv').filter((candle) => candle.timeframe === timeframe)
      const closed = candles.filter((candle) => candle.closed)
      expect(closed.length).toBeGreaterThanOrEqual(atLeast)
      expect(new Set(closed.map((candle) => candle.openTime)).size).toBe(closed.length)
      expect(candles.length).toBeGreaterThan(closed.length * 10)
      for (const candle of closed) {
        const trades = eventsOf(said, 'trades')
          .filter(
            ({ sourceTime = 0 }) => sourceTime >= candle.openTime && sourceTime < candle.openTime + length,
          )
          .map(({ payload }) => payload as Trade)
        const prices = trades.map(({ price }) => Number(price))
        expect(candle.trades).toBe(trades.length)
        expect(candle.open).toBe(trades[0]?.price)
        expect(candle.close).toBe(trades.at(-1)?.price)
        expect(Number(candle.high)).toBe(Math.max(...prices))
        expect(Number(candle.low)).toBe(Math.min(...prices))
        expect(Number(candle.volume)).toBeCloseTo(
          trades.reduce((sum, { size }) => sum + Number(size), 0),
          8,
        )
        expect(candle).toMatchObject({ origin: 'venue', revision: 0 })
      }
    }
  })

  it('gives every trade its own id, also in a later link', async () => {
    const ids = new Set<string>()
    let count = 0
    for (let run = 0; run < 2; run++) {
      const { link, said } = open({}, { channel: 'trades', symbol: BTC })
      await vi.advanceTimersByTimeAsync(5_000)
      link.close('again')
      for (const { id } of payloads<Trade>(said, 'trades')) ids.add(String(id))
      count += payloads<Trade>(said, 'trades').length
    }
    expect(ids.size).toBe(count)
  })

  it('starts a book with a snapshot and goes on with deltas that follow without a hole', async () => {
    const { link, said } = open({ rate: 50 }, { channel: 'orderbook', symbol: BTC, limit: 25 })
    await vi.advanceTimersByTimeAsync(20_000)
    link.subscribe([{ channel: 'orderbook', symbol: BTC, limit: 25 }])
    await vi.advanceTimersByTimeAsync(1_000)
    const books = booksOf(said)
    expect(books[0]).toMatchObject({ snapshot: true, flags: ['simulated'] })
    expect(books.filter(({ snapshot }) => snapshot)).toHaveLength(2)

    const { follows } = createSimulator().bookRules
    const sides = { bids: new Map<string, string>(), asks: new Map<string, string>() }
    let local = 0
    for (const book of books) {
      if (book.snapshot) {
        sides.bids = new Map(book.bids)
        sides.asks = new Map(book.asks)
      } else {
        expect(follows?.(local, book)).toBe('apply')
        expect(book.bids.length + book.asks.length).toBeGreaterThan(0)
        for (const side of ['bids', 'asks'] as const) apply(sides[side], book[side])
      }
      local = book.last as number
      const bids = [...sides.bids.keys()].map(Number)
      const asks = [...sides.asks.keys()].map(Number)
      expect(bids).toHaveLength(25)
      expect(asks).toHaveLength(25)
      expect(Math.max(...bids)).toBeLessThan(Math.min(...asks))
    }
    const delta = books.at(-1) as DecodedBook
    expect(follows?.(local, delta)).toBe('old')
    expect(follows?.((delta.first as number) - 2, delta)).toBe('gap')
  })

  it('suspends the markets of a match together and opens them at once with a new version', async () => {
    const { said } = open({ rate: 50 }, { channel: 'odds', symbol: 'MATCH_002' })
    await vi.advanceTimersByTimeAsync(60_000)
    const odds = payloads<Odds>(said, 'odds')
    const markets = odds.filter((payload) => payload.kind === 'market')
    expect(new Set(markets.map(({ market }) => market))).toEqual(new Set(['Match Odds', 'Total Goals']))
    expect(markets.find(({ market }) => market === 'Total Goals')?.line).toBe('2.5')
    expect(markets.map(({ status }) => status)).toContain('SUSPENDED')
    for (let i = 0; i < markets.length; i += 2) {
      expect(markets[i]?.version).toBe(i / 2 + 1)
      expect(markets[i + 1]).toMatchObject({ version: i / 2 + 1, status: markets[i]?.status })
    }
    let status = ''
    let version = 0
    for (const payload of odds) {
      if (payload.kind === 'market') ({ status, version } = payload)
      if (payload.kind !== 'price') continue
      expect(status).toBe('OPEN')
      expect(payload.marketVersion).toBe(version)
      expect(payload.odds).toMatch(/^\d+\.\d{2}$/)
      expect(Number(payload.odds)).toBeGreaterThan(1)
      expect(payload.sourcePrice).toBe(payload.odds)
    }
    expect(new Set(odds.map((payload) => payload.kind === 'price' && payload.odds)).size).toBeGreaterThan(20)
  })

  it('takes each message from QUEUED to READ or FAILED, one status at a time, a few at once', async () => {
    const { said } = open({ rate: 50 }, { channel: 'status', symbol: 'demo/CONV_001' })
    await vi.advanceTimersByTimeAsync(60_000)
    const rank = { QUEUED: 0, SENT: 1, DELIVERED: 2, READ: 3 }
    const current = new Map<string, MessageStatus['status']>()
    const seen = new Set<string>()
    for (const { messageId, conversationId, tenantId, status } of payloads<MessageStatus>(said, 'status')) {
      expect({ conversationId, tenantId }).toEqual({ conversationId: 'CONV_001', tenantId: 'demo' })
      const before = current.get(messageId)
      if (before === undefined) expect(status).toBe('QUEUED')
      else if (status !== 'FAILED' && before !== 'FAILED') expect(rank[status]).toBe(rank[before] + 1)
      current.set(messageId, status)
      if (status === 'READ' || status === 'FAILED') current.delete(messageId)
      seen.add(status)
      expect(current.size).toBeLessThanOrEqual(4)
    }
    expect(seen).toEqual(new Set(['QUEUED', 'SENT', 'DELIVERED', 'READ', 'FAILED']))
  })

  it('is silent while paused and goes on after it without a burst', async () => {
    const { link, said } = open({}, { channel: 'ticker', symbol: BTC })
    await vi.advanceTimersByTimeAsync(1_000)
    link.pause()
    const before = said.length
    await vi.advanceTimersByTimeAsync(60_000)
    expect(said.length).toBe(before)
    link.resume()
    await vi.advanceTimersByTimeAsync(1_000)
    expect(said.length - before).toBeGreaterThanOrEqual(9)
    expect(said.length - before).toBeLessThanOrEqual(13)
  })

  it('goes on when the clock is set back, and closes no candle twice', async () => {
    const { said } = open({}, { channel: 'ohlcv', symbol: BTC, timeframe: '1s' })
    await vi.advanceTimersByTimeAsync(5_000)
    const before = said.length
    vi.setSystemTime(Date.now() - 3_600_000)
    await vi.advanceTimersByTimeAsync(5_000)
    expect(said.length - before).toBeGreaterThan(40)
    const closed = payloads<Candle>(said, 'ohlcv').filter((candle) => candle.closed)
    expect(new Set(closed.map(({ openTime }) => openTime)).size).toBe(closed.length)
  })

  it('stops a topic that is unsubscribed, and ends once when closed twice', async () => {
    const { link, said, ends } = open(
      {},
      { channel: 'ticker', symbol: BTC },
      { channel: 'trades', symbol: BTC },
    )
    await vi.advanceTimersByTimeAsync(1_000)
    link.unsubscribe([{ channel: 'ticker', symbol: BTC }])
    const tickers = eventsOf(said, 'ticker').length
    const trades = eventsOf(said, 'trades').length
    await vi.advanceTimersByTimeAsync(1_000)
    expect(eventsOf(said, 'ticker').length).toBe(tickers)
    expect(eventsOf(said, 'trades').length).toBeGreaterThan(trades + 8)
    link.close('done')
    link.close('done again')
    const all = said.length
    await vi.advanceTimersByTimeAsync(1_000)
    expect(said.length).toBe(all)
    expect(ends).toEqual(['done'])
  })
})

function apply(side: Map<string, string>, levels: readonly Level[]): void {
  for (const [price, size] of levels) {
    if (size === '0') expect(side.delete(price)).toBe(true)
    else side.set(price, size)
  }
}
