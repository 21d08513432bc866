/** Of the two endpoints of the first system, which the tiers' limits of connections and commands do not count. */
const MAX_CONNECTIONS = 100
const MESSAGES_PER_SECOND = 20
const MESSAGES_BURST = 40

interface Address {
  connections: number
  tokens: number
  /** Monotonic ms of the last refill. */
  at: number
}

/** How much one address may do. As many entries as addresses with an open connection. */
export class AddressLimits {
  readonly #addresses = new Map<string, Address>()

  /** Takes a connection; the answer gives it back. Undefined: it has too many. */
  connect(name: string): (() => void) | undefined {
    let address = this.#addresses.get(name)
    if (!address) {
      address = { connections: 0, tokens: MESSAGES_BURST, at: performance.now() }
      this.#addresses.set(name, address)
    }
    if (address.connections >= MAX_CONNECTIONS) return undefined
    address.connections++
    return () => {
      if (--address.connections === 0) this.#addresses.delete(name)
    }
  }

  /** One message of a connected address. */
  mayCommand(name: string): boolean {
    const address = this.#addresses.get(name)
    if (!address) return false
    const now = performance.now()
    const refilled = address.tokens + ((now - address.at) / 1_000) * MESSAGES_PER_SECOND
    address.tokens = Math.min(MESSAGES_BURST, refilled)
    address.at = now
    if (address.tokens < 1) return false
    address.tokens--
    return true
  }
}
