import { afterEach, describe, expect, it } from 'vitest'
import type { Cache } from '../../../src/cache/cache.ts'
import { createMemoryCache } from '../../../src/cache/memory.ts'
import { FeedgateError } from '../../../src/errors.ts'
import type { EncodedEvent } from '../../../src/market/encoded-event.ts'
import { signals } from '../../../src/signals.ts'
import type { HistoryQuery } from '../../../src/store/store.ts'
import { pause, type Said, TestGateway, ticker, trade, until } from './gateway.ts'

let gateway: TestGateway
afterEach(() => gateway.stop())

/** A memory cache whose fan-out loses what it is told to lose, and which can be away. */
function lossyCache(): Cache & { lose: (event: EncodedEvent) => boolean; away: boolean } {
  const cache = createMemoryCache()
  const unlessAway = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => {
    return (...args: A): Promise<R> =>
      lossy.away ? Promise.reject(new FeedgateError('cache-unavailable', 'away')) : call(...args)
  }
  const lossy = {
    lose: (_event: EncodedEvent) => false,
    away: false,
    apply: (events: readonly EncodedEvent[]) => cache.apply(events),
    image: unlessAway((topic) => cache.image(topic)) as Cache['image'],
    images: unlessAway((match) => cache.images(match)) as Cache['images'],
    topics: () => cache.topics(),
    since: unlessAway((topic, after) => cache.since(topic, after)) as Cache['since'],
    subscribe(...args: Parameters<Cache['subscribe']>) {
      const feed = cache.subscribe(...args)
      return {
        follow: () => undefined,
        unfollow: () => {},
        async *[Symbol.asyncIterator]() {
          for await (const events of feed) yield events.filter((event) => !lossy.lose(event))
        },
      }
    },
    fault: () => (lossy.away ? 'away' : undefined),
    close: () => cache.close(),
  }
  return lossy
}

function expectEvery(events: readonly Said[], last: number): void {
  expect(events.map((event) => event.seq)).toEqual(Array.from({ length: last }, (_, index) => index + 1))
  expect(events.some((event) => 'prev' in event)).toBe(false)
}

const subscribe = { type: 'subscribe', channel: 'trades', symbols: ['*'] }

/** The store of these tests: every event it is given, by its time. */
function storeOf(events: readonly EncodedEvent[]) {
  return async ({ from = 0, limit, subject }: HistoryQuery) => ({
    items: events
      .filter((event) => event.receivedTime >= from && event.topic.subject === subject)
      .slice(0, limit)
      .map(({ topic, epoch, seq, receivedTime, bytes }) => ({
        ...{ topic, epoch, seq, receivedTime, body: bytes.toString() },
      })),
    next: null,
  })
}

