// Simulated venues in a process of their own, told over IPC what to do. The built program: a child of the tests cannot
// run TypeScript on every Node.
import { startExchange } from '../../dist/exchange/exchange.js'

/** @type {Map<string, import('../../src/exchange/exchange.ts').Exchange>} */
const exchanges = new Map()

const ACTS = {
  /** `options`: as of `startExchange`. */
  start: async ({ options }) => {
    const exchange = await startExchange(options)
    exchanges.set(exchange.venue, exchange)
    return { venue: exchange.venue, url: exchange.url, restUrl: exchange.restUrl }
  },
  /** Answers how many connections are open there. */
  inject: ({ venue, options }) => {
    const exchange = exchanges.get(venue)
    exchange.inject(options)
    return exchange.connections.length
  },
  /** In small parts: a venue that computes for long reads the messages of its clients late, and all at once. */
  advance: async ({ steps }) => {
    for (let step = 0; step < steps; step += 10) {
      for (const exchange of exchanges.values()) exchange.advance(10)
      await new Promise(setImmediate)
    }
  },
  violations: () =>
    [...exchanges.values()].flatMap(({ venue, violations }) => violations.map((one) => ({ venue, ...one }))),
  handshakes: () => [...exchanges.values()].reduce((sum, exchange) => sum + exchange.stats().handshakes, 0),
}

process.on('message', async ({ id, act, ...asked }) => {
  try {
    process.send({ id, answer: await ACTS[act](asked) })
  } catch (error) {
    process.send({ id, error: error.message })
  }
})
process.on('disconnect', () => process.exit())
