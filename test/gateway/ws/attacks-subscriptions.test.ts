import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createMemoryCache } from '../../../src/cache/memory.ts'
import type { FeedgateError } from '../../../src/errors.ts'
import { ClientFilters, FilterUse } from '../../../src/gateway/ws/filter.ts'
import { LocalClock } from '../../../src/gateway/ws/local-clock.ts'
import type { Topic } from '../../../src/market/topic.ts'
import { KEYS, type Said, type TestClient, TestGateway, ticker, tier, trade } from './gateway.ts'

let gateway: TestGateway
let client: TestClient

/** Topics that the gateway follows for somebody. */
const followed = new Set<Topic>()

/** The cache itself; what is followed is noted. */
function watchedCache() {
  const cache = createMemoryCache()
  const subscribe = cache.subscribe.bind(cache)
  cache.subscribe = (...given) => {
    const feed = subscribe(...given)
    const { follow, unfollow } = feed
    feed.follow = (topic) => {
      followed.add(topic)
      return follow.call(feed, topic)
    }
    feed.unfollow = (topic) => {
      followed.delete(topic)
      unfollow.call(feed, topic)
    }
    return feed
  }
  return cache
}

beforeAll(async () => {
  gateway = await new TestGateway({
    cache: watchedCache(),
    tiers: tier('premium', { commandsPerSecond: 10_000_000, connections: 100, symbols: 100_000 }),
  }).start()
  for (let n = 0; n < 200; n++) gateway.carry('venue', 'ticker', `S${n}`)
  gateway.carry('venue', 'trades', 'S0')
  client = await gateway.client({ tier: 'institutional' })
  await client.ask({ ...subscribe, symbols: ['S0'] }, 'subscribed')
})
afterEach(async () => {
  const before = client.messages.length
  const { seq } = await gateway.publish(gateway.carry('venue', 'ticker', 'S0'), ticker('1'))
  await client.next((message) => message.type === 'ticker' && message.seq === seq, before)
})
afterAll(() => gateway.stop())

const subscribe = { type: 'subscribe', channel: 'ticker', symbols: ['S1'] }

/** Many commands at once, a hundred under way at a time; answers other than `good` are counted by their code. */
async function flood(commands: Iterable<Said>, from: TestClient): Promise<Map<number, number>> {
  const codes = new Map<number, number>()
  const settled = async (sent: number) => {
    from.send({ type: 'ping', id: sent })
    await from.next(({ type, id }) => type === 'pong' && id === sent)
    for (const { type, code } of from.messages)
      if (type === 'error') codes.set(code, (codes.get(code) ?? 0) + 1)
    from.messages.length = from.frames.length = 0
  }
  let sent = 0
  for (const command of commands) {
    from.send(command)
    if (++sent % 500 === 0) await settled(sent)
  }
  await settled(sent + 1)
  return codes
}

/** What the gateway holds for its clients. */
async function held() {
  await pause(20)
  const { clients, feeds } = gateway.hub
  return { clients: clients.size, followers: feeds.followers.size, topics: followed.size }
}

