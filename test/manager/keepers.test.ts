import { describe, expect, it } from 'vitest'
import type { Bus } from '../../src/bus/bus.ts'
import { now } from '../../src/clock.ts'
import type { BookRules, DecodedBook, DecodedEvent, TradesWanted } from '../../src/connectors/connector.ts'
import { venue as binance } from '../../src/connectors/venues/binance.ts'
import { venue as futures } from '../../src/connectors/venues/binance-futures.ts'
import { venue as coinbase } from '../../src/connectors/venues/coinbase.ts'
import { venue as okx } from '../../src/connectors/venues/okx.ts'
import { FeedgateError } from '../../src/errors.ts'
import type { FetchTrades } from '../../src/manager/backfill.ts'
import { BookKeeper } from '../../src/manager/book-keeper.ts'
import { PlainKeeper } from '../../src/manager/keeper.ts'
import { PATIENCE } from '../../src/manager/patience.ts'
import type { Position, Positions } from '../../src/manager/positions.ts'
import { Publisher } from '../../src/manager/publisher.ts'
import { TopicWriter } from '../../src/manager/topic-writer.ts'
import { TradeKeeper } from '../../src/manager/trade-keeper.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import type { Channel } from '../../src/market/event.ts'
import { topicOf } from '../../src/market/topic.ts'
import { SILENT, until, type Wire } from './venue-world.ts'

/** A topic's writer and what it wrote. */
function writing(channel: Channel, stored?: Position) {
  const events: EncodedEvent[] = []
  const bus: Bus = {
    publish: async (batch) => void events.push(...batch),
    reject: async () => {},
    subscribe: async function* () {},
    ends: async () => new Map(),
    tail: async function* () {},
    fault: () => undefined,
    close: async () => {},
  }
  const positions: Positions = { load: async () => {}, last: () => stored, stored: () => {}, close: () => {} }
  const publisher = new Publisher(bus, SILENT, () => {})
  const writer = new TopicWriter(topicOf('v', channel, 'BTC/USDT'), {
    publisher,
    positions,
    now,
    token: now(),
  })
  const written = async (): Promise<Wire[]> => {
    await publisher.close()
    return events.map((event) => JSON.parse(event.bytes.toString()))
  }
  return { writer, written, events }
}

let clock = 1_000_000
const trade = (id: string | undefined): DecodedEvent => ({
  kind: 'event',
  channel: 'trades',
  symbol: 'BTC/USDT',
  payload: { type: 'trade', ...(id !== undefined && { id }), price: '1', size: '1', side: 'buy' },
})
/** As the venue gives it again. */
const again = (id: string): DecodedEvent => ({ ...trade(id), flags: ['backfilled'] })
const settled = () => new Promise((resolve) => setTimeout(resolve, 5))
const none = (count: number) => Array.from({ length: count }, () => undefined)
const brief = (events: Wire[]) =>
  events.map((e) =>
    e.type === 'gap' ? `gap ${e.reason} ${e.fromVenueSeq ?? ''}-${e.toVenueSeq ?? ''}` : e.id,
  )

function keeping(
  options: { contiguousIds?: boolean; stored?: Position; fetch?: FetchTrades | undefined } = {},
) {
  const { writer, written } = writing('trades', options.stored)
  const rules = { contiguousIds: options.contiguousIds ?? true }
  const { stored, fetch } = options
  const keeper = new TradeKeeper({
    ...{ writer, rules, stored, fetch, patience: PATIENCE },
    ...{ changed: () => {}, now: () => clock++ },
  })
  const receive = (...ids: (string | undefined)[]) => {
    for (const id of ids) keeper.received(trade(id), clock++, 'current')
  }
  return { keeper, receive, written }
}