describe('events that the fan-out lost', () => {
  it('come from the window of the cache, in their order, and nobody sees that they were lost', async () => {
    const cache = lossyCache()
    gateway = await new TestGateway({ cache }).start()
    const topic = gateway.carry('venue', 'trades', 'BTC/USDT')
    const client = await gateway.client({ tier: 'premium' })
    await client.ask(subscribe, 'subscribed')
    cache.lose = ({ seq }) => seq % 7 < 4 && seq > 1
    for (let id = 1; id <= 100; id++) {
      await gateway.publish(topic, trade(id))
      if (id % 10 === 0) await pause(2)
    }
    await until(() => client.ofType('trade').at(-1)?.seq === 100)
    expectEvery(client.ofType('trade'), 100)
    expect(client.ofType('resync')).toEqual([])
  })

  it('come from the store where the window does not reach back', async () => {
    const cache = lossyCache()
    cache.since = async () => undefined
    const stored: EncodedEvent[] = []
    gateway = await new TestGateway({ cache, history: storeOf(stored) }).start()
    const topic = gateway.carry('venue', 'trades', 'BTC/USDT')
    const client = await gateway.client({ tier: 'premium' })
    await client.ask(subscribe, 'subscribed')
    cache.lose = ({ seq }) => seq > 3 && seq < 9
    for (let id = 1; id <= 10; id++) stored.push(await gateway.publish(topic, trade(id)))
    await until(() => client.ofType('trade').at(-1)?.seq === 10)
    expectEvery(client.ofType('trade'), 10)
    for (const [index, frame] of client.frames.slice(1).entries())
      expect(`${frame.slice(0, frame.lastIndexOf(',"sentTime"'))}}`).toBe(stored[index]!.bytes.toString())
  })

  it('are waited for while the recorder still writes them', async () => {
    const cache = lossyCache()
    cache.since = async () => undefined
    const stored: EncodedEvent[] = []
    gateway = await new TestGateway({ cache, history: storeOf(stored) }).start()
    const topic = gateway.carry('venue', 'trades', 'BTC/USDT')
    const client = await gateway.client({ tier: 'premium' })
    await client.ask(subscribe, 'subscribed')
    cache.lose = ({ seq }) => seq === 2
    const events = []
    for (let id = 1; id <= 3; id++) events.push(await gateway.publish(topic, trade(id)))
    await pause(400)
    expect(client.ofType('trade')).toHaveLength(1)
    stored.push(...events)
    await until(() => client.ofType('trade').length === 3)
    expectEvery(client.ofType('trade'), 3)
    expect(client.ofType('resync')).toEqual([])
  })

  it('are found by the heads that the cache tells when nothing follows them', async () => {
    const cache = lossyCache()
    gateway = await new TestGateway({ cache }).start()
    const topic = gateway.carry('venue', 'trades', 'BTC/USDT')
    const client = await gateway.client({ tier: 'premium' })
    await client.ask(subscribe, 'subscribed')
    cache.lose = () => true
    for (let id = 1; id <= 3; id++) {
      await gateway.publish(topic, trade(id))
      await until(() => client.ofType('trade').length === id)
    }
    expectEvery(client.ofType('trade'), 3)
  })

  it('are found over the seam of two epochs, and an epoch that joins is no hole', async () => {
    const cache = lossyCache()
    gateway = await new TestGateway({ cache }).start()
    const topic = gateway.carry('venue', 'trades', 'BTC/USDT')
    const client = await gateway.client({ tier: 'premium' })
    await client.ask(subscribe, 'subscribed')
    cache.lose = ({ epoch, seq }) => (epoch === 1_000 ? seq === 3 : seq < 3)
    for (let id = 1; id <= 3; id++) await gateway.publish(topic, trade(id))
    await gateway.publish(topic, trade(4), { epoch: 2_000, prevEpoch: 1_000, prevSeq: 3 })
    for (let id = 5; id <= 7; id++) await gateway.publish(topic, trade(id))
    await until(() => client.ofType('trade').length === 7)
    expect(client.ofType('trade').map((event) => [event.epoch, event.seq])).toEqual([
      ...[1, 2, 3].map((seq) => [1_000, seq]),
      ...[1, 2, 3, 4].map((seq) => [2_000, seq]),
    ])
    let asked = 0
    const since = cache.since
    cache.since = (...args) => {
      asked++
      return since(...args)
    }
    cache.lose = () => false
    await gateway.publish(topic, trade(8), { epoch: 3_000, prevEpoch: 2_000, prevSeq: 4 })
    await until(() => client.ofType('trade').length === 8)
    expect(asked).toBe(0)
    expect(client.ofType('resync')).toEqual([])
  })

  it('of hundreds of topics at once are asked for a few at a time', async () => {
    const cache = lossyCache()
    gateway = await new TestGateway({ cache }).start()
    const topics = Array.from({ length: 300 }, (_, n) => gateway.carry('venue', 'trades', `S${n}`))
    const client = await gateway.client({ tier: 'premium' })
    await client.ask(subscribe, 'subscribed')
    let reading = 0
    let most = 0
    const since = cache.since
    cache.since = async (...args) => {
      most = Math.max(most, ++reading)
      await pause(2)
      reading--
      return since(...args)
    }
    cache.lose = ({ seq }) => seq === 2
    for (let round = 1; round <= 3; round++)
      await gateway.cache.apply(topics.map((topic) => gateway.event(topic, trade(round))))
    await until(() => client.ofType('trade').length === 900)
    expect(most).toBeLessThanOrEqual(16)
    expect(client.ofType('resync')).toEqual([])
  })

  it('that neither cache nor store has are told by resync once', async () => {
    const cache = lossyCache()
    cache.since = async () => undefined
    gateway = await new TestGateway({ cache }).start()
    const repairs: string[] = []
    const stop = signals.topicRepaired.on(({ by }) => repairs.push(by))
    const topic = gateway.carry('venue', 'ticker', 'BTC/USDT')
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ ...subscribe, channel: 'ticker' }, 'subscribed')
    cache.lose = ({ seq }) => seq === 2
    for (let last = 1; last <= 4; last++) await gateway.publish(topic, ticker(String(last)))
    await until(() => client.ofType('ticker').at(-1)?.seq === 4)
    stop()
    expect(client.ofType('resync')).toHaveLength(1)
    expect(repairs).toEqual(['image'])
  })
})

