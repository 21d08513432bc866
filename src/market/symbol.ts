import type { Micros } from './event.ts'

/**
 * feedgate names a market as people and ccxt do: `BTC/USDT` spot, `BTC/USDT:USDT` a perpetual swap settled in USDT,
 * `BTC/USD:BTC-261225` a future settled in BTC that expires on 2026-12-25. Each venue's own name is its venue file's
 * affair; this is what they share.
 */
const MARKET = /^([^\s/:"\\]{1,32})\/([^\s/:"\\]{1,32})(?::([^\s/:"\\-]{1,32})(?:-(\d{6}))?)?$/u

export type MarketType = 'spot' | 'swap' | 'future'

export interface Market {
  readonly type: MarketType
  readonly base: string
  readonly quote: string
  /** Of derivatives: what gains and losses are paid in. */
  readonly settle?: string
  /** Of futures: the day of expiry, YYMMDD. */
  readonly expiry?: string
}

/** Undefined for what is no market's name. */
export function marketOf(symbol: string): Market | undefined {
  const [, base, quote, settle, expiry] = MARKET.exec(symbol) ?? []
  if (base === undefined || quote === undefined) return undefined
  if (settle === undefined) return { type: 'spot', base, quote }
  return expiry === undefined
    ? { type: 'swap', base, quote, settle }
    : { type: 'future', base, quote, settle, expiry }
}

/** The name of a market. */
export function symbolOf({ base, quote, settle, expiry }: Omit<Market, 'type'>): string {
  const pair = `${base}/${quote}`
  if (settle === undefined) return pair
  return expiry === undefined ? `${pair}:${settle}` : `${pair}:${settle}-${expiry}`
}

/** The spot pair's venue name, made of its two parts; undefined for what is no pair. */
export function venuePair(symbol: string, name: (base: string, quote: string) => string): string | undefined {
  const market = marketOf(symbol)
  return market?.type === 'spot' ? name(market.base, market.quote) : undefined
}

/** The day of an instant, YYMMDD. */
export function expiryDay(micros: Micros): string {
  return new Date(micros / 1_000).toISOString().slice(2, 10).replaceAll('-', '')
}

const MINUTES: Readonly<Record<string, number>> = { m: 1, h: 60, d: 1440, w: 10_080 }

/** `15m` is 15, `4h` 240, `1d` 1440; undefined for what is no whole number of minutes. */
export function timeframeMinutes(timeframe: string): number | undefined {
  const match = /^([1-9]\d{0,3})([mhdw])$/.exec(timeframe)
  return match ? Number(match[1]) * MINUTES[match[2]!]! : undefined
}