describe('one client', () => {
  it('that subscribes and unsubscribes 4,000 times leaves nothing behind, and its limit untouched', async () => {
    const before = await held()
    const attacker = await gateway.client({ tier: 'premium' })
    function* churn() {
      for (let n = 0; n < 2_000; n++) {
        const symbols = [`S${n % 200}`, `S${(n * 7) % 200}*`]
        const filters = n % 3 === 0 ? { minVolume: String(n) } : {}
        yield { ...subscribe, symbols, filters, conflateMs: n % 5 }
        yield { type: 'unsubscribe', channel: 'ticker', symbols }
      }
    }
    expect(await flood(churn(), attacker)).toEqual(new Map())
    expect(await attacker.ask({ type: 'list' }, 'subscriptions')).toMatchObject({
      subscriptions: [],
      topics: [],
    })
    attacker.socket.close()
    await attacker.closed
    expect(await held()).toEqual(before)
    const identity = await gateway.auth.identify({ kind: 'apiKey', apiKey: KEYS.premium }, '::1')
    expect(gateway.limits.symbols(identity, 100_000)).toBe(true)
    gateway.limits.symbols(identity, -100_000)
  })

  it('that asks for one filter after another leaves none behind: others find room', async () => {
    const before = await held()
    const attacker = await gateway.client({ tier: 'premium' })
    function* filters() {
      for (let n = 0; n < 6_000; n++)
        yield { ...subscribe, symbols: [`S${n % 200}`], filters: { minVolume: `${n}.5` } }
    }
    expect([...(await flood(filters(), attacker)).keys()]).toEqual([405])
    const other = await gateway.client({ tier: 'premium' })
    const answer = await other.ask({ ...subscribe, filters: { minVolume: '0.25' } }, 'subscribed')
    expect(answer).toMatchObject({ symbols: ['S1'] })
    for (const one of [attacker, other]) one.socket.close()
    await Promise.all([attacker.closed, other.closed])
    expect(await held()).toEqual(before)
  })

  it('that opens and closes connections 500 times leaves none', async () => {
    const before = await held()
    for (let round = 0; round < 10; round++) {
      const clients = Array.from({ length: 50 }, () => gateway.connect({ tier: 'premium' }))
      await Promise.all(clients.map((one) => one.opened()))
      for (const [n, one] of clients.entries()) {
        one.send({ ...subscribe, symbols: ['*'], filters: { minVolume: String(n) } })
        if (n % 2) one.socket.terminate()
        else one.socket.close()
      }
      await Promise.all(clients.map((one) => one.closed))
    }
    expect(await held()).toEqual(before)
  })

  it('that spells a time zone in a thousand ways has one clock', () => {
    const clock = LocalClock.of('Europe/London')
    for (let n = 0; n < 1_000; n++) {
      const spelt = [...'europe/london'].map((letter, at) => ((n >> at) & 1 ? letter.toUpperCase() : letter))
      expect(LocalClock.of(spelt.join(''))).toBe(clock)
    }
  })
})

it('100,000 different filters of 2,000 clients are 5,000 in all, and none when their clients are gone', () => {
  const use = new FilterUse()
  const clients = Array.from({ length: 2_000 }, () => new ClientFilters(use))
  let granted = 0
  const refused = new Set<string>()
  for (let n = 0; n < 100_000; n++)
    try {
      clients[n % 2_000]!.of('ticker', { minVolume: String(n) }, () => [])
      granted++
    } catch (error) {
      refused.add((error as FeedgateError).code)
    }
  expect(granted).toBe(5_000)
  expect(refused).toEqual(new Set(['rate-limited']))
  for (const one of clients) one.close()
  const again = new ClientFilters(use)
  for (let n = 0; n < 50; n++) again.of('ticker', { minVolume: `${n}.5` }, () => [])
  expect(() => again.of('ticker', { minVolume: '99' }, () => [])).not.toThrow()
})

