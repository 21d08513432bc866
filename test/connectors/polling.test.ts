import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { Connectors, Decoded, Link, LinkSink, Subscription } from '../../src/connectors/connector.ts'
import type { Venue } from '../../src/connectors/venue.ts'
import { venueConnector } from '../../src/connectors/venue-connector.ts'
import { venue as futures } from '../../src/connectors/venues/binance-futures.ts'
import { PATIENCE } from '../../src/manager/patience.ts'
import { closeAll, exchangeOf } from '../exchange/simulated-venue.ts'
import { startUpstream, until } from '../manager/venue-world.ts'

const stops: (() => unknown)[] = []

afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop()
  await closeAll()
})

const [openInterest] = futures.polled!

/** The venue, polled so often, with this limit. */
function hurried(everyMs: number, rest = futures.limits.rest!): Venue {
  return { ...futures, limits: { ...futures.limits, rest }, polled: [{ ...openInterest!, everyMs }] }
}

function connectorsOf(venue: Venue): Connectors {
  const connector = venueConnector(venue)
  return {
    kinds: [venue.id],
    prepare: async () => {},
    exchanges: () => [],
    connectorFor: () => connector,
  }
}

interface Asked {
  readonly symbol: string
  /** Monotonic ms. */
  readonly at: number
}

type Answer = (symbol: string) => { status?: number; headers?: Record<string, string>; body: string }

const right: Answer = (symbol) => ({
  body: JSON.stringify({ openInterest: '10659.500', symbol, time: Date.now() }),
})

