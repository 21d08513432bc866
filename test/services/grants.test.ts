import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Client, createKey, type Message, rest, until } from '../whole/program.ts'
import { Cluster, type ClusterNode } from './cluster.ts'
import { withEngines } from './engines.ts'

const SOURCES = [
  { id: 'free', kind: 'simulator', subscriptions: [{ channel: 'ticker', symbols: ['BTC/USDT'] }] },
  {
    ...{ id: 'paid', kind: 'simulator', licence: 'restricted' },
    subscriptions: [{ channel: 'ticker', symbols: ['BTC/USDT'] }],
  },
]
/** A grant made or taken back at one node holds at every node within this time. */
const SOON_MS = 1_000

const isOf = (source: string) => (message: Message) => message.type === 'ticker' && message.source === source

await withEngines(['postgres', 'kafka', 'redis'], ({ postgres, kafka, redis }) => {
  let cluster: Cluster
  let left: ClusterNode
  let right: ClusterNode
  let key: string
  const clients: Client[] = []

  beforeAll(async () => {
    cluster = await Cluster.create({
      ...{ name: 'grants', database: postgres, kafka, redis, sources: () => SOURCES },
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
        return items.length === 2 && items.every(({ topics }) => topics.some(({ state }) => state === 'live'))
      }, 30_000)
    key = await createKey(left, 'premium')
  })
  afterAll(async () => {
    for (const client of clients) client.socket.terminate()
    await cluster.end()
  })

  async function follow(node: ClusterNode): Promise<Client> {
    const client = await new Client(`${node.url}/ws`, { 'x-api-key': key }).open()
    clients.push(client)
    client.send({ type: 'subscribe', channel: 'ticker', symbols: ['*'] })
    await client.waitFor(isOf('free'), 30_000)
    return client
  }

  async function grant(node: ClusterNode, more: object = {}): Promise<string> {
    const body = JSON.stringify({ tenant: 'acme', source: 'paid', ...more })
    const made = await rest<{ id: string }>(node, '/admin/grants', { method: 'POST', body })
    expect(made.status).toBe(201)
    return made.body.id
  }

  describe('a grant', () => {
    it('begins at every node within a second, and ends so', async () => {
      const pair = [await follow(left), await follow(right)]
      const id = await grant(left)
      let began = performance.now()
      await Promise.all(pair.map((client) => client.waitFor(isOf('paid'))))
      const beginMs = performance.now() - began
      await rest(right, `/admin/grants/${id}`, { method: 'DELETE' })
      began = performance.now()
      const errors = await Promise.all(pair.map((client) => client.waitFor(({ type }) => type === 'error')))
      const endMs = performance.now() - began
      console.log(
        `began ${Math.round(beginMs)} ms, ended ${Math.round(endMs)} ms after it was done at one node`,
      )
      expect(Math.max(beginMs, endMs)).toBeLessThan(SOON_MS)
      for (const { code, message } of errors) {
        expect(code).toBe(403)
        expect(message).toContain('paid|ticker|BTC/USDT')
      }
      for (const client of pair) {
        const count = client.ofType('ticker').length
        await until(() => client.ofType('ticker').length > count + 5)
        expect(client.ofType('ticker').slice(count).some(isOf('paid'))).toBe(false)
        expect((await rest(right, '/v1/latest?source=paid', { headers: { 'x-api-key': key } })).status).toBe(
          403,
        )
      }
    })

    it('with a delay is late by that at every node, without a hole, and outlives the nodes', async () => {
      const delayMs = 3_000
      await grant(right, { delayMs })
      await left.restart()
      await left.ready()
      for (const client of [await follow(left), await follow(right)]) {
        const late = () => client.messages.filter(isOf('paid'))
        await until(() => late().length >= 20, 30_000)
        const events = late() as unknown as Record<'seq' | 'sentTime' | 'receivedTime', number>[]
        const first = events[0]!.seq
        expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => first + index))
        for (const { sentTime, receivedTime } of events)
          expect(sentTime - receivedTime).toBeGreaterThanOrEqual(delayMs * 1_000)
        for (const { flags } of late()) expect(flags).toContain('delayed')
      }
    })
  })
})
