import { afterEach, describe, expect, it } from 'vitest'
import { bookOf, closeAll, exchangeOf, sourceOf } from './simulated-venue.ts'

afterEach(closeAll)

/** Of the channels that each venue's connector has: what is subscribed to, and the depth of its books. */
const VENUES = [
  { venue: 'binance', symbols: ['BTC/USDT', 'ETH/USDT'], limit: 1000, timeframe: '1m' },
  { venue: 'coinbase', symbols: ['BTC/USD', 'ETH/USD'], limit: undefined, timeframe: undefined },
  { venue: 'kraken', symbols: ['BTC/USD', 'DOGE/USD'], limit: 10, timeframe: '1m' },
] as const

describe.each(VENUES)('$venue', ({ venue, symbols, limit, timeframe }) => {
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
    await upstream.until('subscribed', () => (exchange.connections[0]?.streams.length ?? 0) >= streams)
    exchange.advance(1_000)
    await new Promise((resolve) => setTimeout(resolve, 50))
    exchange.advance(1_000)
    for (const symbol of symbols) {
      const truth = exchange.truth(symbol)
      const wanted = truth.book(venue === 'kraken' ? limit : undefined)
      await upstream.until(
        `the book of ${symbol}`,
        () => JSON.stringify(bookOf(upstream.of(`x|orderbook|${symbol}`))) === JSON.stringify(wanted),
      )
      const trades = truth.trades()
      const received = () => upstream.of(`x|trades|${symbol}`)
      await upstream.until(`the trades of ${symbol}`, () => received().length >= trades.length)
      const ids = received().map((event) => Number(event.id))
      expect(ids.slice(-trades.length)).toEqual(trades.map((trade) => trade.id))
      expect(new Set(ids).size).toBe(ids.length)
      expect(upstream.of(`x|ticker|${symbol}`).length).toBeGreaterThan(10)
      if (timeframe) expect(upstream.of(`x|ohlcv|${symbol}|1m`).length).toBeGreaterThan(10)
    }
    expect(upstream.events.filter((event) => event.type === 'gap')).toEqual([])
    expect(upstream.letters).toEqual([])
    expect(exchange.violations).toEqual([])
  })
})
