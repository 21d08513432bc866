import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { AnyEvent, StreamItem } from '../../client/events.ts'
import { topicOf } from '../../client/events.ts'
import { FeedgateClient, type Notice } from '../../client/index.ts'
import { createKey, type Gateway, preparedFolder, rest, startGateway, until } from '../whole/program.ts'
import { UnrulyProxy } from './unruly-proxy.ts'

const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const executablePath = BROWSERS.find((path) => existsSync(path))
const reason = executablePath ? '' : ` (skipped: none of ${BROWSERS.join(', ')} is installed)`
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

let gateway: Gateway
let proxy: UnrulyProxy
let apiKey: string

beforeAll(async () => {
  gateway = await startGateway({ dataDir: await preparedFolder() })
  apiKey = await createKey(gateway, 'premium')
  proxy = new UnrulyProxy(gateway.url)
}, 60_000)
afterAll(async () => {
  await proxy?.close()
  await gateway?.end()
})

/** What came of each topic, in runs without a break. */
class Runs {
  readonly of = new Map<string, AnyEvent[][]>()

  take(item: StreamItem<'trades' | 'ticker'>): void {
    if ('seq' in item) this.#runs(topicOf(item)).at(-1)!.push(item)
    else this.#runs(item.topic).push([])
  }

  #runs(topic: string): AnyEvent[][] {
    const runs = this.of.get(topic) ?? [[]]
    this.of.set(topic, runs)
    return runs
  }
}

/** Told by nothing but the events: does each follow the one before? */
function follows(event: AnyEvent, before: AnyEvent): boolean {
  if (event.prevSent) return event.prevSent[0] === before.epoch && event.prevSent[1] === before.seq
  return event.epoch === before.epoch && (event.prev ?? event.seq - 1) === before.seq
}

async function storedTrades(symbol: string): Promise<string[]> {
  const { body } = await rest<{ items: AnyEvent[] }>(
    gateway,
    `/v1/history/trades?source=demo-crypto&symbol=${encodeURIComponent(symbol)}&limit=10000`,
  )
  return body.items.map(({ epoch, seq }) => `${epoch}/${seq}`)
}

it('misses nothing, doubles nothing and proves its books through a network that cuts, stalls and goes dead', async () => {
  const client = new FeedgateClient({
    url: await proxy.url(),
    ...{ apiKey, WebSocket, heartbeatMs: 1_000, openTimeoutMs: 3_000 },
    backoff: { baseMs: 50, capMs: 300 },
  })
  const notices: Notice[] = []
  client.on('notice', (notice) => notices.push(notice))
  const runs = new Runs()
  client.subscribe({ channel: 'trades', symbols: ['*'] }, (item) => runs.take(item))
  client.subscribe({ channel: 'ticker', symbols: ['BTC/*'] }, (item) => runs.take(item))
  const book = client.book({ source: 'demo-crypto', symbol: 'BTC/USDT', depth: 25 })
  await until(() => book.state === 'live' && runs.of.size > 3, 15_000)

  proxy.connectDelayMs = () => Math.random() * 150
  for (let round = 0; round < 8; round++) {
    await pause(200 + Math.random() * 500)
    if (round === 3) proxy.goDead()
    else if (round === 5) await proxy.stall(400)
    else proxy.cut()
  }
  const before = book.verified
  await until(() => book.state === 'live' && book.verified > before + 2, 20_000)
  const reached = new Map([...runs.of].map(([topic, all]) => [topic, all.flat().length]))
  await until(
    () =>
      runs.of.get('demo-crypto|trades|BTC/USDT')!.flat().length > reached.get('demo-crypto|trades|BTC/USDT')!,
  )
  client.close()

  expect(proxy.connections).toBeGreaterThanOrEqual(5)
  expect(notices.filter(({ type }) => type === 'unrecovered')).toEqual([])
  expect(notices.filter(({ type }) => type === 'hole' || type === 'checksum' || type === 'error')).toEqual([])
  for (const [topic, all] of runs.of) {
    const events = all.flat()
    const places = events.map(({ epoch, seq }) => `${epoch}/${seq}`)
    if (topic.includes('|trades|')) expect(new Set(places).size, `${topic} twice`).toBe(places.length)
    for (const run of all)
      run.forEach((event, at) => {
        if (at > 0) expect(follows(event, run[at - 1]!), `${topic} ${event.seq}`).toBe(true)
      })
  }
  const symbol = 'BTC/USDT'
  const stored = await until(async () => {
    const all = await storedTrades(symbol)
    const last = runs.of.get(`demo-crypto|trades|${symbol}`)!.flat().at(-1)!
    return all.includes(`${last.epoch}/${last.seq}`) && all
  })
  for (const run of runs.of.get(`demo-crypto|trades|${symbol}`)!) {
    const places = run.map(({ epoch, seq }) => `${epoch}/${seq}`)
    const from = stored.indexOf(places[0] ?? '')
    if (places.length > 0) expect(stored.slice(from, from + places.length)).toEqual(places)
  }
}, 90_000)

