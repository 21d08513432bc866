/** The serving side of `bench:fanout`: a process of its own, so that its CPU time is of nothing else. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import fastify from 'fastify'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Auth, Entitlement, Identity } from '../src/auth/auth.ts'
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
import { Asked } from './asked.ts'
import { symbolName } from './raw-clients.ts'
import { micros } from './venue.ts'

export type Mode = 'ws.send loop' | 'joined buffer' | 'feedgate'
export const MODES: readonly Mode[] = ['ws.send loop', 'joined buffer', 'feedgate']

/** Bursts of `events` events, of `spread` different symbols, chosen at random. */
export interface Load {
  readonly bursts: number
  readonly events: number
  readonly spread: number
  /** Bursts a second; undefined: the next as soon as the one before is written. */
  readonly rate?: number
}

/** What one client of a symbol is sent, by symbol. */
export interface Sent {
  readonly messages: number[]
  readonly bytes: number[]
  /** How much later the last was handed over than its rate said; 0 without a rate. */
  readonly lateMs: number
}

interface Target {
  readonly port: number
  deliver(bursts: readonly (readonly EncodedEvent[])[]): void
  /** Called right after `deliver`: resolves when that is written, so that nothing is joined with it. */
  written(): Promise<unknown>
}

export const now = () => Math.round((performance.timeOrigin + performance.now()) * 1_000)
const turn = (ms: number) => new Promise((resume) => setTimeout(resume, ms))
const nextTurn = () => new Promise((resume) => setImmediate(resume))

export const topics = (symbols: number) =>
  Array.from({ length: symbols }, (_, symbol) => topicOf('venue', 'trades', symbolName(symbol)))

/** As the gateway sends it. */
function messageOf(event: EncodedEvent, sentTime: number): string {
  return `${event.bytes.toString('latin1', 0, event.bytes.length - 1)},"sentTime":${sentTime}}`
}

const SENT_TIME_LENGTH = ',"sentTime":1700000000000000'.length
const frameLength = (payload: number) => payload + (payload < 126 ? 2 : 4)

/** Answers how late the last was, ms. */
async function atRate(count: number, rate: number, deliver: (count: number) => void): Promise<number> {
  const began = performance.now()
  for (let sent = 0; sent < count; await turn(1)) {
    const due = Math.min(count, Math.floor(((performance.now() - began) / 1_000) * rate))
    if (due > sent) deliver(due - sent)
    sent = due
  }
  return performance.now() - began - (count / rate) * 1_000
}

/** Each is over before the next; now and then a rest, so that the clients keep up. */
async function inTurn(count: number, deliver: (index: number) => Promise<unknown>): Promise<void> {
  for (let index = 0; index < count; index++) {
    await deliver(index)
    await nextTurn()
    await nextTurn()
    if (index % 8 === 7) await turn(1)
  }
}

/** Beside the hub: `ws` as it is documented, and as fast as it can be made. */
async function bareServer(join: boolean): Promise<Target> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
  await once(server, 'listening')
  const bySymbol = new Map<string, Set<WebSocket>>()
  let different = false
  server.on('connection', (client) =>
    client.on('message', (data) => {
      const { symbols } = JSON.parse(String(data)) as { symbols: string[] }
      different ||= bySymbol.size > 0 && symbols.some((symbol) => !bySymbol.has(symbol))
      for (const symbol of symbols) bySymbol.set(symbol, (bySymbol.get(symbol) ?? new Set()).add(client))
      client.send('{"type":"subscribed"}')
    }),
  )
  const wanted = (event: EncodedEvent) => bySymbol.get(event.topic.subject) ?? []
  const socketOf = (client: WebSocket) => (client as unknown as { _socket: Socket })._socket
  const deliver = (events: readonly EncodedEvent[]) => {
    const sentTime = now()
    if (!join)
      for (const event of events) {
        const message = messageOf(event, sentTime)
        for (const client of wanted(event)) client.send(message)
      }
    else if (!different) {
      const joined = Buffer.concat(events.map((event) => textFrame(messageOf(event, sentTime))))
      for (const client of wanted(events[0]!)) socketOf(client).write(joined)
    } else {
      const due = new Map<WebSocket, Buffer[]>()
      for (const event of events) {
        const frame = textFrame(messageOf(event, sentTime))
        for (const client of wanted(event)) {
          const frames = due.get(client)
          if (frames) frames.push(frame)
          else due.set(client, [frame])
        }
      }
      for (const [client, frames] of due)
        socketOf(client).write(frames.length === 1 ? frames[0]! : Buffer.concat(frames))
    }
  }
  return {
    port: (server.address() as AddressInfo).port,
    deliver: (bursts) => deliver(bursts.flat()),
    written: async () => {},
  }
}

