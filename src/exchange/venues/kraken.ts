import { venuePair } from '../../market/symbol.ts'
import type { Ask } from '../../player/dialect.ts'
import { createDialect } from '../../player/venues/kraken.ts'
import type { MarketCandle } from '../candles.ts'
import type { Market, MarketTrade } from '../market.ts'
import { bookStream, candleStream, stateStream, tradeStream } from '../streams.ts'
import { isoText, limitOf, secondsText } from '../text.ts'
import type { RestAnswer, RestRequest, Stream, Wire } from '../wire.ts'

const MINUTE = 60_000_000
/** Trades of a snapshot. */
const SNAPSHOT_TRADES = 50
const DEPTHS = [10, 25, 100, 500, 1000]

/** Kraken's WebSocket v2: https://docs.kraken.com/exchange/api-reference/spot-websocket */
export function createWire(): Wire {
  const dialect = createDialect()
  return {
    id: 'kraken',
    dialect,
    symbols: ['BTC/USD', 'ETH/USD', 'SOL/USD'],
    keyOf: (symbol) => venuePair(symbol, (base, quote) => `${base}/${quote}`),
    feedKey: ({ stream, depth, snapshot }) => `${stream} ${depth ?? ''} ${snapshot ?? ''}`,
    open(ask, _path, markets) {
      if (ask.channel === 'instrument') return instruments(markets.all)
      const market = markets.find(ask.symbol)
      if (!market) return undefined
      return ask.channel === 'book' ? bookOf(market, ask) : streamOf(market, ask)
    },
    rest: (request) => rest(request, (market) => market.symbol),
    limits: {
      ...LIMITS,
      excess(limit, message) {
        const { method, req_id } = message as { method?: unknown; req_id?: unknown }
        const error =
          limit === 'messages' || limit === 'subscribes' ? 'Exceeded msg rate' : 'Too many symbols'
        return [JSON.stringify({ error, method, req_id, success: false })]
      },
    },
  }

  function bookOf(market: Market, ask: Ask): Stream | undefined {
    const { depth = 10 } = ask
    if (!DEPTHS.includes(depth)) return undefined
    return bookStream(market, { depth, truncates: true }, (kind, now, bids, asks) => {
      const state = { time: now.time / 1e6, checksum: String(now.book.krakenChecksum()) }
      return dialect.bookFrame!(kind, ask, bids, asks, state)
    })
  }
}

/** What is known of the venue's limits, and they are the same for both protocols. */
export const LIMITS: Wire['limits'] = {
  messages: { count: 50, perMs: 1_000 },
  connects: { count: 150, perMs: 600_000 },
  rest: { count: 60, perMs: 60_000 },
}

function streamOf(market: Market, { channel, stream }: Ask): Stream | undefined {
  const interval = Number(/^ohlc-(\d+)\|/.exec(stream)?.[1])
  switch (channel) {
    case 'trade':
      return tradeStream(
        market,
        (trade) => tradesText('update', market, [trade]),
        ({ trades }) => [tradesText('snapshot', market, trades.slice(-SNAPSHOT_TRADES))],
      )
    case 'ticker':
      return {
        ...stateStream(market, (now) => tickerText('update', now)),
        begin: (now) => [tickerText('snapshot', now)],
      }
    case 'ohlc':
      if (![1, 5, 15, 30, 60, 240, 1440, 10_080, 21_600].includes(interval)) return undefined
      return candleStream(
        market,
        interval * MINUTE,
        (candle, _closed, now) => candlesText('update', now, interval, [candle]),
        (now) => [candlesText('snapshot', now, interval, now.candles.list(interval * MINUTE).slice(-720))],
      )
    default:
      return undefined
  }
}

function tradesText(type: string, { symbol }: Market, trades: readonly MarketTrade[]): string {
  const list = trades.map(
    ({ id, price, size, takerBuys, time }) =>
      `{"symbol":"${symbol}","side":"${takerBuys ? 'buy' : 'sell'}","price":${price},"qty":${size},` +
      `"ord_type":"limit","trade_id":${id},"timestamp":"${isoText(time)}"}`,
  )
  return `{"channel":"trade","type":"${type}","data":[${list.join(',')}]}`
}

