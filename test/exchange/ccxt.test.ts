import ccxt from 'ccxt'
import { afterEach, expect, it } from 'vitest'
import type { Exchange } from '../../src/exchange/exchange.ts'
import { until } from '../player/venue-client.ts'
import { closeAll, exchangeOf } from './simulated-venue.ts'

afterEach(closeAll)

type Urls = { [key: string]: string | Urls }

/** Every address that ccxt knows of the venue leads to the exchange instead. */
function divert(urls: Urls, { url, restUrl }: Exchange): void {
  for (const [key, value] of Object.entries(urls)) {
    if (typeof value !== 'string') divert(value, { url, restUrl } as Exchange)
    else urls[key] = value.replace(/^wss:\/\/[^/]*/, url).replace(/^https:\/\/[^/]*/, restUrl)
  }
}

it.each([
  ['binance', 'BTC/USDT'],
  ['kraken', 'BTC/USD'],
  ['okx', 'BTC/USDT'],
] as const)('%s answers what ccxt asks, and its book follows the truth', async (venue, symbol) => {
  const exchange = await exchangeOf(venue, { rate: 300, symbols: [symbol] })
  const client = new ccxt.pro[venue]({ enableRateLimit: false })
  divert(client.urls.api as Urls, exchange)
  // Without it ccxt takes an address without TLS for one that needs a proxy.
  await client.loadHttpProxyAgent()
  try {
    expect(Object.keys(await client.loadMarkets())).toEqual([symbol])
    const [ticker, trades, , candles] = await Promise.all([
      client.watchTicker(symbol),
      client.watchTrades(symbol),
      client.watchOrderBook(symbol),
      client.watchOHLCV(symbol, '1m'),
    ])
    expect(ticker.last).toBeGreaterThan(1_000)
    expect(trades.at(-1)?.price).toBeGreaterThan(1_000)
    expect(candles.at(-1)?.[4]).toBeGreaterThan(1_000)
    expect((await client.fetchTrades(symbol)).length).toBeGreaterThan(0)
    exchange.setRate(0)
    const truth = exchange.truth(symbol).book(5)
    const best = () =>
      client.orderbooks[symbol]!.bids.slice(0, 5).map(([price, size]: number[]) => [price, size])
    const wanted = JSON.stringify(truth.bids.map((level) => level.map(Number)))
    await until(() => JSON.stringify(best()) === wanted)
    expect(exchange.violations).toEqual([])
  } finally {
    await client.close()
  }
})
