import { createServer } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import type { Exchange } from '../../src/exchange/exchange.ts'
import { startExchange } from '../../src/exchange/exchange.ts'
import { OrderBook } from '../../src/market/order-book.ts'
import {
  ADMIN_KEY,
  Client,
  type Gateway,
  type Message,
  preparedFolder,
  rest,
  startGateway,
  until,
} from '../whole/program.ts'

const SYMBOL = 'BTC/USDT'
const JWT_SECRET = 'the same on all nodes, and of 32 bytes at least'

const gateways: Gateway[] = []
let exchange: Exchange | undefined

afterEach(async () => {
  await Promise.all(gateways.splice(0).map((gateway) => gateway.end('SIGKILL')))
  await exchange?.close()
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', () => done()))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  return port
}

async function start(config: object, dataDir: string, port = 0): Promise<Gateway> {
  const env = { PORT: `${port}`, JWT_SECRET }
  const gateway = await startGateway({ dataDir, config: JSON.stringify(config), env })
  gateways.push(gateway)
  return gateway
}

interface Side {
  readonly side: 'A' | 'B'
  readonly state: string
  readonly reason: string
  readonly first: number
}

it('one source over two nodes: neither the death of the other node nor a cut of the own side loses or doubles anything', async () => {
  exchange = await startExchange({ venue: 'binance', rate: 100, symbols: [SYMBOL], depth: 20 })
  const venue = exchange
  const { url, restUrl, port } = venue
  const otherPort = await freePort()
  const otherFolder = await preparedFolder()
  const startOther = () => start({ sources: [], tunnelTo: [`127.0.0.1:${port}`] }, otherFolder, otherPort)
  let other = await startOther()
  const owner = await start(
    {
      sources: [
        {
          ...{ id: 'x', kind: 'binance', reconnect: { baseMs: 50, capMs: 300 } },
          sides: [
            { url, restUrl },
            { url, restUrl, via: `http://127.0.0.1:${otherPort}` },
          ],
          subscriptions: [
            { channel: 'trades', symbols: [SYMBOL] },
            { channel: 'orderbook', symbols: [SYMBOL], limit: 100 },
          ],
        },
      ],
    },
    await preparedFolder(),
  )
  const sides = async () => {
    const { body } = await rest<{ sides: Side[] }>(owner, '/market-data/websocket/status/x')
    return Object.fromEntries(body.sides.map((side) => [side.side, side])) as Record<'A' | 'B', Side>
  }
  const both = (a: RegExp, b: RegExp) =>
    until(async () => {
      const { A, B } = await sides()
      return a.test(A.state) && b.test(B.state)
    }, 30_000)
  await both(/^connected$/, /^connected$/)
  await until(() => venue.connections.length === 2)

  const client = await new Client(`${owner.url}/ws`, { 'x-api-key': ADMIN_KEY }).open()
  client.send({ type: 'subscribe', channel: 'trades', symbols: [SYMBOL], snapshot: false })
  client.send({ type: 'subscribe', channel: 'orderbook', symbols: [SYMBOL] })
  const trades = () => client.ofType('trade').map(({ id }) => Number(id))
  const more = async (count: number) => {
    const goal = trades().length + count
    await until(() => trades().length >= goal, 30_000)
  }
  await more(30)

  const two = venue.connections.map(({ id }) => id)
  await other.end('SIGKILL')
  await both(/^connected$/, /^reconnecting$/)
  expect((await sides()).B.reason).toMatch(/closed by the venue|the node cannot be reached/)
  await until(() => venue.connections.length === 1)
  const own = venue.connections[0]!.id
  await more(30)
  other = await startOther()
  await both(/^connected$/, /^connected$/)
  await until(() => venue.connections.length === 2)
  await more(30)

  // The own connection is cut, and cannot be made again for a while: the next handshake is its.
  const refused = venue.inject({ fault: '451', where: 'handshake', count: 3 })
  venue.inject({ fault: 'hard-cut', connection: own })
  await until(async () => (await sides()).A.state !== 'connected', 30_000)
  await more(30)
  await both(/^connected$/, /^connected$/)
  expect(refused.hits).toBe(3)
  expect(two).toContain(own)
  await more(10)

  venue.setRate(0)
  const truth = venue.truth(SYMBOL)
  const real = truth.trades().map(({ id }) => id)
  await until(
    () => trades().at(-1) === real.at(-1),
    30_000,
    () => `${trades().at(-1)} is not ${real.at(-1)}`,
  )
  const first = trades()[0]!
  expect(trades()).toEqual(real.filter((id) => id >= first))
  await until(() => JSON.stringify(bookOf(client)) === JSON.stringify(truth.book().bids.slice(0, 10)), 30_000)
  expect(client.ofType('gap')).toEqual([])
  const told = await rest<{ items: Message[] }>(owner, '/v1/gaps?source=x')
  expect(told.body.items).toEqual([])
  expect((await sides()).B.first).toBeGreaterThan(0)
}, 120_000)

/** The best ten bids that a client makes of its events. */
function bookOf(client: Client): unknown {
  const book = new OrderBook()
  type Change = { kind: string; bids: [string, string][]; asks: [string, string][] }
  for (const { kind, bids, asks } of client.ofType('orderbook') as unknown as Change[]) {
    if (kind === 'snapshot') book.reset(bids, asks)
    else book.apply(bids, asks)
  }
  return book.top('bids', 10)
}
