/**
 * Deliveries per CPU second of the serving process: our hub (its whole path: cache fan-out, feeds, views, groups) beside
 * `ws.send` in a loop and beside one shared joined buffer, in one run. The server runs in a process of its own, cheap
 * raw clients in another; its CPU is `process.cpuUsage`, kernel included. Every byte sent is counted on arrival.
 *
 *   npm run bench:fanout [-- --clients 10,100,500 --bursts 1,10,40]
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { parseArgs } from 'node:util'
import fastify from 'fastify'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Identity } from '../src/auth/auth.ts'
import { createRateLimits } from '../src/auth/rate-limit.ts'
import { TIERS } from '../src/auth/tiers.ts'
import { createMemoryCache } from '../src/cache/memory.ts'
import type { GatewayPorts } from '../src/gateway/gateway.ts'
import { textFrame } from '../src/gateway/ws/frame.ts'
import { createHub } from '../src/gateway/ws/hub.ts'
import { webSocketRoutes } from '../src/gateway/ws/routes.ts'
import { encodeEvent } from '../src/market/encode.ts'
import type { EncodedEvent } from '../src/market/encoded-event.ts'
import { topicOf } from '../src/market/topic.ts'
import { signals } from '../src/signals.ts'

type Mode = 'ws.send loop' | 'joined buffer' | 'feedgate'
const MODES: readonly Mode[] = ['ws.send loop', 'joined buffer', 'feedgate']
/** Deliveries of one measurement at one message a flush; joined modes send `burst` times as many. */
const DELIVERIES = 200_000
/** However few the clients. */
const MAX_BURSTS = 1_500
const TOPIC = topicOf('venue', 'trades', 'BTC/USDT')
const now = () => Math.round((performance.timeOrigin + performance.now()) * 1_000)

const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '10,100,500' },
    bursts: { type: 'string', default: '1,10,40' },
    part: { type: 'string' },
    mode: { type: 'string' },
  },
})

interface Target {
  readonly port: number
  /** Sends bursts at a pace that lets the clients keep up. */
  send(bursts: readonly (readonly EncodedEvent[])[]): Promise<void>
}

const turn = (ms: number) => new Promise((resume) => setTimeout(resume, ms))
const nextTurn = () => new Promise((resume) => setImmediate(resume))

/** Each burst is over before the next; now and then a rest, so that the clients keep up. */
async function pace(index: number): Promise<void> {
  await nextTurn()
  await nextTurn()
  if (index % 8 === 7) await turn(1)
}

function eventsOf(count: number, from: number): EncodedEvent[] {
  return Array.from({ length: count }, (_, index) => {
    const seq = from + index
    return encodeEvent(
      TOPIC,
      { epoch: 1, seq, receivedTime: now(), publishedTime: now() },
      { type: 'trade', id: String(10_000_000 + seq), price: '65000.10', size: '0.00120', side: 'buy' },
    )
  })
}

function closed(event: EncodedEvent, sentTime: number): string {
  return `${event.bytes.toString('latin1', 0, event.bytes.length - 1)},"sentTime":${sentTime}}`
}

async function bareServer(
  deliver: (sockets: Set<WebSocket>, burst: readonly EncodedEvent[]) => void,
): Promise<Target> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
  await once(server, 'listening')
  server.on('connection', (socket) => socket.on('message', () => socket.send('{"type":"subscribed"}')))
  return {
    port: (server.address() as AddressInfo).port,
    async send(bursts) {
      for (const [index, burst] of bursts.entries()) {
        deliver(server.clients, burst)
        await pace(index)
      }
    },
  }
}

async function ours(): Promise<Target> {
  const tier = { ...TIERS.institutional, connections: 100_000 }
  const identity: Identity = {
    ...{ tenant: 'default', tier, subject: 'bench', anonymous: false, admin: false, limitKey: 'bench' },
  }
  const cache = createMemoryCache()
  const ports = {
    auth: {
      identify: async () => identity,
      entitled: () => ({ allowed: true, depth: Number.POSITIVE_INFINITY, oldest: 0 }),
      onRevoked: () => () => {},
    },
    limits: { ...createRateLimits(), command: async () => {} },
    manager: { topics: () => [TOPIC], licence: () => 'open' },
    cache,
    log: console,
    now,
  } as unknown as GatewayPorts
  // No pings: every byte is counted.
  const hub = createHub(ports, { pingMs: 3_600_000 })
  const server = fastify()
  await server.register(webSocketRoutes(ports, hub))
  await server.listen({ port: 0, host: '127.0.0.1' })
  void hub.run(new AbortController().signal)
  return {
    port: (server.server.address() as AddressInfo).port,
    async send(bursts) {
      for (const [index, burst] of bursts.entries()) {
        await cache.apply(burst)
        await pace(index)
      }
    },
  }
}

