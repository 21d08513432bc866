import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { BookLevels, type LocalBook } from '../../client/index.ts'
import { DepthView } from '../../src/market/depth-view.ts'
import { OrderBook } from '../../src/market/order-book.ts'
import { until } from '../whole/program.ts'
import { book, type Peer, ScriptedGateway, Watched } from './scripted-gateway.ts'

const TOPIC = 'x|orderbook|A/B'
const SNAPSHOT = {
  bids: [['99', '1.0']],
  asks: [['100', '2.50']],
  checksum: checksumOf([['99', '1.0']], [['100', '2.50']]),
}
let gateway: ScriptedGateway
let client: Watched
let local: LocalBook
let states: string[]

function checksumOf(bids: [string, string][], asks: [string, string][]): number {
  const levels = new OrderBook()
  levels.reset(bids, asks)
  return levels.checksum()
}

beforeEach(async () => {
  gateway = new ScriptedGateway()
  client = new Watched({ url: await gateway.url(), WebSocket })
  local = client.book({ source: 'x', symbol: 'A/B' })
  states = []
  local.on('state', ({ state, reason }) => {
    states.push(`${state}: ${reason}`)
    if (state === 'building') expect([local.bids(), local.asks()]).toEqual([[], []])
  })
})
afterEach(async () => {
  client.close()
  await gateway.close()
})

const was = (state: string) => states.some((one) => one.startsWith(state))

async function subscribed(nth = 0): Promise<Peer> {
  const peer = await gateway.peer(nth)
  await peer.command('subscribe')
  return peer
}

describe('a local book', () => {
  it('is built by a snapshot, kept up by deltas, proved by checksums', async () => {
    const peer = await subscribed()
    peer.send([
      book('snapshot', 5, SNAPSHOT),
      book('delta', 6, {
        bids: [['99.5', '3']],
        asks: [
          ['100', '0'],
          ['100.5', '1'],
        ],
      }),
      book('delta', 7, {
        bids: [['99.50', '4']],
        checksum: checksumOf(
          [
            ['99.50', '4'],
            ['99', '1.0'],
          ],
          [['100.5', '1']],
        ),
      }),
    ])
    await until(() => local.position?.[1] === 7)
    expect(local.bids()).toEqual([
      ['99.50', '4'],
      ['99', '1.0'],
    ])
    expect(local.asks()).toEqual([['100.5', '1']])
    expect([local.bestBid, local.bestAsk]).toEqual([
      ['99.50', '4'],
      ['100.5', '1'],
    ])
    expect([local.state, local.verified]).toEqual(['live', 2])
  })

  it('is dropped by a wrong checksum, and this one symbol is asked for again', async () => {
    const peer = await subscribed()
    let changes = 0
    local.on('change', () => changes++)
    peer.send(book('snapshot', 5, SNAPSHOT))
    await until(() => changes === 1)
    gateway.on('subscribe', (_peer, { id, channel, symbols }) => {
      peer.send({ type: 'subscribed', id, channel, symbols, conflateMs: 0 })
      peer.send(book('snapshot', 9, SNAPSHOT))
    })
    peer.send([book('delta', 6, { bids: [['98', '1']], checksum: 1 }), book('delta', 7), book('delta', 8)])
    await until(() => was('building'))
    expect(client.of('checksum')).toMatchObject([{ topic: TOPIC, at: [7, 6], expected: 1 }])
    const again = await peer.command('subscribe', 1)
    expect(await peer.command('unsubscribe')).toMatchObject({ source: 'x', symbols: ['A/B'] })
    expect(again).toMatchObject({ source: 'x', symbols: ['A/B'] })
    expect(again.resume).toBeUndefined()
    await until(() => local.state === 'live')
    expect([local.position, changes]).toEqual([[7, 9], 2])
    expect(states).toEqual(['live: snapshot', 'building: a wrong checksum', 'live: snapshot'])
  })

  it('is stale while the connection is away, and goes on where nothing was missed', async () => {
    const peer = await subscribed()
    peer.send(book('snapshot', 5, SNAPSHOT))
    await until(() => local.state === 'live')
    peer.socket.terminate()
    await until(() => was('stale'))
    expect(local.bestBid).toEqual(['99', '1.0'])
    const second = await subscribed(1)
    expect(second.of('subscribe')[0]?.resume).toEqual({ [TOPIC]: [7, 5] })
    await until(() => local.state === 'live')
    second.send(book('delta', 6, { bids: [['99', '0']] }))
    await until(() => local.position?.[1] === 6)
    expect(local.bids()).toEqual([])
  })

  it('is stale behind a hole, and goes on when what was missing has come', async () => {
    const peer = await subscribed()
    peer.send([book('snapshot', 5, SNAPSHOT), book('delta', 7, { bids: [['99', '0']] })])
    expect((await peer.command('subscribe', 1)).resume).toEqual({ [TOPIC]: [7, 5] })
    peer.send([book('delta', 6, { bids: [['98', '1']] }), book('delta', 7, { bids: [['99', '0']] })])
    await until(() => local.position?.[1] === 7)
    expect(local.bids()).toEqual([['98', '1']])
    expect(states).toEqual(['live: snapshot', 'stale: events are missing', 'live: resumed'])
  })

  it('is built anew where events were missed', async () => {
    const peer = await subscribed()
    peer.send(book('snapshot', 5, SNAPSHOT))
    await until(() => local.state === 'live')
    gateway.on('subscribe', (second, { id, channel, symbols }) =>
      second.send({ type: 'subscribed', id, channel, symbols, conflateMs: 0, unrecovered: [TOPIC] }),
    )
    peer.socket.terminate()
    const second = await subscribed(1)
    await until(() => was('building'))
    second.send(book('delta', 30, { bids: [['1', '1']] }))
    second.send(book('snapshot', 31, SNAPSHOT))
    await until(() => local.state === 'live')
    expect(local.bids()).toEqual(SNAPSHOT.bids)
  })

  it.each([
    [
      'a gap of its topic',
      { ...book('delta', 6), type: 'gap', channel: 'orderbook', reason: 'r', fromTime: 1, toTime: 2 },
    ],
    ['a resync', { type: 'resync', topic: TOPIC, reason: 'missed' }],
    ['a new epoch without a snapshot', book('delta', 1, { epoch: 8, prevSent: [7, 5], bids: [['1', '1']] })],
  ])('is not known after %s, until the next snapshot', async (_, message) => {
    const peer = await subscribed()
    peer.send(book('snapshot', 5, SNAPSHOT))
    peer.send(message)
    await until(() => was('building'))
    expect([local.bids(), local.asks()]).toEqual([[], []])
  })

  it('gets a snapshot where another subscription has the topic already, which is told', async () => {
    const seen: string[] = []
    client.subscribe({ channel: 'orderbook', symbols: ['C/D'] }, (item) => seen.push(item.type))
    const peer = await subscribed()
    await peer.command('subscribe', 1)
    peer.send(book('snapshot', 5, { ...SNAPSHOT, symbol: 'C/D' }))
    await until(() => seen.length === 1)
    const second = client.book({ source: 'x', symbol: 'C/D' })
    await until(() => peer.of('subscribe').length >= 4)
    await until(() => seen.includes('unrecovered'))
    await new Promise((resolve) => setTimeout(resolve, 50))
    peer.send(book('snapshot', 9, { ...SNAPSHOT, symbol: 'C/D' }))
    await until(() => second.state === 'live')
    expect(seen).toEqual(['orderbook', 'unrecovered', 'orderbook'])
  })

  it('says so when it is closed, and holds nothing then', async () => {
    const peer = await subscribed()
    peer.send(book('snapshot', 5, SNAPSHOT))
    await until(() => local.state === 'live')
    local.close()
    expect([local.state, local.bids()]).toEqual(['closed', []])
    await peer.command('unsubscribe')
  })
})

