import { BadMessage } from '../../protocol/parse.ts'

/** No command nests deeper than half of it. */
const MAX_DEPTH = 8

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * A client's MessagePack as the JSON that says the same: one parser and one set of schemas judge both. Throws BadMessage
 * for what JSON cannot say or nobody needs: binary and extension types, keys that are no text or come twice, deep nesting,
 * text that is no UTF-8, more or fewer bytes than it announces. Nothing is made in advance of what a header announces.
 */
export function jsonOf(packed: Buffer): string {
  const unpacker = new Unpacker(packed)
  const json = unpacker.value(0)
  if (!json.startsWith('{')) throw new BadMessage('the message is not a MessagePack map: give one map')
  if (!unpacker.ends) throw invalid()
  return json
}

function invalid(): BadMessage {
  return new BadMessage('the message is not valid MessagePack: give one map')
}

class Unpacker {
  readonly #packed: Buffer
  #at = 0

  constructor(packed: Buffer) {
    this.#packed = packed
  }

  get ends(): boolean {
    return this.#at === this.#packed.length
  }

  /** JSON of what comes next. */
  value(depth: number): string {
    const type = this.#unsigned(1)
    if (type < 0x80) return String(type)
    if (type < 0x90) return this.#map(type & 0x0f, depth)
    if (type < 0xa0) return this.#array(type & 0x0f, depth)
    if (type < 0xc0) return this.#text(type & 0x1f)
    if (type >= 0xe0) return String(type - 0x100)
    switch (type) {
      case 0xc0:
        return 'null'
      case 0xc2:
        return 'false'
      case 0xc3:
        return 'true'
      case 0xca:
        return float(this.#take(4).readFloatBE())
      case 0xcb:
        return float(this.#take(8).readDoubleBE())
      case 0xcc:
      case 0xcd:
      case 0xce:
        return String(this.#unsigned(2 ** (type - 0xcc)))
      case 0xcf:
        return String(this.#take(8).readBigUInt64BE())
      case 0xd0:
      case 0xd1:
      case 0xd2: {
        const length = 2 ** (type - 0xd0)
        return String(this.#take(length).readIntBE(0, length))
      }
      case 0xd3:
        return String(this.#take(8).readBigInt64BE())
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#unsigned(2 ** (type - 0xd9)))
      case 0xdc:
      case 0xdd:
        return this.#array(this.#unsigned(type === 0xdc ? 2 : 4), depth)
      case 0xde:
      case 0xdf:
        return this.#map(this.#unsigned(type === 0xde ? 2 : 4), depth)
      default:
        throw new BadMessage(
          'the message has a binary or extension type: give maps, arrays, text, numbers, booleans and nil',
        )
    }
  }

  #take(length: number): Buffer {
    const start = this.#at
    this.#at += length
    if (this.#at > this.#packed.length) throw invalid()
    return this.#packed.subarray(start, this.#at)
  }

  #unsigned(length: number): number {
    return this.#take(length).readUIntBE(0, length)
  }

  #text(length: number): string {
    const bytes = this.#take(length)
    try {
      return JSON.stringify(utf8.decode(bytes))
    } catch {
      throw new BadMessage('the message has text that is not UTF-8')
    }
  }

  #array(count: number, depth: number): string {
    this.#descend(depth)
    const items: string[] = []
    for (let index = 0; index < count; index++) items.push(this.value(depth + 1))
    return `[${items.join()}]`
  }

  #map(count: number, depth: number): string {
    this.#descend(depth)
    const fields: string[] = []
    const keys = new Set<string>()
    for (let index = 0; index < count; index++) {
      const key = this.value(depth + 1)
      if (!key.startsWith('"')) throw new BadMessage('the message has a key that is not text')
      if (keys.has(key)) throw new BadMessage('the message has a key twice in one map')
      keys.add(key)
      fields.push(`${key}:${this.value(depth + 1)}`)
    }
    return `{${fields.join()}}`
  }

  #descend(depth: number): void {
    if (depth >= MAX_DEPTH) throw new BadMessage(`the message nests deeper than ${MAX_DEPTH} levels`)
  }
}

function float(value: number): string {
  if (!Number.isFinite(value)) throw new BadMessage('the message has a number that is not finite')
  return String(value)
}
