import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RateLimits } from '../../../src/auth/auth.ts'
import { encodeEvent } from '../../../src/market/encode.ts'
import type { Payload } from '../../../src/market/event.ts'
import { type Topic, topicOf } from '../../../src/market/topic.ts'
import { series, status } from '../../contracts/events.ts'
import { ADMIN_KEY, type Answer, startRest, type TestGateway } from './gateway.ts'

let gateway: TestGateway
let limits: RateLimits
const NOW = Date.now() * 1_000

const theirs = topicOf('sim', 'status', 'acme/CONV_9')
const ours = topicOf('sim', 'status', 'demo/CONV_1')
const closed = topicOf('closed', 'ticker', 'GOLD')
const odds = topicOf('sim', 'odds', '=cmd')

beforeAll(async () => {
  gateway = await startRest()
  limits = gateway.ports.limits
  Object.assign(gateway.ports, { limits: { ...limits, command: async () => {} } })
  for (const topic of [theirs, ours, odds]) gateway.desk.carry(topic)
  gateway.desk.carry(closed, 'live', 'restricted')
  await gateway.publish([
    series(theirs, NOW)(status('acme', 'CONV_9'), { receivedTime: NOW }),
    series(ours, NOW)(status('demo', 'CONV_1'), { receivedTime: NOW }),
    series(closed, NOW)({ type: 'ticker', bid: '1.0' }, { receivedTime: NOW }),
  ])
})
afterAll(async () => {
  expect((await gateway.get('/v1/sources', gateway.keys.basic)).status).toBe(200)
  await gateway.close()
})

const send = (method: 'POST' | 'PUT', url: string, payload: string, type = 'application/json') =>
  gateway.call({ method, url, payload, headers: { 'content-type': type } }, ADMIN_KEY)
