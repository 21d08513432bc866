import type { Decimal } from './event.ts'

/** Longer texts are no price or size of any venue; exponents are written out only up to this length. */
const MAX_LENGTH = 64
const DOT = 46
const MINUS = 45
const ZERO = 48
const NINE = 57

/** Is the text `-?\d+(\.\d+)?`, at most 64 characters? */
export function isDecimal(text: string): text is Decimal {
  const end = text.length
  let at = text.charCodeAt(0) === MINUS ? 1 : 0
  if (end > MAX_LENGTH || at === end) return false
  let dot = -1
  for (const start = at; at < end; at++) {
    const code = text.charCodeAt(at)
    if (code >= ZERO && code <= NINE) continue
    if (code !== DOT || dot >= 0 || at === start) return false
    dot = at
  }
  return dot !== end - 1
}

/**
 * The decimal a venue's text or number stands for: exponents written out (`5.1e-05` is `0.000051`), trailing zeros
 * kept, a leading `+` or point mended. Undefined for what is no finite number or longer than 64 characters.
 */
export function toDecimal(value: string | number): Decimal | undefined {
  const text = typeof value === 'number' ? String(value) : value
  return isDecimal(text) ? text : written(text)
}

function written(text: string): Decimal | undefined {
  if (text.length > MAX_LENGTH) return undefined
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,5}))?$/.exec(text)
  if (!match) return undefined
  const [, sign, whole = '', fraction = '', exponent = '0'] = match
  const digits = whole + fraction
  if (digits === '') return undefined
  const point = whole.length + Number(exponent)
  if (point > MAX_LENGTH || point < -MAX_LENGTH) return undefined
  const left =
    digits
      .slice(0, Math.max(0, point))
      .padEnd(point, '0')
      .replace(/^0+(?=\d)/, '') || '0'
  const right = point < 0 ? '0'.repeat(-point) + digits : digits.slice(point)
  const decimal = `${sign === '-' ? '-' : ''}${left}${right && `.${right}`}`
  return decimal.length > MAX_LENGTH ? undefined : decimal
}

/** `0`, `0.000`, `-0` … */
export function isZero(decimal: Decimal): boolean {
  for (let at = 0; at < decimal.length; at++) {
    const code = decimal.charCodeAt(at)
    if (code > ZERO && code <= NINE) return false
  }
  return true
}

/** Below, above or at 0 as `a` is below, above or equal to `b`; exact at any length. */
export function compareDecimals(a: Decimal, b: Decimal): number {
  if (a === b) return 0
  // Texts of one shape without a sign compare as text: the usual case, two prices of one instrument.
  if (a.length === b.length && a.charCodeAt(0) !== MINUS && b.charCodeAt(0) !== MINUS) {
    if (a.indexOf('.') === b.indexOf('.')) return a < b ? -1 : 1
  }
  const scale = Math.max(fractionLength(a), fractionLength(b))
  const difference = ticksOf(a, scale) - ticksOf(b, scale)
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}

/** Digits behind the point. */
export function fractionLength(decimal: Decimal): number {
  const dot = decimal.indexOf('.')
  return dot < 0 ? 0 : decimal.length - dot - 1
}

/** The decimal as an integer of 10^-scale; `scale` is at least its own fraction's length. */
export function ticksOf(decimal: Decimal, scale: number): bigint {
  return BigInt(decimal.replace('.', '')) * 10n ** BigInt(scale - fractionLength(decimal))
}
