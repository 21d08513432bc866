import { once } from 'node:events'
import jwt from 'jsonwebtoken'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { FeedgateError } from '../../../src/errors.ts'
import type { Level } from '../../../src/market/event.ts'
import { signals } from '../../../src/signals.ts'
import {
  type GatewayOptions,
  JWT_SECRET,
  KEYS,
  pause,
  type Said,
  type TestClient,
  TestGateway,
  ticker,
} from './gateway.ts'

/** Every error and close code of the contract, each brought about by a client; what it says is for programs. */
let gateway: TestGateway
afterEach(() => gateway.stop())

const closes: number[] = []
afterAll(signals.clientDisconnected.on(({ code }) => void closes.push(code)))

async function start(options: GatewayOptions = {}): Promise<void> {
  gateway = await new TestGateway(options).start()
  gateway.carry('venue', 'ticker', 'BTC/USDT')
  gateway.carry('venue', 'orderbook', 'BTC/USDT')
}
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1_000) + seconds
const token = (claims: object) =>
  jwt.sign({ sub: 'ann', tenant_id: 'demo', tier: 'premium', exp: inSeconds(600), ...claims }, JWT_SECRET)
const subscribe = (more: Said = {}) => ({
  ...{ type: 'subscribe', id: 'q', channel: 'ticker', symbols: ['BTC/USDT'] },
  ...more,
})

interface ErrorRow {
  readonly code: number
  readonly name: string
  readonly when: string
  /** The message that is refused, and the state in which it comes. */
  readonly ask: (client: TestClient) => unknown
  readonly id?: string
  readonly retries?: boolean
}

describe('the error', () => {
  const rows: readonly ErrorRow[] = [
    {
      code: 400,
      name: 'bad-request',
      when: 'a field is wrong',
      ask: (c) => c.send(subscribe({ depth: 7 })),
      id: 'q',
    },
    {
      ...{ code: 401, name: 'not-authenticated', when: 'a refresh does not hold', id: 'q' },
      ask: (client) => client.send({ type: 'auth', id: 'q', token: 'a.b.c' }),
    },
    {
      ...{ code: 403, name: 'forbidden', when: 'the tier does not have the channel', id: 'q' },
      ask: (client) => client.send(subscribe({ channel: 'premium_analytics' })),
    },
    {
      ...{ code: 411, name: 'token-expired', when: 'the token of a refresh has expired', id: 'q' },
      ask: (client) => client.send({ type: 'auth', id: 'q', token: token({ exp: inSeconds(-5) }) }),
    },
    {
      ...{ code: 422, name: 'unknown-channel', when: 'there is no such channel', id: 'q' },
      ask: (client) => client.send(subscribe({ channel: 'smoke' })),
    },
    {
      ...{ code: 422, name: 'not-supported-yet', when: 'this version does not do it', id: 'q' },
      ask: (client) => client.send({ type: 'replay.stop', id: 'q' }),
    },
    {
      ...{
        code: 429,
        name: 'rate-limited',
        when: 'more commands come than the tier may give',
        retries: true,
      },
      ask: (client) => {
        for (let sent = 0; sent < 50; sent++) client.send({ type: 'ping' })
      },
    },
    {
      ...{ code: 503, name: 'store-unavailable', when: 'what knows the key is away', id: 'q', retries: true },
      ask: (client) => {
        gateway.auth.identify = async () => {
          throw new FeedgateError('store-unavailable', 'the store is not open', { retryAfterMs: 30_000 })
        }
        client.send({ type: 'auth', id: 'q', apiKey: KEYS.premium })
      },
    },
  ]

  it.each(rows)('$code $name is told when $when, and the connection lives', async (row) => {
    await start()
    const client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'list' }, 'subscriptions')
    await row.ask(client)
    const error = await client.next(({ type }) => type === 'error')
    expect(error).toMatchObject({
      code: row.code,
      name: row.name,
      message: expect.stringMatching(/^\S.*\S$/),
    })
    expect(error.id).toBe(row.id)
    if (row.retries) expect(error.retryAfterMs).toBeGreaterThan(0)
    else expect(error.retryAfterMs).toBeUndefined()
    await pause(row.code === 429 ? 1_100 : 0)
    expect(await client.ask({ type: 'ping', id: 'alive' }, 'pong')).toMatchObject({ id: 'alive' })
  })

  it('of one symbol stands beside the others that are granted: 403, 405 and 422', async () => {
    await start()
    gateway.carry('closed', 'ticker', 'GOLD')
    gateway.sources.set('closed', 'restricted')
    for (let n = 0; n < 49; n++) gateway.carry('venue', 'ticker', `S${n}`)
    gateway.carry('venue', 'ticker', 'LAST')
    const held = Array.from({ length: 49 }, (_, n) => `S${n}`)
    const client = await gateway.client({ tier: 'basic' })
    const symbols = [...held, 'GOLD', 'NO/SUCH', 'BTC/USDT', 'LAST']
    const { symbols: granted, rejected } = await client.ask(subscribe({ symbols }), 'subscribed')
    expect(granted).toEqual([...held, 'BTC/USDT'])
    expect(rejected).toMatchObject([
      { symbol: 'GOLD', code: 403 },
      { symbol: 'NO/SUCH', code: 422 },
      { symbol: 'LAST', code: 405 },
    ])
  })
})

interface CloseRow {
  readonly close: number
  readonly when: string
  /** The error that is told before, where one is. */
  readonly code?: number
  readonly options?: GatewayOptions
  readonly act: () => Promise<TestClient>
}

