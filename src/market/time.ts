import type { Micros, VenueId } from './event.ts'

/** Times outside 2000 to 2100 are venues' mistakes (`0001-01-01T00:00:00Z` has been seen): no time is better. */
const EARLIEST = Date.UTC(2000) * 1000
const LATEST = Date.UTC(2100) * 1000

const DATE_LENGTH = 10
/** Most times of a day share their date: its µs are kept from one call to the next. */
let lastDate = '1970-01-01'
let lastDateMicros = 0

/** A whole number of µs that can be a time of today's markets; undefined if it is not. */
export function plausibleMicros(micros: number): Micros | undefined {
  return micros >= EARLIEST && micros < LATEST ? micros : undefined
}

/** Milliseconds, or microseconds where a venue can be asked for them, as digits. */
export function epochMicros(digits: string | VenueId | undefined): Micros | undefined {
  const value = Number(digits)
  return plausibleMicros(value < 1e14 ? value * 1000 : value)
}

/** Seconds with any fraction: `1618678142.557535`. What is finer than a µs is cut off. */
export function secondsMicros(text: string | undefined): Micros | undefined {
  if (text === undefined) return undefined
  let micros = 0
  let decimals = -1
  for (let at = 0; at < text.length && decimals < 6; at++) {
    const digit = text.charCodeAt(at) - 48
    if (digit === -2 && decimals < 0) decimals = 0
    else if (digit >= 0 && digit <= 9) {
      micros = micros * 10 + digit
      if (decimals >= 0) decimals++
    } else return undefined
  }
  return plausibleMicros(micros * 10 ** (6 - Math.max(0, decimals)))
}

/** RFC 3339 in UTC, with any fraction: `2021-04-17T16:43:37.075687Z`. What is finer than a µs is cut off. */
export function isoMicros(text: string | undefined): Micros | undefined {
  if (text === undefined || !text.endsWith('Z') || text.charCodeAt(DATE_LENGTH) !== 84) return undefined
  if (!text.startsWith(lastDate)) {
    lastDate = text.slice(0, DATE_LENGTH)
    lastDateMicros = Date.parse(`${lastDate}T00:00:00Z`) * 1000
  }
  const seconds = (twoDigits(text, 11) * 60 + twoDigits(text, 14)) * 60 + twoDigits(text, 17)
  let fraction = 0
  for (let at = 20; at < 26; at++) {
    const digit = text.charCodeAt(at) - 48
    fraction = fraction * 10 + (digit >= 0 && digit <= 9 ? digit : 0)
  }
  return plausibleMicros(lastDateMicros + seconds * 1e6 + fraction)
}

function twoDigits(text: string, at: number): number {
  return (text.charCodeAt(at) - 48) * 10 + text.charCodeAt(at + 1) - 48
}
