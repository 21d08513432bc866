import { describe, expect, it } from 'vitest'
import type { Bus } from '../../src/bus/bus.ts'
import { Publisher } from '../../src/manager/publisher.ts'
import { encodeEvent } from '../../src/market/encode.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import { topicOf } from '../../src/market/topic.ts'
import { SILENT, until } from './venue-world.ts'

const event = (seq: number): EncodedEvent =>
  encodeEvent(
    topicOf('s', 'ticker', 'A/B'),
    { epoch: 1, seq, receivedTime: seq, publishedTime: seq },
    { type: 'ticker', bid: '1' },
  )

/** A bus that takes a batch when it is told to. */
function slowBus() {
  const batches: number[][] = []
  let release = (): void => {}
  const bus: Bus = {
    publish: (events) => {
      batches.push(events.map((one) => one.seq))
      return new Promise<void>((resolve) => {
        release = resolve
      })
    },
    reject: async () => {},
    subscribe: async function* () {},
    ends: async () => new Map(),
    tail: async function* () {},
    fault: () => undefined,
    close: async () => {},
  }
  return { bus, batches, release: () => release() }
}

describe('the publisher', () => {
  it('publishes the events of one turn as one batch, and what came meanwhile as the next', async () => {
    const { bus, batches, release } = slowBus()
    const publisher = new Publisher(bus, SILENT, () => {})
    publisher.publish(event(1))
    publisher.publish(event(2))
    expect(batches).toEqual([])
    await until('a batch', () => batches.length === 1)
    publisher.publish(event(3))
    publisher.publish(event(4))
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(batches).toEqual([[1, 2]])
    release()
    await until('the next', () => batches.length === 2)
    expect(batches).toEqual([
      [1, 2],
      [3, 4],
    ])
    release()
    await publisher.close()
  })

  it('slows the sources down while the bus is full, and lets them go on after', async () => {
    const { bus, batches, release } = slowBus()
    const pressure: boolean[] = []
    const publisher = new Publisher(bus, SILENT, (high) => pressure.push(high))
    publisher.publish(event(0))
    await until('a batch', () => batches.length === 1)
    for (let seq = 1; seq < 5_000; seq++) publisher.publish(event(seq))
    expect(pressure).toEqual([])
    publisher.publish(event(5_000))
    publisher.publish(event(5_001))
    expect(pressure).toEqual([true])
    release()
    await until('the rest', () => batches.length === 2)
    expect(batches[1]).toHaveLength(5_001)
    expect(pressure).toEqual([true])
    release()
    await until('relief', () => pressure.length === 2)
    expect(pressure).toEqual([true, false])
    await publisher.close()
  })

  it('offers a batch again that the bus could not take, before anything newer', async () => {
    const taken: number[][] = []
    let failures = 1
    const bus: Bus = {
      ...slowBus().bus,
      publish: async (events) => {
        if (failures-- > 0) throw new Error('broker is away')
        taken.push(events.map((one) => one.seq))
      },
    }
    const publisher = new Publisher(bus, SILENT, () => {})
    publisher.publish(event(1))
    await new Promise((resolve) => setTimeout(resolve, 50))
    publisher.publish(event(2))
    await until('both', () => taken.flat().length === 2, 3_000)
    expect(taken).toEqual([[1], [2]])
    await publisher.close()
  })

  it('hands over what is left at the end, and waits for a stuck bus half a second at most', async () => {
    const { bus, batches } = slowBus()
    const publisher = new Publisher(bus, SILENT, () => {})
    publisher.publish(event(1))
    const begun = performance.now()
    await publisher.close()
    expect(batches).toEqual([[1]])
    expect(performance.now() - begun).toBeLessThan(800)
  })
})
