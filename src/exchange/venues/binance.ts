import { venuePair } from '../../market/symbol.ts'
import type { Ask } from '../../player/dialect.ts'
import { combined, createDialect } from '../../player/venues/binance.ts'
import type { MarketCandle } from '../candles.ts'
import type { Market, MarketTrade } from '../market.ts'
import { candleStream, stateStream, tradeStream } from '../streams.ts'
import { levelsText, limitOf, ms, noSize, priceChange, quoteSize, timeframeMicros } from '../text.ts'
import type { RestAnswer, RestRequest, Stream, Wire } from '../wire.ts'

const SECOND = 1_000_000
const INVALID_SYMBOL: RestAnswer = { status: 400, body: '{"code":-1121,"msg":"Invalid symbol."}' }

export const nameOf = ({ base, quote, expiry }: Market): string =>
  base + quote + (expiry === undefined ? '' : `_${expiry}`)

/** Binance spot: https://developers.binance.com/docs/binance-spot-api-docs */
export function createWire(): Wire {
  return {
    id: 'binance',
    dialect: createDialect(),
    symbols: ['BTC/USDT', 'ETH/USDT', 'SOL/USDT'],
    keyOf: (symbol) => venuePair(symbol, (base, quote) => base + quote),
    // `/stream` wraps what `/ws` does not.
    feedKey,
    acknowledgesAll: true,
    open(ask, path, markets) {
      const market = markets.find(ask.symbol)
      return market && openStream(market, ask, path, streamOf)
    },
    rest: (request) =>
      // Clients of all of Binance ask for its futures as well.
      /^\/[fd]api\/v1\/exchangeInfo$/.test(request.path)
        ? json({ timezone: 'UTC', serverTime: Date.now(), rateLimits: [], exchangeFilters: [], symbols: [] })
        : rest(request, '/api/v3', instrument),
    limits: {
      messages: { count: 5, perMs: 1_000 },
      streamsPerConnection: 1_024,
      connects: { count: 300, perMs: 300_000 },
      rest: { count: 6_000, perMs: 60_000, weigh },
      pings: { everyMs: 20_000, silentMs: 60_000 },
    },
  }
}

export const feedKey = (ask: Ask, path: string): string =>
  `${combined(path) ? 'wrapped' : 'raw'} ${ask.channel}`

function weigh(path: string, query: URLSearchParams): number {
  const limit = limitOf(query, 100, 5_000)
  if (path.endsWith('/depth')) return limit <= 100 ? 5 : limit <= 500 ? 25 : limit <= 1_000 ? 50 : 250
  if (path.endsWith('/exchangeInfo')) return 20
  return path.endsWith('/trades') || path.endsWith('/historicalTrades') ? 25 : 2
}

/** A stream of `kinds`, in the form of the path. */
export function openStream(
  market: Market,
  ask: Ask,
  path: string,
  kinds: (market: Market, kind: string) => Stream | undefined,
): Stream | undefined {
  const stream = kinds(market, ask.stream.slice(ask.stream.indexOf('@') + 1))
  if (!stream || !combined(path)) return stream
  const head = `{"stream":${JSON.stringify(ask.channel)},"data":`
  return { ...stream, step: (now, emit) => stream.step(now, (frame) => emit(`${head}${frame}}`)) }
}

function streamOf(market: Market, kind: string): Stream | undefined {
  const name = nameOf(market)
  const timeframe = kind.startsWith('kline_') ? timeframeMicros(kind.slice(6)) : undefined
  if (timeframe) return candleStream(market, timeframe, candleText(name, kind.slice(6)))
  switch (kind) {
    case 'trade':
      return tradeStream(market, (trade) => tradeText(name, trade))
    case 'aggTrade':
      return tradeStream(market, (trade) => aggTradeText(name, trade))
    case 'bookTicker':
      return stateStream(market, (now) => `{"u":${now.lastUpdate},"s":"${name}",${bestText(now)}}`)
    case 'ticker':
      return stateStream(market, (now) => dayText(name, now), { everyMicros: SECOND })
    case 'miniTicker':
      return stateStream(market, (now) => shortDayText(name, now), { everyMicros: SECOND })
    case 'depth':
      return stateStream(market, (now) => bookText(name, now, ''))
    case 'depth5':
    case 'depth10':
    case 'depth20': {
      const depth = Number(kind.slice(5))
      return stateStream(market, (now) => snapshotText(now, depth), { everyMicros: SECOND / 10 })
    }
    default:
      return undefined
  }
}

/** `previous`: what futures say besides, `"pu":…,` */
export function bookText(name: string, now: Market, previous: string): string {
  const gone = noSize(now)
  return (
    `{"e":"depthUpdate","E":${ms(now.time)},${previous && `"T":${ms(now.time)},`}"s":"${name}",` +
    `"U":${now.firstUpdate},"u":${now.lastUpdate},${previous}` +
    `"b":${levelsText(now.bids, gone)},"a":${levelsText(now.asks, gone)}}`
  )
}

