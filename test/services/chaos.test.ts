import { expect, it } from 'vitest'
import { dealBlows, planBlows, type Victim } from './chaos.ts'

function victims(...names: string[]): (Victim & { up: boolean })[] {
  return names.map((name) => ({
    name,
    up: true as boolean,
    async kill() {
      expect(this.up).toBe(true)
      this.up = false
    },
    async restart() {
      this.up = true
    },
  }))
}

const SETTINGS = { kills: 10, calmMs: [1, 5], downMs: [1, 20], together: 2 } as const

it('plans the same blows from the same seed, others from another, and reaches everyone', () => {
  const all = victims('a', 'b', 'c')
  const plan = (seed: number) =>
    planBlows({ ...SETTINGS, seed, victims: all }).map(({ victim, ...times }) => ({
      ...times,
      name: victim.name,
    }))
  expect(plan(1)).toEqual(plan(1))
  expect(plan(1)).not.toEqual(plan(2))
  expect(
    new Set(
      plan(7)
        .slice(0, 3)
        .map(({ name }) => name),
    ).size,
  ).toBe(3)
})

it('deals every blow, never to one that is down, and leaves everyone up', async () => {
  const all = victims('a', 'b', 'c')
  const reports = await dealBlows({ ...SETTINGS, seed: 3, victims: all })
  expect(reports).toHaveLength(10)
  expect(all.every(({ up }) => up)).toBe(true)
})

it('fails when a victim does not come back', async () => {
  const [gone] = victims('gone')
  gone!.restart = () => Promise.reject(new Error('gone for good'))
  await expect(dealBlows({ ...SETTINGS, seed: 3, victims: [gone!] })).rejects.toThrow('gone for good')
})
