import fastify, { type FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createHub } from '../../../src/gateway/ws/hub.ts'
import { webSocketRoutes } from '../../../src/gateway/ws/routes.ts'
import { encodeEvent } from '../../../src/market/encode.ts'
import type { EncodedEvent } from '../../../src/market/encoded-event.ts'
import type { Payload } from '../../../src/market/event.ts'
import { type Topic, topicOf } from '../../../src/market/topic.ts'
import { type Said, TestClient, until } from '../ws/gateway.ts'
import { ADMIN_KEY, startRest, type TestGateway } from './gateway.ts'

/** Two sources that say the same, `free` to all and `paid` to those with a grant, on the program's own store. */
let gateway: TestGateway
let port: number
let sockets: FastifyInstance
const hubEnd = new AbortController()
let running: Promise<void>
/** Keys of tenants of the tier institutional; `granted` has a grant for all of `paid`, `other` none. */
const keys = { granted: '', other: '' }
const seqs = new Map<Topic, number>()
const clients: TestClient[] = []

const micros = () => Math.round((performance.timeOrigin + performance.now()) * 1_000)

function event(topic: Topic, payload: Payload, receivedTime: number): EncodedEvent {
  const seq = (seqs.get(topic) ?? 0) + 1
  seqs.set(topic, seq)
  return encodeEvent(topic, { epoch: 1_000, seq, receivedTime, publishedTime: receivedTime }, payload)
}

const level = (price: string) => [price, '1'] as const
const PAYLOADS = (at: number): readonly [string, string, Payload, string?][] => [
  ['ticker', 'BTC/USDT', { type: 'ticker', last: '77.7' }],
  ['trades', 'BTC/USDT', { type: 'trade', id: '1', price: '77.7', size: '1', side: 'buy' }],
  [
    'orderbook',
    'BTC/USDT',
    {
      ...{ type: 'orderbook', kind: 'snapshot', depth: 0 },
      ...{ bids: [level('77.7'), level('77.6')], asks: [level('77.8'), level('77.9')] },
    },
  ],
  [
    'ohlcv',
    'BTC/USDT',
    {
      ...{ type: 'ohlcv', timeframe: '1m', openTime: at, closed: true, origin: 'venue', revision: 0 },
      ...{ open: '77.7', high: '77.7', low: '77.7', close: '77.7', volume: '1' },
    },
    '1m',
  ],
  [
    'odds',
    'MATCH_1',
    {
      ...{ type: 'odds', kind: 'price', eventId: 'MATCH_1', marketId: 'M', market: 'Winner' },
      ...{ selectionId: 'H', selection: 'Home', side: 'back', level: 0, odds: '7.77' },
      ...{ sourcePrice: '7.77', sourceFormat: 'decimal', marketVersion: 1 },
    },
  ],
  ['funding', 'BTC/USDT', { type: 'gap', channel: 'funding', reason: 'lost', fromTime: at, toTime: at + 1 }],
]

const grant = async (more: object = {}, tenant = 'granted') => {
  const payload = { tenant, source: 'paid', ...more }
  const answer = await gateway.call({ method: 'POST', url: '/admin/grants', payload }, ADMIN_KEY)
  expect(answer.status).toBe(201)
  return answer.body as Said & { id: string }
}
const revoke = (id: string) => gateway.call({ method: 'DELETE', url: `/admin/grants/${id}` }, ADMIN_KEY)

async function freshKey(tenant: 'granted' | 'other'): Promise<string> {
  return (await gateway.ports.auth.createKey({ tenant, tier: 'institutional' })).key
}

async function connect(key: string, path = '/ws'): Promise<TestClient> {
  const client = await new TestClient(`ws://127.0.0.1:${port}${path}`, { 'x-api-key': key }).opened()
  clients.push(client)
  return client
}

