import { marketOf } from '../../market/symbol.ts'
import type { Ask } from '../../player/dialect.ts'
import { createDialect } from '../../player/venues/binance.ts'
import type { Market, MarketTrade } from '../market.ts'
import { candleStream, stateStream, tradeStream } from '../streams.ts'
import { limitOf, ms, timeframeMicros } from '../text.ts'
import type { Stream, Wire } from '../wire.ts'
import {
  aggTradeText,
  bestText,
  bookText,
  candleText,
  dayText,
  feedKey,
  filters,
  json,
  nameOf,
  openStream,
  rest,
} from './binance.ts'

const SECOND = 1_000_000
/** Streams of the path `/public`; all others are of `/market`. */
const PUBLIC = /^(depth|bookTicker)/

/** USDⓈ-M futures: https://developers.binance.com/docs/derivatives/usds-margined-futures */
export function createWire(): Wire {
  return {
    id: 'binance-futures',
    dialect: { ...createDialect(), id: 'binance-futures' },
    symbols: ['BTC/USDT:USDT', 'ETH/USDT:USDT', 'BTC/USDT:USDT-261225'],
    keyOf(symbol) {
      const market = marketOf(symbol)
      if (!market?.settle || market.settle !== market.quote) return undefined
      return market.base + market.quote + (market.expiry === undefined ? '' : `_${market.expiry}`)
    },
    feedKey: (ask, path) => `${pathOf(path)} ${feedKey(ask, path)}`,
    acknowledgesAll: true,
    open(ask, path, markets) {
      const market = markets.find(ask.symbol)
      return market && isThere(ask, path) ? openStream(market, ask, path, streamOf) : undefined
    },
    rest(request) {
      const { path, query, markets } = request
      if (path === '/fapi/v1/fundingRate') {
        const market = markets.find(query.get('symbol') ?? '')
        return json(market ? fundingHistory(market, limitOf(query, 100, 1_000)) : [])
      }
      const head = ({ time }: Market) => `"E":${ms(time)},"T":${ms(time)},`
      return rest(request, '/fapi/v1', instrument, { head, about })
    },
    limits: {
      messages: { count: 10, perMs: 1_000 },
      streamsPerConnection: 1_024,
      connects: { count: 300, perMs: 300_000 },
      rest: { count: 2_400, perMs: 60_000, weigh },
      pings: { everyMs: 180_000, silentMs: 600_000 },
    },
  }
}

const pathOf = (path: string): string => path.split('/')[1] ?? ''

/** The old path, which names neither, has what is public and withholds the rest. */
function isThere({ stream }: Ask, path: string): boolean {
  const isPublic = PUBLIC.test(stream.slice(stream.indexOf('@') + 1))
  return isPublic === (pathOf(path) !== 'market')
}

function weigh(path: string, query: URLSearchParams): number {
  if (path.endsWith('/aggTrades') || path.endsWith('/historicalTrades')) return 20
  if (!path.endsWith('/depth')) return 1
  const limit = limitOf(query, 500, 1_000)
  return limit <= 50 ? 2 : limit <= 100 ? 5 : limit <= 500 ? 10 : 20
}

function streamOf(market: Market, kind: string): Stream | undefined {
  const name = nameOf(market)
  const timeframe = kind.startsWith('kline_') ? timeframeMicros(kind.slice(6)) : undefined
  if (timeframe) return candleStream(market, timeframe, candleText(name, kind.slice(6)))
  switch (kind) {
    case 'aggTrade':
      return tradeStream(market, (trade) => aggTradeText(name, trade, ''))
    case 'bookTicker':
      return stateStream(market, (now) => bestPricesText(name, now))
    case 'ticker':
      return stateStream(market, (now) => dayText(name, now), { everyMicros: SECOND })
    case 'depth':
      return stateStream(market, (now) => bookText(name, now, `"pu":${now.firstUpdate - 1},`))
    case 'markPrice':
      return stateStream(market, (now) => markText(name, now), { everyMicros: SECOND })
    case 'forceOrder':
      return {
        markets: [market],
        step: ({ trade }, emit) => trade?.liquidation && emit(liquidationText(name, trade)),
      }
    default:
      return undefined
  }
}

function bestPricesText(name: string, now: Market): string {
  const at = ms(now.time)
  return `{"e":"bookTicker","u":${now.lastUpdate},"s":"${name}",${bestText(now)},"T":${at},"E":${at}}`
}

function markText(name: string, now: Market): string {
  const { mark, time, fundingRate, nextFunding, type } = now
  // Dated futures are not funded.
  const funding = type === 'swap' ? `"r":"${fundingRate}","T":${ms(nextFunding)}` : '"r":"","T":0'
  return `{"e":"markPriceUpdate","E":${ms(time)},"s":"${name}","p":"${mark}","i":"${mark}","P":"${mark}",${funding}}`
}

function liquidationText(name: string, { price, size, takerBuys, time }: MarketTrade): string {
  return (
    `{"e":"forceOrder","E":${ms(time)},"o":{"s":"${name}","S":"${takerBuys ? 'BUY' : 'SELL'}","o":"LIMIT","f":"IOC",` +
    `"q":"${size}","p":"${price}","ap":"${price}","X":"FILLED","l":"${size}","z":"${size}","T":${ms(time)}}}`
  )
}

// REST

function about(what: string, market: Market): object | undefined {
  const { mark, openInterest, time, fundingRate, nextFunding, type } = market
  const symbol = nameOf(market)
  if (what === 'openInterest') return { openInterest: `${openInterest}.000`, symbol, time: ms(time) }
  if (what !== 'premiumIndex') return undefined
  return {
    symbol,
    markPrice: mark,
    indexPrice: mark,
    estimatedSettlePrice: mark,
    lastFundingRate: type === 'swap' ? fundingRate : '',
    interestRate: '0.00010000',
    nextFundingTime: type === 'swap' ? ms(nextFunding) : 0,
    time: ms(time),
  }
}

/** Of now alone: what was before the market began, nobody paid. */
function fundingHistory(market: Market, limit: number): object[] {
  const { fundingRate, nextFunding, mark } = market
  const fundingTime = ms(nextFunding) - 8 * 3_600_000
  return [{ symbol: nameOf(market), fundingRate, fundingTime, markPrice: mark }].slice(0, limit)
}

function instrument(market: Market): object {
  const { base, quote, settle, type, priceDecimals, sizeDecimals, expiresAt } = market
  return {
    symbol: nameOf(market),
    pair: base + quote,
    contractType: type === 'swap' ? 'PERPETUAL' : 'CURRENT_QUARTER',
    deliveryDate: type === 'swap' ? 4_133_404_800_000 : expiresAt,
    onboardDate: 1_569_398_400_000,
    status: 'TRADING',
    maintMarginPercent: '2.5000',
    requiredMarginPercent: '5.0000',
    baseAsset: base,
    quoteAsset: quote,
    marginAsset: settle,
    pricePrecision: priceDecimals,
    quantityPrecision: sizeDecimals,
    baseAssetPrecision: 8,
    quotePrecision: 8,
    underlyingType: 'COIN',
    orderTypes: ['LIMIT', 'MARKET'],
    timeInForce: ['GTC', 'IOC'],
    filters: [...filters(market), { filterType: 'MIN_NOTIONAL', notional: '5' }],
  }
}
