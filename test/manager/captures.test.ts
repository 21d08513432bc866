import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { SourceSpec } from '../../src/manager/manager.ts'
import type { Gap } from '../../src/market/event.ts'
import { OrderBook } from '../../src/market/order-book.ts'
import type { Fault } from '../../src/player/faults.ts'
import { type Player, startPlayer } from '../../src/player/player.ts'
import { startUpstream, type Upstream } from './venue-world.ts'

const CAPTURES = resolve(process.env.CAPTURES_DIR ?? '../shared/captures')
const missing = !existsSync(join(CAPTURES, 'README.md'))
const stops: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop()
})

async function play(
  files: readonly string[],
  faults: readonly Fault[] = [],
  speed = Number.POSITIVE_INFINITY,
) {
  const player = await startPlayer({
    files: files.map((file) => join(CAPTURES, file)),
    port: 0,
    speed,
    faults,
    log: () => {},
  })
  stops.push(() => player.close())
  return player
}

async function watch(player: Player, spec: Omit<SourceSpec, 'url' | 'restUrl'>): Promise<Upstream> {
  const upstream = await startUpstream([
    { ...spec, url: player.url, restUrl: player.url.replace('ws', 'http') },
  ])
  stops.push(() => upstream.stop())
  return upstream
}

describe.skipIf(missing)('recorded traffic (skipped without CAPTURES_DIR)', () => {
  it('makes of the Binance capture 84 tickers, 2 trades, 2 candles and 172 deltas on four books, without a gap', async () => {
    const player = await play(['binance.ws.txt', 'binance.rest.txt'])
    const symbols = ['NKN/USDT', 'BLZ/ETH', 'LRC/BTC', 'RUNE/EUR']
    const upstream = await watch(player, {
      id: 'binance',
      kind: 'binance',
      subscriptions: [
        { channel: 'ticker', symbols },
        { channel: 'trades', symbols },
        { channel: 'orderbook', symbols },
        { channel: 'ohlcv', symbols, timeframe: '1m' },
      ],
    })
    await player.finished
    const count = (type: string, kind?: string) =>
      upstream.events.filter(
        (e) => e.type === type && (!kind || (e.payload as { kind?: string }).kind === kind),
      ).length
    await upstream.until('172 deltas', () => count('orderbook', 'delta') >= 172)
    expect({
      tickers: count('ticker'),
      trades: count('trade'),
      candles: count('ohlcv'),
      snapshots: count('orderbook', 'snapshot'),
      deltas: count('orderbook', 'delta'),
      gaps: count('gap'),
    }).toEqual({ tickers: 84, trades: 2, candles: 2, snapshots: 4, deltas: 172, gaps: 0 })
  })

  it('changes connections at an announced shutdown without losing or doubling anything', async () => {
    const player = await play(['binance.ws.txt', 'binance.rest.txt'], ['shutdown'], 20)
    const upstream = await watch(player, binance())
    await player.finished
    await upstream.until('172 deltas', () => deltas(upstream) >= 172)
    expect(deltas(upstream)).toBe(172)
    expect(upstream.events.filter((e) => e.type === 'gap')).toEqual([])
    expect(upstream.of('v|source|v').map((event) => event.state)).toEqual(['connecting', 'connected'])
  })

  it.each(['drop', 'reorder'] as const)(
    'rebuilds one book after %s, alone, and ends with the same best levels as without it',
    async (fault) => {
      const healthy = await watch(await play(['binance.ws.txt', 'binance.rest.txt']), binance())
      await healthy.until('172 deltas', () => deltas(healthy) >= 172)
      const player = await play(['binance.ws.txt', 'binance.rest.txt'], [fault], 20)
      const upstream = await watch(player, binance())
      await player.finished
      await upstream.until('all books', () => live(upstream) === 4)
      const gaps = upstream.events.filter((event) => event.type === 'gap')
      expect(gaps.map((event) => (event.payload as Gap).reason)).toEqual(['sequence'])
      for (const symbol of SYMBOLS) {
        const topic = `v|orderbook|${symbol}`
        await upstream.until('the same book', () => top(upstream, topic) === top(healthy, topic))
      }
    },
  )

  it('catches a corrupted quantity by its checksum and asks for that one book again', async () => {
    const player = await play(['kraken-v1.book.ws.txt'], ['corrupt'], 20)
    const upstream = await watch(player, {
      id: 'v',
      kind: 'kraken-v1',
      subscriptions: [{ channel: 'orderbook', symbols: KRAKEN, limit: 1000 }],
    })
    await player.finished
    await upstream.until('all books', () => live(upstream) === 10)
    const gaps = upstream.events.filter((event) => event.type === 'gap')
    expect(gaps.map((event) => (event.payload as Gap).reason)).toEqual(['checksum'])
    const snapshots = KRAKEN.map(
      (symbol) => upstream.shape(`v|orderbook|${symbol}`).filter((kind) => kind === 'snapshot').length,
    )
    expect(snapshots.toSorted()).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 2])
  })

  it('numbers every topic from 1 without a hole, in strictly increasing time', async () => {
    const player = await play(['coinbase.ws.txt'])
    const upstream = await watch(player, {
      id: 'v',
      kind: 'coinbase',
      subscriptions: [{ channel: 'orderbook', symbols: COINBASE }],
    })
    await player.finished
    await upstream.until('all books', () => live(upstream) === 10)
    for (const topic of upstream.manager.topics()) {
      const events = upstream.of(topic.id)
      expect(events.map((event) => event.seq)).toEqual(events.map((_, at) => at + 1))
      for (let at = 1; at < events.length; at++)
        expect(events[at].receivedTime).toBeGreaterThan(events[at - 1].receivedTime)
    }
  })

  it('takes every checksum of the Kraken v1 capture for right, and its trades and tickers', async () => {
    const player = await play(['kraken-v1.book.ws.txt', 'kraken-v1.trade.ws.txt', 'kraken-v1.ticker.ws.txt'])
    const upstream = await watch(player, {
      id: 'kraken',
      kind: 'kraken-v1',
      subscriptions: [{ channel: 'orderbook', symbols: KRAKEN, limit: 1000 }],
    })
    await player.finished
    await upstream.until('all books', () => live(upstream) === 10)
    expect(upstream.events.filter((e) => e.type === 'gap')).toEqual([])
    expect(upstream.letters).toEqual([])
  })

  it('reads the Coinbase capture without a hole and never crosses a book', async () => {
    const player = await play(['coinbase.ws.txt'])
    const upstream = await watch(player, {
      id: 'coinbase',
      kind: 'coinbase',
      subscriptions: [
        { channel: 'orderbook', symbols: COINBASE },
        { channel: 'trades', symbols: COINBASE },
        { channel: 'ticker', symbols: COINBASE },
      ],
    })
    await player.finished
    await upstream.until('all topics', () => upstream.events.filter((e) => e.type === 'trade').length > 10)
    expect(upstream.events.filter((e) => e.type === 'gap')).toEqual([])
    expect(upstream.letters).toEqual([])
  })
})

