import type { Connector } from '../connectors/connector.ts'
import { Pacer } from '../pacer.ts'

/** A venue counts connection attempts by address, so all sources of one kind and host share its limit. */
export class ConnectLimits {
  /** One for each kind and URL in the settings and admins' requests. */
  readonly #pacers = new Map<string, Pacer>()

  /** ms until another attempt is allowed; 0: now. */
  waitMs(connector: Connector, url: string | undefined): number {
    return this.#pacer(connector, url).waitMs()
  }

  spend(connector: Connector, url: string | undefined): void {
    this.#pacer(connector, url).spend()
  }

  #pacer({ kind, connects }: Connector, url = ''): Pacer {
    const key = `${kind} ${url}`
    let pacer = this.#pacers.get(key)
    if (!pacer) {
      pacer = new Pacer(connects.count, connects.perMs)
      this.#pacers.set(key, pacer)
    }
    return pacer
  }
}
