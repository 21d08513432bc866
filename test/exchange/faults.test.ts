import { afterEach, describe, expect, it } from 'vitest'
import type { Exchange, ExchangeFault, ExchangeOptions } from '../../src/exchange/exchange.ts'
import { EXCHANGE_FAULTS } from '../../src/exchange/exchange.ts'
import { OrderBook } from '../../src/market/order-book.ts'
import { until, VenueClient } from '../player/venue-client.ts'
import { closeAll, exchangeOf } from './simulated-venue.ts'

const clients: VenueClient[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.terminate()
  await closeAll()
})

const BINANCE = { method: 'SUBSCRIBE', params: ['btcusdt@depth@100ms', 'btcusdt@trade'], id: 1 }
const KRAKEN = { method: 'subscribe', params: { channel: 'book', symbol: ['BTC/USD'], depth: 10 } }
const KRAKEN_V1 = { event: 'subscribe', pair: ['XBT/USD'], subscription: { name: 'book', depth: 10 } }
const COINBASE = {
  type: 'subscribe',
  product_ids: ['BTC-USD'],
  channels: ['matches', 'level2_batch', 'heartbeat'],
}
const OKX = { op: 'subscribe', args: [{ channel: 'books', instId: 'BTC-USDT' }] }
const BYBIT = { op: 'subscribe', args: ['orderbook.50.BTCUSDT'], req_id: '7' }

const BOOK = /"depthUpdate"|"l2update"|"channel":"book"|"book-10"|"channel":"books"|"orderbook[.]/

async function connect(exchange: Exchange, path = ''): Promise<VenueClient> {
  const client = new VenueClient(`${exchange.url}${path}`)
  clients.push(client)
  return client.open()
}

interface Run {
  exchange: Exchange
  /** Resolves when all that was said before, either way, has arrived. */
  settled(): Promise<void>
  client: VenueClient
  /** Frames since the subscription was answered. */
  data(): string[]
  /** Steps the markets, and waits for all that was sent. */
  step(steps: number): Promise<string[]>
}

const PATHS: Readonly<Record<string, string>> = {
  okx: '/ws/v5/public',
  bybit: '/v5/public/spot',
  binance: '/ws',
}

async function run(venue: string, request: unknown, options: Partial<ExchangeOptions> = {}): Promise<Run> {
  const exchange = await exchangeOf(venue, { seed: 7, startTime: 1.77e15, ...options })
  const client = await connect(exchange, PATHS[venue] ?? '')
  const settled = async () => {
    client.socket.ping()
    await new Promise((resolve) => client.socket.once('pong', resolve))
  }
  client.send(request)
  await settled()
  const from = client.frames.length
  const sent = exchange.stats().sent
  const data = () => client.frames.slice(from)
  return {
    ...{ exchange, client, data, settled },
    async step(steps) {
      exchange.advance(steps)
      await until(() => data().length >= exchange.stats().sent - sent || client.closeCode !== undefined)
      return data()
    },
  }
}

/** The same run twice, with a fault in the second: what the wire carried without, and with it. */
async function compare(
  venue: string,
  request: unknown,
  fault: Parameters<Exchange['inject']>[0],
  steps = 60,
) {
  const clean = await run(venue, request, { symbols: [SYMBOL[venue] ?? 'BTC/USD'] })
  const expected = await clean.step(steps)
  const faulty = await run(venue, request, { symbols: [SYMBOL[venue] ?? 'BTC/USD'] })
  const injected = faulty.exchange.inject(fault)
  const frames = await faulty.step(steps)
  return { expected, frames, injected, ...faulty, frame: (at: number) => JSON.parse(frames[at]!) }
}

const SYMBOL: Readonly<Record<string, string>> = { binance: 'BTC/USDT', okx: 'BTC/USDT', bybit: 'BTC/USDT' }

const VENUES = [
  ['binance', BINANCE],
  ['coinbase', COINBASE],
  ['kraken', KRAKEN],
  ['kraken-v1', KRAKEN_V1],
  ['okx', OKX],
  ['bybit', BYBIT],
] as const