function open(mode: Mode): Promise<Target> {
  if (mode === 'feedgate') return ours()
  if (mode === 'ws.send loop')
    return bareServer((sockets, burst) => {
      const sentTime = now()
      for (const event of burst) {
        const text = closed(event, sentTime)
        for (const socket of sockets) socket.send(text)
      }
    })
  return bareServer((sockets, burst) => {
    const sentTime = now()
    const joined = Buffer.concat(burst.map((event) => textFrame(closed(event, sentTime))))
    for (const socket of sockets)
      (socket as unknown as { _socket: { write(bytes: Buffer): void } })._socket.write(joined)
  })
}

/** Child: one server; answers `{bursts, burst}` with CPU seconds and the bytes a client must have got. */
async function serve(mode: Mode): Promise<void> {
  const target = await open(mode)
  let seq = 1
  process.on('message', async ({ bursts, burst }: { bursts: number; burst: number }) => {
    const batches = Array.from({ length: bursts }, () => {
      const events = eventsOf(burst, seq)
      seq += burst
      return events
    })
    let bytes = 0
    for (const batch of batches) for (const event of batch) bytes += textFrame(closed(event, now())).length
    await turn(20)
    const before = process.cpuUsage()
    await target.send(batches)
    const { user, system } = process.cpuUsage(before)
    process.send!({ cpu: (user + system) / 1e6, bytes })
  })
  process.send!({ port: target.port })
}

/** Child: raw sockets that shake hands, subscribe and count bytes. */
function listen(): void {
  let total = 0
  process.on('message', ({ port, clients }: { port?: number; clients?: number }) => {
    if (port === undefined) {
      process.send!({ total })
      return
    }
    let ready = 0
    for (let client = 0; client < clients!; client++) {
      const socket = connect(port, '127.0.0.1', () =>
        socket.write(
          'GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nX-API-Key: bench\r\n\r\n',
        ),
      )
      socket.on('error', () => {})
      let text = ''
      const greet = (chunk: Buffer) => {
        text += chunk.toString('latin1')
        if (text.includes('\r\n\r\n') && !text.includes('asked')) {
          text += 'asked'
          socket.write(subscribeFrame())
        }
        if (!text.includes('"type":"subscribed"')) return
        socket.off('data', greet)
        socket.on('data', (bytes) => {
          total += bytes.length
        })
        if (++ready === clients) process.send!({ ready: true })
      }
      socket.on('data', greet)
    }
  })
}

/** Masked with zeros, which changes nothing. */
function subscribeFrame(): Buffer {
  const text = JSON.stringify({
    type: 'subscribe',
    channel: 'trades',
    symbols: ['BTC/USDT'],
    snapshot: false,
  })
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])
}

async function ask<T>(child: ChildProcess, message?: object): Promise<T> {
  const answer = once(child, 'message')
  if (message) child.send(message)
  return (await answer)[0] as T
}

async function measure(mode: Mode, clients: number, bursts: readonly number[]): Promise<number[]> {
  const server = fork(process.argv[1]!, ['--part', 'server', '--mode', mode])
  const { port } = await ask<{ port: number }>(server)
  const listeners = fork(process.argv[1]!, ['--part', 'clients'])
  await ask(listeners, { port, clients })
  const rates: number[] = []
  let expected = 0
  const run = async (burst: number, deliveries: number) => {
    const count = Math.min(MAX_BURSTS, Math.max(10, Math.round(deliveries / (clients * burst))))
    const { cpu, bytes } = await ask<{ cpu: number; bytes: number }>(server, { bursts: count, burst })
    expected += bytes * clients
    for (let waited = 0; ; waited++) {
      const { total } = await ask<{ total: number }>(listeners, {})
      if (total === expected) break
      if (waited > 500) throw new Error(`${mode}: ${total} of ${expected} bytes arrived`)
      await turn(10)
    }
    return (count * burst * clients) / cpu
  }
  await run(bursts[0]!, DELIVERIES / 4)
  for (const burst of bursts)
    rates.push(await run(burst, mode === 'ws.send loop' ? DELIVERIES : DELIVERIES * burst))
  server.kill()
  listeners.kill()
  return rates
}

async function main(): Promise<void> {
  const bursts = values.bursts.split(',').map(Number)
  console.log(
    `deliveries per CPU second of the server (${process.version}), ${closed(eventsOf(1, 1)[0]!, now()).length} B a message`,
  )
  for (const clients of values.clients.split(',').map(Number)) {
    const rates = new Map<Mode, number[]>()
    for (const mode of MODES) rates.set(mode, await measure(mode, clients, bursts))
    console.log(
      `\n${clients} clients`.padEnd(17) + bursts.map((burst) => `burst ${burst}`.padStart(22)).join(''),
    )
    for (const mode of MODES) {
      const cells = rates.get(mode)!.map((rate, index) => {
        const times = rate / rates.get('ws.send loop')![index]!
        return `${Math.round(rate).toLocaleString('en-US')} (${times.toFixed(1)}×)`.padStart(22)
      })
      console.log(mode.padEnd(16) + cells.join(''))
    }
  }
}

// Facts are told as in the real program, where metrics listen.
signals.framesSent.on(() => {})
if (values.part === 'server') await serve(values.mode as Mode)
else if (values.part === 'clients') listen()
else await main()
