import type { Micros, Trade } from '../../market/event.ts'
import {
  asText,
  decimalOf,
  fieldsOf,
  idOf,
  isArray,
  isObject,
  optionalDecimal,
  parseJson,
  Unreadable,
} from '../../market/json.ts'
import { venuePair } from '../../market/symbol.ts'
import { secondsMicros } from '../../market/time.ts'
import type { DecodedEvent, Instrument, TradesWanted } from '../connector.ts'
import { backfilled, type TradesPage, type TradesRequest, UnknownSymbol } from '../venue.ts'

/** `side` is the taker's. */
export function tradeOf(
  symbol: string,
  [, side, price, size, id]: readonly (string | undefined)[],
  sourceTime: Micros | undefined,
): DecodedEvent {
  const tradeId = idOf(id, 'trade id')
  const payload: Trade = {
    type: 'trade',
    id: String(tradeId),
    price: decimalOf(price, 'price'),
    size: decimalOf(size, 'size'),
    side: side === 'buy' || side === 'sell' ? side : 'unknown',
  }
  return { kind: 'event', channel: 'trades', symbol, sourceTime, venueSeq: [tradeId, tradeId], payload }
}

/** v1, and with it REST, has names of its own for two assets. */
const V1_ASSETS = [
  ['BTC', 'XBT'],
  ['DOGE', 'XDG'],
] as const
const V1_OF = new Map<string, string>(V1_ASSETS)
const ASSET_OF_V1 = new Map<string, string>(V1_ASSETS.map(([asset, name]) => [name, asset]))

/** The pair's two assets by their names of v1. */
export function v1Pair(symbol: string, separator: string): string | undefined {
  return venuePair(symbol, (base, quote) =>
    [base, quote].map((asset) => V1_OF.get(asset) ?? asset).join(separator),
  )
}

const PAIR = ['wsname', 'status', 'tick_size', 'lot_decimals', 'ordermin']

/** `venueSymbol` is the pair's name of v1: REST still uses it, also for v2. */
export function parsePairs(body: string): Instrument[] {
  const json = parseJson(body)
  const pairs = isObject(json) ? json.result : undefined
  if (!isObject(pairs)) throw new Unreadable('no pairs')
  return Object.values(pairs).flatMap((pair) => {
    const [v1Name, status = '', tick, lotDecimals, least] = fieldsOf(pair, PAIR)
    const [base, quote] = v1Name?.split('/').map((asset) => ASSET_OF_V1.get(asset) ?? asset) ?? []
    if (v1Name === undefined || base === undefined || quote === undefined) return []
    return [
      {
        symbol: `${base}/${quote}`,
        venueSymbol: v1Name,
        type: 'spot',
        base,
        quote,
        tickSize: optionalDecimal(tick, 'tick size'),
        lotSize: lotDecimals === undefined ? undefined : decimalOf(`1e-${lotDecimals}`, 'lot decimals'),
        minSize: optionalDecimal(least, 'least size'),
        status,
      },
    ]
  })
}

const PAGE = 1000

/** Trades behind a time, in ns; the answer names the next. */
function tradesPath(symbol: string, { afterTime }: TradesWanted, cursor: string | undefined): string {
  const since = cursor ?? String(BigInt(afterTime) * 1_000n - 1n)
  return `/0/public/Trades?pair=${encodeURIComponent(v1Pair(symbol, '') ?? '')}&since=${since}&count=${PAGE}`
}

/** `{"error":[],"result":{"XXBTZUSD":[["1.0","2.0",1688669597.82,"b","m","",61044952],…],"last":"1688671969993150842"}}` */
function parseTrades(body: string, symbol: string): TradesPage {
  const json = parseJson(body)
  if (isObject(json) && isArray(json.error) && /unknown asset pair/i.test(asText(json.error[0]) ?? ''))
    throw new UnknownSymbol('unknown asset pair')
  const result = isObject(json) ? json.result : undefined
  const list = isObject(result) ? Object.values(result).find(isArray) : undefined
  if (!isObject(result) || !list) throw new Unreadable('no list of trades')
  const trades = list.map((entry) => {
    const [price, size, time, side, , , id] = isArray(entry) ? entry.map(asText) : []
    const taker = side === 'b' ? 'buy' : side === 's' ? 'sell' : side
    return backfilled(tradeOf(symbol, [undefined, taker, price, size, id], secondsMicros(time)))
  })
  return { trades, cursor: trades.length < PAGE ? undefined : asText(result.last) }
}

export const TRADES_REQUEST: TradesRequest = {
  weight: 1,
  from: 'oldest',
  path: tradesPath,
  parse: parseTrades,
}
