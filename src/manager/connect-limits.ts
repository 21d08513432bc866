import type { Connector } from '../connectors/connector.ts'
import { type Pacer, venuePacer } from '../pacer.ts'

interface Host {
  readonly pacer: Pacer
  /** Monotonic ms. */
  silentUntil: number
}

/**
 * A venue counts connection attempts by address, so all sources of one kind and host share its limit, and are silent
 * together for as long as it asked one of them to be.
 */
export class ConnectLimits {
  /** One for each kind and host in the settings and admins' requests. */
  readonly #hosts = new Map<string, Host>()

  /** ms until another attempt is allowed; 0: now. */
  waitMs(connector: Connector, url: string | undefined): number {
    const { pacer, silentUntil } = this.#host(connector, url)
    return Math.max(0, Math.ceil(silentUntil - performance.now()), pacer.waitMs())
  }

  /** The answer is to be called when the attempt came to something: the venue has counted it by then. */
  spend(connector: Connector, url: string | undefined): () => void {
    return this.#host(connector, url).pacer.spend()
  }

  /** The venue refused one for now. */
  silence(connector: Connector, url: string | undefined, ms: number): void {
    const host = this.#host(connector, url)
    host.silentUntil = Math.max(host.silentUntil, performance.now() + ms)
  }

  #host({ kind, connects }: Connector, url = ''): Host {
    const key = `${kind} ${URL.canParse(url) ? new URL(url).host : url}`
    let host = this.#hosts.get(key)
    if (!host) {
      host = { pacer: venuePacer(connects), silentUntil: 0 }
      this.#hosts.set(key, host)
    }
    return host
  }
}
