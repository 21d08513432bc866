import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { constants, inflateRawSync } from 'node:zlib'
import { decode, encode } from '@msgpack/msgpack'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { FeedgateClient } from '../../../client/index.ts'
import { Deflater } from '../../../src/gateway/ws/deflate.ts'
import { ENCODINGS } from '../../../src/gateway/ws/encoding.ts'
import { textFrame } from '../../../src/gateway/ws/frame.ts'
import type { Payload } from '../../../src/market/event.ts'
import { signals } from '../../../src/signals.ts'
import { KEYS, type Said, TestGateway, ticker, tier, trade, until } from './gateway.ts'

const MESSAGE_PACK = 'feedgate.v1.msgpack'
const MAX_ARRAY_FRAME = 200

let gateway: TestGateway
beforeEach(async () => {
  gateway = await new TestGateway().start()
})
afterEach(async () => {
  await gateway.stop()
})

/** A client of `ws` that keeps what it got, whatever it came in. */
class Client {
  readonly socket: WebSocket
  readonly binary: boolean[] = []
  readonly lengths: number[] = []
  readonly messages: Said[] = []
  readonly closed: Promise<number>

  constructor(query = '', protocols: string[] = [], deflate = false, key = KEYS.institutional) {
    this.socket = new WebSocket(`ws://127.0.0.1:${gateway.port}/ws${query}`, protocols, {
      headers: { 'x-api-key': key },
      perMessageDeflate: deflate && { threshold: 0 },
    })
    this.socket.on('error', () => {})
    this.socket.on('message', (data: Buffer, binary) => {
      this.binary.push(binary)
      const value = (binary ? decode(data) : JSON.parse(String(data))) as Said | Said[]
      this.lengths.push(Array.isArray(value) ? value.length : 1)
      if (Array.isArray(value)) this.messages.push(...value)
      else this.messages.push(value)
    })
    this.closed = new Promise((done) => this.socket.once('close', (code) => done(code)))
  }

  async opened(): Promise<this> {
    if (this.socket.readyState !== WebSocket.OPEN) await once(this.socket, 'open')
    return this
  }

  ofType(type: string): Said[] {
    return this.messages.filter((message) => message.type === type)
  }

  next(what: (message: Said) => boolean): Promise<Said> {
    return until(() => this.messages.find(what), 20_000)
  }

  send(message: Said): void {
    this.socket.send(this.socket.protocol === MESSAGE_PACK ? encode(message) : JSON.stringify(message))
  }

  async subscribe(channel: string, symbols: string[], extra: Said = {}): Promise<this> {
    this.send({ type: 'subscribe', id: channel, channel, symbols, ...extra })
    await this.next((message) => message.type === 'subscribed' && message.id === channel)
    return this
  }

  /** Whatever was sent before has come. */
  async settled(): Promise<void> {
    const id = `settle-${this.messages.length}`
    this.send({ type: 'ping', id })
    await this.next((message) => message.id === id)
  }
}

interface Frame {
  readonly type: number
  readonly payload: Buffer
}

/** A handshake and frames as they come, byte for byte. */
class RawClient {
  readonly frames: Frame[] = []
  readonly socket: Socket
  headers = ''
  #rest = Buffer.alloc(0)

  constructor(path: string, headers: readonly string[]) {
    this.socket = connect(gateway.port, '127.0.0.1')
    this.socket.on('error', () => {})
    this.socket.on('data', (data: Buffer) => this.#read(data))
    const fixed = ['Host: x', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
    const key = ['Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==', `X-API-Key: ${KEYS.institutional}`]
    this.socket.write(`${[`GET ${path} HTTP/1.1`, ...fixed, ...key, ...headers].join('\r\n')}\r\n\r\n`)
  }

  #read(data: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, data])
    if (this.headers === '') {
      const end = this.#rest.indexOf('\r\n\r\n')
      if (end < 0) return
      this.headers = this.#rest.toString('latin1', 0, end)
      this.#rest = this.#rest.subarray(end + 4)
    }
    for (let frame = this.#next(); frame; frame = this.#next()) this.frames.push(frame)
  }

  #next(): Frame | undefined {
    const rest = this.#rest
    if (rest.length < 2) return undefined
    const short = rest[1]! & 0x7f
    const start = short < 126 ? 2 : short === 126 ? 4 : 10
    if (rest.length < start) return undefined
    const length =
      short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2))
    if (rest.length < start + length) return undefined
    this.#rest = rest.subarray(start + length)
    return { type: rest[0]!, payload: rest.subarray(start, start + length) }
  }

  async opened(): Promise<this> {
    await until(() => this.headers !== '')
    return this
  }

  header(name: string): string | undefined {
    return new RegExp(`^${name}: (.*)$`, 'im').exec(this.headers)?.[1]
  }

  /** Masked, as a client's have to be. */
  write(text: string | Buffer, type = 0x81): void {
    const payload = Buffer.from(text)
    const length =
      payload.length < 126 ? [payload.length | 0x80] : [0xfe, payload.length >> 8, payload.length & 0xff]
    this.socket.write(Buffer.concat([Buffer.from([type, ...length, 0, 0, 0, 0]), payload]))
  }
}

