import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FeedgateError } from '../../../src/errors.ts'
import { ADMIN_KEY, startRest, symbolTopic, type TestGateway } from './gateway.ts'

let gateway: TestGateway

beforeAll(async () => {
  gateway = await startRest()
  gateway.desk.carry(symbolTopic('ticker', 'BTC/USDT'))
})
afterAll(() => gateway.close())

const post = (url: string, payload: object, key: string | undefined = ADMIN_KEY) =>
  gateway.call({ method: 'POST', url, payload }, key)

describe('who may call admin routes', () => {
  it('the admin key, in its own header or as a bearer, and nobody else', async () => {
    const path = '/market-data/websocket/status'
    expect((await gateway.get(path)).status).toBe(200)
    const bearer = { authorization: `Bearer ${ADMIN_KEY}` }
    expect((await gateway.call({ method: 'GET', url: path, headers: bearer })).status).toBe(200)
    expect(await gateway.get(path, gateway.keys.institutional)).toMatchObject({
      status: 403,
      body: { code: 'forbidden' },
    })
    expect(await gateway.call({ method: 'GET', url: path })).toMatchObject({
      status: 401,
      body: { code: 'not-authenticated' },
      headers: { 'www-authenticate': 'Bearer' },
    })
    expect((await gateway.get(path, `${ADMIN_KEY}x`)).status).toBe(401)
    const basicAuth = { authorization: 'Basic YTpi' }
    expect((await gateway.call({ method: 'GET', url: path, headers: basicAuth })).status).toBe(401)
  })

  it('a token with scope admin', async () => {
    const made = await post('/admin/keys', { tenant: 'ops', tier: 'basic', scope: 'admin' })
    const token = await gateway.call({ method: 'POST', url: '/auth/token' }, made.body.key)
    const headers = { authorization: `Bearer ${token.body.accessToken}` }
    expect((await gateway.call({ method: 'GET', url: '/admin/tiers', headers })).status).toBe(200)
  })

  it('is decided before the body is read', async () => {
    expect(
      await post('/market-data/websocket/connect', { surprise: true }, gateway.keys.basic),
    ).toMatchObject({
      status: 403,
    })
  })
})

