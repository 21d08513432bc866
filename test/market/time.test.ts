import fc from 'fast-check'
import { expect, it } from 'vitest'
import { timeframeMinutes } from '../../src/market/symbol.ts'
import { epochMicros, isoMicros, secondsMicros } from '../../src/market/time.ts'

const millis = fc.integer({ min: Date.UTC(2000), max: Date.UTC(2100) - 1 })

it('reads every time of this century, to the µs', () => {
  fc.assert(
    fc.property(millis, fc.integer({ min: 0, max: 999 }), (time, micros) => {
      const expected = time * 1000 + micros
      const rest = String(micros).padStart(3, '0')
      const iso = new Date(time).toISOString()
      expect(isoMicros(iso)).toBe(time * 1000)
      expect(isoMicros(iso.replace('Z', `${rest}Z`))).toBe(expected)
      expect(isoMicros(iso.replace('Z', `${rest}999Z`))).toBe(expected)
      const seconds = `${Math.floor(time / 1000)}.${String(time % 1000).padStart(3, '0')}${rest}`
      expect(secondsMicros(seconds)).toBe(expected)
      expect(secondsMicros(`${seconds}999`)).toBe(expected)
      expect(epochMicros(String(time))).toBe(time * 1000)
      expect(epochMicros(expected)).toBe(expected)
    }),
  )
  expect(isoMicros('2021-04-17T16:43:37Z')).toBe(Date.UTC(2021, 3, 17, 16, 43, 37) * 1000)
  expect(isoMicros('2021-04-17T16:43:37.5Z')).toBe(Date.UTC(2021, 3, 17, 16, 43, 37, 500) * 1000)
  expect(secondsMicros('1618678142')).toBe(1_618_678_142_000_000)
})

it('takes absurd times for none', () => {
  for (const text of [
    '0001-01-01T00:00:00Z',
    '2286-11-20T17:46:39Z',
    '2021-13-99T00:00:00Z',
    'yesterday',
    '',
    'Z',
  ])
    expect(isoMicros(text)).toBeUndefined()
  for (const text of ['-62135596800', '99999999999.5', 'x', '1.2.3', ''])
    expect(secondsMicros(text)).toBeUndefined()
  for (const text of ['0', '-62135596800000', 'x', undefined]) expect(epochMicros(text)).toBeUndefined()
})

it('knows how long a timeframe is', () => {
  expect(['1m', '15m', '4h', '1d', '2w', '1s', '0m', 'm', '1M'].map(timeframeMinutes)).toEqual([
    ...[1, 15, 240, 1440, 20_160],
    ...[undefined, undefined, undefined, undefined],
  ])
})
