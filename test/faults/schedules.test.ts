import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { carriedOut, schedules } from './schedule.ts'

/** More on request: FAULT_SCHEDULES=10000. A failure is repeated with FAULT_SEED. */
const SCHEDULES = Number(process.env.FAULT_SCHEDULES ?? 1_000)
const SEED = Number(process.env.FAULT_SEED ?? Math.floor(Math.random() * 2 ** 31))
/** At once: each mostly waits for its sockets and timers. */
const AT_ONCE = 24

describe(`${SCHEDULES} schedules of faults, cuts and rotations at any native venue (FAULT_SEED=${SEED})`, () => {
  it('end with the books of the venue, every trade once or in a hole that was told, and no wrong book at any time', async () => {
    const all = fc.sample(schedules, { numRuns: SCHEDULES, seed: SEED })
    const failed: string[] = []
    let next = 0
    const worker = async () => {
      for (let at = next++; at < all.length && failed.length < 3; at = next++) {
        const wrong = await carriedOut(all[at]!).catch((error: Error) => [error.message])
        if (wrong.length > 0) failed.push(`schedule ${at}: ${JSON.stringify(all[at])}: ${wrong.join('; ')}`)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    expect(failed).toEqual([])
  }, 3_600_000)
})
