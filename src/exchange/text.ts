import { fixed } from '../connectors/simulator/market-model.ts'
import { ticksOf } from '../market/decimal.ts'
import type { Decimal, Level, Micros } from '../market/event.ts'
import type { Market, MarketTrade } from './market.ts'

/** Pieces of frames that venues share. */

/** `[["1.0","2.00"],…]`; `gone`: how the venue writes the size of a level that is no more. */
export function levelsText(levels: readonly Level[], gone = '0'): string {
  let text = '['
  for (let at = 0; at < levels.length; at++) {
    const [price, size] = levels[at]!
    text += `${at === 0 ? '' : ','}["${price}","${size === '0' ? gone : size}"]`
  }
  return `${text}]`
}

/** Zero with the decimals of the market's sizes. */
export const noSize = (market: Market): Decimal => fixed(0, market.sizeDecimals)

export const ms = (time: Micros): number => Math.floor(time / 1_000)

/** Most times share their second with the one before: its text is kept. */
let lastSecond = -1
let lastText = ''

/** `2026-01-01T00:00:00.123456Z` */
export function isoText(time: Micros): string {
  const second = Math.floor(time / 1e6)
  if (second !== lastSecond) {
    lastSecond = second
    lastText = new Date(second * 1_000).toISOString().slice(0, 20)
  }
  return `${lastText}${String(time % 1e6).padStart(6, '0')}Z`
}

/** Seconds with six decimals. */
export const secondsText = (time: Micros): string =>
  `${Math.floor(time / 1e6)}.${String(time % 1e6).padStart(6, '0')}`

/** Price times size, every digit. */
export function quoteSize({ price, size }: MarketTrade, { priceDecimals, sizeDecimals }: Market): Decimal {
  return fixed(ticksOf(price, priceDecimals) * ticksOf(size, sizeDecimals), priceDecimals + sizeDecimals)
}

/** The difference of two prices of the market. */
export function priceChange(from: Decimal, to: Decimal, { priceDecimals }: Market): Decimal {
  const ticks = ticksOf(to, priceDecimals) - ticksOf(from, priceDecimals)
  return ticks < 0n ? `-${fixed(-ticks, priceDecimals)}` : fixed(ticks, priceDecimals)
}

const UNITS: Readonly<Record<string, number>> = {
  s: 1,
  m: 60,
  h: 3_600,
  H: 3_600,
  d: 86_400,
  D: 86_400,
  w: 604_800,
  W: 604_800,
  M: 2_592_000,
}

/** µs of `1s`, `15m`, `1H` …; a month has 30 days here. Undefined: none. */
export function timeframeMicros(text: string): Micros | undefined {
  const match = /^(\d{1,2})([smhHdDwWM])$/.exec(text)
  return match ? Number(match[1]) * UNITS[match[2]!]! * 1_000_000 : undefined
}

/** A number of the query, from 1 to `max`. */
export function limitOf(query: URLSearchParams, byDefault: number, max: number, name = 'limit'): number {
  const limit = Number(query.get(name) ?? byDefault)
  return limit >= 1 ? Math.min(Math.floor(limit), max) : byDefault
}
