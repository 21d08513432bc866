import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Instrument } from '../../src/connectors/connector.ts'
import { InstrumentList } from '../../src/manager/instrument-list.ts'

const HOUR = 3_600_000
const of = (symbol: string): Instrument => ({
  ...{ symbol, venueSymbol: symbol, type: 'spot', base: symbol, quote: 'USD', status: 'TRADING' },
})

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('the instruments of a venue', () => {
  it('are asked for every hour; while the venue does not answer, every five minutes, and the last list stays', async () => {
    let answer: () => Promise<readonly Instrument[]> = async () => [of('A')]
    const learned: (string | undefined)[] = []
    const list = new InstrumentList(
      () => answer(),
      (error) => learned.push(error?.message),
    )
    expect(list.lacks('B')).toBe(false)
    list.start()
    await vi.advanceTimersByTimeAsync(0)
    expect(list.items).toEqual([of('A')])
    expect([list.lacks('A'), list.lacks('B')]).toEqual([false, true])

    answer = async () => {
      throw new Error('away')
    }
    await vi.advanceTimersByTimeAsync(HOUR - 1)
    expect(learned).toEqual([undefined])
    await vi.advanceTimersByTimeAsync(1)
    expect(learned).toEqual([undefined, 'away'])
    expect(list.items).toEqual([of('A')])

    answer = async () => [of('A'), of('B')]
    await vi.advanceTimersByTimeAsync(300_000)
    expect(learned).toEqual([undefined, 'away', undefined])
    expect(list.lacks('B')).toBe(false)

    list.close()
    await vi.advanceTimersByTimeAsync(2 * HOUR)
    expect(learned).toHaveLength(3)
  })
})