function inflated({ type, payload }: Frame): string {
  if ((type & 0x40) === 0) return payload.toString()
  const whole = Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])])
  return inflateRawSync(whole, { finishFlush: constants.Z_SYNC_FLUSH }).toString()
}

/** Deflate calls since `start`. */
function countDeflated() {
  const facts: { plain: number; deflated: number }[] = []
  const stop = signals.frameDeflated.on((fact) => void facts.push(fact))
  return { facts, stop }
}

const bookOf = (levels: number, size = '1'): Payload => ({
  ...{ type: 'orderbook', kind: 'snapshot', depth: 1_000 },
  bids: Array.from({ length: levels }, (_, at) => [`${50_000 - at}.10`, size] as [string, string]),
  asks: Array.from({ length: levels }, (_, at) => [`${50_001 + at}.20`, size] as [string, string]),
})
const delta = (size: string): Payload => ({
  ...{ type: 'orderbook', kind: 'delta', depth: 1_000 },
  bids: [['49999.10', size]],
  asks: [],
})

describe('subprotocols of /ws', () => {
  it.each([
    [[MESSAGE_PACK], MESSAGE_PACK, 0x82],
    [['feedgate.v1.json'], 'feedgate.v1.json', 0x81],
    [['chat', MESSAGE_PACK, 'feedgate.v1.json'], MESSAGE_PACK, 0x82],
    [['chat', 'feedgate.v2.msgpack'], undefined, 0x81],
    [[], undefined, 0x81],
  ])('of %j chooses %s', async (offered, chosen, type) => {
    const header = offered.length > 0 ? [`Sec-WebSocket-Protocol: ${offered.join(', ')}`] : []
    const client = await new RawClient('/ws', header).opened()
    expect(client.header('Sec-WebSocket-Protocol')).toBe(chosen)
    client.write('{"type":"ping"}')
    const pong = await until(() => client.frames[0])
    expect(pong.type).toBe(type)
    const said = type === 0x82 ? decode(pong.payload) : JSON.parse(String(pong.payload))
    expect(said).toMatchObject({ type: 'pong' })
    client.socket.destroy()
  })
})

