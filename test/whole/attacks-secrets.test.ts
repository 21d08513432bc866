import { createHmac, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ADMIN_KEY, Client, createKey, type Gateway, preparedFolder, rest, startGateway } from './program.ts'

const SECRET = 'the-jwt-secret-of-this-test-more-than-32-bytes'
const VAULT = 'the-secrets-key-of-this-test-more-than-32-bytes'
const ISSUER = 'https://issuer.example'
const AUDIENCE = 'feedgate-clients'
const theirs = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const nobodys = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const PEM = theirs.publicKey.export({ type: 'spki', format: 'pem' }) as string

let gateway: Gateway
let listener: Server
let fetched = 0
/** All that the program and its answers may never show. */
const secrets = new Set<string>([ADMIN_KEY, SECRET, VAULT])
/** Everything that was answered, headers and all. */
const answered: string[] = []

beforeAll(async () => {
  // Whoever follows a header to its key set comes here.
  listener = createServer((_request, response) => {
    fetched++
    response.end(
      JSON.stringify({ keys: [{ ...nobodys.publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'RS256' }] }),
    )
  }).listen(0, '127.0.0.1')
  gateway = await startGateway({
    dataDir: await preparedFolder(),
    env: {
      ...{ LOG_LEVEL: 'trace', JWT_SECRET: SECRET, SECRETS_KEY: VAULT, ANONYMOUS_TIER: 'none' },
      ...{ JWT_PUBLIC_KEY: PEM, JWT_EXTERNAL_ISSUER: ISSUER, JWT_AUDIENCE: AUDIENCE },
    },
  })
})
afterAll(async () => {
  listener.close()
  await gateway.end('SIGKILL')
})

const now = () => Math.floor(Date.now() / 1_000)
const part = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const unsigned = (header: object, claims: unknown) => `${part({ typ: 'JWT', ...header })}.${part(claims)}`

function hmac(
  claims: unknown,
  secret: string | Buffer = SECRET,
  header: object = { alg: 'HS256' },
  hash = 'sha256',
) {
  const text = unsigned(header, claims)
  return kept(`${text}.${createHmac(hash, secret).update(text).digest('base64url')}`)
}
function rsa(claims: unknown, key: KeyObject = theirs.privateKey, header: object = { alg: 'RS256' }) {
  const text = unsigned(header, claims)
  return kept(`${text}.${createSign('RSA-SHA256').update(text).sign(key).toString('base64url')}`)
}
function kept(secret: string): string {
  secrets.add(secret)
  return secret
}

async function call(path: string, headers: Record<string, string>, init: RequestInit = {}) {
  const response = await fetch(`${gateway.url}${path}`, { ...init, headers: { ...headers, ...init.headers } })
  const text = await response.text()
  answered.push(JSON.stringify([...response.headers]), text)
  const body = text.startsWith('{') ? JSON.parse(text) : {}
  return { status: response.status, code: body.code as string, text, body }
}
const withToken = (token: string, path = '/v1/sources') => call(path, { authorization: `Bearer ${token}` })
const withKey = (key: string, path = '/v1/sources') => call(path, { 'x-api-key': key })

async function closing(path: string, headers: Record<string, string> = {}, ...messages: unknown[]) {
  const client = new Client(`${gateway.url}${path}`, headers)
  if (messages.length > 0) await client.open()
  for (const message of messages) client.send(message)
  const code = await client.closed
  answered.push(JSON.stringify(client.messages))
  return code
}

const own = () => ({ sub: 'ann', exp: now() + 600 })
const external = () => ({ sub: 'bob', iss: ISSUER, aud: AUDIENCE, exp: now() + 600 })