describe('trades', () => {
  it('are published once each, and a jump of the id is a hole, which a late trade still fills', async () => {
    const { receive, written } = keeping()
    receive('7', '8', '8', '11', '9', '11', '12')
    expect(brief(await written())).toEqual(['7', '8', 'gap sequence 9-10', '11', '9', '12'])
  })

  it('go on after one absurd id, or when the venue counts anew, and the break is told', async () => {
    const { receive, written } = keeping()
    receive('7', '900000000', '8', '9', '11')
    const seen = [
      '7',
      'gap sequence 8-899999999',
      '900000000',
      'gap sequence -',
      '8',
      '9',
      'gap sequence 10-10',
      '11',
    ]
    expect(brief(await written())).toEqual(seen)
  })

  it('keep ids above 2^53 exact', async () => {
    const { receive, written } = keeping()
    receive('9007199254740993', '9007199254740995')
    const events = await written()
    expect(events.map((e) => e.id ?? 'gap')).toEqual(['9007199254740993', 'gap', '9007199254740995'])
  })

  it('that a hole lacks are asked of the venue, and follow flagged; then the gap is told as repaired', async () => {
    const asked: TradesWanted[] = []
    const { keeper, receive, written } = keeping({
      fetch: async (wanted) => {
        asked.push(wanted)
        return { trades: [again('2'), again('3'), again('4')], complete: true }
      },
    })
    receive('1')
    keeper.interrupted()
    receive('4', '5')
    await settled()
    receive('6')
    const events = await written()
    expect(asked).toEqual([
      { afterId: '1', afterTime: expect.any(Number), untilId: '4', untilTime: expect.any(Number) },
    ])
    expect(brief(events)).toEqual(['1', 'gap reconnect 2-3', '4', '5', '2', '3', 'gap reconnect 2-3', '6'])
    expect(events.map((event) => event.flags?.[0])).toEqual([
      ...none(4),
      'backfilled',
      'backfilled',
      ...none(2),
    ])
    const [told, repaired] = events.filter((event) => event.type === 'gap')
    expect(repaired).toMatchObject({ fromTime: told.fromTime, toTime: told.toTime, repairedBy: 'backfill' })
    expect(told.repairedBy).toBeUndefined()
  })

  it('stay a gap where the venue gives only some of them, or does not answer', async () => {
    const some = keeping({ fetch: async () => ({ trades: [again('3')], complete: false }) })
    some.receive('1', '4')
    await settled()
    expect(brief(await some.written())).toEqual(['1', 'gap sequence 2-3', '4', '3'])
    const silent = keeping({ fetch: () => Promise.reject(new Error('no answer')) })
    silent.receive('1', '4')
    await settled()
    silent.keeper.close()
    expect(brief(await silent.written())).toEqual(['1', 'gap sequence 2-3', '4'])
  })

  it('missed while the program was down are asked for too', async () => {
    const { receive, written } = keeping({
      stored: { epoch: 1, seq: 9, receivedTime: 500, tradeIds: ['6', '7'] },
      fetch: async ({ afterId }) => ({ trades: [again(String(Number(afterId) + 1))], complete: true }),
    })
    receive('9')
    await settled()
    expect(brief(await written())).toEqual(['gap restart 8-8', '9', '8', 'gap restart 8-8'])
  })

  it('say after a reconnect what is missing where ids prove it, and that something may be where they do not', async () => {
    const proving = keeping()
    proving.receive('1')
    proving.keeper.interrupted()
    proving.receive('2')
    proving.keeper.interrupted()
    proving.receive('5')
    expect(brief(await proving.written())).toEqual(['1', '2', 'gap reconnect 3-4', '5'])
    const unproven = keeping({ contiguousIds: false })
    unproven.receive('1')
    unproven.keeper.interrupted()
    unproven.receive('1', '2')
    expect(brief(await unproven.written())).toEqual(['1', 'gap reconnect -', '2'])
  })

  it('are not doubled after a restart, and the first event of the new epoch is the gap, with what is missing', async () => {
    const stored = { epoch: 5, seq: 9, receivedTime: now() + 60_000_000, tradeIds: ['40', '41'] }
    const { receive, written } = keeping({ stored })
    receive('41', '44')
    const [gap, event] = await written()
    expect(gap).toMatchObject({
      reason: 'restart',
      fromVenueSeq: 42,
      toVenueSeq: 43,
      seq: 1,
      prevEpoch: 5,
      prevSeq: 9,
    })
    expect(gap.fromTime).toBe(stored.receivedTime)
    expect(gap.epoch).toBeGreaterThan(5)
    expect(event).toMatchObject({ id: '44', seq: 2 })
    expect(event.prevEpoch).toBeUndefined()
    // The clock stands a minute before what was stored; inside the topic time goes on all the same.
    expect([gap.receivedTime, event.receivedTime]).toEqual([stored.receivedTime + 1, stored.receivedTime + 2])
  })

  it('are missed, says a heartbeat that names one which has not come two seconds later', async () => {
    const { keeper, receive, written } = keeping()
    receive('10')
    keeper.lastTrade('12', clock)
    keeper.lastTrade('12', clock + 1_000_000)
    receive('11', '12')
    keeper.lastTrade('14', clock)
    keeper.lastTrade('15', clock + 2_500_000)
    receive('15')
    expect(brief(await written())).toEqual(['10', '11', '12', 'gap sequence 13-14', '15'])
  })

  it('come from two connections at once during a handover, each once', async () => {
    const { keeper, written } = keeping()
    keeper.received(trade('1'), clock++, 'current')
    expect(keeper.received(trade('1'), clock++, 'next')).toBe(true)
    keeper.received(trade('2'), clock++, 'current')
    keeper.received(trade('2'), clock++, 'old')
    expect(brief(await written())).toEqual(['1', '2'])
  })
})

