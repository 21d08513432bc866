import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { count, type PlainBook, readBinance, readCoinbase, readKraken, top } from './independent-reading.ts'
import {
  all,
  CAPTURES,
  Client,
  createKey,
  type Gateway,
  hasCaptures,
  type Message,
  type Program,
  rest,
  startGateway,
  startPlay,
  temporaryFolder,
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
  return `sources:\n  - id: ${id}\n    kind: ${id}\n    url: ${url}\n    restUrl: ${url.replace('ws:', 'http:')}\n    subscriptions:\n${subscriptions.join('\n')}\n`
}

interface Run {
  gateway: Gateway
  client: Client
}

/** Plays files to a gateway with a client that saw every event; resolves when the player is through. */
async function play(
  id: string,
  files: string[],
  symbols: string[],
  channels: string[],
  ...options: string[]
): Promise<Run> {
  const player = await startPlay(
    files.map((file) => join(CAPTURES, file)),
    '--speed',
    'max',
    ...options,
  )
  running.push(player)
  const gateway = await startGateway({
    dataDir: await temporaryFolder(),
    config: settings(id, player.url, symbols, channels),
  })
  running.push(gateway)
  const key = await createKey(gateway, 'institutional')
  const client = await new Client(`${gateway.url}/ws`, { 'x-api-key': key }).open()
  for (const channel of channels) client.send({ type: 'subscribe', id: channel, channel, symbols: ['*'] })
  await player.line(/^played \d+ frames$/, 40_000)
  await settled(client)
  return { gateway, client }
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

/** What the client was sent, in order, once each; joins may repeat the newest of a topic as its snapshot. */
function events(client: Client, type: string): Message[] {
  const seen = new Map<string, Message>()
  for (const message of client.ofType(type)) {
    seen.set(`${message.symbol}|${message.timeframe}|${message.epoch}|${message.seq}`, message)
  }
  return [...seen.values()]
}

async function expectStoredOnce(run: Run, channel: string, type: string): Promise<Message[]> {
  const seen = events(run.client, type)
  const stored = await until(async () => {
    const rows = await all<Message>(run.gateway, `/v1/history/${channel}?limit=10000`)
    return rows.filter((row) => row.type === type).length >= seen.length && rows
  }, 20_000)
  const keys = stored.map((row) => `${row.symbol}|${row.timeframe}|${row.epoch}|${row.seq}`)
  expect(new Set(keys).size).toBe(keys.length)
  const bodies = new Set(stored.map((row) => JSON.stringify(row)))
  for (const message of seen) {
    const { sentTime: _sent, prev: _prev, prevSent: _prevSent, ...event } = message
    if (message.type !== 'orderbook' || message.kind === 'delta')
      expect(bodies).toContain(JSON.stringify(event))
  }
  return stored.filter((row) => row.type === type)
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
    expect(await expectStoredOnce(run, 'ticker', 'ticker')).toHaveLength(84)
    expect(await expectStoredOnce(run, 'trades', 'trade')).toHaveLength(2)
    expect(await expectStoredOnce(run, 'ohlcv', 'ohlcv')).toHaveLength(2)
    const books = await expectStoredOnce(run, 'orderbook', 'orderbook')
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
    const books = await expectStoredOnce(run, 'orderbook', 'orderbook')
    expect(books.filter((event) => event.kind === 'snapshot')).toHaveLength(10)
    expect(books.filter((event) => event.kind === 'delta')).toHaveLength(updates)
    expect(await expectStoredOnce(run, 'ticker', 'ticker')).toHaveLength(
      count('coinbase.ws.txt', (frame: { type: string }) => frame.type === 'ticker'),
    )
    const trades = new Set<number>()
    count(
      'coinbase.ws.txt',
      (frame: { type: string; product_id: string; trade_id: number }) =>
        frame.type.endsWith('match') && Boolean(trades.add(`${frame.product_id}${frame.trade_id}` as never)),
    )
    expect(await expectStoredOnce(run, 'trades', 'trade')).toHaveLength(trades.size)
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
    const stored = await expectStoredOnce(run, 'orderbook', 'orderbook')
    expect(stored.filter((event) => event.kind === 'snapshot')).toHaveLength(10)
    expect(stored.filter((event) => event.kind === 'delta')).toHaveLength(updates)
    expect((await expectStoredOnce(run, 'ticker', 'ticker')).length).toBe(
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
    })
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
