import { createHmac, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import jsonwebtoken from 'jsonwebtoken'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Auth, Credential, TierName } from '../../src/auth/auth.ts'
import { type AuthOptions, createAuth } from '../../src/auth/create-auth.ts'
import type { FeedgateError } from '../../src/errors.ts'
import { createPgliteStore } from '../../src/store/pglite.ts'
import type { Sql, Store } from '../../src/store/store.ts'

const SECRET = 'own-secret-of-at-least-32-characters!'
const ADMIN = 'admin-key-of-at-least-32-characters!!'
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const otherRsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const publicPem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString()
const EXTERNAL = { publicKey: publicPem, issuer: 'https://login.example', audience: 'feedgate', admin: false }
const HOUR = 3_600

const seconds = () => Math.floor(Date.now() / 1_000)
const inAnHour = () => seconds() + HOUR
const token = (text: string): Credential => ({ kind: 'token', token: text })
const apiKey = (text: string): Credential => ({ kind: 'apiKey', apiKey: text })

function own(claims: object, secret = SECRET): string {
  return jsonwebtoken.sign({ sub: 'alice', exp: inAnHour(), ...claims }, secret, { algorithm: 'HS256' })
}

function external(
  claims: object,
  key = rsa.privateKey,
  algorithm: 'RS256' | 'PS512' | 'ES256' = 'RS256',
): string {
  const all = { sub: 'bob', exp: inAnHour(), iss: EXTERNAL.issuer, aud: EXTERNAL.audience, ...claims }
  return jsonwebtoken.sign(JSON.parse(JSON.stringify(all)), key, { algorithm })
}

