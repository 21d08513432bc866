import { setTimeout as sleep } from 'node:timers/promises'
import { CHANNELS, type Channel } from '../../src/market/event.ts'
import { bookChecksum } from '../../src/market/order-book.ts'
import { PlainBook } from '../gateway/ws/plain-book.ts'
import { Client, type Message } from '../whole/program.ts'
import type { Place } from './listener.ts'

const CHANNEL_OF = new Map(
  Object.entries(CHANNELS).map(([channel, { type }]) => [type as string, channel as Channel]),
)
/** The contract's checksum covers so many levels a side. */
const CHECKSUM_LEVELS = 25

/** `source|channel|subject`, as the gateway names topics. */
function topicOf({ type, source, channel, symbol }: Message): string {
  return `${source}|${type === 'gap' ? channel : CHANNEL_OF.get(type!)}|${symbol}`
}

/** What is younger came live, or as good as. */
const YOUNG_MS = 2_000

/** What may be waited for on a connection. */
interface Stay {
  /** The first event. */
  readonly came: Promise<unknown>
  /** What was missed is there. */
  readonly caughtUp: Promise<unknown>
}

/**
 * A client that is cut off again and again, and comes back with nothing but the positions that it holds itself. Of each
 * event it checks by `seq`, `prev` and `prevSent` that it follows the one before, and of each checksum that its book has
 * it.
 */
export class Resumer {
  /** By topic the places that came, in order: a run ends only where the gateway said that it cannot go on. */
  readonly runs = new Map<string, Place[][]>()
  /** What no client may ever see, a sentence each. */
  readonly faults: string[] = []
  events = 0
  /** `receivedTime` of the event that came last. */
  #newest = 0
  /** Positions that were sent with a subscription. */
  resumed = 0
  /** Topics that the gateway could not go on with, as often as it said so. */
  readonly unrecovered: string[] = []
  resyncs = 0
  refusals = 0
  /** Times that states and deltas were thinned, for this process did not read in time. */
  slows = 0
  verified = 0
  readonly #headers: Readonly<Record<string, string>>
  readonly #subscriptions: object[]
  readonly #heads = new Map<string, Place>()
  readonly #books = new Map<string, PlainBook>()

  constructor(apiKey: string, subscriptions: readonly object[]) {
    this.#headers = { 'x-api-key': apiKey }
    this.#subscriptions = [...subscriptions]
  }

  head(topic: string): Place | undefined {
    return this.#heads.get(topic)
  }

  /** One connection, from where it stands until `ends` resolves; then it is cut. */
  async stay(url: string, ends: (stay: Stay) => Promise<unknown>): Promise<void> {
    const client = new Client(`${url}/ws`, this.#headers)
    client.socket.on('message', () => {
      for (const message of client.messages.splice(0)) {
        this.#take(message)
        // A gateway that does not know the source yet, or is too busy: asked again, as a patient client does.
        if (message.type === 'error' || message.rejected) client.socket.terminate()
      }
    })
    const before = this.events
    const when = (is: () => boolean) =>
      new Promise<void>((done) =>
        client.socket.on('message', () => {
          if (is()) done()
        }),
      )
    const came = when(() => this.events > before)
    const caughtUp = when(() => this.events > before && this.#newest > (Date.now() - YOUNG_MS) * 1_000)
    client.socket.on('open', () => {
      for (const command of this.#commands()) client.send(command)
    })
    await Promise.race([ends({ came, caughtUp }), client.closed])
    client.socket.terminate()
    await client.closed
  }

  /**
   * Each position goes with the first subscription that covers it: those of sources with any. Another one is first each
   * time: what is cut off early is not always the same.
   */
  #commands(): object[] {
    const left = new Map(this.#heads)
    this.#subscriptions.push(this.#subscriptions.shift()!)
    return this.#subscriptions.map((subscription, id) => {
      const { channel } = subscription as { channel: string }
      const mine = [...left].filter(([topic]) => ['source', channel].includes(topic.split('|')[1]!))
      for (const [topic] of mine) left.delete(topic)
      this.resumed += mine.length
      return { type: 'subscribe', id, ...subscription, resume: Object.fromEntries(mine) }
    })
  }

  #take(message: Message): void {
    if (typeof message.epoch === 'number') this.#event(message)
    else if (message.type === 'subscribed') {
      if (message.rejected) this.refusals++
      for (const topic of (message.unrecovered ?? []) as string[]) {
        this.unrecovered.push(topic)
        this.#heads.delete(topic)
      }
    } else if (message.type === 'resync') {
      this.resyncs++
      this.runs.get(message.topic as string)?.push([])
    } else if (message.type === 'error') this.refusals++
    else if (message.type === 'slow') this.slows++
  }

  #event(event: Message): void {
    const topic = topicOf(event)
    const place: Place = [event.epoch as number, event.seq as number]
    const head = this.#heads.get(topic)
    const runs = this.runs.get(topic) ?? []
    if (runs.length === 0) this.runs.set(topic, runs)
    if (!head) runs.push([])
    else if (!follows(event, head)) this.faults.push(`${topic}: ${place} came after ${head}`)
    runs.at(-1)!.push(place)
    this.events++
    this.#newest = event.receivedTime as number
    this.#heads.set(topic, place)
    if (event.type === 'orderbook') this.#book(topic, event)
  }

  #book(topic: string, event: Message): void {
    const book = this.#books.get(topic) ?? new PlainBook()
    this.#books.set(topic, book)
    book.apply(event)
    if (event.checksum === undefined) return
    const tops = (['bids', 'asks'] as const).map((side) => book.top(side, CHECKSUM_LEVELS))
    if (bookChecksum(tops[0]!, tops[1]!) === event.checksum) this.verified++
    else this.faults.push(`${topic}: the book at ${event.epoch}, ${event.seq} has another checksum`)
  }
}

/** As a client of the contract proves it, by nothing but the event itself. */
function follows({ epoch, seq, prev, prevSent }: Message, head: Place): boolean {
  if (prevSent) return String(prevSent) === String(head)
  return epoch === head[0] && (prev ?? (seq as number) - 1) === head[1]
}

/** After a time between the two, ms. */
export function soon(random: { unit(): number }, least: number, most: number): Promise<unknown> {
  return sleep(least + random.unit() * (most - least))
}
