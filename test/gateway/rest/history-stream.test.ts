import { get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { HistoryQuery, Store, StoredEvent } from '../../../src/store/store.ts'
import { ADMIN_KEY, closedStore, startRest, symbolTopic, type TestGateway } from './gateway.ts'

const topic = symbolTopic('ticker', 'BTC/USDT')
const body = `{"v":1,"padding":"${'x'.repeat(1_000)}"}`

let gateway: TestGateway
let port: number
let pagesRead = 0
let failAfter = Infinity

/** A history without end. */
async function history({ limit }: HistoryQuery) {
  if (++pagesRead > failAfter) throw new Error('the database went away')
  const event: StoredEvent = { topic, epoch: 1, seq: 1, receivedTime: 1, body }
  return { items: Array.from({ length: limit }, () => event), next: 'more' }
}

beforeAll(async () => {
  const store: Store = { ...closedStore(), history }
  gateway = await startRest({ store })
  gateway.desk.carry(topic)
  await gateway.server.listen({ port: 0, host: '127.0.0.1' })
  port = (gateway.server.server.address() as AddressInfo).port
})
afterAll(() => gateway.close())

const open = (path: string) =>
  new Promise<IncomingMessage>((resolve, reject) =>
    get({ port, host: '127.0.0.1', path, headers: { 'x-api-key': ADMIN_KEY } }, resolve).on('error', reject),
  )
const pause = (ms: number) => new Promise((done) => setTimeout(done, ms))

describe('a streamed history', () => {
  it('is read no faster than its client takes it, and not at all when the client has gone', async () => {
    const response = await open('/v1/history/ticker?format=ndjson')
    await pause(500)
    const read = pagesRead
    // About 2 MB a page; the kernel takes some MB before it says that nobody reads.
    expect(read).toBeLessThan(15)
    await pause(300)
    expect(pagesRead).toBe(read)
    for (let i = 0; i < 50; i++) {
      response.read()
      await pause(5)
    }
    expect(pagesRead).toBeGreaterThan(read)
    response.destroy()
    await pause(300)
    const after = pagesRead
    await pause(300)
    expect(pagesRead).toBe(after)
  })

  it('that fails half-way ends without its proper end, so that nobody takes it for whole', async () => {
    pagesRead = 0
    failAfter = 2
    const response = await open('/v1/history/ticker?format=csv')
    const ended = new Promise((done) => {
      response.on('error', (error: NodeJS.ErrnoException) => done(error.code))
      response.on('end', () => done('end'))
    })
    response.resume()
    expect(await ended).toBe('ECONNRESET')
    failAfter = Infinity
  })

  it('that fails at once is told as a problem', async () => {
    failAfter = 0
    const response = await open('/v1/history/ticker?format=csv')
    expect(response.statusCode).toBe(500)
    response.resume()
    failAfter = Infinity
  })
})
