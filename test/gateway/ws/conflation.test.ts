import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import type { Level, Payload } from '../../../src/market/event.ts'
import { bookChecksum } from '../../../src/market/order-book.ts'
import { pause, type Said, TestGateway, ticker, tier, trade, until } from './gateway.ts'
import { PlainBook } from './plain-book.ts'

let gateway: TestGateway
afterEach(() => gateway.stop())

const seqs = (events: readonly Said[]) => events.map((event) => event.seq)

/** Times at which frames that hold such an event came, ms. */
function arrivals(
  socket: { on(event: 'message', listener: (data: unknown) => void): unknown },
  type: string,
) {
  const times: number[] = []
  socket.on('message', (data) => {
    if (String(data).includes(`"type":"${type}"`)) times.push(performance.now())
  })
  return times
}

describe('a conflated state', () => {
  it('is sent at most once in the time asked for, the newest for the older ones, to all who share it', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'ticker', 'A')
    const subscribe = { type: 'subscribe', channel: 'ticker', symbols: ['A'], conflateMs: 150 }
    const clients = [
      await gateway.client({ tier: 'premium' }),
      await gateway.client({ tier: 'premium' }),
    ] as const
    for (const client of clients)
      expect(await client.ask(subscribe, 'subscribed')).toMatchObject({ conflateMs: 150 })
    const times = arrivals(clients[0].socket, 'ticker')
    for (let n = 1; n <= 60; n++) {
      await gateway.publish(topic, ticker(`${n}`))
      await pause(8)
    }
    for (const client of clients) await until(() => client.ofType('ticker').at(-1)?.seq === 60)
    const events = clients[0].ofType('ticker')
    expect(events.length).toBeGreaterThan(2)
    expect(events.length).toBeLessThan(15)
    for (const [index, event] of events.entries()) {
      if (index === 0) continue
      expect(event.prev ?? event.seq - 1).toBe(events[index - 1]!.seq)
      expect(event.conflated ?? false).toBe(event.seq - events[index - 1]!.seq > 1)
    }
    expect(times.at(-1)! - times[0]!).toBeGreaterThan(150 * (times.length - 1) * 0.8)
    const mine = clients.map((client) => client.frames.filter((frame) => frame.includes('"ticker","source"')))
    expect(mine[0]).toEqual(mine[1])
  })

  it('of one who joins later is what the others were sent last, and nothing comes twice', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'ticker', 'A')
    const subscribe = { type: 'subscribe', channel: 'ticker', symbols: ['A'], conflateMs: 400 }
    const first = await gateway.client({ tier: 'premium' })
    await first.ask(subscribe, 'subscribed')
    for (let n = 1; n <= 3; n++) {
      await gateway.publish(topic, ticker(`${n}`))
      await pause(30)
    }
    const second = await gateway.client({ tier: 'premium' })
    await second.ask(subscribe, 'subscribed')
    const third = await gateway.client({ tier: 'premium' })
    await third.ask({ ...subscribe, resume: { 'venue|ticker|A': [1_000, 1] } }, 'subscribed')
    // What waited when the third came has left, and to the third only once.
    for (const client of [first, second, third]) await until(() => client.ofType('ticker').at(-1)?.seq === 3)
    await pause(450)
    for (let n = 4; n <= 6; n++) await gateway.publish(topic, ticker(`${n}`))
    for (const client of [first, second, third]) {
      await until(() => client.ofType('ticker').at(-1)?.seq === 6)
      const all = seqs(client.ofType('ticker'))
      expect(all).toEqual([...new Set(all)].sort((one, other) => one - other))
    }
    expect(seqs(third.ofType('ticker')).slice(0, 2)).toEqual([2, 3])
  })

  it('never leaves out a closed candle', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'ohlcv', 'A', '1m')
    const candle = (openTime: number, closed: boolean, revision: number): Payload => ({
      ...{ type: 'ohlcv', timeframe: '1m', openTime, open: '1', high: '1', low: '1', close: '1' },
      ...{ volume: '1', closed, origin: 'venue', revision },
    })
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'ohlcv', symbols: ['A'], conflateMs: 300 }, 'subscribed')
    let sent = 0
    for (let minute = 1; minute <= 20; minute++)
      for (let revision = 0; revision <= 5; revision++) {
        sent++
        await gateway.publish(topic, candle(minute * 60_000_000, revision === 5, revision))
      }
    await until(() => client.ofType('ohlcv').at(-1)?.seq === sent)
    const closed = client.ofType('ohlcv').filter((event) => event.closed)
    expect(closed.map((event) => event.openTime)).toEqual(
      Array.from({ length: 20 }, (_, index) => (index + 1) * 60_000_000),
    )
    expect(client.ofType('ohlcv').length).toBeLessThan(sent)
    expect(seqs(client.ofType('ohlcv'))).toEqual(seqs(client.ofType('ohlcv')).toSorted((a, b) => a - b))
  })

  it('never holds back a market: its suspension leaves at once, behind the prices before it', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'odds', 'MATCH')
    const market = { eventId: 'MATCH', marketId: 'm', market: 'Winner' }
    const price = (selectionId: string, odds: string): Payload => ({
      ...{
        type: 'odds',
        kind: 'price',
        ...market,
        selectionId,
        selection: selectionId,
        side: 'back',
        level: 0,
      },
      ...{ odds, sourcePrice: odds, sourceFormat: 'decimal', marketVersion: 1 },
    })
    const state = (status: 'OPEN' | 'SUSPENDED', version: number): Payload => ({
      ...{ type: 'odds', kind: 'market', ...market, phase: 'LIVE', status, version, selections: [] },
    })
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'subscribe', channel: 'odds', symbols: ['*'], conflateMs: 60_000 }, 'subscribed')
    await gateway.publish(topic, state('OPEN', 1))
    await client.next((m) => m.seq === 1)
    for (const odds of ['1.5', '1.6', '1.7']) await gateway.publish(topic, price('home', odds))
    await gateway.publish(topic, price('away', '3'))
    await gateway.publish(topic, state('SUSPENDED', 2))
    await until(() => client.ofType('odds').at(-1)?.seq === 6)
    const after = client.ofType('odds').filter((event) => event.seq > 1)
    expect(after.map(({ seq, odds, status }) => [seq, odds ?? status])).toEqual([
      [4, '1.7'],
      [5, '3'],
      [6, 'SUSPENDED'],
    ])
  })
})