function tradeText(name: string, { id, price, size, takerBuys, time }: MarketTrade): string {
  const at = ms(time)
  return `{"e":"trade","E":${at},"s":"${name}","t":${id},"p":"${price}","q":"${size}","T":${at},"m":${!takerBuys},"M":true}`
}

/** A trade is an aggregate of its own. */
export function aggTradeText(name: string, trade: MarketTrade, end = ',"M":true'): string {
  const { id, price, size, takerBuys, time } = trade
  const at = ms(time)
  return `{"e":"aggTrade","E":${at},"s":"${name}","a":${id},"p":"${price}","q":"${size}","f":${id},"l":${id},"T":${at},"m":${!takerBuys}${end}}`
}

export function bestText({ book }: Market): string {
  const [bid, bidSize] = book.at('bids', 0)!
  const [ask, askSize] = book.at('asks', 0)!
  return `"b":"${bid}","B":"${bidSize}","a":"${ask}","A":"${askSize}"`
}

export function dayText(name: string, now: Market): string {
  const { day, lastTrade, time } = now
  return (
    `{"e":"24hrTicker","E":${ms(time)},"s":"${name}","p":"${priceChange(day.open, lastTrade.price, now)}","P":"0.000",` +
    `"w":"${lastTrade.price}","x":"${day.open}","c":"${lastTrade.price}","Q":"${lastTrade.size}",${bestText(now)},` +
    `"o":"${day.open}","h":"${day.high}","l":"${day.low}","v":"${day.volume}","q":"${day.quoteVolume}",` +
    `"O":${ms(time) - 86_400_000},"C":${ms(time)},"F":${lastTrade.id - day.trades},"L":${lastTrade.id},"n":${day.trades}}`
  )
}

function shortDayText(name: string, { day, lastTrade, time }: Market): string {
  return (
    `{"e":"24hrMiniTicker","E":${ms(time)},"s":"${name}","c":"${lastTrade.price}","o":"${day.open}","h":"${day.high}",` +
    `"l":"${day.low}","v":"${day.volume}","q":"${day.quoteVolume}"}`
  )
}

export function candleText(name: string, timeframe: string) {
  const length = timeframeMicros(timeframe)!
  return (candle: MarketCandle, closed: boolean, now: Market): string => {
    const { openTime, open, high, low, close, volume, quoteVolume, trades } = candle
    const last = now.lastTrade.id
    return (
      `{"e":"kline","E":${ms(now.time)},"s":"${name}","k":{"t":${ms(openTime)},"T":${ms(openTime + length) - 1},` +
      `"s":"${name}","i":"${timeframe}","f":${last - trades + 1},"L":${last},"o":"${open}","c":"${close}","h":"${high}",` +
      `"l":"${low}","v":"${volume}","n":${trades},"x":${closed},"q":"${quoteVolume}","V":"0","Q":"0","B":"0"}}`
    )
  }
}

export function snapshotText({ book, lastUpdate }: Market, limit: number, head = ''): string {
  const side = (name: 'bids' | 'asks') => levelsText(book.top(name, limit))
  return `{"lastUpdateId":${lastUpdate},${head}"bids":${side('bids')},"asks":${side('asks')}}`
}

// REST

/** Requests that spot and futures have under the same names. */
export function rest(
  request: RestRequest,
  prefix: string,
  instrument: (market: Market) => object,
  more: {
    /** Of a book, behind its id. */
    readonly head?: (market: Market) => string
    /** Of what futures have besides. */
    readonly about?: (what: string, market: Market) => object | undefined
  } = {},
): RestAnswer | undefined {
  const { path, query, markets } = request
  if (!path.startsWith(`${prefix}/`)) return undefined
  const what = path.slice(prefix.length + 1)
  const about = (one: Market) => aboutMarket(what, one) ?? more.about?.(what, one)
  if (what === 'ping') return { body: '{}' }
  if (what === 'time') return { body: `{"serverTime":${Date.now()}}` }
  const market = markets.find(query.get('symbol') ?? '')
  if (query.has('symbol') && !market) return INVALID_SYMBOL
  if (what === 'exchangeInfo') {
    const symbols = (market ? [market] : markets.all).map(instrument)
    return json({ timezone: 'UTC', serverTime: Date.now(), rateLimits: [], exchangeFilters: [], symbols })
  }
  if (!market) {
    const list = markets.all.map(about)
    return list.includes(undefined) ? undefined : json(list)
  }
  switch (what) {
    case 'depth': {
      const then = request.bookOf(market)
      return { body: snapshotText(then, limitOf(query, 100, 5_000), more.head?.(then)) }
    }
    case 'trades':
    case 'historicalTrades':
      return json(tradesOf(market, query).map((trade) => tradeFields(trade, market)))
    case 'aggTrades':
      return json(tradesOf(market, query).map(aggTradeFields))
    case 'klines':
      return candles(market, query)
    default: {
      const told = about(market)
      return told && json(told)
    }
  }
}

