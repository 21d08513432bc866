import { setTimeout as sleep } from 'node:timers/promises'
import { CHANNELS, type Channel } from '../../src/market/event.ts'
import { Client, type Message } from '../whole/program.ts'

export type Place = readonly [epoch: number, seq: number]

/** An event as a client saw it. */
export interface Seen {
  readonly epoch: number
  readonly seq: number
  readonly prev?: number
  readonly prevSent?: Place
  readonly prevEpoch?: number
  readonly prevSeq?: number
  /** The connection on which it came, from 0. */
  readonly connection: number
}

const CHANNEL_OF = new Map(
  Object.entries(CHANNELS).map(([channel, { type }]) => [type as string, channel as Channel]),
)
const RETRY_MS = 100

/** A client that is there all the time: when its gateway is gone it goes to the next one, and it notes what it saw. */
export class Listener {
  /** By topic id, in the order of arrival. */
  readonly seen = new Map<string, Seen[]>()
  /** Messages that are no events: `resync`, `slow`, `error`, … */
  readonly notices: Message[] = []
  connections = 0
  /** Subscriptions refused, in whole or in part; asked for again, as a patient client does. */
  refusals = 0
  readonly #urls: readonly string[]
  readonly #apiKey: string
  readonly #subscriptions: readonly object[]
  #client: Client | undefined
  #closed = false
  #running: Promise<void> | undefined

  /** `urls`: of the gateways, `http://…`; the first one is the first choice. */
  constructor(urls: readonly string[], apiKey: string, subscriptions: readonly object[]) {
    this.#urls = urls
    this.#apiKey = apiKey
    this.#subscriptions = subscriptions
  }

  open(): this {
    this.#running ??= this.#run()
    return this
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#client?.close()
    await this.#running
  }

  count(): number {
    return [...this.seen.values()].reduce((sum, events) => sum + events.length, 0)
  }

  /** For a message when something else was expected. */
  describe(): string {
    return `${this.count()} events on ${this.connections} connections, last notices ${JSON.stringify(this.notices.slice(-3))}`
  }

  async #run(): Promise<void> {
    for (let attempt = 0; !this.#closed; attempt++) {
      const client = new Client(`${this.#urls[attempt % this.#urls.length]}/ws`, {
        'x-api-key': this.#apiKey,
      })
      this.#client = client
      const connection = this.connections
      client.socket.on('open', () => {
        this.connections++
        for (const id of this.#subscriptions.keys()) this.#subscribe(client, id)
      })
      client.socket.on('message', () => {
        const messages = client.messages.splice(0)
        this.#take(messages, connection)
        for (const { type, id, rejected, retryAfterMs = 0 } of messages) {
          if (type !== 'error' && !(type === 'subscribed' && rejected)) continue
          this.refusals++
          setTimeout(() => this.#subscribe(client, id as number), Math.max(RETRY_MS, retryAfterMs as number))
        }
      })
      await client.closed
      if (!this.#closed) await sleep(RETRY_MS)
    }
  }

  #subscribe(client: Client, id: number): void {
    if (client.socket.readyState !== client.socket.OPEN) return
    client.send({ type: 'subscribe', id, ...this.#subscriptions[id] })
  }

  #take(messages: readonly Message[], connection: number): void {
    for (const message of messages) {
      if (typeof message.epoch !== 'number' || message.v !== 1) {
        this.notices.push(message)
        continue
      }
      const { source, epoch, seq, prev, prevSent, prevEpoch, prevSeq } = message as unknown as Seen & {
        source: string
      }
      const channel = message.type === 'gap' ? message.channel : CHANNEL_OF.get(message.type!)
      const subject = message.symbol ?? message.eventId ?? message.conversationId
      const topic = [source, channel, subject, ...(message.timeframe ? [message.timeframe] : [])].join('|')
      const events = this.seen.get(topic) ?? []
      if (events.length === 0) this.seen.set(topic, events)
      events.push({ epoch, seq, prev, prevSent, prevEpoch, prevSeq, connection } as Seen)
    }
  }
}

export interface Reading {
  /** Events, each counted once. */
  readonly events: number
  /** Places where the client saw by `epoch`, `seq` and `prev` that something is missing. */
  readonly holes: number
  /** Events that are stored between two that the client saw and had to take for neighbours. */
  readonly undetected: readonly Place[]
  /** Seen by the client and not stored. */
  readonly unstored: readonly Place[]
  /** Came a second time, or after a later one, on one connection. */
  readonly disordered: readonly Place[]
}

/**
 * What a client of one topic of the class `event` could know, held against what is stored (in order). Between two
 * connections nothing is promised without resume: there the client always knows that it may have missed something.
 */
export function readAgainst(seen: readonly Seen[], stored: readonly Place[]): Reading {
  const rank = new Map(stored.map(([epoch, seq], at) => [`${epoch}/${seq}`, at]))
  const events = new Set<string>()
  const undetected: Place[] = []
  const unstored: Place[] = []
  const disordered: Place[] = []
  let holes = 0
  for (const [at, event] of seen.entries()) {
    const place = `${event.epoch}/${event.seq}`
    if (!rank.has(place)) unstored.push([event.epoch, event.seq])
    events.add(place)
    const before = seen[at - 1]
    if (before?.connection !== event.connection) continue
    if (event.epoch < before.epoch || (event.epoch === before.epoch && event.seq <= before.seq)) {
      disordered.push([event.epoch, event.seq])
    } else if (!isNeighbour(before, event)) {
      holes++
    } else {
      const from = rank.get(`${before.epoch}/${before.seq}`)
      const to = rank.get(place)
      if (from !== undefined && to !== undefined) undetected.push(...stored.slice(from + 1, to))
    }
  }
  return { events: events.size, holes, undetected, unstored, disordered }
}

/** Must a client that reads the numbers as the contract says take them for neighbours? */
function isNeighbour(before: Seen, event: Seen): boolean {
  if (before.epoch === event.epoch) return event.seq === before.seq + 1
  return event.seq === 1 && event.prevEpoch === before.epoch && event.prevSeq! <= before.seq
}