describe('a token', () => {
  it('that is right is taken, of this issuer and of the other', async () => {
    expect((await withToken(hmac(own()))).status).toBe(200)
    expect((await withToken(rsa(external()))).status).toBe(200)
  })

  const port = () => (listener.address() as AddressInfo).port
  const without = (claims: Record<string, unknown>, name: string) => ({ ...claims, [name]: undefined })

  it.each<[string, () => string]>([
    ['of no algorithm', () => `${unsigned({ alg: 'none' }, own())}.`],
    ['of no algorithm, in other letters', () => `${unsigned({ alg: 'nOnE' }, own())}.`],
    ['of no algorithm, with a signature', () => `${unsigned({ alg: 'none' }, own())}.YWJj`],
    ['without its algorithm', () => hmac(own(), SECRET, {})],
    ['whose algorithm is a list', () => hmac(own(), SECRET, { alg: ['HS256'] })],
    ['without its signature', () => `${unsigned({ alg: 'HS256' }, own())}.`],
    ['signed with the public key as a secret', () => hmac(external(), PEM)],
    ['signed with the public key without its last line end', () => hmac(external(), PEM.trim())],
    [
      'signed with the public key as bytes',
      () => hmac(external(), theirs.publicKey.export({ type: 'spki', format: 'der' })),
    ],
    ['signed with nothing', () => hmac(own(), '')],
    [
      'signed with nothing, its key a file that is empty',
      () => hmac(own(), '', { alg: 'HS256', kid: '../../../../dev/null' }),
    ],
    ['whose key is a query', () => hmac(own(), 'x', { alg: 'HS256', kid: "' UNION SELECT 'x' --" })],
    ['of another length of hash', () => hmac(own(), SECRET, { alg: 'HS512' }, 'sha512')],
    ['signed by nobody we know', () => rsa(external(), nobodys.privateKey)],
    [
      'that brings its own key',
      () =>
        rsa(external(), nobodys.privateKey, {
          alg: 'RS256',
          jwk: nobodys.publicKey.export({ format: 'jwk' }),
        }),
    ],
    [
      'that says where its key is',
      () =>
        rsa(external(), nobodys.privateKey, {
          alg: 'RS256',
          kid: 'k',
          jku: `http://127.0.0.1:${port()}/`,
          x5u: `http://127.0.0.1:${port()}/`,
        }),
    ],
    ['that is signed by the other for this issuer', () => rsa({ ...external(), iss: 'feedgate' })],
    ['of this issuer in the name of the other', () => hmac({ ...own(), iss: ISSUER })],
    ['of the other without issuer', () => rsa(without(external(), 'iss'))],
    ['of the other for somebody else', () => rsa({ ...external(), aud: 'others' })],
    ['of the other for nobody', () => rsa(without(external(), 'aud'))],
    ['of the other without end', () => rsa(without(external(), 'exp'))],
    ['without end', () => hmac({ sub: 'ann' })],
    ['whose end is text', () => hmac({ ...own(), exp: '9999999999' })],
    ['that is not valid yet', () => hmac({ ...own(), nbf: now() + 600 })],
    ['without subject', () => hmac({ exp: now() + 600 })],
    ['whose subject is an object', () => hmac({ ...own(), sub: { toString: 'x' } })],
    ['of a tier that there is not', () => hmac({ ...own(), tier: '__proto__' })],
    ['of a tenant that there is not', () => hmac({ ...own(), tenant_id: 'nowhere' })],
    ['of a tenant that is a path', () => hmac({ ...own(), tenant_id: '../default' })],
    ['within a token', () => hmac(hmac(own()))],
    ['that is a list', () => hmac([own()])],
    ['of 9 KB', () => hmac({ ...own(), padding: 'x'.repeat(9_000) })],
    ['of four parts', () => `${hmac(own())}.abc`],
    ['whose header is no JSON', () => `${part('{')}.${part(own())}.abc`],
  ])('%s is refused with 401 and 4001', async (_what, make) => {
    const token = make()
    expect(await withToken(token)).toMatchObject({ status: 401, code: 'not-authenticated' })
    expect(await closing(`/ws?access_token=${token}`)).toBe(4001)
    expect(fetched).toBe(0)
  })

  it('that has expired is told so', async () => {
    const token = hmac({ ...own(), exp: now() - 1 })
    expect(await withToken(token)).toMatchObject({ status: 401, code: 'token-expired' })
    expect(await closing(`/ws?access_token=${token}`)).toBe(4003)
  })

  it('of the other issuer is no admin and no key, whatever it says', async () => {
    const { body } = await rest<{ items: { id: string }[] }>(gateway, '/admin/keys')
    for (const claims of [
      { scope: 'admin' },
      { scope: ['admin'] },
      { admin: true },
      { key_id: body.items[0]?.id },
    ]) {
      const token = rsa({ ...external(), sub: JSON.stringify(claims), ...claims })
      expect(await withToken(token, '/admin/keys')).toMatchObject({ status: 403 })
    }
  })
})