describe('conflation', () => {
  it('is not for events, and is never less than the floor of the tier', async () => {
    gateway = await new TestGateway({ tiers: tier('premium', { conflateMs: 250 }) }).start()
    const topic = gateway.carry('venue', 'trades', 'A')
    gateway.carry('venue', 'ticker', 'A')
    const client = await gateway.client({ tier: 'premium' })
    const subscribe = { type: 'subscribe', symbols: ['A'] }
    expect(
      await client.ask({ ...subscribe, channel: 'trades', conflateMs: 1_000 }, 'subscribed'),
    ).toMatchObject({
      conflateMs: 0,
    })
    expect(
      await client.ask({ ...subscribe, channel: 'ticker', conflateMs: 100 }, 'subscribed'),
    ).toMatchObject({
      conflateMs: 250,
    })
    await gateway.cache.apply(Array.from({ length: 50 }, (_, id) => gateway.event(topic, trade(id))))
    await until(() => client.ofType('trade').length === 50)
    const { subscriptions } = await client.ask({ type: 'list' }, 'subscriptions')
    expect(subscriptions.map((entry: Said) => entry.conflateMs)).toEqual([0, 250])
  })
})

const price = (side: 'bids' | 'asks', ticks: number) =>
  (100 + (side === 'asks' ? ticks : -1 - ticks) / 100).toFixed(2)
const size = fc.oneof(
  { weight: 2, arbitrary: fc.constant('0') },
  { weight: 5, arbitrary: fc.integer({ min: 1, max: 9 }).map((n) => `${n}.50`) },
)
const levels = (side: 'bids' | 'asks') =>
  fc.uniqueArray(
    fc.tuple(
      // Near the best price and far from it, so that levels come and go at every depth.
      fc.oneof(fc.nat(12), fc.nat(130)).map((ticks) => price(side, ticks)),
      size,
    ),
    { maxLength: 8, selector: ([at]) => at },
  )