describe('a resume', () => {
  const name = 'venue|trades|S0'
  const resume = (position: unknown, topic = name) => ({
    ...{ type: 'subscribe', channel: 'trades', symbols: ['S0'], resume: { [topic]: position } },
  })

  it.each<[string, unknown]>([
    ['a negative seq', [1_000, -1]],
    ['a negative epoch', [-1, 1]],
    ['a fraction', [1_000, 1.5]],
    ['text', ['1000', '1']],
    ['one number', [1_000]],
    ['three numbers', [1_000, 1, 1]],
    ['nothing', []],
    ['null', null],
    ['an object', { epoch: 1, seq: 1 }],
  ])('from %s gets 400', async (_what, position) => {
    const attacker = await gateway.client({ tier: 'premium' })
    const answer = await attacker.ask(resume(position), 'subscribed')
    expect(answer).toMatchObject({ type: 'error', code: 400 })
    attacker.socket.close()
  })

  it.each<[string, readonly [number, number]]>([
    ['before the first event', [1, 0]],
    ['2^53', [2 ** 53, 2 ** 53]],
    ['the largest safe seq of the epoch that is', [1_000, Number.MAX_SAFE_INTEGER]],
    ['the largest number', [Number.MAX_VALUE, Number.MAX_VALUE]],
    ['an epoch to come', [Date.now() * 2_000, 1]],
    ['an epoch long ago', [1, Number.MAX_SAFE_INTEGER]],
  ])('from %s is unrecovered and begins with the latest value', async (_what, position) => {
    const topic = gateway.carry('venue', 'trades', 'S0')
    await gateway.publish(topic, trade(1))
    const attacker = await gateway.client({ tier: 'premium' })
    expect(await attacker.ask(resume(position), 'subscribed')).toMatchObject({
      unrecovered: [name],
      symbols: ['S0'],
    })
    await attacker.next(({ type }) => type === 'trade')
    const { seq } = await gateway.publish(topic, trade(2))
    await attacker.next((message) => message.seq === seq)
    attacker.socket.close()
  })

  it('of 6,000 topics of which the client has none names them all; of more than 10,000 it is refused', async () => {
    const attacker = await gateway.client({ tier: 'premium' })
    const names = Array.from({ length: 6_000 }, (_, n) => `x${n}|trades|Y`)
    const positions = Object.fromEntries(names.map((topic, n) => [topic, [2 ** 40, n]]))
    const before = await held()
    const answer = await attacker.ask({ ...resume([1, 1]), resume: positions }, 'subscribed')
    expect(answer.unrecovered).toEqual(names)
    const more = Object.fromEntries(Array.from({ length: 10_001 }, (_, n) => [`${n}|trades|Y`, [1, 1]]))
    expect(await attacker.ask({ ...resume([1, 1]), resume: more }, 'subscribed')).toMatchObject({ code: 400 })
    // The one that it asked for, and its source.
    expect((await held()).topics - before.topics).toBeLessThanOrEqual(2)
    attacker.socket.close()
  })

  it('that keeps the store busy keeps nobody from joining what the cache has', async () => {
    const cache = createMemoryCache()
    cache.since = async () => undefined
    let asked = 0
    const history = () => {
      asked++
      return new Promise<never>(() => {})
    }
    const busy = await new TestGateway({ cache, history }).start()
    const names = Array.from({ length: 100 }, (_, n) => `S${n}`)
    for (const symbol of names) await busy.publish(busy.carry('venue', 'trades', symbol), trade(1))
    await busy.publish(busy.carry('venue', 'ticker', 'A'), ticker('1'))
    const attacker = await busy.client({ tier: 'premium' })
    const positions = Object.fromEntries(names.map((symbol) => [`venue|trades|${symbol}`, [1_000, 0]]))
    attacker.send({ type: 'subscribe', channel: 'trades', symbols: ['*'], resume: positions })
    while (asked < 16) await pause(5)
    const victim = await busy.client({ tier: 'institutional' })
    await victim.ask({ type: 'subscribe', channel: 'ticker', symbols: ['A'] }, 'subscribed')
    await victim.next(({ type }) => type === 'ticker')
    expect(asked).toBe(16)
    attacker.socket.terminate()
    await busy.stop()
  })

  it('with many positions, sent while the key is looked up, is no message of a stranger', async () => {
    const { identify } = gateway.auth
    gateway.auth.identify = async (credential, address) => {
      await pause(100)
      return identify.call(gateway.auth, credential, address)
    }
    const positions = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`x${n}|trades|Y`, [1, n]]))
    const known = await gateway.client({ tier: 'premium' })
    const stranger = await gateway.client()
    gateway.auth.identify = identify
    for (const one of [known, stranger]) one.send({ ...resume([1, 1]), resume: positions })
    expect((await known.next(({ type }) => type === 'subscribed')).unrecovered).toHaveLength(1_000)
    expect(await stranger.closed).toBe(1009)
    known.socket.close()
  })

  it.each([
    '',
    '|',
    'venue|trades',
    'venue|smoke|S0',
    'venue|trades|S0|1m',
    'venue|ohlcv|S0',
    '|trades|S0',
    'a|b|c|d|e',
    '__proto__',
    'x'.repeat(600),
  ])('of a topic called %j gets 400', async (topic) => {
    const attacker = await gateway.client({ tier: 'premium' })
    const text = JSON.stringify(resume([1, 1], 'TOPIC')).replace('TOPIC', topic)
    const before = attacker.messages.length
    attacker.send(text)
    expect(await attacker.next(({ type }) => type === 'error', before)).toMatchObject({ code: 400 })
    attacker.socket.close()
  })
})
