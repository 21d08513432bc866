import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { Pacer } from '../pacer.ts'
import { Connection } from '../player/connection.ts'
import type { Ask } from '../player/dialect.ts'
import type { Market } from './market.ts'
import type { Stream, WireLimits } from './wire.ts'

/** A client that leaves more unread is disconnected, as venues do. */
const MAX_UNREAD = 64 * 1024 * 1024

/** One client of the exchange: what it is subscribed to, and what waits to be written to it. */
export class Client extends Connection {
  /** Counted from 1 in the order of the handshakes. */
  readonly id: number
  readonly feeds = new Map<string, Feed>()
  readonly messages: Pacer | undefined
  readonly subscribes: Pacer | undefined
  /** `reorder`: what waits for the next frame of its feed. */
  overtaken: { readonly feed: Feed; readonly text: string } | undefined
  /** Said or sent last, monotonic ms. */
  activeAt = performance.now()
  readonly #socket: Duplex
  /** Frames of one turn; written together. */
  #frames: Buffer[] = []

  constructor(id: number, ws: WebSocket, socket: Duplex, path: string, limits: WireLimits) {
    super(ws, socket, path)
    this.id = id
    this.#socket = socket
    const { messages, subscribes } = limits
    if (messages) this.messages = new Pacer(messages.count, messages.perMs)
    if (subscribes) this.subscribes = new Pacer(subscribes.count, subscribes.perMs)
  }

  override hold(state: 'pongs-only' | 'half-open'): void {
    this.flush()
    super.hold(state)
  }

  override cut(text: string): void {
    this.flush()
    super.cut(text)
  }

  override send(text: string): void {
    this.flush()
    super.send(text)
  }

  /** A frame that is shared among clients; `flush` writes it. True: nothing was waiting before. */
  push(frame: Buffer): boolean {
    return this.#frames.push(frame) === 1
  }

  flush(): void {
    const frames = this.#frames
    if (frames.length === 0) return
    this.#frames = []
    if (!this.open || this.#socket.destroyed) return
    this.activeAt = performance.now()
    this.#socket.write(frames.length === 1 ? frames[0]! : Buffer.concat(frames))
    if (this.#socket.writableLength > MAX_UNREAD) this.terminate()
  }

  /** Asks of the client, as it wrote them. */
  held(): Ask[] {
    return [...this.asks.values()]
  }

  /** Resets the TCP connection. */
  reset(): void {
    this.closed()
    const tcp = this.#socket as Duplex & { resetAndDestroy?(): void }
    tcp.resetAndDestroy?.()
  }
}

/** One wording of a stream, encoded once for all that are subscribed to it. */
export class Feed {
  readonly key: string
  /** The dialect's name of the stream. */
  readonly name: string
  readonly stream: Stream
  readonly subscribers = new Set<Client>()

  constructor(key: string, name: string, stream: Stream) {
    this.key = key
    this.name = name
    this.stream = stream
  }

  get market(): Market | undefined {
    return this.stream.markets[0]
  }
}
