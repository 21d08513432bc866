import { marketOf } from '../../market/symbol.ts'
import type { Ask } from '../../player/dialect.ts'
import { bookText, createDialect } from '../../player/venues/bybit.ts'
import type { MarketCandle } from '../candles.ts'
import type { Market, MarketTrade } from '../market.ts'
import { bookStream, candleStream, stateStream, tradeStream } from '../streams.ts'
import { limitOf, ms, timeframeMicros } from '../text.ts'
import type { Markets, RestAnswer, RestRequest, Stream, Wire } from '../wire.ts'

const DEPTHS = [1, 50, 200, 500, 1000]
const CATEGORIES = ['spot', 'linear', 'inverse'] as const
type Category = (typeof CATEGORIES)[number]
const TIMEFRAMES: Readonly<Record<string, string>> = {
  ...{ '1': '1m', '3': '3m', '5': '5m', '15': '15m', '30': '30m', '60': '1h', '120': '2h', '240': '4h' },
  ...{ '360': '6h', '720': '12h', D: '1d', W: '1w', M: '1M' },
}
const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC']
/** Inverse futures expire in these. */
const QUARTERS: Readonly<Record<string, string>> = { '03': 'H', '06': 'M', '09': 'U', '12': 'Z' }
/** Update ids begin above 1, which means that the service began anew. */
const FIRST_UPDATE = 100

/** Bybit v5: https://bybit-exchange.github.io/docs/v5/intro */
export function createWire(): Wire {
  return {
    id: 'bybit',
    dialect: createDialect(),
    symbols: ['BTC/USDT', 'ETH/USDT', 'BTC/USDT:USDT'],
    keyOf(symbol) {
      const market = marketOf(symbol)
      const name = market && venueName(market)
      return name && `${categoryOf(market)} ${name}`
    },
    feedKey: (ask, path) => `${path} ${ask.channel}`,
    open(ask, path, markets) {
      const category = path.slice(path.lastIndexOf('/') + 1)
      const market = markets.find(`${category} ${ask.symbol}`)
      return market && streamOf(market, ask)
    },
    rest,
    limits: {
      connects: { count: 500, perMs: 300_000, status: 403 },
      asksPerMessage: (path) => (path.endsWith('/spot') ? 10 : 2_000),
      idleMs: 600_000,
      rest: { count: 600, perMs: 5_000, status: 403 },
      excess: (limit, message) => {
        const { req_id = '', op = '' } = (message ?? {}) as { req_id?: unknown; op?: unknown }
        const said = limit === 'asks-per-message' ? 'args size >10' : 'Request too frequent'
        return [
          JSON.stringify({ success: false, ret_msg: said, conn_id: 'd30fdpbboasp1pjbe7r0', req_id, op }),
        ]
      },
    },
  }
}

type Named = Pick<Market, 'base' | 'quote'> & {
  readonly settle?: string | undefined
  readonly expiry?: string | undefined
}

function categoryOf({ settle, quote }: Named): Category {
  return settle === undefined ? 'spot' : settle === quote ? 'linear' : 'inverse'
}

/** `BTCUSDT` of all three; dated `BTCUSDT-25DEC26`, and inverse `BTCUSDZ26`. */
function venueName(market: Named): string | undefined {
  const { base, quote, expiry } = market
  if (expiry === undefined) return base + quote
  const [year = '', month = '', day = ''] = [0, 2, 4].map((at) => expiry.slice(at, at + 2))
  if (categoryOf(market) === 'linear')
    return `${base}${quote}-${Number(day)}${MONTHS[Number(month) - 1]}${year}`
  return QUARTERS[month] && `${base}${quote}${QUARTERS[month]}${year}`
}

const nameOf = (market: Market): string => venueName(market)!

function streamOf(market: Market, { channel: topic, symbol: name }: Ask): Stream | undefined {
  const [what, setting = ''] = topic.split('.')
  const data = (type: string, now: Market, content: string) =>
    `{"topic":"${topic}","type":"${type}","ts":${ms(now.time)},"data":${content}}`
  switch (what) {
    case 'orderbook':
      return DEPTHS.includes(Number(setting)) ? bookOf(market, topic, name, Number(setting)) : undefined
    case 'publicTrade':
      return tradeStream(market, (trade, now) => data('snapshot', now, `[${tradeText(trade, now)}]`))
    case 'kline': {
      const length = timeframeMicros(TIMEFRAMES[setting] ?? '')
      return length
        ? candleStream(market, length, (candle, closed, now) =>
            data('snapshot', now, `[${JSON.stringify(candleFields(candle, length, setting, closed, now))}]`),
          )
        : undefined
    }
    case 'tickers':
      return market.type === 'spot'
        ? stateStream(market, (now) => data('snapshot', now, JSON.stringify(tickerFields(now))), {
            begins: true,
          })
        : tickerChanges(market, data)
    case 'allLiquidation':
      return market.type === 'spot'
        ? undefined
        : {
            markets: [market],
            step: (now, emit) =>
              now.trade?.liquidation && emit(data('snapshot', now, `[${liquidationText(now.trade, name)}]`)),
          }
    default:
      return undefined
  }
}

