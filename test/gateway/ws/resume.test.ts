import { afterEach, describe, expect, it } from 'vitest'
import { createMemoryCache } from '../../../src/cache/memory.ts'
import type { EncodedEvent } from '../../../src/market/encoded-event.ts'
import type { Level, Payload } from '../../../src/market/event.ts'
import type { Topic } from '../../../src/market/topic.ts'
import {
  pause,
  RecordedEvents,
  type Said,
  type TestClient,
  TestGateway,
  ticker,
  tier,
  trade,
  until,
} from './gateway.ts'
import { PlainBook } from './plain-book.ts'

let gateway: TestGateway
afterEach(() => gateway.stop())

const subscribe = (symbol: string, more: Said = {}) => ({
  ...{ type: 'subscribe', channel: 'trades', symbols: [symbol] },
  ...more,
})
const at = (name: string, epoch: number, seq: number) => ({ resume: { [name]: [epoch, seq] } })
const seqs = (events: readonly Said[]) => events.map((event) => event.seq)
const run = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** A cache whose windows reach back to nothing: everything must come from the store. */
function windowless() {
  const cache = createMemoryCache()
  const since = cache.since.bind(cache)
  cache.since = async (topic, after) => {
    const events = await since(topic, after)
    return events && events.length <= 2 ? events : undefined
  }
  return cache
}

