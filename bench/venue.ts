import { once } from 'node:events'
import { WebSocketServer } from 'ws'

export const SYMBOLS = Array.from({ length: 100 }, (_, i) => `S${String(i).padStart(2, '0')}`)

/** The machine's monotonic clock, the same for all its processes. */
export const micros = () => Number(process.hrtime.bigint() / 1_000n)

/**
 * A venue that sends Binance trades at a rate, spread over all symbols, once it is told to. Each carries the time of its
 * write (`micros`) as its price. Ids count from 1 in each symbol.
 */
export class Venue {
  readonly #server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  readonly #ids = new Array<number>(SYMBOLS.length).fill(0)
  /** Asked for, of any connection. */
  readonly streams = new Set<string>()
  /** In the last run. */
  sent = 0

  constructor() {
    this.#server.on('connection', (socket) => {
      socket.on('message', (data) => {
        const message = JSON.parse(String(data)) as { id?: number; params?: string[] }
        for (const stream of message.params ?? []) this.streams.add(stream)
        socket.send(JSON.stringify({ result: null, id: message.id }))
      })
    })
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as { port: number }).port}`
  }

  /** The newest id of each symbol. */
  get ids(): readonly number[] {
    return this.#ids
  }

  async listening(): Promise<this> {
    if (!this.#server.address()) await once(this.#server, 'listening')
    return this
  }

  async run(perSecond: number, seconds: number): Promise<void> {
    this.sent = 0
    const began = performance.now()
    let next = 0
    while (performance.now() - began < seconds * 1_000) {
      const due = Math.floor(((performance.now() - began) / 1_000) * perSecond)
      while (this.sent < due) {
        this.#send(next)
        next = (next + 1) % SYMBOLS.length
        this.sent++
      }
      await new Promise((tick) => setTimeout(tick, 1))
    }
  }

  #send(index: number): void {
    const symbol = `${SYMBOLS[index]}USDT`
    const now = Date.now()
    const id = ++this.#ids[index]!
    const frame = `{"stream":"${symbol.toLowerCase()}@aggTrade","data":{"e":"aggTrade","E":${now},"s":"${symbol}","a":${id},"p":"${micros()}","q":"58.00000000","f":${id},"l":${id},"T":${now},"m":false,"M":true}}`
    for (const socket of this.#server.clients) socket.send(frame)
  }

  close(): void {
    for (const socket of this.#server.clients) socket.terminate()
    this.#server.close()
  }
}
