import { afterEach, expect, it } from 'vitest'
import { startExchange } from '../../src/exchange/exchange.ts'
import { closeAll, connect, play, recording, settled, until, VenueClient } from './venue-client.ts'

afterEach(closeAll)

// What a simulated venue sent, recorded and played again: their dialects are one.
it.each([
  ['okx', '/ws/v5/public', { op: 'subscribe', args: [{ channel: 'books', instId: 'BTC-USDT' }] }],
  ['bybit', '/v5/public/spot', { op: 'subscribe', args: ['orderbook.50.BTCUSDT'], req_id: '1' }],
  ['binance', '/ws', { method: 'SUBSCRIBE', params: ['btcusdt@depth'], id: 1 }],
  ['coinbase', '/', { type: 'subscribe', product_ids: ['BTC-USD'], channels: ['level2_batch'] }],
  ['kraken', '/v2', { method: 'subscribe', params: { channel: 'book', symbol: ['BTC/USD'], depth: 10 } }],
  ['kraken-v1', '/', { event: 'subscribe', pair: ['XBT/USD'], subscription: { name: 'book', depth: 10 } }],
] as const)(
  '%s: frames of the exchange are played as they were, and a second subscription gets the book',
  async (venue, path, request) => {
    const exchange = await startExchange({ venue, rate: 0 })
    const original = await new VenueClient(`${exchange.url}${path}`).open()
    original.send(request)
    await until(() => (exchange.connections[0]?.streams.length ?? 0) > 0)
    exchange.advance(90)
    await until(() => original.frames.filter((frame) => DATA.test(frame)).length >= 30)
    const frames = original.frames.filter((frame) => DATA.test(frame))
    original.socket.terminate()
    await exchange.close()

    const file = await recording(frames.map((frame, at) => `1600000000.${100 + at}: ${frame}`))
    const { player } = await play([file])
    const client = await connect(player, path)
    client.send(request)
    await player.finished
    await settled(player, client)
    const data = () => client.frames.filter((frame) => DATA.test(frame))
    expect(data()).toEqual(frames)
    if (venue === 'binance') return
    client.send(request)
    await until(() => data().length === frames.length + 1)
    expect(data().at(-1)).toMatch(/snapshot|"as":/)
  },
)

const DATA =
  /"depthUpdate"|"l2update"|"type":"snapshot"|^{"channel":"book"|"book-10","XBT|"action":|"topic":"order/
