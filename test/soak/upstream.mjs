// The upstream half of a gateway, for as long as it is wanted: manager, bus, positions and a reader of the bus that keeps
// nothing. Run with --expose-gc.
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createEmbeddedBus } from '../../dist/bus/embedded.js'
import { now } from '../../dist/clock.js'
import { loadConnectors } from '../../dist/connectors/registry.js'
import { createManager } from '../../dist/manager/create-manager.js'
import { openDesiredState } from '../../dist/manager/desired-state.js'
import { createMemoryLeases } from '../../dist/manager/leases.js'
import { PATIENCE } from '../../dist/manager/patience.js'
import { openPositions } from '../../dist/manager/positions-file.js'
import { createVault } from '../../dist/vault.js'

const folder = process.argv[2] ?? mkdtempSync(join(tmpdir(), 'feedgate-soak-'))
const bus = createEmbeddedBus()
const positions = openPositions(join(folder, 'positions'))
const counts = { events: 0, gaps: 0, backfilled: 0, deadLetters: 0 }
let manager

async function read() {
  for await (const { events, deadLetters } of bus.subscribe('soak', new AbortController().signal)) {
    positions.stored(events)
    counts.events += events.length
    counts.deadLetters += deadLetters.length
    for (const { type } of events) if (type === 'gap') counts.gaps++
  }
}

const ACTS = {
  start: async ({ sources, patience }) => {
    manager = createManager({
      connectors: await loadConnectors(),
      bus,
      sources,
      desired: openDesiredState(join(folder, 'sources.json')),
      positions,
      leases: createMemoryLeases(now),
      vault: createVault('a key of the tests, long enough for one'),
      log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
      patience: { ...PATIENCE, ...patience },
    })
    void read()
    await manager.start()
  },
  rotate: async ({ source }) => {
    await manager.rotate({ exchangeId: source })
  },
  /** What is not live, and why. */
  notLive: () =>
    manager
      .status()
      .flatMap(({ id, topics }) =>
        topics
          .filter(({ state }) => state !== 'live')
          .map(({ channel, symbol, state, reason }) => `${id} ${channel} ${symbol}: ${state} (${reason})`),
      ),
  /** Memory after garbage collection, bytes, and what the process holds open, by name. */
  sample: async () => {
    // What one collection finds unreachable, finalizers and weak references may release for the next.
    for (let turn = 0; turn < 3; turn++) {
      globalThis.gc()
      await delay(20)
    }
    const { heapUsed, rss, external } = process.memoryUsage()
    const open = {}
    for (const name of process.getActiveResourcesInfo()) open[name] = (open[name] ?? 0) + 1
    const { user, system } = process.cpuUsage()
    return { heapUsed, rss, external, open, cpuSeconds: (user + system) / 1e6, ...counts }
  },
}

process.on('message', async ({ id, act, ...asked }) => {
  try {
    process.send({ id, answer: await ACTS[act](asked) })
  } catch (error) {
    process.send({ id, error: error.message })
  }
})
process.on('disconnect', () => process.exit())
