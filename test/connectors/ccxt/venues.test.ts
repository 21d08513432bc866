import { afterEach, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream, type Wire } from '../../manager/venue-world.ts'
import { connectorsOf, type Loopback, market, startLoopback, withMarkets } from './loopback.ts'
import { TIME, VENUES } from './venues.ts'

const SYMBOL = 'BTC/USDT'
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

describe('watch methods of ccxt, each against frames of its venue', () => {
  it.each(Object.entries(VENUES))('%s', async (id, script) => {
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
    const least = { ticker: 1, trades: 1, orderbook: 2, ohlcv: 3 }
    const came = () => script.channels.every((channel) => of(topic(channel)).length >= least[channel])
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
        size: written(exact, '0.250'),
        side: 'buy',
        sourceTime: TIME * 1_000,
      },
    ])
    if (script.channels.includes('orderbook'))
      expect(of(topic('orderbook'))).toMatchObject([
        {
          kind: 'snapshot',
          bids: [
            ['99', '1'],
            ['98', '2'],
          ],
          asks: [
            ['101', '1'],
            ['102', '2'],
          ],
          depth: 100,
        },
        { kind: 'delta', bids: [['99', '3']], asks: [['101', '0']] },
      ])
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
