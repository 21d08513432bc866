import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createEmbeddedBus } from '../../src/bus/embedded.ts'
import { now } from '../../src/clock.ts'
import { loadConnectors } from '../../src/connectors/registry.ts'
import { createManager, type OwningManager } from '../../src/manager/create-manager.ts'
import { createStoredDesiredState } from '../../src/manager/desired-store.ts'
import { createPostgresLeases } from '../../src/manager/leases-postgres.ts'
import type { Manager, SourceSpec } from '../../src/manager/manager.ts'
import { serveNodes } from '../../src/manager/nodes.ts'
import { createStorePositions } from '../../src/manager/positions-store.ts'
import { createRemoteManager } from '../../src/manager/remote.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import { createPgliteStore } from '../../src/store/pglite.ts'
import type { Store } from '../../src/store/store.ts'
import { createVault } from '../../src/vault.ts'
import { noVia, SILENT, until } from './venue-world.ts'

const TICKER: SourceSpec = {
  id: 'sim',
  kind: 'simulator',
  rate: 50,
  subscriptions: [{ channel: 'ticker', symbols: ['BTC/USDT'] }],
}

let folder: string
let store: Store

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'feedgate-nodes-'))
  const template = process.env.FEEDGATE_TEST_DATABASE
  if (template) cpSync(template, join(folder, 'pglite'), { recursive: true })
  store = createPgliteStore({ dataDir: folder })
  await store.ready()
}, 60_000)
afterAll(async () => {
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

interface Node {
  readonly manager: OwningManager
  readonly events: EncodedEvent[]
  stop(): Promise<void>
  /** As kill -9 does: nothing is said, the lease is not renewed. */
  die(): Promise<void>
}

/** One ingest node; its events are recorded, as a recorder on another node would. */
async function startNode(name: string, sources: readonly SourceSpec[]): Promise<Node> {
  const bus = createEmbeddedBus()
  const events: EncodedEvent[] = []
  const stop = new AbortController()
  const leases = createPostgresLeases(store.sql, name, SILENT)
  const manager = createManager({
    connectors: await loadConnectors(),
    bus,
    sources,
    desired: createStoredDesiredState(store.sql),
    positions: createStorePositions(store, async () => new Map()),
    leases,
    vault: createVault('a key of the tests, long enough for one'),
    via: noVia,
    log: SILENT,
  })
  const read = async () => {
    for await (const { events: batch } of bus.subscribe('test', stop.signal)) {
      events.push(...batch)
      await store.record({ events: batch, deadLetters: [] })
    }
  }
  const running = [read(), serveNodes({ manager, sql: store.sql, node: name, log: SILENT }, stop.signal)]
  await manager.start()
  const end = async () => {
    stop.abort()
    await Promise.all(running)
    await bus.close()
  }
  return {
    manager,
    events,
    stop: async () => {
      await manager.close()
      await end()
    },
    die: async () => {
      await store.sql.query(`update source_leases set owner = 'the dead' where owner = $1`, [name])
      await manager.close()
      await end()
    },
  }
}

describe('nodes that share a database', () => {
  let nodes: Node[]
  let remote: Manager

  beforeEach(async () => {
    nodes = []
    remote = createRemoteManager(store.sql, SILENT)
    await remote.start()
  })
  afterEach(async () => {
    await remote.close()
    for (const node of nodes) await node.stop()
    for (const table of ['sources', 'source_leases', 'source_status', 'source_commands'])
      await store.sql.query(`delete from ${table}`)
  })
  const add = async (name: string, sources: readonly SourceSpec[] = []) => {
    const node = await startNode(name, sources)
    nodes.push(node)
    return node
  }

  it('run each source on one of them', async () => {
    const [a, b] = [await add('a', [TICKER]), await add('b', [TICKER])]
    await until('a source that runs', () => a.events.length + b.events.length > 20)
    expect([a.manager.status().length, b.manager.status().length].sort()).toEqual([0, 1])
  })

  it('take over the source of a node that died, within 10 s, in a new epoch that names the last stored event', async () => {
    const source = { ...TICKER, id: 'taken' }
    const a = await add('a', [source])
    await until('events of a', () => a.events.length > 20)
    const b = await add('b', [source])
    await a.die()
    nodes.splice(nodes.indexOf(a), 1)
    const died = performance.now()
    await until('events of b', () => b.events.length > 5, 12_000)
    expect(performance.now() - died).toBeLessThan(10_000)
    const topic = 'taken|ticker|BTC/USDT'
    const last = a.events.filter((event) => event.topic.id === topic).at(-1)!
    const ofB = b.events.filter((event) => event.topic.id === topic)
    const first = JSON.parse(ofB[0]!.bytes.toString())
    expect(first).toMatchObject({ type: 'gap', seq: 1, prevEpoch: last.epoch, prevSeq: last.seq })
    expect(first.epoch).toBeGreaterThan(last.epoch)
    expect(first.receivedTime).toBeGreaterThan(last.receivedTime)
  }, 30_000)

  it('give a source back at once to a node that comes again under its name', async () => {
    const source = { ...TICKER, id: 'again' }
    const a = await add('a', [source])
    await until('events of a', () => a.events.length > 5)
    await a.stop()
    nodes.splice(nodes.indexOf(a), 1)
    const again = await add('a', [source])
    await until('events again', () => again.events.length > 5, 2_000)
    expect(again.events[0]!.epoch).toBeGreaterThan(a.events[0]!.epoch)
  })

  it('can be asked for anything from a node that runs no source', async () => {
    const a = await add('a')
    const answer = await remote.subscribe({
      exchangeId: 'far',
      kind: 'simulator',
      channel: 'ticker',
      symbol: 'ETH/USDT',
    })
    expect(answer).toMatchObject({ created: true, status: { id: 'far', kind: 'simulator' } })
    await until('events', () => a.events.some((event) => event.topic.id === 'far|ticker|ETH/USDT'))
    await until('a report', () => remote.status('far')?.state === 'connected')
    expect([...remote.topics()].map((topic) => topic.id).sort()).toEqual([
      'far|source|far',
      'far|ticker|ETH/USDT',
    ])
    expect(remote.licence('far')).toBe('open')
    expect((await remote.connect({ exchangeId: 'far' })).created).toBe(false)
    await expect(
      remote.subscribe({ exchangeId: 'far', channel: 'ticker', symbol: 'NO' }),
    ).rejects.toMatchObject({ code: 'unknown-symbol' })
    await remote.disconnect({ exchangeId: 'far' })
    await until('no report', () => remote.status('far') === undefined)
    await expect(remote.disconnect({ exchangeId: 'far' })).rejects.toMatchObject({ code: 'unknown-source' })
  })

  it('go on with what admins added on another node after that has ended', async () => {
    const a = await add('a')
    await remote.subscribe({ exchangeId: 'kept', kind: 'simulator', channel: 'ticker', symbol: 'ETH/USDT' })
    await a.stop()
    nodes.splice(nodes.indexOf(a), 1)
    const b = await add('b')
    await until('events', () => b.events.some((event) => event.topic.id === 'kept|ticker|ETH/USDT'), 4_000)
  })

  it('says that no ingest node answers, when none does', async () => {
    const impatient = createRemoteManager(store.sql, SILENT, 500)
    await expect(impatient.connect({ exchangeId: 'sim', kind: 'simulator' })).rejects.toMatchObject({
      code: 'not-ready',
    })
  })

  it('stops a source at once when another node has its lease', async () => {
    const source = { ...TICKER, id: 'stolen' }
    const a = await add('a', [source])
    await until('events of a', () => a.events.length > 5)
    await store.sql.query(
      `update source_leases set owner = 'b', token = token + 1, expires_at = now() + interval '1 minute'`,
    )
    await until('nothing runs', () => a.manager.status().length === 0, 3_000)
    const stopped = now()
    await new Promise((resolve) => setTimeout(resolve, 300))
    // What was published before may be read later.
    const last = JSON.parse(a.events.at(-1)!.bytes.toString()) as { publishedTime: number }
    expect(last.publishedTime).toBeLessThanOrEqual(stopped)
  })
})