/** A message of the venue, and what happens before it: nothing, a wait, a snapshot, a hole. */
const message = fc.tuple(
  levels('bids'),
  levels('asks'),
  fc.oneof(
    { weight: 12, arbitrary: fc.constant('delta' as const) },
    { weight: 5, arbitrary: fc.constant('wait' as const) },
    { weight: 1, arbitrary: fc.constantFrom('snapshot' as const, 'gap' as const) },
  ),
)

const SIDES = ['bids', 'asks'] as const
const DEPTHS = [5, 10, 25, 100, 'full'] as const
const RUNS = Number(process.env.BOOK_RUNS ?? 12)
/** More levels than any depth but the full one. */
const whole = (side: 'bids' | 'asks') =>
  Array.from({ length: 110 }, (_, ticks): Level => [price(side, ticks), '1.50'])

/** The book of the venue after each event, best first. */
class Truth {
  readonly #venue = new PlainBook()
  readonly #after = new Map<number, Record<'bids' | 'asks', Level[]>>()

  take(seq: number, payload: Payload): void {
    if (payload.type === 'orderbook') this.#venue.apply(payload as Said)
    const all = Number.POSITIVE_INFINITY
    this.#after.set(seq, { bids: this.#venue.top('bids', all), asks: this.#venue.top('asks', all) })
  }

  at(seq: number, depth: number | 'full'): Record<'bids' | 'asks', Level[]> {
    const { bids, asks } = this.#after.get(seq)!
    const count = depth === 'full' ? bids.length + asks.length : depth
    return { bids: bids.slice(0, count), asks: asks.slice(0, count) }
  }
}

/** What a client was sent of a book: each message follows the one before, and is the venue's book after it. */
function expectBooks(events: readonly Said[], truth: Truth, depth: number | 'full'): void {
  const copy = new PlainBook()
  let before: Said | undefined
  for (const event of events) {
    if (before) expect(event.seq).toBeGreaterThan(before.seq)
    if (before) expect(event.prev ?? event.seq - 1).toBe(before.seq)
    before = event
    if (event.type !== 'orderbook') continue
    copy.apply(event)
    const book = truth.at(event.seq, depth)
    for (const side of SIDES) expect(copy[side]).toEqual(new Map(book[side]))
    if (event.checksum !== undefined) expect(event.checksum).toBe(bookChecksum(book.bids, book.asks))
  }
}

/** Of `premium` frames are paced: what is due meanwhile is thinned, as it is for a client that reads too slowly. */
const tiers = {
  ...tier('institutional', { commandsPerSecond: 100_000 }),
  premium: tier('premium', {
    ...{ bookDepth: Number.POSITIVE_INFINITY, commandsPerSecond: 100_000, connections: 50 },
    ...{ framesPerMinute: 10_000, frameBurst: 1 },
  }).premium,
}

