import type { Duplex } from 'node:stream'
import { WebSocket as Socket, type WebSocket } from 'ws'
import type { DepthView } from '../market/depth-view.ts'
import type { Ask, Dialect } from './dialect.ts'

/** Bytes that may wait for a client before the sequence waits for it. */
const MAX_WAITING = 1024 * 1024
/** A client may hold so many asks; what is beyond is not served. */
const MAX_ASKS = 10_000
const TEXT_FRAME = 0x81

export interface HeldAsk extends Ask {
  /** Acknowledged, but nothing is sent for it. */
  zombie: boolean
  /** Where the client has fewer levels than were recorded. */
  view?: DepthView
}

/** One client. */
export class Connection {
  /** Known at once where one venue was recorded, else from what the client says. */
  dialect: Dialect | undefined
  readonly path: string
  readonly asks = new Map<string, HeldAsk>()
  /** Streams that the client has unsubscribed: they are not sent to it unasked. */
  readonly declined = new Set<string>()
  /** `pongs-only` and `half-open` are faults: to the sequence the connection is gone. */
  #state: 'open' | 'pongs-only' | 'half-open' | 'closed' = 'open'
  readonly #ws: WebSocket
  readonly #socket: Duplex
  #lastSent = performance.now()
  #lastPong = performance.now()
  readonly #sentByStream = new Map<string, number>()

  constructor(ws: WebSocket, socket: Duplex, path: string) {
    this.#ws = ws
    this.#socket = socket
    this.path = path
    ws.on('pong', () => {
      this.#lastPong = performance.now()
    })
  }

  /** Does it get frames? */
  get live(): boolean {
    return this.#state === 'open' && this.asks.size > 0
  }

  get open(): boolean {
    return this.#state === 'open'
  }

  get answersPings(): boolean {
    return this.#state === 'open' || this.#state === 'pongs-only'
  }

  ask(ask: Ask): boolean {
    if (this.asks.size >= MAX_ASKS && !this.asks.has(ask.stream)) return false
    this.asks.set(ask.stream, { ...ask, zombie: false })
    this.declined.delete(ask.stream)
    return true
  }

  unask(ask: Ask): void {
    // Only what it had can be declined, so the set is as bounded as the asks are.
    if (this.asks.delete(ask.stream)) this.declined.add(ask.stream)
  }

  send(text: string, stream?: string): void {
    if (this.#ws.readyState !== Socket.OPEN) return
    this.#lastSent = performance.now()
    if (stream !== undefined) this.#sentByStream.set(stream, this.#lastSent)
    this.#ws.send(text)
  }

  idleMs(): number {
    return performance.now() - this.#lastSent
  }

  streamIdleMs(stream: string): number {
    return performance.now() - (this.#sentByStream.get(stream) ?? Number.NEGATIVE_INFINITY)
  }

  /** Resolves when the client has taken what waits, or is gone; undefined: little waits. */
  drained(): Promise<void> | undefined {
    if (this.#ws.bufferedAmount < MAX_WAITING || this.#socket.destroyed) return undefined
    return new Promise((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done).off('close', done)
        resolve()
      }
      this.#socket.on('drain', done).on('close', done)
    })
  }

  /** A protocol ping; ends the connection if none was answered for that long. */
  ping(silentMs: number): void {
    if (this.#state !== 'open') return
    if (performance.now() - this.#lastPong > silentMs) this.#ws.terminate()
    else this.#ws.ping(String(Date.now()))
  }

  hold(state: 'pongs-only' | 'half-open'): void {
    this.#state = state
    if (state === 'half-open') this.#ws.pause()
  }

  /** Resets the TCP connection when half of the frame is out. */
  cut(text: string): void {
    this.#state = 'closed'
    const payload = Buffer.from(text)
    const head = Buffer.alloc(10)
    head[0] = TEXT_FRAME
    head[1] = 127
    head.writeBigUInt64BE(BigInt(payload.length), 2)
    this.#socket.write(Buffer.concat([head, payload.subarray(0, payload.length >> 1)]), () => {
      const tcp = this.#socket as Duplex & { resetAndDestroy?(): void }
      // What the kernel holds would be lost with the reset: it must arrive first.
      setTimeout(() => tcp.resetAndDestroy?.(), 50)
    })
  }

  closed(): void {
    this.#state = 'closed'
  }

  terminate(): void {
    this.#ws.terminate()
  }
}
