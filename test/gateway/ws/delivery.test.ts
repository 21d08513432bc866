import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { Level, Payload } from '../../../src/market/event.ts'
import { signals } from '../../../src/signals.ts'
import { KEYS, pause, TestGateway, ticker, trade, until } from './gateway.ts'

let gateway: TestGateway
afterEach(() => gateway.stop())

describe('clients of one shape', () => {
  it('get the very bytes that a client of another shape gets, in arrays too', async () => {
    gateway = await new TestGateway().start()
    const one = gateway.carry('venue', 'trades', 'A')
    const two = gateway.carry('venue', 'trades', 'B')
    const both = { type: 'subscribe', channel: 'trades', symbols: ['A', 'B'] }
    const clients = [
      await gateway.client({ tier: 'premium' }),
      await gateway.client({ tier: 'premium' }),
      await gateway.client({ tier: 'premium', path: '/ws?batch=true' }),
      await gateway.client({ tier: 'premium' }),
    ] as const
    const [first, second, batch, single] = clients
    for (const client of [first, second, batch]) await client.ask(both, 'subscribed')
    await single.ask({ ...both, symbols: ['A'] }, 'subscribed')
    for (let round = 0; round < 3; round++) {
      const burst = [1, 2, 3, 4].flatMap((id) => [
        gateway.event(one, trade(id)),
        gateway.event(two, trade(id)),
      ])
      await gateway.cache.apply(burst)
      await until(() => clients.every((client) => client.ofType('trade').length >= 4 * (round + 1)))
    }
    await until(() => first.ofType('trade').length === 24 && batch.ofType('trade').length === 24)
    expect(second.frames).toEqual(first.frames)
    expect(single.frames.slice(1)).toEqual(
      first.frames.slice(1).filter((frame) => frame.includes('"symbol":"A"')),
    )
    expect(batch.frames).toHaveLength(4)
    expect(
      batch.frames
        .slice(1)
        .map((frame) => frame.slice(1, -1))
        .join(),
    ).toBe(first.frames.slice(1).join())
  })

  it('go on undisturbed when one of them leaves, changes or disappears', async () => {
    gateway = await new TestGateway().start()
    const topics = ['A', 'B'].map((symbol) => gateway.carry('venue', 'trades', symbol))
    const clients = await Promise.all([1, 2, 3, 4].map(() => gateway.client({ tier: 'premium' })))
    for (const client of clients)
      await client.ask({ type: 'subscribe', channel: 'trades', symbols: ['A', 'B'] }, 'subscribed')
    let id = 0
    const publish = async () => {
      for (let times = 0; times < 20; times++)
        await gateway.cache.apply(topics.map((topic) => gateway.event(topic, trade(++id))))
    }
    await publish()
    clients[1]!.send({ type: 'unsubscribe', channel: 'trades', symbols: ['A'] })
    clients[2]!.socket.terminate()
    await publish()
    await until(() => clients[1]!.ofType('unsubscribed').length === 1)
    await clients[1]!.ask({ type: 'subscribe', channel: 'trades', symbols: ['A'] }, 'subscribed')
    await publish()
    for (const client of [clients[0]!, clients[3]!]) {
      await until(() => client.ofType('trade').length === 120)
      for (const symbol of ['A', 'B'])
        expect(client.ofType('trade').flatMap((m) => (m.symbol === symbol ? m.seq : []))).toEqual(
          Array.from({ length: 60 }, (_, index) => index + 1),
        )
    }
    const held = clients[1]!.ofType('trade').filter((m) => m.symbol === 'B')
    expect(held.map((m) => m.seq)).toEqual(Array.from({ length: 60 }, (_, index) => index + 1))
  })
})

/** 40 kB of book in which every level changes. */
function bigBook(round: number): Payload {
  const side = (base: number): Level[] =>
    Array.from({ length: 1_000 }, (_, level) => [`${base + level}.00`, `${round}.5`])
  return { type: 'orderbook', kind: 'snapshot', bids: side(1_000), asks: side(3_000), depth: 0 }
}

