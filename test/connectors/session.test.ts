import { createHash } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Decoded, Link, LinkEnd, Subscription } from '../../src/connectors/connector.ts'
import { openSession } from '../../src/connectors/session.ts'
import type { Venue } from '../../src/connectors/venue.ts'
import { venue as binance } from '../../src/connectors/venues/binance.ts'
import { venue as bybit } from '../../src/connectors/venues/bybit.ts'
import { venue as kraken } from '../../src/connectors/venues/kraken.ts'
import { venue as okx } from '../../src/connectors/venues/okx.ts'
import { until } from '../manager/venue-world.ts'

const closing: (() => void)[] = []

afterEach(() => {
  for (const close of closing.splice(0)) close()
})

/** A venue on loopback: what it was told, and its open connections. */
async function listen(
  answer: (socket: WebSocket, message: string) => void = () => {},
): Promise<{ url: string; told: string[]; times: number[]; sockets: WebSocket[] }> {
  const told: string[] = []
  const times: number[] = []
  const sockets: WebSocket[] = []
  const server = createServer()
  new WebSocketServer({ server }).on('connection', (socket) => {
    sockets.push(socket)
    socket.on('message', (data) => {
      told.push(data.toString())
      times.push(performance.now())
      answer(socket, data.toString())
    })
  })
  const url = await bind(server)
  closing.push(() => {
    for (const socket of sockets) socket.terminate()
  })
  return { url, told, times, sockets }
}

/** Shakes hands and then neither reads frames nor answers; `gone` resolves when the client has left. */
async function listenDeaf(): Promise<{ url: string; gone: Promise<void> }> {
  const server = createServer()
  const gone = new Promise<void>((resolve) => {
    server.on('upgrade', (request, socket) => {
      const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
      const accept = createHash('sha1').update(key).digest('base64')
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
      )
      socket.resume().on('end', resolve)
    })
  })
  return { url: await bind(server), gone }
}

async function bind(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => server.close())
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function refuseWith(response: string): Promise<string> {
  const server = createServer()
  server.on('upgrade', (_request, socket) => socket.end(response))
  return bind(server)
}

interface Session {
  readonly link: Link
  readonly said: Decoded[]
  readonly frames: [string, string][]
  readonly ends: LinkEnd[]
  opened: number
}

function connect(venue: Venue, url: string): Session {
  const said: Decoded[] = []
  const frames: [string, string][] = []
  const ends: LinkEnd[] = []
  const session = { said, frames, ends, opened: 0 } as unknown as Session & { link: Link }
  session.link = openSession(
    venue,
    '',
    { source: 'test', url },
    {
      opened: () => session.opened++,
      decoded: (update) => said.push(update),
      frame: (direction, text) => frames.push([direction, text]),
      ended: (end) => ends.push(end),
    },
  )
  closing.push(() => session.link.close('test is over'))
  return session
}

const tickers = (...symbols: string[]): Subscription[] =>
  symbols.map((symbol) => ({ channel: 'ticker', symbol }))
const limited = (venue: Venue, limits: Partial<Venue['limits']>): Venue => ({
  ...venue,
  limits: { ...venue.limits, ...limits },
})
const TICKER =
  '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":1.50,"bid_qty":2,"ask":3,"ask_qty":4,"last":2.0,"volume":1,"vwap":1,"low":1,"high":3,"change":0,"change_pct":0}]}'

