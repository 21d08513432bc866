import { afterEach, expect, it } from 'vitest'
import {
  ADMIN_KEY,
  all,
  Client,
  type Gateway,
  type Message,
  startGateway,
  temporaryFolder,
  until,
} from './program.ts'

let gateway: Gateway | undefined
afterEach(async () => {
  await gateway?.end('SIGKILL')
})

/** All topics of a source have the same epoch: a gap is told from another's by its channel. */
const topic = ({ type, channel, symbol }: Message) =>
  `${type === 'gap' ? channel : type === 'trade' ? 'trades' : type}|${symbol}`
const id = (row: Message) => `${topic(row)}|${row.epoch}|${row.seq}`

const SETTINGS = `
sources:
  - id: market
    kind: simulator
    seed: 7
    rate: 50
    subscriptions:
      - { channel: trades, symbols: [BTC/USDT, ETH/USDT, SOL/USDT] }
      - { channel: ticker, symbols: [BTC/USDT, ETH/USDT, SOL/USDT] }
`

it('after kill -9, also while the store is still opening, all that clients saw 0.1 s earlier is stored, and nothing is there twice', async () => {
  const dataDir = await temporaryFolder()
  const seen: Message[] = []
  for (const runMs of [1_500, 6_000, 500 + Math.random() * 2_500, 500 + Math.random() * 2_500]) {
    gateway = await startGateway({ dataDir, config: SETTINGS })
    const client = await new Client(`${gateway.url}/ws`, { 'x-api-key': ADMIN_KEY }).open()
    for (const channel of ['trades', 'ticker']) client.send({ type: 'subscribe', channel, symbols: ['*'] })
    await new Promise((tick) => setTimeout(tick, runMs))
    seen.push(...client.ofType('trade'), ...client.ofType('ticker'))
    await new Promise((tick) => setTimeout(tick, 100))
    await gateway.end('SIGKILL')
  }

  gateway = await startGateway({ dataDir, config: SETTINGS })
  const history = async () => [
    ...(await all<Message>(gateway!, '/v1/history/trades?limit=10000')),
    ...(await all<Message>(gateway!, '/v1/history/ticker?limit=10000')),
  ]
  expect(seen.length).toBeGreaterThan(1_000)
  const stored = await until(async () => {
    const rows = await history()
    const ids = new Set(rows.map(id))
    return seen.every((message) => ids.has(id(message))) && rows
  }, 30_000)

  expect(new Set(stored.map(id)).size).toBe(stored.length)
  const tradeIds = stored.filter((row) => row.type === 'trade').map((row) => `${row.symbol}|${row.id}`)
  expect(new Set(tradeIds).size).toBe(tradeIds.length)

  // Each later epoch begins with the gap that the kill was, and names the last position before it.
  const positions = new Set(stored.map(id))
  const seams = stored.filter((row) => row.seq === 1 && row.prevEpoch !== undefined)
  expect(seams.length).toBeGreaterThanOrEqual(6 * 3)
  for (const seam of seams) {
    expect(seam).toMatchObject({ type: 'gap', reason: 'restart' })
    expect(seam.epoch as number).toBeGreaterThan(seam.prevEpoch as number)
    expect(positions).toContain(`${topic(seam)}|${seam.prevEpoch}|${seam.prevSeq}`)
    expect(positions).not.toContain(`${topic(seam)}|${seam.prevEpoch}|${(seam.prevSeq as number) + 1}`)
  }
}, 120_000)