function tickerText(type: string, { symbol, book, day, lastTrade, time }: Market): string {
  const [bid, bidSize] = book.at('bids', 0)!
  const [ask, askSize] = book.at('asks', 0)!
  return (
    `{"channel":"ticker","type":"${type}","data":[{"symbol":"${symbol}","bid":${bid},"bid_qty":${bidSize},"ask":${ask},` +
    `"ask_qty":${askSize},"last":${lastTrade.price},"volume":${day.volume},"vwap":${lastTrade.price},"low":${day.low},` +
    `"high":${day.high},"change":0.0,"change_pct":0.0,"timestamp":"${isoText(time)}"}]}`
  )
}

function candlesText(
  type: string,
  { symbol, time }: Market,
  interval: number,
  candles: readonly MarketCandle[],
): string {
  const list = candles.map(
    ({ openTime, open, high, low, close, trades, volume }) =>
      `{"symbol":"${symbol}","open":${open},"high":${high},"low":${low},"close":${close},"trades":${trades},` +
      `"volume":${volume},"vwap":${close},"interval_begin":"${isoText(openTime)}","interval":${interval},` +
      `"timestamp":"${isoText(openTime + interval * MINUTE)}"}`,
  )
  return `{"channel":"ohlc","type":"${type}","timestamp":"${isoText(time)}","data":[${list.join(',')}]}`
}

function instruments(markets: readonly Market[]): Stream {
  const pairs = markets.map(({ symbol, base, quote, priceDecimals, sizeDecimals, tick, lot }) => ({
    ...{ symbol, base, quote, status: 'online', marginable: false, has_index: false },
    ...{ qty_precision: sizeDecimals, qty_increment: Number(lot), qty_min: Number(lot) },
    ...{ price_precision: priceDecimals, price_increment: Number(tick), cost_precision: 5, cost_min: '0.5' },
  }))
  const assets = [...new Set(markets.flatMap(({ base, quote }) => [base, quote]))].map((id) => ({
    ...{ id, status: 'enabled', precision: 10, precision_display: 5 },
  }))
  return {
    markets: markets.slice(0, 1),
    begin: () => [JSON.stringify({ channel: 'instrument', type: 'snapshot', data: { assets, pairs } })],
    step: () => {},
  }
}

// REST, whose names are those of v1

const V1_ASSETS: Readonly<Record<string, string>> = { BTC: 'XBT', DOGE: 'XDG' }

/** `XBT` */
const assetOf = (asset: string): string => V1_ASSETS[asset] ?? asset

/** `XBT/USD` */
export const v1Name = ({ base, quote }: Pick<Market, 'base' | 'quote'>): string =>
  `${assetOf(base)}/${assetOf(quote)}`

/** `XBTUSD` */
const altName = (market: Market): string => v1Name(market).replace('/', '')

const answer = (result: unknown): RestAnswer => ({ body: JSON.stringify({ error: [], result }) })

/** The venue answers wrong requests with 200. */
const failed = (error: string): RestAnswer => ({ body: JSON.stringify({ error: [error] }) })

/** `keyOf`: of a market's key, which is its name on the WebSocket. */
export function rest(
  { path, query, markets, bookOf }: RestRequest,
  keyOf: (market: Market) => string,
): RestAnswer | undefined {
  const what = /^\/0\/public\/(\w+)$/.exec(path)?.[1]
  if (what === 'Time') return answer({ unixtime: Math.floor(Date.now() / 1_000) })
  if (what === 'SystemStatus') return answer({ status: 'online', timestamp: new Date().toISOString() })
  if (what === 'Assets') return answer(assets(markets.all))
  const wanted = query.get('pair')?.split(',')
  const pairs = wanted
    ? wanted.map((name) => {
        const found = markets.all.find((one) => [altName(one), v1Name(one), one.symbol].includes(name))
        return found && markets.find(keyOf(found))
      })
    : markets.all
  if (!pairs.every((pair) => pair !== undefined)) return failed('EQuery:Unknown asset pair')
  const byName = (tell: (market: Market) => unknown) =>
    Object.fromEntries(pairs.map((pair) => [altName(pair), tell(pair)]))
  const [market] = pairs
  switch (what) {
    case 'AssetPairs':
      return answer(byName(pairFields))
    case 'Ticker':
      return answer(byName(tickerFields))
    case 'Depth':
      return (
        market &&
        answer({ [altName(market)]: depthFields(bookOf(market), limitOf(query, 100, 500, 'count')) })
      )
    case 'Trades':
      return market && trades(market, query)
    case 'OHLC':
      return market && candles(market, Number(query.get('interval') ?? 1))
    default:
      return undefined
  }
}

