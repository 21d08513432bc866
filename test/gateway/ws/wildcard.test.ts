import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { matchesPattern } from '../../../src/gateway/ws/wildcard.ts'

describe('a pattern', () => {
  it('matches as a regular expression with .* for each * would', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 8 })
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '/', '*', '*'), maxLength: 8 })
    fc.assert(
      fc.property(pattern, text, (one, other) => {
        expect(matchesPattern(one, other)).toBe(new RegExp(`^${one.replaceAll('*', '.*')}$`).test(other))
      }),
      { numRuns: 5_000 },
    )
  })

  it('takes the characters of regular expressions as they are', () => {
    expect(matchesPattern('A.C', 'ABC')).toBe(false)
    expect(matchesPattern('A+(*', 'A+(x')).toBe(true)
  })

  it('is never slow', () => {
    const began = performance.now()
    for (let times = 0; times < 1_000; times++) matchesPattern(`${'a*'.repeat(128)}b`, 'a'.repeat(256))
    expect(performance.now() - began).toBeLessThan(1_000)
  })
})
