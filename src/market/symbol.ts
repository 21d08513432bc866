/**
 * feedgate names a pair `BASE/QUOTE`, as people do. Each venue's own name is its venue file's affair; this is what
 * they share.
 */
const PAIR = /^([^\s/"\\]{1,32})\/([^\s/"\\]{1,32})$/u

/** Base and quote; undefined for what is no pair. */
export function pairOf(symbol: string): readonly [base: string, quote: string] | undefined {
  const match = PAIR.exec(symbol)
  return match ? [match[1]!, match[2]!] : undefined
}

/** The pair's venue name, made of its two parts; undefined for what is no pair. */
export function venuePair(symbol: string, name: (base: string, quote: string) => string): string | undefined {
  const pair = pairOf(symbol)
  return pair && name(pair[0], pair[1])
}

const MINUTES: Readonly<Record<string, number>> = { m: 1, h: 60, d: 1440, w: 10_080 }

/** `15m` is 15, `4h` 240, `1d` 1440; undefined for what is no whole number of minutes. */
export function timeframeMinutes(timeframe: string): number | undefined {
  const match = /^([1-9]\d{0,3})([mhdw])$/.exec(timeframe)
  return match ? Number(match[1]) * MINUTES[match[2]!]! : undefined
}
