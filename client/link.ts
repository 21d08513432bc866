import { backoffMs, FeedgateError, FORBIDDEN, returnAfter } from './closing.ts'
import { Connection, type WebSocketClass } from './connection.ts'
import type { AnyEvent } from './events.ts'
import type { ErrorMessage, ServerMessage } from './wire.ts'

type MaybePromise<T> = T | Promise<T>

export interface LinkOptions {
  /** The gateway's `/ws`, or the gateway: `ws://localhost:8080`, `https://feed.example.com` … */
  readonly url: string
  /** An API key. Not for browsers: whoever opens the page can read it. */
  readonly apiKey?: string
  /** A JWT, or what gives one: asked before each connection and whenever the one in use is about to end. */
  readonly token?: string | (() => MaybePromise<string>)
  /** Gives a ticket of `POST /auth/ticket`, asked before each connection: for browsers, from a server of one's own. */
  readonly ticket?: () => MaybePromise<string>
  /** Asks for compressed frames, where the `WebSocket` takes them: fewer bytes, and a little later. */
  readonly compress?: boolean
  /** Between heartbeats, 1,000 to 60,000; 2.5 of them without a message: the connection is dead. 0: none. */
  readonly heartbeatMs?: number
  /** Waits between attempts: full jitter below `baseMs * 2 ** attempt`, at most `capMs`. */
  readonly backoff?: { readonly baseMs?: number; readonly capMs?: number }
  /** For a connection to be open and admitted. */
  readonly openTimeoutMs?: number
  /** Where there is no global one (Node below 22): that of the package `ws`. */
  readonly WebSocket?: WebSocketClass
}

export type LinkState =
  | { readonly state: 'connecting'; readonly attempt: number }
  | { readonly state: 'open' }
  /** `code`: how the last connection was closed; 0 where there was none, as when no token was given. */
  | {
      readonly state: 'waiting'
      readonly attempt: number
      readonly retryInMs: number
      readonly code: number
      readonly reason: string
    }
  | { readonly state: 'closed'; readonly error?: FeedgateError }

export interface LinkListener {
  ready(connection: Connection): void
  event(event: AnyEvent): void
  message(message: ServerMessage): void
  lost(): void
  state(state: LinkState): void
}

/** A connection that stood so long was a good one: the next attempt is a first one. */
const STABLE_MS = 5_000

/** A token that lives for less than the gateway's notice is about to end from the start: it is not asked for on and on. */
const REFRESH_EVERY_MS = 30_000

/** Keeps a connection: comes back as the close codes say, with what it takes to be admitted. */
export class Link {
  readonly #options: LinkOptions
  readonly #listener: LinkListener
  readonly #class: WebSocketClass
  readonly #url: URL
  #connection: Connection | undefined
  #readyAt: number | undefined
  #refreshedAt = Number.NEGATIVE_INFINITY
  #attempt = 0
  /** Times in a row that the credential was refused. */
  #refusals = 0
  #closed = false
  #lastError: ErrorMessage | undefined
  #reconnectInMs: number | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  readonly #online = () => {
    if (this.#timer !== undefined) void this.#connect()
  }