describe('the close code', () => {
  const rows: readonly CloseRow[] = [
    {
      ...{ close: 4001, code: 401, when: 'a credential does not hold' },
      act: async () => gateway.connect({ headers: { 'x-api-key': 'fg_basic_nothing' } }),
    },
    {
      ...{ close: 4001, code: 401, when: 'nobody says who is there', options: { anonymous: false } },
      act: () => gateway.client(),
    },
    {
      ...{ close: 4003, code: 411, when: 'the token has expired' },
      act: async () => gateway.connect({ path: `/ws?access_token=${token({ exp: inSeconds(-5) })}` }),
    },
    {
      ...{ close: 4003, code: 411, when: 'the key is deleted while its client lives' },
      act: async () => {
        const client = await gateway.client({ tier: 'premium' })
        await client.ask({ type: 'ping' }, 'pong')
        const { keyId } = await gateway.auth.identify({ kind: 'apiKey', apiKey: KEYS.premium }, '::1')
        gateway.revoke(keyId!)
        return client
      },
    },
    {
      ...{ close: 4009, code: 400, when: 'a client goes on with rubbish' },
      act: async () => {
        const client = await gateway.client({ tier: 'premium' })
        for (let sent = 0; sent < 250; sent++) client.send('{')
        return client
      },
    },
    {
      ...{ close: 4106, code: 406, when: 'the key has connections enough' },
      act: async () => {
        for (let held = 0; held < 2; held++)
          await (await gateway.client({ tier: 'basic' })).ask({ type: 'list' }, 'subscriptions')
        return gateway.connect({ tier: 'basic' })
      },
    },
    {
      ...{ close: 4129, code: 429, when: 'a client floods' },
      act: async () => {
        const client = await gateway.client({ tier: 'basic' })
        for (let sent = 0; sent < 200; sent++) client.send({ type: 'ping' })
        return client
      },
    },
    {
      ...{ close: 4200, when: 'the gateway shuts down' },
      act: async () => {
        const client = await gateway.client({ tier: 'premium' })
        await client.ask({ type: 'ping' }, 'pong')
        void gateway.hub.close(1_000)
        return client
      },
    },
    {
      ...{ close: 1009, when: 'a message has more than 256 KiB' },
      act: async () => {
        const client = await gateway.client({ tier: 'premium' })
        await client.ask({ type: 'ping' }, 'pong')
        client.send('x'.repeat(256 * 1_024 + 1))
        return client
      },
    },
    {
      ...{ close: 1009, when: 'one has more than 16 KiB before it is known who is there' },
      act: async () => {
        const client = await gateway.client()
        client.send('x'.repeat(16 * 1_024 + 1))
        return client
      },
    },
  ]

  it.each(rows)('$close comes when $when', async ({ close, code, options, act }) => {
    await start({ hub: { authTimeoutMs: 200 }, ...options })
    const client = await act()
    expect(await client.closed).toBe(close)
    const told = client.messages.filter(({ type }) => type === 'error').at(-1)
    expect(told?.code).toBe(code)
    // What a client cannot mend by trying again is 40xx: it is not told to wait.
    if (close >= 4000 && close < 4100) expect(told?.retryAfterMs).toBeUndefined()
  })

  it('4201 comes when no ping is answered', async () => {
    await start({ hub: { checkMs: 20, pingMs: 60 } })
    const headers = { 'x-api-key': KEYS.premium }
    const dead = new WebSocket(`ws://127.0.0.1:${gateway.port}/ws`, { headers, autoPong: false })
    expect((await once(dead, 'close'))[0]).toBe(4201)
  })

  it('4100 comes when a client reads too slowly, and it can resume', async () => {
    await start({ hub: { checkMs: 20, stalledMs: 300, pingMs: 60_000 } })
    const topic = gateway.carry('venue', 'orderbook', 'BTC/USDT')
    const client = await gateway.client({ tier: 'institutional' })
    await client.ask(subscribe({ channel: 'orderbook' }), 'subscribed')
    client.socket.pause()
    closes.length = 0
    const levels = (round: number) =>
      Array.from({ length: 1_000 }, (_, n): Level => [String(10_000 - n), `${round}.5`])
    const deadline = performance.now() + 15_000
    for (let round = 0; !closes.includes(4100) && performance.now() < deadline; round++) {
      await gateway.publish(topic, {
        type: 'orderbook',
        kind: 'snapshot',
        bids: levels(round),
        asks: [],
        depth: 0,
      })
      await pause(5)
    }
    expect(closes).toContain(4100)
    client.socket.resume()
    await client.closed
    const again = await gateway.client({ tier: 'institutional' })
    const { epoch, seq } = client.ofType('orderbook').at(-1)!
    const resume = { [topic.publicId]: [epoch, seq] }
    const answer = await again.ask(subscribe({ channel: 'orderbook', resume }), 'subscribed')
    expect(answer).toMatchObject({ symbols: ['BTC/USDT'] })
    await again.next(({ type }) => type === 'orderbook')
  })

  it('of one never ends another', async () => {
    await start()
    const client = await gateway.client({ tier: 'institutional' })
    await client.ask(subscribe(), 'subscribed')
    for (const [header, value] of Object.entries({ 'x-api-key': 'nothing', authorization: 'Bearer a.b.c' }))
      expect(await gateway.connect({ headers: { [header]: value } }).closed).toBe(4001)
    await gateway.publish(gateway.carry('venue', 'ticker', 'BTC/USDT'), ticker('1'))
    await client.next(({ type }) => type === 'ticker')
  })
})
