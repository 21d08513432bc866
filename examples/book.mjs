// A local order book, proved by the gateway's checksums: KEY=fg_premium_… node examples/book.mjs [source] [symbol]
// The key is one that `npm start` prints.
import { FeedgateClient } from '../client/dist/index.js' // elsewhere: '@feedgate/client'

const { GATEWAY = 'http://localhost:8080', KEY } = process.env
const [source = 'demo-crypto', symbol = 'BTC/USDT'] = process.argv.slice(2)
if (!KEY) {
  console.error('KEY is missing: books are for premium clients; npm start prints a key of each tier')
  process.exit(2)
}

const client = new FeedgateClient({
  url: GATEWAY,
  apiKey: KEY,
  WebSocket: globalThis.WebSocket ?? (await import('ws')).WebSocket, // Node below 22 has none of its own
})
const book = client.book({ source, symbol, depth: 25 })
book.on('state', ({ state, reason }) => console.error(`book ${state}: ${reason}`))

setInterval(() => {
  const { bestBid: bid, bestAsk: ask, state, verified } = book
  if (state === 'live' && bid && ask)
    console.log(`${bid[0]} x ${bid[1]} | ${ask[0]} x ${ask[1]} (checksums right: ${verified})`)
}, 500)
