import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import fastify from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { consoleRoutes } from '../../../src/gateway/rest/console.ts'
import { Problem } from '../../../src/gateway/rest/schema.ts'
import { closedStore, startRest, type TestGateway } from './gateway.ts'

let gateway: TestGateway
let fault: string | undefined

beforeAll(async () => {
  gateway = await startRest({ store: closedStore(), readiness: () => ({ store: fault, bus: undefined }) })
})
afterAll(() => gateway.close())

const plain = (url: string, headers: Record<string, string> = {}) =>
  gateway.call({ method: 'GET', url, headers })

describe('operations', () => {
  it('are told to anybody', async () => {
    expect(await plain('/healthz')).toMatchObject({ status: 200, body: { status: 'ok', version: '1.2.3' } })
    expect(await plain('/readyz')).toMatchObject({
      status: 200,
      body: { status: 'ready', dependencies: { store: 'ok', bus: 'ok' } },
    })
    const metrics = await plain('/metrics')
    expect(metrics.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(metrics.text).toContain('odds_proc_db_writes_total 0')
    expect((await gateway.call({ method: 'HEAD', url: '/healthz' })).status).toBe(200)
  })

  it('say which dependency is unwell', async () => {
    fault = 'opening'
    expect(await plain('/readyz')).toMatchObject({
      status: 503,
      body: { code: 'not-ready', detail: 'not ready: store', dependencies: { store: 'opening', bus: 'ok' } },
      headers: { 'retry-after': '5' },
    })
    fault = undefined
  })

  it('carry headers that keep browsers from guessing', async () => {
    const { headers } = await plain('/healthz')
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
    expect(headers['access-control-allow-origin']).toBeUndefined()
  })
})

describe('the documents', () => {
  // biome-ignore lint/suspicious/noExplicitAny: a JSON document
  let openapi: any
  beforeAll(async () => {
    openapi = (await plain('/docs/json')).body ?? JSON.parse((await plain('/docs/json')).text)
  })

  it('describe every route of the contract in OpenAPI 3.1', () => {
    expect(openapi.openapi).toMatch(/^3\.1\./)
    const routes = Object.entries(openapi.paths).flatMap(([path, item]) =>
      Object.keys(item as object).map((method) => `${method.toUpperCase()} ${path}`),
    )
    for (const route of [
      'POST /auth/token',
      'POST /auth/ticket',
      'GET /v1/sources',
      'GET /v1/latest',
      'GET /v1/history/{channel}',
      'GET /v1/candles',
      'GET /v1/orderbook',
      'GET /v1/gaps',
      'GET /v1/odds/{eventId}',
      'GET /v1/odds/{eventId}/history',
      'POST /v1/messages',
      'GET /v1/messages/{id}',
      'GET /v1/instruments',
      'GET /v1/usage',
      'GET /v1/webhooks',
      ...['connect', 'disconnect', 'subscribe', 'unsubscribe', 'rotate'].map(
        (act) => `POST /market-data/websocket/${act}`,
      ),
      'GET /market-data/websocket/status',
      'GET /market-data/websocket/status/{exchangeId}',
      'POST /admin/keys',
      'GET /admin/keys',
      'DELETE /admin/keys/{id}',
      'PUT /admin/tenants/{tenant}',
      'GET /admin/tiers',
      'GET /healthz',
      'GET /readyz',
      'GET /metrics',
    ])
      expect(routes).toContain(route)
  })

  it('hold schemas that JSON Schema 2020-12 understands, and references that lead somewhere', () => {
    const ajv = new Ajv2020({ strict: false, validateFormats: false })
    ajv.addSchema({ $id: 'openapi', ...openapi })
    let schemas = 0
    const walk = (node: unknown): void => {
      if (typeof node !== 'object' || node === null) return
      const { schema, $ref } = node as { schema?: object; $ref?: string }
      if (schema) {
        schemas++
        ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"openapi#/')))
      }
      if ($ref)
        expect(
          $ref
            .slice(2)
            .split('/')
            .reduce((at, key) => at?.[key], openapi),
        ).toBeDefined()
      Object.values(node).forEach(walk)
    }
    walk(openapi.paths)
    expect(schemas).toBeGreaterThan(60)
  })

  it('name every parameter in the path, and answer every operation', () => {
    for (const [path, item] of Object.entries<
      Record<
        string,
        {
          parameters?: { in: string; name: string; required?: boolean }[]
          responses: object
          summary?: string
        }
      >
    >(openapi.paths)) {
      for (const operation of Object.values(item)) {
        expect(operation.summary).toBeTruthy()
        expect(Object.keys(operation.responses).length).toBeGreaterThan(0)
        for (const [, name] of path.matchAll(/\{(\w+)\}/g))
          if (operation.parameters)
            expect(operation.parameters).toContainEqual(
              expect.objectContaining({ in: 'path', name, required: true }),
            )
      }
    }
  })

  it('give each operation a name of its own, for generated clients', () => {
    const names = Object.values<Record<string, { operationId: string }>>(openapi.paths).flatMap((item) =>
      Object.values(item).map(({ operationId }) => operationId),
    )
    expect(names).toContain('getV1HistoryChannel')
    expect(names).not.toContain(undefined)
    expect(new Set(names).size).toBe(names.length)
  })

  it('are served for people and for programs', async () => {
    const page = await plain('/docs')
    expect(page.status).toBe(200)
    expect(page.text).toContain('swagger-ui')
    expect(page.headers['content-security-policy']).toContain("default-src 'self'")
    expect((await plain('/docs/static/swagger-ui-bundle.js')).status).toBe(200)
    expect(await plain('/asyncapi.json')).toMatchObject({
      status: 200,
      body: { asyncapi: expect.stringMatching(/^3\./) },
    })
  })
})

describe('POST /console/token', () => {
  const ask = (headers: Record<string, string>, remoteAddress = '127.0.0.1') =>
    gateway.call({
      method: 'POST',
      url: '/console/token',
      headers: { host: 'localhost:8080', ...headers },
      remoteAddress,
    })

  it.each([
    ['localhost', { host: 'localhost:8080' }],
    ['an IPv4 address', { host: '127.0.0.1:8080' }],
    ['an IPv6 address', { host: '[::1]:8080' }],
    ['its own origin', { host: 'localhost:8080', origin: 'http://localhost:8080' }],
  ])('gives a premium token of the demo to a page of this machine, by %s', async (_, headers) => {
    const { status, body } = await ask(headers)
    expect(status).toBe(200)
    const identity = await gateway.ports.auth.identify({ kind: 'token', token: body.accessToken }, '::1')
    expect(identity).toMatchObject({ tenant: 'demo', tier: { name: 'premium' }, admin: false })
    expect(identity.expiresAt! - Date.now()).toBeLessThanOrEqual(900_000)
  })

  it.each<[string, Record<string, string>, string?]>([
    ['another host, bound to this address', { host: 'evil.example' }],
    ['a host that begins like ours', { host: 'localhost.evil.example:8080' }],
    ["another site's page", { origin: 'https://evil.example' }],
    ['another port of this machine', { origin: 'http://localhost:3000' }],
    ['a sandboxed page', { origin: 'null' }],
    ['a proxy', { 'x-forwarded-for': '127.0.0.1' }],
    ['a proxy that names its protocol', { 'x-forwarded-proto': 'http' }],
    ['a proxy with a header of its own', { 'cf-connecting-ip': '192.0.2.1' }],
    ['a proxy by the standard', { forwarded: 'for=127.0.0.1' }],
    ['another machine', {}, '192.168.1.20'],
  ])('gives nothing to %s', async (_, headers, address) => {
    expect(await ask(headers, address)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  })

  it('is not there outside demo mode', async () => {
    const other = await startRest({ store: closedStore(), demo: false })
    const answer = await other.call({
      method: 'POST',
      url: '/console/token',
      headers: { host: 'localhost:1' },
    })
    expect(answer.status).toBe(404)
    await other.close()
  })
})

describe('the console', () => {
  it('is served from its folder, with a policy for its scripts, and nothing beside it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'feedgate-console-'))
    mkdirSync(join(folder, 'assets'))
    writeFileSync(join(folder, 'index.html'), '<!doctype html><title>feedgate</title>')
    writeFileSync(join(folder, 'assets', 'main.js'), 'export {}')
    const server = fastify()
    server.addSchema(Problem)
    // As on the whole server: what holds for every answer must not hold for the page.
    server.addHook('onRequest', async (_request, reply) => {
      reply.header('content-security-policy', "default-src 'none'")
    })
    await server.register(consoleRoutes(gateway.ports, folder))
    const page = await server.inject('/')
    expect(page.payload).toContain('<title>feedgate</title>')
    expect(page.headers['content-security-policy']).toContain("script-src 'self'")
    expect((await server.inject('/assets/main.js')).headers['content-type']).toContain('javascript')
    expect((await server.inject('/../package.json')).statusCode).toBe(404)
    await server.close()
  })

  it('says so where it is not built', async () => {
    const server = fastify()
    server.addSchema(Problem)
    await server.register(consoleRoutes(gateway.ports, '/nowhere/at/all'))
    expect((await server.inject('/')).payload).toContain('/docs')
  })
})
