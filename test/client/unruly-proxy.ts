import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** A network between clients and a gateway that cuts, delays and goes dead on request. */
export class UnrulyProxy {
  /** Before a new connection is passed on: later ones may overtake it. */
  connectDelayMs: () => number = () => 0
  connections = 0
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  readonly #server: Server

  constructor(target: string) {
    const { hostname, port } = new URL(target)
    this.#server = createServer((client) => {
      this.connections++
      client.pause().on('error', () => {})
      setTimeout(() => this.#join(client, connect(Number(port), hostname)), this.connectDelayMs())
    }).listen(0, '127.0.0.1')
  }

  async url(): Promise<string> {
    if (!this.#server.address()) await once(this.#server, 'listening')
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  #join(client: Socket, gateway: Socket): void {
    const pair = [client, gateway] as const
    this.#pairs.add(pair)
    for (const socket of pair) {
      socket.on('error', () => {})
      socket.on('close', () => {
        client.destroy()
        gateway.destroy()
        this.#pairs.delete(pair)
      })
    }
    client.pipe(gateway)
    gateway.pipe(client)
  }

  /** Every connection, in the middle of whatever it is saying. */
  cut(): void {
    for (const [client, gateway] of this.#pairs) {
      client.resetAndDestroy()
      gateway.destroy()
    }
  }

  /** Nothing comes through any more, and nobody is told. New connections are well. */
  goDead(): void {
    for (const [client, gateway] of this.#pairs) {
      client.unpipe(gateway)
      gateway.unpipe(client)
      client.resume()
      gateway.resume()
    }
  }

  /** Holds back what comes for so long. */
  async stall(ms: number): Promise<void> {
    const held = [...this.#pairs]
    for (const [client, gateway] of held) gateway.unpipe(client)
    await new Promise((resolve) => setTimeout(resolve, ms))
    for (const [client, gateway] of held) gateway.pipe(client)
  }

  close(): Promise<void> {
    this.cut()
    return new Promise((done) => this.#server.close(() => done()))
  }
}
