import { Command } from 'commander'
import { FeedgateError } from '../errors.ts'
import { EXCHANGE_FAULTS, type Exchange, type ExchangeFault, startExchange } from '../exchange/exchange.ts'
import { interrupted } from './interrupted.ts'

/** A fault that lasts until it is ended lasts so long here. */
const LASTING_MS = 5_000
const MAX_RATE = 1_000_000

interface SimulateCall {
  readonly venue: string
  readonly port: string
  readonly symbols?: string
  readonly rate: string
  readonly seed: string
  readonly faults?: string
  readonly every: string
}

/** Serves markets of its own making as if it were a venue, until it is interrupted. */
export function simulateCommand(): Command {
  const faults = Object.entries(EXCHANGE_FAULTS).map(([name, what]) => `  ${name.padEnd(14)}${what}`)
  return new Command('simulate')
    .description('be a venue: seeded markets, told in its own protocol, WebSocket and REST on one port')
    .requiredOption('--venue <id>', 'binance, binance-futures, bybit, coinbase, kraken, kraken-v1 or okx')
    .requiredOption('--port <n>', 'port on 127.0.0.1; 0: any free one')
    .option('--symbols <names>', 'such as BTC/USDT, several with commas; default: two or three of the venue')
    .option('--rate <n>', 'steps a second over all markets, or max: as fast as clients take them', '20')
    .option('--seed <n>', 'the same seed makes the same markets', '1')
    .option('--faults <names>', 'what goes wrong, see below; several with commas, by turns')
    .option('--every <s>', 'seconds from one fault to the next', '10')
    .addHelpText('after', `\nFaults:\n${faults.join('\n')}`)
    .action(async (call: SimulateCall) => {
      const wanted = call.faults === undefined ? [] : parseFaults(call.faults)
      const everyMs = number('--every', call.every, 86_400) * 1_000
      const exchange = await startExchange({
        venue: call.venue,
        port: Math.floor(number('--port', call.port, 65_535, 0)),
        seed: Math.floor(number('--seed', call.seed, 2 ** 32 - 1, 0)),
        rate: call.rate === 'max' ? Number.POSITIVE_INFINITY : number('--rate', call.rate, MAX_RATE),
        ...(call.symbols && { symbols: call.symbols.split(',').map((symbol) => symbol.trim()) }),
      })
      process.stdout.write(`listening on ${exchange.url}\n`)
      const faulting = wanted.length > 0 ? setInterval(nextFault(exchange, wanted), everyMs) : undefined
      await interrupted()
      clearInterval(faulting)
      await exchange.close()
    })
}

/** Switches on one after the other, and says so. */
function nextFault(exchange: Exchange, faults: readonly ExchangeFault[]): () => void {
  let turn = 0
  return () => {
    const fault = faults[turn++ % faults.length]!
    exchange.inject({ fault, ms: LASTING_MS })
    process.stderr.write(`fault ${fault}: ${EXCHANGE_FAULTS[fault]}\n`)
  }
}

function parseFaults(text: string): ExchangeFault[] {
  return text.split(',').map((part) => {
    const name = part.trim()
    if (Object.hasOwn(EXCHANGE_FAULTS, name)) return name as ExchangeFault
    const known = Object.keys(EXCHANGE_FAULTS).join(', ')
    throw new FeedgateError('bad-request', `unknown fault ${JSON.stringify(name)}: accepted are ${known}`)
  })
}

function number(option: string, text: string, max: number, min = Number.MIN_VALUE): number {
  const value = /^\d{1,10}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new FeedgateError(
    'bad-request',
    `${option} is ${JSON.stringify(text)}: accepted is a number ${min === 0 ? 'from 0' : 'above 0'} to ${max}`,
  )
}
