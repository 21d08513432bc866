import { afterEach, describe, expect, it } from 'vitest'
import type { Tier, TierName } from '../../../src/auth/auth.ts'
import { createRateLimits } from '../../../src/auth/rate-limit.ts'
import { TIERS } from '../../../src/auth/tiers.ts'
import { CHANNELS, type Level } from '../../../src/market/event.ts'
import { ALL_CHANNELS, MINUTE_MS, TIER_TABLE, type TierRow } from '../tier-table.ts'
import { RecordedEvents, TestGateway, trade } from './gateway.ts'

let gateway: TestGateway
afterEach(() => gateway?.stop())

/** As the program has them, but for the commands: what is walked here takes more than two a second. */
const brisk = Object.fromEntries(
  Object.entries(TIERS).map(([name, tier]) => [name, { ...tier, commandsPerSecond: 100_000 }]),
) as Record<TierName, Tier>

async function start(options: ConstructorParameters<typeof TestGateway>[0] = {}): Promise<TestGateway> {
  gateway = await new TestGateway(options).start()
  return gateway
}
const subscribe = (channel: string, ...symbols: string[]) => ({ type: 'subscribe', channel, symbols })
const ago = (ms: number) => ({ receivedTime: (Date.now() - ms) * 1_000 })

it('every channel there is stands in the table', () => {
  expect(ALL_CHANNELS.toSorted()).toEqual(Object.keys(CHANNELS).toSorted())
  expect(TIER_TABLE.map(({ name }) => name)).toEqual(Object.keys(TIERS))
})

