import { afterEach, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../manager/venue-world.ts'
import {
  connectorsOf,
  type Loopback,
  market,
  type Reply,
  readScripts,
  startLoopback,
  withMarkets,
} from './loopback.ts'

const BTC = 'BTC/USDT'
const ETH = 'ETH/USDT'
const QUICK = { sweepMs: 50, doubtAfterMs: 300, graceMs: 100 }
const T = Date.UTC(2026, 10, 22, 12)

/** As Bybit does. */
const UNSUBSCRIBED: Reply = [
  /"unsubscribe"/,
  (text: string) => ({
    success: true,
    ret_msg: '',
    req_id: String(JSON.parse(text).req_id),
    op: 'unsubscribe',
  }),
]

let loopback: Loopback
let upstream: Upstream | undefined

afterEach(async () => {
  await upstream?.stop()
  await loopback?.stop()
})

interface Wanted {
  readonly channel: 'ticker' | 'trades' | 'orderbook' | 'ohlcv'
  readonly symbols: readonly string[]
}

async function start(
  id: string,
  wanted: readonly Wanted[],
  rest: Loopback['script']['rest'] = [],
): Promise<Upstream> {
  const script = readScripts().get(id)!
  loopback = await startLoopback({
    ...script,
    replies: [...script.replies, UNSUBSCRIBED],
    rest: [...(script.rest ?? []), ...rest],
  })
  const markets = [
    market(script.marketId, BTC),
    market(script.marketId.replace('BTC', 'ETH').replace('btc', 'eth'), ETH),
  ]
  const connectors = connectorsOf(await withMarkets({ [id]: markets }), QUICK)
  const { url, restUrl } = loopback
  const reconnect = { baseMs: 20, capMs: 100 }
  upstream = await startUpstream([{ id, kind: 'ccxt', url, restUrl, subscriptions: wanted, reconnect }], {
    connectors,
  })
  return upstream
}

/** In the form of Bybit. */
function trade(i: number, market = 'BTCUSDT'): object {
  const data = [{ T: T + i, s: market, S: 'Sell', v: '1', p: '100', i: String(i), BT: false }]
  return { topic: `publicTrade.${market}`, type: 'snapshot', ts: T, data }
}

function book(type: 'snapshot' | 'delta', bids: readonly string[][], asks: readonly string[][]): object {
  return {
    topic: 'orderbook.200.BTCUSDT',
    type,
    ts: T,
    data: { s: 'BTCUSDT', b: bids, a: asks, u: 1, seq: 1 },
  }
}

const fetched = (...ids: readonly number[]) => ({
  retCode: 0,
  result: {
    category: 'spot',
    list: ids.map((i) => ({
      execId: String(i),
      symbol: 'BTCUSDT',
      price: '100',
      size: '1',
      side: 'Sell',
      time: String(T + i),
    })),
  },
})

const seenOf = (topic: string) => upstream!.shape(topic)

describe('a source of ccxt', () => {
  it('makes one delta of each message, also where many come at once', async () => {
    const { until, of } = await start('bybit', [{ channel: 'orderbook', symbols: [BTC] }])
    await until('the book', () => of(`bybit|orderbook|${BTC}`).length === 2)
    for (let i = 1; i <= 50; i++) loopback.send(book('delta', [['98.00', String(10 + i)]], []))
    await until('all of them', () => of(`bybit|orderbook|${BTC}`).length >= 52)
    expect(
      of(`bybit|orderbook|${BTC}`)
        .slice(2)
        .map((event) => event.bids),
    ).toEqual(Array.from({ length: 50 }, (_, i) => [['98', String(11 + i)]]))
  })

  it('takes the depth that the exchange has, and cuts it, where it refuses the one that is asked', async () => {
    const { until, of } = await start('htx', [{ channel: 'trades', symbols: [BTC] }])
    await until('trades', () => of(`htx|trades|${BTC}`).length === 1)
    await upstream!.manager.subscribe({ exchangeId: 'htx', channel: 'orderbook', symbol: BTC, limit: 7 })
    await until('its own depth', () => loopback.asked.some((one) => one.includes('mbp.150')))
  })

  it('builds a crossed book anew, alone', async () => {
    const { until } = await start('bybit', [
      { channel: 'orderbook', symbols: [BTC] },
      { channel: 'trades', symbols: [BTC] },
    ])
    await until('the book', () => seenOf(`bybit|orderbook|${BTC}`).length === 2)
    loopback.send(book('delta', [['150.00', '1']], []))
    await until('a new snapshot', () => seenOf(`bybit|orderbook|${BTC}`).slice(2).includes('snapshot'))
    expect(seenOf(`bybit|orderbook|${BTC}`).slice(0, 4)).toEqual(['snapshot', 'delta', 'gap', 'snapshot'])
    expect(loopback.asked.filter((one) => one.includes('unsubscribe'))).toHaveLength(1)
    expect(seenOf(`bybit|trades|${BTC}`)).toEqual(['trade'])
    expect(loopback.sockets.size).toBe(1)
  })

  it('fetches by REST the trades that a cut cost, and says so', async () => {
    const { until, of } = await start(
      'bybit',
      [{ channel: 'trades', symbols: [BTC] }],
      [[/recent-trade/, fetched(55, 54, 53, 52, 51)]],
    )
    await until('connected', () => of(`bybit|trades|${BTC}`).length === 1)
    loopback.send(trade(51))
    await until('the trade', () => of(`bybit|trades|${BTC}`).length === 2)
    for (const socket of loopback.sockets) socket.terminate()
    loopback.script = { ...loopback.script, replies: [[/publicTrade/, trade(55)]] }
    const ids = () => of(`bybit|trades|${BTC}`).flatMap(({ id, flags }) => (id ? [[id, flags?.[0]]] : []))
    await until('what was missed', () => ids().some(([id]) => id === '54'))
    expect(ids().slice(1)).toEqual(
      expect.arrayContaining([
        ['51', undefined],
        ['55', undefined],
        ['52', 'backfilled'],
        ['53', 'backfilled'],
        ['54', 'backfilled'],
      ]),
    )
    expect(ids()).toHaveLength(6)
  })

  it('refuses a bad symbol alone: by the list, and before there is one by the topic', async () => {
    const { manager, until, of } = await start('bybit', [{ channel: 'trades', symbols: [BTC, 'NO/SUCH'] }])
    const status = (symbol: string) => manager.status('bybit')?.topics.find((one) => one.symbol === symbol)
    await until('the refusal', () => status('NO/SUCH')?.state === 'refused')
    expect(status('NO/SUCH')?.reason).toMatch(/symbol|instruments/)
    await until('the other', () => of(`bybit|trades|${BTC}`).length === 1)
    await expect(
      manager.subscribe({ exchangeId: 'bybit', channel: 'trades', symbol: 'OTHER/ONE' }),
    ).rejects.toMatchObject({ code: 'unknown-symbol' })
    await expect(
      manager.subscribe({ exchangeId: 'bybit', channel: 'ohlcv', symbol: BTC, timeframe: '7m' }),
    ).rejects.toMatchObject({ code: 'unknown-timeframe', message: expect.stringContaining('1m, 3m') })
    await expect(
      manager.subscribe({ exchangeId: 'bybit', channel: 'odds', symbol: BTC }),
    ).rejects.toMatchObject({ code: 'unknown-channel', message: expect.stringContaining('ticker, trades') })
  })

  it('does not let an error that ccxt throws at all watchers end more than its own', async () => {
    const { manager, until, of } = await start('bybit', [{ channel: 'trades', symbols: [BTC] }])
    await until('trades', () => of(`bybit|trades|${BTC}`).length === 1)
    const error = {
      success: false,
      ret_msg: 'error:topic publicTrade.ETHUSDT does not exist',
      conn_id: 'x',
      op: 'subscribe',
    }
    loopback.script = { ...loopback.script, replies: [[/publicTrade\.ETH/, error]] }
    await manager.subscribe({ exchangeId: 'bybit', channel: 'trades', symbol: ETH })
    await until(
      'the refusal',
      () => manager.status('bybit')?.topics.some((one) => one.state === 'refused') ?? false,
    )
    expect(manager.status('bybit')?.topics.find((one) => one.symbol === ETH)?.reason).toMatch(
      /does not exist/,
    )
    loopback.send(trade(43))
    await until('the next trade', () => of(`bybit|trades|${BTC}`).length === 2)
    expect(seenOf(`bybit|trades|${BTC}`)).toEqual(['trade', 'trade'])
    expect(loopback.asked.filter((one) => one.includes('publicTrade.BTC'))).toHaveLength(1)
  })

  it('tells the loss of one socket among several only for what it carried', async () => {
    const { until, manager } = await start('binance', [
      { channel: 'trades', symbols: [BTC] },
      { channel: 'ticker', symbols: [BTC] },
    ])
    await until(
      'both',
      () => seenOf(`binance|trades|${BTC}`).length === 1 && seenOf(`binance|ticker|${BTC}`).length === 2,
    )
    const before = loopback.asked.length
    // In the order in which they were opened: trades, ticker, best prices.
    expect(loopback.sockets.size).toBe(3)
    for (const socket of [...loopback.sockets].slice(0, 1)) socket.terminate()
    await until('asked again', () => loopback.asked.slice(before).some((one) => one.includes('@trade')))
    expect(manager.status('binance')?.state).toBe('connected')
    expect(seenOf(`binance|ticker|${BTC}`)).toEqual(['ticker', 'ticker'])
  })

  it('asks again for a book that is silent while the venue moves on, and says what was missed', async () => {
    let size = 1
    const depth = () => ({
      retCode: 0,
      result: { s: 'BTCUSDT', b: [['99.00', String(size++)]], a: [['102.00', '2.0']], ts: T, u: 1 },
    })
    const { until } = await start(
      'bybit',
      [{ channel: 'orderbook', symbols: [BTC] }],
      [[/market\/orderbook/, depth]],
    )
    await until('the book', () => seenOf(`bybit|orderbook|${BTC}`).length === 2)
    await until('a new book', () => seenOf(`bybit|orderbook|${BTC}`).includes('gap'))
    await until(
      'its snapshot',
      () => seenOf(`bybit|orderbook|${BTC}`).filter((one) => one === 'snapshot').length === 2,
    )
    expect(loopback.sockets.size).toBe(1)
  })

  it('gives a subscription that stays withheld another socket, and tells the others of the break', async () => {
    let time = T
    const recent = () => fetched(++time - T)
    const { until } = await start(
      'bybit',
      [
        { channel: 'trades', symbols: [BTC] },
        { channel: 'ticker', symbols: [BTC] },
      ],
      [[/recent-trade/, recent]],
    )
    await until('trades', () => seenOf(`bybit|trades|${BTC}`).length === 1)
    const { replies } = loopback.script
    loopback.script = {
      ...loopback.script,
      replies: replies.filter(([pattern]) => !/Trade/.test(pattern.source)),
    }
    const sockets = () => loopback.asked.filter((one) => one.startsWith('WS')).length
    await until('another socket', () => sockets() === 2, 15_000)
    loopback.script = { ...loopback.script, replies }
    await until('the break', () => seenOf(`bybit|ticker|${BTC}`).includes('gap'), 15_000)
    loopback.send(trade(99))
    await until('trades again', () => seenOf(`bybit|trades|${BTC}`).includes('gap'), 15_000)
  })

  it('leaves a quiet market alone', async () => {
    const depth = {
      retCode: 0,
      result: { s: 'BTCUSDT', b: [['99.00', '3.0']], a: [['102.00', '2.0']], ts: T, u: 1 },
    }
    const { until } = await start(
      'bybit',
      [{ channel: 'orderbook', symbols: [BTC] }],
      [[/market\/orderbook/, depth]],
    )
    await until('the book', () => seenOf(`bybit|orderbook|${BTC}`).length === 2)
    await until(
      'two looks',
      () => loopback.asked.filter((one) => one.includes('market/orderbook')).length >= 3,
    )
    expect(seenOf(`bybit|orderbook|${BTC}`)).toEqual(['snapshot', 'delta'])
    expect(loopback.asked.filter((one) => one.includes('unsubscribe'))).toEqual([])
  })

  it('stops reading while the bus is full, and loses nothing', async () => {
    const library = await withMarkets({ bybit: [market('BTCUSDT', BTC)] })
    loopback = await startLoopback({ ...readScripts().get('bybit')!, replies: [] })
    const connector = connectorsOf(library).connectorFor('ccxt', { exchange: 'bybit' })!
    const ids: string[] = []
    const frames: string[] = []
    const { promise: opened, resolve } = withResolvers()
    const { promise: ended, resolve: end } = withResolvers()
    const link = connector.open(
      '',
      { source: 'bybit', url: loopback.url, restUrl: loopback.restUrl },
      {
        opened: resolve,
        decoded: (update) => {
          if (update.kind === 'event' && update.payload.type === 'trade') ids.push(update.payload.id!)
        },
        frame: (direction, text) => void frames.push(`${direction} ${text}`),
        ended: () => end(),
      },
    )
    await opened
    link.subscribe([{ channel: 'trades', symbol: BTC }])
    await until(() => loopback.asked.some((one) => one.includes('publicTrade')))
    link.pause()
    for (let i = 0; i < 5_000; i++) loopback.send(trade(i))
    await new Promise((done) => setTimeout(done, 200))
    expect(ids.length).toBeLessThanOrEqual(1)
    link.resume()
    await until(() => ids.length === 5_000)
    expect(ids).toEqual(Array.from({ length: 5_000 }, (_, i) => String(i)))
    expect(frames.filter((one) => one.startsWith('in ')).length).toBe(5_000)
    expect(frames.some((one) => one.startsWith('out {"op":"subscribe"'))).toBe(true)
    link.close('enough')
    link.close('twice')
    await ended
    await until(() => loopback.sockets.size === 0)
  })
})

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

async function until(holds: () => boolean): Promise<void> {
  const end = Date.now() + 8_000
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not seen: ${holds}`)
    await new Promise((done) => setTimeout(done, 5))
  }
}