beforeAll(async () => {
  gateway = await startRest({ demo: false, anonymous: false })
  const hub = createHub(gateway.ports)
  sockets = fastify()
  sockets.register(webSocketRoutes(gateway.ports, hub))
  running = hub.run(hubEnd.signal)
  await sockets.listen({ port: 0, host: '127.0.0.1' })
  port = (sockets.server.address() as { port: number }).port
  const at = Math.floor(micros() / 60_000_000) * 60_000_000 - 600_000_000
  for (const source of ['free', 'paid']) {
    const licence = source === 'free' ? 'open' : 'restricted'
    const topics = PAYLOADS(at).map(([channel, subject, payload, timeframe]) => {
      const topic = topicOf(source, channel as 'ticker', subject, timeframe)
      return event(gateway.desk.carry(topic, 'live', licence), payload, at + 1_000)
    })
    const own = gateway.desk.carry(topicOf(source, 'source', source), 'live', licence)
    const state = event(own, { type: 'source', state: 'connected', reason: '', attempt: 0 }, at + 1_000)
    await gateway.publish([...topics, state])
    const instrument = {
      symbol: 'BTC/USDT',
      venueSymbol: 'BTCUSDT',
      type: 'spot',
      base: 'BTC',
      quote: 'USDT',
    }
    gateway.desk.instruments.set(source, [{ ...instrument, status: 'TRADING' } as never])
  }
  for (const tenant of ['granted', 'other'] as const) keys[tenant] = await freshKey(tenant)
}, 120_000)

afterEach(() => {
  for (const client of clients.splice(0)) client.socket.terminate()
})
afterAll(async () => {
  hubEnd.abort()
  await running
  await sockets.close()
  await gateway.close()
})

/** What is asked, and what of it names the source. */
const OF_PAID = '&source=paid'
const ROUTES: readonly [route: string, query: string][] = [
  ...['ticker', 'trades', 'orderbook', 'ohlcv', 'odds', 'source'].flatMap((channel): [string, string][] => [
    [`/v1/latest`, `?channel=${channel}`],
    [`/v1/history/${channel}`, '?limit=100'],
    [`/v1/history/${channel}`, '?format=ndjson'],
    [`/v1/history/${channel}`, '?format=csv'],
  ]),
  ['/v1/latest', '?symbol=BTC/USDT'],
  ['/v1/gaps', '?limit=100'],
  ['/v1/gaps', '?channel=funding'],
  ['/v1/instruments', '?limit=100'],
  ['/v1/odds/MATCH_1/history', '?limit=100'],
]
const ROUTES_OF_ONE = [
  '/v1/candles?symbol=BTC/USDT&timeframe=1m&source=paid',
  '/v1/candles?symbol=BTC/USDT&timeframe=5m&source=paid',
  '/v1/orderbook?symbol=BTC/USDT&source=paid',
  '/v1/orderbook?symbol=BTC/USDT&source=paid&at=2199-01-01',
]

