import { createRequire } from 'node:module'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeRecord, type KafkaRecord, makeRecordsInOneBuffer } from '../../src/bus/kafka-records.ts'

const require = createRequire(import.meta.url)
const ENCODER = 'kafkajs/src/protocol/recordBatch/record/v0/index.js'
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
    headers: fc.dictionary(fc.string({ maxLength: 200 }), fc.oneof(bytes, fc.array(bytes, { maxLength: 3 }))),
  })

  it('are the bytes that kafkajs makes itself', () => {
    fc.assert(
      fc.property(records, (record) => {
        expect(encodeRecord(record).buffer.equals(theirs(record).buffer)).toBe(true)
      }),
    )
  })

  it('need no key, value or headers', () => {
    expect(encodeRecord({}).buffer).toEqual(theirs({}).buffer)
  })

  it('are what kafkajs makes when it is told to', () => {
    makeRecordsInOneBuffer()
    expect(require(ENCODER)).toBe(encodeRecord)
  })
})