const price = fc
  .tuple(fc.integer({ min: 90, max: 110 }), fc.integer({ min: 0, max: 9 }))
  .map(([a, b]) => `${a}.${b}0`)
const change = fc.tuple(price, fc.constantFrom('0', '0', '1', '2.5', '3.00'))
const sides = fc.record({
  bids: fc.array(change, { maxLength: 8 }),
  asks: fc.array(change, { maxLength: 8 }),
})

it('ends up as the gateway, digit for digit and checksum for checksum, at every depth', () => {
  fc.assert(
    fc.property(fc.array(sides, { maxLength: 40 }), fc.constantFrom(5, 10, 25, 100), (changes, depth) => {
      const gateways = new OrderBook()
      const view = new DepthView(depth)
      const mine = new BookLevels()
      const first = view.reset(gateways)
      mine.reset(first.bids, first.asks)
      for (const { bids, asks } of changes) {
        gateways.apply(bids, asks)
        const sent = view.change(gateways)
        if (sent) mine.apply(sent.bids, sent.asks)
        expect(mine.bids.top(depth)).toEqual(gateways.top('bids', depth))
        expect(mine.asks.top(depth)).toEqual(gateways.top('asks', depth))
        expect(mine.checksum()).toBe(gateways.checksum(depth))
      }
    }),
    { numRuns: 60 },
  )
})

it('orders prices by value, whatever their length, sign or digits', () => {
  const levels = new BookLevels()
  const prices = ['9.9', '10', '-1', '10.00000000000000000001', '9007199254740993.5', '9007199254740993.4']
  levels.reset(
    prices.map((text) => [text, '1']),
    [],
  )
  expect(levels.bids.top(9).map(([text]) => text)).toEqual([
    '9007199254740993.5',
    '9007199254740993.4',
    '10.00000000000000000001',
    '10',
    '9.9',
    '-1',
  ])
})
