import { marketOf } from '../../market/symbol.ts'
import type { Ask } from '../../player/dialect.ts'
import { bookText, checksumOf, createDialect, levels } from '../../player/venues/okx.ts'
import type { MarketCandle } from '../candles.ts'
import type { Market, MarketTrade } from '../market.ts'
import { bookStream, candleStream, stateStream, tradeStream } from '../streams.ts'
import { limitOf, ms, timeframeMicros } from '../text.ts'
import type { Markets, RestAnswer, RestRequest, Stream, Wire } from '../wire.ts'

/** Levels a side of the channel `books`. */
const DEPTH = 400
const TYPES = { spot: 'SPOT', swap: 'SWAP', future: 'FUTURES' } as const
/** Channels of the path `/business`; all others are of `/public`. */
const BUSINESS = /^(candle|trades-all)/

/** OKX v5: https://www.okx.com/docs-v5/en/ */
export function createWire(): Wire {
  return {
    id: 'okx',
    dialect: createDialect(),
    symbols: ['BTC/USDT', 'ETH/USDT', 'BTC/USDT:USDT'],
    keyOf(symbol) {
      const market = marketOf(symbol)
      if (!market) return undefined
      const pair = `${market.base}-${market.quote}`
      return market.type === 'spot' ? pair : `${pair}-${market.expiry ?? 'SWAP'}`
    },
    open(ask, path, markets) {
      const isBusiness = path.endsWith('/business')
      if (isBusiness !== BUSINESS.test(ask.channel)) return undefined
      const market = markets.find(ask.symbol)
      return market ? streamOf(market, ask) : streamOfType(ask, markets)
    },
    rest,
    limits: {
      connects: { count: 3, perMs: 1_000 },
      subscribes: { count: 480, perMs: 3_600_000 },
      idleMs: 30_000,
      rest: { count: 40, perMs: 2_000 },
      excess: () => ['{"event":"error","code":"60014","msg":"Requests too frequent","connId":"a4d3ae55"}'],
    },
  }
}

const nameOf = ({ base, quote, type, expiry }: Market): string =>
  type === 'spot' ? `${base}-${quote}` : `${base}-${quote}-${expiry ?? 'SWAP'}`

function streamOf(market: Market, { channel, symbol: name }: Ask): Stream | undefined {
  const data = (what: string) => `{"arg":{"channel":"${channel}","instId":"${name}"},"data":[${what}]}`
  const state = (write: (now: Market) => object, everyMicros = 0) =>
    stateStream(market, (now) => data(JSON.stringify(write(now))), { everyMicros, begins: true })
  if (channel.startsWith('candle')) {
    const length = timeframeMicros(channel.slice('candle'.length))
    return length
      ? candleStream(market, length, (candle, closed) => data(JSON.stringify(candleRow(candle, closed))))
      : undefined
  }
  const derivative = market.type === 'spot' ? undefined : state
  switch (channel) {
    case 'books':
      return bookStream(market, { depth: DEPTH, tellsNothing: true }, (kind, now, bids, asks) => {
        const previous = kind === 'snapshot' ? -1 : now.firstUpdate - 1
        const checksum = String(checksumOf(now.book.top('bids', 25), now.book.top('asks', 25)))
        return bookText(kind, name, bids, asks, ms(now.time), { last: now.lastUpdate, previous, checksum })
      })
    case 'books5':
      return state((now) => bookFields(now, 5), 100_000)
    case 'bbo-tbt':
      return state((now) => bookFields(now, 1))
    case 'trades':
    case 'trades-all':
      return tradeStream(market, (trade) => data(JSON.stringify(tradeFields(trade, name))))
    case 'tickers':
      return state(tickerFields)
    case 'mark-price':
      return derivative?.(markFields, 200_000)
    case 'open-interest':
      return derivative?.(interestFields, 3_000_000)
    case 'funding-rate':
      return market.type === 'swap' ? state(fundingFields, 30_000_000) : undefined
    default:
      return undefined
  }
}

