import type { Trade } from '../../market/event.ts'
import {
  asText,
  decimalOf,
  fieldsOf,
  isArray,
  isObject,
  type JsonObject,
  optionalDecimal,
  parseJson,
  Unreadable,
} from '../../market/json.ts'
import { expiryDay, marketOf, symbolOf } from '../../market/symbol.ts'
import { epochMicros } from '../../market/time.ts'
import type { DecodedEvent, Instrument } from '../connector.ts'
import {
  backfilled,
  type InstrumentsRequest,
  type TradesPage,
  type TradesRequest,
  UnknownSymbol,
} from '../venue.ts'

export type Route = 'spot' | 'linear' | 'inverse'

/** Derivatives settled in their quote asset are linear, those settled in their base asset inverse. */
export function routeOf(symbol: string): Route {
  const market = marketOf(symbol)
  if (market?.settle === undefined) return 'spot'
  return market.settle === market.quote ? 'linear' : 'inverse'
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC']
/** Of exchanges' month codes, January to December. */
const MONTH_CODES = 'FGHJKMNQUVXZ'

/**
 * `BTCUSDT` on each route; in USDC `BTCPERP` and `BTC-25DEC26`; in USDT `BTCUSDT-25DEC26`; inverse `BTCUSD` and
 * `BTCUSDZ26`.
 */
export function venueSymbol(symbol: string): string | undefined {
  const market = marketOf(symbol)
  if (!market) return undefined
  const { base, quote, settle, expiry } = market
  const pair = base + quote
  if (settle === undefined) return pair
  const isInverse = settle === base && quote === 'USD'
  if (!isInverse && settle !== quote) return undefined
  if (expiry === undefined) return quote === 'USDC' ? `${base}PERP` : pair
  const [year, month, day] = [expiry.slice(0, 2), Number(expiry.slice(2, 4)) - 1, Number(expiry.slice(4))]
  if (MONTHS[month] === undefined) return undefined
  if (isInverse) return `${pair}${MONTH_CODES[month]}${year}`
  return `${quote === 'USDC' ? base : pair}-${day}${MONTHS[month]}${year}`
}

/** The side is the taker's. Ids are no numbers. */
export function tradeOf(
  symbol: string,
  [time, side, size, price, id]: readonly (string | undefined)[],
): DecodedEvent {
  if (id === undefined || !/^[\w-]{1,64}$/.test(id)) throw new Unreadable('trade id is no id')
  const payload: Trade = {
    type: 'trade',
    id,
    price: decimalOf(price, 'price'),
    size: decimalOf(size, 'size'),
    side: side === 'Buy' ? 'buy' : side === 'Sell' ? 'sell' : 'unknown',
  }
  return { kind: 'event', channel: 'trades', symbol, sourceTime: epochMicros(time), payload }
}

/** `{"retCode":0,"retMsg":"OK","result":{…}}`; errors come with HTTP 200 too. */
function resultOf(body: string): JsonObject {
  const json = parseJson(body)
  if (!isObject(json)) throw new Unreadable('no object')
  const reason = asText(json.retMsg) ?? ''
  const code = asText(json.retCode)
  if (code === '10001' && /symbol/i.test(reason)) throw new UnknownSymbol(reason)
  if (code !== '0' || !isObject(json.result)) throw new Unreadable(`retCode ${code}`)
  return json.result
}

function listOf(result: JsonObject) {
  if (!isArray(result.list)) throw new Unreadable('no list')
  return result.list
}

const INSTRUMENT = ['symbol', 'baseCoin', 'quoteCoin', 'settleCoin', 'contractType', 'deliveryTime', 'status']

function parseInstruments(route: Route, body: string): Instrument[] {
  return listOf(resultOf(body)).flatMap((item) => {
    const [name, base, quote, settleCoin, contract, delivery, status = ''] = fieldsOf(item, INSTRUMENT)
    if (!name || !base || !quote || !isObject(item)) return []
    const settle = route === 'spot' || !settleCoin ? {} : { settle: settleCoin }
    const type = route === 'spot' ? 'spot' : contract?.endsWith('Futures') ? 'future' : 'swap'
    const expiry = type === 'future' ? epochMicros(delivery) : undefined
    const day = expiry === undefined ? undefined : expiryDay(expiry)
    const symbol = symbolOf({ base, quote, ...settle, ...(day !== undefined && { expiry: day }) })
    // Contracts of other kinds have names of their own, and cannot be asked for by ours.
    if (venueSymbol(symbol) !== name || routeOf(symbol) !== route) return []
    const [tick] = fieldsOf(item.priceFilter ?? {}, ['tickSize'])
    const [step, precision, least] = fieldsOf(item.lotSizeFilter ?? {}, [
      ...['qtyStep', 'basePrecision', 'minOrderQty'],
    ])
    return [
      {
        ...{ symbol, venueSymbol: name, type, base, quote, ...settle, expiry },
        contractSize: route === 'inverse' ? '1' : undefined,
        tickSize: optionalDecimal(tick, 'tick size'),
        lotSize: optionalDecimal(step ?? precision, 'lot size'),
        minSize: optionalDecimal(least, 'least size'),
        status,
      },
    ]
  })
}

const ROUTES: readonly Route[] = ['spot', 'linear', 'inverse']

function listPath(route: Route, cursor?: string): string {
  const path = `/v5/market/instruments-info?category=${route}&limit=1000`
  // They come as they are to be sent.
  return cursor === undefined ? path : `${path}&cursor=${cursor.replace(/[^\w%.~-]/g, encodeURIComponent)}`
}

export const INSTRUMENTS_REQUESTS: readonly InstrumentsRequest[] = ROUTES.map((route) => ({
  path: listPath(route),
  weight: 1,
  parse: (body) => parseInstruments(route, body),
  next: (body) => {
    const cursor = asText(resultOf(body).nextPageCursor)
    return cursor ? listPath(route, cursor) : undefined
  },
}))

/** The newest 1,000, of spot 60: it has no more. */
function tradesPath(symbol: string): string {
  const route = routeOf(symbol)
  const name = encodeURIComponent(venueSymbol(symbol) ?? '')
  return `/v5/market/recent-trade?category=${route}&symbol=${name}&limit=${route === 'spot' ? 60 : 1000}`
}

function parseTrades(body: string, symbol: string): TradesPage {
  const trades = listOf(resultOf(body))
    .map((item) => backfilled(tradeOf(symbol, fieldsOf(item, ['time', 'side', 'size', 'price', 'execId']))))
    .reverse()
  return { trades, cursor: undefined }
}

export const TRADES_REQUEST: TradesRequest = {
  weight: 1,
  from: 'newest',
  newest: 1000,
  path: tradesPath,
  parse: parseTrades,
}
