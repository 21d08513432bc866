import { once } from 'node:events'
import jwt from 'jsonwebtoken'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import {
  type GatewayOptions,
  JWT_SECRET,
  KEYS,
  pause,
  type TestClient,
  TestGateway,
  ticker,
  tier,
  until,
} from './gateway.ts'

let gateway: TestGateway
afterEach(() => gateway.stop())

async function start(options: GatewayOptions = {}): Promise<void> {
  gateway = await new TestGateway(options).start()
  gateway.carry('venue', 'ticker', 'BTC/USDT')
}

const inSeconds = (seconds: number) => Math.floor(Date.now() / 1_000) + seconds
function token(claims: object = {}, secret = JWT_SECRET): string {
  return jwt.sign({ sub: 'ann', tenant_id: 'demo', tier: 'premium', exp: inSeconds(600), ...claims }, secret)
}
const orderbook = { type: 'subscribe', channel: 'orderbook', symbols: ['BTC/USDT'] }

describe('who is there', () => {
  it('may be said by header, by URL, by ticket or by a first message', async () => {
    await start({ anonymous: false })
    gateway.carry('venue', 'orderbook', 'BTC/USDT')
    const identity = await gateway.auth.identify({ kind: 'apiKey', apiKey: KEYS.premium }, '::1')
    const { ticket } = await gateway.auth.issueTicket(identity)
    const ways = [
      await gateway.client({ headers: { authorization: `Bearer ${token()}` } }),
      await gateway.client({ headers: { 'x-api-key': KEYS.premium } }),
      await gateway.client({ path: `/ws?access_token=${token()}` }),
      await gateway.client({ path: `/ws?ticket=${ticket}` }),
    ]
    for (const client of ways)
      expect(await client.ask(orderbook, 'subscribed')).toMatchObject({ symbols: ['BTC/USDT'] })
    for (const message of [{ token: token() }, { apiKey: KEYS.premium, batch: true }]) {
      const client = await gateway.client()
      const answer = await client.ask({ type: 'auth', id: 1, ...message }, 'authenticated')
      expect(answer).toMatchObject({ type: 'authenticated', id: 1, tier: 'premium' })
      expect(await client.ask(orderbook, 'subscribed')).toMatchObject({ symbols: ['BTC/USDT'] })
    }
  })

  it.each([
    ['a key in the URL', { path: `/ws?access_token=${KEYS.premium}` }, 401, 4001],
    ['an unknown key', { headers: { 'x-api-key': 'fg_basic_nothing' } }, 401, 4001],
    ['an unknown ticket', { path: '/ws?ticket=nothing' }, 401, 4001],
    ['a token of another secret', { path: `/ws?access_token=${token({}, 'x'.repeat(40))}` }, 401, 4001],
    ['a header that is no bearer', { headers: { authorization: 'Basic abc' } }, 401, 4001],
    ['an expired token', { path: `/ws?access_token=${token({ exp: inSeconds(-5) })}` }, 411, 4003],
  ])('with %s is told why and closed', async (_what, options, code, close) => {
    await start()
    const client = gateway.connect(options)
    expect(await client.closed).toBe(close)
    expect(client.messages).toMatchObject([{ type: 'error', code }])
  })

  it('is closed with 4001 when it says nothing in time', async () => {
    await start({ anonymous: false, hub: { authTimeoutMs: 100 } })
    const client = await gateway.client()
    expect(await client.closed).toBe(4001)
    const asks = await gateway.client()
    asks.send({ type: 'ping' })
    expect(await asks.closed).toBe(4001)
  })

  it('is anonymous where such clients are let in, and no connection of the address counts before it speaks', async () => {
    await start({ tiers: tier('basic', { commandsPerSecond: 10 }) })
    const silent = await gateway.client()
    const clients = [await gateway.client(), await gateway.client()]
    for (const client of clients) await client.ask({ type: 'ping' }, 'pong')
    expect(await silent.ask({ type: 'auth', apiKey: KEYS.premium }, 'authenticated')).toMatchObject({
      tier: 'premium',
    })
    const refused = await clients[0]!.ask(orderbook, 'subscribed')
    expect(refused).toMatchObject({ type: 'error', code: 403 })
  })
})

