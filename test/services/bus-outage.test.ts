import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, it } from 'vitest'
import type { Bus } from '../../src/bus/bus.ts'
import { createKafkaBus, type KafkaBusOptions } from '../../src/bus/kafka.ts'
import type { Log } from '../../src/gateway/gateway.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import { topicOf } from '../../src/market/topic.ts'
import { runRecorder } from '../../src/store/recorder.ts'
import { freshTopic, positionOf, START, tradesOf } from '../contracts/events.ts'
import { withEngines } from './engines.ts'
import { MemoryStore } from './memory-store.ts'

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} }
const WRITER = join(import.meta.dirname, 'kafka/writer.mjs')
const aWhile = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const untilTrue = async (condition: () => boolean) => {
  while (!condition()) await aWhile(20)
}

/** A broker that comes back on a busy machine takes its time. */
const PATIENCE_MS = 150_000
const answered = async <T>(ask: () => Promise<T>): Promise<T> => {
  for (;;) {
    const answer = await ask().catch(() => undefined)
    if (answer) return answer
  }
}

await withEngines(['kafka'], ({ kafka }) => {
  const brokers = kafka.url.split(',')
  const freshPrefix = () => `${randomBytes(4).toString('hex')}.`
  const freshFolder = () => mkdtempSync(join(tmpdir(), 'feedgate-bus-'))
  const open = (options: Partial<KafkaBusOptions> = {}) =>
    createKafkaBus({
      brokers,
      clientId: 'feedgate-test',
      topicPrefix: freshPrefix(),
      log: SILENT,
      ...options,
    })

  /** Stores all that is published, from the oldest on, until the signal ends. */
  function record(bus: Bus, signal: AbortSignal): { memory: MemoryStore; done: Promise<void> } {
    const memory = new MemoryStore()
    return { memory, done: runRecorder({ bus, store: memory.store, log: SILENT }, signal) }
  }

  it.runIf(kafka.own)(
    'loses and doubles nothing when the broker is killed under load and comes back',
    async () => {
      const bus = open({ dataDir: freshFolder(), partitions: 2 })
      const stop = new AbortController()
      const { memory, done } = record(bus, stop.signal)
      const committed: EncodedEvent[] = []
      const reading = (async () => {
        for await (const { events } of bus.subscribe('live', new AbortController().signal))
          committed.push(...events)
      })()
      const topics = Array.from({ length: 4 }, () => tradesOf(freshTopic('trades'), 6_000))
      let faults = 0
      const writing = (async () => {
        for (let i = 0; i < 6_000; i += 5) {
          await bus.publish(topics.flatMap((events) => events.slice(i, i + 5)))
          if (bus.fault()) faults++
          await aWhile(8)
        }
      })()
      await untilTrue(() => memory.rows.length > 2_000)
      await kafka.kill()
      await aWhile(4_000)
      expect(bus.fault()).toMatch(/^Kafka /)
      await kafka.restart()
      await writing
      expect(faults).toBeGreaterThan(0)
      await untilTrue(
        () => memory.rows.length >= 24_000 && new Set(committed.map(positionOf)).size === 24_000,
      )
      await aWhile(1_000)
      expect(bus.fault()).toBeUndefined()
      for (const events of topics)
        expect(memory.rows.filter((e) => e.topic === events[0]!.topic).map((e) => e.seq)).toEqual(
          events.map((e) => e.seq),
        )
      stop.abort()
      await done
      await bus.close()
      await reading
    },
    PATIENCE_MS,
  )

  it.runIf(kafka.own)(
    'keeps on disk what comes while the broker is away, and the next process sends it first',
    async () => {
      const [topicPrefix, dataDir] = [freshPrefix(), freshFolder()]
      const writer = spawn(process.execPath, [WRITER, kafka.url, topicPrefix, dataDir])
      let published = 0
      createInterface({ input: writer.stdout }).on('line', (line) => (published = Number(line)))
      const reader = open({ topicPrefix })
      const stop = new AbortController()
      const before = record(reader, stop.signal)
      await untilTrue(() => before.memory.rows.length > 500)
      await kafka.kill()
      const atKill = published
      await untilTrue(() => published > atKill + 1_000)
      expect(readdirSync(join(dataDir, 'spill'))).not.toHaveLength(0)
      const last = published
      writer.kill('SIGKILL')
      await once(writer, 'exit')
      stop.abort()
      await before.done
      await reader.close()
      await kafka.restart()
      const bus = open({ topicPrefix, dataDir })
      const topic = topicOf('venue', 'trades', 'BTC/USDT')
      const later = tradesOf(topic, 100, START + 1)
      await bus.publish(later)
      const ends = await answered(() => bus.ends())
      expect(readdirSync(join(dataDir, 'spill')).length).toBeLessThanOrEqual(1)
      const again = new AbortController()
      const after = record(bus, again.signal)
      const all = after.memory.rows
      await untilTrue(() => all.some((e) => e.epoch === START + 1 && e.seq === 100))
      const firsts = [...new Map(all.map((e) => [positionOf(e), e])).values()]
      const earlier = firsts.filter((e) => e.epoch === START).map((e) => e.seq)
      expect(earlier).toEqual(earlier.map((_, i) => i + 1))
      expect(earlier.length).toBeGreaterThanOrEqual(last)
      expect(firsts.slice(earlier.length).map((e) => e.seq)).toEqual(later.map((e) => e.seq))
      // What the dead process left counts as published before anybody takes its place.
      expect(Number(ends.get(`${topicPrefix}md.trade/0`))).toBeGreaterThanOrEqual(last)
      again.abort()
      await after.done
      await bus.close()
    },
    PATIENCE_MS,
  )

  it.runIf(kafka.own)(
    'says within seconds where its topics end, or that it cannot, while the broker is away',
    async () => {
      const bus = open()
      await answered(() => bus.ends())
      await kafka.kill()
      const began = performance.now()
      await expect(bus.ends()).rejects.toMatchObject({ code: 'bus-unavailable' })
      expect(performance.now() - began).toBeLessThan(15_000)
      await bus.close()
      await kafka.restart()
    },
    PATIENCE_MS,
  )
})
