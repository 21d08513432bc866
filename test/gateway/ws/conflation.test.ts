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

const price = (side: 'bids' | 'asks') =>
  fc
    .integer({ min: 0, max: 60 })
    .map((ticks) => (100 + (side === 'asks' ? ticks : -1 - ticks) / 100).toFixed(2))
const size = fc.oneof(
  { weight: 2, arbitrary: fc.constant('0') },
  { weight: 5, arbitrary: fc.integer({ min: 1, max: 9 }).map((n) => `${n}.50`) },
)
const levels = (side: 'bids' | 'asks') =>
  fc.uniqueArray(fc.tuple(price(side), size), { maxLength: 8, selector: ([at]) => at })
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

const DEPTHS = [5, 10, 25, 'full'] as const
const RUNS = Number(process.env.BOOK_RUNS ?? 12)

describe('a conflated book', () => {
  it('is the book of the gateway after every message, at every depth, however it was merged', async () => {
    gateway = await new TestGateway({ tiers: tier('institutional', { commandsPerSecond: 100_000 }) }).start()
    const clients = await Promise.all(
      [...DEPTHS, ...DEPTHS].map(async (depth, index) => ({
        ...{ depth, joinsLate: index >= DEPTHS.length },
        client: await gateway.client({ tier: 'institutional' }),
      })),
    )
    let runs = 0
    let merged = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(message, { minLength: 5, maxLength: 60 }),
        fc.nat(20),
        async (all, joinAt) => {
          const symbol = `RUN${++runs}`
          const topic = gateway.carry('venue', 'orderbook', symbol)
          const venue = new PlainBook()
          const states = new Map<number, PlainBook>()
          const publish = async (payload: Payload) => {
            const event = gateway.event(topic, payload)
            if (payload.type === 'orderbook') venue.apply(payload as Said)
            const frozen = new PlainBook()
            frozen.apply({ kind: 'snapshot', bids: [...venue.bids], asks: [...venue.asks] })
            states.set(event.seq, frozen)
            await gateway.cache.apply([event])
          }
          const book = (kind: 'snapshot' | 'delta', bids: Level[], asks: Level[]) =>
            publish({ type: 'orderbook', kind, bids, asks, depth: 0 })
          const join = (late: boolean) =>
            Promise.all(
              clients
                .filter(({ joinsLate }) => joinsLate === late)
                .map(({ client, depth }) =>
                  client.ask(
                    { type: 'subscribe', channel: 'orderbook', symbols: [symbol], depth, conflateMs: 4 },
                    'subscribed',
                  ),
                ),
            )
          await join(false)
          await book('snapshot', [['99.00', '1.50']], [['101.00', '2.50']])
          let known = true
          for (const [index, [bids, asks, kind]] of all.entries()) {
            if (index === Math.min(joinAt, all.length - 1)) await join(true)
            if (kind === 'wait') await pause(6)
            else if (kind === 'gap') {
              known = false
              await publish({ type: 'gap', channel: 'orderbook', reason: 'x', fromTime: 1, toTime: 2 })
            } else if (kind === 'snapshot' || !known) {
              known = true
              await book('snapshot', bids, asks)
            } else await book('delta', bids, asks)
          }
          await book('snapshot', [['99.50', '1.50']], [['101.00', '7.50']])
          const last = states.size
          for (const one of clients) {
            const mine = () => one.client.messages.filter((m) => m.symbol === symbol && m.seq !== undefined)
            await until(() => mine().at(-1)?.seq === last)
            const copy = new PlainBook()
            const shown = one.depth === 'full' ? 1_000 : one.depth
            let seq = 0
            for (const event of mine()) {
              expect(event.seq).toBeGreaterThan(seq)
              if (seq > 0) expect(event.prev ?? event.seq - 1).toBe(seq)
              seq = event.seq
              if (event.type !== 'orderbook') continue
              copy.apply(event)
              if (event.kind === 'delta' && event.conflated) merged++
              const truth = states.get(event.seq)!
              for (const side of ['bids', 'asks'] as const) {
                expect(copy.top(side, 1_000)).toEqual(truth.top(side, shown))
              }
              if (event.checksum !== undefined)
                expect(event.checksum).toBe(bookChecksum(truth.top('bids', shown), truth.top('asks', shown)))
            }
          }
        },
      ),
      { numRuns: RUNS },
    )
    expect(merged).toBeGreaterThan(RUNS)
  }, 120_000)
})