/** By hand: what no decent library will sign. */
function forged(header: object, claims: object, secret?: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part(header)}.${part(claims)}`
  return `${text}.${secret === undefined ? '' : createHmac('sha256', secret).update(text).digest('base64url')}`
}

let store: Store
let auth: Auth

function authOn(sql: Sql, options: Partial<AuthOptions> = {}): Auth {
  return createAuth({
    store: { sql },
    jwtSecret: SECRET,
    jwtIssuer: 'feedgate',
    external: EXTERNAL,
    adminApiKeys: [ADMIN],
    licence: (source) => (source === 'open-source' ? 'open' : source === 'closed' ? 'restricted' : undefined),
    demoKeys: [],
    ...options,
  })
}

const identify = (credential: Credential, by = auth) => by.identify(credential, '192.0.2.1')
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'accepted',
    (error: FeedgateError) => error.code,
  )

beforeAll(async () => {
  store = createPgliteStore({ dataDir: mkdtempSync(join(tmpdir(), 'feedgate-auth-')) })
  auth = authOn(store.sql)
  await store.ready()
})
afterAll(() => store.close())

describe('a token', () => {
  it.each<[string, () => string]>([
    ['is own and good', () => own({ iss: 'feedgate' })],
    ['is own and names no issuer', () => own({})],
    ['was signed by hand', () => forged({ alg: 'HS256' }, { sub: 'a', exp: inAnHour() }, SECRET)],
    ['names its subject by nameid', () => own({ sub: undefined, nameid: 'carol' })],
    ['is of the other issuer and good', () => external({})],
    ['is of the other issuer by another algorithm of its key', () => external({}, rsa.privateKey, 'PS512')],
  ])('is accepted that %s', async (_what, make) => {
    expect(await codeOf(identify(token(make())))).toBe('accepted')
  })

  it.each<[string, () => string, 'not-authenticated' | 'token-expired']>([
    ['is no token', () => 'not-a-token', 'not-authenticated'],
    ['has alg none', () => forged({ alg: 'none' }, { sub: 'a', exp: inAnHour() }), 'not-authenticated'],
    [
      'has alg None',
      () => forged({ alg: 'None', typ: 'JWT' }, { sub: 'a', exp: inAnHour() }),
      'not-authenticated',
    ],
    [
      'is HS512 by our secret',
      () => jsonwebtoken.sign({ sub: 'a', exp: inAnHour() }, SECRET, { algorithm: 'HS512' }),
      'not-authenticated',
    ],
    [
      'is HS256 with the public key as its secret',
      () => forged({ alg: 'HS256', typ: 'JWT' }, { sub: 'a', exp: inAnHour(), scope: 'admin' }, publicPem),
      'not-authenticated',
    ],
    [
      'is HS256 by another secret',
      () => own({}, 'another-secret-of-at-least-32-characters'),
      'not-authenticated',
    ],
    [
      'was changed after it was signed',
      () =>
        own({ tier: 'basic' }).replace(
          /\.([^.]+)\./,
          (_, body: string) =>
            `.${Buffer.from(Buffer.from(body, 'base64url').toString().replace('basic', 'premium')).toString('base64url')}.`,
        ),
      'not-authenticated',
    ],
    ['is own but names another issuer', () => own({ iss: 'https://login.example' }), 'not-authenticated'],
    ['has expired', () => own({ exp: seconds() - 1 }), 'token-expired'],
    ['has no exp', () => jsonwebtoken.sign({ sub: 'a' }, SECRET), 'not-authenticated'],
    [
      'has text as exp',
      () => forged({ alg: 'HS256' }, { sub: 'a', exp: '99999999999' }, SECRET),
      'not-authenticated',
    ],
    ['has no subject', () => own({ sub: undefined }), 'not-authenticated'],
    ['is not yet good', () => own({ nbf: inAnHour() }), 'not-authenticated'],
    ['has a tier that there is not', () => own({ tier: 'platinum' }), 'not-authenticated'],
    ['names a key that cannot be', () => own({ key_id: 'a\0b' }), 'not-authenticated'],
    ['names a key that is no text', () => own({ key_id: 7 }), 'not-authenticated'],
    ['is of an unknown tenant', () => own({ tenant_id: 'nobody' }), 'not-authenticated'],
    ['is of a tenant that cannot be', () => own({ tenant_id: "x' OR '1'='1" }), 'not-authenticated'],
    [
      'is of the other issuer for an unknown tenant',
      () => external({ tenant_id: 'nobody' }),
      'not-authenticated',
    ],
    ['is of the other issuer by another key', () => external({}, otherRsa.privateKey), 'not-authenticated'],
    [
      'is of the other issuer by a key of another kind',
      () => external({}, ec.privateKey, 'ES256'),
      'not-authenticated',
    ],
    ['is asymmetric and names no issuer', () => external({ iss: undefined }), 'not-authenticated'],
    ['is asymmetric and names our issuer', () => external({ iss: 'feedgate' }), 'not-authenticated'],
    ['is for another audience', () => external({ aud: 'somebody-else' }), 'not-authenticated'],
    ['is asymmetric and for no audience', () => external({ aud: undefined }), 'not-authenticated'],
    ['is of the other issuer and has expired', () => external({ exp: seconds() - 1 }), 'token-expired'],
    ['is longer than any token', () => own({ padding: 'x'.repeat(10_000) }), 'not-authenticated'],
  ])('is refused that %s', async (_what, make, expected) => {
    expect(await codeOf(identify(token(make())))).toBe(expected)
  })

  it('of the other issuer is refused where none is configured', async () => {
    const { external: _, ...alone } = { external: EXTERNAL }
    const plain = createAuth({
      ...alone,
      store,
      jwtSecret: SECRET,
      jwtIssuer: 'feedgate',
      adminApiKeys: [],
      licence: () => 'open',
      demoKeys: [],
    })
    expect(await codeOf(identify(token(external({})), plain))).toBe('not-authenticated')
  })

  it('without a tier is basic, without a tenant of the tenant default', async () => {
    const identity = await identify(token(own({})))
    expect(identity).toMatchObject({ tenant: 'default', subject: 'alice', admin: false, anonymous: false })
    expect(identity.tier.name).toBe('basic')
  })

  it('of the other issuer is admin only where that is allowed', async () => {
    expect((await identify(token(external({ scope: 'read admin' })))).admin).toBe(false)
    const trusting = authOn(store.sql, { external: { ...EXTERNAL, admin: true } })
    expect((await identify(token(external({ scope: 'read admin' })), trusting)).admin).toBe(true)
    expect((await identify(token(own({ scope: 'admin' })))).admin).toBe(true)
    expect((await identify(token(own({ scope: 'administrator' })))).admin).toBe(false)
  })

  it('of the other issuer cannot borrow the limits or the life of a key', async () => {
    const { id } = await auth.createKey({ tenant: 'lender', tier: 'basic' })
    expect(await identify(token(external({ key_id: { of: 'theirs' } })))).toMatchObject({ subject: 'bob' })
    const identity = await identify(token(external({ key_id: id })))
    expect(identity.keyId).toBeUndefined()
    expect(identity.limitKey).toBe(`subject:${JSON.stringify([EXTERNAL.issuer, 'bob'])}`)
  })

  it('is checked with the keys of a key set', async () => {
    const jwk = { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'RS256', use: 'sig' }
    const keys = createServer((_, response) => response.end(JSON.stringify({ keys: [jwk] }))).listen(
      0,
      '127.0.0.1',
    )
    await new Promise((done) => keys.once('listening', done))
    const jwksUrl = `http://127.0.0.1:${(keys.address() as AddressInfo).port}/keys`
    const byKeySet = authOn(store.sql, { external: { ...EXTERNAL, publicKey: undefined, jwksUrl } })
    const signed = (kid: string, key = rsa.privateKey) =>
      token(
        jsonwebtoken.sign({ sub: 'bob', iss: EXTERNAL.issuer, aud: 'feedgate', exp: inAnHour() }, key, {
          algorithm: 'RS256',
          keyid: kid,
        }),
      )
    expect(await codeOf(identify(signed('k1'), byKeySet))).toBe('accepted')
    expect(await codeOf(identify(signed('k1', otherRsa.privateKey), byKeySet))).toBe('not-authenticated')
    expect(await codeOf(identify(signed('k2'), byKeySet))).toBe('not-authenticated')
    keys.close()
    keys.closeAllConnections()
    const unreachable = authOn(store.sql, { external: { ...EXTERNAL, publicKey: undefined, jwksUrl } })
    expect(await codeOf(identify(signed('k1'), unreachable))).toBe('issuer-unavailable')
  })
})

