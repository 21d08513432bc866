import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { OrderBook } from '../../src/market/order-book.ts'
import { capture, closeAll, connect, hasCaptures, play, rest, settled, until } from './venue-client.ts'

afterEach(closeAll)

/** Received frames of a capture, as text. */
function received(name: string): string[] {
  return readFileSync(capture(name), 'utf8')
    .split('\n')
    .flatMap((line) => /^\d+\.\d+: (.*)$/.exec(line)?.[1] ?? [])
}

const KRAKEN_PAIRS = [
  'WAVES/EUR',
  'XMR/USD',
  'KSM/XBT',
  'GRT/ETH',
  'SC/EUR',
  'ETH/CHF',
  'OCEAN/XBT',
  'OMG/USD',
  'XBT/CHF',
  'ADA/XBT',
]
const COINBASE_PRODUCTS = [
  'SKL-USD',
  'SKL-BTC',
  'BAND-GBP',
  'NMR-EUR',
  'BAND-BTC',
  'YFI-BTC',
  'DASH-BTC',
  'NU-GBP',
  'CRV-EUR',
  'SKL-GBP',
]

/** Books of Kraken v1 frames, by pair; throws if a checksum does not hold. */
function krakenBooks(frames: readonly string[], depth: number): Map<string, OrderBook> {
  const books = new Map<string, OrderBook>()
  for (const frame of frames) {
    const message = JSON.parse(frame)
    if (!Array.isArray(message) || !message.at(-2).startsWith('book')) continue
    const pair = message.at(-1)
    let book = books.get(pair)
    for (const map of message.slice(1, -2)) {
      if (map.as) {
        book = new OrderBook({ truncateTo: depth })
        books.set(pair, book)
        book.reset(map.bs, map.as)
      } else book?.apply(map.b ?? [], map.a ?? [])
    }
    const { c } = message.at(-3)
    if (c !== undefined && book && book.krakenChecksum() !== Number(c))
      throw new Error(`checksum of ${pair}: ${frame}`)
  }
  return books
}

const plainTop = (book: OrderBook, depth: number) => ({
  bids: book.top('bids', depth).map(([price, size]) => [price, size]),
  asks: book.top('asks', depth).map(([price, size]) => [price, size]),
})

