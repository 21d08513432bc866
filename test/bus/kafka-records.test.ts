import { createRequire } from 'node:module'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type BatchContext,
  type DecodedRecord,
  decodeRecord,
  encodeRecord,
  type KafkaRecord,
  patchRecords,
} from '../../src/bus/kafka-records.ts'

const require = createRequire(import.meta.url)
const ENCODER = 'kafkajs/src/protocol/recordBatch/record/v0/index.js'
const DECODER = 'kafkajs/src/protocol/recordBatch/record/v0/decoder.js'
const Decoder = require('kafkajs/src/protocol/decoder.js') as new (
  buffer: Buffer,
) => { readonly buffer: Buffer; readVarIntBytes(): Buffer }
const theirReading = require(DECODER) as (
  decoder: { readonly buffer: Buffer },
  batch: BatchContext,
) => DecodedRecord
const theirs = require(ENCODER) as (record: KafkaRecord) => { readonly buffer: Buffer }

describe('records in one buffer', () => {
  const bytes = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 300 }),
    fc.uint8Array({ maxLength: 9_000 }).map((array) => Buffer.from(array)),
  )
  const records = fc.record({
    offsetDelta: fc.nat(2 ** 31 - 1),
    timestampDelta: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
    key: fc.option(bytes),
    value: fc.option(bytes),
    headers: fc.dictionary(
      // kafkajs mixes those up that an object has by itself.
      fc.string({ maxLength: 200 }).filter((name) => !(name in Object.prototype)),
      fc.oneof(bytes, fc.array(bytes, { maxLength: 3 })),
    ),
  })

  it('are the bytes that kafkajs makes itself', () => {
    fc.assert(
      fc.property(records, (record) => {
        expect(encodeRecord(record).buffer.equals(theirs(record).buffer)).toBe(true)
      }),
    )
  })

  const batches = fc.record({
    firstOffset: fc.bigInt({ min: 0n, max: 2n ** 62n }).map(String),
    firstTimestamp: fc.bigInt({ min: 0n, max: 2n ** 52n }).map(String),
    maxTimestamp: fc.nat().map((n) => String(1_700_000_000_000 + n)),
    timestampType: fc.constantFrom(0, 1),
    magicByte: fc.constant(2),
    isControlBatch: fc.boolean(),
  })
  /** Of the bytes of a record: a record decoder of kafkajs gets them without their length. */
  const body = (record: Buffer) => new Decoder(new Decoder(record).readVarIntBytes())

  it('are read as kafkajs reads them', () => {
    fc.assert(
      fc.property(records, batches, (record, batch) => {
        const { buffer } = encodeRecord(record)
        expect(decodeRecord(body(buffer), batch)).toStrictEqual(theirReading(body(buffer), batch))
      }),
    )
  })

  it('keep headers of the same name, and those that an object has by itself', () => {
    const names = ['a', '__proto__', 'a', '__proto__', 'constructor', 'a']
    const text = (value: string) => [value.length * 2, ...Buffer.from(value)]
    const headers = names.flatMap((name, index) => [...text(name), ...text(`${index}`)])
    const record = Buffer.from([0, 0, 0, 1, 1, names.length * 2, ...headers])
    const read = decodeRecord({ buffer: record }, { firstOffset: '7', firstTimestamp: '1' }).headers
    expect(Object.entries(read).map(([name, value]) => `${name} ${value}`)).toEqual([
      'a 0,2,5',
      '__proto__ 1,3',
      'constructor 4',
    ])
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype)
  })

  it('are refused when they are torn', () => {
    expect(() =>
      decodeRecord({ buffer: Buffer.from([0, 0x80]) }, { firstOffset: '0', firstTimestamp: '0' }),
    ).toThrow('torn')
  })

  it('need no key, value or headers', () => {
    expect(encodeRecord({}).buffer).toEqual(theirs({}).buffer)
  })

  it('are made and read so by kafkajs when it is told to', () => {
    patchRecords()
    expect(require(ENCODER)).toBe(encodeRecord)
    expect(require(DECODER)).toBe(decodeRecord)
  })
})
