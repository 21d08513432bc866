import { afterEach, describe, expect, it } from 'vitest'
import { createMemoryCache } from '../../src/cache/memory.ts'
import { BookFollower } from '../../src/market/book-follower.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import type { Payload } from '../../src/market/event.ts'
import { type Said, type TestClient, TestGateway } from '../gateway/ws/gateway.ts'
import { FaultRun, pause, SOURCE, type VenueId } from './run.ts'

/** Levels a side that the client asks for. */
const DEPTH = 5

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** A venue, the gateway behind it up to the WebSocket, and a client of one book. */
class Line {
  readonly run: FaultRun
  readonly client: TestClient
  readonly symbol: string
  /** Events that the fan-out loses. */
  lose: (event: EncodedEvent) => boolean = () => false
  readonly #gateway: TestGateway
  #sent = 0

  private constructor(run: FaultRun, gateway: TestGateway, client: TestClient) {
    this.run = run
    this.symbol = run.symbols[0]
    this.client = client
    this.#gateway = gateway
  }

  static async open(venue: VenueId): Promise<Line> {
    const run = await FaultRun.start({ venue })
    closing.push(() => run.stop())
    const cache = createMemoryCache()
    let line: Line | undefined
    const gateway = await new TestGateway({
      cache: {
        apply: (events) => cache.apply(events),
        image: (topic) => cache.image(topic),
        images: (match) => cache.images(match),
        topics: () => cache.topics(),
        since: async () => undefined,
        subscribe(...args) {
          const feed = cache.subscribe(...args)
          return {
            follow: () => undefined,
            unfollow: () => {},
            async *[Symbol.asyncIterator]() {
              for await (const events of feed) yield events.filter((event) => !line?.lose(event))
            },
          }
        },
        fault: () => undefined,
        close: () => cache.close(),
      },
    }).start()
    closing.push(() => gateway.stop())
    gateway.carry(SOURCE, 'orderbook', run.symbols[0])
    await run.live()
    const client = await gateway.client({ tier: 'premium' })
    line = new Line(run, gateway, client)
    await line.relay()
    const wanted = { channel: 'orderbook', symbols: [line.symbol], depth: DEPTH }
    await client.ask({ type: 'subscribe', id: 1, ...wanted }, 'subscribed')
    await line.step(20)
    return line
  }

  /** What the relay does: the bus into the cache. */
  async relay(): Promise<void> {
    const { events } = this.run.upstream
    const batch = events.slice(this.#sent)
    this.#sent += batch.length
    if (batch.length > 0) await this.#gateway.cache.apply(batch)
  }

  async step(steps: number): Promise<void> {
    for (let done = 0; done < steps; done += 2) {
      await this.run.step(2)
      await this.relay()
    }
  }

  /** Until the client's book is the venue's, without the fan-out losing anything more. */
  async settled(): Promise<void> {
    await this.run.settled()
    await this.relay()
    const { bids, asks } = this.run.exchange.truth(this.symbol).book(DEPTH)
    const wanted = JSON.stringify([bids, asks])
    for (let waited = 0; this.book() !== wanted; waited++) {
      if (waited > 500) throw new Error(`the client's book is ${this.book()}, the venue's ${wanted}`)
      await pause(10)
      await this.relay()
    }
  }

  /** What the client said to have seen of the topic and of its source, the data itself left out. */
  told(): string[] {
    return this.client.messages
      .filter(({ type }) => ['gap', 'resync', 'source'].includes(type))
      .map(({ type, reason, state }) => `${type} ${state ?? reason}`)
  }

  /** The book that the client can make of what it was sent; every hole in `seq` would leave it unknown. */
  book(): string | undefined {
    const follower = new BookFollower<{ epoch: number; seq: number; payload: Payload }>()
    let last = 0
    for (const message of this.client.messages) {
      const { type, epoch, prev, seq } = message
      if (type !== 'orderbook' && type !== 'gap') continue
      // Events that changed nothing at this depth are not sent; `prev` says so.
      const follows = prev === undefined ? seq - 1 === last : prev === last
      last = seq
      follower.apply({
        epoch,
        seq: follows ? this.#next() : this.#next(2),
        payload: message as Payload & Said,
      })
    }
    const image = follower.image()
    return image && JSON.stringify([image.bids.slice(0, DEPTH), image.asks.slice(0, DEPTH)])
  }

  #count = 0
  #next(by = 1): number {
    this.#count += by
    return this.#count
  }
}

describe('a client on the WebSocket', () => {
  it.each([
    ['binance', 'drop', ['gap sequence']],
    ['binance-futures', 'reorder', ['gap sequence']],
    ['okx', 'drop', ['gap sequence']],
    ['kraken', 'corrupt', ['gap checksum']],
    ['coinbase', 'absurd', ['gap malformed']],
    ['bybit', 'duplicate', []],
  ] as const)(
    'of %s is told, after %s of a book message: %j, and its book is right again',
    async (venue, fault, told) => {
      const line = await Line.open(venue)
      const { symbol } = line
      line.run.inject({ fault, symbol, matter: 'book', after: 3, count: fault === 'absurd' ? 2 : 1 })
      await line.step(40)
      await line.settled()
      const anew = (what: string) => what.replace('gap ', 'resync the source built its book anew: ')
      expect(line.told()).toEqual(told.flatMap((what) => [what, anew(what)]))
    },
  )

  it.each(['binance', 'kraken', 'okx'] as const)(
    'of %s is told that its connection was cut and is there again, and that the book was unknown meanwhile',
    async (venue) => {
      const line = await Line.open(venue)
      line.run.inject({ fault: 'cut', count: line.run.exchange.connections.length })
      await line.step(20)
      await line.settled()
      expect(line.told().filter((what) => what.startsWith('gap'))).toEqual(['gap reconnect'])
      expect(new Set(line.told().filter((what) => what.startsWith('source')))).toEqual(
        new Set(['source reconnecting', 'source connected']),
      )
    },
  )

  it('is told nothing at all when a connection is replaced', async () => {
    const line = await Line.open('kraken')
    await line.run.upstream.manager.rotate({ exchangeId: SOURCE })
    await line.step(60)
    await line.settled()
    expect(line.told()).toEqual([])
  })

  it('is told to resync where the gateway itself lost events that nobody has any more', async () => {
    const line = await Line.open('okx')
    let lost = 0
    line.lose = ({ topic }) => topic.channel === 'orderbook' && topic.subject === line.symbol && lost++ < 3
    await line.step(20)
    await line.settled()
    expect(line.told().map((what) => what.split(' ')[0])).toEqual(['resync'])
  })
})
