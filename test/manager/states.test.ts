import { afterEach, expect, it } from 'vitest'
import type { TopicStatus } from '../../src/manager/manager.ts'
import { closeAll, exchangeOf, sourceOf } from '../exchange/simulated-venue.ts'
import { until } from './venue-world.ts'

afterEach(closeAll)

it('a topic is syncing until its book is there, live, stale while nobody can hear, and live again', async () => {
  const symbol = 'BTC/USDT'
  const exchange = await exchangeOf('binance', { rate: 100, depth: 10, symbols: [symbol] })
  const noSnapshot = exchange.inject({ fault: '429', where: 'rest', retryAfterS: 0.5, count: 1_000 })
  const upstream = await sourceOf(exchange, { subscriptions: [{ channel: 'orderbook', symbols: [symbol] }] })
  const topic = () => upstream.manager.status('x')!.topics[0]!
  const states: string[] = []
  const comesTo = async (state: TopicStatus['state']) => {
    await until(`${state}, after ${states.join(', ')}`, () => topic().state === state)
    states.push(state)
  }
  expect(topic().state).toBe('pending')
  await comesTo('syncing')
  expect(topic()).toMatchObject({ epoch: null, seq: null, lastReceivedTime: null })
  noSnapshot.end()
  await comesTo('live')
  expect(topic().reason).toBeUndefined()

  const noConnection = exchange.inject({ fault: '451', where: 'handshake', count: 1_000 })
  exchange.inject({ fault: 'hard-cut' })
  await comesTo('stale')
  expect(topic().reason).toMatch(/closed by the venue|ECONNRESET/)
  const { seq } = topic()
  await new Promise((resolve) => setTimeout(resolve, 200))
  // What is not known is not told: no event came meanwhile.
  expect(topic()).toMatchObject({ state: 'stale', seq })
  noConnection.end()
  await comesTo('live')
  const told = upstream.shape(`x|orderbook|${symbol}`)
  expect(told.slice(seq!, seq! + 2)).toEqual(['gap', 'snapshot'])
  expect(states).toEqual(['syncing', 'live', 'stale', 'live'])
})
