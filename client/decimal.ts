const MINUS = 45

/** Below, above or at 0 as `a` is below, above or equal to `b`; exact at any length. Both are decimals as sent. */
export function compareDecimals(a: string, b: string): number {
  if (a === b) return 0
  // Texts of one shape without a sign compare as text: the usual case, two prices of one instrument.
  if (a.length === b.length && a.charCodeAt(0) !== MINUS && b.charCodeAt(0) !== MINUS) {
    if (a.indexOf('.') === b.indexOf('.')) return a < b ? -1 : 1
  }
  const scale = Math.max(fractionOf(a), fractionOf(b))
  const difference = ticksOf(a, scale) - ticksOf(b, scale)
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}

/** Digits behind the point. */
function fractionOf(decimal: string): number {
  const dot = decimal.indexOf('.')
  return dot < 0 ? 0 : decimal.length - dot - 1
}

function ticksOf(decimal: string, scale: number): bigint {
  return BigInt(decimal.replace('.', '')) * 10n ** BigInt(scale - fractionOf(decimal))
}