describe('a resume', () => {
  it('is every event after the position, then what is live, and no snapshot', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'trades', 'A')
    for (let id = 1; id <= 10; id++) await gateway.publish(topic, trade(id))
    const client = await gateway.client({ tier: 'premium' })
    const answer = await client.ask(subscribe('A', at('venue|trades|A', 1_000, 4)), 'subscribed')
    expect('unrecovered' in answer).toBe(false)
    expect(client.messages[0]).toBe(answer)
    await until(() => client.ofType('trade').length === 6)
    await gateway.publish(topic, trade(11))
    await until(() => client.ofType('trade').length === 7)
    expect(seqs(client.ofType('trade'))).toEqual(run(5, 11))
    expect(client.ofType('trade').some((event) => 'prev' in event || 'prevSent' in event)).toBe(false)
  })

  it('of a position that is the newest sends nothing twice', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'ticker', 'A')
    await gateway.publish(topic, ticker('1'))
    const client = await gateway.client({ tier: 'premium' })
    const command = subscribe('A', { channel: 'ticker', ...at('venue|ticker|A', 1_000, 1) })
    expect('unrecovered' in (await client.ask(command, 'subscribed'))).toBe(false)
    await gateway.publish(topic, ticker('2'))
    await until(() => client.ofType('ticker').length === 1)
    expect(client.ofType('ticker')[0]).toMatchObject({ seq: 2 })
  })

  it('goes over a seam that is told, and not over one that is not', async () => {
    gateway = await new TestGateway().start()
    const told = gateway.carry('venue', 'trades', 'TOLD')
    const untold = gateway.carry('venue', 'trades', 'UNTOLD')
    for (const topic of [told, untold])
      for (let id = 1; id <= 3; id++) await gateway.publish(topic, trade(id))
    await gateway.publish(told, trade(4), { epoch: 2_000, prevEpoch: 1_000, prevSeq: 3 })
    await gateway.publish(untold, trade(4), { epoch: 2_000 })
    for (const topic of [told, untold]) await gateway.publish(topic, trade(5))
    const client = await gateway.client({ tier: 'premium' })
    const answer = await client.ask(
      {
        ...subscribe('*'),
        resume: { 'venue|trades|TOLD': [1_000, 2], 'venue|trades|UNTOLD': [1_000, 2] },
      },
      'subscribed',
    )
    expect(answer.unrecovered).toEqual(['venue|trades|UNTOLD'])
    await until(() => client.ofType('trade').length === 4)
    const of = (symbol: string) =>
      client.ofType('trade').flatMap((m) => (m.symbol === symbol ? [[m.epoch, m.seq, m.prevSent]] : []))
    expect(of('TOLD')).toEqual([
      [1_000, 3, undefined],
      [2_000, 1, [1_000, 3]],
      [2_000, 2, undefined],
    ])
    expect(of('UNTOLD')).toEqual([[2_000, 2, undefined]])
  })

  it.each<[string, Said]>([
    ['the future', { 'venue|ticker|A': [1_000, 99_000_000] }],
    ['a later epoch', { 'venue|ticker|A': [9_000_000_000, 1] }],
    ['an epoch that never was', { 'venue|ticker|A': [7, 3] }],
    ['before the first event that is known', { 'venue|ticker|A': [0, 0] }],
  ])('of %s is unrecovered and begins with the latest value', async (_what, resume) => {
    const cache = createMemoryCache()
    cache.since = async () => undefined
    gateway = await new TestGateway({ cache }).start()
    const topic = gateway.carry('venue', 'ticker', 'A')
    for (let id = 1; id <= 3; id++) await gateway.publish(topic, ticker(`${id}`))
    const client = await gateway.client({ tier: 'premium' })
    const answer = await client.ask(
      { ...subscribe('A', { channel: 'ticker' }), snapshot: false, resume },
      'subscribed',
    )
    expect(answer.unrecovered).toEqual(Object.keys(resume))
    expect(await client.next((m) => m.type === 'ticker')).toMatchObject({ seq: 3 })
  })

  it.each<[string, Said]>([
    ['not whole', { 'venue|ticker|A': [1_000, 1.5] }],
    ['negative', { 'venue|ticker|A': [1_000, -1] }],
    ['no pair', { 'venue|ticker|A': [1_000] }],
    ['text', { 'venue|ticker|A': ['1000', '1'] }],
    ['of no topic', { nonsense: [1, 1] }],
  ])('of positions that are %s gets 400', async (_what, resume) => {
    gateway = await new TestGateway().start()
    gateway.carry('venue', 'ticker', 'A')
    const client = await gateway.client({ tier: 'premium' })
    const error = await client.ask({ ...subscribe('A', { channel: 'ticker' }), resume }, 'subscribed')
    expect(error).toMatchObject({ type: 'error', code: 400 })
  })

  it('names what the command does not cover, sends none of it, and follows no other tenant', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'ticker', 'A')
    await gateway.publish(topic, ticker('1'))
    const resume = { 'venue|ticker|B': [1_000, 1], 'venue|trades|A': [1_000, 1], 'away|ticker|A': [1_000, 1] }
    const client = await gateway.client({ tier: 'premium' })
    const answer = await client.ask({ ...subscribe('A', { channel: 'ticker' }), resume }, 'subscribed')
    expect(answer.unrecovered).toEqual(Object.keys(resume))
    expect(await client.next((m) => m.type === 'ticker')).toMatchObject({ seq: 1 })
  })

  it('brings the events of the source that the client missed', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'ticker', 'A')
    const source = gateway.carry('venue', 'source', 'venue')
    const change = (state: 'stale' | 'connected'): Payload => ({
      type: 'source',
      state,
      reason: 'x',
      attempt: 0,
    })
    await gateway.publish(topic, ticker('1'))
    for (const state of ['connected', 'stale', 'connected'] as const)
      await gateway.publish(source, change(state))
    const resume = { 'venue|ticker|A': [1_000, 1], 'venue|source|venue': [1_000, 1] }
    const client = await gateway.client({ tier: 'premium' })
    const answer = await client.ask({ ...subscribe('A', { channel: 'ticker' }), resume }, 'subscribed')
    expect('unrecovered' in answer).toBe(false)
    await until(() => client.ofType('source').length === 2)
    expect(seqs(client.ofType('source'))).toEqual([2, 3])
  })

  it('goes on from the store where the window does not reach back, within the tier only', async () => {
    const stored = new RecordedEvents()
    gateway = await new TestGateway({
      ...{ cache: windowless(), history: stored.history },
      tiers: tier('premium', { resumeWindowMs: 60_000 }),
    }).start()
    const topic = gateway.carry('venue', 'trades', 'A')
    const old = gateway.carry('venue', 'trades', 'OLD')
    const shift = (id: number) => ({ receivedTime: Date.now() * 1_000 - (5_000 - id) * 10_000 })
    for (let id = 1; id <= 5_000; id++) {
      const event = await gateway.publish(topic, trade(id), shift(id))
      if (id <= 4_999) stored.record([event])
    }
    for (let id = 1; id <= 5; id++)
      stored.record([
        await gateway.publish(old, trade(id), { receivedTime: Date.now() * 1_000 - 70_000_000 + id }),
      ])
    const client = await gateway.client({ tier: 'premium' })
    const resume = { 'venue|trades|A': [1_000, 10], 'venue|trades|OLD': [1_000, 1] }
    const answer = await client.ask({ ...subscribe('*'), resume }, 'subscribed')
    expect(answer.unrecovered).toEqual(['venue|trades|OLD'])
    await until(() => client.ofType('trade').length === 4_991)
    const mine = client.ofType('trade').filter((m) => m.symbol === 'A')
    expect(seqs(mine)).toEqual(run(11, 5_000))
    expect(client.ofType('trade').filter((m) => m.symbol === 'OLD')).toMatchObject([{ seq: 5 }])
  }, 20_000)

  it('is unrecovered where what was missed is older than the tier may have, though it is known', async () => {
    gateway = await new TestGateway({ tiers: tier('premium', { resumeWindowMs: 30_000 }) }).start()
    const topic = gateway.carry('venue', 'trades', 'A')
    const before = (ms: number) => ({ receivedTime: (Date.now() - ms) * 1_000 })
    for (const ms of [90_000, 60_000, 20_000, 10_000]) await gateway.publish(topic, trade(ms), before(ms))
    const client = await gateway.client({ tier: 'premium' })
    const name = topic.publicId
    const tooOld = await client.ask(subscribe('A', at(name, 1_000, 1)), 'subscribed')
    expect(tooOld.unrecovered).toEqual([name])
    // The position may be older: what counts is what was missed.
    const held = await client.ask(subscribe('A', at(name, 1_000, 2)), 'subscribed')
    expect('unrecovered' in held).toBe(false)
  })

  it('on a topic that the connection follows already begins there anew', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'trades', 'A')
    const client = await gateway.client({ tier: 'premium' })
    await client.ask(subscribe('A'), 'subscribed')
    for (let id = 1; id <= 4; id++) await gateway.publish(topic, trade(id))
    await until(() => client.ofType('trade').length === 4)
    const before = client.messages.length
    await client.ask(subscribe('A', at('venue|trades|A', 1_000, 2)), 'subscribed')
    await gateway.publish(topic, trade(5))
    await until(() => client.messages.length === before + 4)
    expect(seqs(client.messages.slice(before + 1))).toEqual([3, 4, 5])
  })
})