/** Channels of all instruments of a type. */
function streamOfType({ channel, stream }: Ask, markets: Markets): Stream | undefined {
  const type = stream.slice(stream.indexOf('|') + 1)
  const all = markets.all.filter((market) => TYPES[market.type] === type)
  const arg = `{"arg":{"channel":"${channel}","instType":"${type}"},"data":`
  if (all.length === 0) return undefined
  if (channel === 'instruments')
    return {
      markets: all.slice(0, 1),
      begin: () => [`${arg}${JSON.stringify(all.map(instrument))}}`],
      step: () => {},
    }
  if (channel !== 'liquidation-orders' || type === 'SPOT') return undefined
  return {
    markets: all,
    step: (market, emit) =>
      market.trade?.liquidation &&
      emit(`${arg}[${JSON.stringify(liquidationFields(market, market.trade))}]}`),
  }
}

function tradeFields({ id, price, size, takerBuys, time }: MarketTrade, instId: string): object {
  const side = takerBuys ? 'buy' : 'sell'
  return { instId, tradeId: String(id), px: price, sz: size, side, ts: `${ms(time)}`, count: '1' }
}

function bookFields({ book, time, lastUpdate }: Market, depth: number): object {
  const side = (name: 'bids' | 'asks') => JSON.parse(levels(book.top(name, depth)))
  return { asks: side('asks'), bids: side('bids'), ts: `${ms(time)}`, seqId: lastUpdate }
}

function tickerFields(market: Market): object {
  const { book, day, lastTrade, time, type } = market
  const [bidPx, bidSz] = book.at('bids', 0)!
  const [askPx, askSz] = book.at('asks', 0)!
  return {
    ...{ instType: TYPES[type], instId: nameOf(market), last: lastTrade.price, lastSz: lastTrade.size },
    ...{ askPx, askSz, bidPx, bidSz, open24h: day.open, high24h: day.high, low24h: day.low },
    ...{ sodUtc0: day.open, sodUtc8: day.open, volCcy24h: day.quoteVolume, vol24h: day.volume },
    ts: `${ms(time)}`,
  }
}

function markFields(market: Market): object {
  const { type, mark, time } = market
  return { instType: TYPES[type], instId: nameOf(market), markPx: mark, ts: `${ms(time)}` }
}

function interestFields(market: Market): object {
  const { type, openInterest, time } = market
  const oi = String(openInterest)
  return { instType: TYPES[type], instId: nameOf(market), oi, oiCcy: oi, oiUsd: oi, ts: `${ms(time)}` }
}

function fundingFields(market: Market): object {
  const { fundingRate, nextFunding, time } = market
  const fundingTime = ms(nextFunding)
  return {
    ...{ fundingRate, fundingTime: `${fundingTime}`, instId: nameOf(market), instType: 'SWAP' },
    ...{ method: 'current_period', maxFundingRate: '0.00375', minFundingRate: '-0.00375' },
    ...{ nextFundingRate: '', nextFundingTime: `${fundingTime + 8 * 3_600_000}`, premium: '0' },
    ...{ settFundingRate: fundingRate, settState: 'settled', ts: `${ms(time)}` },
  }
}

function liquidationFields(market: Market, { price, size, takerBuys, time }: MarketTrade): object {
  const [side, posSide] = takerBuys ? ['buy', 'short'] : ['sell', 'long']
  const details = [{ bkLoss: '0', bkPx: price, ccy: '', posSide, side, sz: size, ts: `${ms(time)}` }]
  const instFamily = `${market.base}-${market.quote}`
  return { details, instFamily, instId: nameOf(market), instType: TYPES[market.type], uly: instFamily }
}

function candleRow(candle: MarketCandle, closed: boolean): string[] {
  const { openTime, open, high, low, close, volume, quoteVolume } = candle
  return [`${ms(openTime)}`, open, high, low, close, volume, volume, quoteVolume, closed ? '1' : '0']
}

// REST

const answer = (data: readonly unknown[]): RestAnswer => ({
  body: JSON.stringify({ code: '0', msg: '', data }),
})

