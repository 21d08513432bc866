import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { createServer } from '../../../src/gateway/server.ts'
import { createHub } from '../../../src/gateway/ws/hub.ts'
import { webSocketRoutes } from '../../../src/gateway/ws/routes.ts'
import { ADMIN_KEY, startRest, type TestGateway } from './gateway.ts'

let gateway: TestGateway
let url: string
let stop: () => Promise<unknown>

beforeAll(async () => {
  gateway = await startRest()
  const hub = createHub(gateway.ports)
  const server = await createServer({ ...gateway.ports, clients: hub.clients }, [
    webSocketRoutes(gateway.ports, hub),
  ])
  await server.listen({ port: 0, host: '127.0.0.1' })
  url = `http://127.0.0.1:${(server.server.address() as AddressInfo).port}`
  stop = () => Promise.all([server.close(), gateway.close()])
})
afterAll(() => stop())

async function call(method: string, path: string, key = ADMIN_KEY) {
  const answer = await fetch(`${url}${path}`, { method, headers: { 'x-api-key': key } })
  const text = await answer.text()
  return { status: answer.status, body: text ? JSON.parse(text) : undefined }
}

async function connect(key: string): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, { headers: { 'x-api-key': key } })
  await once(socket, 'open')
  socket.send('{"type":"ping"}')
  await once(socket, 'message')
  return socket
}

it('shows operators who is connected, in pages, and ends a client by its id', async () => {
  const sockets = [await connect(gateway.keys.premium), await connect(gateway.keys.institutional)]
  const first = await call('GET', '/admin/clients?limit=1')
  expect(first).toMatchObject({
    status: 200,
    body: { complete: true, items: [{ tier: 'premium', tenant: 'demo', address: '127.0.0.1', slow: false }] },
  })
  const second = await call('GET', `/admin/clients?limit=1&cursor=${first.body.next}`)
  expect(second.body).toMatchObject({ items: [{ tier: 'institutional' }], next: null })
  const { id } = second.body.items[0]
  const closed = once(sockets[1]!, 'close')
  expect((await call('DELETE', `/admin/clients/${id}`)).status).toBe(204)
  expect((await closed)[0]).toBe(4009)
  expect(await call('DELETE', `/admin/clients/${id}`)).toMatchObject({
    status: 404,
    body: { code: 'not-found' },
  })
  expect((await call('GET', '/admin/clients?tenant=demo')).body.items).toHaveLength(1)
  expect((await call('GET', '/admin/clients?tenant=other')).body.items).toEqual([])
  sockets[0]!.close()
})

it('counts what each caller was sent, also when it has gone, and shows everybody the own', async () => {
  const key = await gateway.newKey('institutional')
  const sockets = [await connect(key), await connect(key)]
  const own = async () => (await call('GET', '/v1/usage', key)).body
  expect(await own()).toMatchObject({
    ...{ tenant: 'demo', tier: 'institutional', connections: 2, receivedMessages: 2, complete: true },
    limits: { commandsPerSecond: 100, connections: 50, symbols: null },
  })
  const before = await own()
  sockets[0]!.close()
  await vi.waitFor(async () => expect((await own()).connections).toBe(1))
  // The close frame was sent too.
  expect(await own()).toEqual({ ...before, connections: 1, sentBytes: before.sentBytes + 2 })
  const { body } = await call('GET', '/admin/usage?tenant=demo')
  const mine = body.items.filter(
    ({ receivedMessages }: { receivedMessages: number }) => receivedMessages === 2,
  )
  expect(mine).toMatchObject([{ tenant: 'demo', connections: 1, sentEvents: 0 }])
  const page = (await call('GET', '/admin/usage?limit=1')).body
  const rest = (await call('GET', `/admin/usage?cursor=${encodeURIComponent(page.next)}`)).body
  expect([...page.items, ...rest.items]).toEqual((await call('GET', '/admin/usage')).body.items)
  expect((await call('GET', '/v1/usage', gateway.keys.basic)).body).toMatchObject({
    connections: 0,
    sentEvents: 0,
  })
  expect((await call('GET', '/admin/usage', key)).status).toBe(403)
  sockets[1]!.close()
})

it('names no secret, and is for admins only', async () => {
  const socket = await connect(gateway.keys.premium)
  const { body } = await call('GET', '/admin/clients')
  expect(JSON.stringify(body)).not.toContain(gateway.keys.premium)
  expect((await call('GET', '/admin/clients', gateway.keys.premium)).status).toBe(403)
  expect((await call('DELETE', `/admin/clients/${body.items[0].id}`, gateway.keys.premium)).status).toBe(403)
  expect((await call('GET', '/admin/clients?limit=1001')).status).toBe(400)
  expect((await call('DELETE', '/admin/clients/A_B')).status).toBe(400)
  socket.close()
})
