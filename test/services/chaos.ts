import { setTimeout as sleep } from 'node:timers/promises'
import { Random } from '../../src/connectors/simulator/random.ts'

/** What may be killed: an engine or a node of a cluster. */
export interface Victim {
  readonly name: string
  /** kill -9. */
  kill(): Promise<void>
  restart(): Promise<void>
}

export interface ChaosSettings {
  /** Decides who is killed, in which order, and all times between. */
  readonly seed: number
  readonly victims: readonly Victim[]
  readonly kills: number
  /** From a blow to the next. */
  readonly calmMs: readonly [least: number, most: number]
  /** From a kill to the restart. */
  readonly downMs: readonly [least: number, most: number]
  /** As many may be down at the same time. */
  readonly together: number
}

interface Blow {
  readonly victim: Victim
  readonly calmMs: number
  readonly downMs: number
}

/** Kills in rounds, in each of which every victim falls once: so that few kills reach all of them. */
export function planBlows({ seed, victims, kills, calmMs, downMs }: ChaosSettings): Blow[] {
  const random = new Random(`chaos|${seed}`)
  const between = ([least, most]: readonly [number, number]) =>
    Math.round(least + random.unit() * (most - least))
  const blows: Blow[] = []
  let round: Victim[] = []
  while (blows.length < kills) {
    if (round.length === 0) round = [...victims]
    const [victim] = round.splice(Math.floor(random.unit() * round.length), 1)
    blows.push({ victim: victim!, calmMs: between(calmMs), downMs: between(downMs) })
  }
  return blows
}

export interface BlowReport {
  readonly victim: string
  /** Epoch ms, as in the nodes' logs. */
  readonly time: number
  /** Since the beginning. */
  readonly atMs: number
  /** From the kill until it could be used again. */
  readonly awayMs: number
}

/** Deals the blows; resolves when the last victim is back. Rejects when one does not come back. */
export async function dealBlows(settings: ChaosSettings): Promise<BlowReport[]> {
  const began = performance.now()
  const reports: BlowReport[] = []
  const down = new Map<Victim, Promise<void>>()

  async function blow({ victim, downMs }: Blow): Promise<void> {
    const [time, killed] = [Date.now(), performance.now()]
    await victim.kill()
    await sleep(downMs)
    await victim.restart()
    const awayMs = Math.round(performance.now() - killed)
    reports.push({ victim: victim.name, time, atMs: Math.round(killed - began), awayMs })
    down.delete(victim)
  }

  for (const next of planBlows(settings)) {
    await sleep(next.calmMs)
    while (down.size >= settings.together) await Promise.race(down.values())
    await down.get(next.victim)
    const back = blow(next)
    // Awaited later: until then its failure is nobody's.
    back.catch(() => undefined)
    down.set(next.victim, back)
  }
  await Promise.all(down.values())
  return reports.sort((a, b) => a.atMs - b.atMs)
}
