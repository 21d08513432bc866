import { mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { Bus } from '../../src/bus/bus.ts'
import { createKafkaBus, type KafkaBusOptions } from '../../src/bus/kafka.ts'
import { freshTopic, tradesOf } from '../contracts/events.ts'

const folder = () => mkdtempSync(join(tmpdir(), 'feedgate-kafka-'))
const aWhile = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const SILENT = { debug() {}, info() {}, warn() {}, error() {} }

describe('the Kafka bus while no broker answers', () => {
  let bus: Bus
  afterEach(() => bus.close())
  /** Nobody listens on port 1. */
  const open = (options: Partial<KafkaBusOptions> = {}) => {
    bus = createKafkaBus({ brokers: ['127.0.0.1:1'], clientId: 'test', log: SILENT, ...options })
    return bus
  }

  it('takes events, and has them on disk soon after', async () => {
    const dataDir = folder()
    await open({ dataDir }).publish(tradesOf(freshTopic('trades'), 100))
    await aWhile(600)
    expect(readdirSync(join(dataDir, 'spill'))).toHaveLength(1)
  })

  it('makes publishers wait, in their order, when memory and disk are full', async () => {
    const dataDir = folder()
    open({ dataDir, memoryEvents: 10, spillBytes: 10_000 })
    const events = tradesOf(freshTopic('trades'), 200)
    let taken = 0
    const publishing = events.map((event) => bus.publish([event]).then(() => taken++))
    await aWhile(600)
    expect(taken).toBeGreaterThan(10)
    expect(taken).toBeLessThan(100)
    const refused = Promise.allSettled(publishing)
    await bus.close()
    expect((await refused).filter(({ status }) => status === 'rejected')).toHaveLength(200 - taken)
  })

  it('makes publishers wait when memory is full and there is no disk', async () => {
    open({ memoryEvents: 10 })
    let taken = 0
    for (const event of tradesOf(freshTopic('trades'), 20))
      bus.publish([event]).then(
        () => taken++,
        () => undefined,
      )
    await aWhile(400)
    expect(taken).toBe(10)
  })

  it('says what is wrong, and that it does not know where its topics end', async () => {
    open()
    expect(bus.fault()).toBeUndefined()
    const asked = bus.ends()
    asked.catch(() => undefined)
    await aWhile(2_200)
    expect(bus.fault()).toMatch(/^Kafka cannot be used: .*ECONNREFUSED/)
    await expect(asked).rejects.toMatchObject({ code: 'bus-unavailable' })
  })

  it('never waits with dead letters', async () => {
    open({ memoryEvents: 1 })
    const letter = { source: 'venue', receivedTime: 1, reason: 'no JSON', bytes: Buffer.from('x') }
    for (let i = 0; i < 3_000; i++) await bus.reject([letter])
  })

  it('leaves on disk, when it is closed, what nobody took', async () => {
    const dataDir = folder()
    await open({ dataDir }).publish(tradesOf(freshTopic('trades'), 5))
    await bus.close()
    expect(readdirSync(join(dataDir, 'spill'))).toHaveLength(1)
  })
})