const SYMBOLS = ['NKN/USDT', 'BLZ/ETH', 'LRC/BTC', 'RUNE/EUR']
const binance = () => ({
  id: 'v',
  kind: 'binance',
  subscriptions: [{ channel: 'orderbook' as const, symbols: SYMBOLS }],
})
const KRAKEN = [
  ...['WAVES/EUR', 'XMR/USD', 'KSM/BTC', 'GRT/ETH', 'SC/EUR'],
  ...['ETH/CHF', 'OCEAN/BTC', 'OMG/USD', 'BTC/CHF', 'ADA/BTC'],
]
const COINBASE = [
  ...['BAND/BTC', 'BAND/GBP', 'CRV/EUR', 'DASH/BTC', 'NMR/EUR'],
  ...['NU/GBP', 'SKL/BTC', 'SKL/GBP', 'SKL/USD', 'YFI/BTC'],
]

function live(upstream: Upstream): number {
  return upstream.manager.status()[0]!.topics.filter((topic) => topic.state === 'live').length
}

function deltas(upstream: Upstream): number {
  return upstream.events.filter((event) => (event.payload as { kind?: string }).kind === 'delta').length
}

/** The best ten levels of the book that the topic's events make. */
function top(upstream: Upstream, topic: string): string {
  const book = new OrderBook()
  for (const { topic: of, payload } of upstream.events) {
    if (of.id !== topic || payload.type !== 'orderbook') continue
    if (payload.kind === 'snapshot') book.reset(payload.bids, payload.asks)
    else book.apply(payload.bids, payload.asks)
  }
  return JSON.stringify([book.top('bids', 10), book.top('asks', 10)])
}