const isProblem = (answer: Answer, status: number) => {
  expect(answer).toMatchObject({ status, body: { status, code: expect.any(String) } })
  expect(answer.text).not.toMatch(/node_modules|\.ts:|FST_|at .*\(/)
}

describe('a body', () => {
  const bodies: readonly (readonly ['POST' | 'PUT', string, Record<string, unknown>])[] = [
    ['POST', '/admin/keys', { tenant: 'a', tier: 'basic' }],
    ['POST', '/admin/grants', { tenant: 'default', source: 'closed' }],
    ['PUT', '/admin/tenants/default', { tier: 'institutional' }],
    ...(['connect', 'disconnect', 'subscribe', 'unsubscribe', 'rotate'] as const).map(
      (act) =>
        [
          'POST',
          `/market-data/websocket/${act}`,
          { exchangeId: 'sim', channel: 'ticker', symbol: 'A' },
        ] as const,
    ),
  ]

  it.each(bodies)('%s %s takes no prototype, at the top or inside', async (method, url, good) => {
    const text = JSON.stringify(good)
    for (const attack of [
      '"__proto__":{"admin":true}',
      '"constructor":{"prototype":{"admin":true}}',
      '"prototype":{"admin":true}',
      '"toString":"x"',
      '"credentials":{"__proto__":{"admin":"true"}}',
      '"credentials":{"constructor":{"prototype":{"admin":"true"}}}',
    ])
      isProblem(await send(method, url, `${text.slice(0, -1)},${attack}}`), 400)
    isProblem(await send(method, url, `{"__proto__":${text}}`), 400)
    expect(({} as Record<string, unknown>).admin).toBeUndefined()
  })

  it.each(bodies)('%s %s takes no bomb, and no other kind of body', async (method, url, good) => {
    for (const bomb of [
      '['.repeat(100_000),
      `${'['.repeat(60_000)}${']'.repeat(60_000)}`,
      `${'{"a":'.repeat(30_000)}1${'}'.repeat(30_000)}`,
      `{${Array.from({ length: 20_000 }, (_, n) => `"x${n}":1`).join()}}`,
      '"text"',
      '1e999999',
      'null',
    ])
      isProblem(await send(method, url, bomb), 400)
    isProblem(await send(method, url, JSON.stringify({ ...good, padding: 'x'.repeat(300_000) })), 413)
    const text = JSON.stringify(good)
    for (const type of [
      'text/plain',
      'application/xml',
      'multipart/form-data; boundary=x',
      'application/jsonp',
      'x',
    ])
      isProblem(await send(method, url, text, type), 415)
    for (const type of ['application/json\u0000', ''])
      expect((await send(method, url, text, type)).status).toBeGreaterThanOrEqual(200)
  })
})

describe('a query', () => {
  it.each([
    '__proto__=x',
    '__proto__[admin]=true',
    'constructor=x',
    'constructor[prototype][admin]=true',
    'channel[__proto__]=x',
    'channel=ticker&channel=trades',
    'channel[]=ticker',
    'symbol=%00',
    `symbol=${'x'.repeat(300)}`,
    'source=../../etc/passwd',
    "source=sim'%20OR%201=1--",
    `channel=${'a'.repeat(70)}`,
  ])('%s gets 400', async (query) => {
    isProblem(await gateway.get(`/v1/latest?${query}`), 400)
    expect(({} as Record<string, unknown>).admin).toBeUndefined()
  })

  it.each([
    'cursor=x',
    'cursor=%00',
    `cursor=${Buffer.from('[1e999,"a",1,1]').toString('base64url')}`,
    `cursor=${Buffer.from(JSON.stringify({ __proto__: 1 })).toString('base64url')}`,
    `cursor=${'A'.repeat(2_000)}`,
    "cursor=';DROP TABLE events;--",
    'limit=-1',
    'limit=1e3',
    'limit=99999999999999999999',
    'limit=0x10',
    'from=-1',
    'from=9007199254740993',
    'from=1e15',
    'from=2026-13-01',
    'to=9'.padEnd(60, '9'),
    'format=html',
  ])('%s gets 400, of history and of what else has pages', async (query) => {
    isProblem(await gateway.get(`/v1/history/ticker?${query}`), 400)
  })

  it('with what a database would take for its own finds nothing, and harms nothing', async () => {
    for (const symbol of ["' OR '1'='1", '%', '_', '*', '****', '\\', "'; DROP TABLE topics; --", '$1', '🦊'])
      for (const path of ['/v1/history/ticker', '/v1/latest', '/v1/gaps']) {
        const answer = await gateway.get(`${path}?symbol=${encodeURIComponent(symbol)}&source=sim`)
        expect([400, 422]).toContain(answer.status)
      }
    expect((await gateway.get('/v1/history/status', gateway.keys.premium)).body.items).toHaveLength(1)
  })
})

it.each(['HEAD', 'OPTIONS', 'PUT', 'PATCH', 'DELETE'] as const)(
  '%s is not a way to what it is not for',
  async (method) => {
    for (const url of ['/v1/latest', '/admin/keys', '/auth/token', '/market-data/websocket/connect'])
      expect((await gateway.call({ method, url }, ADMIN_KEY)).status).toBe(404)
  },
)

describe('CSV', () => {
  it('holds nothing that a spreadsheet runs, and every number as it was', async () => {
    const market = '=HYPERLINK("http://evil","x")'
    const payloads = ['+1+1', '-2+3', '@SUM(A1)', '\t=1', '\r=1', market].map(
      (name): Payload => ({
        ...{ type: 'odds', kind: 'price', eventId: 'E1', marketId: 'm', market: name, selectionId: 's' },
        ...{
          selection: name,
          side: 'back',
          level: 0,
          odds: '-1.5',
          sourcePrice: '+120',
          sourceFormat: 'american',
        },
        marketVersion: 1,
      }),
    )
    const topic: Topic = gateway.desk.carry(topicOf('sim', 'odds', 'E1'))
    await gateway.publish(
      payloads.map((payload, n) =>
        encodeEvent(
          topic,
          { epoch: NOW, seq: n + 1, receivedTime: NOW + n, publishedTime: NOW + n },
          payload,
        ),
      ),
    )
    const { text } = await gateway.get('/v1/history/odds?symbol=E1&format=csv', gateway.keys.premium)
    const cells = text.split('\r\n').flatMap((line) => line.split(/,(?=(?:[^"]*"[^"]*")*[^"]*$)/))
    const shown = cells.map((cell) => cell.replace(/^"/, ''))
    expect(shown.filter((cell) => /^[=@\t\r]/.test(cell) || /^[+-](?!\d+(\.\d+)?$)/.test(cell))).toEqual([])
    expect(shown).toContain("'@SUM(A1)")
    expect(shown).toContain('-1.5')
    expect(shown).toContain('+120')
    const json = await gateway.get('/v1/history/odds?symbol=E1', gateway.keys.premium)
    expect(json.body.items.at(-1).market).toBe(market)
  })
})

describe('what is not the caller’s', () => {
  const alike = (answer: Answer) => `${answer.status} ${answer.text.replaceAll(/CONV_9|CONV_X/g, 'CONV')}`

  it('another tenant’s conversation is answered as one that there is not', async () => {
    const key = gateway.keys.institutional
    for (const path of [
      (name: string) => `/v1/latest?channel=status&symbol=${name}`,
      (name: string) => `/v1/history/status?symbol=${name}`,
      (name: string) => `/v1/history/status?symbol=${name}&format=csv`,
      (name: string) => `/v1/history/status?symbol=${name}&source=sim`,
      (name: string) => `/v1/gaps?channel=status&symbol=${name}`,
    ]) {
      const [one, other] = [await gateway.get(path('CONV_9'), key), await gateway.get(path('CONV_X'), key)]
      expect([path(''), alike(one)]).toEqual([path(''), alike(other)])
      expect(one.status).toBe(422)
    }
    for (const path of [
      '/v1/latest',
      '/v1/latest?channel=status',
      '/v1/history/status',
      '/v1/sources',
      '/v1/gaps',
    ])
      expect((await gateway.get(path, key)).text).not.toMatch(/CONV_9|acme/)
  })

  it('a restricted source is in no answer, and named it is 403', async () => {
    const key = gateway.keys.institutional
    for (const path of ['/v1/latest', '/v1/latest?channel=ticker', '/v1/history/ticker', '/v1/gaps'])
      expect((await gateway.get(path, key)).text).not.toContain('GOLD')
    for (const path of [
      '/v1/latest?channel=ticker&source=closed',
      '/v1/history/ticker?source=closed&format=ndjson',
    ])
      isProblem(await gateway.get(path, key), 403)
    expect((await gateway.get('/v1/history/ticker?source=closed')).body.items).toHaveLength(1)
  })
})
