import { createRequire } from 'node:module'

type Bytes = Buffer | string | null | undefined

/** What kafkajs hands over of one message. */
export interface KafkaRecord {
  readonly offsetDelta?: number
  /** ms */
  readonly timestampDelta?: number
  readonly key?: Bytes
  readonly value?: Bytes
  readonly headers?: Readonly<Record<string, Bytes | readonly Bytes[]>>
}

/** What kafkajs takes for one of its encoders. */
interface Encoded {
  readonly buf: Buffer
  readonly buffer: Buffer
}

/** What kafkajs knows of the batch that a record stands in; it has more of it, which goes through. */
export interface BatchContext {
  readonly firstOffset: string
  /** Epoch ms. */
  readonly firstTimestamp: string
  readonly maxTimestamp?: string
  readonly timestampType?: number
  readonly magicByte?: number
  readonly isControlBatch?: boolean
}

/** What kafkajs makes of a record. */
export interface DecodedRecord {
  readonly magicByte: number | undefined
  readonly attributes: number
  readonly timestamp: string
  readonly offset: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Record<string, Buffer | null | (Buffer | null)[]>
  readonly isControlRecord: boolean
  readonly batchContext: BatchContext
}

const RECORD = 'kafkajs/src/protocol/recordBatch/record/v0'
const ENCODER = `${RECORD}/index.js`
const DECODER = `${RECORD}/decoder.js`
/** https://kafka.apache.org/documentation/#recordbatch: the broker's time stands for that of its records. */
const LOG_APPEND_TIME = 1
/** Attributes and two lengths: five bytes hold any 32 bits, ten any 64. */
const FIXED_BYTES = 1 + 5 + 10 + 5
const LENGTH_BYTES = 5

/**
 * Has kafkajs make records by `encodeRecord` and read them by `decodeRecord`. Its own functions make of each some twenty
 * buffers, six of them zeroed half kilobytes, or as many objects of 64 bits and copies of the headers: that was a third of
 * what an ingest node does, a quarter of what a reader does, and most of the garbage. Once for the process; before the
 * first message is sent or read.
 */
export function patchRecords(): void {
  patch(ENCODER, encodeRecord)
  patch(DECODER, decodeRecord)
}

function patch(path: string, by: unknown): void {
  const require = createRequire(import.meta.url)
  require(path)
  const loaded = require.cache[require.resolve(path)]
  if (loaded) loaded.exports = by
}

/** One record of a batch (https://kafka.apache.org/documentation/#record), the same bytes that kafkajs makes. */
export function encodeRecord(record: KafkaRecord): Encoded {
  const { offsetDelta = 0, timestampDelta = 0, key, value, headers = {} } = record
  const fields: (readonly [name: string, value: Bytes])[] = []
  for (const name of Object.keys(headers)) {
    const held = headers[name] as Bytes | readonly Bytes[]
    if (Array.isArray(held)) for (const one of held) fields.push([name, one])
    else fields.push([name, held as Bytes])
  }
  const buffer = Buffer.allocUnsafe(LENGTH_BYTES + greatestSize(key, value, fields))
  // The body comes first: its length is known behind it, and then put before it.
  let at = LENGTH_BYTES
  buffer[at++] = 0
  at = writeNumber(buffer, at, timestampDelta)
  at = writeNumber(buffer, at, offsetDelta)
  at = writeBytes(buffer, at, key)
  at = writeBytes(buffer, at, value)
  at = writeNumber(buffer, at, fields.length)
  for (const [name, held] of fields) {
    at = writeBytes(buffer, at, name)
    at = writeBytes(buffer, at, held)
  }
  const length = at - LENGTH_BYTES
  const begin = LENGTH_BYTES - numberSize(length)
  writeNumber(buffer, begin, length)
  const bytes = buffer.subarray(begin, at)
  return { buf: bytes, buffer: bytes }
}

