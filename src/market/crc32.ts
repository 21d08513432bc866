/**
 * CRC-32 (IEEE 802.3), table-driven. Node's own `zlib.crc32` is missing from 20.12 to 20.14, and for the 100 to 400
 * characters of a book's checksum the call costs more than these loops.
 */
const ZERO = 48
const DOT = 46
const TABLE = new Int32Array(256)
for (let byte = 0; byte < 256; byte++) {
  let rest = byte
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1
  TABLE[byte] = rest
}

/** The state before the first character. States are passed on; `crcValue` makes the checksum of one. */
export const CRC_START = -1

/** Continues with the characters of an ASCII text. */
export function crcText(state: number, text: string): number {
  let crc = state
  for (let at = 0; at < text.length; at++) crc = TABLE[(crc ^ text.charCodeAt(at)) & 255]! ^ (crc >>> 8)
  return crc
}

/**
 * Continues with the digits of a decimal at a fixed number of decimals, without its point and leading zeros: what
 * Kraken's checksum is made of.
 */
export function crcDigits(state: number, decimal: string, scale: number): number {
  const end = decimal.length
  let at = 0
  let dot = end - 1
  for (; at < end; at++) {
    const code = decimal.charCodeAt(at)
    if (code === DOT) dot = at
    else if (code !== ZERO) break
  }
  let crc = state
  for (; at < end; at++) {
    const code = decimal.charCodeAt(at)
    if (code === DOT) dot = at
    else crc = TABLE[(crc ^ code) & 255]! ^ (crc >>> 8)
  }
  for (let fraction = end - 1 - dot; fraction < scale; fraction++)
    crc = TABLE[(crc ^ ZERO) & 255]! ^ (crc >>> 8)
  return crc
}

/** The checksum, unsigned. */
export function crcValue(state: number): number {
  return ~state >>> 0
}
