import { afterEach, describe, expect, it } from 'vitest'
import { Filter } from '../../../src/gateway/ws/filter.ts'
import { encodeEvent } from '../../../src/market/encode.ts'
import type { Channel, Level, Payload } from '../../../src/market/event.ts'
import { topicOf } from '../../../src/market/topic.ts'
import type { FiltersAsked } from '../../../src/protocol/commands.ts'
import { type Said, TestGateway, ticker, trade, until } from './gateway.ts'
import { PlainBook } from './plain-book.ts'

const sized = (size: string): Payload => ({ type: 'trade', price: '1', size, side: 'buy' })

function passes(asked: FiltersAsked, time: string, payload: Payload = trade(1), channel: Channel = 'trades') {
  const sourceTime = Date.parse(time) * 1_000
  const received = { receivedTime: sourceTime + 86_400_000_000, publishedTime: sourceTime }
  const event = encodeEvent(
    topicOf('venue', channel, 'A'),
    { epoch: 1, seq: 1, sourceTime, ...received },
    payload,
  )
  return new Filter(channel, asked).passes(event)
}

const london = { marketHours: { from: '08:00', to: '17:00', timezone: 'Europe/London' } }
const sydneyNight = { marketHours: { from: '22:00', to: '06:00', timezone: 'Australia/Sydney' } }

describe('market hours', () => {
  it.each([
    // The clocks of London go forward on 2026-03-29 and back on 2026-10-25.
    ['2026-03-27T07:59:59Z', false],
    ['2026-03-27T08:00:00Z', true],
    ['2026-03-27T16:59:59.999Z', true],
    ['2026-03-27T17:00:00Z', false],
    ['2026-03-30T06:59:59Z', false],
    ['2026-03-30T07:00:00Z', true],
    ['2026-03-30T16:00:00Z', false],
    ['2026-10-26T07:30:00Z', false],
    ['2026-10-26T08:00:00Z', true],
  ])('of London at %s: %s', (time, open) => {
    expect(passes(london, time)).toBe(open)
  })

  it('change in the very minute in which the clocks do', () => {
    const hours = { marketHours: { from: '02:00', to: '02:30', timezone: 'Europe/London' } }
    // 01:00 UTC is 02:00 there at once: the hour from 01:00 does not exist.
    expect(passes(hours, '2026-03-29T00:59:59Z')).toBe(false)
    expect(passes(hours, '2026-03-29T01:00:00Z')).toBe(true)
    expect(passes(hours, '2026-03-29T01:29:59Z')).toBe(true)
    expect(passes(hours, '2026-03-29T01:30:00Z')).toBe(false)
  })

  it.each([
    ['2026-01-05T10:59:59Z', false],
    ['2026-01-05T11:00:00Z', true],
    ['2026-01-05T18:59:59Z', true],
    ['2026-01-05T19:00:00Z', false],
  ])('that go over midnight, of Sydney at %s: %s', (time, open) => {
    expect(passes(sydneyNight, time)).toBe(open)
  })

  it.each([
    ['2026-11-20T23:59:59Z', 'UTC', true],
    ['2026-11-21T00:00:00Z', 'UTC', false],
    ['2026-11-22T23:59:59Z', 'UTC', false],
    ['2026-11-23T00:00:00Z', 'UTC', true],
    // Friday evening in New York is Saturday in UTC, Monday morning in Tokyo is Sunday.
    ['2026-11-21T02:00:00Z', 'America/New_York', true],
    ['2026-11-22T16:00:00Z', 'Asia/Tokyo', true],
    ['2026-11-22T16:00:00Z', 'Asia/Kolkata', false],
  ])('weekends are those of the time zone: %s in %s: %s', (time, timezone, open) => {
    const marketHours = { from: '00:00', to: '00:00', timezone }
    expect(passes({ excludeWeekends: true, marketHours }, time)).toBe(open)
    if (timezone === 'UTC') expect(passes({ excludeWeekends: true }, time)).toBe(open)
  })

  it('agree with Intl at every quarter of an hour of a year, in zones with odd offsets', () => {
    for (const timezone of [
      'Australia/Lord_Howe',
      'Asia/Kathmandu',
      'America/St_Johns',
      'Africa/Casablanca',
    ]) {
      const format = new Intl.DateTimeFormat('en-GB', {
        timeZone: timezone,
        hour: '2-digit',
        minute: '2-digit',
      })
      const filter = { marketHours: { from: '09:10', to: '15:40', timezone } }
      for (let time = Date.UTC(2026, 0, 1); time < Date.UTC(2027, 0, 1); time += 33 * 900_000 + 7_000) {
        const local = format.format(time)
        const at = new Date(time).toISOString()
        expect([at, passes(filter, at)]).toEqual([at, local >= '09:10' && local < '15:40'])
      }
    }
  })
})

