import { cpSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { GrantSpec } from '../../src/auth/auth.ts'
import { createAuth, type WatchingAuth } from '../../src/auth/create-auth.ts'
import { createPgliteStore } from '../../src/store/pglite.ts'
import type { Store } from '../../src/store/store.ts'

let store: Store
let auth: WatchingAuth

const nodeOn = (from: Store) =>
  createAuth({
    store: from,
    jwtSecret: 'own-secret-of-at-least-32-characters!',
    jwtIssuer: 'feedgate',
    adminApiKeys: [],
    licence: () => 'restricted',
    demoKeys: [],
  })

beforeAll(async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'feedgate-grants-'))
  const template = process.env.FEEDGATE_TEST_DATABASE
  if (template) cpSync(template, join(dataDir, 'pglite'), { recursive: true })
  store = createPgliteStore({ dataDir })
  await store.ready()
  auth = nodeOn(store)
}, 60_000)
afterAll(() => store.close())

const spec = (tenant: string, more: Partial<GrantSpec> = {}): GrantSpec => ({
  ...{ tenant, source: 'paid', delayMs: 0, display: false },
  ...more,
})

async function caller(tenant: string, node = auth) {
  const { key } = await auth.createKey({ tenant, tier: 'premium' })
  return node.identify({ kind: 'apiKey', apiKey: key }, '::1')
}

describe('grants', () => {
  it('hold at once, and until they are deleted', async () => {
    const identity = await caller('acme')
    const may = () => auth.entitled(identity, { source: 'paid', channel: 'ticker' }).allowed
    const told: string[] = []
    const stop = auth.onRightsChanged((tenant) => told.push(tenant))
    expect(may()).toBe(false)
    const { id } = await auth.createGrant(spec('acme'))
    expect(may()).toBe(true)
    expect(await auth.deleteGrant(id)).toBe(true)
    expect(may()).toBe(false)
    expect(await auth.deleteGrant(id)).toBe(false)
    expect(told).toEqual(['acme', 'acme'])
    stop()
  })

  it('are kept as they were given, and known to whoever opens the database next', async () => {
    await caller('keeper')
    const from = Date.UTC(2026, 0, 1)
    const all = spec('keeper', {
      ...{ channel: 'trades', depth: 5, delayMs: 900_000, display: true, from, to: from + 1_500 },
    })
    const grant = await auth.createGrant(all)
    expect(grant).toMatchObject(all)
    const next = nodeOn(store)
    expect(await next.listGrants()).toContainEqual(grant)
    const identity = await caller('keeper', next)
    expect(next.entitled(identity, { source: 'paid', channel: 'trades' })).toMatchObject({
      ...{ allowed: true, newest: from + 1_500, delayMs: 900_000, live: false, display: true },
    })
  })

  it('take the place of one for the same tenant, source and channel', async () => {
    await caller('twice')
    const first = await auth.createGrant(spec('twice', { depth: 5 }))
    const second = await auth.createGrant(spec('twice', { delayMs: 1_000 }))
    const third = await auth.createGrant(spec('twice', { channel: 'ticker' }))
    const held = (await auth.listGrants()).filter(({ tenant }) => tenant === 'twice')
    expect(held).toEqual([second, third])
    expect(second.id).not.toBe(first.id)
    expect(second).not.toHaveProperty('depth')
  })

  it('are for tenants that there are', async () => {
    await expect(auth.createGrant(spec('nobody'))).rejects.toMatchObject({ code: 'unknown-tenant' })
  })

  it('begin and end with their period, and say so', async () => {
    const identity = await caller('short')
    const told: boolean[] = []
    const live = () => {
      const entitlement = auth.entitled(identity, { source: 'paid', channel: 'ticker' })
      return entitlement.allowed && entitlement.live
    }
    const stop = auth.onRightsChanged((tenant) => tenant === 'short' && told.push(live()))
    await auth.createGrant(spec('short', { from: Date.now() + 300, to: Date.now() + 600 }))
    await vi.waitFor(() => expect(told).toEqual([false, true, false]), { timeout: 5_000 })
    stop()
  })

  it('made and deleted by another node hold here within a second', async () => {
    const other = nodeOn(store)
    const stop = new AbortController()
    const told: string[] = []
    other.onRightsChanged((tenant) => told.push(tenant))
    void other.watch(stop.signal)
    const identity = await caller('apart', other)
    const may = () => other.entitled(identity, { source: 'paid', channel: 'ticker' }).allowed
    const { id } = await auth.createGrant(spec('apart'))
    await vi.waitFor(() => expect(may()).toBe(true), { timeout: 1_000 })
    await auth.deleteGrant(id)
    await vi.waitFor(() => expect(may()).toBe(false), { timeout: 1_000 })
    expect(told).toEqual(['apart', 'apart'])
    stop.abort()
  })
})