describe('MessagePack', () => {
  it('says what JSON says, field for field and in the same order, in single frames and in arrays', async () => {
    const book = gateway.carry('venue', 'orderbook', 'BTC/USDT')
    const trades = gateway.carry('venue', 'trades', 'BTC/USDT')
    const prices = gateway.carry('venue', 'ticker', 'ETH/USDT')
    await gateway.publish(book, bookOf(100))
    await gateway.publish(prices, ticker('3000.10'))
    const json = new Client()
    const others = [
      new Client('', [MESSAGE_PACK]),
      new Client('?batch=true', [MESSAGE_PACK]),
      new Client('?batch=true'),
    ]
    const clients = await Promise.all([json, ...others].map((client) => client.opened()))
    for (const client of clients) {
      await client.subscribe('orderbook', ['*'], { depth: 25 })
      await client.subscribe('trades', ['*'])
      // Each of them stands elsewhere in the topic: it is sent `prev` of its own.
      await gateway.publish(prices, ticker('3000.20'))
      await client.subscribe('ticker', ['*'], { snapshot: false })
    }
    await gateway.publish(prices, ticker('3000.25'))
    const events = Array.from({ length: 20 }, (_, id) => gateway.event(trades, trade(id)))
    await gateway.cache.apply([...events, gateway.event(book, delta('2'))])
    await gateway.publish(book, { ...delta('3'), bids: [['1.10', '3']] } as Payload)
    await gateway.publish(book, delta('4'))
    await gateway.publish(prices, ticker('3000.30'), {
      ...{
        epoch: 2_000,
        venueSeq: [1, 18446744073709551615n] as [number, bigint],
        flags: ['backfilled' as const],
      },
    })
    for (const client of clients) await client.settled()
    const comparable = ({ sentTime, timestamp, ...rest }: Said) =>
      JSON.stringify(rest).replaceAll('18446744073709552000', 'all digits')
    const from = (client: Client, type: string) => client.ofType(type).map(comparable)
    expect(json.ofType('trade')).toHaveLength(20)
    expect(json.ofType('orderbook').map(({ kind, prev }) => [kind, prev])).toEqual([
      ['snapshot', undefined],
      ['delta', undefined],
      ['delta', 2],
    ])
    expect(json.ofType('ticker').at(-1)).toMatchObject({ prevSent: [1_000, 6] })
    for (const client of others) {
      for (const type of ['orderbook', 'trade', 'subscribed', 'source'])
        expect(from(client, type)).toEqual(from(json, type))
      expect(comparable(client.ofType('ticker').at(-1)!)).toBe(comparable(json.ofType('ticker').at(-1)!))
      expect(client.messages.every(({ sentTime = 1 }) => Number.isSafeInteger(sentTime))).toBe(true)
    }
    expect(clients.map(({ binary }) => new Set(binary))).toEqual([
      ...[new Set([false]), new Set([true]), new Set([true]), new Set([false])],
    ])
    expect(clients.map(({ lengths }) => Math.max(...lengths) >= 20)).toEqual([false, false, true, true])
  })

  it('is made once of an event, however many clients and shapes there are', async () => {
    const topic = gateway.carry('venue', 'trades', 'BTC/USDT')
    const clients = await Promise.all(
      Array.from({ length: 12 }, () => new Client('', [MESSAGE_PACK]).opened()),
    )
    for (const client of clients) await client.subscribe('trades', ['*'])
    await clients[0]!.settled()
    const made = vi.spyOn(ENCODINGS[1]!, 'event')
    try {
      for (let id = 0; id < 10; id++) await gateway.publish(topic, trade(id))
      for (const client of clients) await client.settled()
      expect(made).toHaveBeenCalledTimes(10)
      expect(clients.every((client) => client.ofType('trade').length === 10)).toBe(true)
    } finally {
      made.mockRestore()
    }
  })

  it('of a client that is behind its pace holds the newest of each key, as in JSON', async () => {
    await gateway.stop()
    gateway = await new TestGateway({
      tiers: tier('basic', { framesPerMinute: 60, burst: 1 } as never),
    }).start()
    const topic = gateway.carry('venue', 'ticker', 'BTC/USDT')
    const client = await new Client('', [MESSAGE_PACK], false, KEYS.basic).opened()
    await client.subscribe('ticker', ['*'])
    for (let round = 0; round < 200; round++) await gateway.publish(topic, ticker(`${round}.0`))
    const last = await client.next(({ last }) => last === '199.0')
    expect(last).toMatchObject({ conflated: true, seq: 200 })
    expect(last.prev).toBe(client.ofType('ticker').at(-2)?.seq)
    expect(client.binary.every(Boolean)).toBe(true)
  })

  it('is taken for commands, and what is none is answered with 400', async () => {
    const client = await new Client('', [MESSAGE_PACK]).opened()
    client.socket.send('{"type":"ping","id":"as text"}')
    await client.next(({ type, id }) => type === 'pong' && id === 'as text')
    const wrong: [Uint8Array, RegExp][] = [
      [encode({ type: 'subscribe', id: 7, channel: 'ticker', symbols: 'BTC' }), /"symbols" is "BTC"/],
      [encode({ type: 'ping', extra: 1 }), /unknown field "extra"/],
      [encode([1, 2]), /not a MessagePack map/],
      [Buffer.alloc(10_000, 0x91), /nests deeper/],
      [Buffer.from([0x81, 0xa4, ...Buffer.from('type'), 0xc7, 0, 1]), /extension/],
      [Buffer.from([0x81, 0xa9, ...Buffer.from('__proto__'), 0x80]), /"type" is missing/],
    ]
    for (const [bytes] of wrong) client.socket.send(bytes)
    await client.settled()
    const errors = client.ofType('error')
    expect(errors.map(({ code }) => code)).toEqual(wrong.map(() => 400))
    for (const [index, [, why]] of wrong.entries()) expect(errors[index]?.message).toMatch(why)
    expect(errors[0]?.id).toBe(7)
    const json = await new Client().opened()
    json.socket.send(encode({ type: 'ping' }))
    expect(await json.next(({ type }) => type === 'error')).toMatchObject({ code: 400 })
  })
})

