import type { Subscription } from '../connector.ts'
import type { CcxtExchange } from './library.ts'

const BOOK_LEVELS = 5

/**
 * What the venue says of a subscription by REST, as text that differs when the market moved on; undefined where it
 * cannot be asked. Rejects as ccxt does.
 */
export async function sample(
  exchange: CcxtExchange,
  { channel, symbol, timeframe = '1m' }: Subscription,
): Promise<string | undefined> {
  const { has } = exchange
  switch (channel) {
    case 'trades': {
      if (!has.fetchTrades) return undefined
      const trades = await exchange.fetchTrades(symbol)
      return String(Math.max(0, ...trades.map((trade) => trade.timestamp ?? 0)))
    }
    case 'orderbook': {
      if (!has.fetchOrderBook) return undefined
      const { bids, asks } = await exchange.fetchOrderBook(symbol)
      return JSON.stringify([best(bids, -1), best(asks, 1)])
    }
    case 'ohlcv': {
      if (!has.fetchOHLCV) return undefined
      const candles = await exchange.fetchOHLCV(symbol, timeframe, undefined, 2)
      return JSON.stringify(candles.toSorted((a, b) => Number(a[0]) - Number(b[0])).at(-1) ?? [])
    }
    default: {
      if (!has.fetchTicker) return undefined
      // Not the volume, which changes as old trades leave the day; nor the best prices, which not all streams follow.
      const { last, high, low } = await exchange.fetchTicker(symbol)
      return JSON.stringify([last, high, low])
    }
  }
}

/** Sorted here: with decimals as text ccxt sorts them as text. */
function best(levels: readonly (readonly unknown[])[], direction: 1 | -1): readonly number[][] {
  return levels
    .map(([price, size]) => [Number(price), Number(size)])
    .toSorted((a, b) => (a[0]! - b[0]!) * direction)
    .slice(0, BOOK_LEVELS)
}
