import { afterEach, describe, expect, it } from 'vitest'
import type { Exchange } from '../../src/exchange/exchange.ts'
import type { SourceSpec } from '../../src/manager/manager.ts'
import { PATIENCE } from '../../src/manager/patience.ts'
import { bookOf, closeAll, exchangeOf } from '../exchange/simulated-venue.ts'
import { startUpstream, type Upstream, until } from './venue-world.ts'

const upstreams: Upstream[] = []

afterEach(async () => {
  for (const upstream of upstreams.splice(0)) await upstream.stop()
  await closeAll()
})

const symbolsOf = (count: number) => Array.from({ length: count }, (_, at) => `C${at}/USDT`)

function sourceAt(exchange: Exchange, spec: Partial<SourceSpec> = {}): SourceSpec {
  const { venue, url, restUrl } = exchange
  return { id: venue, kind: venue, url, restUrl, reconnect: { baseMs: 20, capMs: 100 }, ...spec }
}

async function start(sources: readonly SourceSpec[], patience = PATIENCE): Promise<Upstream> {
  const upstream = await startUpstream(sources, { patience })
  upstreams.push(upstream)
  return upstream
}

const topicsOf = (upstream: Upstream) => upstream.manager.status().flatMap(({ topics }) => topics)
const allLive = (upstream: Upstream) => topicsOf(upstream).every(({ state }) => state === 'live')

/** What clients saw of a market: each trade once, no gap, and the book as it is. */
async function expectWhole(upstream: Upstream, exchange: Exchange, symbol: string): Promise<void> {
  const id = exchange.venue
  const truth = exchange.truth(symbol)
  const trades = () => upstream.of(`${id}|trades|${symbol}`)
  await until('the last trade', () => trades().at(-1)?.id === String(truth.trades().at(-1)?.id))
  expect(trades().map(({ type }) => type)).not.toContain('gap')
  const ids = trades().map((trade) => Number(trade.id))
  expect(ids).toEqual(Array.from({ length: ids.length }, (_, at) => ids[0]! + at))
  const book = () => bookOf(upstream.of(`${id}|orderbook|${symbol}`))
  await until('the book', () => book()?.bids[0]?.join() === truth.book().bids[0]?.join())
  expect(upstream.of(`${id}|orderbook|${symbol}`).map(({ type }) => type)).not.toContain('gap')
}

describe('many subscriptions', () => {
  it.each(['binance', 'okx'])(
    'of %s are spread over connections, of which none has too many books',
    async (venue) => {
      const symbols = symbolsOf(250)
      const exchange = await exchangeOf(venue, { symbols, depth: 5 })
      const subscriptions = [{ channel: 'orderbook', symbols, limit: 100 } as const]
      const upstream = await start([sourceAt(exchange, { subscriptions })])
      await until('all live', () => allLive(upstream), 15_000)
      expect(exchange.connections.map(({ streams }) => streams.length)).toEqual([84, 83, 83])
      expect(exchange.violations).toEqual([])
    },
  )

  it('of Binance are spread over connections of 1,024 streams at most, of which a ticker is two', async () => {
    const symbols = symbolsOf(1_100)
    const exchange = await exchangeOf('binance', { symbols, depth: 5 })
    const subscriptions = (['ticker', 'trades'] as const).map((channel) => ({ channel, symbols }))
    const upstream = await start([sourceAt(exchange, { subscriptions })])
    const streams = () => exchange.connections.map((one) => one.streams.length)
    await until('all streams', () => streams().reduce((sum, count) => sum + count, 0) === 3_300, 20_000)
    expect(streams().length).toBeGreaterThanOrEqual(4)
    expect(Math.max(...streams())).toBeLessThanOrEqual(1_024)
    expect(exchange.violations).toEqual([])
    expect(upstream.manager.status('binance')!.state).toBe('connected')
  })

  it('of which few are left share a connection again, and nothing is lost on the way', async () => {
    const symbols = symbolsOf(110)
    const exchange = await exchangeOf('binance', { symbols, depth: 10, rate: 500 })
    const kept = ['C0/USDT', 'C109/USDT']
    const subscriptions = [
      { channel: 'orderbook', symbols, limit: 100 },
      { channel: 'trades', symbols: kept },
    ] as const
    const upstream = await start([sourceAt(exchange, { subscriptions })], { ...PATIENCE, mergeMs: 300 })
    await until('all live', () => allLive(upstream), 15_000)
    expect(exchange.connections).toHaveLength(2)
    for (const symbol of symbols.slice(1, -1))
      await upstream.manager.unsubscribe({ exchangeId: 'binance', channel: 'orderbook', symbol })
    await until('one connection', () => exchange.connections.length === 1)
    exchange.setRate(0)
    exchange.advance(400)
    for (const symbol of kept) await expectWhole(upstream, exchange, symbol)
  })
})