describe('trades whose ids prove no order', () => {
  const keep = () => {
    const kept = keeping({ contiguousIds: false })
    const tell = (role: 'current' | 'next' | 'old', ...ids: string[]) =>
      ids.map((id) => kept.keeper.received(trade(id), clock++, role)).at(-1)
    return { ...kept, tell }
  }

  it('change connections at one that both tell; what the next told before waits', async () => {
    const { tell, written } = keep()
    tell('current', 'a', 'b')
    expect(tell('next', 'd', 'e')).toBe(false)
    expect(tell('current', 'c')).toBe(false)
    expect(tell('current', 'd')).toBe(true)
    tell('old', 'e')
    tell('current', 'f')
    expect(brief(await written())).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
  })

  it('have a hole before what the next connection told, when the one in charge breaks before both tell the same', async () => {
    const { keeper, tell, written } = keep()
    tell('current', 'a')
    tell('next', 'd')
    keeper.takenOver(true)
    tell('current', 'e')
    expect(brief(await written())).toEqual(['a', 'gap reconnect -', 'd', 'e'])
  })
})

describe('trades without ids', () => {
  const sold = (second: number, size: string): DecodedEvent => ({
    ...trade(undefined),
    sourceTime: 1_700_000_000_000_000 + second * 1_000_000,
    payload: { type: 'trade', price: '1', size, side: 'sell' },
  })
  const sizes = (events: Wire[]) => events.map((e) => (e.type === 'gap' ? `gap ${e.reason}` : e.size))

  it('that are sent again with a new subscription are told by their times, and nothing is missing then', async () => {
    const { keeper, written } = keeping({ contiguousIds: false })
    const tell = (...all: DecodedEvent[]) => {
      for (const one of all) keeper.received(one, clock++, 'current')
    }
    tell(sold(1, '1'), sold(2, '2'), sold(2, '2'))
    keeper.interrupted()
    keeper.acknowledged()
    tell(sold(1, '1'), sold(2, '2'), sold(2, '2'), sold(2, '3'), sold(4, '4'), sold(4, '4'))
    keeper.interrupted()
    keeper.acknowledged()
    tell(sold(9, '9'))
    expect(sizes(await written())).toEqual(['1', '2', '2', '3', '4', '4', 'gap reconnect', '9'])
  })
})