describe('an API key', () => {
  it('has the form that is promised, and only its prefix and hash are stored', async () => {
    const made = await auth.createKey({ tenant: 'acme', tier: 'premium', name: 'desk' })
    expect(made.key).toMatch(/^fg_premium_[A-Za-z0-9]{40}$/)
    expect(made.key.startsWith(made.prefix)).toBe(true)
    const { rows } = await store.sql.query<object>('SELECT * FROM api_keys WHERE id = $1', [made.id])
    expect(JSON.stringify(rows)).not.toContain(made.key.slice(made.prefix.length))
    expect(JSON.stringify(await auth.listKeys())).not.toContain(made.key)
    expect(await identify(apiKey(made.key))).toMatchObject({
      tenant: 'acme',
      subject: made.id,
      keyId: made.id,
      limitKey: `key:${made.id}`,
    })
  })

  it('ends at once when it is deleted, and its tokens, tickets and sessions with it', async () => {
    const { key, id } = await auth.createKey({ tenant: 'acme', tier: 'premium' })
    const identity = await identify(apiKey(key))
    const { accessToken, expiresIn } = await auth.issueToken(identity)
    const { ticket } = await auth.issueTicket(identity)
    expect(expiresIn).toBe(900)
    expect(jsonwebtoken.decode(accessToken)).toMatchObject({
      iss: 'feedgate',
      tier: 'premium',
      jti: expect.any(String),
    })
    expect((await identify(token(accessToken))).limitKey).toBe(identity.limitKey)
    const ended: string[] = []
    const stop = auth.onRevoked((keyId) => ended.push(keyId))
    expect(await auth.deleteKey(id)).toBe(true)
    stop()
    expect(ended).toEqual([id])
    expect(await codeOf(identify(apiKey(key)))).toBe('not-authenticated')
    expect(await codeOf(identify(token(accessToken)))).toBe('token-expired')
    expect(await codeOf(identify({ kind: 'ticket', ticket }))).toBe('token-expired')
    expect(await auth.deleteKey(id)).toBe(false)
  })

  it('gives what is least of the claim, the key and the ceiling of the tenant, and follows the ceiling while it lives', async () => {
    const { key, id } = await auth.createKey({ tenant: 'ceilinged', tier: 'institutional' })
    const identity = await identify(apiKey(key))
    expect(identity.tier.name).toBe('institutional')
    const claimed = await identify(token(own({ tenant_id: 'ceilinged', tier: 'premium' })))
    expect(claimed.tier.name).toBe('premium')
    const changed: string[] = []
    const stop = auth.onRightsChanged((tenant) => changed.push(tenant))
    await auth.setTenantTier('ceilinged', 'basic')
    expect(changed).toEqual(['ceilinged'])
    expect(identity.tier.name).toBe('basic')
    expect(claimed.tier.name).toBe('basic')
    expect((await identify(apiKey(key))).tier.name).toBe('basic')
    await auth.setTenantTier('ceilinged', 'institutional')
    stop()
    expect(changed).toHaveLength(2)
    expect(claimed.tier.name).toBe('premium')
    const byToken = await identify(token(own({ key_id: id, tenant_id: 'default', tier: 'institutional' })))
    expect(byToken).toMatchObject({ tenant: 'ceilinged', keyId: id })
  })

  it('with scope admin makes tokens that are admin', async () => {
    const { key } = await auth.createKey({ tenant: 'acme', tier: 'basic', scope: 'admin' })
    const identity = await identify(apiKey(key))
    const { accessToken } = await auth.issueToken(identity)
    expect((await identify(token(accessToken))).admin).toBe(true)
  })

  it('of an unknown tier or an impossible tenant is not made', async () => {
    expect(await codeOf(auth.createKey({ tenant: 'acme', tier: 'gold' as TierName }))).toBe('unknown-tier')
    expect(await codeOf(auth.createKey({ tenant: 'a b', tier: 'basic' }))).toBe('bad-request')
    expect(await codeOf(auth.createKey({ tenant: 'anonymous', tier: 'basic' }))).toBe('bad-request')
  })

  it('makes its tenant, and nothing else does', async () => {
    expect(await auth.setTenantTier('nowhere', 'basic')).toBeUndefined()
    expect(await codeOf(identify(token(own({ tenant_id: 'newcomer' }))))).toBe('not-authenticated')
    await auth.createKey({ tenant: 'newcomer', tier: 'basic' })
    expect(await codeOf(identify(token(own({ tenant_id: 'newcomer' }))))).toBe('accepted')
    expect(await auth.listTenants()).toContainEqual(
      expect.objectContaining({
        tenant: 'newcomer',
        tier: 'institutional',
        createdAt: expect.stringMatching(/Z$/),
      }),
    )
  })
})

