/**
 * JSON as MessagePack, https://github.com/msgpack/msgpack/blob/master/spec.md, in one pass over an event's own bytes: no
 * digit is lost of ids above 2^53, and a book's levels become no objects on the way.
 */

const QUOTE = 0x22
const COMMA = 0x2c
const MINUS = 0x2d
const DOT = 0x2e
const ZERO = 0x30
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const ENDS = [COMMA, CLOSE_ARRAY, CLOSE_OBJECT]
/** So many digits are a safe integer whatever they are. */
const SAFE_DIGITS = 15
const UINT64 = 2n ** 64n

const NIL = 0xc0
const FALSE = 0xc2
const TRUE = 0xc3
const FLOAT64 = 0xcb
const ARRAY = { fixed: 0x90, of16: 0xdc }
const MAP = { fixed: 0x80, of16: 0xde }

/** The fields of a map, without its header. */
export interface PackedFields {
  readonly count: number
  readonly bytes: Buffer
}

/** JSON without white space between its tokens, as this program writes it. */
class Packer {
  #json: Buffer = Buffer.alloc(0)
  #at = 0
  #out = Buffer.allocUnsafe(4_096)
  #length = 0

  begin(json: Buffer): void {
    this.#json = json
    this.#at = this.#length = 0
    // The worst is `1.5,`: nine bytes of four.
    if (this.#out.length < 3 * json.length + 16) this.#out = Buffer.allocUnsafe(4 * json.length + 16)
  }

  take(): Buffer {
    return Buffer.from(this.#out.subarray(0, this.#length))
  }

  value(): void {
    const byte = this.#json[this.#at]!
    if (byte === QUOTE) this.#text()
    else if (byte === OPEN_ARRAY) this.#container(ARRAY)
    else if (byte === OPEN_OBJECT) this.#container(MAP)
    else if (byte === 0x74) this.#word(TRUE, 4)
    else if (byte === 0x66) this.#word(FALSE, 5)
    else if (byte === 0x6e) this.#word(NIL, 4)
    else this.#number()
  }

  #word(byte: number, length: number): void {
    this.#out[this.#length++] = byte
    this.#at += length
  }

  /** How many is known at its end: more than 15 need a longer header than the place that is kept. */
  #container(type: typeof ARRAY): void {
    const start = this.#length++
    const count = type === MAP ? this.fields() : this.#elements()
    if (count < 16) {
      this.#out[start] = type.fixed | count
      return
    }
    const more = count < 65_536 ? 2 : 4
    this.#out.copyWithin(start + 1 + more, start + 1, this.#length)
    this.#length += more
    this.#out[start] = more === 2 ? type.of16 : type.of16 + 1
    this.#out.writeUIntBE(count, start + 1, more)
  }

  #elements(): number {
    let count = 0
    this.#at++
    while (this.#json[this.#at] !== CLOSE_ARRAY) {
      if (this.#json[this.#at] === COMMA) this.#at++
      this.value()
      count++
    }
    this.#at++
    return count
  }

  fields(): number {
    let count = 0
    this.#at++
    while (this.#json[this.#at] !== CLOSE_OBJECT) {
      if (this.#json[this.#at] === COMMA) this.#at++
      this.#text()
      if (this.#json[this.#at] === COLON) this.#at++
      this.value()
      count++
    }
    this.#at++
    return count
  }

  #text(): void {
    const json = this.#json
    const start = this.#at + 1
    let end = start
    let escaped = false
    for (let byte = json[end]; byte !== QUOTE; byte = json[end]) {
      if (byte === BACKSLASH) {
        escaped = true
        end++
      }
      end++
    }
    this.#at = end + 1
    if (escaped) this.#string(JSON.parse(json.toString('utf8', start - 1, end + 1)) as string)
    else this.#bytes(json, start, end)
  }

  #string(text: string): void {
    const bytes = Buffer.from(text)
    this.#bytes(bytes, 0, bytes.length)
  }