/** Of one level come snapshots alone. */
function bookOf(market: Market, topic: string, name: string, depth: number): Stream {
  return bookStream(market, { depth, tellsNothing: true }, (kind, now, bids, asks) => {
    const best = depth === 1 ? ('snapshot' as const) : kind
    const [b, a] = depth === 1 ? [now.book.top('bids', 1), now.book.top('asks', 1)] : [bids, asks]
    return bookText(best, topic, name, b, a, ms(now.time), FIRST_UPDATE + now.seq, now.lastUpdate)
  })
}

/** Ids of spot are numbers above 2^53, those of derivatives are none. */
function tradeText({ id, price, size, takerBuys, time }: MarketTrade, now: Market): string {
  const tradeId =
    now.type === 'spot'
      ? `22900000000${String(id).padStart(8, '0')}`
      : `00000000-0000-5000-8000-${String(id).padStart(12, '0')}`
  return (
    `{"T":${ms(time)},"s":"${nameOf(now)}","S":"${takerBuys ? 'Buy' : 'Sell'}","v":"${size}","p":"${price}",` +
    `"L":"PlusTick","i":"${tradeId}","BT":false,"RPI":false,"seq":${now.lastUpdate}}`
  )
}

/** `S`: the position that was liquidated; it is bought back when it was short. */
function liquidationText({ price, size, takerBuys, time }: MarketTrade, name: string): string {
  return `{"T":${ms(time)},"s":"${name}","S":"${takerBuys ? 'Sell' : 'Buy'}","v":"${size}","p":"${price}"}`
}

/** Derivatives: all at once, then what changed. */
function tickerChanges(market: Market, data: (type: string, now: Market, content: string) => string): Stream {
  let told = tickerFields(market)
  return {
    markets: [market],
    begin: (now) => [data('snapshot', now, JSON.stringify(tickerFields(now)))],
    step(now, emit) {
      const fields = tickerFields(now)
      const changed = Object.entries(fields).filter(([key, value]) => key === 'symbol' || told[key] !== value)
      told = fields
      if (changed.length > 1) emit(data('delta', now, JSON.stringify(Object.fromEntries(changed))))
    },
  }
}

function tickerFields(market: Market): Record<string, string> {
  const { day, lastTrade, book, type, mark, openInterest, fundingRate, nextFunding } = market
  const common = {
    ...{ symbol: nameOf(market), lastPrice: lastTrade.price, highPrice24h: day.high, lowPrice24h: day.low },
    ...{ prevPrice24h: day.open, volume24h: day.volume, turnover24h: day.quoteVolume, price24hPcnt: '0' },
  }
  if (type === 'spot') return { ...common, usdIndexPrice: mark }
  const [bid1Price, bid1Size] = book.at('bids', 0)!
  const [ask1Price, ask1Size] = book.at('asks', 0)!
  return {
    ...{ ...common, tickDirection: 'PlusTick', prevPrice1h: day.open, markPrice: mark, indexPrice: mark },
    ...{ openInterest: String(openInterest), openInterestValue: '0' },
    ...(type === 'swap' && { fundingRate, nextFundingTime: `${ms(nextFunding)}` }),
    ...{ bid1Price, bid1Size, ask1Price, ask1Size },
  }
}

function candleFields(
  { openTime, open, high, low, close, volume, quoteVolume }: MarketCandle,
  length: number,
  interval: string,
  confirm: boolean,
  { time }: Market,
): object {
  return {
    ...{ start: ms(openTime), end: ms(openTime + length) - 1, interval, open, close, high, low },
    ...{ volume, turnover: quoteVolume, confirm, timestamp: ms(time) },
  }
}

// REST

function answer(result: object): RestAnswer {
  return { body: JSON.stringify({ retCode: 0, retMsg: 'OK', result, retExtInfo: {}, time: Date.now() }) }
}