describe('compression', () => {
  const offer = (params = '') => `Sec-WebSocket-Extensions: permessage-deflate${params}`

  it.each([
    [
      '/ws?compress=true',
      offer(),
      'permessage-deflate; server_no_context_takeover; client_no_context_takeover',
    ],
    [
      '/ws?compress=true',
      offer('; client_max_window_bits'),
      'permessage-deflate; server_no_context_takeover; client_no_context_takeover',
    ],
    ['/ws', offer('; client_max_window_bits'), undefined],
    ['/ws?compress=false', offer(), undefined],
    ['/ws?compress=true', offer('; server_max_window_bits=10'), undefined],
    ['/ws?compress=true', 'X-None: 1', undefined],
    ['/ws/odds?compress=true', offer(), undefined],
    ['/ws/status?compress=true', offer(), undefined],
  ])('of %s with "%s" is %s', async (path, header, agreed) => {
    const client = await new RawClient(path, [header]).opened()
    expect(client.headers).toMatch(/^HTTP\/1.1 101 /)
    expect(client.header('Sec-WebSocket-Extensions')).toBe(agreed)
    client.socket.destroy()
  })

  it('is done once for all clients of a shape, whose frames are equal to the last byte', async () => {
    const topics = ['A/B', 'C/D'].map((symbol) => gateway.carry('venue', 'trades', symbol))
    const clients = await Promise.all(
      Array.from({ length: 20 }, () => new RawClient('/ws?compress=true&batch=true', [offer()]).opened()),
    )
    for (const client of clients) {
      client.write('{"type":"subscribe","channel":"trades","symbols":["*"]}')
      await until(() => client.frames.some(({ payload }) => payload.includes('"subscribed"')))
    }
    // Who has joined is sent the first event in a frame of its own.
    for (const topic of topics) await gateway.publish(topic, trade(0))
    await until(() => clients.every(({ frames }) => frames.length >= 3))
    const { facts, stop } = countDeflated()
    for (let burst = 1; burst <= 5; burst++) {
      await gateway.cache.apply(
        topics.flatMap((topic) => Array.from({ length: 10 }, (_, id) => gateway.event(topic, trade(id)))),
      )
      await until(() => clients.every(({ frames }) => frames.length === 3 + burst))
    }
    stop()
    expect(facts).toHaveLength(5)
    const [first, ...others] = clients
    const compressed = first!.frames.filter(({ type }) => type === 0xc1)
    expect(compressed).toHaveLength(5)
    for (const frame of compressed) {
      const events = JSON.parse(inflated(frame)) as Said[]
      expect(events).toHaveLength(20)
      expect(frame.payload.length * 4).toBeLessThan(JSON.stringify(events).length)
    }
    for (const { frames } of others) expect(frames.slice(-5)).toEqual(compressed)
    for (const { socket } of clients) socket.destroy()
  })

  it('is done once where clients follow other topics beside the one that changed', async () => {
    const topics = ['A/B', 'C/D', 'E/F'].map((symbol) => gateway.carry('venue', 'trades', symbol))
    const clients = await Promise.all(
      [['A/B'], ['A/B', 'C/D'], ['A/B', 'E/F']].map(async (symbols) => {
        const client = await new Client('?compress=true&batch=true', [], true).opened()
        return client.subscribe('trades', symbols)
      }),
    )
    const [changed] = topics
    for (const topic of topics) await gateway.publish(topic, trade(0))
    for (const client of clients) await client.settled()
    const { facts, stop } = countDeflated()
    await gateway.cache.apply(Array.from({ length: 10 }, (_, id) => gateway.event(changed!, trade(id))))
    for (const client of clients) await client.settled()
    stop()
    expect(facts).toHaveLength(1)
    for (const client of clients)
      expect(client.ofType('trade').at(-1)).toMatchObject({ symbol: 'A/B', seq: 11 })
  })

  it('leaves small frames, and what one client alone is sent, as they are', async () => {
    const book = gateway.carry('venue', 'orderbook', 'BTC/USDT')
    await gateway.publish(book, bookOf(500))
    const { facts, stop } = countDeflated()
    const raw = await new RawClient('/ws?compress=true', [offer()]).opened()
    raw.write('{"type":"subscribe","channel":"orderbook","symbols":["*"]}')
    await until(() => raw.frames.some((frame) => inflated(frame).includes('"snapshot"')))
    await gateway.publish(book, delta('2'))
    await until(() => raw.frames.some((frame) => inflated(frame).includes('"delta"')))
    expect(facts).toEqual([])
    expect(raw.frames.every(({ type }) => type === 0x81)).toBe(true)
    await gateway.publish(book, bookOf(500, '2'))
    const anew = await until(() => raw.frames.find(({ type }) => type === 0xc1))
    stop()
    expect(facts).toHaveLength(1)
    expect(JSON.parse(inflated(anew))).toMatchObject({ kind: 'snapshot', seq: 3 })
    raw.socket.destroy()
  })

  it.each([
    ['JSON', [], '?compress=true'],
    ['MessagePack', [MESSAGE_PACK], '?compress=true&batch=true'],
  ])('of %s is read by another implementation, both ways', async (_name, protocols, query) => {
    const book = gateway.carry('venue', 'orderbook', 'BTC/USDT')
    const client = await new Client(query, protocols, true).opened()
    expect(client.socket.extensions).toBe('permessage-deflate')
    const symbols = ['BTC/USDT', ...Array.from({ length: 300 }, (_, at) => `NONE${at}/USDT`)]
    await client.subscribe('orderbook', symbols)
    const { facts, stop } = countDeflated()
    for (let round = 1; round <= 5; round++) {
      await gateway.publish(book, bookOf(200, `${round}.0`))
      await until(() => client.ofType('orderbook').length === round)
    }
    stop()
    expect(facts.length).toBeGreaterThanOrEqual(4)
    expect(client.ofType('orderbook').map(({ bids, seq }) => [bids.length, bids[0][1], seq])).toEqual(
      Array.from({ length: 5 }, (_, at) => [200, `${at + 1}.0`, at + 1]),
    )
  })

  it('is what the SDK asks for with `compress`', async () => {
    const topic = gateway.carry('venue', 'trades', 'A/B')
    const url = `ws://127.0.0.1:${gateway.port}`
    const client = new FeedgateClient({ url, apiKey: KEYS.institutional, compress: true, WebSocket })
    const seqs: number[] = []
    const symbols = ['A/B']
    await client.subscribe({ channel: 'trades', symbols }, (event) => {
      if ('seq' in event) seqs.push(event.seq)
    }).ready
    const { facts, stop } = countDeflated()
    for (let round = 0; round < 10; round++)
      await gateway.cache.apply(Array.from({ length: 10 }, (_, id) => gateway.event(topic, trade(id))))
    await until(() => seqs.length === 100)
    stop()
    client.close()
    expect(seqs).toEqual(seqs.map((_, index) => index + 1))
    expect(facts.length).toBeGreaterThan(0)
  })

  it('of a client ends with 1009 where more comes out than a message may have', async () => {
    const bomb = await new Client('?compress=true', [], true).opened()
    const bystander = await new Client().opened()
    const before = process.memoryUsage().rss
    bomb.socket.send(`{"type":"ping","id":"${' '.repeat(32 * 1_048_576)}"}`)
    expect(await bomb.closed).toBe(1009)
    await bystander.settled()
    // The text of 32 MiB is this test's own, more than once.
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6)
  })

  it('is bounded for the process: beyond it frames leave as they are', () => {
    let ms = 0
    const deflater = new Deflater(() => ms)
    const frame = textFrame(JSON.stringify(Array.from({ length: 4_000 }, (_, id) => ({ id, price: '1.50' }))))
    const compressed = () => deflater.frame(frame) !== frame
    let bytes = 0
    while (compressed()) bytes += frame.length
    expect(bytes).toBeGreaterThan(3.8 * 1_048_576)
    expect(bytes).toBeLessThan(4.2 * 1_048_576)
    ms += (2 * (frame.length + 2_048)) / (16 * 1_024)
    expect([compressed(), compressed(), compressed(), compressed()]).toEqual([true, true, false, false])
  })
})