describe('a connection near its greatest age', () => {
  it.each(['binance', 'okx'])('is replaced at %s, and nothing is lost or doubled', async (venue) => {
    const exchange = await exchangeOf(venue, { symbols: ['BTC/USDT', 'ETH/USDT'], rate: 200 })
    const symbols = ['BTC/USDT', 'ETH/USDT']
    const subscriptions = [
      { channel: 'orderbook', symbols },
      { channel: 'trades', symbols },
    ] as const
    const spec = { subscriptions, reconnect: { baseMs: 20, capMs: 100, maxAgeMs: 400 } }
    const upstream = await start([sourceAt(exchange, spec)], { ...PATIENCE, sweepMs: 50 })
    await until('all live', () => allLive(upstream))
    await until('three replaced', () => exchange.stats().handshakes >= 8)
    exchange.setRate(0)
    exchange.advance(20)
    for (const symbol of symbols) await expectWhole(upstream, exchange, symbol)
    expect(upstream.of(`${venue}|source|${venue}`).map(({ state }) => state)).toEqual([
      'connecting',
      'connected',
    ])
    expect(exchange.violations).toEqual([])
  })
})

describe('a reconnect storm', () => {
  it('of twenty sources keeps the limits of each venue, and all come back', async () => {
    const kinds = ['binance', 'binance-futures', 'okx', 'bybit', 'kraken', 'coinbase']
    const exchanges: Exchange[] = []
    for (const kind of kinds)
      exchanges.push(
        await exchangeOf(kind, {
          rate: 50,
          ...(kind === 'binance-futures' ? {} : { symbols: symbolsOf(5) }),
        }),
      )
    const sources = Array.from({ length: 20 }, (_, at) => {
      const exchange = exchanges[at % exchanges.length]!
      const symbols = exchange.venue === 'binance-futures' ? ['BTC/USDT:USDT'] : symbolsOf(5)
      const subscriptions = [
        { channel: 'orderbook', symbols, limit: 100 },
        { channel: 'trades', symbols },
        { channel: 'ticker', symbols },
      ] as const
      return sourceAt(exchange, { id: `s${at}`, subscriptions })
    })
    const upstream = await start(sources)
    await until('all live', () => allLive(upstream), 20_000)
    const before = exchanges.reduce((sum, exchange) => sum + exchange.stats().handshakes, 0)
    for (const exchange of exchanges) exchange.inject({ fault: 'hard-cut', count: 1_000 }).end()
    const cutAt = performance.now()
    await until('all cut', () => !allLive(upstream))
    await until('all live again', () => allLive(upstream), 20_000)
    const handshakes = exchanges.reduce((sum, exchange) => sum + exchange.stats().handshakes, 0) - before
    const tookMs = Math.round(performance.now() - cutAt)
    console.log(
      `20 sources, ${handshakes} connections, ${topicsOf(upstream).length} topics: live again after ${tookMs} ms`,
    )
    for (const exchange of exchanges)
      expect({ [exchange.venue]: exchange.violations }).toEqual({ [exchange.venue]: [] })
  }, 60_000)
})