describe('a restricted source', () => {
  beforeAll(async () => {
    await grant()
  })

  it.each(ROUTES)('%s%s shows it to those with a grant only', async (route, query) => {
    const [all, none] = await Promise.all([
      gateway.get(`${route}${query}`, keys.granted),
      gateway.get(`${route}${query}`, keys.other),
    ])
    expect([all.status, none.status]).toEqual([200, 200])
    expect(all.text).toContain('paid')
    expect(all.text).toContain('free')
    expect(none.text).not.toContain('paid')
    expect(none.text).toContain('free')
    const [asked, refused] = await Promise.all([
      gateway.get(`${route}${query}${OF_PAID}`, keys.granted),
      gateway.get(`${route}${query}${OF_PAID}`, keys.other),
    ])
    expect(asked.status).toBe(200)
    expect(asked.text).not.toContain('free')
    expect([refused.status, refused.body.code]).toEqual([403, 'forbidden'])
  })

  it.each(ROUTES_OF_ONE)('%s is refused without a grant', async (route) => {
    expect((await gateway.get(route, keys.other)).status).toBe(403)
    const answer = await gateway.get(route, keys.granted)
    if (route.endsWith('2199-01-01')) expect(answer.status).toBe(400)
    else expect(answer.text).toContain('77.7')
  })

  it('/v1/odds shows it from cache and from database to those with a grant only', async () => {
    for (const cached of [true, false]) {
      const { images } = gateway.ports.cache
      if (!cached) gateway.ports.cache.images = async () => []
      const all = await gateway.get('/v1/odds/MATCH_1', keys.granted)
      const none = await gateway.get('/v1/odds/MATCH_1', keys.other)
      gateway.ports.cache.images = images
      expect(all.headers['x-cache']).toBe(cached ? 'hit' : 'miss')
      expect(all.body.items.map(({ source }: Said) => source).sort()).toEqual(['free', 'paid'])
      expect(none.body.items.map(({ source }: Said) => source)).toEqual(['free'])
    }
  })

  it('/v1/sources names it to those with a grant, and the admin, only', async () => {
    const seen = async (key: string) =>
      (await gateway.get('/v1/sources', key)).body.items.map(({ id }: Said) => id)
    expect(await seen(keys.granted)).toEqual(['free', 'paid'])
    expect(await seen(ADMIN_KEY)).toEqual(['free', 'paid'])
    expect(await seen(keys.other)).toEqual(['free'])
  })

  it.each([
    ['ticker', 'BTC/USDT'],
    ['trades', 'BTC/USDT'],
    ['orderbook', 'BTC/USDT'],
    ['ohlcv', 'BTC/USDT'],
    ['odds', 'MATCH_1'],
    ['source', 'paid'],
  ])('/ws: subscribe %s by symbol, pattern, resume and from', async (channel, symbol) => {
    const timeframe = channel === 'ohlcv' ? { timeframe: '1m' } : {}
    const id = `paid|${channel}|${symbol}${channel === 'ohlcv' ? '|1m' : ''}`
    const subscribe = { type: 'subscribe', channel, ...timeframe }
    const resume = { [id]: [1_000, 0], 'paid|source|paid': [1_000, 0] }
    for (const more of [{}, { resume }, { from: '2020-01-01T00:00:00Z' }]) {
      // Keys of their own: one key may not ask as fast as a quick machine does.
      const [granted, other] = await Promise.all([
        connect(await freshKey('granted')),
        connect(await freshKey('other')),
      ])
      const all = await granted.ask({ ...subscribe, symbols: [symbol, '*'], ...more }, 'subscribed')
      expect(all.rejected).toBeUndefined()
      await granted.next((message) => message.source === 'paid' && message.seq === 1)
      const none = await other.ask({ ...subscribe, symbols: ['*'], ...more }, 'subscribed')
      if ('resume' in more) expect(none.unrecovered).toEqual(Object.keys(resume))
      const named = await other.ask(
        { ...subscribe, source: 'paid', symbols: [symbol, '*'], ...more },
        'subscribed',
      )
      expect(named.symbols).toEqual([])
      expect(named.rejected.map(({ code }: Said) => code)).toEqual([403, 403])
      await other.ask({ type: 'heartbeat', intervalMs: 0, heads: true }, 'heartbeat')
      await other.ask({ type: 'list' }, 'subscriptions')
      await other.ask({ type: 'unsubscribe', channel, symbols: ['*'] }, 'unsubscribed')
      await other.settled()
      const sent = other.messages.filter(({ type }) => type !== 'subscribed')
      expect(JSON.stringify(sent)).not.toContain('paid')
    }
  })

  it('/ws/odds does not know it without a grant', async () => {
    const only = gateway.desk.carry(topicOf('paid', 'odds', 'MATCH_2'), 'live', 'restricted')
    const [, , price] = PAYLOADS(0).find(([channel]) => channel === 'odds')!
    await gateway.publish([event(only, { ...price, eventId: 'MATCH_2' } as Payload, micros())])
    const [granted, other] = await Promise.all([
      connect(keys.granted, '/ws/odds'),
      connect(keys.other, '/ws/odds'),
    ])
    for (const client of [granted, other]) client.send({ type: 'subscribe', eventId: 'MATCH_2' })
    await granted.next(({ eventId, odd }) => eventId === 'MATCH_2' && odd === 7.77)
    await other.next(({ type, message }) => type === 'error' && /not known/.test(message))
    expect(other.messages).toHaveLength(1)
  })
})

describe('a conversation', () => {
  it("is its tenant's on every way, whoever else asks, the admin too", async () => {
    const topic = gateway.desk.carry(topicOf('free', 'status', 'granted/conv-1'))
    const status = {
      type: 'status',
      messageId: 'm-1',
      conversationId: 'conv-1',
      tenantId: 'granted',
    } as const
    await gateway.publish([event(topic, { ...status, status: 'SENT', channel: 'whatsapp' }, micros())])
    const routes = ['/v1/sources', '/v1/latest', '/v1/history/status', '/v1/latest?channel=status']
    for (const route of routes) {
      expect((await gateway.get(route, keys.granted)).text).toContain('conv-1')
      for (const key of [keys.other, ADMIN_KEY])
        expect((await gateway.get(route, key)).text).not.toContain('conv-1')
    }
    for (const key of [keys.other, ADMIN_KEY]) {
      expect((await gateway.get('/v1/history/status?symbol=conv-1', key)).status).toBe(422)
      const client = await connect(key)
      const answer = await client.ask(
        { type: 'subscribe', channel: 'status', symbols: ['conv-1'] },
        'subscribed',
      )
      expect(answer.rejected).toMatchObject([{ code: 422 }])
      const legacy = await connect(key, '/ws/status')
      legacy.send({ type: 'subscribe', conversationId: 'conv-1' })
      await legacy.next(({ type, message }) => type === 'error' && /not known/.test(message))
    }
  })
})

