import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import fastify from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ERRORS, type ErrorCode, FeedgateError } from '../../../src/errors.ts'
import { answerBrokenRequest, errorHandler } from '../../../src/gateway/problem.ts'
import { ADMIN_KEY, closedStore, startRest, type TestGateway } from './gateway.ts'

let gateway: TestGateway

beforeAll(async () => {
  gateway = await startRest({ store: closedStore() })
})
afterAll(() => gateway.close())

const post = (url: string, payload: string, contentType = 'application/json') =>
  gateway.call({ method: 'POST', url, payload, headers: { 'content-type': contentType } }, ADMIN_KEY)

describe('every error of the table', () => {
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

  it.each(Object.keys(ERRORS) as ErrorCode[])('%s is a problem document with its status', async (code) => {
    const server = fastify()
    server.setErrorHandler(errorHandler(log))
    server.get('/', async () => {
      throw new FeedgateError(code, 'say what is accepted', { retryAfterMs: 1_200 })
    })
    const response = await server.inject('/')
    const { status, title } = ERRORS[code]
    expect(response.statusCode).toBe(status)
    expect(response.headers['content-type']).toMatch(/^application\/problem\+json/)
    expect(response.headers['retry-after']).toBe('2')
    expect(response.json()).toEqual({
      type: `urn:feedgate:problem:${code}`,
      title,
      status,
      detail: 'say what is accepted',
      code,
    })
  })

  it('and what nobody foresaw is told by its request only, and logged', async () => {
    const logged: object[] = []
    const server = fastify()
    server.setErrorHandler(errorHandler({ ...log, error: (fields) => logged.push(fields) }))
    server.get('/', async () => {
      throw new TypeError('secret of the inside')
    })
    const response = await server.inject('/?access_token=very-secret')
    expect(response.statusCode).toBe(500)
    expect(response.json()).toMatchObject({ code: 'internal', status: 500 })
    expect(response.payload).not.toMatch(/secret|at .*\.ts/)
    expect(JSON.stringify(logged)).toContain('secret of the inside')
    expect(JSON.stringify(logged)).not.toContain('very-secret')
  })
})

