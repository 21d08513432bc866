import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import type { Level, Payload } from '../../../src/market/event.ts'
import { bookChecksum } from '../../../src/market/order-book.ts'
import type { Topic } from '../../../src/market/topic.ts'
import { type Said, TestGateway, tier, until } from './gateway.ts'
import { PlainBook } from './plain-book.ts'

let gateway: TestGateway
afterEach(() => gateway.stop())

const book = (kind: 'snapshot' | 'delta', bids: Level[], asks: Level[], depth = 0): Payload => ({
  type: 'orderbook',
  kind,
  bids,
  asks,
  depth,
})

/** Bids are below 100.00, asks at or above it. */
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
const changes = fc.array(fc.tuple(levels('bids'), levels('asks')), { minLength: 1, maxLength: 25 })

async function carryBook(): Promise<Topic> {
  gateway = await new TestGateway().start()
  return gateway.carry('venue', 'orderbook', 'BTC/USDT')
}

describe('a book at a depth', () => {
  it('is exact after every message, whatever happens to the venue book and whenever the client joins', async () => {
    gateway = await new TestGateway({ tiers: tier('institutional', { commandsPerSecond: 10_000 }) }).start()
    let run = 0
    await fc.assert(
      fc.asyncProperty(
        changes,
        fc.constantFrom(5, 10, 25, 100, 'full' as const),
        fc.nat(20),
        async (all, depth, joinAt) => {
          const topic = gateway.carry('venue', 'orderbook', `RUN/${++run}`)
          const venue = new PlainBook()
          const copy = new PlainBook()
          const after = new Map<number, PlainBook>()
          const client = await gateway.client({ tier: 'institutional' })
          const act = async (payload: Payload) => {
            const event = await gateway.publish(topic, payload)
            venue.apply(payload as Said)
            const frozen = new PlainBook()
            frozen.apply({ kind: 'snapshot', bids: [...venue.bids], asks: [...venue.asks] })
            after.set(event.seq, frozen)
          }
          await act(book('snapshot', [['99.99', '1']], [['100.00', '1']]))
          for (const [index, [bids, asks]] of all.entries()) {
            if (index === joinAt % all.length)
              await client.ask(
                { type: 'subscribe', channel: 'orderbook', symbols: [`RUN/${run}`], depth },
                'subscribed',
              )
            await act(
              book(
                index === 12 ? 'snapshot' : 'delta',
                bids.filter(index === 12 ? live : () => true),
                asks.filter(index === 12 ? live : () => true),
              ),
            )
          }
          // Whatever its depth, this changes it.
          await act(book('snapshot', [['99.50', '7.25']], [['100.50', '7.25']]))
          await until(() => client.ofType('orderbook').at(-1)?.seq === after.size)
          const levels = depth === 'full' ? 1_000 : depth
          let before: Said | undefined
          for (const message of client.ofType('orderbook')) {
            copy.apply(message)
            const truth = after.get(message.seq)!
            expect(copy.top('bids', 1_000)).toEqual(truth.top('bids', levels))
            expect(copy.top('asks', 1_000)).toEqual(truth.top('asks', levels))
            expect(message.depth).toBe(depth === 'full' ? 0 : depth)
            if (message.checksum !== undefined)
              expect(message.checksum).toBe(bookChecksum(copy.top('bids', 25), copy.top('asks', 25)))
            if (before) expect(message.prev ?? message.seq - 1).toBe(before.seq)
            before = message
          }
          expect(copy.top('bids', levels)).toEqual(venue.top('bids', levels))
          expect(copy.top('asks', levels)).toEqual(venue.top('asks', levels))
          client.socket.terminate()
        },
      ),
      { numRuns: 60, endOnFailure: true },
    )
  })

  it('joins with a snapshot that carries the position and checksum of what it holds', async () => {
    const topic = await carryBook()
    await gateway.publish(
      topic,
      book(
        'snapshot',
        [
          ['9', '1'],
          ['8', '1'],
        ],
        [['10', '1']],
      ),
    )
    await gateway.publish(topic, book('delta', [['9', '2.0']], []), { venueSeq: [5, 7] })
    const client = await gateway.client({ tier: 'premium' })
    client.send({ type: 'subscribe', channel: 'orderbook', symbols: ['BTC/USDT'], depth: 100 })
    const snapshot = await client.next((message) => message.type === 'orderbook')
    expect(client.messages[0]).toMatchObject({ type: 'subscribed', depth: 25 })
    expect(snapshot).toMatchObject({
      ...{ v: 1, source: 'venue', symbol: 'BTC/USDT', epoch: 1_000, seq: 2, venueSeq: [5, 7] },
      ...{
        kind: 'snapshot',
        depth: 25,
        bids: [
          ['9', '2.0'],
          ['8', '1'],
        ],
        asks: [['10', '1']],
      },
      checksum: bookChecksum(
        [
          ['9', '2.0'],
          ['8', '1'],
        ],
        [['10', '1']],
      ),
    })
    expect('prev' in snapshot).toBe(false)
    await gateway.publish(topic, book('delta', [], [['11', '3']]))
    expect(await client.next((message) => message.kind === 'delta')).toMatchObject({
      seq: 3,
      asks: [['11', '3']],
    })
  })

  it('sends nothing while the view does not change, and prev with the next change', async () => {
    const topic = await carryBook()
    const bids = Array.from({ length: 7 }, (_, n): Level => [`${90 - n}`, '1'])
    await gateway.publish(topic, book('snapshot', bids, []))
    const client = await gateway.client({ tier: 'premium' })
    client.send({ type: 'subscribe', channel: 'orderbook', symbols: ['BTC/USDT'], depth: 5 })
    await client.next((message) => message.type === 'orderbook')
    await gateway.publish(topic, book('delta', [['84', '5']], []))
    await gateway.publish(topic, book('delta', [['85', '5']], []))
    await gateway.publish(topic, book('delta', [['90', '0']], []))
    const delta = await client.next((message) => message.kind === 'delta')
    expect(delta).toMatchObject({
      seq: 4,
      prev: 1,
      bids: [
        ['90', '0'],
        ['85', '5'],
      ],
      depth: 5,
    })
    expect(client.ofType('orderbook')).toHaveLength(2)
  })

  it('changes its depth without a hole, and a client that joins later shares what follows', async () => {
    const topic = await carryBook()
    await gateway.publish(topic, book('snapshot', [['9', '1']], [['10', '1']]))
    const client = await gateway.client({ tier: 'institutional' })
    const subscribe = { type: 'subscribe', channel: 'orderbook', symbols: ['BTC/USDT'] }
    expect(await client.ask({ ...subscribe, depth: 5 }, 'subscribed')).toMatchObject({ depth: 5 })
    expect(await client.ask({ ...subscribe, depth: 'full' }, 'subscribed')).toMatchObject({ depth: 'full' })
    const other = await gateway.client({ tier: 'institutional' })
    await other.ask(subscribe, 'subscribed')
    await gateway.publish(topic, book('delta', [['9', '4']], []))
    await until(() => client.ofType('orderbook').length === 3 && other.ofType('orderbook').length === 2)
    expect(client.ofType('orderbook').map((m) => [m.kind, m.seq, m.depth, m.prev])).toEqual([
      ['snapshot', 1, 5, undefined],
      ['snapshot', 1, 0, 1],
      ['delta', 2, 0, undefined],
    ])
    expect(client.frames.at(-1)).toBe(other.frames.at(-1))
  })

  it('is not served after a gap until the next snapshot, before which resync is told', async () => {
    const topic = await carryBook()
    await gateway.publish(topic, book('snapshot', [['9', '1']], []))
    const client = await gateway.client({ tier: 'premium' })
    client.send({ type: 'subscribe', channel: 'orderbook', symbols: ['BTC/USDT'], depth: 10 })
    await client.next((message) => message.type === 'orderbook')
    await gateway.publish(topic, {
      ...{ type: 'gap', channel: 'orderbook', reason: 'checksum', fromTime: 1, toTime: 2 },
    } as Payload)
    await client.next((message) => message.type === 'gap')
    const late = await gateway.client({ tier: 'premium' })
    await late.ask(
      { type: 'subscribe', channel: 'orderbook', symbols: ['BTC/USDT'], depth: 10 },
      'subscribed',
    )
    await gateway.publish(topic, book('delta', [['9', '7']], []))
    await gateway.publish(topic, book('snapshot', [['8', '2']], []))
    await late.next((message) => message.kind === 'snapshot')
    expect(late.ofType('orderbook').map((m) => [m.seq, m.bids])).toEqual([[4, [['8', '2']]]])
    expect(client.messages.slice(1).map((m) => [m.type, m.seq, m.prev])).toEqual([
      ['orderbook', 1, undefined],
      ['gap', 2, undefined],
      ['resync', undefined, undefined],
      ['orderbook', 4, 2],
    ])
    expect(client.ofType('resync')).toEqual([
      { type: 'resync', topic: topic.publicId, reason: 'the source built its book anew: checksum' },
    ])
  })

  it('goes on from a snapshot after events were missed', async () => {
    const topic = await carryBook()
    await gateway.publish(topic, book('snapshot', [['9', '1']], []))
    const client = await gateway.client({ tier: 'premium' })
    client.send({ type: 'subscribe', channel: 'orderbook', symbols: ['BTC/USDT'], depth: 10 })
    await client.next((message) => message.type === 'orderbook')
    gateway.event(topic, book('delta', [['7', '7']], []))
    await gateway.publish(topic, book('snapshot', [['8', '2']], []))
    await gateway.publish(topic, book('delta', [['8', '3']], []))
    await until(() => client.ofType('orderbook').at(-1)?.seq === 4)
    const types = client.messages.slice(2).map((m) => [m.type, m.kind, m.seq, m.prev])
    expect(types[0]).toEqual(['resync', undefined, undefined, undefined])
    expect(types[1]?.slice(0, 2)).toEqual(['orderbook', 'snapshot'])
    expect(types[1]?.[3]).toBe(1)
  })
})

function live([, size]: readonly [string, string]): boolean {
  return size !== '0'
}