describe('minimum volume', () => {
  it.each([
    ['0.5', '0.50', true],
    ['0.5', '0.4999999999999999999', false],
    ['0.5', '123456789012345678901234567890', true],
    ['0', '0.0', true],
  ])('of %s lets a trade of %s pass: %s', (minVolume, size, open) => {
    expect(passes({ minVolume }, '2026-11-23T00:00:00Z', sized(size))).toBe(open)
  })

  it('of a ticker is its volume; one that does not say it does not pass, and a gap always does', () => {
    const at = '2026-11-23T00:00:00Z'
    expect(passes({ minVolume: '5' }, at, { type: 'ticker', volume: '7' }, 'ticker')).toBe(true)
    expect(passes({ minVolume: '5' }, at, { type: 'ticker', last: '7' }, 'ticker')).toBe(false)
    const gap: Payload = { type: 'gap', channel: 'ticker', reason: 'x', fromTime: 1, toTime: 2 }
    expect(passes({ minVolume: '5' }, at, gap, 'ticker')).toBe(true)
  })
})

let gateway: TestGateway | undefined
afterEach(async () => {
  await gateway?.stop()
  gateway = undefined
})

describe('a subscription with filters', () => {
  const large = { type: 'subscribe', channel: 'trades', symbols: ['*'], filters: { minVolume: '10' } }

  it('leaves out what does not pass, which prev shows, and echoes them', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'trades', 'A')
    const clients = [
      await gateway.client({ tier: 'premium' }),
      await gateway.client({ tier: 'premium' }),
    ] as const
    const all = await gateway.client({ tier: 'premium' })
    for (const client of clients)
      expect(await client.ask(large, 'subscribed')).toMatchObject({ filters: { minVolume: '10' } })
    await all.ask({ ...large, filters: {} }, 'subscribed')
    for (const size of ['1', '10', '2', '3', '11', '12', '4']) await gateway.publish(topic, sized(size))
    await until(() => all.ofType('trade').length === 7)
    for (const client of clients) {
      await client.settled()
      expect(client.ofType('trade').map(({ seq, prev }: Said) => [seq, prev])).toEqual([
        [2, undefined],
        [5, 2],
        [6, undefined],
      ])
    }
    const [one, other] = clients.map((client) => client.frames.filter((frame) => frame.includes('"trade"')))
    expect(one).toEqual(other)
    expect(await clients[0].ask({ type: 'list' }, 'subscriptions')).toMatchObject({
      subscriptions: [{ symbols: ['*'], filters: { minVolume: '10' } }],
    })
    await clients[0].ask({ ...large, filters: undefined }, 'subscribed')
    await gateway.publish(topic, sized('1'))
    await clients[0].next((m) => m.size === '1')
    expect(clients[0].ofType('trade').slice(3)).toMatchObject([{ seq: 7 }, { seq: 8 }])
  })

  it('resumes with them', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'trades', 'A')
    for (const size of ['1', '10', '2', '3', '11', '12', '4']) await gateway.publish(topic, sized(size))
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ ...large, resume: { 'venue|trades|A': [1_000, 2] } }, 'subscribed')
    await gateway.publish(topic, sized('20'))
    await until(() => client.ofType('trade').length === 3)
    expect(client.ofType('trade').map(({ seq, prev }: Said) => [seq, prev])).toEqual([
      [5, 2],
      [6, undefined],
      [8, 6],
    ])
  })

  it('compares the same volume with what each channel has', async () => {
    gateway = await new TestGateway().start()
    const trades = gateway.carry('venue', 'trades', 'A')
    const prices = gateway.carry('venue', 'ticker', 'A')
    const client = await gateway.client({ tier: 'premium' })
    await client.ask(large, 'subscribed')
    await client.ask({ ...large, channel: 'ticker' }, 'subscribed')
    await gateway.publish(prices, { type: 'ticker', volume: '10' })
    await gateway.publish(trades, sized('10'))
    await client.next((m) => m.type === 'trade')
    expect(client.ofType('ticker')).toHaveLength(1)
  })

  it.each<[string, string, Said]>([
    ['a zone that is none', 'ticker', { marketHours: { from: '08:00', to: '17:00', timezone: 'Mars/Base' } }],
    ['an hour that is none', 'ticker', { marketHours: { from: '24:00', to: '17:00', timezone: 'UTC' } }],
    ['a volume of odds', 'odds', { minVolume: '1' }],
    ['a volume that is no number', 'trades', { minVolume: '1e3' }],
    ['a field that is none', 'trades', { maxVolume: '1' }],
  ])('with %s gets 400', async (_what, channel, filters) => {
    gateway = await new TestGateway().start()
    const client = await gateway.client({ tier: 'premium' })
    const error = await client.ask(
      { type: 'subscribe', id: 3, channel, symbols: ['*'], filters },
      'subscribed',
    )
    expect(error).toMatchObject({ type: 'error', code: 400, id: 3 })
  })

  it('cannot be made with more different ones than a connection may hold', async () => {
    gateway = await new TestGateway().start()
    gateway.carry('venue', 'ticker', 'A')
    const client = await gateway.client({ tier: 'institutional' })
    for (let n = 0; n < 60; n++) {
      const filters = { minVolume: String(n) }
      client.send({ type: 'subscribe', channel: 'trades', symbols: [`${n}*`], filters })
    }
    await until(() => client.ofType('error').length === 10)
    expect(client.ofType('error')[0]).toMatchObject({ code: 405 })
    // What is covered by a newer subscription is forgotten: there is room again.
    const filters = { minVolume: '99' }
    expect(
      await client.ask({ type: 'unsubscribe', channel: 'trades', symbols: ['*'] }, 'unsubscribed'),
    ).toMatchObject({ type: 'unsubscribed' })
    expect(
      await client.ask({ type: 'subscribe', channel: 'trades', symbols: ['*'], filters }, 'subscribed'),
    ).toMatchObject({ type: 'subscribed' })
  })

  it('gives the latest value only if it passes', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'ticker', 'A')
    await gateway.publish(topic, ticker('1'))
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ ...large, channel: 'ticker' }, 'subscribed')
    await gateway.publish(topic, { type: 'ticker', volume: '10' })
    await until(() => client.ofType('ticker').length === 1)
    expect(client.ofType('ticker')[0]).toMatchObject({ seq: 2 })
  })

  it('of a book has in the next delta all that was left out', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('venue', 'orderbook', 'A')
    const client = await gateway.client({ tier: 'institutional' })
    const publish = (kind: 'snapshot' | 'delta', bids: Level[], time: string) =>
      gateway!.publish(
        topic,
        { type: 'orderbook', kind, bids, asks: [['9', '1']], depth: 0 },
        { sourceTime: Date.parse(time) * 1_000 },
      )
    await publish('snapshot', [['1', '1']], '2026-11-23T09:00:00Z')
    const subscribe = { type: 'subscribe', channel: 'orderbook', symbols: ['A'], filters: london }
    await client.ask(subscribe, 'subscribed')
    await publish('delta', [['2', '1']], '2026-11-23T18:00:00Z')
    await publish('delta', [['3', '1']], '2026-11-23T19:00:00Z')
    await publish('delta', [['1', '0']], '2026-11-23T20:00:00Z')
    await publish('delta', [['4', '1']], '2026-11-24T09:00:00Z')
    await until(() => client.ofType('orderbook').length === 2)
    expect(client.ofType('orderbook')[1]).toMatchObject({ kind: 'delta', seq: 5, prev: 1 })
    const copy = new PlainBook()
    for (const event of client.ofType('orderbook')) copy.apply(event)
    expect(copy.top('bids', 10).map(([price]) => price)).toEqual(['4', '3', '2'])
    // Another one joins what this one has, and resumes from where it stands.
    await publish('delta', [['5', '1']], '2026-11-24T20:00:00Z')
    const other = await gateway.client({ tier: 'institutional' })
    const resume = { 'venue|orderbook|A': [1_000, 5] }
    await other.ask({ ...subscribe, resume: undefined }, 'subscribed')
    expect(await other.next((m) => m.type === 'orderbook')).toMatchObject({ kind: 'snapshot', seq: 5 })
    expect((await other.ask({ ...subscribe, resume }, 'subscribed')).unrecovered).toEqual(Object.keys(resume))
    await publish('delta', [['6', '1']], '2026-11-25T10:00:00Z')
    for (const one of [client, other]) {
      await until(() => one.ofType('orderbook').at(-1)?.seq === 7)
      const book = new PlainBook()
      for (const event of one.ofType('orderbook')) book.apply(event)
      expect(book.top('bids', 10).map(([price]) => price)).toEqual(['6', '5', '4', '3', '2'])
    }
  })
})