  /** Throws what is wrong with the options. */
  constructor(options: LinkOptions, listener: LinkListener) {
    this.#options = options
    this.#listener = listener
    this.#class = webSocketOf(options)
    this.#url = urlOf(options.url)
    if ([options.apiKey, options.token, options.ticket].filter((given) => given !== undefined).length > 1)
      throw new TypeError('give one of apiKey, token and ticket')
    // Of browsers: the network is back.
    globalThis.addEventListener?.('online', this.#online)
    this.#timer = setTimeout(() => void this.#connect())
  }

  /** The connection, while it may be used. */
  get ready(): Connection | undefined {
    return this.#readyAt === undefined ? undefined : this.#connection
  }

  close(error?: FeedgateError): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    globalThis.removeEventListener?.('online', this.#online)
    this.#connection?.close()
    this.#listener.state(error ? { state: 'closed', error } : { state: 'closed' })
  }

  async #connect(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#listener.state({ state: 'connecting', attempt: this.#attempt })
    try {
      const { url, credential } = await this.#admission()
      if (this.#closed) return
      const { heartbeatMs = 5_000, openTimeoutMs = 10_000 } = this.#options
      this.#lastError = this.#reconnectInMs = undefined
      this.#connection = new Connection(
        { WebSocket: this.#class, url, credential, heartbeatMs, openTimeoutMs },
        {
          ready: () => this.#opened(),
          event: (event) => this.#listener.event(event),
          message: (message) => this.#heard(message),
          closed: (code, reason) => this.#lost(code, reason),
        },
      )
    } catch (error) {
      if (!this.#closed)
        this.#wait(this.#backoff(), 0, error instanceof Error ? error.message : String(error))
    }
  }

  /** What the URL and the first message say of who is there. */
  async #admission(): Promise<{
    url: string
    credential: { token: string } | { apiKey: string } | undefined
  }> {
    const { apiKey, token, ticket, compress = false } = this.#options
    const url = new URL(this.#url)
    url.searchParams.set('batch', 'true')
    if (compress) url.searchParams.set('compress', 'true')
    if (ticket) url.searchParams.set('ticket', await ticket())
    const given = typeof token === 'function' ? await token() : token
    const credential = apiKey !== undefined ? { apiKey } : given !== undefined ? { token: given } : undefined
    return { url: url.href, credential }
  }

  #opened(): void {
    this.#readyAt = performance.now()
    this.#listener.state({ state: 'open' })
    this.#listener.ready(this.#connection!)
  }

  #heard(message: ServerMessage): void {
    if (message.type === 'error') this.#lastError = message
    else if (message.type === 'shutdown') this.#reconnectInMs = message.reconnectInMs
    else if (message.type === 'token.expiring') void this.#refresh()
    this.#listener.message(message)
  }

  /** Where no token is given now, the gateway closes with 4003, and the next connection asks for one again. */
  async #refresh(): Promise<void> {
    const { token } = this.#options
    const connection = this.#connection
    const now = performance.now()
    if (typeof token !== 'function' || now < this.#refreshedAt + REFRESH_EVERY_MS) return
    this.#refreshedAt = now
    try {
      const fresh = await token()
      if (connection === this.#connection) connection?.refresh(fresh)
    } catch {}
  }

  #lost(code: number, reason: string): void {
    const stood = this.#readyAt === undefined ? 0 : performance.now() - this.#readyAt
    this.#connection = this.#readyAt = undefined
    this.#listener.lost()
    if (this.#closed) return
    if (stood > STABLE_MS) this.#attempt = this.#refusals = 0
    const said = this.#lastError?.message ?? reason
    const how = returnAfter(code)
    if (how === 'stop' && !this.#mayBeAdmitted(code))
      this.close(new FeedgateError(code, this.#lastError?.name ?? 'closed', said))
    else {
      const backoff = this.#backoff()
      const now = how === 'now' && (this.#reconnectInMs !== undefined || this.#attempt === 1)
      this.#wait(now ? (this.#reconnectInMs ?? 0) : backoff, code, said)
    }
  }

  /** With another token or ticket; once. */
  #mayBeAdmitted(code: number): boolean {
    const { token, ticket } = this.#options
    return code !== FORBIDDEN && (ticket !== undefined || typeof token === 'function') && ++this.#refusals < 2
  }

  #backoff(): number {
    const { baseMs = 500, capMs = 30_000 } = this.#options.backoff ?? {}
    return backoffMs(this.#attempt++, baseMs, capMs)
  }

  #wait(retryInMs: number, code: number, reason: string): void {
    this.#timer = setTimeout(() => void this.#connect(), retryInMs)
    this.#listener.state({ state: 'waiting', attempt: this.#attempt, retryInMs, code, reason })
  }
}

function webSocketOf({ WebSocket }: LinkOptions): WebSocketClass {
  const found = WebSocket ?? (globalThis as { readonly WebSocket?: WebSocketClass }).WebSocket
  if (found) return found
  throw new TypeError('this runtime has no WebSocket: give that of the package ws, { WebSocket }')
}

function urlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url) url.protocol = url.protocol.replace(/^http/, 'ws')
  if (url?.protocol !== 'ws:' && url?.protocol !== 'wss:')
    throw new TypeError(`${text} is no address of a gateway: give ws://, wss://, http:// or https://`)
  if (url.pathname === '/') url.pathname = '/ws'
  return url
}