describe('a grant', () => {
  const ticker = () => topicOf('paid', 'ticker', 'BTC/USDT')
  const say = async (last: string, source = 'paid') => {
    const topic = topicOf(source, 'ticker', 'BTC/USDT')
    const said = event(topic, { type: 'ticker', last }, micros())
    await gateway.publish([said])
    return said
  }
  const subscribe = { type: 'subscribe', channel: 'ticker', symbols: ['*'] }
  let held: { id: string } | undefined
  beforeEach(async () => {
    for (const { id } of (await gateway.get('/admin/grants')).body.items) await revoke(id)
    held = undefined
  })

  it('begins and ends what a live client is sent; the rest goes on', async () => {
    const client = await connect(keys.granted)
    await client.ask(subscribe, 'subscribed')
    await client.next(({ source }) => source === 'free')
    held = await grant()
    await client.next(({ source, type }) => source === 'paid' && type === 'ticker')
    const before = client.messages.length
    await revoke(held.id)
    const error = await client.next(({ type }) => type === 'error', before)
    expect(error).toMatchObject({ code: 403, name: 'forbidden' })
    expect(error.message).toContain('paid|ticker|BTC/USDT')
    await say('1')
    await say('2', 'free')
    await client.next(({ source, last }) => source === 'free' && last === '2')
    expect(
      client.messages.slice(before).some(({ source, type }) => source === 'paid' && type === 'ticker'),
    ).toBe(false)
  })

  it('is at most what it says of books', async () => {
    await grant({ depth: 1 })
    const book = (await gateway.get('/v1/orderbook?source=paid&symbol=BTC/USDT', keys.granted)).body
    expect(book).toMatchObject({ bids: [['77.7', '1']], asks: [['77.8', '1']], depth: 1 })
    const [stored] = (await gateway.get('/v1/history/orderbook?source=paid', keys.granted)).body.items
    expect(stored).toMatchObject({ bids: [['77.7', '1']], depth: 1 })
    const both = (await gateway.get('/v1/latest?channel=orderbook', keys.granted)).body.items
    expect(both.map(({ source, bids }: Said) => [source, bids.length]).sort()).toEqual([
      ['free', 2],
      ['paid', 1],
    ])
    const client = await connect(keys.granted)
    const answer = await client.ask(
      { type: 'subscribe', channel: 'orderbook', source: 'paid', symbols: ['*'] },
      'subscribed',
    )
    expect(answer.depth).toBe(1)
    const snapshot = await client.next(({ kind }) => kind === 'snapshot')
    expect(snapshot.bids).toEqual([['77.7', '1']])
  })

  it('of one channel shows no other, and candles only with the trades that they are made of', async () => {
    await grant({ channel: 'ohlcv' })
    const status = async (route: string) => (await gateway.get(route, keys.granted)).status
    expect(await status('/v1/history/ohlcv?source=paid')).toBe(200)
    expect(await status('/v1/history/trades?source=paid')).toBe(403)
    expect(await status('/v1/candles?source=paid&symbol=BTC/USDT&timeframe=1m')).toBe(403)
    const [paid] = (await gateway.get('/v1/sources', keys.granted)).body.items.filter(
      ({ id }: Said) => id === 'paid',
    )
    expect(paid.topics.map(({ channel }: Said) => channel).sort()).toEqual(['ohlcv', 'source'])
    await grant({ channel: 'trades' })
    expect(await status('/v1/candles?source=paid&symbol=BTC/USDT&timeframe=1m')).toBe(200)
  })

  it('for display has no export', async () => {
    await grant({ display: true })
    const of = async (query: string) => gateway.get(`/v1/history/trades?${query}`, keys.granted)
    expect((await of('source=paid')).status).toBe(200)
    expect((await of('source=paid&format=csv')).status).toBe(403)
    const all = await of('format=ndjson')
    expect(all.text).toContain('free')
    expect(all.text).not.toContain('paid')
  })

  it('of a period that is over shows what is stored of it, and nothing that comes', async () => {
    const end = micros()
    const later = await say('88.8')
    await grant({ to: String(end) })
    const history = await gateway.get('/v1/history/ticker?source=paid', keys.granted)
    expect(history.body.items.length).toBeGreaterThan(0)
    expect(history.text).not.toContain(`"receivedTime":${later.receivedTime}`)
    for (const route of [
      '/v1/latest?channel=ticker&source=paid',
      '/v1/orderbook?symbol=BTC/USDT&source=paid',
    ])
      expect((await gateway.get(route, keys.granted)).status).toBe(403)
    expect((await gateway.get('/v1/latest?channel=ticker', keys.granted)).text).not.toContain('paid')
    const client = await connect(keys.granted)
    const answer = await client.ask({ ...subscribe, source: 'paid' }, 'subscribed')
    expect(answer.rejected).toMatchObject([{ code: 403 }])
  })

  it('with a delay shows what was, flagged, and later what comes', async () => {
    const delayMs = 2_500
    const old = (await gateway.get('/v1/latest?channel=ticker&source=paid')).body.items[0]
    await until(() => micros() - old.receivedTime > delayMs * 1_000)
    await grant({ delayMs })
    const news = await say('99.9')
    const latest = (await gateway.get('/v1/latest?channel=ticker&source=paid', keys.granted)).body.items
    expect(latest).toMatchObject([{ seq: old.seq, last: old.last, flags: ['delayed'] }])
    expect((await gateway.get('/v1/history/ticker?source=paid', keys.granted)).text).not.toContain('99.9')
    const [paid] = (await gateway.get('/v1/sources', keys.granted)).body.items.filter(
      ({ id }: Said) => id === 'paid',
    )
    expect(paid.topics.every((topic: Said) => topic.channel === 'source' || topic.seq === null)).toBe(true)
    const book = (await gateway.get('/v1/orderbook?source=paid&symbol=BTC/USDT', keys.granted)).body
    expect(book.bids[0]).toEqual(['77.7', '1'])

    const [client, second] = await Promise.all([connect(keys.granted), connect(keys.granted)])
    await client.ask({ ...subscribe, source: 'paid' }, 'subscribed')
    const first = await client.next(({ type }) => type === 'ticker')
    expect(first).toMatchObject({ seq: old.seq, flags: ['delayed'] })
    const from = await second.ask(
      { ...subscribe, source: 'paid', from: '2020-01-01T00:00:00Z', id: 1 },
      'subscribed',
    )
    expect(from.rejected).toBeUndefined()
    await second.next(({ type }) => type === 'live')
    expect(second.ofType('ticker').at(-1)).toMatchObject({ seq: old.seq })
    for (const one of [client, second]) {
      const late = await until(() => one.ofType('ticker').find(({ last }) => last === '99.9'), 15_000)
      expect(late).toMatchObject({ seq: news.seq, flags: ['delayed'] })
      expect(late.sentTime - news.receivedTime).toBeGreaterThanOrEqual(delayMs * 1_000)
      expect(one.ofType('ticker').map(({ seq }) => seq)).toEqual(
        Array.from(
          { length: one.ofType('ticker').length },
          (_, i) => news.seq + 1 - one.ofType('ticker').length + i,
        ),
      )
    }
    // Without the delay it goes on with what is newest, and says so.
    await grant()
    await client.next(({ type, topic }) => type === 'resync' && topic === ticker().publicId)
    const live = await say('111.1')
    await client.next(({ seq, flags }) => seq === live.seq && flags === undefined)
  })

  it('with a delay shows a book as it was, at the depth asked for, and goes on from where a client stood', async () => {
    const topic = topicOf('paid', 'orderbook', 'ETH/USDT')
    gateway.desk.carry(topic, 'live', 'restricted')
    const delayMs = 1_000
    const bids = ['10', '9', '8', '7', '6', '5', '4'].map(level)
    const snapshot: Payload = { type: 'orderbook', kind: 'snapshot', bids, asks: [], depth: 0 }
    await gateway.publish([event(topic, snapshot, micros() - 2_000_000)])
    await grant({ delayMs })
    const command = {
      type: 'subscribe',
      channel: 'orderbook',
      source: 'paid',
      symbols: ['ETH/USDT'],
      depth: 5,
    }
    const client = await connect(keys.granted)
    await client.ask(command, 'subscribed')
    const first = await client.next(({ kind }) => kind === 'snapshot')
    expect(first).toMatchObject({ seq: 1, flags: ['delayed'], depth: 5, bids: bids.slice(0, 5) })
    for (const price of ['10', '9', '8']) {
      const gone: Payload = { type: 'orderbook', kind: 'delta', bids: [[price, '0']], asks: [], depth: 0 }
      await gateway.publish([event(topic, gone, micros())])
    }
    await client.next(({ kind, seq }) => kind === 'delta' && seq === 4)
    const deltas = client.messages.filter(({ kind }) => kind === 'delta')
    expect(deltas.map(({ seq }) => seq)).toEqual([2, 3, 4])
    expect(deltas[0]).toMatchObject({
      flags: ['delayed'],
      bids: [
        ['10', '0'],
        ['5', '1'],
      ],
    })
    for (const { sentTime, receivedTime } of deltas)
      expect(sentTime - receivedTime).toBeGreaterThanOrEqual(delayMs * 1_000)
    const resumed = await connect(keys.granted)
    const resume = { [topic.publicId]: [1_000, 2] }
    const answer = await resumed.ask({ ...command, resume }, 'subscribed')
    expect(answer.unrecovered).toBeUndefined()
    await resumed.next(({ seq }) => seq === 4)
    expect(resumed.messages.filter(({ kind }) => kind).map(({ seq }) => seq)).toEqual([3, 4])
  })
})

