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

const ENCODER = 'kafkajs/src/protocol/recordBatch/record/v0/index.js'
/** Attributes and two lengths: five bytes hold any 32 bits, ten any 64. */
const FIXED_BYTES = 1 + 5 + 10 + 5
const LENGTH_BYTES = 5

/**
 * Has kafkajs make records by `encodeRecord`. Its own function makes each of some twenty buffers, six of them zeroed half
 * kilobytes: that was a third of what an ingest node does, and most of its garbage. Once for the process; before the first
 * message is sent.
 */
export function makeRecordsInOneBuffer(): void {
  const require = createRequire(import.meta.url)
  require(ENCODER)
  const loaded = require.cache[require.resolve(ENCODER)]
  if (loaded) loaded.exports = encodeRecord
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
