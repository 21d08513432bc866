import { Decoder, decode, ExtData, encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { pack, packFields } from '../../../src/gateway/ws/message-pack.ts'
import { jsonOf } from '../../../src/gateway/ws/message-unpack.ts'

const packed = (json: string) => pack(Buffer.from(json))
const exact = new Decoder({ useBigInt64: true })

describe('JSON as MessagePack', () => {
  it('is read by another implementation as JSON.parse reads it', () => {
    // What 64 bits do not hold is another test's.
    const json = fc.json({ maxDepth: 4 }).filter((text) => !/\d{19}/.test(text))
    fc.assert(
      fc.property(json, (text) => {
        const value: unknown = JSON.parse(text)
        expect(decode(packed(JSON.stringify(value)))).toEqual(value)
      }),
      { numRuns: 200 },
    )
  })

  it.each([0, 1, 15, 16, 17, 31, 32, 255, 256, 65_535, 65_536])('holds %i of everything', (count) => {
    const value = {
      text: 'x'.repeat(count),
      wide: 'é'.repeat(count),
      list: new Array<string>(count).fill('1.50'),
      map: Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, true])),
    }
    expect(JSON.stringify(decode(packed(JSON.stringify(value))))).toBe(JSON.stringify(value))
  })

  it('keeps decimals as strings, and every digit of whole numbers', () => {
    const json =
      '{"price":"0.10","id":18446744073709551615,"least":-9223372036854775808,"more":18446744073709551616}'
    expect(exact.decode(packed(json))).toEqual({
      price: '0.10',
      id: 18446744073709551615n,
      least: -9223372036854775808n,
      more: '18446744073709551616',
    })
  })

  it('writes a time as a uint64, never as a double', () => {
    const { bytes } = packFields(Buffer.from('{"t":1763843400123456}'))
    expect(bytes.toString('hex')).toBe(`a174cf${1763843400123456n.toString(16).padStart(16, '0')}`)
  })

  it.each([
    0,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 53 - 1,
    -1,
    -32,
    -33,
    -129,
    -(2 ** 40),
  ])('holds the number %d', (value) => {
    expect(decode(packed(`[${value}]`))).toEqual([value])
    expect(decode(packed(String(value)))).toBe(value)
  })
})

describe('MessagePack of a client as JSON', () => {
  it('says what another implementation wrote', () => {
    const value = fc.jsonValue({ maxDepth: 4 }).map((inner) => ({ inner }))
    fc.assert(
      fc.property(value, (message) => {
        expect(JSON.parse(jsonOf(Buffer.from(encode(message))))).toEqual(JSON.parse(JSON.stringify(message)))
      }),
      { numRuns: 200 },
    )
  })

  it('never takes other bytes for a message, and answers each with one sentence', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          expect(JSON.parse(jsonOf(Buffer.from(bytes)))).toBeTypeOf('object')
        } catch (error) {
          expect(error).toMatchObject({
            code: 'bad-request',
            message: expect.stringMatching(/^the message /),
          })
        }
      }),
      { numRuns: 500 },
    )
  })

  const header = (...bytes: number[]) => Buffer.from(bytes)
  it.each([
    ['nothing', header(), 'not valid MessagePack'],
    ['a map that is cut off', header(0x81, 0xa1, 0x61), 'not valid MessagePack'],
    ['two messages', Buffer.concat([encode({}), encode({})]), 'not valid MessagePack'],
    ['a byte that means nothing', header(0x81, 0xa1, 0x61, 0xc1), 'binary or extension'],
    ['an array', Buffer.from(encode([1])), 'not a MessagePack map'],
    ['binary data', Buffer.from(encode({ a: new Uint8Array(2) })), 'binary or extension'],
    ['an extension', Buffer.from(encode({ a: new ExtData(5, new Uint8Array(2)) })), 'binary or extension'],
    ['a timestamp', Buffer.from(encode({ a: new Date() })), 'binary or extension'],
    ['a number as key', header(0x81, 0x01, 0x02), 'a key that is not text'],
    ['a key twice', header(0x82, 0xa1, 0x61, 0x01, 0xa1, 0x61, 0x02), 'a key twice'],
    ['text that is no UTF-8', header(0x81, 0xa1, 0x61, 0xa1, 0xff), 'not UTF-8'],
    ['no finite number', Buffer.from(encode({ a: Number.NaN })), 'not finite'],
    ['4,294,967,295 elements announced', header(0x81, 0xa1, 0x61, 0xdd, 255, 255, 255, 255), 'not valid'],
    ['4,294,967,295 bytes announced', header(0x81, 0xa1, 0x61, 0xdb, 255, 255, 255, 255), 'not valid'],
    ['deep nesting', Buffer.concat([header(0x81, 0xa1, 0x61), Buffer.alloc(200_000, 0x91)]), 'nests deeper'],
  ])('refuses %s', (_what, bytes, why) => {
    expect(() => jsonOf(bytes)).toThrow(why)
  })

  it('takes no more memory than a message has bytes, whatever it announces', () => {
    const arraysOf10000 = Buffer.concat(Array.from({ length: 80_000 }, () => header(0xdc, 0x27, 0x10)))
    const before = process.memoryUsage().rss
    expect(() => jsonOf(Buffer.concat([header(0x81, 0xa1, 0x61), arraysOf10000]))).toThrow('nests deeper')
    expect(process.memoryUsage().rss - before).toBeLessThan(50e6)
  })

  it('leaves `__proto__` a field like any other, which no schema knows', () => {
    const bytes = Buffer.concat([header(0x81, 0xa9), Buffer.from('__proto__'), Buffer.from(encode({ x: 1 }))])
    const value = JSON.parse(jsonOf(bytes)) as object
    expect(Object.keys(value)).toEqual(['__proto__'])
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  })
})
