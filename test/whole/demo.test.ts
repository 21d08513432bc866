import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ADMIN_KEY,
  all,
  Client,
  type Gateway,
  rest,
  startGateway,
  temporaryFolder,
  until,
} from './program.ts'

describe('npm start without any setting', () => {
  let gateway: Gateway
  let dataDir: string
  let began: number

  beforeAll(async () => {
    dataDir = await temporaryFolder()
    began = performance.now()
    gateway = await startGateway({ dataDir })
  })
  afterAll(() => gateway.end('SIGKILL'))

  it('prints the URL and a key of each tier, and never a key that was given by setting', async () => {
    await gateway.line(/institutional +fg_institutional_[A-Za-z0-9]{32,}/)
    await gateway.line(/premium +fg_premium_[A-Za-z0-9]{32,}/)
    await gateway.line(/basic +fg_basic_[A-Za-z0-9]{32,}/)
    expect(gateway.lines.join('\n')).not.toContain(ADMIN_KEY)
  })

  it('sends odds in the exact shape of /ws/odds within 5 s of the start', async () => {
    const client = await new Client(`${gateway.url}/ws/odds`).open()
    client.send('{ "type": "subscribe", "eventId": "MATCH_002" }')
    const odds = await client.waitFor((message) => 'odd' in message)
    expect(performance.now() - began).toBeLessThan(5_000)
    expect(Object.keys(odds)).toEqual(['eventId', 'market', 'odd', 'timestamp'])
    expect(odds.eventId).toBe('MATCH_002')
    expect(odds.odd).toBeTypeOf('number')
    expect(odds.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    client.close()
  })

  it('serves the stream of a demo key: ticks, trades, exact books and candles', async () => {
    const [, key] = await gateway.line(/institutional +(fg_\S+)/)
    const client = await new Client(`${gateway.url}/ws`, { 'x-api-key': key! }).open()
    client.send({ type: 'subscribe', id: 1, channel: 'ticker', symbols: ['*'] })
    client.send({ type: 'subscribe', id: 2, channel: 'orderbook', symbols: ['BTC/USDT'], depth: 5 })
    client.send({ type: 'subscribe', id: 3, channel: 'trades', symbols: ['BTC/USDT', 'NOT/THERE'] })
    const acknowledged = await client.waitFor((m) => m.type === 'subscribed' && m.id === 3)
    expect(acknowledged.symbols).toEqual(['BTC/USDT'])
    expect(acknowledged.rejected).toMatchObject([{ symbol: 'NOT/THERE', code: 422 }])
    const book = await client.waitFor((m) => m.type === 'orderbook')
    expect(book).toMatchObject({ kind: 'snapshot', depth: 5, flags: ['simulated'] })
    await client.waitFor((m) => m.type === 'trade')
    await until(() => new Set(client.ofType('ticker').map((m) => m.symbol)).size >= 10)
    client.close()
  })

  it('answers the REST routes of the spine', async () => {
    expect((await rest(gateway, '/healthz')).status).toBe(200)
    await until(async () => (await rest(gateway, '/readyz')).status === 200, 30_000)
    const sources = await rest<{ items: { id: string; state: string }[] }>(gateway, '/v1/sources')
    expect(sources.body.items.every((source) => source.state === 'connected')).toBe(true)
    const latest = await rest<{ items: { symbol: string }[] }>(
      gateway,
      '/v1/latest?channel=ticker&symbol=BTC/USDT',
    )
    expect(latest.body.items[0]).toMatchObject({ type: 'ticker', symbol: 'BTC/USDT' })
    await until(async () => (await all(gateway, '/v1/history/trades?symbol=BTC/USDT')).length > 5, 20_000)
    const candles = await rest<{ items: unknown[] }>(
      gateway,
      '/v1/candles?source=demo-crypto&symbol=BTC/USDT&timeframe=1m',
    )
    expect(candles.body.items.length).toBeGreaterThan(0)
    const book = await rest<{ bids: unknown[] }>(
      gateway,
      '/v1/orderbook?source=demo-crypto&symbol=BTC/USDT&depth=5',
    )
    expect(book.body.bids).toHaveLength(5)
    expect((await rest(gateway, '/v1/gaps')).status).toBe(200)
    expect((await rest(gateway, '/v1/odds/MATCH_001')).status).toBe(200)
    expect((await rest(gateway, '/v1/odds/MATCH_001/history')).status).toBe(200)
    expect((await rest<string>(gateway, '/metrics')).body).toContain('odds_proc_messages_consumed_total')
    expect((await rest<{ openapi: string }>(gateway, '/docs/json')).body.openapi).toMatch(/^3\.1/)
    expect((await rest<{ asyncapi: string }>(gateway, '/asyncapi.json')).body.asyncapi).toMatch(/^3\./)
    expect((await rest<string>(gateway, '/')).body).toContain('<html')
  }, 60_000)

  it('ends in under 2 s, and the next start has the history and what an admin asked for', async () => {
    const added = await rest(gateway, '/market-data/websocket/subscribe', {
      method: 'POST',
      body: JSON.stringify({ exchangeId: 'extra', kind: 'simulator', channel: 'trades', symbol: 'LTC/EUR' }),
    })
    expect(added.status).toBe(201)
    const stored = await until(async () => {
      const trades = await all<{ epoch: number; seq: number }>(gateway, '/v1/history/trades?symbol=LTC/EUR')
      return trades.length > 3 && trades
    })
    const { code, ms } = await gateway.end('SIGINT')
    expect(code).toBe(0)
    expect(ms).toBeLessThan(2_000)

    gateway = await startGateway({ dataDir })
    const again = await until(async () => {
      const trades = await all<{ epoch: number; seq: number }>(gateway, '/v1/history/trades?symbol=LTC/EUR')
      return trades.some((trade) => trade.epoch > stored[0]!.epoch) && trades
    }, 20_000)
    expect(again.slice(0, stored.length)).toEqual(stored)
    const status = await rest<{ state: string }>(gateway, '/market-data/websocket/status/extra')
    expect(status.body.state).toBe('connected')
  }, 60_000)
})