describe('the socket session', () => {
  it('asks in messages no larger and no faster than the venue allows', async () => {
    const { url, told, times } = await listen()
    const venue = limited(binance, { subscriptionsPerMessage: 2, messagesPerSecond: 4 })
    const { link } = connect(venue, url)
    link.subscribe(
      tickers(...['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J'].map((base) => `${base}/USDT`)),
    )
    await until('five requests', () => told.length === 5)
    expect(told.map((frame) => JSON.parse(frame).params.length)).toEqual([4, 4, 4, 4, 4])
    // Three at once (one is kept for pongs), then those that a second allows.
    expect(times[2]! - times[0]!).toBeLessThan(300)
    expect(times[3]! - times[0]!).toBeGreaterThan(900)
  })

  it('says which subscriptions an acknowledgement by number is about', async () => {
    const { url } = await listen((socket, message) =>
      socket.send(JSON.stringify({ result: null, id: JSON.parse(message).id })),
    )
    const { link, said } = connect(binance, url)
    link.subscribe(tickers('BTC/USDT', 'ETH/USDT'))
    await until('two acknowledgements', () => said.length === 2)
    expect(said).toMatchObject([
      { kind: 'acknowledged', subscription: { symbol: 'BTC/USDT' } },
      { kind: 'acknowledged', subscription: { symbol: 'ETH/USDT' } },
    ])
  })

  it('finds the one bad symbol when a venue refuses the whole message', async () => {
    const { url } = await listen((socket, message) => {
      const { params, id } = JSON.parse(message)
      const bad = params.some((name: string) => name.startsWith('bad'))
      socket.send(
        JSON.stringify(bad ? { error: { code: 2, msg: 'Invalid request' }, id } : { result: null, id }),
      )
    })
    const { link, said } = connect(limited(binance, { messagesPerSecond: 100 }), url)
    link.subscribe(tickers('BTC/USDT', 'BAD/USDT', 'ETH/USDT'))
    await until('three answers', () => said.length === 3)
    const answers = said.map((one) => [
      one.kind,
      (one as { subscription?: Subscription }).subscription?.symbol,
    ])
    expect(answers.toSorted()).toEqual([
      ['acknowledged', 'BTC/USDT'],
      ['acknowledged', 'ETH/USDT'],
      ['refused', 'BAD/USDT'],
    ])
  })

  it.each([
    ['429 Too Many Requests', 'retry-after: 7\r\n', { reason: 'refused: HTTP 429', retryAfterMs: 7_000 }],
    ['418 Teapot', 'retry-after: 120\r\n', { reason: 'refused: HTTP 418', retryAfterMs: 120_000 }],
    ['451 Unavailable For Legal Reasons', '', { reason: 'refused: HTTP 451' }],
  ])('ends with what the venue said when it refuses the handshake: %s', async (status, header, end) => {
    const url = await refuseWith(`HTTP/1.1 ${status}\r\n${header}content-length: 0\r\n\r\n`)
    const { ends } = connect(kraken, url)
    await until('an end', () => ends.length > 0)
    expect(ends).toEqual([end])
  })

  it('says why it could not connect', async () => {
    const { ends } = connect(kraken, 'ws://127.0.0.1:1')
    await until('an end', () => ends.length > 0)
    expect(ends).toEqual([{ reason: 'cannot connect: ECONNREFUSED' }])
  })

  it('ends a socket that is open and silent', async () => {
    const { url } = await listen()
    const session = connect({ ...kraken, heartbeat: { silentMs: 200 } }, url)
    await until('an end', () => session.ends.length > 0)
    expect(session.opened).toBe(1)
    expect(session.ends[0]).toMatchObject({ reason: 'no message for 0 s', silent: true })
  })

  it('keeps a quiet venue that answers pings', async () => {
    const { url } = await listen()
    const heartbeat = { silentMs: 500, ping: { everyMs: 150, frame: () => 'protocol' as const } }
    const { ends } = connect({ ...kraken, heartbeat }, url)
    await new Promise((resolve) => setTimeout(resolve, 900))
    expect(ends).toEqual([])
  })

  it('takes pongs for no proof of life once the venue has sent heartbeats by itself', async () => {
    const { url, sockets } = await listen()
    const heartbeat = { silentMs: 400, ping: { everyMs: 80, frame: () => 'protocol' as const } }
    const { ends } = connect({ ...kraken, heartbeat }, url)
    await until('a connection', () => sockets.length > 0)
    sockets[0]?.send('{"channel":"heartbeat"}')
    await until('an end', () => ends.length > 0, 2_000)
    expect(ends[0]?.silent).toBe(true)
  })

  it('cuts off a peer that answers no close frame, after a second', async () => {
    const { url, gone } = await listenDeaf()
    const session = connect(kraken, url)
    await until('a connection', () => session.opened === 1)
    const begun = performance.now()
    session.link.close('test')
    session.link.close('again')
    expect(session.ends).toEqual([{ reason: 'test' }])
    await gone
    expect(performance.now() - begun).toBeGreaterThan(900)
    expect(performance.now() - begun).toBeLessThan(1_500)
  })

  it('reads nothing while it is paused, and everything after', async () => {
    const { url, sockets } = await listen()
    const { link, said } = connect({ ...kraken, heartbeat: { silentMs: 150 } }, url)
    link.subscribe(tickers('BTC/USD'))
    await until('a connection', () => sockets.length > 0)
    link.pause()
    await new Promise((resolve) => setTimeout(resolve, 30))
    for (let i = 0; i < 10; i++) sockets[0]?.send(TICKER)
    await new Promise((resolve) => setTimeout(resolve, 400))
    expect(said).toEqual([])
    link.resume()
    await until('ten tickers', () => said.length === 10)
  })

  it('reads binary frames, and shows every raw frame in both directions', async () => {
    const { url } = await listen((socket) => socket.send(Buffer.from(TICKER), { binary: true }))
    const { link, said, frames } = connect(kraken, url)
    link.subscribe(tickers('BTC/USD'))
    await until('a ticker', () => said.length === 1)
    expect(said[0]).toMatchObject({
      kind: 'event',
      channel: 'ticker',
      symbol: 'BTC/USD',
      payload: { bid: '1.50' },
    })
    expect(frames.map(([direction]) => direction)).toEqual(['out', 'in'])
    expect(frames[1]?.[1]).toBe(TICKER)
  })

  it('gives up a stream of the venue with the last subscription that shares it', async () => {
    const { url, told } = await listen((socket, message) => {
      const { op, req_id } = JSON.parse(message)
      socket.send(JSON.stringify({ success: true, ret_msg: '', req_id, op }))
    })
    const { link, said } = connect(bybit, url)
    const [ticker, funding, trades] = (['ticker', 'funding', 'trades'] as const).map((channel) => ({
      channel,
      symbol: 'BTC/USDT:USDT',
    }))
    link.subscribe([ticker!, funding!, trades!])
    await until('three acknowledgements', () => said.length === 3)
    link.unsubscribe([ticker!])
    link.unsubscribe([trades!])
    link.unsubscribe([funding!])
    await until('all to be told', () => told.length === 3)
    expect(told.map((message) => JSON.parse(message)).map(({ op, args }) => [op, ...args])).toEqual([
      ['subscribe', 'tickers.BTCUSDT', 'publicTrade.BTCUSDT'],
      ['unsubscribe', 'publicTrade.BTCUSDT'],
      ['unsubscribe', 'tickers.BTCUSDT'],
    ])
  })

  it('asks no more often than a connection may, but pings', async () => {
    const { url, told, times } = await listen()
    const limits = { ...okx.limits, subscriptionsPerMessage: 1, requests: { count: 2, perMs: 400 } }
    const ping = { everyMs: 60, frame: () => 'ping' }
    const { link } = connect({ ...okx, limits, heartbeat: { silentMs: 60_000, ping } }, url)
    link.subscribe(tickers('BTC/USDT', 'ETH/USDT', 'SOL/USDT'))
    const asked = () => told.flatMap((message, index) => (message === 'ping' ? [] : [times[index]!]))
    await until('three requests', () => asked().length === 3)
    const [first, , third] = asked()
    expect(third! - first!).toBeGreaterThan(380)
    expect(told.filter((message) => message === 'ping').length).toBeGreaterThan(1)
  })

  it('pings a venue that wants it also while data comes', async () => {
    const { url, told, sockets } = await listen()
    const ping = { everyMs: 40, frame: () => 'ping' }
    const [always, silent] = [true, false].map((always) =>
      connect({ ...kraken, heartbeat: { silentMs: 60_000, ping: { ...ping, always } } }, url),
    )
    await until('connections', () => sockets.length === 2 && always!.opened + silent!.opened === 2)
    const talk = setInterval(() => {
      for (const socket of sockets) socket.send(TICKER)
    }, 10)
    await new Promise((resolve) => setTimeout(resolve, 300))
    clearInterval(talk)
    // On a busy machine data may be late enough for a ping of the other, too.
    const [pinged, seldom] = [always!, silent!].map(
      ({ frames }) => frames.filter(([, text]) => text === 'ping').length,
    )
    await until('all pings', () => told.length === pinged! + seldom!)
    expect(pinged).toBeGreaterThan(3)
    expect(seldom).toBeLessThan(pinged!)
  })
})