describe('/admin/grants', () => {
  it('lists what was made, gives one by its id, and takes it back', async () => {
    const given = { channel: 'orderbook', depth: 10, delayMs: 1_000, display: true }
    const made = await grant({ ...given, from: '2026-01-01', to: '2027-01-01T00:00:00Z' })
    expect(made).toMatchObject({
      ...{ tenant: 'granted', source: 'paid', ...given },
      ...{ from: '2026-01-01T00:00:00.000Z', to: '2027-01-01T00:00:00.000Z' },
    })
    expect((await gateway.get('/admin/grants')).body.items).toContainEqual(made)
    expect((await gateway.get(`/admin/grants/${made.id}`)).body).toEqual(made)
    expect((await revoke(made.id)).status).toBe(204)
    expect((await revoke(made.id)).status).toBe(404)
    expect((await gateway.get(`/admin/grants/${made.id}`)).status).toBe(404)
  })

  it.each<[string, object, number, string]>([
    ['a tenant that is none', { tenant: 'a b' }, 400, 'tenant'],
    ['an unknown tenant', { tenant: 'nobody' }, 422, 'nobody'],
    ['no source', { source: undefined }, 400, 'source'],
    ['an unknown source', { source: 'gone' }, 422, 'gone'],
    ['an unknown channel', { channel: 'smells' }, 422, 'smells'],
    ['a depth of none', { depth: 0 }, 400, 'depth'],
    ['a depth of what has none', { depth: 5, channel: 'trades' }, 400, 'trades'],
    ['a negative delay', { delayMs: -1 }, 400, 'delayMs'],
    ['a display of words', { display: 'yes' }, 400, 'display'],
    ['a time that is none', { from: '2026-02-31' }, 400, 'from'],
    ['an end before the begin', { from: '2026-02-02', to: '2026-02-01' }, 400, 'earlier'],
    ['more than there is', { colour: 'red' }, 400, 'colour'],
  ])('refuses %s', async (_what, more, status, names) => {
    const payload = { tenant: 'granted', source: 'paid', ...more }
    const answer = await gateway.call({ method: 'POST', url: '/admin/grants', payload }, ADMIN_KEY)
    expect(answer.status).toBe(status)
    expect(answer.body.detail).toContain(names)
  })

  it('is for admins', async () => {
    const payload = { tenant: 'other', source: 'paid' }
    const answer = await gateway.call({ method: 'POST', url: '/admin/grants', payload }, keys.other)
    expect(answer.status).toBe(403)
    expect((await gateway.get('/admin/grants', keys.other)).status).toBe(403)
  })
})
