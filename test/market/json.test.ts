import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { asText, idOf, type JsonObject, parseJson, Unreadable } from '../../src/market/json.ts'

describe('parseJson', () => {
  it('reads all JSON as JSON.parse does, but for the texts of numbers', () => {
    const withTexts = (value: unknown): unknown => {
      if (typeof value === 'number') return String(value)
      if (Array.isArray(value)) return value.map(withTexts)
      if (value === null || typeof value !== 'object') return value
      return Object.entries(value).map(([name, one]) => [name, withTexts(one)])
    }
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.constantFrom('', ' ', '\n\t'), (value, space) => {
        const text = JSON.stringify(value, null, space)
        expect(withTexts(parseJson(text))).toEqual(withTexts(JSON.parse(text)))
        // One number that must keep its digits has all of it read with care.
        expect(withTexts(parseJson(`[1.50,${text}${space}]`))).toEqual(['1.50', withTexts(JSON.parse(text))])
      }),
    )
  })

  it('keeps the digits that a JavaScript number would lose', () => {
    const read = parseJson('{"a":1.50,"b":18446744073709551616,"c":5.1e-05,"d":[-0.10],"e":12}') as JsonObject
    expect([read.a, read.b, read.c, asText(read.e)]).toEqual([
      '1.50',
      '18446744073709551616',
      '5.1e-05',
      '12',
    ])
    expect(read.d).toEqual(['-0.10'])
  })

  it.each([
    '',
    '{',
    '[1.5',
    '[1.5,]',
    '{"a":1.5,}',
    '{"a" 1.5}',
    '[1.5] x',
    '[1.5,"\\x"]',
    '[1.5,"a]',
    '[1.5,nul]',
    '[1.5 2]',
  ])('calls %j unreadable', (text) => expect(() => parseJson(text)).toThrow(Unreadable))

  it('gives nobody a prototype', () => {
    for (const text of ['{"__proto__":{"polluted":true}}', '{"x":1.5,"__proto__":{"polluted":true}}']) {
      parseJson(text)
      expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    }
  })

  it('reads no deeper than anybody needs', () => {
    expect(() => parseJson(`${'['.repeat(1_000_000)}1.5`)).toThrow(Unreadable)
  })
})

it('reads ids without loss', () => {
  expect(idOf('9007199254740991', 'id')).toBe(9007199254740991)
  expect(idOf('9007199254740993', 'id')).toBe(9007199254740993n)
  for (const text of ['-1', '1.5', '', 'x', undefined]) expect(() => idOf(text, 'id')).toThrow('id is no id')
})
