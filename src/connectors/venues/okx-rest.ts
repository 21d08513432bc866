import type { Trade } from '../../market/event.ts'
import {
  asText,
  decimalOf,
  fieldsOf,
  idOf,
  isArray,
  isObject,
  type Json,
  levelsOf,
  optionalDecimal,
  parseJson,
  Unreadable,
} from '../../market/json.ts'
import { expiryDay, marketOf, symbolOf } from '../../market/symbol.ts'
import { epochMicros } from '../../market/time.ts'
import type { DecodedBook, DecodedEvent, Instrument, TradesWanted } from '../connector.ts'
import {
  backfilled,
  type InstrumentsRequest,
  type TradesPage,
  type TradesRequest,
  UnknownSymbol,
} from '../venue.ts'

/**
 * `BTC-USDT`, `BTC-USDT-SWAP`, `BTC-USDT-261225`. What is quoted in USD is settled in its base asset, all else in its
 * quote asset.
 */
export function venueSymbol(symbol: string): string | undefined {
  const market = marketOf(symbol)
  if (!market) return undefined
  const { base, quote, settle, expiry } = market
  if (settle === undefined) return `${base}-${quote}`
  if (settle !== (quote === 'USD' ? base : quote)) return undefined
  return `${base}-${quote}-${expiry ?? 'SWAP'}`
}

/** The side is the taker's. */
export function tradeOf(
  symbol: string,
  [id, price, size, side, time]: readonly (string | undefined)[],
): DecodedEvent {
  const tradeId = idOf(id, 'trade id')
  const payload: Trade = {
    type: 'trade',
    id: String(tradeId),
    price: decimalOf(price, 'price'),
    size: decimalOf(size, 'size'),
    side: side === 'buy' || side === 'sell' ? side : 'unknown',
  }
  const venueSeq = [tradeId, tradeId] as const
  return { kind: 'event', channel: 'trades', symbol, sourceTime: epochMicros(time), venueSeq, payload }
}

/** `{"code":"0","msg":"","data":[…]}`; errors come with HTTP 200 too. */
function dataOf(body: string): readonly Json[] {
  const json = parseJson(body)
  if (isObject(json) && json.code === '51001')
    throw new UnknownSymbol(asText(json.msg) ?? 'no such instrument')
  if (!isObject(json) || json.code !== '0' || !isArray(json.data)) throw new Unreadable('no data')
  return json.data
}

/** A book of 400 levels, of the ids of the stream. */
export function parseBook(body: string, symbol: string): DecodedBook {
  const [item] = dataOf(body)
  if (!isObject(item)) throw new Unreadable('no book')
  const [seqId, time] = fieldsOf(item, ['seqId', 'ts'])
  const levels = { bids: levelsOf(item.bids), asks: levelsOf(item.asks) }
  const last = idOf(seqId, 'seqId')
  return { kind: 'book', symbol, snapshot: true, ...levels, sourceTime: epochMicros(time), last }
}

const INSTRUMENT = [
  ...['instId', 'instFamily', 'baseCcy', 'quoteCcy', 'settleCcy', 'expTime', 'ctVal', 'ctMult'],
  ...['tickSz', 'lotSz', 'minSz', 'state'],
]

function parseInstruments(type: Instrument['type'], body: string): Instrument[] {
  return dataOf(body).flatMap((item) => {
    const [
      name,
      family,
      baseCcy,
      quoteCcy,
      settleCcy,
      expTime,
      value,
      multiplier,
      tick,
      lot,
      least,
      status = '',
    ] = fieldsOf(item, INSTRUMENT)
    const [base, quote] = type === 'spot' ? [baseCcy, quoteCcy] : (family ?? '').split('-')
    if (!name || !base || !quote) return []
    const expiry = type === 'future' ? epochMicros(expTime) : undefined
    const day = expiry === undefined ? undefined : expiryDay(expiry)
    const settle = type === 'spot' || !settleCcy ? {} : { settle: settleCcy }
    const symbol = symbolOf({ base, quote, ...settle, ...(day !== undefined && { expiry: day }) })
    // A few have names of another kind, and cannot be asked for by ours.
    if (venueSymbol(symbol) !== name) return []
    const isPlain = multiplier === undefined || multiplier === '' || multiplier === '1'
    return [
      {
        ...{ symbol, venueSymbol: name, type, base, quote, ...settle, expiry },
        contractSize: type === 'spot' || !isPlain ? undefined : optionalDecimal(value, 'contract value'),
        tickSize: optionalDecimal(tick, 'tick size'),
        lotSize: optionalDecimal(lot, 'lot size'),
        minSize: optionalDecimal(least, 'least size'),
        status,
      },
    ]
  })
}

const PRODUCTS = [
  ['SPOT', 'spot'],
  ['SWAP', 'swap'],
  ['FUTURES', 'future'],
] as const

export const INSTRUMENTS_REQUESTS: readonly InstrumentsRequest[] = PRODUCTS.map(([name, type]) => ({
  path: `/api/v5/public/instruments?instType=${name}`,
  weight: 1,
  parse: (body) => parseInstruments(type, body),
}))

/** Trades older than an id, or at first than a time; 100 at most, newest first. */
function tradesPath(symbol: string, wanted: TradesWanted, cursor = wanted.untilId): string {
  const before =
    cursor === undefined
      ? `type=2&after=${Math.floor(wanted.untilTime / 1_000) + 1}`
      : `type=1&after=${encodeURIComponent(cursor)}`
  const name = encodeURIComponent(venueSymbol(symbol) ?? '')
  return `/api/v5/market/history-trades?instId=${name}&${before}&limit=100`
}

function parseTrades(body: string, symbol: string): TradesPage {
  const trades = dataOf(body)
    .map((item) => backfilled(tradeOf(symbol, fieldsOf(item, ['tradeId', 'px', 'sz', 'side', 'ts']))))
    .reverse()
  const oldest = trades[0]?.payload
  return { trades, cursor: oldest?.type === 'trade' ? oldest.id : undefined }
}

export const TRADES_REQUEST: TradesRequest = {
  weight: 1,
  from: 'newest',
  path: tradesPath,
  parse: parseTrades,
}
