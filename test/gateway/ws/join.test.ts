import { afterEach, describe, expect, it } from 'vitest'
import type { Payload } from '../../../src/market/event.ts'
import type { Topic } from '../../../src/market/topic.ts'
import { type Said, TestGateway, ticker, trade, until } from './gateway.ts'

let gateway: TestGateway
afterEach(() => gateway.stop())

/** What every client can check by itself: nothing missing, nothing twice. */
function expectUnbroken(events: readonly Said[]): void {
  for (const [index, event] of events.entries()) {
    const before = events[index - 1]
    if (!before) continue
    if (event.epoch !== before.epoch) expect(event.prevSent).toEqual([before.epoch, before.seq])
    else {
      expect(event.seq).toBeGreaterThan(before.seq)
      expect(event.prev ?? event.seq - 1).toBe(before.seq)
    }
  }
}

describe('joining a topic', () => {
  it('misses nothing and doubles nothing while events flow at full speed', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'trades', 'BTC/USDT')
    let flowing = true
    let id = 0
    const flow = (async () => {
      while (flowing) {
        const batch = Array.from({ length: 1 + (id % 7) }, () => gateway.event(topic, trade(++id)))
        await gateway.cache.apply(batch)
        if (id % 5 === 0) await new Promise((resume) => setImmediate(resume))
      }
    })()
    const clients = await Promise.all(
      Array.from({ length: 9 }, () => gateway.client({ tier: 'institutional' })),
    )
    for (const client of clients) {
      client.send({ type: 'subscribe', channel: 'trades', symbols: ['BTC/USDT'] })
      await until(() => client.ofType('trade').length > 20)
    }
    flowing = false
    await flow
    const last = await gateway.publish(topic, trade(++id))
    for (const client of clients) {
      await until(() => client.ofType('trade').at(-1)?.seq === last.seq)
      const trades = client.ofType('trade')
      expect(trades.map((event) => event.seq)).toEqual(
        Array.from(trades, (_, index) => trades[0]!.seq + index),
      )
      expect(trades.some((event) => 'prev' in event)).toBe(false)
    }
  })

  it('sends the bytes made at ingest and adds sentTime before the closing brace', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'ticker', 'BTC/USDT')
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'ticker', symbols: ['BTC/USDT'] }, 'subscribed')
    const event = await gateway.publish(topic, ticker('1.10'))
    await until(() => client.frames.length === 2)
    const frame = client.frames[1]!
    expect(frame).toMatch(/,"sentTime":\d{16}\}$/)
    expect(`${frame.slice(0, frame.lastIndexOf(',"sentTime"'))}}`).toBe(event.bytes.toString())
  })

  it('first acknowledges, then sends the newest of each key, then what follows, each with what was sent before', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'odds', 'MATCH_1')
    const price = (selectionId: string, odds: string) => ({
      ...({ type: 'odds', kind: 'price', eventId: 'MATCH_1', marketId: 'M', market: 'Winner' } as const),
      ...({ selectionId, selection: selectionId, side: 'back', level: 0, odds } as const),
      ...({ sourcePrice: odds, sourceFormat: 'decimal', marketVersion: 1 } as const),
    })
    for (const [selection, odds] of [
      ['A', '1.1'],
      ['B', '2.2'],
      ['A', '1.3'],
      ['C', '3.0'],
    ] as const)
      await gateway.publish(topic, price(selection, odds))
    const client = await gateway.client({ tier: 'premium' })
    client.send({ type: 'subscribe', id: 'x', channel: 'odds', symbols: ['MATCH_1'] })
    await until(() => client.ofType('odds').length === 3)
    await gateway.publish(topic, price('B', '2.4'))
    await until(() => client.ofType('odds').length === 4)
    expect(client.messages[0]).toEqual({
      type: 'subscribed',
      id: 'x',
      channel: 'odds',
      symbols: ['MATCH_1'],
      conflateMs: 0,
    })
    expect(client.ofType('odds').map((event) => [event.seq, event.selectionId, event.prev])).toEqual([
      [2, 'B', undefined],
      [3, 'A', undefined],
      [4, 'C', undefined],
      [5, 'B', undefined],
    ])
  })

  it('marks what lies between values of different keys with prev', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'ohlcv', 'BTC/USDT', '1m')
    const candle = (openTime: number, close: string, closed = false): Payload => ({
      ...{ type: 'ohlcv', timeframe: '1m', openTime, open: '1', high: '2', low: '1', close, volume: '1' },
      ...{ closed, origin: 'venue', revision: 0 },
    })
    await gateway.publish(topic, candle(0, '1', true))
    for (const close of ['1.1', '1.2', '1.3']) await gateway.publish(topic, candle(60_000_000, close))
    const client = await gateway.client({ tier: 'premium' })
    client.send({ type: 'subscribe', channel: 'ohlcv', symbols: ['BTC/USDT'] })
    await until(() => client.ofType('ohlcv').length === 2)
    expect(client.ofType('ohlcv').map((event) => [event.seq, event.prev])).toEqual([
      [1, undefined],
      [4, 1],
    ])
  })

  it('tells the position of the old epoch in the first event of a new one', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'ticker', 'BTC/USDT')
    await gateway.publish(topic, ticker('1'))
    const client = await gateway.client({ tier: 'premium' })
    client.send({ type: 'subscribe', channel: 'ticker', symbols: ['*'] })
    await until(() => client.ofType('ticker').length === 1)
    await gateway.publish(topic, ticker('2'))
    await gateway.publish(topic, ticker('3'), { epoch: 2_000, prevEpoch: 1_000, prevSeq: 2 })
    await gateway.publish(topic, ticker('4'))
    await until(() => client.ofType('ticker').length === 4)
    expect(client.ofType('ticker').map(({ epoch, seq, prevSent }) => [epoch, seq, prevSent])).toEqual([
      [1_000, 1, undefined],
      [1_000, 2, undefined],
      [2_000, 1, [1_000, 2]],
      [2_000, 2, undefined],
    ])
    expect(client.frames.at(-2)).toMatch(/"sentTime":\d+,"prevSent":\[1000,2\]\}$/)
  })

  it('sends nothing old with snapshot false, and then no prev to something that was never sent', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'ticker', 'BTC/USDT')
    await gateway.publish(topic, ticker('1'))
    const first = await gateway.client({ tier: 'premium' })
    const second = await gateway.client({ tier: 'premium' })
    const subscribe = { type: 'subscribe', channel: 'ticker', symbols: ['BTC/USDT'] }
    await first.ask(subscribe, 'subscribed')
    await second.ask({ ...subscribe, snapshot: false }, 'subscribed')
    await gateway.publish(topic, ticker('2'))
    await gateway.publish(topic, ticker('3'), { epoch: 3_000 })
    await until(() => second.ofType('ticker').length === 2 && first.ofType('ticker').length === 3)
    expect(second.ofType('ticker').map((event) => [event.seq, event.prev, event.prevSent])).toEqual([
      [2, undefined, undefined],
      [1, undefined, [1_000, 2]],
    ])
  })

  it('covers topics that come later, from their very first event', async () => {
    gateway = await new TestGateway().start()
    gateway.carry('venue', 'trades', 'BTC/USDT')
    const client = await gateway.client({ tier: 'institutional' })
    await client.ask({ type: 'subscribe', channel: 'trades', symbols: ['ETH/*'] }, 'subscribed')
    const late = gateway.carry('venue', 'trades', 'ETH/USDT')
    // Somebody else asks for it first: it is still new for the pattern.
    const other = await gateway.client({ tier: 'institutional' })
    await other.ask({ type: 'subscribe', channel: 'trades', symbols: ['ETH/USDT'] }, 'subscribed')
    const third = await gateway.client({ tier: 'premium' })
    await third.ask({ type: 'subscribe', channel: 'trades', symbols: ['*'] }, 'subscribed')
    await gateway.cache.apply([1, 2, 3].map((id) => gateway.event(late, trade(id))))
    const never = gateway.carry('venue', 'trades', 'BTC/EUR')
    await gateway.publish(never, trade(9))
    await until(() => client.ofType('trade').length === 3 && other.ofType('trade').length === 3)
    expect(client.ofType('trade').map((event) => event.seq)).toEqual([1, 2, 3])
    await client.settled()
    expect(client.ofType('trade')).toHaveLength(3)
  })

  it('covers a topic of a second source for a symbol asked for without source', async () => {
    gateway = await new TestGateway().start()
    gateway.carry('one', 'trades', 'BTC/USDT')
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'trades', symbols: ['BTC/USDT'] }, 'subscribed')
    const second = gateway.carry('two', 'trades', 'BTC/USDT')
    await gateway.publish(second, trade(1))
    await client.next((message) => message.type === 'trade' && message.source === 'two')
  })

  it('sends gap events in their place, and source events unasked', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'trades', 'BTC/USDT')
    const source = gateway.carry('venue', 'source', 'venue')
    await gateway.publish(source, { type: 'source', state: 'connected', reason: 'first', attempt: 0 })
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'trades', symbols: ['BTC/USDT'] }, 'subscribed')
    await gateway.publish(topic, trade(1))
    await gateway.publish(topic, {
      ...({ type: 'gap', channel: 'trades', reason: 'reconnect', fromTime: 1, toTime: 2 } as const),
    })
    await gateway.publish(topic, trade(2))
    await gateway.publish(source, { type: 'source', state: 'stale', reason: 'quiet', attempt: 0 })
    await client.next((message) => message.type === 'source')
    expect(client.ofType('source').map((message) => message.state)).toEqual(['stale'])
    const inTopic = client.messages.filter((message) => message.symbol === 'BTC/USDT')
    expect(inTopic.map((message) => [message.type, message.seq])).toEqual([
      ['trade', 1],
      ['gap', 2],
      ['trade', 3],
    ])
    expectUnbroken(inTopic)
  })

  it('sends an event of a source once to a client that had it unasked and asks for it then', async () => {
    gateway = await new TestGateway().start()
    gateway.carry('venue', 'trades', 'BTC/USDT')
    const source = gateway.carry('venue', 'source', 'venue')
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'trades', symbols: ['BTC/USDT'] }, 'subscribed')
    await gateway.publish(source, { type: 'source', state: 'stale', reason: 'quiet', attempt: 0 })
    await client.next((message) => message.type === 'source')
    await client.ask({ type: 'subscribe', channel: 'source', symbols: ['*'] }, 'subscribed')
    await client.ask({ type: 'unsubscribe', channel: 'trades', symbols: ['*'] }, 'unsubscribed')
    await gateway.publish(source, { type: 'source', state: 'connected', reason: 'again', attempt: 0 })
    await client.next((message) => message.state === 'connected')
    expect(client.ofType('source').map((event) => event.seq)).toEqual([1, 2])
    expectUnbroken(client.ofType('source'))
  })

  it('sends a topic once to a client that asks for it twice', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'ticker', 'BTC/USDT')
    await gateway.publish(topic, ticker('1'))
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'ticker', symbols: ['BTC/USDT'] }, 'subscribed')
    await client.ask({ type: 'subscribe', channel: 'ticker', source: 'venue', symbols: ['*'] }, 'subscribed')
    await gateway.publish(topic, ticker('2'))
    await client.next((message) => message.last === '2')
    expect(client.ofType('ticker').map((event) => event.seq)).toEqual([1, 2])
  })
})

