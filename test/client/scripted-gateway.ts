import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import type { ClientOptions } from '../../client/client.ts'
import { FeedgateClient, type LinkState, type Notice } from '../../client/index.ts'
import { until } from '../whole/program.ts'

export interface Command {
  readonly type: string
  readonly id?: number
  readonly symbols?: readonly string[]
  readonly resume?: Readonly<Record<string, readonly [number, number]>>
  readonly [field: string]: unknown
}

/** A connection as the script sees it. */
export class Peer {
  readonly socket: WebSocket
  readonly query: URLSearchParams
  readonly commands: Command[] = []

  constructor(socket: WebSocket, query: URLSearchParams) {
    this.socket = socket
    this.query = query
  }

  /** One frame; an array is a batch. */
  send(message: unknown): void {
    this.socket.send(JSON.stringify(message))
  }

  of(type: string): Command[] {
    return this.commands.filter((command) => command.type === type)
  }

  /** The nth command of a type, past or future. */
  command(type: string, nth = 0): Promise<Command> {
    return until(
      () => this.of(type)[nth],
      5_000,
      () => `${type}: ${JSON.stringify(this.commands)}`,
    )
  }
}

type Script = (peer: Peer, command: Command) => void

/** Answers as the gateway does where nothing goes wrong. */
const ANSWERS: Record<string, Script> = {
  auth: (peer, { id }) => peer.send({ type: 'authenticated', id, tier: 'premium' }),
  heartbeat: (peer, { id }) => peer.send({ type: 'heartbeat', id, timestamp: 1, heads: [] }),
  subscribe: (peer, { id, channel, symbols }) =>
    peer.send({ type: 'subscribed', id, channel, symbols, conflateMs: 0 }),
  unsubscribe: (peer, { id, channel, symbols }) => peer.send({ type: 'unsubscribed', id, channel, symbols }),
}

/** A gateway that does what a test tells it, on a loopback port. */
export class ScriptedGateway {
  readonly peers: Peer[] = []
  readonly #server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  readonly #scripts: Record<string, Script>

  constructor(scripts: Record<string, Script> = {}) {
    this.#scripts = { ...ANSWERS, ...scripts }
    this.#server.on('connection', (socket, request) => {
      const peer = new Peer(socket, new URL(request.url ?? '/', 'ws://host').searchParams)
      this.peers.push(peer)
      this.#scripts.connected?.(peer, { type: 'connected' })
      socket.on('message', (data) => {
        const command = JSON.parse(String(data)) as Command
        peer.commands.push(command)
        this.#scripts[command.type]?.(peer, command)
      })
    })
  }

  on(type: string, script: Script): void {
    this.#scripts[type] = script
  }

  async url(): Promise<string> {
    if (!this.#server.address()) await once(this.#server, 'listening')
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The nth connection, past or future. */
  peer(nth = 0): Promise<Peer> {
    return until(
      () => this.peers[nth],
      5_000,
      () => `${this.peers.length} connections`,
    )
  }

  close(): Promise<void> {
    for (const { socket } of this.peers) socket.terminate()
    return new Promise((done) => this.#server.close(() => done()))
  }
}

/** A client that keeps what it is told. */
export class Watched extends FeedgateClient {
  readonly states: LinkState[] = []
  readonly notices: Notice[] = []

  constructor(options: ClientOptions) {
    super({ backoff: { baseMs: 20, capMs: 100 }, ...options })
    this.on('state', (state) => this.states.push(state))
    this.on('notice', (notice) => this.notices.push(notice))
  }

  of<T extends Notice['type']>(type: T): Extract<Notice, { type: T }>[] {
    return this.notices.filter((notice): notice is Extract<Notice, { type: T }> => notice.type === type)
  }

  last<T extends LinkState['state']>(state: T): Extract<LinkState, { state: T }> | undefined {
    return this.states.findLast((one): one is Extract<LinkState, { state: T }> => one.state === state)
  }
}

const BASE = { v: 1, source: 'x', receivedTime: 1, publishedTime: 1, sentTime: 1 }

export function trade(seq: number, more: object = {}) {
  return { ...BASE, type: 'trade', symbol: 'A/B', epoch: 7, seq, price: '1', size: '1', side: 'buy', ...more }
}

export function ticker(seq: number, more: object = {}) {
  return { ...BASE, type: 'ticker', symbol: 'A/B', epoch: 7, seq, last: String(seq), ...more }
}

export function book(kind: 'snapshot' | 'delta', seq: number, more: object = {}) {
  return {
    ...BASE,
    type: 'orderbook',
    symbol: 'A/B',
    epoch: 7,
    seq,
    kind,
    bids: [],
    asks: [],
    depth: 0,
    ...more,
  }
}
