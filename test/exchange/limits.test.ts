import { afterEach, expect, it } from 'vitest'
import type { Exchange } from '../../src/exchange/exchange.ts'
import { startExchange } from '../../src/exchange/exchange.ts'
import { until, VenueClient } from '../player/venue-client.ts'
import { closeAll, exchangeOf } from './simulated-venue.ts'

const clients: VenueClient[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.terminate()
  await closeAll()
})

async function connect(exchange: Exchange, path = ''): Promise<VenueClient> {
  const client = new VenueClient(`${exchange.url}${path}`)
  clients.push(client)
  return client.open()
}

const limitsOf = (exchange: Exchange) => exchange.violations.map(({ limit }) => limit)

it('disconnects a Binance client at its sixth message in a second, and one of more than 1,024 streams', async () => {
  const exchange = await exchangeOf('binance')
  const fast = await connect(exchange)
  for (let id = 1; id <= 6; id++) fast.send({ method: 'LIST_SUBSCRIPTIONS', id })
  await until(() => fast.closeCode !== undefined)
  expect(fast.frames).toHaveLength(5)
  const greedy = await connect(exchange)
  greedy.send({ method: 'SUBSCRIBE', params: Array.from({ length: 1_025 }, (_, n) => `x${n}@trade`), id: 1 })
  await until(() => greedy.closeCode !== undefined)
  expect(limitsOf(exchange)).toEqual(['messages', 'streams'])
})

it('disconnects a Coinbase client that subscribes to nothing within five seconds', async () => {
  const exchange = await exchangeOf('coinbase', { timeScale: 50 })
  const late = await connect(exchange)
  const good = await connect(exchange)
  good.send({ type: 'subscribe', product_ids: ['BTC-USD'], channels: ['matches'] })
  await until(() => late.closeCode !== undefined)
  expect(good.closeCode).toBeUndefined()
  expect(exchange.violations).toMatchObject([{ limit: 'subscribe-deadline', connection: 1 }])
})

it('refuses the fourth OKX handshake in a second, and tells when the next may come', async () => {
  const exchange = await exchangeOf('okx')
  for (let count = 0; count < 3; count++) await connect(exchange, '/ws/v5/public')
  const client = new VenueClient(`${exchange.url}/ws/v5/public`)
  const answer = await new Promise((resolve) =>
    client.socket.on('unexpected-response', (_, response) =>
      resolve([response.statusCode, response.headers['retry-after']]),
    ),
  )
  expect(answer).toEqual([429, '1'])
  expect(limitsOf(exchange)).toEqual(['connects'])
})

it('closes an OKX connection on which nothing is said, unless it is pinged', async () => {
  const exchange = await exchangeOf('okx', { timeScale: 100 })
  const silent = await connect(exchange, '/ws/v5/public')
  const alive = await connect(exchange, '/ws/v5/public')
  const pings = setInterval(() => alive.socket.send('ping'), 50)
  await until(() => silent.closeCode !== undefined)
  clearInterval(pings)
  expect(alive.closeCode).toBeUndefined()
  expect(alive.frames).toContain('pong')
  expect(limitsOf(exchange)).toEqual(['idle'])
})

it('refuses eleven topics in one Bybit spot message', async () => {
  const exchange = await exchangeOf('bybit')
  const client = await connect(exchange, '/v5/public/spot')
  client.send({ op: 'subscribe', args: Array.from({ length: 11 }, (_, n) => `publicTrade.X${n}`) })
  await until(() => client.frames.length === 1)
  expect(client.messages()[0]).toMatchObject({ success: false, ret_msg: 'args size >10' })
  expect(limitsOf(exchange)).toEqual(['asks-per-message'])
})

it('counts what requests weigh, and answers 429 with Retry-After beyond the minute', async () => {
  const exchange = await exchangeOf('binance')
  const ask = () => fetch(`${exchange.restUrl}/api/v3/depth?symbol=BTCUSDT&limit=5000`)
  for (let request = 0; request < 24; request++) expect((await ask()).status).toBe(200)
  const refused = await ask()
  expect(refused.status).toBe(429)
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(50)
  expect(limitsOf(exchange)).toEqual(['rest'])
})

it('only counts where it is told not to enforce', async () => {
  const exchange = await exchangeOf('binance', { enforceLimits: false })
  const fast = await connect(exchange)
  for (let id = 1; id <= 10; id++) fast.send({ method: 'LIST_SUBSCRIPTIONS', id })
  await until(() => fast.frames.length === 10)
  expect(exchange.stats().violations).toBe(5)
})

it('pings as the venue does, and cuts who does not answer', async () => {
  const exchange = await exchangeOf('binance', { timeScale: 200 })
  const answers = await connect(exchange)
  const mute = new VenueClient(exchange.url)
  clients.push(mute)
  ;(mute.socket as unknown as { _autoPong: boolean })._autoPong = false
  await until(() => mute.closeCode !== undefined)
  expect(answers.pings.length).toBeGreaterThan(1)
  expect(answers.closeCode).toBeUndefined()
})

it('gives the trades of a hole by REST, by id or by time', async () => {
  const exchange = await exchangeOf('binance', { symbols: ['BTC/USDT'], startTime: 1.77e15 })
  exchange.advance(500)
  const trades = exchange.truth('BTC/USDT').trades()
  const { id, time } = trades[20]!
  const get = async (path: string) => (await fetch(`${exchange.restUrl}${path}`)).json()
  const byId = await get(`/api/v3/aggTrades?symbol=BTCUSDT&fromId=${id}&limit=30`)
  expect(byId.map((trade: { a: number }) => trade.a)).toEqual(trades.slice(20, 50).map((trade) => trade.id))
  const byTime = await get(`/api/v3/aggTrades?symbol=BTCUSDT&startTime=${time / 1_000}`)
  expect(byTime).toHaveLength(trades.length - 20)
  const coinbase = await exchangeOf('coinbase', { symbols: ['BTC/USD'] })
  coinbase.advance(500)
  const wanted = coinbase.truth('BTC/USD').trades()
  const answer = await fetch(`${coinbase.restUrl}/products/BTC-USD/trades?limit=10&after=${wanted[50]!.id}`)
  const page = (await answer.json()) as { trade_id: number }[]
  expect(page.map((trade) => trade.trade_id).reverse()).toEqual(wanted.slice(40, 50).map((trade) => trade.id))
  expect(answer.headers.get('cb-after')).toBe(String(wanted[40]!.id))
})

it('starts in a few milliseconds, and closes twice', async () => {
  const warm = await startExchange({ venue: 'kraken', rate: 0 })
  await warm.close()
  const begun = performance.now()
  const exchanges = await Promise.all(
    Array.from({ length: 10 }, () => startExchange({ venue: 'kraken', rate: 0, symbols: ['BTC/USD'] })),
  )
  expect((performance.now() - begun) / 10).toBeLessThan(50)
  for (const exchange of exchanges) await Promise.all([exchange.close(), exchange.close()])
})

it.each([
  ['nasdaq', {}, /accepted are binance, binance-futures, bybit/],
  ['kraken', { symbols: ['BTC'] }, /kraken cannot have the symbol "BTC"/],
] as const)('refuses %s %j in one sentence', async (venue, options, message) => {
  await expect(startExchange({ venue, ...options })).rejects.toThrow(message)
})
