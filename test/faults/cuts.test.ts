import { describe, expect, it } from 'vitest'
import { FaultRun, pause, SOURCE, VENUE_IDS } from './run.ts'

const CUTS = 100
/** Of all symbols. */
function tally(run: FaultRun) {
  run.take()
  const watches = [...run.trades.values()]
  const sum = (count: (watch: (typeof watches)[number]) => number) =>
    watches.reduce((total, watch) => total + count(watch), 0)
  return {
    made: sum(({ made }) => made),
    doubled: sum(({ doubled }) => doubled.length),
    missing: sum(({ missing }) => missing.length),
    untold: sum(({ untold }) => untold.length),
    holes: sum(({ holes }) => holes.length),
    repaired: sum(({ holes }) => holes.filter((hole) => hole.repaired).length),
  }
}

function isReplaced(run: FaultRun, before: readonly number[]): boolean {
  const { connections } = run.exchange
  return (
    run.isConnected &&
    connections.length === before.length &&
    connections.every(({ id }) => !before.includes(id))
  )
}

describe.concurrent.each(VENUE_IDS)(`${CUTS} cuts of %s`, (venue) => {
  it('lose and double nothing when a new connection is made before the old one is broken', async () => {
    const run = await FaultRun.start({ venue, seed: 2, pace: 'brisk', timeScale: 4 })
    try {
      await run.live()
      for (let cut = 0; cut < CUTS; cut++) {
        const before = run.exchange.connections.map(({ id }) => id)
        const announces = venue !== 'coinbase' && venue !== 'bybit'
        if (cut % 2 === 0 || !announces) await run.upstream.manager.rotate({ exchangeId: SOURCE })
        else run.inject({ fault: 'shutdown', count: before.length })
        for (let waited = 0; !isReplaced(run, before); waited++) {
          if (waited > 3_000) throw new Error(`cut ${cut}: the old connections are still there`)
          run.burst(2)
          await pause(2)
        }
      }
      await run.settled()
      const { made, ...all } = tally(run)
      console.log(
        `${venue}: ${CUTS} replaced connections, ${made} trades, ${all.missing} lost, ${all.doubled} doubled`,
      )
      expect(all).toEqual({ doubled: 0, missing: 0, untold: 0, holes: 0, repaired: 0 })
      expect(run.faultless()).toEqual([])
      expect(run.states()).toEqual([])
      for (const symbol of run.symbols) expect(run.seen(symbol)).toEqual([])
    } finally {
      await run.stop()
    }
  }, 60_000)

  it('lose, when they are hard, what lies in holes that are told, and double nothing', async () => {
    const run = await FaultRun.start({ venue, seed: 3 })
    try {
      await run.live()
      for (let cut = 0; cut < CUTS; cut++) {
        const before = run.exchange.connections.map(({ id }) => id)
        run.inject({
          fault: cut % 2 === 0 ? 'hard-cut' : 'cut',
          count: run.exchange.connections.length,
        })
        run.burst(16)
        await run.until('connected again', () => isReplaced(run, before))
        await run.live()
      }
      await run.settled()
      const { made, ...all } = tally(run)
      console.log(
        `${venue}: ${CUTS} hard cuts, ${made} trades, ${all.holes} holes, ${all.repaired} repaired, ${all.missing} lost in the others, ${all.doubled} doubled`,
      )
      expect(all.doubled).toBe(0)
      expect(all.untold).toBe(0)
      expect(run.faultless()).toEqual([])
    } finally {
      await run.stop()
    }
  }, 60_000)
})
