import { describe, expect, it } from 'vitest'
import { createEmbeddedBus } from '../../src/bus/embedded.ts'
import { collect, describeBus } from '../contracts/bus.ts'
import { freshTopic, tradesOf } from '../contracts/events.ts'

describeBus('embedded', async () => createEmbeddedBus())

const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('the embedded bus', () => {
  it('makes publishers wait while one group is full, and loses nothing and no order', async () => {
    const bus = createEmbeddedBus({ maxEvents: 10 })
    const stop = new AbortController()
    const slow = bus.subscribe('slow', stop.signal)[Symbol.asyncIterator]()
    const quick = collect(bus.subscribe('quick', stop.signal), 30)
    const events = tradesOf(freshTopic('trades'), 30)
    let published = 0
    const publishing = events.map((event) => bus.publish([event]).then(() => published++))
    await turn()
    expect(published).toBe(10)
    const seen: number[] = []
    while (seen.length < 30)
      seen.push(...(await slow.next()).value!.events.map((e: { seq: number }) => e.seq))
    await Promise.all(publishing)
    expect(seen).toEqual(events.map((e) => e.seq))
    expect((await quick).map((e) => e.seq)).toEqual(seen)
  })

  it('counts a batch as taken only when the next one is asked for', async () => {
    const bus = createEmbeddedBus({ maxEvents: 1 })
    const reader = bus.subscribe('group', new AbortController().signal)[Symbol.asyncIterator]()
    const [first, second] = tradesOf(freshTopic('trades'), 2)
    await bus.publish([first!])
    await reader.next()
    let done = false
    const publishing = bus.publish([second!]).then(() => (done = true))
    await turn()
    expect(done).toBe(false)
    await Promise.all([reader.next(), publishing])
    expect(done).toBe(true)
  })

  it('is full by bytes as well', async () => {
    const bus = createEmbeddedBus({ maxBytes: 100 })
    bus.subscribe('group', new AbortController().signal)
    const [first, second] = tradesOf(freshTopic('trades'), 2)
    await bus.publish([first!])
    let done = false
    void bus.publish([second!]).then(
      () => (done = true),
      () => undefined,
    )
    await turn()
    expect(done).toBe(false)
    await bus.close()
  })

  it('bounds a batch, however much has queued', async () => {
    const bus = createEmbeddedBus()
    const reader = bus.subscribe('group', new AbortController().signal)[Symbol.asyncIterator]()
    for (const event of tradesOf(freshTopic('trades'), 12_000)) await bus.publish([event])
    expect((await reader.next()).value!.events).toHaveLength(5_000)
  })

  it('hands out what had queued when the signal ends, and frees publishers that waited for that group', async () => {
    const bus = createEmbeddedBus({ maxEvents: 2 })
    const stop = new AbortController()
    const batches = bus.subscribe('group', stop.signal)
    const events = tradesOf(freshTopic('trades'), 3)
    await bus.publish(events.slice(0, 2))
    const waiting = bus.publish(events.slice(2))
    stop.abort()
    await waiting
    expect((await collect(batches, 100)).map((e) => e.seq)).toEqual([1, 2])
  })

  it('gives an idle group an event within the same turn of the loop', async () => {
    const bus = createEmbeddedBus()
    const reader = bus.subscribe('group', new AbortController().signal)[Symbol.asyncIterator]()
    let got = false
    void reader.next().then(() => (got = true))
    await turn()
    void bus.publish(tradesOf(freshTopic('trades'), 1))
    for (let i = 0; i < 10; i++) await Promise.resolve()
    expect(got).toBe(true)
  })

  it('refuses a second reader of a group, and lets one in after the first has left', async () => {
    const bus = createEmbeddedBus()
    const stop = new AbortController()
    bus.subscribe('group', stop.signal)
    expect(() => bus.subscribe('group', stop.signal)).toThrow(/reader already/)
    stop.abort()
    const again = collect(bus.subscribe('group', new AbortController().signal), 1)
    await bus.publish(tradesOf(freshTopic('trades'), 1))
    expect(await again).toHaveLength(1)
  })
})
