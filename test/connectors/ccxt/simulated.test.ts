import { afterEach, describe, expect, it } from 'vitest'
import { type Exchange, startExchange } from '../../../src/exchange/exchange.ts'
import { startUpstream, type Upstream, type Wire } from '../../manager/venue-world.ts'

const VENUES = [
  ['binance', 'BTC/USDT'],
  ['kraken', 'BTC/USD'],
  ['okx', 'BTC/USDT'],
] as const

let exchange: Exchange
let upstream: Upstream | undefined

afterEach(async () => {
  await upstream?.stop()
  await exchange?.close()
})

/** Best first, as numbers: ccxt loses zeros at the end. */
function bookOf(events: readonly Wire[], depth: number) {
  const sides = { bids: new Map<number, number>(), asks: new Map<number, number>() }
  for (const event of events) {
    if (event.type !== 'orderbook') continue
    for (const name of ['bids', 'asks'] as const) {
      if (event.kind === 'snapshot') sides[name].clear()
      for (const [price, size] of event[name]) {
        if (size === '0') sides[name].delete(Number(price))
        else sides[name].set(Number(price), Number(size))
      }
    }
  }
  return {
    bids: [...sides.bids].sort((a, b) => b[0] - a[0]).slice(0, depth),
    asks: [...sides.asks].sort((a, b) => a[0] - b[0]).slice(0, depth),
  }
}

const numbers = (levels: readonly (readonly [string, string])[]) => levels.map((level) => level.map(Number))

describe('ccxt against a simulated venue, REST included', () => {
  it.each(VENUES)(
    '%s: its book and its trades are those of the venue, also after a cut',
    async (id, symbol) => {
      exchange = await startExchange({ venue: id, rate: 0, symbols: [symbol] })
      const { url, restUrl } = exchange
      const subscriptions = [
        { channel: 'orderbook', symbols: [symbol], limit: 100 },
        { channel: 'trades', symbols: [symbol] },
        { channel: 'ticker', symbols: [symbol] },
        { channel: 'ohlcv', symbols: [symbol], timeframe: '1m' },
      ] as const
      const reconnect = { baseMs: 50, capMs: 200 }
      upstream = await startUpstream([{ id, kind: 'ccxt', url, restUrl, subscriptions, reconnect }])
      const { of, until, manager } = upstream
      const truth = exchange.truth(symbol)
      const book = () => bookOf(of(`${id}|orderbook|${symbol}`), 10)
      const isRight = () => {
        const { bids, asks } = truth.book(10)
        return JSON.stringify(book()) === JSON.stringify({ bids: numbers(bids), asks: numbers(asks) })
      }
      const live = () => manager.status(id)?.topics.filter((topic) => topic.state === 'live').length
      const go = setInterval(() => exchange.advance(5), 20)
      try {
        await until('all live', () => live() === 4, 12_000)
        for (const { id: connection } of exchange.connections)
          exchange.inject({ fault: 'hard-cut', connection })
        await until(
          'gap',
          () => of(`${id}|orderbook|${symbol}`).some((event) => event.type === 'gap'),
          12_000,
        )
        await until('all live again', () => live() === 4, 12_000)
      } finally {
        clearInterval(go)
      }
      exchange.advance(50)
      await until('the right book', isRight)
      const ids = of(`${id}|trades|${symbol}`).flatMap((event) => (event.type === 'trade' ? [event.id] : []))
      expect(new Set(ids).size).toBe(ids.length)
      const known = new Set(truth.trades().map((trade) => String(trade.id)))
      expect(ids.filter((one) => !known.has(one))).toEqual([])
      expect(exchange.violations).toEqual([])
    },
  )
})