describe('a conflated book', () => {
  it('is the book of the gateway after every message, at every depth, however it was merged', async () => {
    gateway = await new TestGateway({ tiers }).start()
    const kinds = [
      { tier: 'institutional', joinsLate: false, conflateMs: 4 },
      { tier: 'institutional', joinsLate: true, conflateMs: 4 },
      { tier: 'premium', joinsLate: false, conflateMs: 0 },
    ] as const
    const clients = await Promise.all(
      kinds.flatMap((kind) =>
        DEPTHS.map(async (depth) => ({ ...kind, depth, client: await gateway.client({ tier: kind.tier }) })),
      ),
    )
    let runs = 0
    const merged = { institutional: 0, premium: 0 }
    await fc.assert(
      fc.asyncProperty(
        fc.array(message, { minLength: 5, maxLength: 60 }),
        fc.nat(20),
        async (all, joinAt) => {
          const symbol = `RUN${++runs}`
          const topic = gateway.carry('venue', 'orderbook', symbol)
          const truth = new Truth()
          let last = 0
          const publish = async (payload: Payload) => {
            const event = gateway.event(topic, payload)
            last = event.seq
            truth.take(last, payload)
            await gateway.cache.apply([event])
          }
          const book = (kind: 'snapshot' | 'delta', bids: Level[], asks: Level[]) =>
            publish({ type: 'orderbook', kind, bids, asks, depth: 0 })
          const join = (late: boolean) =>
            Promise.all(
              clients
                .filter(({ joinsLate }) => joinsLate === late)
                .map(({ client, depth, conflateMs }) =>
                  client.ask(
                    { type: 'subscribe', channel: 'orderbook', symbols: [symbol], depth, conflateMs },
                    'subscribed',
                  ),
                ),
            )
          await join(false)
          await book('snapshot', whole('bids'), whole('asks'))
          let known = true
          for (const [index, [bids, asks, kind]] of all.entries()) {
            if (index === Math.min(joinAt, all.length - 1)) await join(true)
            if (kind === 'wait') await pause(6)
            else if (kind === 'gap') {
              known = false
              await publish({ type: 'gap', channel: 'orderbook', reason: 'x', fromTime: 1, toTime: 2 })
            } else if (kind === 'snapshot' || !known) {
              known = true
              await book('snapshot', [...bids, ...whole('bids').slice(20)], asks.filter(isLevel))
            } else await book('delta', bids, asks)
          }
          await book('snapshot', [['99.50', '1.50']], [['101.00', '7.50']])
          for (const { client, depth, tier } of clients) {
            const mine = () => client.messages.filter((m) => m.symbol === symbol && m.seq !== undefined)
            await until(() => mine().at(-1)?.seq === last)
            expectBooks(mine(), truth, depth)
            merged[tier] += mine().filter((event) => event.conflated).length
          }
        },
      ),
      { numRuns: RUNS },
    )
    expect(merged.institutional).toBeGreaterThan(RUNS)
    expect(merged.premium).toBeGreaterThan(RUNS)
  }, 120_000)

  it('is the book of the gateway after events were missed, at every depth, whatever waited', async () => {
    gateway = await new TestGateway({ tiers }).start()
    const topic = gateway.carry('venue', 'orderbook', 'A')
    const truth = new Truth()
    const event = (kind: 'snapshot' | 'delta', bids: Level[], asks: Level[]) => {
      const payload: Payload = { type: 'orderbook', kind, bids, asks, depth: 0 }
      const next = gateway.event(topic, payload)
      truth.take(next.seq, payload)
      return next
    }
    const change = (n: number) =>
      event('delta', [[price('bids', n), n % 3 === 0 ? '0' : `${n}`]], [[price('asks', 2 * n), `${n}`]])
    const clients = await Promise.all(
      [0, 50].flatMap((conflateMs) =>
        DEPTHS.map(async (depth) => ({
          depth,
          conflateMs,
          client: await gateway.client({ tier: 'institutional' }),
        })),
      ),
    )
    await gateway.cache.apply([event('snapshot', whole('bids'), whole('asks'))])
    for (const { client, depth, conflateMs } of clients) {
      const command = { type: 'subscribe', channel: 'orderbook', symbols: ['A'], depth, conflateMs }
      await client.ask(command, 'subscribed')
    }
    for (let n = 1; n <= 10; n++) await gateway.cache.apply([change(n)])
    // Two of them never arrive and are stored nowhere: the cache's own book is whole only with the next snapshot.
    for (let n = 11; n <= 12; n++) change(n)
    await gateway.cache.apply([event('snapshot', whole('bids').slice(3), whole('asks').slice(5))])
    for (let n = 13; n <= 20; n++) await gateway.cache.apply([change(n)])
    for (const { client, depth } of clients) {
      await until(() => client.ofType('orderbook').at(-1)?.seq === 22)
      expect(client.ofType('resync')).toHaveLength(1)
      expectBooks(client.ofType('orderbook'), truth, depth)
    }
  }, 20_000)
})

function isLevel([, size]: readonly [string, string]): boolean {
  return size !== '0'
}