function rest({ path, query, markets, bookOf }: RestRequest): RestAnswer | undefined {
  const what = /^\/api\/v5\/((?:public|market)\/[\w-]+)$/.exec(path)?.[1]
  const ofType = markets.all.filter((market) => TYPES[market.type] === query.get('instType'))
  const name = query.get('instId')
  const market = markets.find(name ?? '')
  if (name !== null && !market)
    return {
      body: `{"code":"51001","msg":"Instrument ID, Instrument ID code, or Spread ID doesn't exist.","data":[]}`,
    }
  switch (what) {
    case 'public/time':
      return answer([{ ts: String(Date.now()) }])
    case 'public/instruments':
      return answer((market ? [market] : ofType).map(instrument))
    case 'market/tickers':
      return answer(ofType.map(tickerFields))
    case 'public/open-interest':
      return answer((market ? [market] : ofType).map(interestFields))
    default:
      return market && what ? about(what, market, query, bookOf) : undefined
  }
}

function about(
  what: string,
  market: Market,
  query: URLSearchParams,
  bookOf: RestRequest['bookOf'],
): RestAnswer | undefined {
  switch (what) {
    case 'market/books':
    case 'market/books-full':
      return answer([bookFields(bookOf(market), limitOf(query, 1, 5_000, 'sz'))])
    case 'market/ticker':
      return answer([tickerFields(market)])
    case 'public/mark-price':
      return answer([markFields(market)])
    case 'public/funding-rate':
      return answer([fundingFields(market)])
    case 'market/trades':
      return trades(market, limitOf(query, 100, 500), query)
    case 'market/history-trades':
      return trades(market, limitOf(query, 100, 100), query)
    case 'market/candles':
    case 'market/history-candles':
      return candles(market, query)
    default:
      return undefined
  }
}

/** Newest first; `after`: those older than it, `before`: those newer, by id (`type` 1) or by ms (`type` 2). */
function trades(market: Market, limit: number, query: URLSearchParams): RestAnswer {
  const key = (trade: MarketTrade) => (query.get('type') === '2' ? ms(trade.time) : trade.id)
  const after = Number(query.get('after') ?? Number.POSITIVE_INFINITY)
  const before = Number(query.get('before') ?? Number.NEGATIVE_INFINITY)
  const page = market.trades.filter((trade) => key(trade) < after && key(trade) > before).slice(-limit)
  return answer(page.reverse().map((trade) => tradeFields(trade, nameOf(market))))
}

function candles(market: Market, query: URLSearchParams): RestAnswer {
  const length = timeframeMicros((query.get('bar') ?? '1m').replace(/utc$/, ''))
  if (!length) return { body: '{"code":"51000","msg":"Parameter bar error","data":[]}' }
  const list = market.candles.list(length).slice(-limitOf(query, 100, 300))
  return answer(list.map((candle, at) => candleRow(candle, at < list.length - 1)).reverse())
}

function instrument(market: Market): object {
  const { base, quote, settle = '', type, tick, lot, expiresAt } = market
  const isSpot = type === 'spot'
  const linear = settle === quote
  return {
    ...{ instType: TYPES[type], instId: nameOf(market), uly: isSpot ? '' : `${base}-${quote}` },
    ...{
      instFamily: isSpot ? '' : `${base}-${quote}`,
      alias: type === 'future' ? 'quarter' : '',
      category: '1',
    },
    ...{ baseCcy: isSpot ? base : '', quoteCcy: isSpot ? quote : '', settleCcy: settle },
    ...{ ctType: isSpot ? '' : linear ? 'linear' : 'inverse', ctVal: isSpot ? '' : linear ? '0.01' : '100' },
    ...{ ctValCcy: isSpot ? '' : linear ? base : quote, ctMult: isSpot ? '' : '1', lever: '10' },
    ...{ tickSz: tick, lotSz: lot, minSz: lot, listTime: '1597026383085', state: 'live' },
    ...{ expTime: type === 'future' ? `${expiresAt}` : '', optType: '', stk: '', ruleType: 'normal' },
    ...{ maxLmtSz: '9999999999', maxMktSz: '1000000', maxLmtAmt: '20000000', maxMktAmt: '1000000' },
  }
}