describe('a hole in what arrives', () => {
  async function holed(): Promise<Topic> {
    gateway = await new TestGateway().start()
    return gateway.carry('venue', 'ticker', 'BTC/USDT')
  }

  it('is told by resync, and what follows goes on from the image with prev', async () => {
    const topic = await holed()
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'ticker', symbols: ['BTC/USDT'] }, 'subscribed')
    await gateway.publish(topic, ticker('1'))
    await until(() => client.ofType('ticker').length === 1)
    // The fan-out loses two events: the cache's image has them, the hub does not see them.
    gateway.event(topic, ticker('2'))
    gateway.event(topic, ticker('3'))
    await gateway.publish(topic, ticker('4'))
    await gateway.publish(topic, ticker('5'))
    await until(() => client.ofType('ticker').at(-1)?.last === '5')
    expect(client.ofType('resync')).toEqual([
      { type: 'resync', topic: 'venue|ticker|BTC/USDT', reason: 'event 2 did not arrive, 4 did' },
    ])
    expectUnbroken(client.ofType('ticker'))
    expect(client.ofType('ticker')[1]!.prev).toBe(1)
  })

  it('does not stop a topic whose image is lost as well', async () => {
    const topic = await holed()
    const image = gateway.cache.image.bind(gateway.cache)
    gateway.cache.image = async () => undefined
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'ticker', symbols: ['BTC/USDT'] }, 'subscribed')
    await gateway.publish(topic, ticker('1'))
    await gateway.publish(topic, ticker('9'), { seq: 9 })
    await gateway.publish(topic, ticker('10'))
    await until(() => client.ofType('ticker').at(-1)?.last === '10')
    expect(client.ofType('ticker').map((event) => [event.seq, event.prev])).toEqual([
      [1, undefined],
      [9, 1],
      [10, undefined],
    ])
    gateway.cache.image = image
  })

  it('waits while the image cannot be loaded', async () => {
    const topic = await holed()
    await gateway.publish(topic, ticker('1'))
    const image = gateway.cache.image.bind(gateway.cache)
    gateway.cache.image = () => Promise.reject(new Error('the cache is away'))
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'ticker', symbols: ['BTC/USDT'] }, 'subscribed')
    await gateway.publish(topic, ticker('2'))
    await until(() => gateway.logged.length > 0)
    gateway.cache.image = image
    await gateway.publish(topic, ticker('3'))
    await until(() => client.ofType('ticker').at(-1)?.last === '3')
    expectUnbroken(client.ofType('ticker'))
  })
})
