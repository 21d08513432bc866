import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareDecimals, isDecimal, isZero, toDecimal } from '../../src/market/decimal.ts'

const digits = (min: number, max: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: min, maxLength: max })
const decimal = fc
  .tuple(fc.constantFrom('', '-'), digits(1, 25), digits(0, 25))
  .map(([sign, whole, fraction]) => `${sign}${whole}${fraction && `.${fraction}`}`)
/** At 10^-30, by another way than the code under test. */
const exact = (text: string) => {
  const [, sign, whole = '', fraction = ''] = /^(-?)(\d+)\.?(\d*)$/.exec(text)!
  return BigInt(`${sign}${whole}${fraction.padEnd(30, '0')}`)
}

describe('toDecimal', () => {
  it.each([
    ['5.1e-05', '0.000051'],
    ['5e-8', '0.00000005'],
    ['1.50E3', '1500'],
    ['1.5e0', '1.5'],
    ['12345678901234567e-10', '1234567.8901234567'],
    ['1e21', '1000000000000000000000'],
    ['-1.20e-1', '-0.120'],
    ['0e5', '0'],
    ['+1.0', '1.0'],
    ['.5', '0.5'],
    ['5.', '5'],
    ['0.10000000', '0.10000000'],
    ['9999999997.00000', '9999999997.00000'],
  ])('writes %s as %s', (text, decimal) => expect(toDecimal(text)).toBe(decimal))

  it.each([
    '',
    '.',
    '-',
    'NaN',
    'Infinity',
    '-Infinity',
    '0x10',
    '1_000',
    '1,5',
    '0.-10000',
    '1e',
    'e5',
    ' 1',
    '1 ',
  ])('takes %j for no number', (text) => expect(toDecimal(text)).toBeUndefined())

  it('refuses what would be longer than 64 characters', () => {
    for (const text of ['1e100', '1e-100', '1e99999', '1'.repeat(65), `0.${'1'.repeat(70)}`, '1e999999999'])
      expect(toDecimal(text)).toBeUndefined()
  })

  it('writes JavaScript numbers out', () => {
    expect([5.1e-5, 1e21, -0.5, 100].map(toDecimal)).toEqual([
      '0.000051',
      '1000000000000000000000',
      '-0.5',
      '100',
    ])
    expect([Number.NaN, Number.POSITIVE_INFINITY].map(toDecimal)).toEqual([undefined, undefined])
  })

  it('leaves every decimal as it is, and makes decimals of everything else it takes', () => {
    fc.assert(
      fc.property(decimal, (text) => {
        expect(toDecimal(text)).toBe(text)
      }),
    )
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.double().map(String), fc.stringMatching(/^[-+.\deE]{1,12}$/)),
        (text) => {
          const made = toDecimal(text)
          if (made === undefined) return
          expect(isDecimal(made)).toBe(true)
          expect(Number(made)).toBe(Number(text) || Number(made))
        },
      ),
    )
  })
})

it('compares exactly at any length and scale', () => {
  fc.assert(
    fc.property(decimal, decimal, (a, b) => {
      const expected = exact(a) < exact(b) ? -1 : exact(a) > exact(b) ? 1 : 0
      expect(Math.sign(compareDecimals(a, b))).toBe(expected)
    }),
  )
  expect(compareDecimals('1.0', '1.000')).toBe(0)
  expect(compareDecimals('-0', '0.0')).toBe(0)
  expect(compareDecimals('9007199254740993', '9007199254740992.9')).toBe(1)
  expect(compareDecimals('10.5', '9.75')).toBe(1)
})

it('knows zero in all its spellings', () => {
  expect(['0', '0.00000000', '-0', '000'].every(isZero)).toBe(true)
  expect(['0.00000001', '1', '10', '-5.0'].some(isZero)).toBe(false)
})