it('follows as a basic client: two commands a second, frames that stand for many', async () => {
  const client = new FeedgateClient({ url: gateway.url, WebSocket, heartbeatMs: 1_000 })
  const runs = new Runs()
  const notices: Notice[] = []
  client.on('notice', (notice) => notices.push(notice))
  const subscriptions = [
    client.subscribe({ channel: 'ticker', symbols: ['BTC/USDT'] }, (item) => runs.take(item)),
    client.subscribe({ channel: 'trades', symbols: ['BTC/USDT'] }, (item) => runs.take(item)),
    client.subscribe({ channel: 'ohlcv', symbols: ['BTC/USDT'], timeframe: '1m' }, () => {}),
  ]
  await Promise.all(subscriptions.map(({ ready }) => ready))
  await until(() => runs.of.size === 2 && [...runs.of.values()].every((all) => all.flat().length > 5), 15_000)
  const refused = client.subscribe({ channel: 'orderbook', symbols: ['BTC/USDT'] })
  await expect(refused.ready).rejects.toMatchObject({ code: 403 })
  client.close()
  expect(notices.filter(({ type }) => type === 'hole')).toEqual([])
}, 40_000)

it('follows a gateway that is restarted, and says what it could not have', async () => {
  const dataDir = await preparedFolder()
  const first = await startGateway({ dataDir })
  const client = new FeedgateClient({
    ...{ url: first.url, WebSocket, apiKey: await createKey(first, 'premium') },
    backoff: { baseMs: 100, capMs: 500 },
  })
  const runs = new Runs()
  let codes = 0
  client.on('state', (state) => {
    if (state.state === 'waiting' && state.code === 4200) codes++
  })
  client.subscribe({ channel: 'trades', symbols: ['BTC/USDT'] }, (item) => runs.take(item))
  const events = () => runs.of.get('demo-crypto|trades|BTC/USDT')?.flat() ?? []
  await until(() => events().length > 3, 15_000)
  await first.end()
  const second = await startGateway({ dataDir, env: { PORT: new URL(first.url).port } })
  try {
    const epoch = events()[0]!.epoch
    await until(() => events().filter((event) => event.epoch > epoch).length > 3, 20_000)
    expect(codes).toBe(1)
    for (const run of runs.of.get('demo-crypto|trades|BTC/USDT')!)
      run.forEach((event, at) => {
        if (at > 0) expect(follows(event, run[at - 1]!)).toBe(true)
      })
  } finally {
    client.close()
    await second.end()
  }
}, 60_000)

describe('the examples', () => {
  it.each([
    ['tickers.mjs', /^BTC\/USDT +\d+\.\d+$/m],
    ['book.mjs', /^\d+\.\d+ x \d+\.\d+ \| \d+\.\d+ x \d+\.\d+ \(checksums right: \d+\)$/m],
  ])('%s runs', async (file, output) => {
    const child = spawn(process.execPath, [`examples/${file}`], {
      env: { PATH: process.env.PATH, GATEWAY: gateway.url, KEY: apiKey },
    })
    let text = ''
    child.stdout.on('data', (chunk) => (text += chunk))
    child.stderr.on('data', (chunk) => (text += chunk))
    await until(
      () => output.test(text),
      15_000,
      () => text,
    )
    child.kill()
  })
})

describe.skipIf(!executablePath)(`in a browser${reason}`, () => {
  it('shows prices and a proved book by a ticket, and comes back through cuts and a dead network', async () => {
    const server = spawn(process.execPath, ['examples/browser/server.mjs'], {
      env: {
        PATH: process.env.PATH,
        GATEWAY: gateway.url,
        STREAM: await proxy.url(),
        KEY: apiKey,
        PORT: '0',
      },
    })
    const browser = await chromium.launch({
      executablePath: executablePath as string,
      args: ['--no-sandbox'],
    })
    try {
      const url = await new Promise<string>((resolve) =>
        createInterface({ input: server.stdout }).on('line', (line) => resolve(line.split(' ').at(-1)!)),
      )
      const page = await browser.newPage()
      const errors: string[] = []
      page.on('pageerror', (error) => errors.push(error.message))
      await page.goto(url)
      const verified = () => page.locator('#book').getAttribute('data-verified').then(Number)
      const proved = async () => {
        await page.waitForSelector('#link[data-state="open"]')
        await page.waitForSelector('#book[data-state="live"]')
        const had = await verified()
        await until(async () => (await verified()) > had, 15_000)
      }
      await proved()
      expect(await page.locator('#tickers tr').count()).toBeGreaterThan(2)
      for (let round = 0; round < 3; round++) {
        proxy.cut()
        await pause(400)
      }
      await proved()
      const had = proxy.connections
      proxy.goDead()
      await until(() => proxy.connections > had, 20_000)
      await proved()
      expect(await page.locator('#notices').textContent()).not.toMatch(/hole|checksum/)
      expect(errors).toEqual([])
    } finally {
      await browser.close()
      server.kill()
    }
  }, 90_000)

  it('is one file without a dependency where it is bundled', async () => {
    const { outputFiles } = await build({
      entryPoints: ['client/dist/index.js'],
      ...{ bundle: true, minify: true, write: false, format: 'esm', platform: 'browser' },
    })
    expect(outputFiles).toHaveLength(1)
    expect(outputFiles![0]!.text).not.toMatch(/\bimport\b|\brequire\(/)
    expect(outputFiles![0]!.text.length).toBeLessThan(30_000)
  })
})
