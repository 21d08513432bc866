import { describe, expect, it } from 'vitest'
import { now } from '../src/clock.ts'
import { backoffMs } from '../src/manager/backoff.ts'
import { Pacer } from '../src/pacer.ts'

describe('the pacer', () => {
  it('lets as many acts through in any period as are allowed', () => {
    let time = 0
    const pacer = new Pacer(3, 1_000, () => time)
    for (let i = 0; i < 3; i++) {
      expect(pacer.waitMs()).toBe(0)
      pacer.spend()
      time += 100
    }
    expect(pacer.waitMs()).toBe(700)
    time = 1_000
    expect(pacer.waitMs()).toBe(0)
    pacer.spend()
    expect(pacer.waitMs()).toBe(100)
  })

  it('counts an act from when it is known to have arrived', () => {
    let time = 0
    const pacer = new Pacer(2, 1_000, () => time)
    const arrived = pacer.spend()
    time = 100
    pacer.spend()
    time = 400
    arrived()
    time = 1_000
    expect(pacer.waitMs()).toBe(100)
    time = 1_100
    expect(pacer.waitMs()).toBe(0)
    expect(pacer.waitMs(2)).toBe(300)
    time = 2_000
    // Forgotten meanwhile: it counts again all the same.
    arrived()
    expect(pacer.waitMs(2)).toBe(1_000)
  })

  it('counts acts by their weight, and lets one through alone that weighs more than all', () => {
    let time = 0
    const pacer = new Pacer(100, 60_000, () => time)
    pacer.spend(50)
    time = 10_000
    pacer.spend(40)
    expect(pacer.waitMs(10)).toBe(0)
    expect(pacer.waitMs(11)).toBe(50_000)
    expect(pacer.waitMs(80)).toBe(60_000)
    expect(pacer.waitMs(250)).toBe(60_000)
    time = 70_000
    expect(pacer.waitMs(250)).toBe(0)
  })
})

describe('back-off', () => {
  it('doubles up to its cap, with full jitter', () => {
    const backoff = { baseMs: 500, capMs: 30_000 }
    const most = [1, 2, 3, 7, 8, 1_000].map((attempt) => backoffMs(attempt, backoff, () => 0.999_999_9))
    expect(most).toEqual([500, 1_000, 2_000, 30_000, 30_000, 30_000])
    expect(backoffMs(5, backoff, () => 0)).toBe(0)
  })
})

describe('the clock', () => {
  it('tells µs of the wall clock and never goes back within a millisecond', () => {
    let last = now()
    for (let i = 0; i < 10_000; i++) {
      const before = Date.now()
      const time = now()
      expect(time).toBeGreaterThanOrEqual(before * 1_000)
      expect(time).toBeLessThan((Date.now() + 1) * 1_000)
      expect(time).toBeGreaterThanOrEqual(last)
      last = time
    }
  })
})