describe('a ticket', () => {
  it('is good once', async () => {
    const { ticket, expiresIn } = await auth.issueTicket(await identify(token(own({}))))
    expect(expiresIn).toBe(30)
    expect(await codeOf(identify({ kind: 'ticket', ticket }))).toBe('accepted')
    expect(await codeOf(identify({ kind: 'ticket', ticket }))).toBe('not-authenticated')
  })

  it('is good for 30 s', async () => {
    let now = Date.now()
    const timed = authOn(store.sql, { now: () => now })
    const { ticket } = await timed.issueTicket(await identify(apiKey(ADMIN), timed))
    now += 30_000
    expect(await codeOf(identify({ kind: 'ticket', ticket }, timed))).toBe('not-authenticated')
  })
})

describe('before the store is open', () => {
  const never: Sql = { query: () => new Promise(() => {}), transaction: () => new Promise(() => {}) }
  const key = `fg_premium_${'k'.repeat(40)}`
  const options: Partial<AuthOptions> = {
    demoKeys: [{ tier: 'premium', key }],
    anonymous: { tier: 'basic', tenant: 'demo' },
  }

  it('demo keys, the admin key, their tokens and anonymous callers are known', async () => {
    const demo = authOn(never, options)
    const identity = await identify(apiKey(key), demo)
    expect(identity.tenant).toBe('demo')
    expect(identity.tier.name).toBe('premium')
    const { accessToken } = await demo.issueToken(identity)
    expect((await identify(token(accessToken), demo)).tier.name).toBe('premium')
    const admin = await identify(apiKey(ADMIN), demo)
    expect(admin).toMatchObject({ admin: true, tier: { name: 'institutional' } })
    expect((await identify(token((await demo.issueToken(admin)).accessToken), demo)).admin).toBe(true)
    expect(await identify({ kind: 'none' }, demo)).toMatchObject({
      anonymous: true,
      tenant: 'demo',
      limitKey: 'address:192.0.2.1',
      tier: { name: 'basic' },
    })
    expect(await codeOf(identify(apiKey('not a key at all'), demo))).toBe('not-authenticated')
  })

  it('a demo key can be deleted, and its tokens end', async () => {
    const demo = authOn(store.sql, options)
    const identity = await identify(apiKey(key), demo)
    const { accessToken } = await demo.issueToken(identity)
    expect(await demo.deleteKey(identity.keyId!)).toBe(true)
    expect(await codeOf(identify(apiKey(key), demo))).toBe('not-authenticated')
    expect(await codeOf(identify(token(accessToken), demo))).toBe('token-expired')
  })
})

