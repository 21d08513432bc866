// Prices as they change, of every symbol: node examples/tickers.mjs [symbol…]
// Runs against `npm start`; GATEWAY and KEY are for others than the demo.
import { FeedgateClient } from '../client/dist/index.js' // elsewhere: '@feedgate/client'

const { GATEWAY = 'http://localhost:8080', KEY } = process.env
const symbols = process.argv.length > 2 ? process.argv.slice(2) : ['*']

const client = new FeedgateClient({
  url: GATEWAY,
  ...(KEY ? { apiKey: KEY } : {}),
  WebSocket: globalThis.WebSocket ?? (await import('ws')).WebSocket, // Node below 22 has none of its own
})
client.on('state', ({ state, reason }) => console.error(reason ? `${state}: ${reason}` : state))

for await (const item of client.subscribe({ channel: 'ticker', symbols })) {
  if (item.type === 'ticker') console.log(item.symbol.padEnd(12), item.last ?? item.bid)
  else console.error(item) // a gap, or what could not be had again after a reconnect
}