describe.each(VENUES)('single frames of %s', (venue, request) => {
  it('the same seed carries the same frames', async () => {
    const { expected, frames } = await compare(venue, request, { fault: 'quiet', symbol: 'none' })
    expect(frames).toEqual(expected)
    expect(frames.length).toBeGreaterThanOrEqual(60)
  })

  it('drop leaves one out, after as many as it was told to let pass', async () => {
    const { expected, frames, injected } = await compare(venue, request, {
      ...{ fault: 'drop', matter: 'book', after: 5 },
    })
    const at = frames.findIndex((frame, index) => frame !== expected[index])
    expect(at).toBeGreaterThanOrEqual(5)
    expect(frames).toEqual(expected.toSpliced(at, 1))
    expect(injected.hits).toBe(1)
  })

  it('duplicate sends a frame twice, reorder one after the next of its feed', async () => {
    const twice = await compare(venue, request, { fault: 'duplicate', matter: 'book', after: 3, count: 2 })
    expect([...new Set(twice.frames)]).toEqual(twice.expected)
    expect(twice.frames).toHaveLength(twice.expected.length + 2)
    const moved = await compare(venue, request, { fault: 'reorder', matter: 'book', after: 3 })
    expect(moved.frames).not.toEqual(moved.expected)
    expect(moved.frames.toSorted()).toEqual(moved.expected.toSorted())
  })

  it('unknown-type adds what nobody knows', async () => {
    const { expected, frames } = await compare(venue, request, { fault: 'unknown-type', count: 3 })
    expect(frames.filter((frame) => !/whisper/i.test(frame))).toEqual(expected)
    expect(frames).toHaveLength(expected.length + 3)
  })

  it('absurd gives a time of the year 1, then an impossible size', async () => {
    const { expected, frames } = await compare(venue, request, { fault: 'absurd', count: 2 })
    const changed = frames.filter((frame, at) => frame !== expected[at])
    expect(changed).toHaveLength(2)
    expect(changed[0]).toMatch(/0001-01-01|-62135596800/)
    expect(changed[1]).toContain('0.-10000')
  })

  it('exponent writes a size with one, and every digit', async () => {
    const { expected, frames } = await compare(venue, request, { fault: 'exponent', count: 2 })
    const changed = frames.filter((frame, at) => frame !== expected[at])
    expect(changed).toHaveLength(2)
    for (const frame of changed) {
      expect(frame).toMatch(/\de[+-]\d\d/)
      JSON.parse(frame)
    }
  })

  it('zombie sends nothing until it is subscribed to again; withheld not even then', async () => {
    const one = await run(venue, request, { symbols: [SYMBOL[venue] ?? 'BTC/USD'] })
    const books = async (steps: number) => {
      const { length } = one.data()
      one.exchange.advance(steps)
      await one.settled()
      return one
        .data()
        .slice(length)
        .filter((frame) => BOOK.test(frame)).length
    }
    const again = async () => {
      one.client.send(request)
      await one.settled()
    }
    one.exchange.inject({ fault: 'zombie', matter: 'book' })
    expect(await books(20)).toBe(0)
    await again()
    expect(await books(20)).toBe(20)
    const withheld = one.exchange.inject({ fault: 'withheld' })
    await again()
    expect(await books(20)).toBe(0)
    withheld.end()
    expect(await books(20)).toBe(20)
  })

  it('quiet stops a market and its truth until it is ended; others go on', async () => {
    const one = await run(venue, request)
    const symbol = SYMBOL[venue] ?? 'BTC/USD'
    const quiet = one.exchange.inject({ fault: 'quiet', symbol })
    expect(await one.step(30)).toEqual([])
    expect(one.exchange.truth(symbol).seq).toBe(0)
    expect(one.exchange.stats().steps).toBe(30)
    quiet.end()
    await one.step(30)
    expect(one.exchange.truth(symbol).seq).toBe(10)
    expect(one.data().length).toBeGreaterThanOrEqual(10)
  })
})