const ALL: Entitlement = {
  allowed: true,
  ...{ depth: Number.POSITIVE_INFINITY, oldest: 0, newest: Number.POSITIVE_INFINITY, delayMs: 0 },
  ...{ live: true, display: true },
}

/** The whole path of the gateway: cache fan-out, feeds, views, groups. */
export async function hubServer(symbols: number): Promise<Target> {
  const tier = { ...TIERS.institutional, connections: Number.POSITIVE_INFINITY }
  const identity: Identity = {
    ...{ tenant: 'default', tier, subject: 'bench', anonymous: false, admin: false, limitKey: 'bench' },
  }
  const auth: Pick<Auth, 'identify' | 'entitled' | 'onRevoked' | 'onRightsChanged'> = {
    identify: async () => identity,
    entitled: () => ALL,
    onRevoked: () => () => {},
    onRightsChanged: () => () => {},
  }
  const carried = topics(symbols)
  const cache = createMemoryCache()
  const ports = {
    auth,
    limits: { ...createRateLimits(), command: async () => {} },
    manager: { topics: () => carried, licence: () => 'open' },
    cache,
    log: console,
    now,
  } as unknown as GatewayPorts
  // No pings: every byte is counted. Facts are told as in the real program, where metrics listen.
  const hub = createHub(ports, { pingMs: 3_600_000 })
  let told = () => {}
  signals.framesSent.on(() => told())
  const server = fastify()
  await server.register(webSocketRoutes(ports, hub))
  await server.listen({ port: 0, host: '127.0.0.1' })
  void hub.run(new AbortController().signal)
  return {
    port: (server.server.address() as AddressInfo).port,
    deliver: (bursts) => {
      for (const burst of bursts) void cache.apply(burst)
    },
    written: () =>
      new Promise<void>((resolve) => {
        told = resolve
      }),
  }
}

/** The process of the server: answers `open`, `send` and `cpu`. */
export async function beServer(mode: Mode, symbols: number): Promise<void> {
  const target = await (mode === 'feedgate' ? hubServer(symbols) : bareServer(mode === 'joined buffer'))
  const carried = topics(symbols)
  const indexes = new Map(carried.map((topic, index) => [topic, index]))
  const seqs = new Array<number>(symbols).fill(0)
  const burstOf = ({ events, spread }: Load): EncodedEvent[] => {
    const from = Math.floor(Math.random() * symbols)
    const step = 1 + Math.floor(Math.random() * 2) * 6
    return Array.from({ length: events }, (_, index) => {
      const symbol = (from + (index % spread) * step) % symbols
      const seq = ++seqs[symbol]!
      const id = String(10_000_000 + seq)
      const position = { epoch: 1, seq, receivedTime: now(), publishedTime: now() }
      const price = String(micros())
      return encodeEvent(carried[symbol]!, position, {
        type: 'trade',
        id,
        price,
        size: '0.00120',
        side: 'buy',
      })
    })
  }
  let began = process.cpuUsage()
  const send = async (load: Load): Promise<Sent> => {
    const sent = { messages: new Array<number>(symbols).fill(0), bytes: new Array<number>(symbols).fill(0) }
    const make = (bursts: number) => Array.from({ length: bursts }, () => burstOf(load))
    const deliver = (bursts: readonly (readonly EncodedEvent[])[]) => {
      for (const { topic, bytes } of bursts.flat()) {
        const symbol = indexes.get(topic)!
        sent.messages[symbol]!++
        sent.bytes[symbol]! += frameLength(bytes.length + SENT_TIME_LENGTH)
      }
      target.deliver(bursts)
    }
    if (load.rate !== undefined) {
      began = process.cpuUsage()
      const lateMs = await atRate(load.bursts, load.rate, (bursts) => deliver(make(bursts)))
      return { ...sent, lateMs }
    }
    const bursts = make(load.bursts)
    began = process.cpuUsage()
    await inTurn(load.bursts, (index) => {
      deliver([bursts[index]!])
      return target.written()
    })
    return { ...sent, lateMs: 0 }
  }
  const cpu = () => {
    const { user, system } = process.cpuUsage(began)
    return (user + system) / 1e6
  }
  Asked.answer({ open: () => target.port, send, cpu })
}

export class Server extends Asked {
  constructor(mode: Mode, symbols: number) {
    super(
      fork(process.argv[1]!, ['--part', 'server', '--mode', mode, '--symbols', String(symbols)], {
        serialization: 'advanced',
      }),
    )
  }

  /** Its port. */
  open(): Promise<number> {
    return this.ask('open')
  }

  send(load: Load): Promise<Sent> {
    return this.ask('send', load)
  }

  /** Seconds of CPU since the last load began, kernel included, as the operating system counts them. */
  cpu(): Promise<number> {
    return this.ask('cpu')
  }
}
