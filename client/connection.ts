import { FeedgateError } from './closing.ts'
import type { AnyEvent } from './events.ts'
import type { Command, ServerMessage } from './wire.ts'

/** The part of a WebSocket that is used: the browser's, Node's own and that of `ws` have it. */
interface Socket {
  readonly readyState: number
  onopen: (() => void) | null
  onmessage: ((event: { readonly data: unknown }) => void) | null
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null
  onerror: ((event: unknown) => void) | null
  send(text: string): void
  close(code?: number): void
  /** Of `ws`: without a closing handshake, which nobody would answer. */
  terminate?(): void
}

/** The class of a WebSocket: the browser's, Node's own or that of `ws`. */
export type WebSocketClass = new (url: string) => object

export interface ConnectionOptions {
  readonly WebSocket: WebSocketClass
  readonly url: string
  /** Sent as the first message; absent where the URL says who is there, or nobody does. */
  readonly credential: { readonly token: string } | { readonly apiKey: string } | undefined
  /** Between heartbeats; 0: none, and a dead connection is noticed by the operating system alone. */
  readonly heartbeatMs: number
  readonly openTimeoutMs: number
}

export interface ConnectionListener {
  /** Admitted: commands may be sent. */
  ready(): void
  event(event: AnyEvent): void
  message(message: ServerMessage): void
  /** Once. 1006 where the connection was found dead. */
  closed(code: number, reason: string): void
}

type Answer = ServerMessage

/** Told at once, before the next message is looked at: what follows an answer is to be seen in its light. */
export interface Request {
  /** Made when it is sent, by what is known then. */
  readonly command: () => Command
  readonly answered?: (answer: Answer) => void
  readonly failed?: (error: FeedgateError) => void
}

const OPEN = 1
/** Silence of so many heartbeats means that the connection is dead, whatever the operating system believes. */
const SILENT_BEATS = 2.5
/** Where an error does not say when to ask again. */
const RETRY_MS = 1_000

/**
 * One connection, from its socket to its end. Commands are answered one after the other: what is refused for the rate
 * (429), or for now (503), is asked again before any later one, so that their order holds.
 */
export class Connection {
  readonly #options: ConnectionOptions
  readonly #listener: ConnectionListener
  readonly #socket: Socket
  /** Bounded by what its owner wants: on a new connection all is asked anew. */
  readonly #waiting: Request[] = []
  #asked: (Request & { readonly id: number }) | undefined
  #lastId = 0
  #ready = false
  #ended = false
  #heardAt = performance.now()
  #checkedAt = performance.now()
  #watch: ReturnType<typeof setInterval> | undefined
  #pause: ReturnType<typeof setTimeout> | undefined

  /** Throws where the URL is none. */
  constructor(options: ConnectionOptions, listener: ConnectionListener) {
    this.#options = options
    this.#listener = listener
    const socket = new options.WebSocket(options.url) as Socket
    this.#socket = socket
    this.#pause = setTimeout(() => this.#die('no connection in time'), options.openTimeoutMs)
    socket.onopen = () => this.#opened()
    socket.onmessage = ({ data }) => this.#receive(data)
    socket.onclose = ({ code, reason }) => this.#end(code, reason)
    // Whatever it is, a close follows.
    socket.onerror = () => {}
  }

  /** Messages of clients who have not said who they are may be 16 KiB, of others 256 KiB. */
  get maxCommandBytes(): number {
    return this.#options.credential ? 200_000 : 15_000
  }

  /** Never answered where the connection ends first. */
  request(request: Request): void {
    this.#waiting.push(request)
    this.#askNext()
  }

  /** A new token on the live connection. The answer is told as a message. */
  refresh(token: string): void {
    this.#send({ type: 'auth', token, id: ++this.#lastId })
  }

  close(): void {
    this.#end(1000, 'closed by the client')
    this.#socket.close(1000)
  }

  #opened(): void {
    const { credential, heartbeatMs } = this.#options
    this.#heardAt = this.#checkedAt = performance.now()
    if (heartbeatMs > 0) this.#watch = setInterval(() => this.#check(), heartbeatMs / 2)
    if (credential) this.#send({ type: 'auth', ...credential, id: ++this.#lastId })
    else this.#beReady()
  }

  #beReady(): void {
    if (this.#ready) return
    this.#ready = true
    clearTimeout(this.#pause)
    this.#pause = undefined
    const { heartbeatMs } = this.#options
    if (heartbeatMs > 0)
      this.request({ command: () => ({ type: 'heartbeat', intervalMs: heartbeatMs, heads: true }) })
    this.#listener.ready()
  }

  #receive(data: unknown): void {
    this.#heardAt = performance.now()
    let frame: unknown
    try {
      frame = JSON.parse(String(data))
    } catch {
      this.#die('the gateway sent what is no JSON')
      return
    }
    for (const message of Array.isArray(frame) ? frame : [frame]) {
      if (this.#ended) return
      if (typeof message?.seq === 'number') this.#listener.event(message as AnyEvent)
      else this.#take(message as ServerMessage)
    }
  }

  #take(message: ServerMessage): void {
    const { id } = message as { readonly id?: unknown }
    const asked = this.#asked
    this.#listener.message(message)
    if (asked && id === asked.id) {
      this.#asked = undefined
      if (message.type !== 'error') asked.answered?.(message)
      else if (message.code === 429 || message.code === 503) this.#askAgain(asked, message.retryAfterMs)
      else asked.failed?.(new FeedgateError(message.code, message.name, message.message))
    }
    if (message.type === 'authenticated') this.#beReady()
    this.#askNext()
  }

  #askAgain(request: Request, inMs = RETRY_MS): void {
    this.#waiting.unshift(request)
    this.#pause = setTimeout(() => {
      this.#pause = undefined
      this.#askNext()
    }, inMs)
  }

  #askNext(): void {
    if (!this.#ready || this.#asked || this.#pause !== undefined) return
    const next = this.#waiting.shift()
    if (!next) return
    this.#asked = { ...next, id: ++this.#lastId }
    this.#send({ ...next.command(), id: this.#asked.id })
  }

  #send(command: Command): void {
    if (this.#socket.readyState === OPEN) this.#socket.send(JSON.stringify(command))
  }

  #check(): void {
    const now = performance.now()
    const { heartbeatMs } = this.#options
    // This program, or the machine, was asleep: what came meanwhile is read first.
    const late = now - this.#checkedAt > heartbeatMs
    this.#checkedAt = now
    if (!late && now - this.#heardAt > SILENT_BEATS * heartbeatMs) this.#die('nothing heard')
  }

  /** The socket may never say that it is closed. */
  #die(reason: string): void {
    this.#end(1006, reason)
    if (this.#socket.terminate) this.#socket.terminate()
    else this.#socket.close()
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return
    this.#ended = true
    clearInterval(this.#watch)
    clearTimeout(this.#pause)
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null
    this.#listener.closed(code, reason)
  }
}