describe.each(TIER_TABLE)('$name', (row: TierRow) => {
  const tier = row.name

  it.each([...ALL_CHANNELS])(`has the channel %s as the table says`, async (channel) => {
    await start({ tiers: brisk })
    const { subject, timeframe } = CHANNELS[channel]
    const name = subject === 'conversationId' ? 'demo/X' : channel === 'source' ? 'venue' : 'X'
    gateway.carry('venue', channel, name, timeframe ? '1m' : undefined)
    const client = await gateway.client({ tier })
    for (const symbol of [name.replace('demo/', ''), '*']) {
      const answer = await client.ask(subscribe(channel, symbol), 'subscribed')
      if (row.channels.includes(channel)) {
        expect(answer).toMatchObject({ type: 'subscribed', channel, symbols: [symbol] })
        expect(answer.rejected).toBeUndefined()
      } else expect(answer).toMatchObject({ type: 'error', code: 403, name: 'forbidden' })
    }
  })

  it('has books as deep as the table says', async () => {
    await start({ tiers: brisk })
    const topic = gateway.carry('venue', 'orderbook', 'X')
    const levels = (from: number, step: number) =>
      Array.from({ length: 200 }, (_, n): Level => [String(from + n * step), '1'])
    const [bids, asks] = [levels(1_000, -1), levels(1_001, 1)]
    await gateway.publish(topic, { type: 'orderbook', kind: 'snapshot', bids, asks, depth: 0 })
    const client = await gateway.client({ tier })
    let shown: unknown
    for (const depth of [5, 10, 25, 100, 'full'] as const) {
      const before = client.messages.length
      const answer = await client.ask({ ...subscribe('orderbook', 'X'), depth }, 'subscribed')
      if (row.depth === 0) {
        expect(answer).toMatchObject({ type: 'error', code: 403 })
        continue
      }
      const most = row.depth === 'full' ? 200 : row.depth
      const granted = depth === 'full' ? row.depth : Math.min(depth, most)
      expect(answer.depth).toBe(granted)
      if (granted === shown) continue
      shown = granted
      const sent = granted === 'full' ? 200 : granted
      const book = await client.next(({ type }) => type === 'orderbook', before)
      expect([book.bids.length, book.asks.length]).toEqual([sent, sent])
    }
    expect(shown).toBe(row.depth === 0 ? undefined : row.depth)
  })

  it('may have as many connections as the table says, and one more is 406 and 4106', async () => {
    await start()
    const held = Array.from({ length: row.connections }, () => gateway.connect({ tier }))
    await Promise.all(held.map((client) => client.opened()))
    await Promise.all(held.slice(0, 1).map((client) => client.ask({ type: 'ping' }, 'pong')))
    const over = gateway.connect({ tier })
    expect(await over.closed).toBe(4106)
    expect(over.messages).toMatchObject([{ type: 'error', code: 406, name: 'too-many-connections' }])
    expect(held.every(({ socket }) => socket.readyState === socket.OPEN)).toBe(true)
  })

  it('may follow as many symbols as the table says, over all connections, and one more is 405', async () => {
    await start({ tiers: brisk })
    const many = Number.isFinite(row.symbols) ? row.symbols : 5_000
    const symbols = Array.from({ length: many }, (_, n) => `S${n}`)
    for (const symbol of [...symbols, 'MORE']) gateway.carry('venue', 'ticker', symbol)
    const clients = [await gateway.client({ tier }), await gateway.client({ tier })]
    for (const [index, client] of clients.entries()) {
      const half = symbols.filter((_, n) => n % 2 === index)
      const answer = await client.ask(subscribe('ticker', ...half), 'subscribed')
      expect(answer.symbols).toHaveLength(half.length)
    }
    for (const client of clients) {
      const answer = await client.ask(subscribe('ticker', 'MORE'), 'subscribed')
      if (Number.isFinite(row.symbols))
        expect(answer).toMatchObject({ symbols: [], rejected: [{ symbol: 'MORE', code: 405 }] })
      else expect(answer).toMatchObject({ symbols: ['MORE'] })
    }
  })

  it('may give as many commands a second as the table says, and the next is 429', async () => {
    await start()
    const client = await gateway.client({ tier })
    const began = performance.now()
    for (let sent = 0; sent < 3 * row.commands + 5; sent++) client.send({ type: 'ping', id: sent })
    const refused = await client.next((message) => message.type === 'error')
    const took = performance.now() - began
    expect(refused).toMatchObject({ code: 429, name: 'rate-limited' })
    expect(refused.retryAfterMs).toBeGreaterThan(0)
    expect(refused.retryAfterMs).toBeLessThanOrEqual(1_000)
    const answered = client.messages.indexOf(refused)
    expect(answered).toBeGreaterThanOrEqual(row.commands)
    if (took < 900) expect(answered).toBe(row.commands)
  })

  it('gets as many data frames as the table says: the burst, then evenly', () => {
    let now = 0
    const limits = createRateLimits(() => now)
    const identity = { tier: TIERS[tier], limitKey: 'key:1' } as Parameters<typeof limits.frame>[0]
    const sentUntil = (ms: number) => {
      let frames = 0
      for (;;) {
        const wait = limits.frame(identity)
        if (wait === 0 && ++frames > 10_000) return Number.POSITIVE_INFINITY
        if (now + wait > ms) return frames
        now += wait
      }
    }
    expect(sentUntil(0)).toBe(row.frameBurst)
    expect(sentUntil(10 * MINUTE_MS)).toBe(10 * row.framesPerMinute)
  })

  it('sees history as far back as the table says', async () => {
    const stored = new RecordedEvents()
    await start({ tiers: brisk, history: stored.history })
    const topic = gateway.carry('venue', 'trades', 'X')
    // From the oldest that there is: beyond and within each limit of the table by an hour.
    const ages = [...new Set([...TIER_TABLE.map(({ historyMs }) => historyMs), 4_000 * 24 * 60 * MINUTE_MS])]
      .filter(Number.isFinite)
      .flatMap((limit) => [limit + 60 * MINUTE_MS, limit - 60 * MINUTE_MS])
      .sort((one, other) => other - one)
    for (const [id, age] of ages.entries()) stored.record([await gateway.publish(topic, trade(id), ago(age))])
    const client = await gateway.client({ tier })
    await client.ask({ ...subscribe('trades', 'X'), from: 0 }, 'subscribed')
    await client.next((message) => message.type === 'live')
    const visible = ages.flatMap((age, id) => (age <= row.historyMs ? [String(id)] : []))
    expect(visible.length).toBeGreaterThan(0)
    expect(client.ofType('trade').map(({ id }) => id)).toEqual(visible)
  })

  it('resumes as far back as the table says', async () => {
    await start({ tiers: brisk })
    const edges = { within: row.resumeMs - 10_000, beyond: row.resumeMs + 10_000 }
    const client = await gateway.client({ tier })
    for (const [symbol, age] of Object.entries(edges)) {
      const topic = gateway.carry('venue', 'trades', symbol)
      for (const [id, ms] of [age + 5_000, age, 1_000].entries())
        await gateway.publish(topic, trade(id), ago(ms))
      const resume = { [topic.publicId]: [1_000, 1] }
      const answer = await client.ask({ ...subscribe('trades', symbol), resume }, 'subscribed')
      expect(answer.unrecovered).toEqual(symbol === 'within' ? undefined : [topic.publicId])
    }
  })

  it('has no replay in this version, whatever the tier', async () => {
    await start({ tiers: brisk })
    const client = await gateway.client({ tier })
    const replay = { ...subscribe('ticker', 'X'), type: 'replay', id: 1, from: 0, to: 1, speed: 'max' }
    for (const message of [
      replay,
      ...['pause', 'resume', 'stop'].map((act) => ({ type: `replay.${act}`, id: 1 })),
    ])
      expect(await client.ask(message, 'replay')).toMatchObject({
        code: 422,
        name: 'not-supported-yet',
        id: 1,
      })
  })
})