async function serve(answer: () => Answer = () => right): Promise<{ url: string; asked: Asked[] }> {
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    const symbol = new URL(request.url!, 'http://x').searchParams.get('symbol')!
    asked.push({ symbol, at: performance.now() })
    const { status = 200, headers = {}, body } = answer()(symbol)
    response.writeHead(status, headers).end(body)
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  stops.push(() => server.close().closeAllConnections())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

const of = (symbol: string): Subscription => ({ channel: 'openinterest', symbol })

async function polls(venue: Venue, restUrl: string, symbols: readonly string[]) {
  const updates: Decoded[] = []
  const connector = venueConnector(venue)
  const link = await new Promise<Link>((resolve) => {
    const sink: LinkSink = {
      opened: () => resolve(opening),
      decoded: (update) => updates.push(update),
      ended: () => {},
    }
    const opening = connector.open(connector.route(of(symbols[0]!)), { source: 'x', restUrl }, sink)
  })
  stops.push(() => link.close('the test ends'))
  link.subscribe(symbols.map(of))
  const kinds = (kind: Decoded['kind']) => updates.filter((update) => update.kind === kind)
  return { link, kinds }
}

const namesOf = (count: number) => Array.from({ length: count }, (_, at) => `C${at}/USDT:USDT`)

describe('a channel without a stream', () => {
  it('is asked for symbol by symbol, spread evenly, each once in an interval', async () => {
    const { url, asked } = await serve()
    const { kinds } = await polls(hurried(400), url, namesOf(8))
    await until('three rounds', () => asked.length >= 24)
    const names = asked.map(({ symbol }) => symbol)
    // On its way one request may overtake another.
    const counts = namesOf(8).map(
      (_, at) => names.slice(0, 24).filter((name) => name === `C${at}USDT`).length,
    )
    expect(counts.every((count) => count >= 2 && count <= 4)).toBe(true)
    const [first, last] = [asked[0]!.at, asked[23]!.at]
    // 23 times 50 ms; timers of a busy machine are late, never early.
    expect(last - first).toBeGreaterThan(1_000)
    expect(kinds('event').length).toBeGreaterThanOrEqual(20)
  })

  it('takes half of the limit at most, however many symbols there are: then the interval is longer', async () => {
    const { url, asked } = await serve()
    const { kinds } = await polls(hurried(300, { count: 60, perMs: 1_000 }), url, namesOf(100))
    await until('every symbol', () => new Set(asked.map(({ symbol }) => symbol)).size === 100, 15_000)
    const most = Math.max(
      ...asked.map(({ at }) => asked.filter((one) => one.at >= at && one.at < at + 1_000).length),
    )
    // And one at either end.
    expect(most).toBeLessThanOrEqual(32)
    expect(asked).toHaveLength(100)
    await until('the last answer', () => kinds('event').length === 100)
    expect(kinds('interrupted')).toEqual([])
  })

  it('is not known any more when it was asked for three times in vain, and is again when it is', async () => {
    let answer = right
    const { url, asked } = await serve(() => answer)
    const { kinds } = await polls(hurried(100), url, ['BTC/USDT:USDT'])
    await until('an answer', () => kinds('event').length > 0)
    answer = () => ({ status: 500, body: '' })
    await until('it is told', () => kinds('interrupted').length > 0)
    expect(kinds('interrupted')).toEqual([
      { kind: 'interrupted', subscription: of('BTC/USDT:USDT'), reason: expect.stringMatching(/HTTP 500$/) },
    ])
    const [events, requests] = [kinds('event').length, asked.length]
    // Ever more slowly: after 100, 200, 400, 800 ms.
    await new Promise((resolve) => setTimeout(resolve, 600))
    expect(asked.length - requests).toBeLessThanOrEqual(3)
    answer = right
    await until('it is known again', () => kinds('event').length > events)
    expect(kinds('interrupted')).toHaveLength(1)
  })

  it('is left alone for as long as a Retry-After says, of 429 and of 418', async () => {
    for (const status of [429, 418]) {
      let answer: Answer = () => ({ status, headers: { 'retry-after': '1' }, body: '' })
      const { url, asked } = await serve(() => answer)
      const { kinds, link } = await polls(hurried(50), url, namesOf(5))
      await until('the refusal', () => asked.length > 0)
      answer = right
      await until('answers', () => kinds('event').length >= 5)
      // Those that were under way already were not told yet.
      const late = asked.findIndex(({ at }) => at > asked[0]!.at + 900)
      expect(late).toBeLessThanOrEqual(2)
      expect(asked[late]!.at - asked[0]!.at).toBeGreaterThanOrEqual(1_000)
      link.close('enough')
    }
  })

  it('is refused for a symbol that the venue calls wrong, and for no other', async () => {
    const bad: Answer = (symbol) => (symbol === 'C1USDT' ? { status: 400, body: '{}' } : right(symbol))
    const { url, asked } = await serve(() => bad)
    const { kinds } = await polls(hurried(60), url, namesOf(3))
    await until('two rounds', () => kinds('event').length >= 6)
    expect(kinds('refused')).toEqual([
      { kind: 'refused', subscription: of('C1/USDT:USDT'), reason: expect.stringContaining('HTTP 400') },
    ])
    expect(asked.filter(({ symbol }) => symbol === 'C1USDT')).toHaveLength(1)
  })

  it('does not go back in time when the servers of the venue are not equally far', async () => {
    const times = [2, 1, 3].map((second) => 1.77e12 + second * 1_000)
    const { url, asked } = await serve(() => (symbol) => ({
      body: JSON.stringify({ openInterest: '1', symbol, time: times[Math.min(asked.length - 1, 2)] }),
    }))
    const { kinds } = await polls(hurried(30), url, ['BTC/USDT:USDT'])
    await until('the third', () => asked.length > 3)
    const seen = kinds('event').map((update) => 'sourceTime' in update && update.sourceTime)
    expect(seen.slice(0, 2)).toEqual([times[0]! * 1_000, times[2]! * 1_000])
  })

  it('asks nothing while it is paused, nor when it is closed', async () => {
    const { url, asked } = await serve()
    const { link, kinds } = await polls(hurried(40), url, namesOf(2))
    await until('answers', () => kinds('event').length >= 2)
    link.pause()
    const before = asked.length
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(asked.length - before).toBeLessThanOrEqual(1)
    expect(kinds('interrupted')).toEqual([])
    link.resume()
    await until('more', () => asked.length > before + 2)
    link.close('enough')
    link.close('twice')
    const end = asked.length
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(asked.length - end).toBeLessThanOrEqual(1)
  })
})

describe('open interest of Binance futures', () => {
  it('of two sides comes from one, and from the other when that is not answered', async () => {
    const symbol = 'BTC/USDT:USDT'
    const host = () => exchangeOf('binance-futures', { rate: 50, seed: 3 })
    const [a, b] = [await host(), await host()]
    const upstream = await startUpstream(
      [
        {
          ...{ id: 'x', kind: 'binance-futures' },
          sides: [a, b].map(({ url, restUrl }) => ({ url, restUrl })),
          subscriptions: [{ channel: 'openinterest', symbols: [symbol] }],
        },
      ],
      { connectors: connectorsOf(hurried(100)), patience: { ...PATIENCE, sweepMs: 20, sideSilentMs: 50 } },
    )
    stops.push(() => upstream.stop())
    const sides = () => upstream.manager.status('x')!.sides!
    const topic = `x|openinterest|${symbol}`
    await until('values', () => upstream.shape(topic).length >= 10)
    const [first, other] = sides().toSorted((one, two) => two.first - one.first)
    expect([first!.filled, other!.first, other!.filled]).toEqual([0, 0, 0])
    const lost = first!.side === 'A' ? a : b
    lost.inject({ fault: '418', where: 'rest', retryAfterS: 60, count: 1_000 })
    const isOther = () => sides().find(({ side }) => side === other!.side)!
    await until('the other side', () => isOther().first >= 5)
    expect(isOther().filled).toBe(1)
    expect(upstream.shape(topic)).not.toContain('gap')
  })

  it('is a topic like any other: live when it is answered, stale while it is not', async () => {
    const exchange = await exchangeOf('binance-futures', { rate: 50 })
    const symbols = ['BTC/USDT:USDT', 'ETH/USDT:USDT']
    const upstream = await startUpstream(
      [
        {
          ...{ id: 'x', kind: 'binance-futures', url: exchange.url, restUrl: exchange.restUrl },
          subscriptions: [
            { channel: 'openinterest', symbols },
            { channel: 'trades', symbols },
          ],
        },
      ],
      { connectors: connectorsOf(hurried(150)) },
    )
    stops.push(() => upstream.stop())
    const topic = 'x|openinterest|BTC/USDT:USDT'
    const stateOf = (channel: string) =>
      upstream.manager.status('x')!.topics.find((one) => one.channel === channel)!
    await until('values', () => upstream.shape(topic).length >= 3)
    expect(upstream.of(topic)[0]).toMatchObject({
      ...{
        type: 'openinterest',
        symbol: 'BTC/USDT:USDT',
        seq: 1,
        amount: expect.stringMatching(/^\d+\.000$/),
      },
      sourceTime: expect.any(Number),
    })
    expect(stateOf('openinterest').state).toBe('live')
    const refused = exchange.inject({
      ...{ fault: '429', where: 'rest', retryAfterS: 1, ms: 60_000, count: Number.POSITIVE_INFINITY },
    })
    await until('it is stale', () => stateOf('openinterest').state === 'stale')
    expect(stateOf('openinterest').reason).toMatch(/^not answered: .*(429|limit)/)
    expect(upstream.manager.status('x')!.state).toBe('connected')
    expect(stateOf('trades').state).toBe('live')
    refused.end()
    const seen = upstream.shape(topic).length
    await until('it is live again', () => stateOf('openinterest').state === 'live')
    await until('a value', () => upstream.shape(topic).length > seen + 1)
    expect(upstream.shape(topic).slice(seen, seen + 2)).toEqual(['gap', 'openinterest'])
    expect(exchange.violations).toEqual([])
  })
})