describe('without a credential', () => {
  it('a caller is refused, unless anonymous callers are let in', async () => {
    expect(await codeOf(identify({ kind: 'none' }))).toBe('not-authenticated')
    const open = authOn(store.sql, { anonymous: { tier: 'basic', tenant: 'anonymous' } })
    const identity = await identify({ kind: 'none' }, open)
    expect(identity).toMatchObject({ anonymous: true, tenant: 'anonymous' })
    expect(open.entitled(identity, { source: 'open-source', channel: 'ticker' }).allowed).toBe(true)
    expect(open.entitled(identity, { source: 'open-source', channel: 'status' })).toEqual({
      allowed: false,
      why: 'not-entitled',
    })
  })
})

describe('an entitlement', () => {
  const of = (tier: TierName) => identify(token(own({ tier })))
  const source = 'open-source'

  it('follows the tier table', async () => {
    const [basic, premium, institutional] = await Promise.all([
      of('basic'),
      of('premium'),
      of('institutional'),
    ])
    const allowed = (who: typeof basic, channel: 'ticker' | 'orderbook' | 'premium_analytics') =>
      auth.entitled(who, { source, channel }).allowed
    expect([basic, premium, institutional].map((who) => allowed(who, 'ticker'))).toEqual([true, true, true])
    expect([basic, premium, institutional].map((who) => allowed(who, 'orderbook'))).toEqual([
      false,
      true,
      true,
    ])
    expect([basic, premium, institutional].map((who) => allowed(who, 'premium_analytics'))).toEqual([
      false,
      false,
      true,
    ])
    expect(auth.entitled(premium, { source, channel: 'orderbook' })).toMatchObject({ depth: 25 })
    expect(auth.entitled(institutional, { source, channel: 'orderbook' })).toMatchObject({
      depth: Infinity,
      oldest: 0,
    })
  })

  it('reaches as far back as the tier does', async () => {
    const entitlement = auth.entitled(await of('basic'), { source, channel: 'trades' })
    expect(entitlement.allowed && Date.now() - entitlement.oldest).toBeGreaterThanOrEqual(86_400_000)
    expect(entitlement.allowed && Date.now() - entitlement.oldest).toBeLessThan(86_401_000)
  })

  it('covers restricted sources for admins only, and no source that is not there', async () => {
    const premium = await of('premium')
    expect(auth.entitled(premium, { source: 'closed', channel: 'ticker' })).toEqual({
      allowed: false,
      why: 'not-entitled',
    })
    expect(auth.entitled(premium, { source: 'gone', channel: 'ticker' })).toEqual({
      allowed: false,
      why: 'unknown',
    })
    expect(auth.entitled(premium, { source: '*', channel: 'ticker' }).allowed).toBe(true)
    const admin = await identify(apiKey(ADMIN))
    expect(auth.entitled(admin, { source: 'closed', channel: 'ticker' }).allowed).toBe(true)
  })

  it("never covers another tenant's conversations, not even for an admin", async () => {
    const [alice, admin] = [await of('institutional'), await identify(apiKey(ADMIN))]
    const theirs = { source, channel: 'status', tenant: 'acme' } as const
    expect(auth.entitled(alice, theirs)).toEqual({ allowed: false, why: 'unknown' })
    expect(auth.entitled(admin, theirs)).toEqual({ allowed: false, why: 'unknown' })
    expect(auth.entitled(alice, { ...theirs, tenant: 'default' }).allowed).toBe(true)
  })
})

