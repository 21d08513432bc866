import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import type { Violation } from '../../src/exchange/exchange.ts'
import type { SourceStatus } from '../../src/manager/manager.ts'
import { ADMIN_KEY, type Gateway, preparedFolder, startGateway } from '../whole/program.ts'
import { Child } from './child.ts'

const VENUES = ['binance', 'bybit', 'coinbase', 'kraken', 'okx']
const SOURCES = 20
const SYMBOLS = 250
const CHANNELS = ['ticker', 'trades']
const TOPICS = SOURCES * SYMBOLS * CHANNELS.length

const venues = new Child('venues.mjs')
let gateway: Gateway | undefined

afterAll(async () => {
  await gateway?.end()
  venues.end()
})

/** Every step of a market is a ticker, and four in ten are trades. */
async function startVenues(): Promise<string> {
  const sources: string[] = []
  const symbols = Array.from({ length: SYMBOLS }, (_, at) => `C${at}/USDT`)
  for (const venue of VENUES) {
    const options = { venue, symbols, depth: 5, rate: 0 }
    const { url, restUrl } = await venues.ask<{ url: string; restUrl: string }>('start', { options })
    for (let number = 0; number < SOURCES / VENUES.length; number++) {
      const subscriptions = CHANNELS.map((channel) => ({ channel, symbols }))
      sources.push(JSON.stringify({ id: `${venue}-${number}`, kind: venue, url, restUrl, subscriptions }))
    }
  }
  return `sources: [${sources.join(',')}]`
}

async function get(path: string): Promise<{ ms: number; bytes: number; items: SourceStatus[] }> {
  const begun = performance.now()
  const response = await fetch(gateway!.url + path, { headers: { 'x-api-key': ADMIN_KEY } })
  const text = await response.text()
  const ms = performance.now() - begun
  expect(response.status).toBe(200)
  const { items = [] } = JSON.parse(text)
  return { ms, bytes: text.length, items }
}

async function sample(count: number): Promise<{ cpuMicros: number; heapUsed: number; rss: number }> {
  gateway!.child.kill('SIGUSR2')
  const [, json] = await gateway!.line(new RegExp(`^sample ${count} (.*)$`))
  return JSON.parse(json!)
}

it(`carries ${TOPICS} topics of ${SOURCES} sources`, async () => {
  const begun = performance.now()
  gateway = await startGateway({
    dataDir: await preparedFolder(),
    config: await startVenues(),
    env: { NODE_OPTIONS: `--import ${new URL('./sampler.mjs', import.meta.url).href}` },
  })
  const seconds = () => ((performance.now() - begun) / 1_000).toFixed(0)
  for (let left = TOPICS, tickers = TOPICS; left > 0; ) {
    expect(performance.now() - begun).toBeLessThan(180_000)
    // A few at a time: connections that arrive while the venues are busy would all seem to arrive at the end of it.
    for (let steps = 0; steps < 2 * SYMBOLS; steps += SYMBOLS / 10)
      await venues.ask('advance', { steps: SYMBOLS / 10 })
    await delay(1_500)
    const topics = (await get('/v1/sources')).items.flatMap((source) => source.topics)
    expect(topics).toHaveLength(TOPICS)
    const waiting = topics.filter(({ state }) => state !== 'live')
    left = waiting.length
    if (tickers > 0 && waiting.every(({ channel }) => channel === 'trades')) {
      tickers = 0
      console.log(`${TOPICS / 2} tickers live after ${seconds()} s`)
    }
  }
  console.log(`${TOPICS} topics live after ${seconds()} s, when each had a trade`)
  await delay(5_000)
  const before = await sample(1)
  await delay(10_000)
  const { cpuMicros, heapUsed, rss } = await sample(2)
  const busy = (cpuMicros - before.cpuMicros) / 10e6
  console.log(
    `heap ${(heapUsed / 1e6).toFixed(0)} MB, ${(heapUsed / TOPICS / 1e3).toFixed(1)} KB a topic, rss ${(rss / 1e6).toFixed(0)} MB; ${(busy * 100).toFixed(0)} % of a core while the markets stand still`,
  )
  for (const path of [
    '/v1/sources',
    '/market-data/websocket/status',
    '/market-data/websocket/status/okx-1',
  ]) {
    const answers = []
    for (let turn = 0; turn < 10; turn++) answers.push(await get(path))
    const { ms, bytes } = answers.toSorted((a, b) => a.ms - b.ms)[5]!
    console.log(`${path}: ${ms.toFixed(0)} ms, ${bytes} bytes`)
    expect(ms).toBeLessThan(500)
  }
  expect(await venues.ask<Violation[]>('violations')).toEqual([])
  expect(heapUsed / TOPICS).toBeLessThan(20_000)
  expect(busy).toBeLessThan(0.3)
})