describe('POST /market-data/websocket', () => {
  it('answers 201 for what is new and 200 for what is there, with the entry of status', async () => {
    const first = await post('/market-data/websocket/connect', { exchangeId: 'kraken' })
    expect(first).toMatchObject({ status: 201, body: { id: 'kraken', state: 'connected', topics: [] } })
    expect((await post('/market-data/websocket/connect', { exchangeId: 'kraken' })).status).toBe(200)
    const entry = await gateway.get('/market-data/websocket/status/kraken')
    expect(entry.body).toEqual(first.body)
    expect((await gateway.get('/market-data/websocket/status')).body.items).toHaveLength(2)
  })

  it('hands over exactly what was asked', async () => {
    const request = { exchangeId: 'kraken', channel: 'ohlcv', symbol: 'BTC/USD', timeframe: '1m' } as const
    for (const act of ['subscribe', 'unsubscribe'] as const) {
      expect((await post(`/market-data/websocket/${act}`, request)).status).toBe(200)
      expect(gateway.desk.asked.at(-1)).toEqual({ act, request })
    }
    const full = {
      exchangeId: 'mine',
      kind: 'kraken',
      url: 'ws://127.0.0.1:1',
      restUrl: 'http://127.0.0.1:1',
      limit: 100,
    }
    expect((await post('/market-data/websocket/connect', full)).status).toBe(201)
    expect(gateway.desk.asked.at(-1)).toEqual({ act: 'connect', request: full })
    expect((await post('/market-data/websocket/rotate', { exchangeId: 'mine' })).status).toBe(200)
    expect((await post('/market-data/websocket/disconnect', { exchangeId: 'mine' })).status).toBe(200)
  })

  it.each([
    ['connect', {}, 400, /field exchangeId is missing/],
    ['connect', { exchangeId: 'a|b' }, 400, /exchangeId/],
    ['connect', { exchangeId: 'a', url: 'http://x' }, 400, /url/],
    ['connect', { exchangeId: 'a', url: 'ws://:99999' }, 400, /URL/],
    ['connect', { exchangeId: 'a', url: 'ws://me:secret-of-a-venue@host' }, 400, /no password/],
    ['connect', { exchangeId: 'a', credentials: { apiKey: 7 } }, 400, /credentials/],
    ['subscribe', { exchangeId: 'a', symbol: 'B/C' }, 400, /field channel is missing/],
    ['subscribe', { exchangeId: 'a', channel: 'ticker' }, 400, /field symbol is missing/],
    ['subscribe', { exchangeId: 'a', channel: 'smoke', symbol: 'B/C' }, 422, /no channel smoke/],
    ['subscribe', { exchangeId: 'a', channel: 'ohlcv', symbol: 'B/C' }, 400, /field timeframe is missing/],
    [
      'subscribe',
      { exchangeId: 'a', channel: 'ticker', symbol: 'B/C', timeframe: '1m' },
      400,
      /ticker has none/,
    ],
    ['subscribe', { exchangeId: 'a', channel: 'ticker', symbol: 'B\nC' }, 400, /symbol/],
    ['subscribe', { exchangeId: 'a', channel: 'odds', symbol: 'MATCH 1' }, 400, /id of odds/],
    ['subscribe', { exchangeId: 'a', channel: 'orderbook', symbol: 'B/C', limit: 0 }, 400, /limit/],
    ['subscribe', { exchangeId: 'a', channel: 'orderbook', symbol: 'B/C', limit: '10' }, 400, /limit/],
  ])('%s of %j is refused with %i', async (act, body, status, detail) => {
    const asked = gateway.desk.asked.length
    const answer = await post(`/market-data/websocket/${act}`, body)
    expect(answer).toMatchObject({ status, body: { detail: expect.stringMatching(detail) } })
    expect(answer.text).not.toContain('secret-of-a-venue')
    expect(gateway.desk.asked).toHaveLength(asked)
  })

  it.each([
    ['unknown-exchange', 422],
    ['unknown-symbol', 422],
    ['unknown-source', 404],
    ['source-down', 503],
  ] as const)('tells what the manager refuses: %s is %i', async (code, status) => {
    gateway.desk.refusal = new FeedgateError(code, 'said by the manager')
    const answer = await post('/market-data/websocket/connect', { exchangeId: 'x' })
    expect(answer).toMatchObject({ status, body: { code, detail: 'said by the manager' } })
    if (status === 503) expect(answer.headers['retry-after']).toBeDefined()
  })

  it('has a status of no source that there is not', async () => {
    expect(await gateway.get('/market-data/websocket/status/nobody')).toMatchObject({
      status: 404,
      body: { code: 'unknown-source' },
    })
  })
})

