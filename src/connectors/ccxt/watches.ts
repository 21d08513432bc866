import type { Subscription } from '../connector.ts'
import type { CcxtExchange } from './library.ts'

/** A watch method of ccxt for one subscription. */
export interface Watch {
  call(exchange: CcxtExchange): Promise<unknown>
  /** Undefined: the exchange cannot be asked to stop. */
  readonly stop: ((exchange: CcxtExchange) => Promise<unknown>) | undefined
  /** A second source of the same topic: what it lacks is no failure. */
  readonly optional?: true
  /** Asks for less from now on, where it asked for something that may be too much. */
  relent?(): boolean
}

/** The methods that a subscription needs, by what the exchange has. */
export function watchesOf(exchange: CcxtExchange, subscription: Subscription): readonly Watch[] {
  const { has } = exchange
  const { channel, symbol, timeframe = '1m', limit } = subscription
  switch (channel) {
    case 'trades':
      return [
        {
          call: (exchange) => exchange.watchTrades(symbol),
          stop: has.unWatchTrades ? (exchange) => exchange.unWatchTrades(symbol) : undefined,
        },
      ]
    case 'orderbook':
      return [bookWatch(exchange, symbol, limit)]
    case 'ohlcv':
      return [
        {
          call: (exchange) => exchange.watchOHLCV(symbol, timeframe),
          stop: has.unWatchOHLCV ? (exchange) => exchange.unWatchOHLCV(symbol, timeframe) : undefined,
        },
      ]
    default:
      return tickerWatches(has, symbol)
  }
}

function tickerWatches(has: CcxtExchange['has'], symbol: string): readonly Watch[] {
  const watches: Watch[] = []
  if (has.watchTicker)
    watches.push({
      call: (exchange) => exchange.watchTicker(symbol),
      stop: has.unWatchTicker ? (exchange) => exchange.unWatchTicker(symbol) : undefined,
    })
  else if (has.watchTickers)
    watches.push({
      call: (exchange) => exchange.watchTickers([symbol]),
      stop: has.unWatchTickers ? (exchange) => exchange.unWatchTickers([symbol]) : undefined,
    })
  if (has.watchBidsAsks)
    watches.push({
      call: (exchange) => exchange.watchBidsAsks([symbol]),
      stop: has.unWatchBidsAsks ? (exchange) => exchange.unWatchBidsAsks([symbol]) : undefined,
      ...(watches.length > 0 && { optional: true }),
    })
  return watches
}

/** Exchanges accept different depths and refuse others: then their own is taken, and cut. */
function bookWatch({ has }: CcxtExchange, symbol: string, limit: number | undefined): Watch {
  let asked = limit
  return {
    call: (exchange) => exchange.watchOrderBook(symbol, asked),
    stop: has.unWatchOrderBook ? (exchange) => exchange.unWatchOrderBook(symbol) : undefined,
    relent: () => {
      const could = asked !== undefined
      asked = undefined
      return could
    },
  }
}