describe.skipIf(!hasCaptures)('captures', () => {
  it('plays Binance frames in order, begun by the streams in the URL', async () => {
    const { player } = await play([capture('binance.rest.txt'), capture('binance.ws.txt')])
    const client = await connect(player, '/stream?streams=nknusdt@depth@100ms/nknusdt@bookTicker')
    expect(await player.finished).toBe(265)
    await until(() => client.frames.length === 265)
    expect(client.frames).toEqual(received('binance.ws.txt'))
  })

  it('gives the nth REST request the nth then its own book', async () => {
    const { player } = await play([capture('binance.rest.txt'), capture('binance.ws.txt')])
    const path = '/api/v3/depth?symbol=NKNUSDT&limit=5000'
    const first = await rest(player, path).then((response) => response.json())
    expect(first.lastUpdateId).toBe(499869752)
    const early = await rest(player, path).then((response) => response.json())
    expect(early).toEqual(first)
    const client = await connect(player, '/ws')
    client.send({ method: 'SUBSCRIBE', params: ['nknusdt@depth@100ms'], id: 7 })
    await player.finished
    await until(() => client.frames.length >= 266)
    expect(client.messages()[0]).toEqual({ result: null, id: 7 })
    const book = new OrderBook()
    book.reset(first.bids, first.asks)
    let last = first.lastUpdateId
    for (const { e, s, u, b, a } of client.messages()) {
      if (e !== 'depthUpdate' || s !== 'NKNUSDT' || u <= last) continue
      book.apply(b, a)
      last = u
    }
    const late = await rest(player, path).then((response) => response.json())
    expect(late.lastUpdateId).toBe(last)
    expect({ bids: late.bids, asks: late.asks }).toEqual(plainTop(book, 5000))
    expect((await rest(player, '/api/v3/klines?symbol=NKNUSDT')).status).toBe(404)
    const info = await rest(player, '/api/v3/exchangeInfo?symbol=NKNUSDT')
    expect((await info.json()).symbols.length).toBeGreaterThan(3)
    expect((await rest(player, '/api/v3/exchangeInfo')).status).toBe(200)
  })

  it('goes on where it stopped, with a Kraken snapshot made of what was played', async () => {
    const frames = received('kraken-v1.book.ws.txt')
    const { player } = await play([capture('kraken-v1.book.ws.txt')], { speed: 40 })
    const subscribe = { event: 'subscribe', pair: KRAKEN_PAIRS, subscription: { name: 'book', depth: 1000 } }
    const before = await connect(player)
    before.send(subscribe)
    await until(() => before.frames.length > 700)
    before.socket.terminate()
    await new Promise((tick) => setTimeout(tick, 300))
    const { frames: stopped } = player.stats()
    const after = await connect(player)
    after.send({ ...subscribe, subscription: { name: 'book', depth: 10 } })
    await until(() => after.frames.filter((frame) => frame.includes('"as"')).length === 10)
    expect(player.stats().frames).toBe(stopped)
    expect(await player.finished).toBe(frames.length)
    await settled(after)
    const [whole, mine] = [krakenBooks(frames, 1000), krakenBooks(after.frames, 10)]
    expect(mine.size).toBe(10)
    for (const [pair, book] of whole) expect(plainTop(mine.get(pair)!, 10), pair).toEqual(plainTop(book, 10))
    // No frame was sent twice, none was left out.
    const late = await connect(player)
    late.send(subscribe)
    await until(() => late.frames.filter((frame) => frame.includes('"as"')).length === 10)
    const made = krakenBooks(late.frames, 1000)
    for (const [pair, book] of whole)
      expect(plainTop(made.get(pair)!, 1000), pair).toEqual(plainTop(book, 1000))
  })

  it('acknowledges each Kraken pair with the recorded channel id, and does not repeat recorded acknowledgements', async () => {
    const { player } = await play([capture('kraken-v1.book.ws.txt')])
    const client = await connect(player)
    client.send({
      event: 'subscribe',
      reqid: 4,
      pair: ['XMR/USD', 'ADA/XBT'],
      subscription: { name: 'book', depth: 1000 },
    })
    await player.finished
    const statuses = client.messages().filter((message) => message.event === 'subscriptionStatus')
    expect(statuses).toEqual([
      {
        channelID: 992,
        channelName: 'book-1000',
        event: 'subscriptionStatus',
        pair: 'XMR/USD',
        reqid: 4,
        status: 'subscribed',
        subscription: { depth: 1000, name: 'book' },
      },
      {
        channelID: 1360,
        channelName: 'book-1000',
        event: 'subscriptionStatus',
        pair: 'ADA/XBT',
        reqid: 4,
        status: 'subscribed',
        subscription: { depth: 1000, name: 'book' },
      },
    ])
    expect(player.stats().answeredLive).toBe(10)
  })

  it('serves fewer levels than were recorded exactly: every checksum holds at depth 10', async () => {
    const { player } = await play([capture('kraken-v1.book.ws.txt')])
    const client = await connect(player)
    client.send({ event: 'subscribe', pair: KRAKEN_PAIRS, subscription: { name: 'book', depth: 10 } })
    await player.finished
    await settled(client)
    const whole = krakenBooks(received('kraken-v1.book.ws.txt'), 1000)
    const mine = krakenBooks(client.frames, 10)
    for (const [pair, book] of whole) expect(plainTop(mine.get(pair)!, 10), pair).toEqual(plainTop(book, 10))
  })

  it('gives a Coinbase client the recorded snapshots once, and a later one made ones', async () => {
    const { player } = await play([capture('coinbase.ws.txt')])
    const client = await connect(player)
    const subscribe = {
      type: 'subscribe',
      product_ids: COINBASE_PRODUCTS,
      channels: ['ticker', 'matches', 'heartbeat', 'level2_batch'],
    }
    client.send(subscribe)
    const recorded = received('coinbase.ws.txt').filter(
      (frame) => !frame.startsWith('{"type":"subscriptions"'),
    )
    expect(await player.finished).toBe(3996)
    await until(() => client.frames.includes(recorded.at(-1)!))
    const data = client.frames.filter((frame) => !/^\{"type":"(subscriptions|heartbeat)"/.test(frame))
    expect(data).toEqual(recorded)
    expect(client.messages()[0].channels.map((channel: { name: string }) => channel.name)).toEqual([
      'ticker',
      'matches',
      'heartbeat',
      'level2_batch',
    ])
    await until(() => client.messages().filter((message) => message.type === 'heartbeat').length >= 10)
    const books = new Map<string, OrderBook>()
    const apply = (frame: string) => {
      const { type, product_id, bids, asks, changes } = JSON.parse(frame)
      if (type === 'snapshot') {
        books.set(product_id, new OrderBook())
        books.get(product_id)!.reset(bids, asks)
      }
      for (const [side, price, size] of type === 'l2update' ? changes : [])
        books
          .get(product_id)!
          .apply(side === 'buy' ? [[price, size]] : [], side === 'sell' ? [[price, size]] : [])
    }
    recorded.forEach(apply)
    const late = await connect(player)
    late.send({ ...subscribe, channels: ['level2_batch'], product_ids: ['SKL-USD'] })
    await until(() => late.frames.length === 2)
    const { bids, asks } = late.messages()[1]
    expect({ bids, asks }).toEqual(plainTop(books.get('SKL-USD')!, 100_000))
  })
})