describe('topics that prove nothing', () => {
  it('declare a hole before the first event after an interruption', async () => {
    const { writer, written } = writing('ticker')
    const keeper = new PlainKeeper(writer, () => {})
    const tick = (): DecodedEvent => ({
      ...trade('1'),
      channel: 'ticker',
      payload: { type: 'ticker', bid: '1' },
    })
    keeper.received(tick(), 1, 'current')
    keeper.interrupted()
    keeper.received(tick(), 1, 'current')
    keeper.received(tick(), 1, 'current')
    const events = await written()
    expect(events.map((e) => [e.type, e.seq])).toEqual([
      ['ticker', 1],
      ['gap', 2],
      ['ticker', 3],
      ['ticker', 4],
    ])
    expect(events.map((e) => e.receivedTime)).toEqual([1, 2, 3, 4])
  })
})

const diff = (first: number, last: number, bid = '1', size = '5'): DecodedBook => ({
  kind: 'book',
  symbol: 'BTC/USDT',
  snapshot: false,
  bids: [[bid, size]],
  asks: [],
  first,
  last,
})
const snapshot = (last: number, bids: [string, string][] = [['1', '1']]): DecodedBook => ({
  ...diff(last, last),
  snapshot: true,
  bids,
  asks: [['9', '1']],
})

function booking(rules: BookRules, fetches: (() => Promise<DecodedBook>)[] = [], depth = 1000) {
  const { writer, written, events } = writing('orderbook')
  const states: string[] = []
  let asked = 0
  let fetched = 0
  const keeper = new BookKeeper({
    source: 'v',
    symbol: 'BTC/USDT',
    writer,
    rules,
    patience: PATIENCE,
    depth: () => depth,
    now,
    ...((rules.snapshots === 'rest' || fetches.length > 0) && {
      fetch: () => fetches[fetched++]?.() ?? new Promise<DecodedBook>(() => {}),
    }),
    resubscribe: () => asked++,
    changed: (state) => states.push(state),
    unknown: () => states.push('refused'),
  })
  return { keeper, written, events, states, asked: () => asked, fetched: () => fetched }
}
const kinds = (events: Wire[]) =>
  events.map((e) =>
    e.type === 'gap' ? `gap ${e.reason}` : `${e.kind} ${e.venueSeq?.join('-') ?? ''}`.trim(),
  )

