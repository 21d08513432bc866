import { afterEach, expect, it } from 'vitest'
import type { Violation } from '../../src/exchange/exchange.ts'
import { Child } from './child.ts'

const SUBSCRIPTIONS = 1_000

const children: Child[] = []

afterEach(() => {
  for (const child of children.splice(0)) child.end()
})

function start(script: string): Child {
  const child = new Child(script)
  children.push(child)
  return child
}

it.each(['binance', 'binance-futures', 'bybit', 'coinbase', 'kraken', 'kraken-v1', 'okx'])(
  `has ${SUBSCRIPTIONS} books of %s within its limits`,
  async (venue) => {
    const settle = venue === 'binance-futures' ? ':USDT' : ''
    const symbols = Array.from({ length: SUBSCRIPTIONS }, (_, at) => `C${at}/USDT${settle}`)
    const venues = start('venues.mjs')
    const options = { venue, symbols, depth: 5, rate: 0 }
    const { url, restUrl } = await venues.ask<{ url: string; restUrl: string }>('start', { options })
    const upstream = start('upstream.mjs')
    const begun = performance.now()
    const subscriptions = [{ channel: 'orderbook', symbols, limit: 50 }]
    await upstream.ask('start', { sources: [{ id: 'x', kind: venue, url, restUrl, subscriptions }] })
    await expect
      .poll(async () => (await upstream.ask<string[]>('notLive')).slice(0, 5), {
        timeout: 120_000,
        interval: 100,
      })
      .toEqual([])
    const tookS = (performance.now() - begun) / 1_000
    const handshakes = await venues.ask<number>('handshakes')
    console.log(
      `${venue}: ${SUBSCRIPTIONS} books live after ${tookS.toFixed(1)} s, over ${handshakes} connections`,
    )
    expect(await venues.ask<Violation[]>('violations')).toEqual([])
  },
  150_000,
)