function rest({ path, query, markets, bookOf: asToldOf }: RestRequest): RestAnswer | undefined {
  const what = /^\/v5\/market\/([\w/-]+)$/.exec(path)?.[1]
  if (what === 'time')
    return answer({ timeSecond: `${Math.floor(Date.now() / 1_000)}`, timeNano: `${Date.now()}000000` })
  const category = query.get('category') ?? 'linear'
  const name = query.get('symbol')
  const market = name === null ? undefined : markets.find(`${category} ${name}`)
  if (name !== null && !market)
    return { body: '{"retCode":10001,"retMsg":"Not supported symbols","result":{},"retExtInfo":{},"time":0}' }
  const list = market ? [market] : ofCategory(markets, category)
  switch (what) {
    case 'instruments-info':
      return answer({ category, list: list.map(instrument), nextPageCursor: '' })
    case 'tickers':
      return answer({ category, list: list.map(restTicker) })
    default:
      return market && what ? about(what, category, market, query, asToldOf) : undefined
  }
}

const ofCategory = (markets: Markets, category: string): Market[] =>
  markets.all.filter((market) => categoryOf(market) === category)

function about(
  what: string,
  category: string,
  market: Market,
  query: URLSearchParams,
  asToldOf: RestRequest['bookOf'],
): RestAnswer | undefined {
  const { openInterest, time, fundingRate, nextFunding } = market
  const symbol = nameOf(market)
  switch (what) {
    case 'orderbook': {
      const then = asToldOf(market)
      const depth = limitOf(query, category === 'spot' ? 1 : 25, 1_000)
      const [b, a] = [then.book.top('bids', depth), then.book.top('asks', depth)]
      const at = ms(then.time)
      return answer({ s: symbol, a, b, ts: at, u: FIRST_UPDATE + then.seq, seq: then.lastUpdate, cts: at })
    }
    case 'recent-trade': {
      const newest = market.trades.slice(-limitOf(query, 60, category === 'spot' ? 60 : 1_000)).reverse()
      return answer({ category, list: newest.map((trade) => tradeFields(trade, market)) })
    }
    case 'kline': {
      const length = timeframeMicros(TIMEFRAMES[query.get('interval') ?? ''] ?? '')
      if (!length) return { body: '{"retCode":10001,"retMsg":"Invalid period!","result":{}}' }
      const list = market.candles
        .list(length)
        .slice(-limitOf(query, 200, 1_000))
        .reverse()
      return answer({ category, symbol, list: list.map(candleRow) })
    }
    case 'open-interest':
      return answer({
        ...{ category, symbol, nextPageCursor: '' },
        list: [{ openInterest: String(openInterest), timestamp: `${ms(time)}` }],
      })
    case 'funding/history': {
      const fundingRateTimestamp = `${ms(nextFunding) - 8 * 3_600_000}`
      return answer({ category, list: [{ symbol, fundingRate, fundingRateTimestamp }] })
    }
    default:
      return undefined
  }
}

function candleRow({ openTime, open, high, low, close, volume, quoteVolume }: MarketCandle): string[] {
  return [`${ms(openTime)}`, open, high, low, close, volume, quoteVolume]
}

function tradeFields(trade: MarketTrade, market: Market): object {
  const { T, s, S, v, p, i } = JSON.parse(tradeText(trade, market)) as Record<string, string>
  const fields = { execId: i, symbol: s, price: p, size: v, side: S, time: String(T) }
  return { ...fields, isBlockTrade: false, isRPITrade: false }
}

function restTicker(market: Market): object {
  const [bid1Price, bid1Size] = market.book.at('bids', 0)!
  const [ask1Price, ask1Size] = market.book.at('asks', 0)!
  return { ...tickerFields(market), bid1Price, bid1Size, ask1Price, ask1Size }
}

function instrument(market: Market): object {
  const { base, quote, settle, type, tick, lot, expiresAt } = market
  const symbol = nameOf(market)
  const common = { symbol, baseCoin: base, quoteCoin: quote, status: 'Trading' }
  const priceFilter = { tickSize: tick, minPrice: tick, maxPrice: '1999999.98' }
  if (type === 'spot')
    return {
      ...{ ...common, innovation: '0', marginTrading: 'none', priceFilter },
      lotSizeFilter: {
        basePrecision: lot,
        quotePrecision: '0.00000001',
        minOrderQty: lot,
        maxOrderQty: '9999999',
      },
    }
  const kind = categoryOf(market) === 'linear' ? 'Linear' : 'Inverse'
  return {
    ...{ ...common, settleCoin: settle, priceFilter },
    contractType: `${kind}${type === 'swap' ? 'Perpetual' : 'Futures'}`,
    ...{
      launchTime: '1585526400000',
      deliveryTime: type === 'swap' ? '0' : `${expiresAt}`,
      fundingInterval: 480,
    },
    lotSizeFilter: { qtyStep: lot, minOrderQty: lot, maxOrderQty: '9999999', minNotionalValue: '5' },
  }
}
