import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Bus, type BusBatch, RECORDER } from '../../src/bus/bus.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import { topicOf } from '../../src/market/topic.ts'
import { book, candle, freshTopic, gap, price, START, series, status, tradesOf } from './events.ts'

/** What every bus does. `open` gives one that nobody has used. */
export function describeBus(name: string, open: () => Promise<Bus>): void {
  describe(`bus ${name}`, () => {
    let bus: Bus
    let stop: AbortController

    beforeEach(async () => {
      bus = await open()
      stop = new AbortController()
    })
    afterEach(async () => {
      stop.abort()
      await bus.close()
    })

    it('gives every group every event, in the order of its topic', async () => {
      const first = collect(bus.subscribe('first', stop.signal), 300)
      const second = collect(bus.subscribe('second', stop.signal), 300)
      const topics = [freshTopic('trades'), freshTopic('trades'), freshTopic('ticker')]
      const events = topics.map((topic) => tradesOf(topic, 100))
      for (let i = 0; i < 100; i++) await bus.publish(events.map((of) => of[i]!))
      for (const group of [await first, await second])
        for (const of of events)
          expect(group.filter((e) => e.topic === of[0]!.topic).map((e) => e.seq)).toEqual(
            of.map((e) => e.seq),
          )
    })

    it('hands on the bytes and the meaning of an event unchanged', async () => {
      const got = collect(bus.subscribe('group', stop.signal), 1)
      const [event] = tradesOf(freshTopic('trades'), 1)
      await bus.publish([event!])
      const [same] = await got
      expect(same!.bytes.equals(event!.bytes)).toBe(true)
      expect(same!.payload).toMatchObject({ type: 'trade', price: '60000.10' })
      expect([same!.topic, same!.epoch, same!.seq, same!.key]).toEqual([
        event!.topic,
        event!.epoch,
        event!.seq,
        event!.key,
      ])
    })

    it('joins what queued while a group was busy into fewer batches', async () => {
      const batches = bus.subscribe('busy', stop.signal)[Symbol.asyncIterator]()
      const events = tradesOf(freshTopic('trades'), 200)
      for (const event of events) await bus.publish([event])
      let taken = 0
      let count = 0
      for (; taken < 200; count++) taken += ((await batches.next()).value as BusBatch).events.length
      expect(count).toBeLessThan(20)
    })

    it('carries dead letters with their bytes and reason to the recorder', async () => {
      const batches = bus.subscribe(RECORDER, stop.signal)[Symbol.asyncIterator]()
      const bytes = Buffer.from([0, 255, 123])
      await bus.reject([{ source: 'venue', receivedTime: 1, reason: 'no JSON', bytes }])
      const batch = (await batches.next()).value as BusBatch
      expect(batch.deadLetters).toMatchObject([{ source: 'venue', reason: 'no JSON' }])
      expect(Buffer.from(batch.deadLetters[0]!.bytes).equals(bytes)).toBe(true)
    })

    it('keeps the order of several publishers that do not wait for each other', async () => {
      const got = collect(bus.subscribe('group', stop.signal), 3_000)
      const topics = Array.from({ length: 3 }, () => tradesOf(freshTopic('trades'), 1_000))
      await Promise.all(
        topics.flatMap((events) =>
          Array.from({ length: 100 }, (_, i) => bus.publish(events.slice(i * 10, i * 10 + 10))),
        ),
      )
      for (const events of topics)
        expect((await got).filter((e) => e.topic === events[0]!.topic).map((e) => e.seq)).toEqual(
          events.map((e) => e.seq),
        )
    })

    it('carries every channel, and a gap in the order of its topic', async () => {
      const got = collect(bus.subscribe('group', stop.signal), 8)
      const topic = freshTopic('orderbook')
      const next = series(topic)
      const events = [
        next(book('snapshot', [['1', '1']], [])),
        next(gap('orderbook')),
        next(book('snapshot', [['2', '1']], [])),
      ]
      const others = [
        series(freshTopic('ohlcv', '1m'))(candle('1m', START)),
        series(topicOf('supplier', 'odds', 'MATCH_001'))(price('home', '1.85')),
        series(topicOf('whatsapp', 'status', 'tenant/conversation'))(status('tenant', 'conversation')),
        series(freshTopic('funding'))({ type: 'funding', rate: '0.0001' }),
        series(topicOf('venue', 'source', 'venue'))({
          type: 'source',
          state: 'connected',
          reason: '',
          attempt: 0,
        }),
      ]
      await bus.publish([...events, ...others])
      const all = await got
      expect(all.filter((e) => e.topic === topic).map((e) => [e.seq, e.type])).toEqual(
        events.map((e) => [e.seq, e.type]),
      )
      for (const event of others)
        expect(all.find((e) => e.topic === event.topic)).toMatchObject({ type: event.type, key: event.key })
    })

    it('hands on the trace of an event', async () => {
      const got = collect(bus.subscribe('group', stop.signal), 1)
      const [event] = tradesOf(freshTopic('trades'), 1)
      event!.trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
      await bus.publish([event!])
      expect((await got)[0]!.trace).toBe(event!.trace)
    })

    it('says where it ends: further on when more was published, or never anything', async () => {
      const got = collect(bus.subscribe('group', stop.signal), 10)
      const before = await bus.ends()
      await bus.publish(tradesOf(freshTopic('trades'), 10))
      await got
      const after = await bus.ends()
      const moved = [...after].map(([name, end]) => Number(end) - Number(before.get(name)))
      expect(moved.reduce((sum, n) => sum + n, 0)).toBe(after.size === 0 ? 0 : 10)
    })

    it('has no fault while it carries, and one when it is closed', async () => {
      const got = collect(bus.subscribe('group', stop.signal), 1)
      await bus.publish(tradesOf(freshTopic('trades'), 1))
      await got
      expect(bus.fault()).toBeUndefined()
      await bus.close()
      expect(bus.fault()).toBe('closed')
    })

    it('ends a stream soon after its signal, and leaves the other groups alone', async () => {
      const leaving = new AbortController()
      const left = collect(bus.subscribe('leaving', leaving.signal), Number.POSITIVE_INFINITY)
      const staying = collect(bus.subscribe('staying', stop.signal), 1)
      leaving.abort()
      await left
      await bus.publish(tradesOf(freshTopic('trades'), 1))
      expect(await staying).toHaveLength(1)
    })

    it('closes twice safely, ends its streams and takes no more events', async () => {
      const all = collect(bus.subscribe('group', stop.signal), Number.POSITIVE_INFINITY)
      await bus.close()
      await bus.close()
      await all
      await expect(bus.publish(tradesOf(freshTopic('trades'), 1))).rejects.toMatchObject({
        code: 'shutting-down',
      })
    })
  })
}

export async function collect(batches: AsyncIterable<BusBatch>, count: number): Promise<EncodedEvent[]> {
  const events: EncodedEvent[] = []
  for await (const batch of batches) {
    events.push(...batch.events)
    if (events.length >= count) break
  }
  return events
}
