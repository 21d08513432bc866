import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { BusBatch, DeadLetter } from '../../src/bus/bus.ts'
import { createEmbeddedBus } from '../../src/bus/embedded.ts'
import { Spool } from '../../src/bus/spool.ts'
import { FeedgateError } from '../../src/errors.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import { signals } from '../../src/signals.ts'
import { runRecorder } from '../../src/store/recorder.ts'
import type { Store } from '../../src/store/store.ts'
import { freshTopic, price, series, tradesOf } from '../contracts/events.ts'

const log = { info() {}, warn() {}, error() {} }

/** Only what the recorder uses of a store, with the failures that a test asks for. */
function storeWith(record: (batch: BusBatch) => Promise<void>, ready: Promise<void> = Promise.resolve()) {
  const recorded: BusBatch[] = []
  const store = {
    ready: () => ready,
    async record(batch: BusBatch) {
      await record(batch)
      recorded.push(batch)
    },
  } as Partial<Store> as Store
  return {
    store,
    recorded,
    seqs: () => recorded.flatMap((batch) => batch.events).map((event) => event.seq),
    letters: () => recorded.flatMap((batch) => batch.deadLetters),
  }
}

const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}
const refusal = () => Object.assign(new Error('numeric field overflow'), { code: '22003' })

describe('the recorder', () => {
  it('stores all that is published, in order, tells the positions after the commit, and counts', async () => {
    const bus = createEmbeddedBus()
    const { store, recorded, seqs } = storeWith(async () => {})
    const stored: EncodedEvent[] = []
    const counts = { events: 0, odds: 0, rows: 0 }
    const off = [
      signals.recorderConsumed.on(({ events, odds }) => {
        counts.events += events
        counts.odds += odds
      }),
      signals.recorderWrote.on(({ rows }) => {
        counts.rows += rows
      }),
    ]
    const stop = new AbortController()
    const positions = { stored: (events: readonly EncodedEvent[]) => void stored.push(...events) }
    const recorder = runRecorder({ bus, store, positions, log }, stop.signal)
    const trades = tradesOf(freshTopic('trades'), 500)
    for (const event of trades) await bus.publish([event])
    await bus.publish([series(freshTopic('odds'))(price('HOME', '1.85'))])
    await until(() => stored.length === 501)
    stop.abort()
    await recorder
    for (const remove of off) remove()
    expect(seqs()).toEqual([...trades.map((event) => event.seq), 1])
    expect(counts).toEqual({ events: 501, odds: 1, rows: 501 })
    expect(recorded.length).toBeLessThan(10)
  })

  it('stores an event soon after it was published', async () => {
    const bus = createEmbeddedBus()
    const { store, recorded } = storeWith(async () => {})
    const stop = new AbortController()
    const recorder = runRecorder({ bus, store, log }, stop.signal)
    const trades = tradesOf(freshTopic('trades'), 2)
    for (const event of trades) {
      const began = performance.now()
      const before = recorded.length
      await bus.publish([event])
      await until(() => recorded.length > before)
      expect(performance.now() - began).toBeLessThan(200)
    }
    stop.abort()
    await recorder
  })

  it('waits for the store to open while the bus queues', async () => {
    const bus = createEmbeddedBus()
    let open = () => {}
    const ready = new Promise<void>((resolve) => {
      open = resolve
    })
    const { store, seqs } = storeWith(async () => {}, ready)
    const stop = new AbortController()
    const recorder = runRecorder({ bus, store, log }, stop.signal)
    const trades = tradesOf(freshTopic('trades'), 100)
    for (const event of trades) await bus.publish([event])
    expect(seqs()).toEqual([])
    open()
    await until(() => seqs().length === 100)
    stop.abort()
    await recorder
  })

  it('tries again for as long as the store is away, and loses and dead-letters nothing', async () => {
    const bus = createEmbeddedBus()
    let failures = 4
    const { store, seqs, letters } = storeWith(async () => {
      if (failures-- > 0) throw Object.assign(new Error('connection lost'), { code: '08006' })
    })
    let errors = 0
    const off = signals.recorderError.on(() => {
      errors++
    })
    const stop = new AbortController()
    const recorder = runRecorder({ bus, store, log }, stop.signal)
    const trades = tradesOf(freshTopic('trades'), 10)
    await bus.publish(trades)
    await until(() => seqs().length === 10)
    stop.abort()
    await recorder
    off()
    expect([errors, letters()]).toEqual([4, []])
  })

  it('dead-letters the one event that the database refuses, and stores all the others', async () => {
    const bus = createEmbeddedBus()
    const trades = tradesOf(freshTopic('trades'), 100)
    const { store, seqs, letters } = storeWith(async ({ events }) => {
      if (events.some((event) => event.seq === 37)) throw refusal()
    })
    const stop = new AbortController()
    const recorder = runRecorder({ bus, store, log }, stop.signal)
    await bus.publish(trades)
    await until(() => seqs().length === 99 && letters().length === 1)
    stop.abort()
    await recorder
    expect(seqs()).toEqual(trades.map((event) => event.seq).filter((seq) => seq !== 37))
    expect(letters()).toMatchObject([
      { source: 'venue', channel: 'trades', reason: expect.stringContaining('numeric field overflow') },
    ])
    expect(letters()[0]!.bytes.equals(trades[36]!.bytes)).toBe(true)
  })

  it('stores where the bus goes on only with the last part of a batch that it had to divide', async () => {
    const trades = tradesOf(freshTopic('trades'), 8)
    const batch: BusBatch = {
      events: trades,
      deadLetters: [],
      offsets: new Map([['md.trade/0', { from: '7', to: '8' }]]),
    }
    const { store, recorded, letters } = storeWith(async ({ events }) => {
      if (events.some((event) => event.seq === 2)) throw refusal()
    })
    const rejected: DeadLetter[] = []
    const bus = {
      ...createEmbeddedBus(),
      reject: async (letters: readonly DeadLetter[]) => void rejected.push(...letters),
      async *subscribe() {
        yield batch
      },
    }
    await runRecorder({ bus, store, log }, new AbortController().signal)
    // A bus that has offsets keeps dead letters itself, and brings them back to be stored.
    expect(rejected).toMatchObject([{ bytes: trades[1]!.bytes }])
    expect(letters()).toEqual([])
    expect(recorded.map((part) => part.offsets?.size ?? 0).lastIndexOf(0)).toBe(recorded.length - 2)
    expect(recorded.at(-1)!.offsets).toBe(batch.offsets)
  })

  it('lets a batch go that is fenced, asks for its partitions again, and reads on', async () => {
    const [first, second] = tradesOf(freshTopic('trades'), 2)
    const asked: unknown[] = []
    const batchOf = (event: EncodedEvent): BusBatch => ({
      events: [event],
      deadLetters: [],
      offsets: new Map([['md.trade/0', { from: '7', to: '8' }]]),
      reload: () => void asked.push(event),
    })
    const { store, seqs } = storeWith(async ({ events }) => {
      if (events[0] === first) throw new FeedgateError('fenced', 'another recorder has md.trade/0 now')
    })
    const bus = {
      ...createEmbeddedBus(),
      async *subscribe() {
        yield batchOf(first!)
        yield batchOf(second!)
      },
    }
    await runRecorder({ bus, store, log }, new AbortController().signal)
    expect(asked).toEqual([first])
    expect(seqs()).toEqual([2])
  })

  it('stores what had queued before it ends', async () => {
    const bus = createEmbeddedBus()
    const { store, seqs } = storeWith(() => new Promise((resolve) => setTimeout(resolve, 20)))
    const stop = new AbortController()
    const recorder = runRecorder({ bus, store, log }, stop.signal)
    const trades = tradesOf(freshTopic('trades'), 12_000)
    for (const event of trades) await bus.publish([event])
    stop.abort()
    await recorder
    expect(seqs()).toHaveLength(12_000)
  })

  it('ends within two seconds of its signal though the store never answers, and leaves in the bus what is not stored', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'feedgate-recorder-'))
    const bus = createEmbeddedBus({ spool: new Spool(folder) })
    const { store } = storeWith(() => new Promise(() => {}))
    const stop = new AbortController()
    const recorder = runRecorder({ bus, store, log }, stop.signal)
    await bus.publish(tradesOf(freshTopic('trades'), 10))
    const began = performance.now()
    stop.abort()
    await recorder
    expect(performance.now() - began).toBeLessThan(2_000)
    await bus.close()
    expect(new Spool(folder).recovered).toHaveLength(10)
  })
})
