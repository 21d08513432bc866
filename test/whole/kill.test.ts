import { afterEach, expect, it } from 'vitest'
import {
  all,
  Client,
  createKey,
  type Gateway,
  type Message,
  startGateway,
  temporaryFolder,
} from './program.ts'

let gateway: Gateway | undefined
afterEach(async () => {
  await gateway?.end('SIGKILL')
})

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

it('after kill -9 everything that clients saw more than 2 s earlier is stored, and nothing is there twice', async () => {
  const dataDir = await temporaryFolder()
  const seen: { at: number; message: Message }[] = []
  const kills: number[] = []
  for (let round = 0; round < 3; round++) {
    gateway = await startGateway({ dataDir, config: SETTINGS })
    const client = await new Client(`${gateway.url}/ws`, {
      'x-api-key': await createKey(gateway, 'institutional'),
    }).open()
    for (const channel of ['trades', 'ticker']) client.send({ type: 'subscribe', channel, symbols: ['*'] })
    client.socket.on('message', (data) => {
      const message = JSON.parse(String(data)) as Message
      if (message.type === 'trade' || message.type === 'ticker') seen.push({ at: performance.now(), message })
    })
    await new Promise((tick) => setTimeout(tick, 4_000 + Math.random() * 2_000))
    kills.push(performance.now())
    await gateway.end('SIGKILL')
  }

  gateway = await startGateway({ dataDir, config: SETTINGS })
  const id = (row: Message) => `${row.type}|${row.symbol}|${row.epoch}|${row.seq}`
  const stored = [
    ...(await all<Message>(gateway, '/v1/history/trades?limit=10000')),
    ...(await all<Message>(gateway, '/v1/history/ticker?limit=10000')),
  ]
  const ids = new Set(stored.map(id))
  expect(ids.size).toBe(stored.length)
  const tradeIds = stored.filter((row) => row.type === 'trade').map((row) => `${row.symbol}|${row.id}`)
  expect(new Set(tradeIds).size).toBe(tradeIds.length)

  const due = seen.filter(({ at }) => kills.some((kill) => at < kill - 2_000 && at > kill - 10_000))
  expect(due.length).toBeGreaterThan(500)
  expect(due.filter(({ message }) => !ids.has(id(message)))).toEqual([])

  // Each new epoch of a topic names the position that was stored last, or says nothing.
  const firsts = stored.filter((row) => row.seq === 1 && row.prevEpoch !== undefined)
  expect(firsts.length).toBeGreaterThan(0)
  for (const first of firsts) {
    expect(first.epoch as number).toBeGreaterThan(first.prevEpoch as number)
    expect(
      ids.has(
        id({ ...first, type: first.symbol ? first.type : '', epoch: first.prevEpoch, seq: first.prevSeq }),
      ) || first.type === 'gap',
    ).toBe(true)
  }
}, 120_000)
