import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { until } from '../whole/program.ts'
import { type Peer, ScriptedGateway, ticker, trade, Watched } from './scripted-gateway.ts'

const TOPIC = 'x|trades|A/B'
let gateway: ScriptedGateway
let client: Watched
/** `seq` of trades, else the type. */
let seen: (number | string)[]

beforeEach(async () => {
  gateway = new ScriptedGateway()
  client = new Watched({ url: await gateway.url(), WebSocket })
  seen = []
  client.subscribe({ channel: 'trades', symbols: ['A/B'] }, (item) =>
    seen.push(item.type === 'trade' ? item.seq : item.type),
  )
})
afterEach(async () => {
  client.close()
  await gateway.close()
})

async function subscribed(nth = 0): Promise<Peer> {
  const peer = await gateway.peer(nth)
  await peer.command('subscribe')
  return peer
}

describe('every event is checked against the one before', () => {
  it('takes what follows by number, by prev, and across epochs by prevSent', async () => {
    const peer = await subscribed()
    peer.send([
      trade(5),
      trade(6),
      trade(9, { prev: 6 }),
      trade(1, { epoch: 8, prevSent: [7, 9] }),
      trade(2, { epoch: 8 }),
    ])
    await until(() => seen.length === 5)
    expect(seen).toEqual([5, 6, 9, 1, 2])
    expect(client.of('hole')).toEqual([])
  })

  it.each([
    ['a number left out', trade(7), [7, 7]],
    ['a wrong prev', trade(9, { prev: 6 }), [7, 9]],
    ['a new epoch that names nothing', trade(1, { epoch: 8 }), [8, 1]],
    ['a new epoch that names another place', trade(1, { epoch: 8, prevSent: [7, 4] }), [8, 1]],
    ['an event that came before', trade(5), [7, 5]],
  ])('tells a hole, gives nothing behind it, and asks for what is missing: %s', async (_, event, next) => {
    const peer = await subscribed()
    peer.send([trade(5), event, trade(99)])
    expect(await peer.command('unsubscribe')).toMatchObject({ source: 'x', symbols: ['A/B'] })
    expect((await peer.command('subscribe', 1)).resume).toEqual({ [TOPIC]: [7, 5] })
    peer.send([trade(6), trade(7), trade(8)])
    await until(() => seen.length === 5)
    expect(seen).toEqual([5, 'hole', 6, 7, 8])
    expect(client.of('hole')).toEqual([{ type: 'hole', topic: TOPIC, last: [7, 5], next }])
  })

  it('finds that the end is missing by the heads of a heartbeat', async () => {
    const peer = await subscribed()
    peer.send([trade(5), trade(6)])
    peer.send({ type: 'heartbeat', timestamp: 1, heads: [[TOPIC, 7, 6]] })
    peer.send({ type: 'heartbeat', timestamp: 2, heads: [[TOPIC, 7, 8]] })
    expect((await peer.command('subscribe', 1)).resume).toEqual({ [TOPIC]: [7, 6] })
    peer.send([trade(7), trade(8)])
    await until(() => seen.length === 5)
    expect(seen).toEqual([5, 6, 'hole', 7, 8])
  })

  it('waits longer each time where a topic stays broken', async () => {
    const peer = await subscribed()
    gateway.on('subscribe', (_peer, { id, channel, symbols }) => {
      peer.send({ type: 'subscribed', id, channel, symbols, conflateMs: 0 })
      peer.send(trade(9))
    })
    peer.send([trade(5), trade(9)])
    const began = performance.now()
    await until(() => peer.of('subscribe').length >= 5, 15_000)
    expect(performance.now() - began).toBeGreaterThan(100)
  })

  it('gives gap events in their place, and a resync of the gateway where it comes', async () => {
    const peer = await subscribed()
    peer.send(trade(5))
    const gap = { ...trade(6), type: 'gap', channel: 'trades', reason: 'venue', fromTime: 1, toTime: 2 }
    peer.send(gap)
    peer.send({ type: 'resync', topic: TOPIC, reason: 'event 7 did not arrive' })
    peer.send(trade(9, { prev: 6 }))
    await until(() => seen.length === 4)
    expect(seen).toEqual([5, 'gap', 'resync', 9])
    expect(client.of('resync')).toHaveLength(1)
  })
})