const book = (kind: 'snapshot' | 'delta', bids: Level[], asks: Level[]): Payload => ({
  ...{ type: 'orderbook', kind, bids, asks, depth: 0 },
})

describe('a resumed book', () => {
  it.each([
    [5, 'from window and store', 100],
    [5, 'though the recorder is behind the position', 12],
    ['full', 'from window and store', 100],
  ] as const)('at depth %s is the book of the venue, %s', async (depth, _how, recorded) => {
    const stored = new RecordedEvents()
    gateway = await new TestGateway({ history: stored.history, bookAt: stored.bookAt }).start()
    const topic = gateway.carry('venue', 'orderbook', 'A')
    const venue = new PlainBook()
    const publish = async (payload: Payload) => {
      venue.apply(payload as Said)
      const event = await gateway.publish(topic, payload)
      if (event.seq <= recorded) stored.record([event])
    }
    const levels = (from: number, by: number): Level[] =>
      run(0, 11).map((level) => [`${from + by * level}.00`, `${level + 1}`])
    await publish(book('snapshot', levels(100, -1), levels(101, 1)))
    const change = (round: number) =>
      publish(
        book(
          'delta',
          [[`${100 - (round % 9)}.00`, round % 3 === 0 ? '0' : `${round}`]],
          [[`${101 + (round % 7)}.00`, round % 4 === 0 ? '0' : `${round}`]],
        ),
      )
    for (let round = 1; round <= 20; round++) await change(round)
    const command = { type: 'subscribe', channel: 'orderbook', symbols: ['A'], depth }
    const steady = await gateway.client({ tier: 'institutional' })
    await steady.ask(command, 'subscribed')
    const first = await gateway.client({ tier: 'institutional' })
    await first.ask(command, 'subscribed')
    await first.next((m) => m.type === 'orderbook')
    const copy = new PlainBook()
    for (const message of first.ofType('orderbook')) copy.apply(message)
    const { epoch, seq } = first.ofType('orderbook').at(-1)!
    first.socket.terminate()
    for (let round = 21; round <= 60; round++) await change(round)
    const second = await gateway.client({ tier: 'institutional' })
    const answer = await second.ask({ ...command, ...at('venue|orderbook|A', epoch, seq) }, 'subscribed')
    expect('unrecovered' in answer).toBe(false)
    for (let round = 61; round <= 90; round++) await change(round)
    await until(() => second.ofType('orderbook').at(-1)?.seq === 91)
    await second.settled()
    await steady.settled()
    // The very changes that one who never left was sent.
    const changes = (events: readonly Said[]) => events.map((event) => [event.seq, event.bids, event.asks])
    expect(changes(second.ofType('orderbook'))).toEqual(
      changes(steady.ofType('orderbook').filter((event) => event.seq > seq)),
    )
    for (const message of second.ofType('orderbook')) {
      expect(message.kind).toBe('delta')
      copy.apply(message)
    }
    const shown = depth === 'full' ? 100 : depth
    for (const side of ['bids', 'asks'] as const)
      expect(copy.top(side, shown)).toEqual(venue.top(side, shown))
  })
})

