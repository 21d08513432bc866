import type { GatewayPorts, Hub } from '../gateway.ts'
import { noPeers, type Peers } from '../peers.ts'
import type { Client } from './client.ts'
import { LiveClients } from './clients.ts'
import type { ConnectionLimits } from './connection.ts'
import { Feeds } from './feeds.ts'

export interface HubOptions extends ConnectionLimits {
  /** From the connection to the first message that says who is there. */
  readonly authTimeoutMs: number
  /** How often connections are looked at. */
  readonly checkMs: number
  /** Of pages in browsers, see `Origins`. */
  readonly allowedOrigins?: readonly string[]
}

const DEFAULTS: HubOptions = {
  pingMs: 20_000,
  backlogBytes: 256 * 1_024,
  stalledMs: 30_000,
  authTimeoutMs: 10_000,
  checkMs: 1_000,
}

/**
 * A write costs the same whatever it holds. So after a batch that took longer than this what comes meanwhile is joined,
 * while commands, pongs and whatever else the process does have their turn; one that was quicker leaves nothing waiting.
 */
const BUSY_MS = 1
const REST_MS = 1
/** So long others may wait while rights are looked at anew. */
const SLICE_MS = 5
/** Clients come back spread over this time. */
const RECONNECT_SPREAD_MS = 5_000

/** The client half of the gateway: what is followed, and who is connected. */
export class ClientHub implements Hub {
  readonly ports: GatewayPorts
  readonly options: HubOptions
  readonly feeds: Feeds
  readonly clients: LiveClients
  readonly #timer: NodeJS.Timeout
  readonly #stopListening: readonly (() => void)[]
  #closed: Promise<void> | undefined
  #cacheAway = false

  constructor(ports: GatewayPorts, options: HubOptions, peers: Peers) {
    this.ports = ports
    this.options = options
    this.feeds = new Feeds(ports)
    this.clients = new LiveClients(peers, ports.now())
    this.#stopListening = [
      ports.auth.onRevoked((keyId) => {
        for (const client of this.clients) client.keyRevoked(keyId)
      }),
      ports.auth.onRightsChanged((tenant) => void this.#lookAnew(tenant)),
    ]
    this.#timer = setInterval(() => this.#check(), options.checkMs).unref()
  }

  /** In slices: a tenant may have thousands of clients with hundreds of topics each. */
  async #lookAnew(tenant: string): Promise<void> {
    let began = performance.now()
    for (const client of [...this.clients]) {
      client.rightsChanged(tenant)
      if (performance.now() - began < SLICE_MS) continue
      await new Promise((resume) => setImmediate(resume))
      began = performance.now()
    }
  }

  async run(signal: AbortSignal): Promise<void> {
    const feed = this.ports.cache.subscribe(signal, (topic, position) => this.feeds.head(topic, position))
    this.feeds.upstream.listen(feed)
    for await (const events of feed) {
      const began = performance.now()
      this.feeds.take(events)
      if (performance.now() - began > BUSY_MS) await new Promise((resume) => setTimeout(resume, REST_MS))
    }
  }

  /** False: the hub is closing, and the connection with it. */
  add(client: Client): boolean {
    if (this.#closed) {
      this.#dismiss(client)
      return false
    }
    this.clients.add(client)
    return true
  }

  close(graceMs: number): Promise<void> {
    this.#closed ??= this.#shutDown(graceMs)
    return this.#closed
  }

  async #shutDown(graceMs: number): Promise<void> {
    this.feeds.fanout.flush()
    for (const client of this.clients) this.#dismiss(client)
    const deadline = performance.now() + graceMs
    while (this.clients.size > 0 && performance.now() < deadline)
      await new Promise((resume) => setTimeout(resume, 10))
    for (const { connection } of this.clients) connection.terminate()
    clearInterval(this.#timer)
    for (const stop of this.#stopListening) stop()
    this.feeds.close()
  }

  #dismiss({ connection, understandsShutdown }: Client): void {
    const reconnectInMs = Math.round(500 + Math.random() * RECONNECT_SPREAD_MS)
    if (understandsShutdown) connection.send({ type: 'shutdown', reconnectInMs })
    connection.close(4200, 'the gateway shuts down')
  }

  #check(): void {
    const now = performance.now()
    for (const { connection } of this.clients) connection.check(now)
    this.feeds.refresh()
    this.#checkCache()
  }

  /** Clients stay and are told: nothing live comes to them until the cache is back. */
  #checkCache(): void {
    const away = this.ports.cache.fault() !== undefined
    if (away === this.#cacheAway) return
    this.#cacheAway = away
    const notice = { type: 'source', attempt: 0 } as const
    this.feeds.tellSources(
      (source, last) => ({
        ...notice,
        ...{ source, symbol: source, receivedTime: this.ports.now() },
        ...(away
          ? { state: 'stale', reason: 'the cache is away: live events are delayed' }
          : { state: last?.state ?? 'connected', reason: 'the cache is back' }),
      }),
      away ? 'called off' : 'told',
    )
  }
}

export function createHub(
  ports: GatewayPorts,
  options: Partial<HubOptions> = {},
  peers = noPeers('local'),
): ClientHub {
  return new ClientHub(ports, { ...DEFAULTS, ...options }, peers)
}