describe('after a reconnect', () => {
  it('goes on from its own positions, without a word where nothing was missed', async () => {
    const first = await subscribed()
    first.send([trade(5), trade(6)])
    await until(() => seen.length === 2)
    first.socket.terminate()
    const second = await subscribed(1)
    expect(second.of('subscribe')[0]?.resume).toEqual({ [TOPIC]: [7, 6] })
    second.send([trade(7), trade(8)])
    await until(() => seen.length === 4)
    expect(seen).toEqual([5, 6, 7, 8])
  })

  it('says what could not be had again, and begins anew', async () => {
    const first = await subscribed()
    first.send(trade(5))
    await until(() => seen.length === 1)
    gateway.on('subscribe', (peer, { id, channel, symbols, resume }) => {
      peer.send({
        type: 'subscribed',
        ...{ id, channel, symbols, conflateMs: 0 },
        unrecovered: Object.keys(resume!),
      })
      peer.send([trade(40), trade(41)])
    })
    first.socket.terminate()
    await until(() => seen.length === 4)
    expect(seen).toEqual([5, 'unrecovered', 40, 41])
    expect(client.of('unrecovered')).toEqual([{ type: 'unrecovered', topic: TOPIC, last: [7, 5] }])
  })

  it('does not believe a resume that leaves something out', async () => {
    const first = await subscribed()
    first.send(trade(5))
    await until(() => seen.length === 1)
    first.socket.terminate()
    const second = await subscribed(1)
    second.send(trade(7))
    expect((await second.command('subscribe', 1)).resume).toEqual({ [TOPIC]: [7, 5] })
    expect(seen).toEqual([5, 'hole'])
  })

  it('resumes each topic once where subscriptions share it, and all of more topics than one message holds', async () => {
    const all = new Set<string>()
    client.subscribe({ channel: 'ticker', symbols: ['*'] }, (item) => {
      if (item.type === 'ticker') all.add(item.symbol)
    })
    client.subscribe({ channel: 'ticker', symbols: ['S1'], source: 'x' }, () => {})
    const first = await subscribed()
    await first.command('subscribe', 2)
    first.send(Array.from({ length: 400 }, (_, at) => ticker(1, { symbol: `S${at}` })))
    await until(() => all.size === 400)
    first.socket.terminate()
    const second = await gateway.peer(1)
    await until(() => second.of('subscribe').some(({ symbols }) => symbols?.[0] === '*'))
    await until(() => second.of('subscribe').some(({ symbols }) => symbols?.join() === 'S1'))
    const asked = second.of('subscribe').filter(({ channel }) => channel === 'ticker')
    const resumed = asked.flatMap(({ resume }) => Object.keys(resume ?? {}))
    expect(resumed).toHaveLength(400)
    expect(new Set(resumed).size).toBe(400)
    for (const command of asked) expect(JSON.stringify(command).length).toBeLessThan(16_384)
    expect(asked.find(({ symbols }) => symbols?.[0] === '*')?.resume).toBeUndefined()
  })

  it('asks for history once: later its positions say more', async () => {
    client.subscribe({ channel: 'ticker', symbols: ['A/B'], from: '2026-11-22T10:00:00Z' }, (item) =>
      seen.push(item.type),
    )
    const first = await subscribed()
    expect((await first.command('subscribe', 1)).from).toBe('2026-11-22T10:00:00Z')
    first.send(ticker(3))
    await until(() => seen.includes('ticker'))
    first.socket.terminate()
    const again = await (await gateway.peer(1)).command('subscribe', 1)
    expect(again.resume).toEqual({ 'x|ticker|A/B': [7, 3] })
    expect(again.from).toBeUndefined()
  })
})

it('lets a listener fail without losing an event', async () => {
  const errors: unknown[] = []
  const uncaught = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', (error) => errors.push(error))
  try {
    client.subscribe({ channel: 'ticker', symbols: ['A/B'] }, () => {
      throw new Error('of the user')
    })
    const peer = await subscribed()
    await peer.command('subscribe', 1)
    peer.send([ticker(1), trade(1), ticker(2), trade(2)])
    await until(() => seen.length === 2 && errors.length === 2)
    expect(String(errors[0])).toContain('of the user')
  } finally {
    process.removeAllListeners('uncaughtException')
    for (const listener of uncaught) process.on('uncaughtException', listener)
  }
})
