import type { Micros } from '../market/event.ts'

const EPOCH_MICROS = /^\d{1,16}$/
const ISO = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(Z|[+-]\d{2}:?\d{2})?)?$/

/**
 * A time as callers may give it: ISO 8601 (a date, or date and time; UTC where no offset is given) or integer µs since
 * the Unix epoch. Undefined for what is neither. Digits below a µs are cut off.
 */
export function parseTime(text: string): Micros | undefined {
  if (EPOCH_MICROS.test(text)) {
    const micros = Number(text)
    return Number.isSafeInteger(micros) ? micros : undefined
  }
  // An offset's "+" that was not percent-encoded arrives as a space.
  const match = ISO.exec(text.replace(' ', '+'))
  if (!match) return undefined
  const [, date, minutes = '00:00', seconds = '00', fraction = '', offset = 'Z'] = match
  const zone = offset.length === 5 ? `${offset.slice(0, 3)}:${offset.slice(3)}` : offset
  const ms = Date.parse(`${date}T${minutes}:${seconds}${zone}`)
  // Date.parse takes 31 February for 3 March.
  if (Number.isNaN(ms) || Number(date?.slice(8)) > daysIn(date!)) return undefined
  return ms < 0 ? undefined : ms * 1_000 + Number(fraction.slice(0, 6).padEnd(6, '0'))
}

function daysIn(date: string): number {
  return new Date(Date.UTC(Number(date.slice(0, 4)), Number(date.slice(5, 7)), 0)).getUTCDate()
}