describe('the sockets of the first system', () => {
  it('are the same to the byte, whatever a client offers', async () => {
    const odds = gateway.carry('supplier', 'odds', 'MATCH_002')
    await gateway.publish(odds, {
      ...{ type: 'odds', kind: 'market', eventId: 'MATCH_002', marketId: 'm', market: '1X2', phase: 'LIVE' },
      ...{ status: 'OPEN', version: 1, selections: [{ selectionId: 's', name: 'Home', status: 'OPEN' }] },
    } as Payload)
    await gateway.publish(odds, {
      ...{
        type: 'odds',
        kind: 'price',
        eventId: 'MATCH_002',
        marketId: 'm',
        market: '1X2',
        selectionId: 's',
      },
      ...{ selection: 'Home', side: 'back', level: 0, odds: '1.85', sourcePrice: '1.85' },
      ...{ sourceFormat: 'decimal', marketVersion: 1 },
    } as Payload)
    const headers = [
      `Sec-WebSocket-Protocol: ${MESSAGE_PACK}`,
      'Sec-WebSocket-Extensions: permessage-deflate',
    ]
    const plain = await new RawClient('/ws/odds', []).opened()
    const asking = await new RawClient('/ws/odds?compress=true&batch=true', headers).opened()
    for (const client of [plain, asking]) client.write('{"type":"subscribe","eventId":"MATCH_002"}')
    const [one, other] = await Promise.all([plain, asking].map((client) => until(() => client.frames[0])))
    expect(one!.type).toBe(0x81)
    expect(other).toEqual(one)
    expect(JSON.parse(String(one!.payload))).toMatchObject({ eventId: 'MATCH_002', odd: 1.85 })
    for (const { socket } of [plain, asking]) socket.destroy()
  })
})

