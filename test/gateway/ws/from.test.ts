import { afterEach, describe, expect, it } from 'vitest'
import type { Level, Payload } from '../../../src/market/event.ts'
import { pause, RecordedEvents, type Said, TestGateway, ticker, tier, trade, until } from './gateway.ts'
import { PlainBook } from './plain-book.ts'

let gateway: TestGateway
afterEach(() => gateway.stop())

const run = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)
const seqs = (events: readonly Said[]) => events.map((event) => event.seq)
const ago = (ms: number) => (Date.now() - ms) * 1_000

async function start(options: ConstructorParameters<typeof TestGateway>[0] = {}) {
  const stored = new RecordedEvents()
  gateway = await new TestGateway({ history: stored.history, bookAt: stored.bookAt, ...options }).start()
  return stored
}

describe('a subscription from a time', () => {
  it('is the stored history, then what is live, marked by one message', async () => {
    const stored = await start()
    const topic = gateway.carry('venue', 'ticker', 'A')
    for (let id = 1; id <= 10; id++)
      stored.record([
        await gateway.publish(topic, ticker(`${id}`), { receivedTime: ago(60_000 - 1_000 * id) }),
      ])
    const from = new Date(stored.events[3]!.receivedTime / 1_000).toISOString()
    const client = await gateway.client({ tier: 'premium' })
    const answer = await client.ask(
      { type: 'subscribe', id: 7, channel: 'ticker', symbols: ['A'], from },
      'subscribed',
    )
    expect(client.messages[0]).toBe(answer)
    const live = await client.next((m) => m.type === 'live')
    expect(live).toEqual({ type: 'live', id: 7 })
    await gateway.publish(topic, ticker('11'))
    await client.next((m) => m.seq === 11)
    expect(seqs(client.ofType('ticker'))).toEqual(run(4, 11))
    expect(client.messages.indexOf(live)).toBe(8)
    expect(client.ofType('live')).toHaveLength(1)
    const [frame] = client.frames.slice(1)
    expect(`${frame!.slice(0, frame!.lastIndexOf(',"sentTime"'))}}`).toBe(stored.events[3]!.bytes.toString())
  })

  it('has neither hole nor double while 2,000 events a second go on and the recorder lags behind', async () => {
    const stored = await start()
    const topics = ['A', 'B', 'C'].map((symbol) => gateway.carry('venue', 'trades', symbol))
    let id = 0
    const publish = async (count: number) => {
      const events = run(1, count).map(() => gateway.event(topics[++id % 3]!, trade(id)))
      await gateway.cache.apply(events)
      return events
    }
    const begin = Date.now() * 1_000
    for (let bursts = 0; bursts < 30; bursts++) stored.record(await publish(500))
    let firing = true
    const unrecorded = await publish(30)
    const fire = (async () => {
      for (let bursts = 1; firing; bursts++) {
        unrecorded.push(...(await publish(20)))
        if (bursts % 20 === 0) stored.record(unrecorded.splice(0))
        await pause(10)
      }
    })()
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'trades', symbols: ['*'], from: begin }, 'subscribed')
    await client.next((m) => m.type === 'live')
    await pause(100)
    firing = false
    await fire
    await until(() => client.ofType('trade').length >= id)
    for (const { publicSubject } of topics) {
      const mine = client.ofType('trade').filter((m) => m.symbol === publicSubject)
      expect(seqs(mine)).toEqual(run(1, mine.length))
    }
    expect(client.ofType('trade')).toHaveLength(id)
    expect(client.ofType('trade').some((m) => 'prev' in m || 'conflated' in m)).toBe(false)
    expect(client.ofType('resync')).toEqual([])
  }, 30_000)

  it('finds what nothing is stored of yet in the window of the cache', async () => {
    await start()
    const topic = gateway.carry('venue', 'trades', 'A')
    for (let id = 1; id <= 5; id++)
      await gateway.publish(topic, trade(id), { receivedTime: ago(10_000 - 1_000 * id) })
    const client = await gateway.client({ tier: 'premium' })
    const from = ago(7_500)
    await client.ask({ type: 'subscribe', channel: 'trades', symbols: ['A'], from }, 'subscribed')
    await client.next((m) => m.type === 'live')
    expect(seqs(client.ofType('trade'))).toEqual([3, 4, 5])
  })

  it('of the future, and of a topic without events, is live at once', async () => {
    await start()
    const topic = gateway.carry('venue', 'trades', 'A')
    gateway.carry('venue', 'trades', 'EMPTY')
    await gateway.publish(topic, trade(1))
    const client = await gateway.client({ tier: 'premium' })
    const from = '2100-01-01T00:00:00Z'
    await client.ask({ type: 'subscribe', channel: 'trades', symbols: ['*'], from }, 'subscribed')
    await client.next((m) => m.type === 'live')
    await gateway.publish(topic, trade(2))
    await client.next((m) => m.seq === 2)
    expect(seqs(client.ofType('trade'))).toEqual([2])
  })

  it('shows no more than the history of the tier', async () => {
    const stored = await start({ tiers: tier('premium', { historyMs: 30_000 }) })
    const topic = gateway.carry('venue', 'trades', 'A')
    for (let id = 1; id <= 10; id++)
      stored.record([
        await gateway.publish(topic, trade(id), { receivedTime: ago(60_000 - 5_000 * id - 2_000) }),
      ])
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'trades', symbols: ['A'], from: 0 }, 'subscribed')
    await client.next((m) => m.type === 'live')
    expect(seqs(client.ofType('trade'))).toEqual([6, 7, 8, 9, 10])
  })

  it('gives basic whole history too, in arrays at its pace', async () => {
    const stored = await start({ tiers: tier('basic', { framesPerMinute: 6_000, frameBurst: 2 }) })
    const topic = gateway.carry('venue', 'ticker', 'A')
    for (let id = 1; id <= 1_200; id++)
      stored.record([await gateway.publish(topic, ticker(`${id}`), { receivedTime: ago(60_000 - id) })])
    const client = await gateway.client({ tier: 'basic' })
    await client.ask(
      { type: 'subscribe', channel: 'ticker', symbols: ['A'], from: ago(70_000) },
      'subscribed',
    )
    await client.next((m) => m.type === 'live')
    expect(seqs(client.ofType('ticker'))).toEqual(run(1, 1_200))
    expect(client.frames.length).toBeLessThan(20)
  })

  it('ends where it is unsubscribed', async () => {
    const stored = await start()
    const topic = gateway.carry('venue', 'trades', 'A')
    for (let id = 1; id <= 20_000; id++)
      stored.record([gateway.event(topic, trade(id), { receivedTime: ago(60_000) + id })])
    const client = await gateway.client({ tier: 'premium' })
    client.send({ type: 'subscribe', channel: 'trades', symbols: ['A'], from: 0 })
    client.send({ type: 'unsubscribe', channel: 'trades', symbols: ['A'] })
    const ended = await client.next((m) => m.type === 'unsubscribed')
    await client.next((m) => m.type === 'live')
    await pause(50)
    const after = client.messages.slice(client.messages.indexOf(ended))
    expect(after.some((m) => m.type === 'trade')).toBe(false)
  })

  it('makes the gateway hold no more than a page for a client that does not read', async () => {
    const stored = new RecordedEvents()
    let reads = 0
    gateway = await new TestGateway({
      hub: { pingMs: 60_000, stalledMs: 60_000 },
      history: (query) => {
        reads++
        return stored.history(query)
      },
    }).start()
    const topic = gateway.carry('venue', 'trades', 'A')
    const long = { ...trade(1), id: 'x'.repeat(400) } as Payload
    for (let id = 1; id <= 60_000; id++)
      stored.record([gateway.event(topic, long, { receivedTime: ago(60_000) + id })])
    await gateway.cache.apply(stored.events.slice(-1))
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'trades', symbols: ['A'], from: 0 }, 'subscribed')
    client.socket.pause()
    await pause(400)
    const then = reads
    await pause(300)
    // What the sockets of both sides hold, and no page more.
    expect(reads).toBe(then)
    expect(reads).toBeLessThan(30)
    client.socket.resume()
    await client.next((m) => m.type === 'live')
    expect(client.ofType('trade')).toHaveLength(60_000)
    expect(client.ofType('slow')).toEqual([])
  }, 30_000)

  it.each([5, 'full'] as const)('of a book at depth %s begins with the book as it stood', async (depth) => {
    const stored = await start()
    const topic = gateway.carry('venue', 'orderbook', 'A')
    const venue = new PlainBook()
    const publish = async (payload: Payload, receivedTime: number) => {
      venue.apply(payload as Said)
      stored.record([await gateway.publish(topic, payload, { receivedTime })])
    }
    const levels = (begin: number, by: number): Level[] =>
      run(0, 9).map((level) => [`${begin + by * level}.00`, `${level + 1}`])
    const payload = (kind: 'snapshot' | 'delta', bids: Level[], asks: Level[]): Payload => ({
      ...{ type: 'orderbook', kind, bids, asks, depth: 0 },
    })
    const begin = ago(100_000)
    await publish(payload('snapshot', levels(100, -1), levels(101, 1)), begin)
    for (let round = 1; round <= 60; round++)
      await publish(
        payload(
          'delta',
          [[`${100 - (round % 9)}.00`, round % 3 === 0 ? '0' : `${round}`]],
          [[`${101 + (round % 7)}.00`, round % 4 === 0 ? '0' : `${round}`]],
        ),
        begin + round * 1_000_000,
      )
    const client = await gateway.client({ tier: 'institutional' })
    const from = begin + 20_500_000
    await client.ask({ type: 'subscribe', channel: 'orderbook', symbols: ['A'], depth, from }, 'subscribed')
    await client.next((m) => m.type === 'live')
    const [first, ...others] = client.ofType('orderbook')
    expect(first).toMatchObject({ kind: 'snapshot', seq: 21 })
    expect(others.every(({ kind, seq }) => kind === 'delta' && seq > 21)).toBe(true)
    const copy = new PlainBook()
    for (const message of client.ofType('orderbook')) copy.apply(message)
    const shown = depth === 'full' ? 100 : depth
    for (const side of ['bids', 'asks'] as const)
      expect(copy.top(side, shown)).toEqual(venue.top(side, shown))
  })

  it('that cannot be read is told, and goes on from the latest value', async () => {
    await start({ history: async () => Promise.reject(new Error('broken')) })
    const topic = gateway.carry('venue', 'ticker', 'A')
    await gateway.publish(topic, ticker('1'))
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'ticker', symbols: ['A'], from: 0 }, 'subscribed')
    expect(await client.next((m) => m.type === 'resync')).toMatchObject({ topic: 'venue|ticker|A' })
    await client.next((m) => m.type === 'ticker')
  })

  it('that is no time gets 400', async () => {
    await start()
    gateway.carry('venue', 'ticker', 'A')
    const client = await gateway.client({ tier: 'premium' })
    for (const from of ['yesterday', -1, 1.5, '2026-13-40T99:00:00Z'])
      expect(
        await client.ask({ type: 'subscribe', channel: 'ticker', symbols: ['A'], from }, 'subscribed'),
      ).toMatchObject({ type: 'error', code: 400 })
  })
})
