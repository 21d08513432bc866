import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DeadLetter } from '../../src/bus/bus.ts'
import { createEmbeddedBus } from '../../src/bus/embedded.ts'
import { now } from '../../src/clock.ts'
import type { Connectors, Via } from '../../src/connectors/connector.ts'
import { loadConnectors } from '../../src/connectors/registry.ts'
import type { Log } from '../../src/gateway/gateway.ts'
import { createManager, prepareConnectors } from '../../src/manager/create-manager.ts'
import { openDesiredState } from '../../src/manager/desired-state.ts'
import { createMemoryLeases } from '../../src/manager/leases.ts'
import type { Manager, SourceSpec } from '../../src/manager/manager.ts'
import type { Patience } from '../../src/manager/patience.ts'
import { openPositions } from '../../src/manager/positions-file.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import { createVault } from '../../src/vault.ts'

export const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

// biome-ignore lint/suspicious/noExplicitAny: events of every type are looked at
export type Wire = any

/** The upstream half of a gateway: real connectors, manager and bus, and a reader that keeps every event. */
export interface Upstream {
  readonly manager: Manager
  readonly events: EncodedEvent[]
  readonly letters: DeadLetter[]
  /** Events of a topic, as their bytes say. */
  of(topicId: string): Wire[]
  /** The same, as `type` or, of books, their kind. */
  shape(topicId: string): string[]
  /** Waits for an event of the topic. */
  until(what: string, holds: () => boolean, ms?: number): Promise<void>
  stop(): Promise<void>
}

let connectors: Promise<Connectors> | undefined

/** One node, which knows no other. */
export function noVia(node: string): Via {
  throw new Error(`there is no node ${node}`)
}

export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), 'feedgate-manager-'))
}

/** `dataDir`: state is kept there from one start to the next; `record`: positions are noted as a recorder does. */
export async function startUpstream(
  sources: readonly SourceSpec[],
  options: {
    readonly dataDir?: string
    readonly record?: boolean
    readonly connectors?: Connectors
    readonly log?: Log
    readonly patience?: Patience
    readonly via?: (node: string) => Via
  } = {},
): Promise<Upstream> {
  const dataDir = options.dataDir ?? temporaryFolder()
  const events: EncodedEvent[] = []
  const letters: DeadLetter[] = []
  const bus = createEmbeddedBus()
  const positions = openPositions(join(dataDir, 'positions'))
  connectors ??= loadConnectors()
  const loaded = options.connectors ?? (await connectors)
  await prepareConnectors(loaded, sources)
  const manager = createManager({
    connectors: loaded,
    bus,
    sources,
    desired: openDesiredState(join(dataDir, 'sources.json')),
    positions,
    leases: createMemoryLeases(now),
    vault: createVault('a key of the tests, long enough for one'),
    via: options.via ?? noVia,
    log: options.log ?? SILENT,
    ...(options.patience && { patience: options.patience }),
  })
  const reading = new AbortController()
  const read = async () => {
    for await (const batch of bus.subscribe('test', reading.signal)) {
      events.push(...batch.events)
      letters.push(...batch.deadLetters)
      if (options.record) positions.stored(batch.events)
    }
  }
  const reader = read()
  await manager.start()
  const of = (topicId: string) =>
    events.filter((event) => event.topic.id === topicId).map((event) => JSON.parse(event.bytes.toString()))
  return {
    manager,
    events,
    letters,
    of,
    shape: (topicId) => of(topicId).map((event) => event.kind ?? event.type),
    until: (what, holds, ms = 8_000) => until(what, holds, ms),
    stop: async () => {
      await manager.close()
      reading.abort()
      await reader
      await bus.close()
      positions.close()
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

export async function until(what: string, holds: () => boolean, ms = 8_000): Promise<void> {
  const end = Date.now() + ms
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not seen within ${ms} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