describe('a book with REST snapshots', () => {
  it('publishes the snapshot, then what was buffered and applies, then what follows', async () => {
    const { keeper, written } = booking(binance.book, [async () => snapshot(10)])
    for (const [first, last] of [
      [5, 9],
      [10, 10],
      [9, 12],
      [13, 15],
    ])
      keeper.received(diff(first!, last!), clock++, 'current')
    await Promise.resolve()
    await Promise.resolve()
    keeper.received(diff(14, 15), clock++, 'current')
    keeper.received(diff(16, 16), clock++, 'current')
    expect(kinds(await written())).toEqual(['snapshot 10-10', 'delta 9-12', 'delta 13-15', 'delta 16-16'])
  })

  it('is live at once with nothing buffered: a quiet symbol does not wait', async () => {
    const { keeper, states, written } = booking(binance.book, [async () => snapshot(10)])
    keeper.acknowledged()
    await until('live', () => states.at(-1) === 'live')
    expect(kinds(await written())).toEqual(['snapshot 10-10'])
  })

  it('fetches again when the snapshot is older than the buffer', async () => {
    const { keeper, states, fetched, written } = booking(binance.book, [
      async () => snapshot(10),
      async () => snapshot(21),
    ])
    keeper.received(diff(20, 22), clock++, 'current')
    await until('live', () => states.at(-1) === 'live')
    expect(fetched()).toBe(2)
    expect(kinds(await written())).toEqual(['snapshot 21-21', 'delta 20-22'])
  })

  it('declares a hole in the sequence and rebuilds; nothing after the hole is published on the broken book', async () => {
    const { keeper, states, written } = booking(binance.book, [
      async () => snapshot(10),
      async () => snapshot(16),
    ])
    keeper.acknowledged()
    await until('live', () => states.at(-1) === 'live')
    keeper.received(diff(11, 12), clock++, 'current')
    keeper.received(diff(15, 17), clock++, 'current')
    expect(states.at(-1)).toBe('syncing')
    keeper.received(diff(18, 18), clock++, 'current')
    await until('live again', () => states.at(-1) === 'live')
    const events = await written()
    expect(kinds(events)).toEqual([
      ...['snapshot 10-10', 'delta 11-12', 'gap sequence', 'snapshot 16-16', 'delta 15-17', 'delta 18-18'],
    ])
    expect(events[2]).toMatchObject({ fromVenueSeq: 13, toVenueSeq: 14, fromTime: events[1].receivedTime })
  })

  it('asks again when a snapshot cannot be had, and is refused when the venue knows no such symbol', async () => {
    const failing = booking(binance.book, [
      async () => {
        throw new FeedgateError('venue-unavailable', 'refused: HTTP 429', { retryAfterMs: 50 })
      },
      async () => snapshot(3),
    ])
    failing.keeper.acknowledged()
    await until('live', () => failing.states.at(-1) === 'live')
    const unknown = booking(binance.book, [
      async () => {
        throw new FeedgateError('unknown-symbol', 'refused: HTTP 400')
      },
    ])
    unknown.keeper.acknowledged()
    await until('refused', () => unknown.states.at(-1) === 'refused')
    expect(await unknown.written()).toEqual([])
  })

  it('changes connections without a hole as soon as both say the same', async () => {
    const { keeper, states, written } = booking(binance.book, [async () => snapshot(10)])
    keeper.acknowledged()
    await until('live', () => states.at(-1) === 'live')
    expect(keeper.received(diff(14, 15), clock++, 'next')).toBe(false)
    expect(keeper.received(diff(11, 12), clock++, 'current')).toBe(false)
    expect(keeper.received(diff(13, 13), clock++, 'current')).toBe(true)
    keeper.received(diff(14, 15), clock++, 'old')
    keeper.received(diff(16, 16), clock++, 'current')
    expect(kinds(await written())).toEqual([
      ...['snapshot 10-10', 'delta 11-12', 'delta 13-13', 'delta 14-15', 'delta 16-16'],
    ])
  })
})

describe('a book that the venue sends whole', () => {
  it('begins with its snapshot, and each unasked one replaces it', async () => {
    const { keeper, written } = booking(coinbase.book)
    keeper.received({ ...diff(0, 0), first: undefined, last: undefined }, clock++, 'current')
    keeper.received({ ...snapshot(0), first: undefined, last: undefined }, clock++, 'current')
    keeper.received({ ...snapshot(0), first: undefined, last: undefined }, clock++, 'current')
    expect(kinds(await written())).toEqual(['snapshot', 'snapshot'])
  })

  it('is crossed where nothing else could prove a loss: asked for again, and not published', async () => {
    const { keeper, written, asked } = booking(coinbase.book)
    keeper.received({ ...snapshot(0), first: undefined, last: undefined }, clock++, 'current')
    keeper.received({ ...diff(0, 0, '9.5'), first: undefined, last: undefined }, clock++, 'current')
    keeper.received({ ...diff(0, 0, '2'), first: undefined, last: undefined }, clock++, 'current')
    await until('asked again', () => asked() === 1)
    expect(kinds(await written())).toEqual(['snapshot', 'gap crossed'])
  })

  it('says which levels fell out where the venue keeps only the depth asked and does not tell', async () => {
    const { keeper, events, written } = booking({ snapshots: 'stream', truncates: true }, [], 2)
    const levels = (bids: [string, string][]) => ({ ...snapshot(0, bids), first: undefined, last: undefined })
    keeper.received(
      levels([
        ['3', '1'],
        ['2', '1'],
      ]),
      clock++,
      'current',
    )
    keeper.received({ ...levels([['4', '1']]), snapshot: false, asks: [] }, clock++, 'current')
    await written()
    expect(events.at(-1)?.payload).toMatchObject({
      kind: 'delta',
      bids: [
        ['4', '1'],
        ['2', '0'],
      ],
      asks: [],
    })
  })

  it('carries a checksum on every snapshot and at least once a second on a delta', async () => {
    const { keeper, events, written } = booking(coinbase.book)
    const begun = 1_700_000_000_000_000
    keeper.received({ ...snapshot(0), first: undefined, last: undefined }, begun, 'current')
    for (let i = 1; i <= 30; i++)
      keeper.received(
        { ...diff(0, 0, '2', `${i}`), first: undefined, last: undefined },
        begun + i * 100_000,
        'current',
      )
    await written()
    const times = events
      .filter((event) => (event.payload as { checksum?: number }).checksum !== undefined)
      .map((event) => event.receivedTime - begun)
    expect(times[0]).toBe(0)
    for (let i = 1; i < times.length; i++) expect(times[i]! - times[i - 1]!).toBeLessThanOrEqual(1_000_000)
    expect(times.at(-1)).toBeGreaterThan(2_000_000)
  })
})

