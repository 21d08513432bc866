import { afterEach, describe, expect, it } from 'vitest'
import { bookOf, closeAll, exchangeOf, sourceOf } from './simulated-venue.ts'

afterEach(closeAll)

/** What each venue's connector has, and the depth of books that are compared: those of a venue that truncates. */
const VENUES = [
  { venue: 'binance', symbols: ['BTC/USDT', 'ETH/USDT'], limit: 1000, timeframe: '1m' },
  {
    venue: 'binance-futures',
    symbols: ['BTC/USDT:USDT', 'BTC/USDT:USDT-261225'],
    limit: 1000,
    timeframe: '1m',
  },
  { venue: 'coinbase', symbols: ['BTC/USD', 'ETH/USD'] },
  { venue: 'okx', symbols: ['BTC/USDT', 'BTC/USDT:USDT', 'BTC/USDT:USDT-261225'], timeframe: '1m' },
  {
    venue: 'bybit',
    symbols: ['BTC/USDT', 'BTC/USDT:USDT', 'BTC/USD:BTC'],
    limit: 50,
    depth: 50,
    timeframe: '1m',
  },
  { venue: 'kraken', symbols: ['BTC/USD', 'DOGE/USD'], limit: 10, depth: 10, timeframe: '1m' },
  { venue: 'kraken-v1', symbols: ['BTC/USD', 'DOGE/USD'], limit: 10, depth: 10, timeframe: '1m' },
] as const

describe.each(VENUES)('$venue', ({ venue, symbols, ...of }) => {
  const { limit, depth, timeframe } = of as { limit?: number; depth?: number; timeframe?: string }

  it('is followed by our connector: books equal the truth, every trade comes once, nothing is lost', async () => {
    const exchange = await exchangeOf(venue, { symbols })
    const upstream = await sourceOf(exchange, {
      subscriptions: [
        { channel: 'ticker', symbols },
        { channel: 'trades', symbols },
        { channel: 'orderbook', symbols, ...(limit && { limit }) },
        ...(timeframe ? ([{ channel: 'ohlcv', symbols, timeframe }] as const) : []),
      ],
    })
    const streams = symbols.length * (timeframe ? 4 : 3)
    const held = () => exchange.connections.reduce((sum, { streams: all }) => sum + all.length, 0)
    await upstream.until('subscribed', () => held() >= streams)
    exchange.advance(1_000)
    await new Promise((resolve) => setTimeout(resolve, 50))
    exchange.advance(1_000)
    for (const symbol of symbols) {
      const truth = exchange.truth(symbol)
      const wanted = JSON.stringify(truth.book(depth))
      await upstream.until(
        `the book of ${symbol}`,
        () => JSON.stringify(bookOf(upstream.of(`x|orderbook|${symbol}`))) === wanted,
      )
      const trades = truth.trades().map(({ price, size, takerBuys }) => `${price} ${size} ${takerBuys}`)
      const received = () => upstream.of(`x|trades|${symbol}`)
      await upstream.until(`the trades of ${symbol}`, () => received().length >= trades.length)
      // The newest of before the market began may come as well.
      const told = received().map(({ price, size, side }) => `${price} ${size} ${side === 'buy'}`)
      expect(told.slice(-trades.length)).toEqual(trades)
      expect(told.length - trades.length).toBeLessThanOrEqual(1)
      expect(upstream.of(`x|ticker|${symbol}`).length).toBeGreaterThan(10)
      if (timeframe) expect(upstream.of(`x|ohlcv|${symbol}|1m`).length).toBeGreaterThan(10)
    }
    expect(upstream.events.filter((event) => event.type === 'gap')).toEqual([])
    expect(upstream.letters).toEqual([])
    expect(exchange.violations).toEqual([])
  })
})

describe.each([
  { venue: 'binance-futures', channels: ['funding', 'liquidations'] },
  { venue: 'okx', channels: ['funding', 'openinterest', 'liquidations'] },
  { venue: 'bybit', channels: ['funding', 'openinterest', 'liquidations'] },
] as const)('$venue, derivatives', ({ venue, channels }) => {
  it.each(channels)('has %s', async (channel) => {
    const symbol = 'BTC/USDT:USDT'
    const exchange = await exchangeOf(venue, { symbols: [symbol] })
    const upstream = await sourceOf(exchange, { subscriptions: [{ channel, symbols: [symbol] }] })
    await upstream.until('subscribed', () => (exchange.connections[0]?.streams.length ?? 0) > 0)
    exchange.advance(2_000)
    await upstream.until(channel, () => upstream.of(`x|${channel}|${symbol}`).length > 3)
    expect(upstream.letters).toEqual([])
    if (channel !== 'liquidations') return
    const forced = exchange
      .truth(symbol)
      .trades()
      .filter((trade) => trade.liquidation)
    await upstream.until('all', () => upstream.of(`x|${channel}|${symbol}`).length === forced.length)
    expect(upstream.of(`x|${channel}|${symbol}`).map(({ price, size, side }) => [price, size, side])).toEqual(
      forced.map(({ price, size, takerBuys }) => [price, size, takerBuys ? 'buy' : 'sell']),
    )
  })
})