  #bytes(from: Buffer, start: number, end: number): void {
    const length = end - start
    const out = this.#out
    let at = this.#length
    if (length < 32) out[at++] = 0xa0 | length
    else if (length < 256) {
      out[at++] = 0xd9
      out[at++] = length
    } else {
      const wide = length < 65_536 ? 2 : 4
      out[at++] = wide === 2 ? 0xda : 0xdb
      at = out.writeUIntBE(length, at, wide)
    }
    // Decimals and names are too short to be worth a call.
    if (length < 24) for (let i = start; i < end; i++) out[at++] = from[i]!
    else at += from.copy(out, at, start, end)
    this.#length = at
  }

  #number(): void {
    const json = this.#json
    const start = this.#at
    const first = json[start]! === MINUS ? start + 1 : start
    let end = first
    let value = 0
    for (let digit = json[end]! - ZERO; digit >= 0 && digit <= 9; digit = json[++end]! - ZERO)
      value = value * 10 + digit
    this.#at = end
    const byte = json[end]
    if (byte === DOT || byte === 0x65 || byte === 0x45) this.#fraction(start)
    else if (end - first > SAFE_DIGITS) this.#long(json.toString('latin1', start, end))
    else this.#integer(first === start ? value : -value)
  }

  #fraction(start: number): void {
    const json = this.#json
    let end = this.#at
    for (let byte = json[end]; byte !== undefined && !ENDS.includes(byte); byte = json[end]) end++
    this.#at = end
    const value = Number(json.toString('latin1', start, end))
    this.#length = this.#out.writeDoubleBE(value, this.#head(this.#length, FLOAT64))
  }

  #integer(value: number): void {
    const out = this.#out
    const at = this.#length
    if (value < 0) this.#negative(value)
    else if (value < 0x80) out[this.#length++] = value
    else if (value < 0x100) this.#length = out.writeUInt8(value, this.#head(at, 0xcc))
    else if (value < 0x10000) this.#length = out.writeUInt16BE(value, this.#head(at, 0xcd))
    else if (value < 0x100000000) this.#length = out.writeUInt32BE(value, this.#head(at, 0xce))
    else {
      const high = out.writeUInt32BE(Math.floor(value / 0x100000000), this.#head(at, 0xcf))
      this.#length = out.writeUInt32BE(value % 0x100000000, high)
    }
  }

  #negative(value: number): void {
    if (value >= -32) this.#out[this.#length++] = value
    else this.#length = this.#out.writeBigInt64BE(BigInt(value), this.#head(this.#length, 0xd3))
  }

  #head(at: number, type: number): number {
    this.#out[at] = type
    return at + 1
  }

  /** What no 64 bits hold stays as digits, in a string. */
  #long(digits: string): void {
    const value = BigInt(digits)
    const at = this.#length
    if (value >= 0 && value < UINT64) this.#length = this.#out.writeBigUInt64BE(value, this.#head(at, 0xcf))
    else if (value < 0 && value >= -UINT64 / 2n)
      this.#length = this.#out.writeBigInt64BE(value, this.#head(at, 0xd3))
    else this.#string(digits)
  }
}

/** One for the process: a value is packed without interruption. */
const packer = new Packer()

export function pack(json: Buffer): Buffer {
  packer.begin(json)
  packer.value()
  return packer.take()
}

/** Of a JSON object. */
export function packFields(json: Buffer): PackedFields {
  packer.begin(json)
  const count = packer.fields()
  return { count, bytes: packer.take() }
}

const SMALL_MAPS = Array.from({ length: 16 }, (_, count) => Buffer.of(MAP.fixed | count))

/** Bytes in front of so many fields. */
export function mapHeader(count: number): Buffer {
  return SMALL_MAPS[count] ?? Buffer.of(MAP.of16, count >> 8, count & 0xff)
}

export function arrayHeader(count: number): Buffer {
  if (count < 16) return Buffer.of(ARRAY.fixed | count)
  const header = Buffer.alloc(count < 65_536 ? 3 : 5, count < 65_536 ? ARRAY.of16 : ARRAY.of16 + 1)
  header.writeUIntBE(count, 1, header.length - 1)
  return header
}
