import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { count, type PlainBook, readBinance, readCoinbase, readKraken, top } from './independent-reading.ts'
import {
  ADMIN_KEY,
  all,
  CAPTURES,
  Client,
  type Gateway,
  hasCaptures,
  type Message,
  type Program,
  preparedFolder,
  rest,
  startGateway,
  startPlay,
  until,
} from './program.ts'

const BINANCE = ['NKN/USDT', 'BLZ/ETH', 'LRC/BTC', 'RUNE/EUR']
const COINBASE = [
  'SKL/USD',
  'SKL/BTC',
  'BAND/GBP',
  'NMR/EUR',
  'BAND/BTC',
  'YFI/BTC',
  'DASH/BTC',
  'NU/GBP',
  'CRV/EUR',
  'SKL/GBP',
]
const KRAKEN = [
  'WAVES/EUR',
  'XMR/USD',
  'KSM/BTC',
  'GRT/ETH',
  'SC/EUR',
  'ETH/CHF',
  'OCEAN/BTC',
  'OMG/USD',
  'BTC/CHF',
  'ADA/BTC',
]

const running: Program[] = []
afterEach(async () => {
  for (const program of running.splice(0)) await program.end('SIGKILL')
})

function settings(id: string, url: string, symbols: string[], channels: string[]): string {
  const subscriptions = channels.map(
    (channel) =>
      `      - { channel: ${channel}, symbols: ${JSON.stringify(symbols)}${channel === 'ohlcv' ? ', timeframe: 1m' : ''}${channel === 'orderbook' ? ', limit: 1000' : ''} }`,
  )
  return `sources:\n  - id: ${id}\n    kind: ${id}\n    url: ${url}\n    restUrl: ${url.replace('ws:', 'http:')}\n    reconnect: { baseMs: 100, capMs: 200 }\n    subscriptions:\n${subscriptions.join('\n')}\n`
}

interface Run {
  gateway: Gateway
  client: Client
}

/**
 * The gateway and its client are there before the player is: so the client sees every event, and the source has to
 * come back after refused connections. Resolves when the player is through.
 */