describe('faults that not every venue has', () => {
  it.each([
    ['kraken', KRAKEN],
    ['kraken-v1', KRAKEN_V1],
    ['okx', OKX],
  ] as const)('corrupt changes one digit that the checksum of %s covers', async (venue, request) => {
    const { expected, frames } = await compare(venue, request, { fault: 'corrupt' })
    const changed = frames.filter((frame, at) => frame !== expected[at])
    expect(changed).toHaveLength(1)
    const original = expected[frames.indexOf(changed[0]!)]!
    expect([...changed[0]!].filter((character, at) => character !== original[at])).toHaveLength(1)
  })

  it('two-maps gives the one side of a Kraken v1 message a map of the other, with the same checksum', async () => {
    const { expected, frames, injected } = await compare(
      ...(['kraken-v1', KRAKEN_V1, { fault: 'two-maps', count: 1_000 }, 200] as const),
    )
    expect(injected.hits).toBeGreaterThan(0)
    expect(frames.filter((frame, at) => frame !== expected[at])).toHaveLength(injected.hits)
    for (const frame of frames) expect(JSON.parse(frame)).toHaveLength(5)
    const sums = (all: string[]) => all.map((frame) => /"c":"(\d+)"/.exec(frame)?.[1])
    expect(sums(frames)).toEqual(sums(expected))
  })

  it.each([
    ['binance', BINANCE, /"u":(\d+)/],
    [
      'kraken',
      { method: 'subscribe', params: { channel: 'trade', symbol: ['BTC/USD'] } },
      /"trade_id":(\d+)/,
    ],
    ['coinbase', COINBASE, /"trade_id":(\d+)/],
    ['okx', OKX, /"seqId":(\d+)/],
    ['bybit', BYBIT, /"u":(\d+)/],
  ] as const)('big-id moves the ids of %s above 2^53', async (venue, request, id) => {
    const { expected, frames } = await compare(venue, request, { fault: 'big-id' })
    const ids = (all: string[]) => all.flatMap((frame) => id.exec(frame)?.[1] ?? []).map(BigInt)
    expect(ids(frames)).toEqual(ids(expected).map((one) => one + 2n ** 53n))
  })

  it('old-snapshot gives a book of 20 steps before, by REST and on a stream', async () => {
    const rest = await exchangeOf('binance', { symbols: ['BTC/USDT'] })
    rest.advance(50)
    rest.inject({ fault: 'old-snapshot' })
    const books = []
    for (let request = 0; request < 2; request++)
      books.push(await fetch(`${rest.restUrl}/api/v3/depth?symbol=BTCUSDT`).then((body) => body.json()))
    const truth = rest.truth('BTC/USDT')
    expect({ bids: books[0].bids, asks: books[0].asks }).toEqual(truth.bookAt(30))
    expect({ bids: books[1].bids, asks: books[1].asks }).toEqual(truth.book())
    expect(books[0].lastUpdateId).toBeLessThan(books[1].lastUpdateId)
    const stream = await exchangeOf('okx', { symbols: ['BTC/USDT'] })
    stream.advance(50)
    stream.inject({ fault: 'old-snapshot' })
    const client = await connect(stream, '/ws/v5/public')
    client.send(OKX)
    await until(() => client.frames.length === 2)
    const [data] = client.messages()[1].data
    expect(data.bids.map(([price, size]: string[]) => [price, size])).toEqual(
      stream.truth('BTC/USDT').bookAt(30).bids,
    )
  })

  it.each([
    [
      'kraken',
      { ...KRAKEN, params: { ...KRAKEN.params, symbol: ['BTC/USD', 'ETH/USD'] } },
      /not supported ETH/,
    ],
    ['okx', { ...OKX, args: [...OKX.args, { channel: 'books', instId: 'ETH-USDT' }] }, /60018/],
  ] as const)('bad-symbol refuses one of two at %s, by name', async (venue, request, said) => {
    const exchange = await exchangeOf(venue)
    exchange.inject({ fault: 'bad-symbol', symbol: venue === 'okx' ? 'ETH/USDT' : 'ETH/USD' })
    const client = await connect(exchange, PATHS[venue] ?? '')
    client.send(request)
    await until(() => client.frames.some((frame) => said.test(frame)))
    expect(exchange.connections[0]?.streams).toHaveLength(1)
  })

  it.each([
    ['coinbase', { ...COINBASE, product_ids: ['BTC-USD', 'ETH-USD'] }, /ETH-USD is not a valid product/],
    ['bybit', { ...BYBIT, args: ['publicTrade.BTCUSDT', 'publicTrade.ETHUSDT'] }, /"success":false/],
  ] as const)('bad-symbol voids the message at %s', async (venue, request, said) => {
    const exchange = await exchangeOf(venue)
    exchange.inject({ fault: 'bad-symbol', symbol: venue === 'bybit' ? 'ETH/USDT' : 'ETH/USD' })
    const client = await connect(exchange, PATHS[venue] ?? '')
    client.send(request)
    await until(() => client.frames.some((frame) => said.test(frame)))
    expect(exchange.connections[0]?.streams).toHaveLength(0)
  })
})