describe('a request that cannot be served', () => {
  const body = (value: object) => JSON.stringify(value)

  type Refused = [
    string,
    () => Promise<{ status: number; body: { code: string; detail: string } }>,
    number,
    string,
    RegExp,
  ]

  it.each<Refused>([
    ['to no route', () => gateway.get('/v2/everything'), 404, 'not-found', /GET/],
    ['by a method that the route has not', () => post('/v1/sources', '{}'), 404, 'not-found', /POST/],
    ['with a path that is no UTF-8', () => gateway.get('/v1/odds/%ff'), 400, 'bad-request', /percent/],
    ['with malformed JSON', () => post('/admin/keys', '{"tenant":'), 400, 'bad-request', /JSON/],
    [
      'with a prototype in its JSON',
      () => post('/admin/keys', '{"__proto__":{"x":1}}'),
      400,
      'bad-request',
      /JSON/,
    ],
    ['with no body', () => post('/admin/keys', ''), 400, 'bad-request', /JSON object/],
    ['with a list as its body', () => post('/admin/keys', '[]'), 400, 'bad-request', /JSON object/],
    [
      'with a form',
      () => post('/admin/keys', 'tenant=a', 'application/x-www-form-urlencoded'),
      415,
      'unsupported-media-type',
      /application\/json/,
    ],
    [
      'with a text',
      () => post('/admin/keys', 'tenant', 'text/plain'),
      415,
      'unsupported-media-type',
      /application\/json/,
    ],
    [
      'with 300 KiB',
      () => post('/admin/keys', body({ tenant: 'x'.repeat(300 * 1_024) })),
      413,
      'too-large',
      /256 KiB/,
    ],
    [
      'without a field',
      () => post('/admin/keys', body({ tenant: 'acme' })),
      400,
      'bad-request',
      /tier is missing/,
    ],
    [
      'with an unknown field',
      () => post('/admin/keys', body({ tenant: 'a', tier: 'basic', colour: 1 })),
      400,
      'bad-request',
      /unknown field colour: accepted are tenant, tier, name, scope/,
    ],
    [
      'with a malformed field',
      () => post('/admin/keys', body({ tenant: 'a|b', tier: 'basic' })),
      400,
      'bad-request',
      /field tenant must be/,
    ],
    [
      'with an unknown tier',
      () => post('/admin/keys', body({ tenant: 'a', tier: 'gold' })),
      422,
      'unknown-tier',
      /basic, premium, institutional/,
    ],
    [
      'with an unknown query parameter',
      () => gateway.get('/v1/latest?chanel=ticker'),
      400,
      'bad-request',
      /unknown query parameter chanel: accepted are channel, source, symbol, timeframe/,
    ],
    [
      'with a query parameter twice',
      () => gateway.get('/v1/latest?channel=ticker&channel=trades'),
      400,
      'bad-request',
      /channel/,
    ],
    [
      'with a limit that is too large',
      () => gateway.get('/v1/history/ticker?limit=10001'),
      400,
      'bad-request',
      /limit must be an integer from 1 to 10000/,
    ],
    ['with a limit of 0', () => gateway.get('/v1/history/ticker?limit=0'), 400, 'bad-request', /limit/],
    [
      'with a limit that is no integer',
      () => gateway.get('/v1/history/ticker?limit=1.5'),
      400,
      'bad-request',
      /limit/,
    ],
    [
      'with a limit that is no number',
      () => gateway.get('/v1/history/ticker?limit=true'),
      400,
      'bad-request',
      /limit/,
    ],
    [
      'with a time that is none',
      () => gateway.get('/v1/history/ticker?from=yesterday'),
      400,
      'bad-request',
      /from must be a time/,
    ],
    [
      'with a day that is not in the calendar',
      () => gateway.get('/v1/history/ticker?from=2026-02-31'),
      400,
      'bad-request',
      /from/,
    ],
    [
      'with times in the wrong order',
      () => gateway.get('/v1/history/ticker?from=20&to=10'),
      400,
      'bad-request',
      /later/,
    ],
    [
      'with a format that there is not',
      () => gateway.get('/v1/history/ticker?format=xml'),
      400,
      'bad-request',
      /json, ndjson, csv/,
    ],
    [
      'for a channel that there is not',
      () => gateway.get('/v1/history/smoke'),
      422,
      'unknown-channel',
      /ticker/,
    ],
    [
      'for a source that there is not',
      () => gateway.get('/v1/history/ticker?source=nowhere'),
      422,
      'unknown-exchange',
      /nowhere/,
    ],
    [
      'for a timeframe that cannot be',
      () => gateway.get('/v1/candles?source=a&symbol=B&timeframe=1!'),
      400,
      'bad-request',
      /timeframe/,
    ],
    [
      'without a symbol',
      () => gateway.get('/v1/orderbook?source=a'),
      400,
      'bad-request',
      /query parameter symbol is missing/,
    ],
    [
      'for an event id that cannot be',
      () => gateway.get('/v1/odds/MATCH%20001'),
      400,
      'bad-request',
      /eventId/,
    ],
    [
      'for an event id that cannot be, in a query',
      () => gateway.get('/v1/history/odds?symbol=MATCH%20001'),
      400,
      'bad-request',
      /eventId/,
    ],
    [
      'for a conversation of another tenant by its inner name',
      () => gateway.get('/v1/latest?channel=status&symbol=acme/CONV_1'),
      400,
      'bad-request',
      /conversationId/,
    ],
    ...[
      '/v1/history/trades?symbol=A%00',
      '/v1/latest?symbol=%00',
      '/v1/gaps?symbol=%1b',
      '/v1/candles?source=a&symbol=%00&timeframe=1m',
      '/v1/orderbook?source=a&symbol=%0a',
      '/admin/keys/%00',
    ].map(
      (path): Refused => [
        `with a control character: ${path}`,
        () => gateway.get(path),
        400,
        'bad-request',
        /control character/,
      ],
    ),
    [
      'with a control character in its body',
      () => post('/admin/keys', '{"tenant":"a","tier":"basic","name":"a\\u0000b"}'),
      400,
      'bad-request',
      /field name holds a control character/,
    ],
    ['of a later version', () => gateway.get('/v1/webhooks'), 501, 'not-implemented', /webhooks/],
    ['of a later version, of the admin', () => gateway.get('/admin/audit'), 501, 'not-implemented', /audit/],
    [
      'of a later version, to be posted',
      () => post('/v1/messages', '{}'),
      501,
      'not-implemented',
      /messages/,
    ],
    [
      'while the store is not open',
      () => gateway.get('/v1/history/ticker'),
      503,
      'store-unavailable',
      /store/,
    ],
  ])('%s', async (_what, request, status, code, detail) => {
    const answer = await request()
    expect(answer).toMatchObject({ status, body: { status, code, detail: expect.stringMatching(detail) } })
    expect(answer).toMatchObject({
      headers: { 'content-type': expect.stringMatching(/^application\/problem\+json/) },
    })
    expect((answer as unknown as { text: string }).text).not.toMatch(/node_modules|\.ts:|FST_/)
  })

  it('says when to try again', async () => {
    expect((await gateway.get('/v1/history/ticker')).headers['retry-after']).toBe('30')
  })
})