describe('a cache that is away', () => {
  it('is told to clients by the sources they follow, who stay, miss nothing, and hear when it is back', async () => {
    const cache = lossyCache()
    gateway = await new TestGateway({ cache, hub: { checkMs: 20 } }).start()
    const topic = gateway.carry('venue', 'trades', 'BTC/USDT')
    const client = await gateway.client({ tier: 'premium' })
    await client.ask(subscribe, 'subscribed')
    await gateway.publish(topic, trade(1))
    await until(() => client.ofType('trade').length === 1)
    cache.away = true
    cache.lose = () => true
    const away = await client.next((message) => message.type === 'source')
    expect(away).toMatchObject({ source: 'venue', symbol: 'venue', state: 'stale' })
    expect(away.reason).toBe('the cache is away: live events are delayed')
    expect('seq' in away || 'epoch' in away).toBe(false)
    await gateway.publish(topic, trade(2))
    const late = await gateway.client({ tier: 'premium' })
    await late.ask(subscribe, 'subscribed')
    await pause(100)
    cache.away = false
    cache.lose = () => false
    await client.next((message) => message.type === 'source' && message.state === 'connected')
    await gateway.publish(topic, trade(3))
    await until(() => client.ofType('trade').length === 3)
    expectEvery(client.ofType('trade'), 3)
    // One who came meanwhile waits for the image of the source, and hears of it then or when the cache is back.
    await until(() => late.ofType('trade').at(-1)?.seq === 3)
  })

  it('is told to whoever comes meanwhile', async () => {
    const cache = lossyCache()
    const image = cache.image
    gateway = await new TestGateway({ cache, hub: { checkMs: 20 } }).start()
    gateway.carry('venue', 'trades', 'BTC/USDT')
    cache.away = true
    // As with a store behind it.
    cache.image = async () => undefined
    await pause(60)
    const client = await gateway.client({ tier: 'premium' })
    await client.ask(subscribe, 'subscribed')
    const notice = await client.next((message) => message.type === 'source')
    expect(notice).toMatchObject({ source: 'venue', state: 'stale' })
    cache.image = image
  })
})

it('a pattern covers a topic that is told of later and had its first events long ago', async () => {
  gateway = await new TestGateway({ hub: { checkMs: 20 } }).start()
  gateway.carry('venue', 'trades', 'BTC/USDT')
  const client = await gateway.client({ tier: 'premium' })
  await client.ask(subscribe, 'subscribed')
  const late = gateway.carry('venue', 'trades', 'ETH/USDT')
  gateway.topics.delete(late)
  await gateway.publish(late, trade(1))
  await client.settled()
  const before = client.ofType('trade').length
  gateway.topics.add(late)
  await gateway.publish(late, trade(2))
  await until(() => client.ofType('trade').length > before)
})