describe('whole connections', () => {
  it('cut ends in the middle of a frame, hard-cut between two', async () => {
    const cut = await run('binance', BINANCE)
    cut.exchange.inject({ fault: 'cut', after: 5 })
    cut.exchange.advance(20)
    await until(() => cut.client.closeCode !== undefined)
    expect([cut.client.closeCode, cut.data().length]).toEqual([1006, 5])
    const hard = await run('kraken', KRAKEN)
    hard.exchange.inject({ fault: 'hard-cut' })
    await until(() => hard.client.closeCode !== undefined)
    expect(hard.exchange.connections).toEqual([])
  })

  it('pongs-only answers pings, half-open nothing; neither sends data', async () => {
    for (const [fault, answers] of [
      ['pongs-only', 1],
      ['half-open', 0],
    ] as const) {
      const one = await run('kraken', KRAKEN)
      one.exchange.inject({ fault })
      let pongs = 0
      one.client.socket.on('pong', () => pongs++)
      one.client.socket.ping()
      one.client.send({ method: 'ping', req_id: 3 })
      one.exchange.advance(20)
      await new Promise((resolve) => setTimeout(resolve, 100))
      expect([one.data().length, pongs, one.client.closeCode]).toEqual([answers, answers, undefined])
    }
  })

  it('shutdown is announced in the form of the venue and comes 3 s later, or sooner in compressed time', async () => {
    const one = await run('binance', BINANCE, { timeScale: 30 })
    const begun = performance.now()
    one.exchange.inject({ fault: 'shutdown' })
    await until(() => one.data().some((frame) => frame.includes('serverShutdown')))
    await until(() => one.client.closeCode !== undefined)
    expect(performance.now() - begun).toBeGreaterThan(90)
    expect(performance.now() - begun).toBeLessThan(1_500)
  })

  it.each(['429', '418', '451'] as const)(
    '%s refuses a handshake and a REST request, with Retry-After',
    async (fault) => {
      const exchange = await exchangeOf('binance')
      exchange.inject({ fault, where: 'rest', retryAfterS: 3 })
      exchange.inject({ fault, where: 'handshake' })
      const answer = await fetch(`${exchange.restUrl}/api/v3/time`)
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([Number(fault), '3'])
      const client = new VenueClient(exchange.url)
      const refused = new Promise((resolve) =>
        client.socket.on('unexpected-response', (_, response) => resolve(response.statusCode)),
      )
      expect(await refused).toBe(Number(fault))
      expect((await fetch(`${exchange.restUrl}/api/v3/time`)).status).toBe(200)
      await connect(exchange)
    },
  )

  it('rate-limited answers a subscription as one too many', async () => {
    const exchange = await exchangeOf('kraken')
    exchange.inject({ fault: 'rate-limited' })
    const client = await connect(exchange)
    client.send(KRAKEN)
    await until(() => client.frames.some((frame) => frame.includes('Exceeded msg rate')))
    client.send(KRAKEN)
    await until(() => client.frames.some((frame) => frame.includes('"snapshot"')))
  })
})

it('explains every fault, and refuses what is none', async () => {
  for (const what of Object.values(EXCHANGE_FAULTS)) expect(what.length).toBeGreaterThan(10)
  const exchange = await exchangeOf('kraken')
  expect(() => exchange.inject({ fault: 'gremlins' as ExchangeFault })).toThrow(/accepted are .*reorder/)
})

it('knows every book there was, and finds the step of one', async () => {
  const exchange = await exchangeOf('kraken', { symbols: ['BTC/USD'] })
  exchange.advance(500)
  const truth = exchange.truth('BTC/USD')
  expect(truth.seqOf(truth.bookAt(123, 10))).toBe(123)
  expect(truth.seqOf({ bids: [['1', '1']], asks: [] })).toBeUndefined()
  const book = new OrderBook()
  const { bids, asks } = truth.book()
  book.reset(bids, asks)
  expect(book.crossed()).toBe(false)
})
