import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { Client, rest, until } from '../whole/program.ts'
import { Cluster, type ClusterNode } from './cluster.ts'
import { withEngines } from './engines.ts'

const SOURCES = [
  {
    ...{ id: 'sim', kind: 'simulator', rate: 20 },
    subscriptions: [
      { channel: 'ticker', symbols: ['BTC/USDT'] },
      { channel: 'orderbook', symbols: ['BTC/USDT'] },
    ],
  },
]
/** A changed right holds on every node within this time. */
const SOON_MS = 1_000
/** What a dead node held is free again after this time. */
const LEASE_MS = 10_000

interface Entry {
  readonly id: string
  readonly node: string
  readonly tier: string
  readonly tenant: string
  readonly subject: string
  readonly sentEvents: number
}

await withEngines(['postgres', 'kafka', 'redis'], ({ postgres, kafka, redis }) => {
  let cluster: Cluster
  let left: ClusterNode
  let right: ClusterNode
  const clients: Client[] = []

  beforeAll(async () => {
    cluster = await Cluster.create({
      ...{ name: 'sessions', database: postgres, kafka, redis, sources: () => SOURCES },
    })
    ;[, left, right] = await Promise.all([
      cluster.start('worker', 'ingest,recorder,relay,analytics'),
      cluster.start('left', 'gateway'),
      cluster.start('right', 'gateway'),
    ])
    await Promise.all(cluster.nodes.map((node) => node.ready()))
    for (const node of [left, right])
      await until(async () => {
        const { items } = (await rest<{ items: { topics: { state: string }[] }[] }>(node, '/v1/sources')).body
        return items[0]?.topics.filter(({ state }) => state === 'live').length === 2
      }, 30_000)
  })
  afterAll(async () => {
    for (const client of clients) client.socket.terminate()
    await cluster.end()
  })

  async function newKey(tier: string, tenant: string): Promise<{ id: string; key: string }> {
    const body = JSON.stringify({ tenant, tier })
    return (await rest<{ id: string; key: string }>(left, '/admin/keys', { method: 'POST', body })).body
  }

  async function connect(node: ClusterNode, headers: Record<string, string>, query = ''): Promise<Client> {
    const client = await new Client(`${node.url}/ws${query}`, headers).open()
    clients.push(client)
    client.send({ type: 'ping' })
    return client
  }

  /** The code of its refusal, or `pong`. */
  async function admitted(client: Client): Promise<unknown> {
    const { type, code } = await client.waitFor(
      (message) => message.type === 'pong' || message.type === 'error',
    )
    return code ?? type
  }

  async function enter(node: ClusterNode, key: string): Promise<Client> {
    const client = await connect(node, { 'x-api-key': key })
    expect(await admitted(client)).toBe('pong')
    return client
  }

  async function follow(client: Client, channel: string): Promise<void> {
    client.send({ type: 'subscribe', channel, symbols: ['BTC/USDT'], depth: 25 })
    await client.waitFor((message) => message.type === channel, 30_000)
  }

  const listed = async (node: ClusterNode, tenant: string) =>
    (await rest<{ items: Entry[]; complete: boolean }>(node, `/admin/clients?tenant=${tenant}`)).body

  /** ms until it happens. */
  async function timed(act: () => Promise<unknown>, happens: Promise<unknown>): Promise<number> {
    await act()
    const began = performance.now()
    await happens
    return performance.now() - began
  }

  describe('clients of several gateways', () => {
    it('lose their connection within a second when their key is deleted at another node, and their tokens with it', async () => {
      const { id, key } = await newKey('premium', 'deleted')
      const { body: token } = await rest<{ accessToken: string }>(left, '/auth/token', {
        method: 'POST',
        headers: { 'x-api-key': key },
      })
      const byKey = await enter(right, key)
      const byToken = await connect(right, {}, `?access_token=${token.accessToken}`)
      expect(await admitted(byToken)).toBe('pong')
      const other = await enter(right, (await newKey('premium', 'deleted')).key)
      const ms = await timed(
        () => rest(left, `/admin/keys/${id}`, { method: 'DELETE' }),
        Promise.all([byKey.closed, byToken.closed]),
      )
      expect(await byKey.closed).toBe(4003)
      expect(await byToken.closed).toBe(4003)
      console.log(`ended ${Math.round(ms)} ms after the key was deleted at the other node`)
      expect(ms).toBeLessThan(SOON_MS)
      expect(byKey.ofType('error')).toMatchObject([{ code: 411 }])
      expect(await (await connect(right, { 'x-api-key': key })).closed).toBe(4001)
      expect(other.socket.readyState).toBe(WebSocket.OPEN)
    })

    it('have what a lowered ceiling leaves within a second, at every node, and more again when it is raised', async () => {
      const { key } = await newKey('premium', 'lowered')
      const pair = [await enter(left, key), await enter(right, key)]
      for (const client of pair) {
        await follow(client, 'orderbook')
        await follow(client, 'ticker')
      }
      const told = (tier: string) =>
        Promise.all(
          pair.map((client) => client.waitFor((m) => m.type === 'authenticated' && m.tier === tier)),
        )
      const set = (tier: string) => () =>
        rest(left, '/admin/tenants/lowered', { method: 'PUT', body: JSON.stringify({ tier }) })
      const ms = await timed(set('basic'), told('basic'))
      console.log(`told at both nodes ${Math.round(ms)} ms after the ceiling was lowered`)
      expect(ms).toBeLessThan(SOON_MS)
      for (const client of pair) {
        expect(client.ofType('error')).toMatchObject([
          { code: 403, message: 'no longer sent: sim|orderbook|BTC/USDT' },
        ])
        const books = client.ofType('orderbook').length
        const tickers = client.ofType('ticker').length
        await until(() => client.ofType('ticker').length > tickers)
        expect(client.ofType('orderbook')).toHaveLength(books)
      }
      expect(await timed(set('institutional'), told('premium'))).toBeLessThan(SOON_MS)
      for (const client of pair) await follow(client, 'orderbook')
    })

    it('share the connections of their key; the place of one that is gone is given to the next, whatever its node', async () => {
      const { key } = await newKey('basic', 'ghosts')
      const ghost = new WebSocket(`${right.url.replace('http', 'ws')}/ws`, {
        headers: { 'x-api-key': key },
        autoPong: false,
      })
      ghost.on('error', () => {})
      await until(async () => (await listed(left, 'ghosts')).items.length === 1)
      const alive = await enter(left, key)
      const gone = new Promise((done) => ghost.once('close', done))
      const next = await enter(left, key)
      await gone
      expect(await admitted(await connect(right, { 'x-api-key': key }))).toBe(406)
      next.socket.close()
      await next.closed
      await until(async () => (await admitted(await connect(right, { 'x-api-key': key }))) === 'pong')
      expect(alive.socket.readyState).toBe(WebSocket.OPEN)
    })

    it('are listed with their node at every node, and ended from any', async () => {
      const { key } = await newKey('premium', 'listed')
      const pair = [await enter(left, key), await enter(right, key)]
      for (const client of pair) await follow(client, 'ticker')
      for (const node of [left, right]) {
        const { items, complete } = await listed(node, 'listed')
        expect(complete).toBe(true)
        expect(items).toHaveLength(2)
        expect(new Set(items.map((entry) => entry.node)).size).toBe(2)
        expect(items.every(({ sentEvents }) => sentEvents > 0)).toBe(true)
      }
      // Ids are in the order of connecting: the second is at the right node.
      const { id } = (await listed(left, 'listed')).items[1]!
      expect((await rest(left, `/admin/clients/${id}`, { method: 'DELETE' })).status).toBe(204)
      expect(await pair[1]!.closed).toBe(4009)
      expect((await rest(right, `/admin/clients/${id}`, { method: 'DELETE' })).status).toBe(404)
      expect(pair[0]!.socket.readyState).toBe(WebSocket.OPEN)
    })

    it('come in by a ticket that another node gave, once', async () => {
      const { key } = await newKey('premium', 'tickets')
      const { body } = await rest<{ ticket: string }>(left, '/auth/ticket', {
        method: 'POST',
        headers: { 'x-api-key': key },
      })
      const twice = await Promise.all(
        [left, right].map((node) => connect(node, {}, `?ticket=${body.ticket}`)),
      )
      expect((await Promise.all(twice.map(admitted))).sort()).toEqual([401, 'pong'])
    })

    it('stay while Redis is away, and are counted together again when it is back and empty', async () => {
      const { id, key } = await newKey('basic', 'outage')
      const pair = [await enter(left, key), await enter(right, key)]
      await redis.kill()
      await until(async () => !(await listed(left, 'outage')).complete)
      expect((await rest<{ items: Entry[] }>(left, '/admin/clients')).status).toBe(200)
      await redis.restart()
      await until(async () => (await listed(left, 'outage')).items.length === 2, 20_000)
      await until(async () => (await admitted(await connect(left, { 'x-api-key': key }))) === 406, 10_000)
      for (const client of pair) expect(client.socket.readyState).toBe(WebSocket.OPEN)
      const ms = await timed(
        () => rest(left, `/admin/keys/${id}`, { method: 'DELETE' }),
        Promise.all(pair.map((client) => client.closed)),
      )
      expect(ms).toBeLessThan(SOON_MS)
    })

    it('get back what a killed node held, after its lease of ten seconds', async () => {
      const { key } = await newKey('basic', 'killed')
      await enter(right, key)
      await enter(right, key)
      expect(await admitted(await connect(left, { 'x-api-key': key }))).toBe(406)
      await right.kill()
      const killedAt = performance.now()
      await until(async () => {
        await sleep(500)
        return (await admitted(await connect(left, { 'x-api-key': key }))) === 'pong'
      }, LEASE_MS + 5_000)
      console.log(`free again ${Math.round(performance.now() - killedAt)} ms after kill -9`)
      expect((await listed(left, 'killed')).complete).toBe(true)
    })
  })
})
