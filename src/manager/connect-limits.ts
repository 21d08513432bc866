import type { Connector, LinkOptions } from '../connectors/connector.ts'
import { type Pacer, venuePacer } from '../pacer.ts'

interface Host {
  readonly pacer: Pacer
  /** Monotonic ms. */
  silentUntil: number
}

/** Where an attempt leads, and from where. */
export type Route = Pick<LinkOptions, 'url' | 'via'>

/**
 * A venue counts connection attempts by address, so all sources of one kind, host and node share its limit, and are silent
 * together for as long as it asked one of them to be.
 */
export class ConnectLimits {
  /** One for each kind, host and node in the settings and admins' requests. */
  readonly #hosts = new Map<string, Host>()

  /** ms until another attempt is allowed; 0: now. */
  waitMs(connector: Connector, route: Route): number {
    const { pacer, silentUntil } = this.#host(connector, route)
    return Math.max(0, Math.ceil(silentUntil - performance.now()), pacer.waitMs())
  }

  /** The answer is to be called when the attempt came to something: the venue has counted it by then. */
  spend(connector: Connector, route: Route): () => void {
    return this.#host(connector, route).pacer.spend()
  }

  /** The venue refused one for now. */
  silence(connector: Connector, route: Route, ms: number): void {
    const host = this.#host(connector, route)
    host.silentUntil = Math.max(host.silentUntil, performance.now() + ms)
  }

  #host({ kind, connects }: Connector, { url = '', via }: Route): Host {
    const key = `${kind} ${URL.canParse(url) ? new URL(url).host : url} ${via?.node ?? ''}`
    let host = this.#hosts.get(key)
    if (!host) {
      host = { pacer: venuePacer(connects), silentUntil: 0 }
      this.#hosts.set(key, host)
    }
    return host
  }
}
