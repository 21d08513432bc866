/**
 * Frames a second that a simulated venue sends from one core, for each venue: the server alone in this process at its
 * greatest rate, clients that only count in another. Frames are books, trades and tickers of three markets.
 *
 *   npm run bench:exchange [-- --seconds 3] [-- --clients 1] [-- --venue kraken]
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { WebSocket } from 'ws'

// Venues are found in their folder: a bundle has none.
const { startExchange } = (await import(
  new URL('../../dist/exchange/exchange.js', import.meta.url).href
)) as typeof import('../src/exchange/exchange.ts')

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    clients: { type: 'string', default: '1' },
    venue: { type: 'string' },
    /** Of the process of clients: where to. */
    to: { type: 'string' },
  },
})

/** Path, and what to say, to get books, trades and tickers of BTC, ETH and SOL. */
const CALLS: Readonly<Record<string, { readonly path: string; readonly say: readonly unknown[] }>> = {
  binance: {
    path: '/stream?streams=',
    say: [
      {
        method: 'SUBSCRIBE',
        params: ['btcusdt', 'ethusdt', 'solusdt'].flatMap((name) => [
          ...[`${name}@depth@100ms`, `${name}@aggTrade`, `${name}@bookTicker`],
        ]),
        id: 1,
      },
    ],
  },
  coinbase: {
    path: '/',
    say: [
      {
        type: 'subscribe',
        product_ids: ['BTC-USD', 'ETH-USD', 'SOL-USD'],
        channels: ['level2_batch', 'matches', 'ticker'],
      },
    ],
  },
  kraken: {
    path: '/v2',
    say: ['book', 'trade', 'ticker'].map((channel) => ({
      method: 'subscribe',
      params: { channel, symbol: ['BTC/USD', 'ETH/USD', 'SOL/USD'] },
    })),
  },
  okx: {
    path: '/ws/v5/public',
    say: [
      {
        op: 'subscribe',
        args: ['BTC-USDT', 'ETH-USDT', 'BTC-USDT-SWAP'].flatMap((instId) =>
          ['books', 'trades', 'tickers'].map((channel) => ({ channel, instId })),
        ),
      },
    ],
  },
}

if (options.to === undefined) await serve()
else await count(options.to, options.venue!)

async function serve(): Promise<void> {
  const seconds = Number(options.seconds)
  for (const venue of options.venue ? [options.venue] : Object.keys(CALLS)) {
    const exchange = await startExchange({ venue, rate: 0 })
    const args = ['--to', exchange.url, '--venue', venue, '--clients', options.clients]
    const clients = fork(process.argv[1]!, args)
    await once(clients, 'message')
    exchange.setRate(Number.POSITIVE_INFINITY)
    await new Promise((resolve) => setTimeout(resolve, 500))
    const before = { ...exchange.stats(), cpu: process.cpuUsage(), at: performance.now() }
    await new Promise((resolve) => setTimeout(resolve, seconds * 1_000))
    const elapsed = (performance.now() - before.at) / 1_000
    const { user, system } = process.cpuUsage(before.cpu)
    const after = exchange.stats()
    exchange.setRate(0)
    const perSecond = (of: 'sent' | 'steps') => Math.round((after[of] - before[of]) / elapsed)
    const ofCore = (user + system) / 1e6
    console.log(
      `${venue.padEnd(9)} ${perSecond('sent').toLocaleString('en')} frames/s (${perSecond('steps').toLocaleString('en')} steps/s) ` +
        `to ${options.clients} client(s), ${Math.round((after.sent - before.sent) / ofCore).toLocaleString('en')} frames per core second`,
    )
    clients.kill()
    await exchange.close()
  }
}

async function count(url: string, venue: string): Promise<void> {
  const { path, say } = CALLS[venue]!
  for (let client = 0; client < Number(options.clients); client++) {
    const socket = new WebSocket(`${url}${path}`)
    await once(socket, 'open')
    for (const message of say) socket.send(JSON.stringify(message))
    await once(socket, 'message')
  }
  process.send?.('ready')
}
