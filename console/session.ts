import type { Message, Wanted } from './events.ts'

export type LinkState = 'connecting' | 'live' | 'waiting' | 'signed-out'

export interface SessionListener {
  state(state: LinkState, detail: string): void
  message(message: Message): void
  /** No token without a key: ask for one. `reason` is empty the first time. */
  signIn(reason: string): void
}

const BASE_MS = 500
const CAP_MS = 15_000
const PING_MS = 10_000
/** Nothing heard for this long: the connection is dead, whatever the browser believes. */
const SILENT_MS = 25_000
/** Tokens are replaced this long before they end. */
const REFRESH_MS = 90_000

/**
 * The console's one connection: a token kept in memory, a socket that comes back by itself, and the subscriptions that
 * are wanted, asked again after each reconnect.
 */
export class Session {
  readonly #listener: SessionListener
  /** By slot (`prices`, `candles`, …): a handful. */
  readonly #wanted = new Map<string, Wanted>()
  #token = ''
  #tokenEndsAt = 0
  #apiKey = ''
  #socket: WebSocket | undefined
  #attempt = 0
  #heardAt = 0
  #requestId = 0
  #retry: ReturnType<typeof setTimeout> | undefined
  #refresh: ReturnType<typeof setTimeout> | undefined

  constructor(listener: SessionListener) {
    this.#listener = listener
    setInterval(() => this.#watch(), PING_MS)
    addEventListener('online', () => this.#reconnectIn(0))
  }

  start(): void {
    void this.#connect()
  }

  signIn(apiKey: string): void {
    this.#apiKey = apiKey
    this.#token = ''
    void this.#connect()
  }

  /** What slot `slot` is to receive from now on; undefined: nothing. */
  want(slot: string, subscribe: Wanted | undefined): void {
    const before = this.#wanted.get(slot)
    if (JSON.stringify(before) === JSON.stringify(subscribe)) return
    if (before) {
      this.#wanted.delete(slot)
      const { depth: _, ...topic } = before
      this.#send({ type: 'unsubscribe', id: ++this.#requestId, ...topic })
    }
    if (!subscribe) return
    this.#wanted.set(slot, subscribe)
    this.#subscribe(subscribe)
  }

  /** Asks again for what a slot has, for a new snapshot. */
  again(slot: string): void {
    const subscribe = this.#wanted.get(slot)
    if (subscribe) this.#subscribe(subscribe)
  }

  /** JSON of a REST route. Rejects with a sentence. */
  async get(path: string, signal?: AbortSignal): Promise<unknown> {
    const response = await fetch(path, {
      headers: { authorization: `Bearer ${await this.#freshToken()}` },
      ...(signal ? { signal } : {}),
    })
    if (!response.ok) throw new Error(await problem(response))
    return response.json()
  }

  #subscribe(subscribe: Wanted): void {
    this.#send({ type: 'subscribe', id: ++this.#requestId, ...subscribe, snapshot: true })
  }

  #send(message: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message))
  }

  async #connect(): Promise<void> {
    clearTimeout(this.#retry)
    if (this.#socket) return
    this.#listener.state('connecting', this.#attempt === 0 ? '' : `attempt ${this.#attempt + 1}`)
    try {
      await this.#freshToken()
    } catch (error) {
      if (error instanceof NeedsKey) return this.#askForKey(error.message)
      return this.#backOff(error instanceof Error ? error.message : 'no answer')
    }
    if (this.#socket) return
    const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`)
    this.#socket = socket
    this.#heardAt = performance.now()
    socket.onopen = () => {
      this.#send({ type: 'auth', token: this.#token, batch: true })
      for (const subscribe of this.#wanted.values()) this.#subscribe(subscribe)
    }
    socket.onmessage = ({ data }) => this.#receive(String(data))
    socket.onclose = ({ code }) => this.#closed(socket, code)
  }

  #receive(text: string): void {
    this.#heardAt = performance.now()
    let frame: unknown
    try {
      frame = JSON.parse(text)
    } catch {
      return
    }
    for (const message of (Array.isArray(frame) ? frame : [frame]) as Message[]) {
      if (message.type === 'authenticated') {
        this.#attempt = 0
        this.#listener.state('live', '')
      } else if (message.type === 'token.expiring') void this.#renew()
      this.#listener.message(message)
    }
  }

  #closed(socket: WebSocket, code: number): void {
    if (this.#socket !== socket) return
    this.#socket = undefined
    // The close codes of the gateway: 40xx the credential, 42xx come back now, others after a while.
    if (code >= 4000 && code < 4100) this.#token = ''
    if (code >= 4200 && code < 4300 && this.#attempt === 0) this.#reconnectIn(Math.random() * BASE_MS)
    else this.#backOff(`closed (${code})`)
  }

  /** Exponential, with full jitter, so that a thousand consoles do not come back at the same moment. */
  #backOff(reason: string): void {
    const ms = Math.random() * Math.min(CAP_MS, BASE_MS * 2 ** this.#attempt)
    this.#attempt++
    this.#listener.state('waiting', `${reason}, again in ${(ms / 1_000).toFixed(1)} s`)
    this.#reconnectIn(ms)
  }

  #reconnectIn(ms: number): void {
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => void this.#connect(), ms)
  }

  #watch(): void {
    const socket = this.#socket
    if (!socket) return
    if (performance.now() - this.#heardAt < SILENT_MS) this.#send({ type: 'ping' })
    else {
      socket.onclose = null
      socket.close()
      this.#closed(socket, 1006)
    }
  }

  async #freshToken(): Promise<string> {
    if (this.#token === '' || Date.now() > this.#tokenEndsAt) await this.#fetchToken()
    return this.#token
  }

  async #fetchToken(): Promise<void> {
    const response = this.#apiKey
      ? await fetch('/auth/token', { method: 'POST', headers: { 'x-api-key': this.#apiKey } })
      : await fetch('/console/token', { method: 'POST' })
    if ([401, 403, 404].includes(response.status)) {
      const reason = this.#apiKey ? await problem(response) : ''
      this.#apiKey = ''
      throw new NeedsKey(reason)
    }
    if (!response.ok) throw new Error(await problem(response))
    const { accessToken, expiresIn } = (await response.json()) as { accessToken: string; expiresIn: number }
    this.#token = accessToken
    this.#tokenEndsAt = Date.now() + expiresIn * 1_000
    clearTimeout(this.#refresh)
    this.#refresh = setTimeout(
      () => void this.#renew(),
      Math.max(expiresIn * 500, expiresIn * 1_000 - REFRESH_MS),
    )
  }

  /** A new token for the live connection; where that fails, the gateway's close starts the usual way back. */
  async #renew(): Promise<void> {
    try {
      await this.#fetchToken()
      this.#send({ type: 'auth', token: this.#token, batch: true })
    } catch (error) {
      if (error instanceof NeedsKey) this.#askForKey(error.message)
    }
  }

  #askForKey(reason: string): void {
    this.#listener.state('signed-out', 'sign in with an API key')
    this.#listener.signIn(reason)
  }
}

class NeedsKey extends Error {}

/** The sentence of a problem document, else the status. */
async function problem(response: Response): Promise<string> {
  const body = (await response.json().catch(() => undefined)) as
    | { detail?: string; title?: string }
    | undefined
  return body?.detail ?? body?.title ?? `HTTP ${response.status}`
}