async function play(
  id: string,
  files: string[],
  symbols: string[],
  channels: string[],
  ...options: string[]
): Promise<Run> {
  const port = await freePort()
  const gateway = await startGateway({
    dataDir: await preparedFolder(),
    config: settings(id, `ws://127.0.0.1:${port}`, symbols, channels),
  })
  running.push(gateway)
  const client = await new Client(`${gateway.url}/ws`, { 'x-api-key': ADMIN_KEY }).open()
  for (const channel of channels) client.send({ type: 'subscribe', id: channel, channel, symbols: ['*'] })
  await until(() => client.ofType('subscribed').length === channels.length)
  const recordings = files.map((file) => join(CAPTURES, file))
  const player = await startPlay(recordings, '--speed', 'max', '--port', String(port), ...options)
  running.push(player)
  await player.line(/^played \d+ frames$/, 40_000)
  await settled(client)
  return { gateway, client }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

async function settled(client: Client): Promise<void> {
  let seen = -1
  await until(async () => {
    const before = seen
    seen = client.messages.length
    await new Promise((tick) => setTimeout(tick, 400))
    return before === client.messages.length
  }, 20_000)
}

const position = (event: Message) => `${event.symbol}|${event.timeframe}|${event.epoch}|${event.seq}`

/** Everything was sent to the client in the order of its topic, and stored once, byte for byte. */
async function expectSentAndStoredOnce(run: Run, channel: string, type: string): Promise<Message[]> {
  const seen = run.client.ofType(type)
  const stored = await until(async () => {
    const rows = (await all<Message>(run.gateway, `/v1/history/${channel}?limit=10000`)).filter(
      (row) => row.type === type,
    )
    return rows.length >= seen.length && rows
  }, 30_000)
  expect(new Set(seen.map(position)).size).toBe(seen.length)
  const sent = seen.map(({ sentTime: _sent, prev: _prev, prevSent: _prevSent, ...event }) =>
    JSON.stringify(event),
  )
  expect(sent.toSorted()).toEqual(stored.map((row) => JSON.stringify(row)).toSorted())
  const lastSeq = new Map<string, number>()
  for (const event of run.client.messages.filter(
    (message) => message.seq !== undefined && message.type !== 'source',
  )) {
    const topic = `${event.type === 'gap' ? event.channel : channelOf(event)}|${event.symbol}|${event.timeframe}`
    expect(event.seq, topic).toBe((lastSeq.get(topic) ?? 0) + 1)
    lastSeq.set(topic, event.seq as number)
  }
  return stored
}

function channelOf(event: Message): string {
  return event.type === 'trade' ? 'trades' : String(event.type)
}

async function expectBooks(
  run: Run,
  id: string,
  books: Map<string, PlainBook>,
  symbolOf: (venue: string) => string,
): Promise<void> {
  expect(books.size).toBeGreaterThan(3)
  for (const [venueSymbol, plain] of books) {
    const { body } = await rest<{ bids: unknown; asks: unknown }>(
      run.gateway,
      `/v1/orderbook?source=${id}&symbol=${encodeURIComponent(symbolOf(venueSymbol))}&depth=10`,
    )
    expect(body.bids, venueSymbol).toEqual(top(plain.bids, 10, 'highest'))
    expect(body.asks, venueSymbol).toEqual(top(plain.asks, 10, 'lowest'))
  }
}

describe.skipIf(!hasCaptures)('recorded traffic, frame for frame, to a client and once to the store', () => {
  it('Binance: 84 tickers, 2 trades, 2 candles, four books of 172 diffs, no gap', async () => {
    const run = await play('binance', ['binance.ws.txt', 'binance.rest.txt'], BINANCE, [
      'ticker',
      'trades',
      'orderbook',
      'ohlcv',
    ])
    expect(await expectSentAndStoredOnce(run, 'ticker', 'ticker')).toHaveLength(84)
    expect(await expectSentAndStoredOnce(run, 'trades', 'trade')).toHaveLength(2)
    expect(await expectSentAndStoredOnce(run, 'ohlcv', 'ohlcv')).toHaveLength(2)
    const books = await expectSentAndStoredOnce(run, 'orderbook', 'orderbook')
    expect(books.filter((event) => event.kind === 'snapshot')).toHaveLength(4)
    expect(books.filter((event) => event.kind === 'delta')).toHaveLength(172)
    expect(await all(run.gateway, '/v1/gaps')).toEqual([])
    await expectBooks(
      run,
      'binance',
      readBinance(),
      (s) => BINANCE.find((one) => one.replace('/', '') === s)!,
    )
  }, 60_000)

  it('Coinbase: every update and trade, no crossed book, no gap', async () => {
    const run = await play('coinbase', ['coinbase.ws.txt'], COINBASE, ['ticker', 'trades', 'orderbook'])
    const updates = count('coinbase.ws.txt', (frame: { type: string }) => frame.type === 'l2update')
    const books = await expectSentAndStoredOnce(run, 'orderbook', 'orderbook')
    expect(books.filter((event) => event.kind === 'snapshot')).toHaveLength(10)
    expect(books.filter((event) => event.kind === 'delta')).toHaveLength(updates)
    expect(await expectSentAndStoredOnce(run, 'ticker', 'ticker')).toHaveLength(
      count('coinbase.ws.txt', (frame: { type: string }) => frame.type === 'ticker'),
    )
    const trades = new Set<number>()
    count(
      'coinbase.ws.txt',
      (frame: { type: string; product_id: string; trade_id: number }) =>
        frame.type.endsWith('match') && Boolean(trades.add(`${frame.product_id}${frame.trade_id}` as never)),
    )
    expect(await expectSentAndStoredOnce(run, 'trades', 'trade')).toHaveLength(trades.size)
    expect(await all(run.gateway, '/v1/gaps')).toEqual([])
    await expectBooks(run, 'coinbase', readCoinbase(), (s) => s.replace('-', '/'))
  }, 60_000)

  it('Kraken v1: every checksum holds, every update is one delta', async () => {
    const run = await play(
      'kraken-v1',
      ['kraken-v1.book.ws.txt', 'kraken-v1.ticker.ws.txt', 'kraken-v1.trade.ws.txt'],
      KRAKEN,
      ['ticker', 'trades', 'orderbook'],
    )
    const { books, updates } = readKraken()
    const stored = await expectSentAndStoredOnce(run, 'orderbook', 'orderbook')
    expect(stored.filter((event) => event.kind === 'snapshot')).toHaveLength(10)
    expect(stored.filter((event) => event.kind === 'delta')).toHaveLength(updates)
    expect((await expectSentAndStoredOnce(run, 'ticker', 'ticker')).length).toBe(
      count('kraken-v1.ticker.ws.txt', (frame: unknown) => Array.isArray(frame)),
    )
    expect(await all(run.gateway, '/v1/gaps')).toEqual([])
    await expectBooks(run, 'kraken-v1', books, (s) => s.replace('XBT', 'BTC'))
  }, 60_000)

  it('Kraken v1 with one corrupted digit: caught, reported as a gap, repaired by a snapshot of that symbol alone', async () => {
    const run = await play(
      'kraken-v1',
      ['kraken-v1.book.ws.txt'],
      KRAKEN,
      ['orderbook'],
      '--faults',
      'corrupt',
    )
    const gaps = await until(async () => {
      const rows = await all<Message>(run.gateway, '/v1/gaps')
      return rows.length > 0 && rows
    }, 30_000)
    expect(
      gaps.every((gap) => gap.type === 'gap' && gap.channel === 'orderbook' && gap.reason === 'checksum'),
    ).toBe(true)
    const harmed = new Set(gaps.map((gap) => gap.symbol))
    expect(harmed.size).toBeLessThan(KRAKEN.length)
    const snapshotsOf = (symbol: string) =>
      run.client.ofType('orderbook').filter((event) => event.kind === 'snapshot' && event.symbol === symbol)
    await until(() => [...harmed].every((symbol) => snapshotsOf(symbol as string).length > 1))
    for (const symbol of KRAKEN) if (!harmed.has(symbol)) expect(snapshotsOf(symbol), symbol).toHaveLength(1)
    for (const gap of gaps)
      expect(run.client.ofType('gap')).toContainEqual(
        expect.objectContaining({ symbol: gap.symbol, seq: gap.seq }),
      )
    await expectBooks(run, 'kraken-v1', readKraken().books, (s) => s.replace('XBT', 'BTC'))
  }, 60_000)
})