describe('keys and tenants', () => {
  it('a key is made, used, listed without its secret, and ends when it is deleted', async () => {
    const made = await post('/admin/keys', { tenant: 'acme', tier: 'premium', name: 'desk' })
    expect(made.status).toBe(201)
    expect(Object.keys(made.body)).toEqual(['id', 'key', 'prefix', 'tenant', 'tier'])
    const { id, key } = made.body
    expect((await gateway.get('/v1/sources', key)).status).toBe(200)
    const list = await gateway.get('/admin/keys')
    expect(list.body.items).toContainEqual(
      expect.objectContaining({ id, tenant: 'acme', tier: 'premium', name: 'desk' }),
    )
    expect(list.text).not.toContain(key)
    expect((await gateway.get(`/admin/keys/${id}`)).body).toMatchObject({ id })
    const token = await gateway.call({ method: 'POST', url: '/auth/token' }, key)
    expect(token.body).toMatchObject({ tokenType: 'Bearer', expiresIn: 900 })
    const headers = { authorization: `Bearer ${token.body.accessToken}` }
    expect((await gateway.call({ method: 'GET', url: '/v1/sources', headers })).status).toBe(200)
    const gone = await gateway.call({ method: 'DELETE', url: `/admin/keys/${id}` }, ADMIN_KEY)
    expect(gone).toMatchObject({ status: 204, text: '' })
    expect((await gateway.get('/v1/sources', key)).status).toBe(401)
    expect(await gateway.call({ method: 'GET', url: '/v1/sources', headers })).toMatchObject({
      status: 401,
      body: { code: 'token-expired' },
    })
    expect((await gateway.call({ method: 'DELETE', url: `/admin/keys/${id}` }, ADMIN_KEY)).status).toBe(404)
    expect((await gateway.get(`/admin/keys/${id}`)).status).toBe(404)
  })

  it('the ceiling of a tenant is set, and holds at once', async () => {
    const { body } = await post('/admin/keys', { tenant: 'low', tier: 'institutional' })
    expect((await gateway.get('/v1/history/ohlcv', body.key)).status).toBe(200)
    expect((await gateway.get('/v1/history/orderbook', body.key)).status).toBe(200)
    const put = (tenant: string, tier: string) =>
      gateway.call({ method: 'PUT', url: `/admin/tenants/${tenant}`, payload: { tier } }, ADMIN_KEY)
    expect(await put('low', 'basic')).toMatchObject({ status: 200, body: { tenant: 'low', tier: 'basic' } })
    expect((await gateway.get('/v1/history/orderbook', body.key)).status).toBe(403)
    expect((await gateway.get('/admin/tenants/low')).body).toMatchObject({ tier: 'basic' })
    expect(
      (await gateway.get('/admin/tenants')).body.items.map((one: { tenant: string }) => one.tenant),
    ).toEqual(expect.arrayContaining(['default', 'demo', 'low']))
    expect((await gateway.get('/admin/tenants/demo')).body).toMatchObject({ tier: 'institutional' })
    expect((await put('nobody', 'basic')).status).toBe(404)
    expect((await put('default', 'institutional')).status).toBe(200)
    expect(await put('low', 'gold')).toMatchObject({ status: 422, body: { code: 'unknown-tier' } })
  })

  it('the tiers are told, without a limit as null', async () => {
    const { body } = await gateway.get('/admin/tiers')
    expect(body.items.map((one: { tier: string }) => one.tier)).toEqual(['basic', 'premium', 'institutional'])
    expect(body.items[2]).toMatchObject({ bookDepth: null, symbols: null, connections: 50 })
  })

  it('notifications are listed', async () => {
    expect((await gateway.get('/admin/notifications')).body.items).toHaveLength(1)
  })
})

describe('tokens and tickets', () => {
  it('a token is given for a key, not for a token and not for nobody', async () => {
    // From an address of its own: guesses are counted by address, and the tests above have made theirs.
    const nobody = { method: 'POST', remoteAddress: '192.0.2.8' } as const
    expect((await gateway.call({ ...nobody, url: '/auth/token' })).status).toBe(401)
    const { body } = await gateway.call({ method: 'POST', url: '/auth/token' }, gateway.keys.premium)
    const headers = { authorization: `Bearer ${body.accessToken}` }
    expect((await gateway.call({ method: 'POST', url: '/auth/token', headers })).status).toBe(401)
    const ticket = await gateway.call({ method: 'POST', url: '/auth/ticket', headers })
    expect(ticket).toMatchObject({
      status: 200,
      body: { expiresIn: 30, ticket: expect.stringMatching(/^[\w-]{43}$/) },
    })
    const identity = await gateway.ports.auth.identify({ kind: 'ticket', ticket: ticket.body.ticket }, '::1')
    expect(identity).toMatchObject({ tenant: 'demo', tier: { name: 'premium' } })
    expect((await gateway.call({ ...nobody, url: '/auth/ticket' })).status).toBe(401)
  })

  it('takes no key from the URL', async () => {
    const url = `/admin/keys?access_token=${ADMIN_KEY}`
    expect((await gateway.call({ method: 'GET', url, remoteAddress: '192.0.2.9' })).status).toBe(401)
  })

  it('calls above the rate of the tier are refused, and told when to come back', async () => {
    const key = await gateway.newKey('basic')
    const answers = await Promise.all([1, 2, 3].map(() => gateway.get('/v1/latest', key)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 429])
    expect(answers.find(({ status }) => status === 429)?.headers['retry-after']).toBe('1')
  })
})