describe('a key', () => {
  it('that is wrong is answered alike, whatever is wrong with it', async () => {
    const key = kept(await createKey(gateway, 'premium'))
    const { body } = await rest<{ items: { id: string; prefix: string }[] }>(gateway, '/admin/keys')
    const { id } = body.items.find(({ prefix }) => key.startsWith(prefix))!
    expect((await withKey(key)).status).toBe(200)
    await rest(gateway, `/admin/keys/${id}`, { method: 'DELETE' })
    const almost = `${ADMIN_KEY.slice(0, -1)}X`
    const wrong = [
      key,
      key.slice(0, -1),
      `fg_premium_${'a'.repeat(40)}`,
      'x',
      almost,
      `${ADMIN_KEY} `.padEnd(60, 'y'),
    ]
    const answers = await Promise.all(wrong.map((one) => withKey(one)))
    expect(new Set(answers.map(({ text, status }) => `${status} ${text}`)).size).toBe(1)
    expect(answers[0]).toMatchObject({ status: 401, code: 'not-authenticated' })
  })

  it('is not taken from a URL, and a ticket is good once', async () => {
    const key = kept(await createKey(gateway, 'premium'))
    for (const path of [`/v1/sources?api_key=${key}`, `/v1/sources?access_token=${key}`, `/v1/odds/${key}`])
      expect((await call(path, {})).status).toBe(401)
    for (const query of [`access_token=${key}`, `ticket=${key}`])
      expect(await closing(`/ws?${query}`)).toBe(4001)
    const asked = { method: 'POST', headers: { 'x-api-key': key } }
    const { body } = await rest<{ ticket: string }>(gateway, '/auth/ticket', asked)
    const ticket = kept(body.ticket)
    const client = await new Client(`${gateway.url}/ws?ticket=${ticket}`).open()
    client.send({ type: 'ping' })
    await client.waitFor(({ type }) => type === 'pong')
    expect(await closing(`/ws?ticket=${ticket}`)).toBe(4001)
    client.close()
  })

  it('or token in a message that is wrong does not come back', async () => {
    const key = kept(await createKey(gateway, 'basic'))
    const token = hmac(own())
    const client = await new Client(`${gateway.url}/ws`, { 'x-api-key': key }).open()
    for (const message of [
      { type: 'auth', apiKey: key, surprise: key },
      { type: 'auth', apiKey: key, token },
      { type: 'auth', apiKey: key.padEnd(600, 'x') },
      { type: 'auth', token: token.padEnd(16_385, 'x') },
      { type: 'auth', token, id: -1 },
      `{"type":"auth","apiKey":"${key}"`,
    ]) {
      const before = client.messages.length
      client.send(message)
      await client.waitFor((answer) => client.messages.indexOf(answer) >= before && answer.type === 'error')
    }
    answered.push(JSON.stringify(client.messages))
    client.close()
    for (const body of [`{"tenant":"${key}"`, `{"tenant":"a","tier":"${key}"`, `"${key}"`])
      await call(
        '/admin/keys',
        { 'x-api-key': ADMIN_KEY, 'content-type': 'application/json' },
        { method: 'POST', body },
      )
  })

  it('of a venue is never shown', async () => {
    const venue = { apiKey: kept('venue-key-abcdef'), secret: kept('venue-secret-ghijkl') }
    const body = JSON.stringify({
      ...{ exchangeId: 'mine', kind: 'binance', url: 'ws://127.0.0.1:9', restUrl: 'http://127.0.0.1:9' },
      credentials: venue,
    })
    const headers = { 'x-api-key': ADMIN_KEY, 'content-type': 'application/json' }
    await call('/market-data/websocket/connect', headers, { method: 'POST', body })
    await call('/market-data/websocket/connect', headers, { method: 'POST', body: body.slice(0, -1) })
    for (const path of ['/market-data/websocket/status', '/market-data/websocket/status/mine', '/v1/sources'])
      await withKey(ADMIN_KEY, path)
  })

  it('is guessed 60 times a minute from one address, and no more: 429 and 4129; who is known goes on', async () => {
    const key = kept(await createKey(gateway, 'premium'))
    expect((await withKey(key)).status).toBe(200)
    const statuses: number[] = []
    for (let n = 0; n < 70; n++)
      statuses.push((await withKey(`fg_basic_${String(n).padStart(40, 'z')}`)).status)
    expect(statuses.at(0)).toBe(401)
    expect(statuses.slice(-10)).toEqual(Array.from({ length: 10 }, () => 429))
    expect(await closing('/ws', { 'x-api-key': `fg_basic_${'q'.repeat(40)}` })).toBe(4129)
    expect((await withKey(key)).status).toBe(200)
    expect((await withToken(hmac(own()))).status).toBe(200)
  })
})

it('nothing of all this stands in a log, in the metrics or in an answer', async () => {
  const metrics = await call('/metrics', {})
  expect(metrics.text).toContain('feedgate')
  const log = [gateway.stderr, ...gateway.lines].join('\n')
  // It logs at this level, or there would be nothing to find.
  expect(log).toContain('"level":')
  const shown = (text: string) => [...secrets].filter((secret) => text.includes(secret))
  expect(shown(log)).toEqual([])
  expect(shown(answered.join('\n'))).toEqual([])
  expect(log).not.toMatch(/eyJ[\w-]+\.eyJ/)
})
