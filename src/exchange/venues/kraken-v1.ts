import { venuePair } from '../../market/symbol.ts'
import type { Ask } from '../../player/dialect.ts'
import { createDialect } from '../../player/venues/kraken-v1.ts'
import type { MarketCandle } from '../candles.ts'
import type { Market, MarketTrade } from '../market.ts'
import { bookStream, candleStream, stateStream, tradeStream } from '../streams.ts'
import { secondsText } from '../text.ts'
import type { Stream, Wire } from '../wire.ts'
import { LIMITS, rest, v1Name } from './kraken.ts'

const MINUTE = 60_000_000
/** Trades of a snapshot. */
const SNAPSHOT_TRADES = 50

/** Kraken's WebSocket v1, frozen and still served: https://docs.kraken.com/exchange/api-reference/spot-websocket-v1 */
export function createWire(): Wire {
  const ids = new Map<string, number>()
  const dialect = createDialect(ids)
  return {
    id: 'kraken-v1',
    dialect,
    symbols: ['BTC/USD', 'ETH/USD', 'DOGE/USD'],
    keyOf: (symbol) => venuePair(symbol, (base, quote) => v1Name({ base, quote })),
    open(ask, _path, markets) {
      const market = markets.find(ask.symbol)
      if (!market) return undefined
      const { depth } = ask
      if (depth === undefined) return streamOf(market, ask, ids)
      return bookStream(market, { depth, truncates: true }, (kind, now, bids, asks) => {
        const state = { time: now.time / 1e6, checksum: String(now.book.krakenChecksum()) }
        return dialect.bookFrame!(kind, ask, bids, asks, state)
      })
    },
    rest: (request) => rest(request, v1Name),
    limits: {
      ...LIMITS,
      excess: () => ['{"errorMessage":"Exceeded msg rate","event":"error"}'],
    },
  }
}

function streamOf(market: Market, ask: Ask, ids: ReadonlyMap<string, number>): Stream | undefined {
  const { channel, stream, symbol } = ask
  // The id is given out with the answer.
  const data = (what: string) => `[${ids.get(stream)},${what},"${channel}","${symbol}"]`
  const interval = Number(/^ohlc-(\d+)$/.exec(channel)?.[1])
  if (interval > 0)
    return candleStream(
      market,
      interval * MINUTE,
      (candle, _closed, now) => data(candleText(candle, interval, now)),
      (now) => [data(candleText(now.candles.list(interval * MINUTE).at(-1)!, interval, now))],
    )
  switch (channel) {
    case 'trade':
      return tradeStream(
        market,
        (trade) => data(tradesText([trade])),
        ({ trades }) => (trades.length > 0 ? [data(tradesText(trades.slice(-SNAPSHOT_TRADES)))] : []),
      )
    case 'ticker':
      return stateStream(market, (now) => data(tickerText(now)), { begins: true })
    default:
      return undefined
  }
}

function tradesText(trades: readonly MarketTrade[]): string {
  const list = trades.map(
    ({ price, size, takerBuys, time }) =>
      `["${price}","${size}","${secondsText(time)}","${takerBuys ? 'b' : 's'}","l",""]`,
  )
  return `[${list.join(',')}]`
}

function tickerText({ book, day, lastTrade }: Market): string {
  const best = (side: 'bids' | 'asks') => {
    const [price, size] = book.at(side, 0)!
    return `["${price}",${Math.floor(Number(size))},"${size}"]`
  }
  const twice = (value: string) => `["${value}","${value}"]`
  return (
    `{"a":${best('asks')},"b":${best('bids')},"c":["${lastTrade.price}","${lastTrade.size}"],"v":${twice(day.volume)},` +
    `"p":${twice(lastTrade.price)},"t":[${day.trades},${day.trades}],"l":${twice(day.low)},"h":${twice(day.high)},` +
    `"o":${twice(day.open)}}`
  )
}

function candleText(candle: MarketCandle, interval: number, { time }: Market): string {
  const { openTime, open, high, low, close, volume, trades } = candle
  const end = secondsText(openTime + interval * MINUTE)
  return `["${secondsText(time)}","${end}","${open}","${high}","${low}","${close}","${close}","${volume}",${trades}]`
}