describe('what another node does', () => {
  const watched: AbortController[] = []
  afterEach(() => {
    for (const controller of watched.splice(0)) controller.abort()
  })

  /** A second node on the same database, watching it; what it was told of is in `revoked` and `changed`. */
  function otherNode(sql: Sql = store.sql) {
    const node = createAuth({
      store: { sql },
      jwtSecret: SECRET,
      jwtIssuer: 'feedgate',
      adminApiKeys: [ADMIN],
      licence: () => 'open',
      demoKeys: [],
    })
    const stop = new AbortController()
    watched.push(stop)
    const revoked: string[] = []
    const changed: string[] = []
    node.onRevoked((id) => revoked.push(id))
    node.onRightsChanged((tenant) => changed.push(tenant))
    void node.watch(stop.signal)
    return { node, revoked, changed }
  }

  it('ends sessions of a key that was deleted there, once and within a second', async () => {
    const { node, revoked } = otherNode()
    const { key, id } = await auth.createKey({ tenant: 'acme-nodes', tier: 'premium' })
    await identify(apiKey(key), node)
    await new Promise((resume) => setTimeout(resume, 100))
    await auth.deleteKey(id)
    await vi.waitFor(() => expect(revoked).toEqual([id]), { timeout: 1_000 })
    expect(await codeOf(identify(apiKey(key), node))).toBe('not-authenticated')
    await new Promise((resume) => setTimeout(resume, 1_200))
    expect(revoked).toEqual([id])
  })

  it('holds for live identities when a ceiling was changed there, and their sessions are told', async () => {
    const { node, changed } = otherNode()
    const { key } = await auth.createKey({ tenant: 'lowered', tier: 'premium' })
    const identity = await identify(apiKey(key), node)
    await new Promise((resume) => setTimeout(resume, 100))
    await auth.setTenantTier('lowered', 'basic')
    await vi.waitFor(() => expect(changed).toEqual(['lowered']), { timeout: 1_000 })
    expect(identity.tier.name).toBe('basic')
    await auth.setTenantTier('lowered', 'premium')
    await vi.waitFor(() => expect(changed).toEqual(['lowered', 'lowered']), { timeout: 1_000 })
    expect(identity.tier.name).toBe('premium')
  })

  it('is seen after the database was away', async () => {
    let away = false
    const query = <Row>(text: string, values?: readonly unknown[]) =>
      away ? Promise.reject(new Error('away')) : store.sql.query<Row>(text, values)
    const { revoked } = otherNode({ ...store.sql, query, transaction: (work) => store.sql.transaction(work) })
    const { id } = await auth.createKey({ tenant: 'acme-nodes', tier: 'basic' })
    await new Promise((resume) => setTimeout(resume, 100))
    away = true
    await auth.deleteKey(id)
    await new Promise((resume) => setTimeout(resume, 700))
    expect(revoked).toEqual([])
    away = false
    await vi.waitFor(() => expect(revoked).toEqual([id]), { timeout: 1_000 })
  })
})