/** Cuts of the client in which about 2,000 events a second go on; 1,000 where there is time for it. */
const CUTS = Number(process.env.RESUME_CUTS ?? 40)

describe('resume under fire', () => {
  it(`leaves every topic complete and in order over ${CUTS} cuts`, async () => {
    const stored = new RecordedEvents()
    gateway = await new TestGateway({
      history: stored.history,
      tiers: tier('premium', { commandsPerSecond: 10_000 }),
    }).start()
    const topics = run(1, 20).map((n) => gateway.carry('venue', 'trades', `S${n}`))
    // A second node of the same cache and store: the client comes back to either.
    const other = await new TestGateway({
      ...{ cache: gateway.cache, history: stored.history },
      tiers: tier('premium', { commandsPerSecond: 10_000 }),
    }).start()
    for (const { publicSubject } of topics) other.carry('venue', 'trades', publicSubject)
    const published = new Map<Topic, number>(topics.map((topic) => [topic, 0]))
    const lastSeq = new Map<Topic, number>()
    const waiting: EncodedEvent[] = []
    const count = (event: EncodedEvent) => {
      published.set(event.topic, published.get(event.topic)! + 1)
      lastSeq.set(event.topic, event.seq)
      return event
    }
    let id = 0
    for (const topic of topics) stored.record([count(await gateway.publish(topic, trade(++id)))])
    let firing = true
    const fire = (async () => {
      for (let epoch = 1_000, bursts = 1; firing; bursts++) {
        const burst = run(1, 20).map(() => {
          const topic = topics[Math.floor(Math.random() ** 2 * topics.length)]!
          return count(gateway.event(topic, trade(++id)))
        })
        if (bursts % 50 === 0) {
          // An owner takes over: what it says of the epoch before joins both.
          epoch += 1_000
          for (const topic of topics) {
            const seam = { epoch, prevEpoch: epoch - 1_000, prevSeq: lastSeq.get(topic)! }
            burst.push(count(gateway.event(topic, trade(++id), seam)))
          }
        }
        await gateway.cache.apply(burst)
        waiting.push(...burst)
        // The recorder is always somewhat behind.
        if (bursts % 7 === 0) stored.record(waiting.splice(0))
        await pause(10)
      }
    })()
    const { heads, counts, cuts } = await cutAgainAndAgain(topics, [gateway, other])
    firing = false
    await fire
    expect(cuts).toBe(CUTS)
    // A last time, without a cut.
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ ...subscribe('*'), resume: Object.fromEntries(heads) }, 'subscribed')
    await client.settled()
    await until(() => {
      const all = [...counts.values()].reduce((sum, count) => sum + count, 0)
      return all + client.ofType('trade').length >= [...published.values()].reduce((sum, n) => sum + n, 0)
    })
    take(client, heads, counts)
    for (const topic of topics) expect(counts.get(topic.publicId) ?? 0).toBe(published.get(topic))
    await other.stop()
  }, 600_000)
})

/** What a client proves of itself: each event goes on from the one it has. */
function take(client: TestClient, heads: Map<string, [number, number]>, counts: Map<string, number>): void {
  for (const event of client.ofType('trade')) {
    const topic = `venue|trades|${event.symbol}`
    const head = heads.get(topic)
    if (head && head[0] === event.epoch) expect([topic, event.seq]).toEqual([topic, head[1] + 1])
    else if (head) expect([topic, event.seq, event.prevSent]).toEqual([topic, 1, head])
    expect('prev' in event).toBe(false)
    heads.set(topic, [event.epoch, event.seq])
    counts.set(topic, (counts.get(topic) ?? 0) + 1)
  }
}

async function cutAgainAndAgain(topics: readonly Topic[], nodes: readonly TestGateway[]) {
  const heads = new Map<string, [number, number]>(topics.map((topic) => [topic.publicId, [0, 0]]))
  const counts = new Map<string, number>()
  let cuts = 0
  for (; cuts < CUTS; cuts++) {
    const client = await nodes[cuts % nodes.length]!.client({ tier: 'premium' })
    const answer = await client.ask({ ...subscribe('*'), resume: Object.fromEntries(heads) }, 'subscribed')
    // From the very first event of a topic on nothing is lost: the windows of this test hold all of it, or the store does.
    expect(answer.unrecovered ?? []).toEqual([])
    await pause(Math.random() * 60)
    client.socket.terminate()
    await client.closed
    take(client, heads, counts)
    await pause(Math.random() * 60)
  }
  return { heads, counts, cuts }
}