describe('a book whose venue should send snapshots and may be asked for one', () => {
  /** OKX's: a message names the one before. */
  const update = (previous: number, last: number): DecodedBook => {
    const { first: _, ...rest } = diff(last, last)
    return { ...rest, previous }
  }
  const { first: _, ...okxSnapshot } = snapshot(10)

  it('is fetched when changes come without one, and goes on with the first that reaches over it', async () => {
    const { keeper, written, fetched } = booking(okx.book, [async () => okxSnapshot], 400)
    for (const [previous, last] of [
      [2, 5],
      [5, 8],
      [8, 13],
      [13, 20],
    ])
      keeper.received(update(previous!, last!), clock++, 'current')
    await settled()
    keeper.received(update(20, 22), clock++, 'current')
    keeper.received(update(23, 25), clock++, 'current')
    keeper.close()
    expect(fetched()).toBe(1)
    expect(kinds(await written())).toEqual([
      ...['snapshot 10-10', 'delta 13-13', 'delta 20-20', 'delta 22-22', 'gap sequence'],
    ])
  })

  it('is not fetched when the venue sends it, and takes ids that begin anew', async () => {
    const { keeper, written, fetched } = booking(okx.book, [async () => okxSnapshot], 400)
    keeper.acknowledged()
    keeper.received(okxSnapshot, clock++, 'current')
    keeper.received(update(10, 3), clock++, 'current')
    keeper.received(update(3, 4), clock++, 'current')
    expect(fetched()).toBe(0)
    expect(kinds(await written())).toEqual(['snapshot 10-10', 'delta 3-3', 'delta 4-4'])
  })
})

describe("a book of Binance's futures", () => {
  const futuresDiff = (previous: number, first: number, last: number): DecodedBook => ({
    ...diff(first, last),
    previous,
  })

  it('begins with the diff that holds the snapshot, and from then on each names the last', async () => {
    const { keeper, written } = booking(futures.book, [async () => snapshot(100), async () => snapshot(140)])
    for (const [previous, first, last] of [
      [80, 82, 99],
      [99, 99, 105],
      [105, 107, 110],
    ])
      keeper.received(futuresDiff(previous!, first!, last!), clock++, 'current')
    await settled()
    // One is left out; the book is fetched again, and the diff that showed the hole is older than that.
    keeper.received(futuresDiff(120, 122, 130), clock++, 'current')
    await settled()
    keeper.received(futuresDiff(130, 131, 150), clock++, 'current')
    expect(kinds(await written())).toEqual([
      ...['snapshot 100-100', 'delta 99-105', 'delta 107-110'],
      ...['gap sequence', 'snapshot 140-140', 'delta 131-150'],
    ])
  })
})