describe('one client', () => {
  const bytes = new Map<string, number>()
  let stop: () => void
  beforeAll(() => {
    stop = signals.framesSent.on((fact) => {
      bytes.set(fact.encoding, (bytes.get(fact.encoding) ?? 0) + fact.bytes)
    })
  })
  afterAll(() => stop())

  it.each([
    ['json', [], ''],
    ['json', [], '?batch=true'],
    ['msgpack', [MESSAGE_PACK], ''],
    ['msgpack+deflate', [MESSAGE_PACK], '?compress=true&batch=true'],
  ])(
    'takes 5,000 events of half a second in %s %j %s: none is lost, merged or out of order',
    async (name, protocols, query) => {
      const topics = Array.from({ length: 50 }, (_, at) => gateway.carry('venue', 'trades', `S${at}/USDT`))
      const client = await new Client(query, protocols, true).opened()
      await client.subscribe('trades', ['*'])
      bytes.clear()
      // As a feed brings them: a batch every 10 ms.
      for (let batch = 0; batch < 50; batch++) {
        await gateway.cache.apply(
          topics.flatMap((topic) => [gateway.event(topic, trade(batch)), gateway.event(topic, trade(batch))]),
        )
        await new Promise((go) => setTimeout(go, 10))
      }
      await client.settled()
      const seen = new Map<string, number>()
      for (const { symbol, seq, prev, conflated } of client.ofType('trade')) {
        expect([prev, conflated, seq]).toEqual([undefined, undefined, (seen.get(symbol) ?? 0) + 1])
        seen.set(symbol, seq)
      }
      expect([...seen.values()]).toEqual(topics.map(() => 100))
      expect(client.ofType('slow')).toEqual([])
      expect(Math.max(...client.lengths)).toBeLessThanOrEqual(query.includes('batch') ? MAX_ARRAY_FRAME : 1)
      expect([...bytes.keys()]).toEqual([name])
      expect(bytes.get(name)).toBeGreaterThan(20_000)
    },
  )
})
