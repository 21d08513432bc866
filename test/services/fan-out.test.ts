import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import type { Cache } from '../../src/cache/cache.ts'
import { createRedisCache } from '../../src/cache/redis.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import type { Topic } from '../../src/market/topic.ts'
import { topicOf } from '../../src/market/topic.ts'
import { book, freshTopic, START, series, status, trade, tradesOf } from '../contracts/events.ts'
import { pause, type TestClient, TestGateway, until } from '../gateway/ws/gateway.ts'
import { emptyRedis, withEngines } from './engines.ts'

/** Connections that were lost since the test began. */
const lost: object[] = []
const log = { info: () => {}, warn: (fields: object) => void lost.push(fields) }

await withEngines(['redis'], ({ redis }) => {
  const opened: { close(): unknown }[] = []
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one.close()
  })

  async function openCache(windowEvents?: number): Promise<Cache> {
    const cache = createRedisCache({ url: redis.url, log, ...(windowEvents ? { windowEvents } : {}) })
    opened.push(cache)
    await until(() => cache.fault() === undefined)
    return cache
  }

  function admin(): Redis {
    const client = new Redis(redis.url)
    opened.push({ close: () => client.disconnect() })
    return client
  }

  /** As the relay does: the same batch until it is taken. */
  async function applyAtLast(cache: Cache, events: readonly EncodedEvent[]): Promise<void> {
    for (;;) {
      try {
        await cache.apply(events)
        return
      } catch {
        await pause(50)
      }
    }
  }

  /** A gateway whose cache is Redis, and a client that follows every trade. */
  async function gatewayOf(
    topics: number,
  ): Promise<{ client: TestClient; all: Topic[]; gateway: TestGateway }> {
    await emptyRedis(redis)
    const gateway = await new TestGateway({ cache: await openCache() }).start()
    opened.push({ close: () => gateway.stop() })
    const all = Array.from({ length: topics }, (_, n) => gateway.carry('venue', 'trades', `S${n}`))
    const client = await gateway.client({ tier: 'institutional' })
    await client.ask({ type: 'subscribe', channel: 'trades', symbols: ['*'] }, 'subscribed')
    return { client, all, gateway }
  }

  function expectEvery(client: TestClient, topics: readonly Topic[], last: number): void {
    for (const { subject } of topics) {
      const events = client.ofType('trade').filter(({ symbol }) => symbol === subject)
      expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: last }, (_, index) => index + 1))
      expect(events.some((event) => 'prev' in event)).toBe(false)
    }
    expect(client.ofType('resync')).toEqual([])
  }

  describe('a gateway behind Redis', () => {
    it('shows every event once though its fan-out connection is killed again and again under load', async () => {
      const { client, all, gateway } = await gatewayOf(20)
      const relay = await openCache()
      const killer = admin()
      for (let round = 1; round <= 200; round++) {
        await relay.apply(all.map((topic) => gateway.event(topic, trade(String(round)))))
        if (round % 40 === 0) await killer.call('client', 'kill', 'type', 'pubsub')
        await pause(5)
      }
      await until(() => client.ofType('trade').length >= 20 * 200, 20_000)
      expectEvery(client, all, 200)
    })

    it('is cut off by Redis when too much waits for it, and catches up', async () => {
      const { client, all, gateway } = await gatewayOf(3)
      const relay = await openCache()
      const settings = admin()
      lost.splice(0)
      // One batch is more than that: the subscriber is dropped in the middle of the flow.
      await settings.config('SET', 'client-output-buffer-limit', 'pubsub 20kb 10kb 1')
      for (let round = 1; round <= 30; round++) {
        const burst = all.flatMap((topic) =>
          Array.from({ length: 50 }, (_, n) => gateway.event(topic, trade(String(n)))),
        )
        await relay.apply(round % 10 === 0 ? burst : burst.slice(0, 30))
        if (round % 10 !== 0) await relay.apply(burst.slice(30))
        await pause(20)
      }
      await settings.config('SET', 'client-output-buffer-limit', 'pubsub 33554432 8388608 60')
      expect(lost).toContainEqual({ connection: 'feedgate-feed' })
      await until(() => client.ofType('trade').length >= 3 * 1_500, 20_000)
      expectEvery(client, all, 1_500)
    })

    it('goes on after Redis was killed and came back empty, and nothing is missing', async () => {
      const { client, all, gateway } = await gatewayOf(10)
      const relay = await openCache()
      let round = 0
      let flowing = true
      const flow = (async () => {
        while (flowing) {
          round++
          await applyAtLast(
            relay,
            all.map((topic) => gateway.event(topic, trade(String(round)))),
          )
          await pause(5)
        }
      })()
      await until(() => client.ofType('trade').length > 200)
      await redis.kill()
      await pause(1_500)
      await redis.restart()
      await until(() => relay.fault() === undefined && gateway.cache.fault() === undefined, 10_000)
      const before = client.ofType('trade').length
      await until(() => client.ofType('trade').length > before + 200, 10_000)
      flowing = false
      await flow
      await until(() => client.ofType('trade').length >= 10 * round, 10_000)
      expectEvery(client, all, round)
    })
  })

  describe('relays', () => {
    it('that overlap publish every event once, in order, and leave one exact book', async () => {
      await emptyRedis(redis)
      const [one, two, reader] = [await openCache(), await openCache(), await openCache()]
      const topic = freshTopic('orderbook')
      const next = series(topic)
      const events = [next(book('snapshot', [['100', '1']], [['101', '1']]))]
      for (let n = 1; n < 1_000; n++)
        events.push(
          next(book('delta', [[String(100 - (n % 20)), String(n)]], [[String(101 + (n % 7)), String(n)]])),
        )
      const stop = new AbortController()
      const feed = reader.subscribe(stop.signal)
      await feed.follow(topic)
      const seen: number[] = []
      const reading = (async () => {
        for await (const batch of feed) seen.push(...batch.map(({ seq }) => seq))
      })()
      for (let at = 0; at < 1_000; at += 50) {
        const batch = events.slice(Math.max(0, at - 30), at + 50)
        await Promise.all(at % 200 < 100 ? [one.apply(batch), two.apply(batch)] : [two.apply(batch)])
      }
      await until(() => seen.length >= 1_000)
      expect(seen).toEqual(events.map(({ seq }) => seq))
      const { book: exact } = (await reader.image(topic))!
      const again = await openCache()
      await again.apply(events)
      expect((await again.image(topic))!.book).toMatchObject({
        bids: exact!.bids,
        asks: exact!.asks,
        last: { seq: 1_000 },
      })
      expect(exact!.bids[0]).toEqual(['100', '980'])
      stop.abort()
      await reading
    })

    it('give a Redis that came back empty its last values again, also of topics that are quiet', async () => {
      await emptyRedis(redis)
      const cache = await openCache()
      const quiet = freshTopic('ticker')
      const quietBook = freshTopic('orderbook')
      await cache.apply([
        series(quiet)({ type: 'ticker', last: '1.50' }),
        series(quietBook)(book('snapshot', [['9', '1']], [['10', '2']])),
      ])
      await redis.kill()
      await redis.restart()
      await until(() => cache.fault() === undefined, 10_000)
      let image: Awaited<ReturnType<Cache['image']>>
      for (let tries = 0; !image && tries < 100; tries++) {
        await pause(50)
        image = await cache.image(quiet)
      }
      expect(image).toMatchObject({ epoch: START, seq: 1 })
      expect(image!.values[0]!.payload).toMatchObject({ last: '1.50' })
      expect((await cache.image(quietBook))!.book).toMatchObject({ bids: [['9', '1']], asks: [['10', '2']] })
    })

    it('see an emptied Redis without a lost connection too', async () => {
      await emptyRedis(redis)
      const cache = await openCache()
      const [topic, other] = [freshTopic('trades'), freshTopic('trades')]
      const trades = tradesOf(topic, 3)
      await cache.apply([...trades.slice(0, 2), ...tradesOf(other, 2)])
      await emptyRedis(redis)
      await cache.apply(trades)
      expect(await cache.image(topic)).toMatchObject({ seq: 3 })
      expect(await cache.image(other)).toMatchObject({ seq: 2 })
    })
  })

  it('rejects at once while Redis is away, and says so', async () => {
    const cache = await openCache()
    await redis.kill()
    await until(() => cache.fault() !== undefined)
    expect(cache.fault()).toBe('Redis does not answer')
    const started = performance.now()
    const trades = tradesOf(freshTopic('trades'), 1)
    for (const call of [
      () => cache.apply(trades),
      () => cache.image(trades[0]!.topic),
      () => cache.images({}),
      () => cache.since(trades[0]!.topic, { epoch: 1, seq: 1 }),
    ])
      expect(await call().catch((error) => error.code)).toBe('cache-unavailable')
    expect(performance.now() - started).toBeLessThan(500)
    await redis.restart()
    await until(() => cache.fault() === undefined, 10_000)
  })

  it('a follower gets nothing of topics that it does not follow, and memory of a topic stays bounded', async () => {
    await emptyRedis(redis)
    const cache = await openCache(500)
    const client = admin()
    const [mine, others] = [freshTopic('trades'), Array.from({ length: 50 }, () => freshTopic('trades'))]
    await cache.apply([mine, ...others].map((topic) => tradesOf(topic, 1)[0]!))
    const stop = new AbortController()
    const feed = cache.subscribe(stop.signal)
    await feed.follow(mine)
    const seen: Topic[] = []
    const reading = (async () => {
      for await (const batch of feed) seen.push(...batch.map(({ topic }) => topic))
    })()
    const long = tradesOf(mine, 5_000)
    for (let at = 0; at < 5_000; at += 500) await cache.apply(long.slice(at, at + 500))
    for (const topic of others) await cache.apply(tradesOf(topic, 10))
    await until(() => seen.length >= 4_999)
    await pause(100)
    expect(new Set(seen)).toEqual(new Set([mine]))
    expect(await client.pubsub('CHANNELS', 'fan:*')).toHaveLength(2)
    expect(await client.xlen(`window:${mine.id}`)).toBeLessThanOrEqual(700)
    feed.unfollow(mine)
    for (let tries = 0; tries < 50 && (await client.pubsub('CHANNELS', 'fan:*')).length > 1; tries++)
      await pause(20)
    expect(await client.pubsub('CHANNELS', 'fan:*')).toEqual(['fan:new'])
    stop.abort()
    await reading
  })

  it('shows last values and statuses to redis-cli', async () => {
    await emptyRedis(redis)
    const cache = await openCache()
    const client = admin()
    const topic = topicOf('venue', 'ticker', 'BTC/USDT')
    const event = series(topic)({ type: 'ticker', last: '60000.10' })
    const mine = series(topicOf('crm', 'status', 'default/c1'))(status('default', 'c1'))
    const theirs = series(topicOf('crm', 'status', 'acme/c1'))(status('acme', 'c1'))
    await cache.apply([event, mine, theirs])
    expect(await client.hgetall('last:venue|ticker|BTC/USDT')).toEqual({
      position: `${START}-1`,
      value: event.bytes.toString(),
    })
    expect(await client.get('status:c1')).toBe(mine.bytes.toString())
    expect(await client.get('status:acme/c1')).toBe(theirs.bytes.toString())
  })
})
