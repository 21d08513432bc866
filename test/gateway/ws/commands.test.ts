import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type TestClient, TestGateway, ticker, tier, until } from './gateway.ts'

let gateway: TestGateway
let client: TestClient

beforeEach(async () => {
  gateway = await new TestGateway({
    tiers: tier('premium', { commandsPerSecond: 10_000, connections: 100 }),
  }).start()
  for (const symbol of ['BTC/USDT', 'ETH/USDT', 'ETH/BTC']) gateway.carry('venue', 'ticker', symbol)
  gateway.carry('other', 'ticker', 'BTC/USDT')
  gateway.carry('venue', 'ohlcv', 'BTC/USDT', '1m')
  gateway.carry('venue', 'ohlcv', 'BTC/USDT', '5m')
  client = await gateway.client({ tier: 'premium' })
})
afterEach(() => gateway.stop())

const subscribe = { type: 'subscribe', channel: 'ticker', symbols: ['BTC/USDT'] }

describe('a message that is wrong', () => {
  it.each([
    ['malformed JSON', '{"type":', /not valid JSON/],
    ['an array', '[]', /not a JSON object/],
    ['deep nesting', '['.repeat(10_000), /not valid JSON/],
    ['no type', '{}', /field "type" is missing: give one of auth, subscribe/],
    ['an unknown type', '{"type":"sub"}', /field "type" is "sub"/],
    ['a type of Object.prototype', '{"type":"constructor"}', /field "type" is "constructor"/],
    ['__proto__', '{"type":"ping","__proto__":{"x":1}}', /unknown field "__proto__"/],
    [
      'an unknown field',
      { ...subscribe, symbol: 'X' },
      /unknown field "symbol": accepted are type, id, channel/,
    ],
    ['no symbols', { type: 'subscribe', channel: 'ticker' }, /field "symbols" is missing/],
    ['empty symbols', { ...subscribe, symbols: [] }, /field "symbols"/],
    ['a symbol that is no text', { ...subscribe, symbols: ['A', 1] }, /field "symbols.1" is 1/],
    ['another depth', { ...subscribe, depth: 7 }, /field "depth" is 7: give 5, 10, 25, 100 or "full"/],
    ['a source with odd characters', { ...subscribe, source: 'a b' }, /field "source"/],
    ['a timeframe that is none', { ...subscribe, timeframe: '1 m' }, /field "timeframe"/],
    ['conflateMs below 0', { ...subscribe, conflateMs: -1 }, /field "conflateMs" is -1/],
    ['a filter that is no decimal', { ...subscribe, filters: { minVolume: 1 } }, /field "filters.minVolume"/],
    ['hours that are none', { ...subscribe, filters: { marketHours: { from: '25:00' } } }, /marketHours/],
    ['an unknown filter', { ...subscribe, filters: { max: '1' } }, /unknown field "filters.max"/],
    ['a time without zone', { ...subscribe, from: '2026-11-22T10:00:00' }, /field "from"/],
    ['a day that is not there', { ...subscribe, from: '2026-02-30T10:00:00Z' }, /field "from"/],
    ['a resume position', { ...subscribe, resume: { 'a|ticker|b': [1] } }, /field "resume/],
    ['a resume topic', { ...subscribe, resume: { 'a|b': [1, 2] } }, /field "resume" names "a\|b"/],
    ['a heartbeat too often', { type: 'heartbeat', intervalMs: 10 }, /field "intervalMs" is 10/],
    ['a replay without times', { type: 'replay', id: 1, channel: 'ticker', symbols: ['x'] }, /field "from"/],
    ['a replay of a speed that is none', replay({ speed: -1 }), /field "speed" is -1/],
    ['auth with both', { type: 'auth', token: 'a', apiKey: 'b' }, /one of "token" and "apiKey"/],
  ])('with %s gets 400 in one sentence, and the connection lives', async (_what, message, text) => {
    client.send(message)
    const error = await client.next((answer) => answer.type === 'error')
    expect(error).toMatchObject({ code: 400, name: 'bad-request' })
    expect(error.message).toMatch(text)
    expect(error.message).not.toMatch(/\n/)
    expect((await client.ask({ type: 'ping', id: 'still' }, 'pong')).id).toBe('still')
  })

  it.each([
    ['replay', replay({ id: 5 })],
    ['replay.pause', { type: 'replay.pause', id: 5 }],
  ])('is not the one that asks for %s: well-formed, it is refused with 422', async (_what, message) => {
    const error = await client.ask(message, 'subscribed')
    expect(error).toMatchObject({ type: 'error', code: 422, name: 'not-supported-yet', id: 5 })
  })

  it('that is binary gets 400', async () => {
    client.socket.send(Buffer.from('{"type":"ping"}'))
    expect(await client.next((m) => m.type === 'error')).toMatchObject({ code: 400 })
  })

  it('and too many of them close the connection with 4009', async () => {
    for (let sent = 0; sent < 250; sent++) client.send('{')
    expect(await client.closed).toBe(4009)
  })

  it('of 1 MB is close 1009, and so is one of 17 KiB before authentication', async () => {
    client.send(JSON.stringify({ type: 'ping', id: 'x'.repeat(1_000_000) }))
    expect(await client.closed).toBe(1009)
    const stranger = await gateway.client()
    stranger.send(JSON.stringify({ type: 'ping', id: 'x'.repeat(17_000) }))
    expect(await stranger.closed).toBe(1009)
    const known = await gateway.client({ tier: 'premium' })
    known.send(JSON.stringify({ type: 'ping', id: 'x'.repeat(200_000) }))
    expect(await known.next((m) => m.type === 'error')).toMatchObject({ code: 400 })
  })
})

function replay(changes: object): object {
  return {
    ...{ type: 'replay', id: 1, channel: 'ticker', symbols: ['BTC/USDT'] },
    ...{ from: '2026-11-22T10:00:00Z', to: 1_790_000_000_000_000, speed: 10 },
    ...changes,
  }
}

describe('subscribe', () => {
  it('answers 422 for an unknown channel and 403 for one that is not of the tier', async () => {
    expect(await client.ask({ ...subscribe, id: 1, channel: 'smoke' }, 'subscribed')).toMatchObject({
      ...{ type: 'error', id: 1, code: 422, name: 'unknown-channel' },
    })
    const institutional = await client.ask(
      { ...subscribe, id: 2, channel: 'premium_analytics' },
      'subscribed',
    )
    expect(institutional).toMatchObject({ type: 'error', id: 2, code: 403, name: 'forbidden' })
  })

  it('rejects one symbol and grants the others', async () => {
    gateway.carry('closed', 'ticker', 'GOLD')
    gateway.sources.set('closed', 'restricted')
    const answer = await client.ask(
      { ...subscribe, id: 3, symbols: ['NOT/THERE', 'BTC/USDT', 'GOLD', 'ETH/*', 'BTC/USDT'] },
      'subscribed',
    )
    expect(answer).toMatchObject({ id: 3, channel: 'ticker', symbols: ['BTC/USDT', 'ETH/*'], conflateMs: 0 })
    expect(answer.rejected).toEqual([
      { symbol: 'NOT/THERE', code: 422, message: 'no source carries NOT/THERE on channel ticker' },
      { symbol: 'GOLD', code: 403, message: 'GOLD of channel ticker is not open to this client' },
    ])
    const { topics } = await client.ask({ type: 'list' }, 'subscriptions')
    expect(topics.toSorted()).toEqual([
      'other|ticker|BTC/USDT',
      'venue|ticker|BTC/USDT',
      'venue|ticker|ETH/BTC',
      'venue|ticker|ETH/USDT',
    ])
  })

  it('rejects what an unknown source or timeframe would have', async () => {
    const source = await client.ask({ ...subscribe, source: 'nowhere', symbols: ['*'] }, 'subscribed')
    expect(source.rejected).toEqual([{ symbol: '*', code: 422, message: 'source nowhere is not known here' }])
    const frame = await client.ask({ ...subscribe, channel: 'ohlcv', timeframe: '7m' }, 'subscribed')
    expect(frame.rejected[0].message).toBe('no source carries BTC/USDT at 7m on channel ohlcv')
    const both = await client.ask({ ...subscribe, channel: 'ohlcv' }, 'subscribed')
    expect(both).toMatchObject({ symbols: ['BTC/USDT'] })
    expect((await client.ask({ type: 'list' }, 'subscriptions')).topics).toHaveLength(2)
  })

  it('names every topic of a resume as unrecovered', async () => {
    const resume = { 'venue|ticker|BTC/USDT': [1_000, 4], 'venue|ohlcv|BTC/USDT|1m': [1, 2] }
    expect(await client.ask({ ...subscribe, resume }, 'subscribed')).toMatchObject({
      unrecovered: Object.keys(resume),
    })
  })

  it('counts topics against the tier, over all connections of the key, and gives them back', async () => {
    await gateway.stop()
    gateway = await new TestGateway({ tiers: tier('premium', { symbols: 3 }) }).start()
    for (const symbol of ['A', 'B', 'C', 'D']) gateway.carry('venue', 'ticker', symbol)
    client = await gateway.client({ tier: 'premium' })
    const answer = await client.ask({ ...subscribe, symbols: ['A', '*', 'B', 'C', 'D'] }, 'subscribed')
    expect(answer.symbols).toEqual(['A', 'B', 'C'])
    expect(
      answer.rejected.map(({ symbol, code }: { symbol: string; code: number }) => [symbol, code]),
    ).toEqual([
      ['*', 405],
      ['D', 405],
    ])
    const second = await gateway.client({ tier: 'premium' })
    expect((await second.ask({ ...subscribe, symbols: ['D'] }, 'subscribed')).rejected[0].code).toBe(405)
    await client.ask({ type: 'unsubscribe', channel: 'ticker', symbols: ['A'] }, 'unsubscribed')
    expect((await second.ask({ ...subscribe, symbols: ['D'] }, 'subscribed')).symbols).toEqual(['D'])
    client.socket.close()
    await client.closed
    expect((await second.ask({ ...subscribe, symbols: ['A', 'B'] }, 'subscribed')).symbols).toEqual([
      'A',
      'B',
    ])
  })

  it('tells once when later topics of a pattern go over the limit', async () => {
    await gateway.stop()
    gateway = await new TestGateway({ tiers: tier('premium', { symbols: 1 }) }).start()
    gateway.carry('venue', 'ticker', 'A')
    client = await gateway.client({ tier: 'premium' })
    await client.ask({ ...subscribe, symbols: ['*'] }, 'subscribed')
    for (const symbol of ['B', 'C'])
      await gateway.publish(gateway.carry('venue', 'ticker', symbol), ticker('1'))
    await client.next((message) => message.code === 405)
    await client.settled()
    expect(client.ofType('error')).toHaveLength(1)
    expect(client.ofType('ticker')).toHaveLength(0)
  })

  it('refuses too many patterns', async () => {
    const symbols = Array.from({ length: 201 }, (_, index) => `${index}*`)
    const answer = await client.ask({ ...subscribe, symbols }, 'subscribed')
    expect(answer.rejected).toMatchObject([{ symbol: '200*', code: 405 }])
  })
})

describe('unsubscribe, list, ping and heartbeat', () => {
  it('ends what is named, also out of a pattern, and not what is not', async () => {
    await client.ask({ ...subscribe, symbols: ['*'] }, 'subscribed')
    const answer = await client.ask(
      { type: 'unsubscribe', id: 9, channel: 'ticker', source: 'venue', symbols: ['ETH/*'] },
      'unsubscribed',
    )
    expect(answer).toEqual({
      ...{ type: 'unsubscribed', id: 9, channel: 'ticker', source: 'venue', symbols: ['ETH/*'] },
    })
    const late = gateway.carry('venue', 'ticker', 'ETH/EUR')
    await gateway.publish(late, ticker('1'))
    const kept = gateway.carry('venue', 'ticker', 'LTC/EUR')
    await gateway.publish(kept, ticker('2'))
    await client.next((message) => message.symbol === 'LTC/EUR')
    expect(client.ofType('ticker').map((message) => message.symbol)).toEqual(['LTC/EUR'])
    const list = await client.ask({ type: 'list', id: 'l' }, 'subscriptions')
    expect(list).toMatchObject({
      ...{ id: 'l', subscriptions: [{ channel: 'ticker', symbols: ['*'], conflateMs: 0 }] },
    })
    await client.ask({ type: 'unsubscribe', channel: 'ticker', symbols: ['*'] }, 'unsubscribed')
    expect(await client.ask({ type: 'list' }, 'subscriptions')).toMatchObject({
      subscriptions: [],
      topics: [],
    })
  })

  it('answers ping with the id and a time in µs', async () => {
    const pong = await client.ask({ type: 'ping', id: 'p' }, 'pong')
    expect(pong).toEqual({ type: 'pong', id: 'p', timestamp: expect.any(Number) })
    expect(Math.abs(pong.timestamp - Date.now() * 1_000)).toBeLessThan(5_000_000)
  })

  it('beats with the heads of what changed, never ahead of what was sent', async () => {
    const topic = gateway.carry('venue', 'ticker', 'BTC/USDT')
    await gateway.publish(topic, ticker('1'))
    await client.ask({ ...subscribe, source: 'venue' }, 'subscribed')
    await client.next((message) => message.type === 'ticker')
    const first = await client.ask(
      { type: 'heartbeat', id: 'h', intervalMs: 1_000, heads: true },
      'heartbeat',
    )
    expect(first).toMatchObject({ id: 'h', heads: [['venue|ticker|BTC/USDT', 1_000, 1]] })
    await gateway.publish(topic, ticker('2'))
    await until(() => client.ofType('heartbeat').length === 3)
    const [, second, third] = client.ofType('heartbeat')
    expect(second?.heads).toEqual([['venue|ticker|BTC/USDT', 1_000, 2]])
    expect(third?.heads).toEqual([])
    await client.ask({ type: 'heartbeat', intervalMs: 0 }, 'heartbeat')
    expect(client.ofType('heartbeat')).toHaveLength(4)
    expect('heads' in client.ofType('heartbeat')[3]!).toBe(false)
  })
})

describe('limits of commands and connections', () => {
  it('answers 429 with the time to wait, and closes a flood with 4129', async () => {
    await gateway.stop()
    gateway = await new TestGateway().start()
    client = await gateway.client({ tier: 'basic' })
    for (let sent = 0; sent < 5; sent++) client.send({ type: 'ping', id: sent })
    const refused = await client.next((message) => message.type === 'error')
    expect(refused).toMatchObject({ code: 429, name: 'rate-limited', id: 2 })
    expect(refused.retryAfterMs).toBeGreaterThan(0)
    for (let sent = 0; sent < 200; sent++) client.send({ type: 'ping' })
    expect(await client.closed).toBe(4129)
  })

  it('refuses one connection too many with 406 and 4106, and lets it in when one has gone', async () => {
    await gateway.stop()
    gateway = await new TestGateway({ tiers: tier('premium', { connections: 1 }) }).start()
    client = await gateway.client({ tier: 'premium' })
    await client.ask({ type: 'ping' }, 'pong')
    const second = await gateway.client({ tier: 'premium' })
    expect(await second.closed).toBe(4106)
    expect(second.messages).toMatchObject([{ type: 'error', code: 406, name: 'too-many-connections' }])
    client.socket.close()
    await client.closed
    const third = await gateway.client({ tier: 'premium' })
    await third.ask({ type: 'ping' }, 'pong')
  })
})

describe('shutdown', () => {
  it('is told with a time to come back, then close 4200', async () => {
    await client.ask({ type: 'ping' }, 'pong')
    const closing = gateway.hub.close(1_000)
    expect(await client.closed).toBe(4200)
    const shutdown = client.messages.at(-1)!
    expect(shutdown).toMatchObject({ type: 'shutdown' })
    expect(shutdown.reconnectInMs).toBeGreaterThanOrEqual(500)
    await closing
  })
})
