import { afterEach, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream, type Wire } from '../../manager/venue-world.ts'
import { connectorsOf, type Loopback, market, readScripts, startLoopback, withMarkets } from './loopback.ts'

const SYMBOL = 'BTC/USDT'
/** Of every trade in the fixtures. */
const TIME = Date.UTC(2026, 10, 22, 12, 0, 30)
let loopback: Loopback | undefined
let upstream: Upstream | undefined

afterEach(async () => {
  await upstream?.stop()
  await loopback?.stop()
})

/** With zeros at the end cut off where ccxt has no text. */
function written(exact: boolean, text: string): string {
  return exact ? text : String(Number(text))
}

/** What a reader of the events has: sizes by price. */
function bookOf(events: readonly Wire[]): Record<'bids' | 'asks', Record<string, string>> {
  const book = { bids: {} as Record<string, string>, asks: {} as Record<string, string> }
  for (const event of events) {
    for (const side of ['bids', 'asks'] as const) {
      if (event.kind === 'snapshot') book[side] = {}
      for (const [price, size] of event[side] ?? []) {
        if (size === '0') delete book[side][price]
        else book[side][price] = size
      }
    }
  }
  return book
}

describe('watch methods of ccxt, each against frames of its venue', () => {
  it.each([...readScripts()])('%s', async (id, script) => {
    loopback = await startLoopback(script)
    const library = await withMarkets({ [id]: [market(script.marketId, SYMBOL)] })
    const { url, restUrl } = loopback
    const subscriptions = script.channels.map((channel) => ({
      channel,
      symbols: [SYMBOL],
      ...(channel === 'ohlcv' && { timeframe: '1m' }),
    }))
    const sources = [{ id, kind: 'ccxt', url, restUrl, subscriptions }]
    upstream = await startUpstream(sources, { connectors: connectorsOf(library) })
    const { of, until } = upstream
    const topic = (channel: string) => `${id}|${channel}|${SYMBOL}${channel === 'ohlcv' ? '|1m' : ''}`
    const least = { ticker: 1, trades: 1, orderbook: 1, ohlcv: 3 }
    const came = () =>
      script.channels.every((channel) => of(topic(channel)).length >= least[channel]) &&
      (!script.channels.includes('orderbook') || bookOf(of(topic('orderbook'))).bids['99'] === '3')
    await until(`events of ${script.channels} of ${id}`, came)

    const { exact } = script
    if (script.channels.includes('ticker')) {
      const ticker: Wire = Object.assign({}, ...of(topic('ticker')))
      expect(ticker).toMatchObject({ last: written(exact, '100.50'), high: written(exact, '110.00') })
    }
    expect(of(topic('trades'))).toMatchObject([
      {
        id: '42',
        price: written(exact, '100.50'),
        size: expect.stringMatching(/^0[.]250?$/),
        side: 'buy',
        sourceTime: TIME * 1_000,
      },
    ])
    if (script.channels.includes('orderbook'))
      expect(bookOf(of(topic('orderbook')))).toEqual({ bids: { 98: '2', 99: '3' }, asks: { 102: '2' } })
    if (script.channels.includes('ohlcv'))
      expect(
        of(topic('ohlcv')).map(({ open, close, closed, origin }) => ({
          open: Number(open),
          close: Number(close),
          closed,
          origin,
        })),
      ).toEqual([
        { open: 100, close: 100.5, closed: false, origin: 'venue' },
        { open: 100, close: 100.5, closed: true, origin: 'venue' },
        { open: 100.5, close: 100.5, closed: false, origin: 'venue' },
      ])
    expect(upstream.letters).toEqual([])
  })
})
