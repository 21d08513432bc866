import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { OrderBook } from '../../src/market/order-book.ts'
import {
  capture,
  closeAll,
  connect,
  hasCaptures,
  play,
  recording,
  rest,
  settled,
  until,
  type VenueClient,
} from './venue-client.ts'

// Most of their time tests wait for the venue's second: they run together.
afterAll(closeAll)

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

describe.skipIf(!hasCaptures)('captures', { concurrent: true }, () => {
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
    const { frames: stopped, sent } = player.stats()
    const after = await connect(player)
    after.send({ ...subscribe, subscription: { name: 'book', depth: 10 } })
    await until(() => after.frames.filter((frame) => frame.includes('"as"')).length === 10)
    expect(player.stats().frames).toBe(stopped)
    expect(await player.finished).toBe(frames.length)
    await until(() => after.frames.length === player.stats().sent - sent)
    const [whole, mine] = [krakenBooks(frames, 1000), krakenBooks(after.frames, 10)]
    expect(mine.size).toBe(10)
    for (const [pair, book] of whole) expect(plainTop(mine.get(pair)!, 10), pair).toEqual(plainTop(book, 10))
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
    await settled(player, client)
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

const data = (client: VenueClient) => client.frames.filter((frame) => !OWN.test(frame))
const OWN = /"(event|method|result)":|"type":"(subscriptions|heartbeat)"|"channel":"(status|heartbeat)"/
const BINANCE_FRAME = (stream: string, id: number) =>
  `{"stream":"${stream}","data":{"e":"aggTrade","E":1,"s":"${stream.split('@')[0]!.toUpperCase()}","a":${id},"p":"1","q":"1","f":1,"l":1,"T":1,"m":true}}`

describe('hand-written recordings', { concurrent: true }, () => {
  it('merges files by time into one sequence, at one time in the order of the files', async () => {
    const one = await recording([
      '3.0: {"stream":"a@aggTrade","data":{"a":3}}',
      'https://x/api -> 2.5: {}',
      '1.0: {"stream":"a@aggTrade","data":{"a":4}}',
    ])
    const two = await recording([
      'ws://x <-> 0.5',
      '1.5: {"stream":"b@aggTrade","data":{"a":1}}',
      '3.0: {"stream":"b@aggTrade","data":{"a":5}}',
    ])
    const { player } = await play([one, two])
    const client = await connect(player)
    client.send({ method: 'SUBSCRIBE', params: ['c@depth'], id: 1 })
    expect(await player.finished).toBe(4)
    await until(() => data(client).length === 4)
    expect(data(client).map((frame) => JSON.parse(frame).data.a)).toEqual([1, 3, 4, 5])
    expect(player.stats()).toMatchObject({ frames: 4, skippedLines: 0 })
  })

  it('begins one second after the last subscription on any connection', async () => {
    const { player } = await play([await recording([`1.0: ${BINANCE_FRAME('btcusdt@aggTrade', 1)}`])])
    const first = await connect(player, '/ws/btcusdt@aggTrade')
    await new Promise((tick) => setTimeout(tick, 700))
    const second = await connect(player)
    second.send({ method: 'SUBSCRIBE', params: ['ethusdt@aggTrade'], id: 1 })
    const asked = performance.now()
    await player.finished
    expect(performance.now() - asked).toBeGreaterThan(950)
    await until(() => first.frames.length === 1)
    expect(data(second)).toEqual([])
  })

  it('sends a frame to the newest connection that asked for its stream, else to the newest subscribed one', async () => {
    const lines = [1, 2, 3].map(
      (id) => `${id}.0: ${BINANCE_FRAME(`${['btcusdt', 'ethusdt', 'bnbusdt'][id - 1]}@aggTrade`, id)}`,
    )
    const { player } = await play([await recording(lines)])
    const clients: VenueClient[] = []
    for (const streams of ['btcusdt@aggTrade', 'btcusdt@aggTrade/ethusdt@aggTrade', 'xrpusdt@aggTrade'])
      clients.push(await connect(player, `/stream?streams=${streams}`))
    const idle = await connect(player)
    await player.finished
    await until(() => clients[1]!.frames.length === 2 && clients[2]!.frames.length === 1)
    expect([clients[0]!.frames.length, idle.frames.length]).toEqual([0, 0])
    expect(clients[2]!.frames[0]).toContain('bnbusdt')
  })

  it('wraps for /stream and unwraps for /ws, however it was recorded', async () => {
    const raw = '{"u":5,"s":"BTCUSDT","b":"1.0","B":"2","a":"1.1","A":"3"}'
    const { player } = await play([
      await recording([`1.0: ${raw}`, `2.0: {"stream":"ethusdt@bookTicker","data":${raw}}`]),
    ])
    const wrapped = await connect(player, '/stream?streams=btcusdt@bookTicker')
    const bare = await connect(player, '/ws/ethusdt@bookTicker')
    await player.finished
    await until(() => wrapped.frames.length === 1 && bare.frames.length === 1)
    expect(wrapped.frames[0]).toBe(`{"stream":"btcusdt@bookTicker","data":${raw}}`)
    expect(bare.frames[0]).toBe(raw)
  })

  it('plays at the recorded pace, and n times as fast', async () => {
    const lines = [0, 1, 2].map((id) => `${id}.0: ${BINANCE_FRAME('btcusdt@aggTrade', id)}`)
    const paces: number[] = []
    for (const speed of [1, 4]) {
      const { player } = await play([await recording(lines)], { speed })
      const client = await connect(player, '/ws/btcusdt@aggTrade')
      await until(() => client.frames.length === 1)
      const began = performance.now()
      await until(() => client.frames.length === 3)
      paces.push(performance.now() - began)
      expect(paces.at(-1)).toBeGreaterThan(2_000 / speed - 100)
    }
    expect(paces[1]).toBeLessThan(paces[0]! / 2)
  })

  it('stops what is unsubscribed, and nobody gets frames before a subscription', async () => {
    const lines = Array.from(
      { length: 30 },
      (_, id) => `${id * 0.1}: ${BINANCE_FRAME('btcusdt@aggTrade', id)}`,
    )
    const { player } = await play([await recording(lines)], { speed: 1 })
    const client = await connect(player, '/ws')
    await new Promise((tick) => setTimeout(tick, 1_200))
    expect(player.stats().frames).toBe(0)
    client.send({ method: 'SUBSCRIBE', params: ['btcusdt@aggTrade', 'ethusdt@aggTrade'], id: 1 })
    await until(() => data(client).length === 3)
    client.send({ method: 'UNSUBSCRIBE', params: ['btcusdt@aggTrade'], id: 2 })
    await until(() => client.frames.at(-1) === '{"result":null,"id":2}')
    const had = client.frames.length
    expect(await player.finished).toBe(30)
    expect(client.frames.length).toBe(had)
    client.send({ method: 'LIST_SUBSCRIPTIONS', id: 'x' })
    await until(() => client.frames.at(-1) === '{"result":["ethusdt@aggTrade"],"id":"x"}')
  })

  it('follows a hole in a Binance recording with the next recorded snapshot', async () => {
    const diff = (id: number, size: string) =>
      `{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":${id},"u":${id},"b":[["100","${size}"]],"a":[]}`
    const answer = (id: number, size: string, time: number) =>
      `https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=100 -> ${time}: {"lastUpdateId":${id},"bids":[["100","${size}"],["99","${size}"]],"asks":[]}`
    const lines = [
      answer(5, '5', 1),
      `1.1: ${diff(5, '5')}`,
      `1.2: ${diff(6, '6')}`,
      `1.3: ${diff(20, '20')}`,
      answer(21, '21', 1.4),
      `1.5: ${diff(22, '22')}`,
    ]
    const { player } = await play([await recording(lines)])
    await connect(player, '/ws/btcusdt@depth')
    await player.finished
    const path = '/api/v3/depth?symbol=BTCUSDT&limit=5000'
    const bodies = []
    for (let request = 0; request < 3; request++)
      bodies.push(await rest(player, path).then((response) => response.json()))
    expect(bodies.map((body) => body.lastUpdateId)).toEqual([5, 21, 22])
    expect(bodies[2].bids).toEqual([
      ['100', '22'],
      ['99', '21'],
    ])
  })

  it('makes Coinbase heartbeats with the last trade that was played', async () => {
    const match = (id: number) =>
      `{"type":"match","trade_id":${id},"side":"sell","size":"1","price":"1","product_id":"BTC-USD","sequence":${id * 10},"time":"2026-01-01T00:00:00Z"}`
    const { player } = await play([await recording([`1.0: ${match(7)}`, `1.1: ${match(8)}`])])
    const client = await connect(player)
    client.send({
      type: 'subscribe',
      product_ids: ['BTC-USD'],
      channels: [{ name: 'heartbeat' }, { name: 'matches' }],
    })
    await until(() => client.frames.some((frame) => frame.startsWith('{"type":"heartbeat"')))
    const beat = client.messages().find((message) => message.type === 'heartbeat')
    expect(beat).toMatchObject({ last_trade_id: 8, sequence: 80, product_id: 'BTC-USD' })
    client.send({ type: 'unsubscribe', channels: ['heartbeat'] })
    await until(() => client.messages().at(-1).type === 'subscriptions')
    expect(client.messages().at(-1).channels).toEqual([{ name: 'matches', product_ids: ['BTC-USD'] }])
  })

  it('speaks Kraken v2: greeting, acknowledgements, heartbeats, and snapshots of book, ticker and instruments', async () => {
    const book = (type: string, bids: string, checksum: number) =>
      `{"channel":"book","type":"${type}","data":[{"symbol":"BTC/USD","bids":[${bids}],"asks":[],"checksum":${checksum},"timestamp":"2026-01-01T00:00:00.000000Z"}]}`
    const ticker = '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":1.50,"ask":1.60}]}'
    const instruments =
      '{"channel":"instrument","type":"snapshot","data":{"pairs":[{"symbol":"BTC/USD","price_precision":1}]}}'
    const lines = [
      `1.0: {"method":"subscribe","result":{"channel":"book","depth":25,"symbol":"BTC/USD"},"success":true}`,
      `1.1: ${instruments}`,
      `1.2: ${book('snapshot', '{"price":1.10,"qty":0.00000100},{"price":1.0,"qty":2e-05}', 1)}`,
      `1.3: ${ticker}`,
      `1.4: ${book('update', '{"price":1.10,"qty":0},{"price":1.2,"qty":3.10}', 77)}`,
    ]
    const { player } = await play([await recording(lines)])
    const client = await connect(player)
    client.send({
      method: 'subscribe',
      params: { channel: 'book', symbol: ['BTC/USD', 'ETH/USD'], depth: 25 },
      req_id: 3,
    })
    expect(await player.finished).toBe(5)
    await until(() => data(client).length === 4)
    expect(data(client)).toEqual(lines.slice(1).map((line) => line.slice(5)))
    const [status, first, second] = client.messages()
    expect(status).toMatchObject({ channel: 'status', data: [{ system: 'online', api_version: 'v2' }] })
    expect(first).toMatchObject({
      method: 'subscribe',
      req_id: 3,
      success: true,
      result: { channel: 'book', depth: 25, symbol: 'BTC/USD', snapshot: true },
    })
    expect(second.result.symbol).toBe('ETH/USD')
    client.send({ method: 'ping', req_id: 4 })
    await until(() => client.frames.some((frame) => frame.startsWith('{"method":"pong","req_id":4,')))
    await until(() => client.frames.includes('{"channel":"heartbeat"}'))
    const late = await connect(player)
    late.send({ method: 'subscribe', params: { channel: 'book', symbol: ['BTC/USD'], depth: 10 } })
    late.send({ method: 'subscribe', params: { channel: 'ticker', symbol: ['BTC/USD'] } })
    late.send({ method: 'subscribe', params: { channel: 'instrument' } })
    await until(() => data(late).length === 3)
    expect(data(late)[0]).toContain(
      '"data":[{"symbol":"BTC/USD","bids":[{"price":1.2,"qty":3.10},{"price":1.0,"qty":0.00002}],"asks":[],"checksum":77,',
    )
    expect(data(late)[1]).toBe(ticker.replace('update', 'snapshot'))
    expect(data(late)[2]).toBe(instruments)
  })

  it('plays what it does not know to whoever says something', async () => {
    const { player } = await play([await recording(['1.0: {"topic":"x"}', '1.1: no JSON'])])
    const client = await connect(player)
    client.send({ op: 'subscribe', args: ['x'] })
    await player.finished
    await until(() => client.frames.length === 2)
    expect(client.frames).toEqual(['{"topic":"x"}', 'no JSON'])
  })

  it('outlives clients that send rubbish, and counts lines that are none', async () => {
    const { player } = await play([
      await recording(['what', '', '1.0: {"stream":"a@trade","data":{}}', 'a <- b', '1.1:x']),
    ])
    expect(player.stats().skippedLines).toBe(3)
    const client = await connect(player)
    for (const text of [
      '{',
      '[]',
      'null',
      '7',
      '{"method":1}',
      '{"method":"SUBSCRIBE","params":{"a":1}}',
      '{"event":[]}',
      '{"type":"subscribe","channels":[null,7,{}]}',
    ])
      client.socket.send(text)
    client.socket.send(Buffer.from([1, 2, 3]))
    client.send({ method: 'SUBSCRIBE', params: ['a@trade', 5], id: 9 })
    await player.finished
    await until(() => client.frames.includes('{"stream":"a@trade","data":{}}'))
    const large = await connect(player)
    large.socket.send('x'.repeat(2 * 1024 * 1024))
    await until(() => large.closeCode === 1009)
    expect((await fetch(player.url.replace('ws:', 'http:'), { method: 'POST' })).status).toBe(405)
  })

  it('waits for a client that reads slowly, and loses nothing', async () => {
    const lines = Array.from(
      { length: 4_000 },
      (_, id) => `1.0: {"stream":"a@trade","data":{"t":${id},"x":"${'x'.repeat(4_000)}"}}`,
    )
    const { player } = await play([await recording(lines)])
    const client = await connect(player, '/stream?streams=a@trade')
    client.socket.pause()
    await new Promise((tick) => setTimeout(tick, 1_800))
    expect(player.stats().frames).toBeGreaterThan(0)
    expect(player.stats().frames).toBeLessThan(4_000)
    client.socket.resume()
    await player.finished
    await until(() => client.frames.length === 4_000)
    expect(JSON.parse(client.frames.at(-1)!).data.t).toBe(3_999)
  })
})