describe('a token', () => {
  it('is told to expire, then the connection is closed with 4003', async () => {
    await start()
    const client = await gateway.client({ path: `/ws?access_token=${token({ exp: inSeconds(2) })}` })
    const expiring = await client.next((message) => message.type === 'token.expiring')
    expect(expiring.expiresAt).toBeGreaterThan(Date.now() * 1_000)
    expect(await client.closed).toBe(4003)
    expect(client.messages.at(-1)).toMatchObject({ type: 'error', code: 411, name: 'token-expired' })
  })

  it('can be replaced while the connection lives; one that does not hold changes nothing', async () => {
    await start()
    const client = await gateway.client({ path: `/ws?access_token=${token({ exp: inSeconds(2) })}` })
    await client.ask({ type: 'subscribe', channel: 'ticker', symbols: ['*'] }, 'subscribed')
    const bad = await client.ask({ type: 'auth', id: 'b', token: 'a.b.c' }, 'authenticated')
    expect(bad).toMatchObject({ type: 'error', code: 401, id: 'b' })
    await client.ask({ type: 'auth', token: token() }, 'authenticated')
    await pause(2_200)
    await gateway.publish(gateway.carry('venue', 'ticker', 'BTC/USDT'), ticker('1'))
    await client.next((message) => message.type === 'ticker')
  })

  it('of a lower tier ends what that tier does not have, and says so', async () => {
    await start()
    const topic = gateway.carry('venue', 'ticker', 'BTC/USDT')
    gateway.carry('venue', 'orderbook', 'BTC/USDT')
    const client = await gateway.client({ path: `/ws?access_token=${token()}` })
    await client.ask(orderbook, 'subscribed')
    await client.ask({ ...orderbook, channel: 'ticker' }, 'subscribed')
    client.send({ type: 'auth', token: token({ tier: 'basic' }) })
    expect(await client.next((message) => message.type === 'error')).toMatchObject({
      code: 403,
      message: 'no longer sent: venue|orderbook|BTC/USDT',
    })
    await client.next((message) => message.type === 'authenticated')
    await gateway.publish(topic, ticker('1'))
    await client.next((message) => message.type === 'ticker')
    expect(client.frames.at(-1)).toMatch(/^\[\{/)
  })

  it('of another tenant is refused on a live connection', async () => {
    await start()
    const client = await gateway.client({ path: `/ws?access_token=${token()}` })
    const answer = await client.ask({ type: 'auth', token: token({ tenant_id: 'default' }) }, 'authenticated')
    expect(answer).toMatchObject({ type: 'error', code: 403 })
  })

  it('of a tenant whose ceiling is changed has what that leaves, at once, and is told', async () => {
    await start({ tiers: tier('basic', { framesPerMinute: 600, frameBurst: 10 }) })
    const topic = gateway.carry('venue', 'ticker', 'BTC/USDT')
    gateway.carry('venue', 'orderbook', 'BTC/USDT')
    const clients = [
      await gateway.client({ tier: 'premium' }),
      await gateway.client({ path: `/ws?access_token=${token()}` }),
    ]
    const elsewhere = await gateway.client({ path: `/ws?access_token=${token({ tenant_id: 'default' })}` })
    for (const client of [...clients, elsewhere]) {
      await client.ask(orderbook, 'subscribed')
      await client.ask({ ...orderbook, channel: 'ticker' }, 'subscribed')
    }
    await gateway.auth.setTenantTier('demo', 'basic')
    for (const client of clients) {
      const refusal = await client.next((message) => message.type === 'error')
      expect(refusal).toMatchObject({ code: 403, message: 'no longer sent: venue|orderbook|BTC/USDT' })
      await client.next(({ type, tier }) => type === 'authenticated' && tier === 'basic')
      expect(await client.ask(orderbook, 'subscribed')).toMatchObject({ type: 'error', code: 403 })
    }
    await gateway.publish(topic, ticker('1'))
    for (const client of clients) {
      await client.next((message) => message.type === 'ticker')
      expect(client.frames.at(-1)).toMatch(/^\[\{/)
    }
    await gateway.auth.setTenantTier('demo', 'institutional')
    for (const client of clients) {
      await client.next(({ type, tier }) => type === 'authenticated' && tier === 'premium')
      expect(await client.ask(orderbook, 'subscribed')).toMatchObject({ type: 'subscribed' })
    }
    await gateway.publish(topic, ticker('2'))
    for (const client of clients) {
      await client.next((message) => message.last === '2')
      expect(client.frames.at(-1)).toMatch(/^\{/)
      expect(client.socket.readyState).toBe(client.socket.OPEN)
    }
    await elsewhere.next((message) => message.last === '2')
    expect(elsewhere.ofType('error')).toEqual([])
  })

  it('of a lower tier holds no more connections than that has', async () => {
    await start({ tiers: tier('basic', { connections: 2 }) })
    const clients: TestClient[] = []
    for (let n = 0; n < 4; n++) clients.push(await gateway.client({ tier: 'premium' }))
    for (const client of clients) await client.ask({ type: 'ping' }, 'pong')
    await gateway.auth.setTenantTier('demo', 'basic')
    const open = () => clients.filter(({ socket }) => socket.readyState === socket.OPEN)
    await until(() => open().length === 2)
    for (const client of clients.filter((one) => !open().includes(one))) {
      expect(await client.closed).toBe(4106)
      expect(client.ofType('error')).toMatchObject([{ code: 406 }])
    }
    await pause(100)
    expect(open()).toHaveLength(2)
    const another = await gateway.client({ tier: 'premium' })
    expect(await another.closed).toBe(4106)
  })

  it('or key that is revoked closes its connections with 4003', async () => {
    await start()
    const client = await gateway.client({ tier: 'premium' })
    const other = await gateway.client({ tier: 'institutional' })
    await client.ask({ type: 'ping' }, 'pong')
    const { keyId } = await gateway.auth.identify({ kind: 'apiKey', apiKey: KEYS.premium }, '::1')
    gateway.revoke(keyId!)
    expect(await client.closed).toBe(4003)
    await other.ask({ type: 'ping' }, 'pong')
  })
})

describe('a page in a browser', () => {
  const evil = 'https://evil.example'
  const opened = (origin: string, path = '/ws') => gateway.client({ path, headers: { origin } })

  it('of another origin brings a credential; the own one, and one of the same machine, need none', async () => {
    await start()
    for (const origin of [`http://127.0.0.1:${gateway.port}`, 'http://localhost:5173'])
      expect(await (await opened(origin)).ask({ type: 'ping' }, 'pong')).toMatchObject({ type: 'pong' })
    for (const origin of [evil, 'null', `http://127.0.0.1.evil.example:${gateway.port}`]) {
      const client = await opened(origin)
      expect(await client.ask({ type: 'ping' }, 'pong')).toMatchObject({ type: 'error', code: 403 })
      expect(await client.closed).toBe(4009)
      for (const path of ['/ws/odds', '/ws/status'])
        expect(await (await opened(origin, path)).closed).toBe(4009)
    }
    const bearer = await opened(evil, `/ws?access_token=${token()}`)
    expect(await bearer.ask({ type: 'ping' }, 'pong')).toMatchObject({ type: 'pong' })
    const says = await opened(evil)
    expect(await says.ask({ type: 'auth', apiKey: KEYS.premium }, 'authenticated')).toMatchObject({
      tier: 'premium',
    })
  })

  it('is of a named origin, where origins are named', async () => {
    await start({ hub: { allowedOrigins: ['https://app.example.com'] } })
    const page = await opened('https://app.example.com')
    expect(await page.ask({ type: 'ping' }, 'pong')).toMatchObject({ type: 'pong' })
    const other = await opened(evil, `/ws?access_token=${token()}`)
    expect(await other.closed).toBe(4009)
    expect(other.messages).toMatchObject([{ type: 'error', code: 403 }])
  })
})

describe('a key at its limit of connections', () => {
  const two = { tiers: tier('premium', { connections: 2 }) }
  /** Reads on, but does not answer a ping: as a client whose network is gone. */
  async function ghost(): Promise<{ closed: Promise<number> }> {
    const socket = new WebSocket(`ws://127.0.0.1:${gateway.port}/ws`, {
      headers: { 'x-api-key': KEYS.premium },
      autoPong: false,
    })
    socket.on('error', () => {})
    await once(socket, 'open')
    socket.send('{"type":"ping"}')
    await once(socket, 'message')
    return { closed: once(socket, 'close').then(([code]) => code as number) }
  }

  it('has the oldest of those that are gone make room', async () => {
    await start(two)
    const alive = await gateway.client({ tier: 'premium' })
    await alive.ask({ type: 'ping' }, 'pong')
    const gone = await ghost()
    const next = await gateway.client({ tier: 'premium' })
    await next.ask({ type: 'ping' }, 'pong')
    // 1006: what is gone does not wait for a close frame; 4201 if it could still read it.
    expect([1006, 4201]).toContain(await gone.closed)
    expect(alive.socket.readyState).toBe(alive.socket.OPEN)
  })

  it('is refused at once when all are alive', async () => {
    await start(two)
    const alive = [await gateway.client({ tier: 'premium' }), await gateway.client({ tier: 'premium' })]
    for (const client of alive) await client.ask({ type: 'ping' }, 'pong')
    const began = performance.now()
    const refused = await gateway.client({ tier: 'premium' })
    expect(await refused.closed).toBe(4106)
    expect(refused.messages).toMatchObject([{ type: 'error', code: 406, name: 'too-many-connections' }])
    // Those who answer are not waited for.
    expect(performance.now() - began).toBeLessThan(1_400)
    for (const client of alive) await client.ask({ type: 'ping' }, 'pong')
  })

  it('finds a ghost for each of several who come back at once', async () => {
    await start(two)
    const gone = [await ghost(), await ghost()]
    const back = await Promise.all([0, 1, 2].map(() => gateway.client({ tier: 'premium' })))
    const answers = await Promise.all(back.map((client) => client.ask({ type: 'ping' }, 'pong')))
    expect(answers.map(({ type, code }) => code ?? type).sort()).toEqual([406, 'pong', 'pong'])
    await Promise.all(gone.map(({ closed }) => closed))
  })

  it('that is deleted meanwhile lets nobody in', async () => {
    await start(two)
    await Promise.all([ghost(), ghost()])
    const client = await gateway.client({ tier: 'premium' })
    await pause(200)
    const { keyId } = await gateway.auth.identify({ kind: 'apiKey', apiKey: KEYS.premium }, '::1')
    gateway.revoke(keyId!)
    expect(await client.closed).toBe(4003)
  })
})

describe('those who are connected', () => {
  it('are listed with what each was sent, page by page, and can be ended one by one', async () => {
    await start({ tiers: tier('basic', { framesPerMinute: 300, frameBurst: 1, commandsPerSecond: 50 }) })
    const topic = gateway.carry('venue', 'ticker', 'BTC/USDT')
    const grouped = await gateway.client({ tier: 'premium' })
    const paced = await gateway.client({ tier: 'basic' })
    for (const client of [grouped, paced])
      await client.ask({ type: 'subscribe', channel: 'ticker', symbols: ['BTC/USDT'] }, 'subscribed')
    const board = await gateway.client({ path: `/ws/odds?access_token=${token({ tenant_id: 'default' })}` })
    await gateway.client()
    for (let n = 1; n <= 20; n++) await gateway.publish(topic, ticker(String(n)))
    for (const client of [grouped, paced]) await client.next((message) => message.last === '20')
    await grouped.settled()
    const { items, next, complete } = await gateway.hub.clients.list({ after: '', limit: 10 })
    expect({ next, complete }).toEqual({ next: null, complete: true })
    expect(items).toMatchObject([
      { tier: 'premium', tenant: 'demo', endpoint: '/ws', encoding: 'json', sentEvents: 20, conflated: 0 },
      { tier: 'basic', tenant: 'demo', endpoint: '/ws', receivedMessages: 1 },
      { tier: 'premium', tenant: 'default', endpoint: '/ws/odds', subject: 'ann', sentEvents: 0 },
    ])
    const [first, second] = items as [(typeof items)[0], (typeof items)[0]]
    expect(first.subscriptions).toBe(2)
    expect(first.sentBytes).toBe(
      grouped.frames.reduce((sum, { length }) => sum + length + (length > 125 ? 4 : 2), 0),
    )
    expect(second.sentEvents).toBe(paced.ofType('ticker').length)
    expect(second.sentEvents + second.conflated).toBe(20)
    expect(second.conflated).toBeGreaterThan(0)
    const page = await gateway.hub.clients.list({ after: '', limit: 1, tenant: 'demo' })
    expect(page).toMatchObject({ items: [{ id: first.id }], next: first.id })
    const rest = await gateway.hub.clients.list({ after: page.next!, limit: 1, tenant: 'demo' })
    expect(rest).toMatchObject({ items: [{ id: second.id }], next: null })
    expect(await gateway.hub.clients.end(first.id)).toBe(true)
    expect(await grouped.closed).toBe(4009)
    expect(await gateway.hub.clients.end(first.id)).toBe(false)
    expect(board.socket.readyState).toBe(board.socket.OPEN)
  })

  it('say when they answered a ping last', async () => {
    await start({ hub: { pingMs: 50, checkMs: 20 } })
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'ping' }, 'pong')
    const entry = async () => (await gateway.hub.clients.list({ after: '', limit: 1 })).items[0]!
    const { since, lastPong } = await vi.waitFor(async () => {
      const found = await entry()
      expect(found.lastPong).not.toBeNull()
      return found
    })
    expect(lastPong! - since).toBeGreaterThan(0)
    expect(lastPong! - since).toBeLessThan(5_000_000)
  })
})

describe('tier basic', () => {
  const trade = (id: number) =>
    ({ type: 'trade', id: String(id), price: '1', size: '1', side: 'buy' }) as const

  it('gets arrays of all that is due, no more than the tier allows, and knows what was left out', async () => {
    await start({ tiers: tier('basic', { framesPerMinute: 100, frameBurst: 2, commandsPerSecond: 50 }) })
    const prices = gateway.carry('venue', 'ticker', 'BTC/USDT')
    const trades = gateway.carry('venue', 'trades', 'BTC/USDT')
    for (const symbol of ['A', 'B'])
      await gateway.publish(gateway.carry('venue', 'ticker', symbol), ticker('1'))
    await gateway.publish(prices, ticker('1'))
    const client = await gateway.client({ tier: 'basic' })
    client.send({ type: 'subscribe', channel: 'ticker', symbols: ['*'] })
    await until(() => client.frames.length === 2)
    expect(JSON.parse(client.frames[1]!).map((event: { symbol: string }) => event.symbol)).toEqual([
      'BTC/USDT',
      'A',
      'B',
    ])
    await client.ask({ type: 'subscribe', channel: 'trades', symbols: ['*'] }, 'subscribed')
    const began = performance.now()
    const frames = client.frames.length
    // The burst's last token goes with the first of these; what follows waits for the next.
    await gateway.publish(prices, ticker('2'))
    await until(() => client.frames.length > frames)
    await gateway.publish(prices, ticker('3'))
    await gateway.cache.apply(Array.from({ length: 700 }, (_, id) => gateway.event(trades, trade(id))))
    const last = await gateway.publish(prices, ticker('4'))
    await until(() => client.ofType('ticker').at(-1)?.seq === last.seq)
    expect(performance.now() - began).toBeGreaterThan(100)
    const arrays = client.frames.map((frame) => JSON.parse(frame)).filter(Array.isArray)
    const final = arrays.at(-1) as { type: string; seq: number; prev?: number; conflated?: boolean }[]
    expect(final.filter((event) => event.type === 'trade')).toHaveLength(500)
    expect(final[0]).toMatchObject({ type: 'trade', seq: 201 })
    expect(final.at(-1)).toMatchObject({ type: 'ticker', seq: 4, prev: 2, conflated: true })
    expect(client.ofType('slow')).toEqual([
      { type: 'slow', topics: 1, skipped: 200, reason: expect.stringContaining('500 events') },
    ])
    expect(client.socket.readyState).toBe(client.socket.OPEN)
  })

  it('never loses a closed candle to a newer one', async () => {
    await start({ tiers: tier('basic', { framesPerMinute: 120, frameBurst: 1 }) })
    const topic = gateway.carry('venue', 'ohlcv', 'BTC/USDT', '1m')
    const candle = (openTime: number, closed: boolean, revision = 0) =>
      gateway.publish(topic, {
        ...{
          type: 'ohlcv',
          timeframe: '1m',
          openTime,
          open: '1',
          high: '2',
          low: '1',
          close: '1',
          volume: '1',
        },
        ...{ closed, origin: 'venue', revision },
      })
    const client = await gateway.client({ tier: 'basic' })
    await client.ask({ type: 'subscribe', channel: 'ohlcv', symbols: ['*'] }, 'subscribed')
    await candle(0, false)
    await client.next((message) => message.type === 'ohlcv')
    await candle(0, false)
    await candle(0, true)
    await candle(0, true, 1)
    await candle(60, false)
    await candle(60, false)
    await until(() => client.ofType('ohlcv').at(-1)?.seq === 6)
    expect(client.ofType('ohlcv').map(({ seq, closed, prev }) => [seq, closed, prev])).toEqual([
      [1, false, undefined],
      [2, false, undefined],
      [3, true, undefined],
      [4, true, undefined],
      [6, false, 4],
    ])
  })
})
