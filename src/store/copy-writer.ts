import type { Micros } from '../market/event.ts'

/** µs from the Unix epoch to PostgreSQL's, 2000-01-01. */
const EPOCH: Micros = 946_684_800_000_000
const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')
const NULL = -1
const WORD = 2 ** 32
/** https://www.postgresql.org/docs/current/datatype-numeric.html */
const MAX_SCALE = 16_383
const MAX_DIGITS = 131_072
const NEGATIVE = 0x4000

/**
 * Rows in the binary format of COPY, which the server takes without parsing any text.
 * https://www.postgresql.org/docs/current/sql-copy.html
 */
export class CopyWriter {
  #buffer: Buffer
  #at: number

  constructor(expectedBytes: number) {
    this.#buffer = Buffer.allocUnsafe(SIGNATURE.length + expectedBytes)
    this.#buffer.set(SIGNATURE)
    this.#at = SIGNATURE.length
  }

  row(columns: number): void {
    this.#reserve(2)
    this.#int16(columns)
  }

  null(): void {
    this.#reserve(4)
    this.#int32(NULL)
  }

  boolean(value: boolean): void {
    this.#reserve(5)
    this.#int32(1)
    this.#buffer[this.#at++] = value ? 1 : 0
  }

  integer(value: number): void {
    this.#reserve(8)
    this.#int32(4)
    this.#int32(value)
  }

  /** Of a safe integer. */
  bigint(value: number): void {
    this.#reserve(12)
    this.#int32(8)
    const high = Math.floor(value / WORD)
    this.#int32(high)
    this.#at = this.#buffer.writeUInt32BE(value - high * WORD, this.#at)
  }

  timestamp(micros: Micros): void {
    this.bigint(micros - EPOCH)
  }

  text(value: string): void {
    this.#reserve(4 + 3 * value.length)
    const length = this.#buffer.write(value, this.#at + 4)
    this.#int32(length)
    this.#at += length
  }

  /** Text that is UTF-8 already. */
  utf8(bytes: Uint8Array): void {
    this.#reserve(4 + bytes.length)
    this.#int32(bytes.length)
    this.#buffer.set(bytes, this.#at)
    this.#at += bytes.length
  }

  /** False, and nothing written: it is no decimal, or longer than a numeric can be. */
  numeric(text: string): boolean {
    const start = text.charCodeAt(0) === MINUS ? 1 : 0
    let dot = text.indexOf('.')
    if (dot < 0) dot = text.length
    const scale = Math.max(0, text.length - dot - 1)
    const whole = dot - start
    if (whole === 0 || dot === text.length - 1 || scale > MAX_SCALE || whole > MAX_DIGITS) return false
    this.#reserve(16 + text.length)
    const header = this.#at
    this.#at += 12
    let weight = Math.ceil(whole / 4) - 1
    let digits = 0
    let written = this.#at
    // Digits in groups of four, counted from the point; zero groups at either end are left out.
    for (let at = start - ((4 - (whole % 4)) % 4); at < text.length; at = at + 4 === dot ? dot + 1 : at + 4) {
      let group = 0
      for (let i = at; i < at + 4; i++) {
        const digit = i < start ? 0 : i < text.length ? text.charCodeAt(i) - ZERO : 0
        if (digit < 0 || digit > 9) {
          this.#at = header
          return false
        }
        group = group * 10 + digit
      }
      if (digits === 0 && group === 0) {
        weight--
        continue
      }
      this.#int16(group)
      digits++
      if (group !== 0) written = this.#at
    }
    const end = written
    digits = (end - header - 12) / 2
    this.#at = header
    this.#int32(8 + 2 * digits)
    this.#int16(digits)
    this.#at = this.#buffer.writeInt16BE(digits === 0 ? 0 : weight, this.#at)
    this.#int16(start === 1 && digits > 0 ? NEGATIVE : 0)
    this.#int16(scale)
    this.#at = end
    return true
  }

  /** What was written since the last time; the next piece has room for so many bytes, and grows. */
  take(expectedBytes = 0): Uint8Array {
    const piece = this.#buffer.subarray(0, this.#at)
    this.#buffer = Buffer.allocUnsafe(expectedBytes)
    this.#at = 0
    return piece
  }

  /** After the last row. */
  end(): void {
    this.#reserve(2)
    this.#at = this.#buffer.writeInt16BE(-1, this.#at)
  }

  #int16(value: number): void {
    this.#at = this.#buffer.writeUInt16BE(value, this.#at)
  }

  #int32(value: number): void {
    this.#at = this.#buffer.writeInt32BE(value, this.#at)
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(2 * (this.#buffer.length + bytes))
    larger.set(this.#buffer.subarray(0, this.#at))
    this.#buffer = larger
  }
}

const MINUS = 0x2d
const ZERO = 0x30