function assets(markets: readonly Market[]): object {
  const names = new Set(markets.flatMap(({ base, quote }) => [assetOf(base), assetOf(quote)]))
  const asset = { aclass: 'currency', decimals: 10, display_decimals: 5, status: 'enabled' }
  return Object.fromEntries([...names].map((name) => [name, { ...asset, altname: name }]))
}

function pairFields(market: Market): object {
  const { base, quote, priceDecimals, sizeDecimals, tick, lot } = market
  return {
    altname: altName(market),
    wsname: v1Name(market),
    aclass_base: 'currency',
    base: assetOf(base),
    aclass_quote: 'currency',
    quote: assetOf(quote),
    lot: 'unit',
    cost_decimals: 5,
    pair_decimals: priceDecimals,
    lot_decimals: sizeDecimals,
    lot_multiplier: 1,
    leverage_buy: [],
    leverage_sell: [],
    fees: [[0, 0.4]],
    fees_maker: [[0, 0.25]],
    fee_volume_currency: 'ZUSD',
    margin_call: 80,
    margin_stop: 40,
    ordermin: lot,
    costmin: '0.5',
    tick_size: tick,
    status: 'online',
  }
}

function tickerFields({ book, day, lastTrade }: Market): object {
  const [bid, bidSize] = book.at('bids', 0)!
  const [ask, askSize] = book.at('asks', 0)!
  const twice = (value: string | number) => [value, value]
  return {
    a: [ask, '1', askSize],
    b: [bid, '1', bidSize],
    c: [lastTrade.price, lastTrade.size],
    v: twice(day.volume),
    p: twice(lastTrade.price),
    t: twice(day.trades),
    l: twice(day.low),
    h: twice(day.high),
    o: day.open,
  }
}

function depthFields({ book, time }: Market, count: number): object {
  const seconds = Math.floor(time / 1e6)
  const side = (name: 'bids' | 'asks') => book.top(name, count).map(([price, size]) => [price, size, seconds])
  return { asks: side('asks'), bids: side('bids') }
}

/** Those later than `since` (ns), oldest first; `last` is the next request's `since`. */
function trades(market: Market, query: URLSearchParams): RestAnswer {
  const count = limitOf(query, 1_000, 1_000, 'count')
  const since = query.get('since')
  const page =
    since === null
      ? market.trades.slice(-count)
      : market.trades.filter(({ time }) => BigInt(time) * 1_000n > sinceNanos(since)).slice(0, count)
  const list = page.map(({ id, price, size, takerBuys, time }) => {
    const text = `"${price}","${size}",${secondsText(time)},"${takerBuys ? 'b' : 's'}","l","",${id}`
    return `[${text}]`
  })
  const last = page.at(-1)?.time
  const end = last === undefined ? (since ?? '0') : `${last}000`
  return { body: `{"error":[],"result":{"${altName(market)}":[${list.join(',')}],"last":"${end}"}}` }
}

/** Seconds are accepted as well, with a fraction or without. */
function sinceNanos(since: string): bigint {
  const [, whole = '0', fraction = ''] = /^(\d+)(?:\.(\d+))?$/.exec(since) ?? []
  if (whole.length > 12) return BigInt(whole)
  return BigInt(whole) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0').slice(0, 9))
}

function candles(market: Market, interval: number): RestAnswer {
  const list = market.candles.list(interval * MINUTE).slice(-720)
  const rows = list.map(({ openTime, open, high, low, close, volume, trades: count }) => [
    ...[openTime / 1e6, open, high, low, close, close, volume, count],
  ])
  return answer({ [altName(market)]: rows, last: (list.at(-2) ?? list[0])!.openTime / 1e6 })
}