export const json = (value: unknown): RestAnswer => ({ body: JSON.stringify(value) })

function aboutMarket(what: string, market: Market): object | undefined {
  const { book, day, lastTrade, time } = market
  const [bidPrice, bidQty] = book.at('bids', 0)!
  const [askPrice, askQty] = book.at('asks', 0)!
  const best = { symbol: nameOf(market), bidPrice, bidQty, askPrice, askQty }
  if (what === 'ticker/bookTicker') return best
  if (what === 'ticker/price') return { symbol: best.symbol, price: lastTrade.price }
  if (what !== 'ticker/24hr') return undefined
  return {
    ...best,
    priceChange: priceChange(day.open, lastTrade.price, market),
    priceChangePercent: '0.000',
    weightedAvgPrice: lastTrade.price,
    prevClosePrice: day.open,
    lastPrice: lastTrade.price,
    lastQty: lastTrade.size,
    openPrice: day.open,
    highPrice: day.high,
    lowPrice: day.low,
    volume: day.volume,
    quoteVolume: day.quoteVolume,
    openTime: ms(time) - 86_400_000,
    closeTime: ms(time),
    firstId: lastTrade.id - day.trades,
    lastId: lastTrade.id,
    count: day.trades,
  }
}

/** By `fromId`, by time, or the newest; always oldest first. */
function tradesOf({ trades }: Market, query: URLSearchParams): readonly MarketTrade[] {
  const limit = limitOf(query, 500, 1_000)
  const number = (name: string) => (query.has(name) ? Number(query.get(name)) : undefined)
  const fromId = number('fromId')
  const startTime = number('startTime')
  const endTime = number('endTime')
  if (fromId === undefined && startTime === undefined && endTime === undefined) return trades.slice(-limit)
  return trades
    .filter(
      ({ id, time }) =>
        (fromId === undefined || id >= fromId) &&
        (startTime === undefined || ms(time) >= startTime) &&
        (endTime === undefined || ms(time) <= endTime),
    )
    .slice(0, limit)
}

function tradeFields(trade: MarketTrade, market: Market): object {
  const { id, price, size, takerBuys, time } = trade
  const quoteQty = quoteSize(trade, market)
  return { id, price, qty: size, quoteQty, time: ms(time), isBuyerMaker: !takerBuys, isBestMatch: true }
}

function aggTradeFields({ id, price, size, takerBuys, time }: MarketTrade): object {
  return { a: id, p: price, q: size, f: id, l: id, T: ms(time), m: !takerBuys, M: true }
}

function candles(market: Market, query: URLSearchParams): RestAnswer {
  const length = timeframeMicros(query.get('interval') ?? '')
  if (!length || length < 60 * SECOND)
    return { status: 400, body: '{"code":-1120,"msg":"Invalid interval."}' }
  const from = Number(query.get('startTime') ?? 0)
  const all = market.candles.list(length).filter((candle) => ms(candle.openTime) >= from)
  const limit = limitOf(query, 500, 1_000)
  return json(
    (query.has('startTime') ? all.slice(0, limit) : all.slice(-limit)).map((candle) => {
      const { openTime, open, high, low, close, volume, quoteVolume, trades } = candle
      const end = ms(openTime + length) - 1
      return [ms(openTime), open, high, low, close, volume, end, quoteVolume, trades, '0', '0', '0']
    }),
  )
}

export function filters({ tick, lot }: Market): object[] {
  return [
    { filterType: 'PRICE_FILTER', minPrice: tick, maxPrice: '1000000.00000000', tickSize: tick },
    { filterType: 'LOT_SIZE', minQty: lot, maxQty: '9000000.00000000', stepSize: lot },
  ]
}

function instrument(market: Market): object {
  const { base, quote } = market
  return {
    symbol: nameOf(market),
    status: 'TRADING',
    baseAsset: base,
    baseAssetPrecision: 8,
    quoteAsset: quote,
    quotePrecision: 8,
    quoteAssetPrecision: 8,
    orderTypes: ['LIMIT', 'MARKET'],
    isSpotTradingAllowed: true,
    isMarginTradingAllowed: false,
    filters: [...filters(market), { filterType: 'NOTIONAL', minNotional: '5.00000000' }],
    permissions: [],
    permissionSets: [['SPOT']],
  }
}