describe('on a real socket', () => {
  let port: number
  beforeAll(async () => {
    await gateway.server.listen({ port: 0, host: '127.0.0.1' })
    port = (gateway.server.server.address() as AddressInfo).port
  })

  const speak = (text: string, to = port) =>
    new Promise<string>((done) => {
      let answer = ''
      const socket = connect(to, '127.0.0.1', () => socket.write(text))
      socket.on('data', (data) => {
        answer += data
      })
      socket.on('close', () => done(answer))
    })

  it('what is no HTTP gets a problem document, and its connection ends', async () => {
    const answer = await speak('HELLO\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
    expect(answer).toContain('application/problem+json')
    expect(answer).toContain('"code":"bad-request"')
  })

  it('what comes too slowly gets a problem document, and its connection ends', async () => {
    const { headersTimeout, requestTimeout } = gateway.server.server
    expect([headersTimeout, requestTimeout]).toEqual([30_000, 30_000])
    const slow = createServer({ headersTimeout: 50, requestTimeout: 50, connectionsCheckingInterval: 20 })
    slow.on('clientError', answerBrokenRequest).listen(0, '127.0.0.1')
    await once(slow, 'listening')
    const { port } = slow.address() as AddressInfo
    const answer = await speak('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{', port)
    expect(answer).toMatch(/^HTTP\/1\.1 408 /)
    expect(answer).toContain('"code":"request-timeout"')
    slow.close()
  })

  it('an answer that nobody reads ends, after two minutes', async () => {
    expect(gateway.server.server.timeout).toBe(120_000)
    const server = createServer((_request, response) => {
      const more = () => {
        while (response.write('x'.repeat(65_536)));
      }
      response.on('drain', more)
      more()
    })
    server.setTimeout(200).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const stuck = connect((server.address() as AddressInfo).port, '127.0.0.1')
    stuck.on('error', () => {})
    const [connection] = await once(server, 'connection')
    stuck.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    stuck.pause()
    await once(connection, 'close')
    server.close()
  })

  it('a WebSocket on another path gets 404, and its connection ends', async () => {
    const upgrade =
      'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='
    for (const path of ['/healthz', '/nowhere', '/v1/sources']) {
      const answer = await speak(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n${upgrade}\r\n\r\n`)
      expect(answer).toMatch(/^HTTP\/1\.1 404 /)
      expect(answer).toContain('"code":"not-found"')
    }
  })
})