describe('a client that reads too slowly', () => {
  const closes: number[] = []
  const stop = signals.clientDisconnected.on(({ code }) => void closes.push(code))
  afterEach(() => void closes.splice(0))
  afterAll(stop)

  it('is closed with 4100 once too much waits, and delays nobody', async () => {
    gateway = await new TestGateway({ hub: { checkMs: 20, stalledMs: 400, pingMs: 60_000 } }).start()
    const topic = gateway.carry('venue', 'orderbook', 'BTC/USDT')
    const quick = await gateway.client({ tier: 'institutional' })
    const stalled = await gateway.client({ tier: 'institutional' })
    const subscribe = { type: 'subscribe', channel: 'orderbook', symbols: ['BTC/USDT'] }
    for (const client of [quick, stalled]) await client.ask(subscribe, 'subscribed')
    stalled.socket.pause()
    for (let round = 0; round < 400; round++) {
      await gateway.publish(topic, bigBook(round))
      // Both clients live on this event loop: the quick one gets its chance to read.
      await pause(1)
    }
    await until(() => quick.ofType('orderbook').length === 400)
    await until(() => closes.includes(4100))
    expect(quick.ofType('orderbook').every((event) => event.prev === undefined)).toBe(true)
    await quick.ask({ type: 'ping' }, 'pong')
  })

  it('is closed with 4100 when events pile up', async () => {
    gateway = await new TestGateway({ hub: { pingMs: 60_000 } }).start()
    const topic = gateway.carry('venue', 'trades', 'BTC/USDT')
    const stalled = await gateway.client({ tier: 'institutional' })
    await stalled.ask({ type: 'subscribe', channel: 'trades', symbols: ['*'] }, 'subscribed')
    stalled.socket.pause()
    for (let round = 0; round < 150 && !closes.includes(4100); round++) {
      await gateway.cache.apply(Array.from({ length: 1_000 }, (_, id) => gateway.event(topic, trade(id))))
      await pause(1)
    }
    // It reads again: what was sent before comes whole and unbroken, then the code.
    stalled.socket.resume()
    expect(await stalled.closed).toBe(4100)
    const seqs = stalled.ofType('trade').map((event) => event.seq)
    expect(seqs).toEqual(seqs.map((_, index) => index + 1))
  })

  it('gets thinned books while it is behind, is told so, and shares again once it has caught up', async () => {
    gateway = await new TestGateway({ hub: { pingMs: 60_000 } }).start()
    const topic = gateway.carry('venue', 'orderbook', 'BTC/USDT')
    const client = await gateway.client({ tier: 'institutional' })
    const other = await gateway.client({ tier: 'institutional' })
    const subscribe = { type: 'subscribe', channel: 'orderbook', symbols: ['BTC/USDT'] }
    for (const one of [client, other]) await one.ask(subscribe, 'subscribed')
    client.socket.pause()
    for (let round = 1; round <= 400; round++) {
      await gateway.publish(topic, bigBook(round))
      if (round % 10 === 0) await pause(1)
    }
    client.socket.resume()
    await until(() => client.ofType('orderbook').at(-1)?.seq === 400)
    const books = client.ofType('orderbook')
    expect(books.length).toBeLessThan(400)
    const slow = client.ofType('slow')
    expect(slow.length).toBeGreaterThan(0)
    expect(slow.reduce((sum, { skipped }) => sum + skipped, books.length)).toBe(400)
    for (const [index, event] of books.entries())
      if (index > 0) expect(event.prev ?? event.seq - 1).toBe(books[index - 1]!.seq)
    expect(books.some((event) => event.conflated && event.kind === 'snapshot')).toBe(true)
    expect(books.at(-1)!.bids[0][1]).toBe('400.5')
    // Both ends are in this process: the gateway hears later than the client that everything was taken.
    await client.settled()
    await pause(50)
    await gateway.publish(topic, bigBook(401))
    await until(
      () => other.ofType('orderbook').at(-1)?.seq === 401 && client.ofType('orderbook').at(-1)?.seq === 401,
    )
    expect(client.frames.at(-1)).toBe(other.frames.at(-1))
  })

  it('or does not answer pings is closed with 4201', async () => {
    gateway = await new TestGateway({ hub: { checkMs: 20, pingMs: 60 } }).start()
    const topic = gateway.carry('venue', 'ticker', 'BTC/USDT')
    const lively = await gateway.client({ tier: 'premium' })
    const dead = new WebSocket(`ws://127.0.0.1:${gateway.port}/ws`, {
      headers: { 'x-api-key': KEYS.premium },
      autoPong: false,
    })
    expect(await new Promise((done) => dead.once('close', done))).toBe(4201)
    await lively.ask({ type: 'subscribe', channel: 'ticker', symbols: ['*'] }, 'subscribed')
    await gateway.publish(topic, ticker('1'))
    await lively.next((message) => message.type === 'ticker')
  })
})