function greatestSize(key: Bytes, value: Bytes, fields: readonly (readonly [string, Bytes])[]): number {
  let size = FIXED_BYTES + sizeOf(key) + sizeOf(value)
  for (const [name, held] of fields) size += sizeOf(name) + sizeOf(held)
  return size
}

function sizeOf(bytes: Bytes): number {
  return bytes == null ? LENGTH_BYTES : LENGTH_BYTES + Buffer.byteLength(bytes)
}

function writeBytes(target: Buffer, at: number, bytes: Bytes): number {
  if (bytes == null) return writeNumber(target, at, -1)
  if (typeof bytes === 'string') {
    const begin = writeNumber(target, at, Buffer.byteLength(bytes))
    return begin + target.write(bytes, begin)
  }
  const begin = writeNumber(target, at, bytes.length)
  return begin + bytes.copy(target, begin)
}

/** Zigzag, seven bits a byte, the lowest first. Any integer that a double holds exactly, less one bit. */
function writeNumber(target: Buffer, from: number, value: number): number {
  let at = from
  let rest = value < 0 ? -2 * value - 1 : 2 * value
  while (rest > 0x7f) {
    target[at++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  target[at++] = rest
  return at
}

function numberSize(value: number): number {
  let size = 1
  for (let rest = 2 * value; rest > 0x7f; rest = Math.floor(rest / 0x80)) size++
  return size
}

/** The record in all of a decoder's bytes (its length is read already), as kafkajs reads it. */
export function decodeRecord({ buffer }: { readonly buffer: Buffer }, batch: BatchContext): DecodedRecord {
  const reader = new Reader(buffer)
  const attributes = reader.byte()
  const timestampDelta = reader.number()
  const offsetDelta = reader.number()
  const isStamped = batch.timestampType === LOG_APPEND_TIME && batch.maxTimestamp
  return {
    magicByte: batch.magicByte,
    attributes,
    timestamp: isStamped ? batch.maxTimestamp! : sumOf(batch.firstTimestamp, timestampDelta),
    offset: sumOf(batch.firstOffset, offsetDelta),
    key: reader.bytes(),
    value: reader.bytes(),
    headers: reader.headers(),
    isControlRecord: batch.isControlBatch ?? false,
    batchContext: batch,
  }
}

function sumOf(first: string, delta: number): string {
  const sum = Number(first) + delta
  return Number.isSafeInteger(sum) && first.length < 16 ? String(sum) : String(BigInt(first) + BigInt(delta))
}

class Reader {
  readonly #buffer: Buffer
  #at = 0

  constructor(buffer: Buffer) {
    this.#buffer = buffer
  }

  byte(): number {
    return this.#buffer.readInt8(this.#at++)
  }

  /** See `writeNumber`. */
  number(): number {
    let value = 0
    for (let factor = 1; ; factor *= 0x80) {
      const byte = this.#buffer[this.#at++]
      if (byte === undefined || factor > 2 ** 56) throw new RangeError('a Kafka record is torn')
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
    }
  }

  bytes(): Buffer | null {
    const length = this.number()
    if (length < 0) return null
    const bytes = this.#buffer.subarray(this.#at, this.#at + length)
    this.#at += length
    return bytes
  }

  headers(): DecodedRecord['headers'] {
    const headers: DecodedRecord['headers'] = {}
    for (let left = this.number(); left > 0; left--) {
      const length = this.number()
      const name = this.#buffer.toString('utf8', this.#at, this.#at + length)
      this.#at += length
      const value = this.bytes()
      // Whoever writes to the topic chooses the names: this one would be the object's prototype.
      const held = Object.hasOwn(headers, name) ? headers[name] : undefined
      const next = held === undefined ? value : Array.isArray(held) ? [...held, value] : [held, value]
      if (name === '__proto__')
        Object.defineProperty(headers, name, {
          value: next,
          enumerable: true,
          configurable: true,
          writable: true,
        })
      else headers[name] = next
    }
    return headers
  }
}
