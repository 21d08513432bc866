import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { COMMANDS } from '../../../src/protocol/commands.ts'
import { type Said, type TestClient, TestGateway, ticker, tier, until } from './gateway.ts'

/** Each is what one client could do to all others; one who behaves is served by the same process afterwards. */
let gateway: TestGateway
let attacker: TestClient
let client: TestClient

beforeAll(async () => {
  gateway = await new TestGateway({
    tiers: tier('premium', { commandsPerSecond: 100_000, connections: 100, symbols: 100_000 }),
  }).start()
  for (let n = 0; n < 1_000; n++) gateway.carry('venue', 'ticker', `S${n}/USDT`)
  for (const channel of ['orderbook', 'trades'] as const) gateway.carry('venue', channel, 'BTC/USDT')
  client = await gateway.client({ tier: 'institutional' })
  await client.ask({ ...subscribe, symbols: ['S0/USDT'] }, 'subscribed')
})
beforeEach(async () => {
  attacker = await gateway.client({ tier: 'premium' })
})
afterEach(async () => {
  attacker.socket.terminate()
  const before = client.messages.length
  const { seq } = await gateway.publish(gateway.carry('venue', 'ticker', 'S0/USDT'), ticker('1'))
  await client.next((message) => message.type === 'ticker' && message.seq === seq, before)
})
afterAll(() => gateway.stop())

const subscribe = { type: 'subscribe', channel: 'ticker', symbols: ['S1/USDT'] }
const numbered = (count: number, name: (n: number) => string) =>
  Array.from({ length: count }, (_, n) => name(n))

/** CPU of this process, ms: what others do on the machine does not count. */
async function cpuMs(act: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  await act()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000
}

describe('a JSON bomb', () => {
  const nested = (open: string, close: string, depth: number) => open.repeat(depth) + close.repeat(depth)

  it.each<[string, string]>([
    ['100,000 lists in one another', `{"type":"ping","id":${nested('[', ']', 100_000)}}`],
    ['40,000 objects in one another', `{"type":"ping","id":${'{"a":'.repeat(40_000)}1${'}'.repeat(40_000)}}`],
    ['lists that never close', '['.repeat(250_000)],
    [
      '120,000 symbols that are none',
      `{"type":"subscribe","channel":"ticker","symbols":[${'1,'.repeat(120_000)}1]}`,
    ],
    ['40,000 unknown fields', `{"type":"ping",${numbered(20_000, (n) => `"x${n}":1`).join()}}`],
    [
      '20,000 unknown fields within a filter',
      `{"type":"subscribe","channel":"ticker","symbols":["A"],"filters":{"marketHours":{${numbered(15_000, (n) => `"x${n}":1`).join()}}}}`,
    ],
    [
      '9,999 good positions and a bad one',
      JSON.stringify({
        ...subscribe,
        resume: Object.fromEntries(
          numbered(10_000, (n) => `a|ticker|${n}`).map((name, n) => [name, n === 9_999 ? [1] : [1, 1]]),
        ),
      }),
    ],
    ['a number without end', `{"type":"ping","id":${'9'.repeat(200_000)}}`],
    ['a number with a huge exponent', '{"type":"ping","id":1e999999999}'],
    ['an id above 2^53', '{"type":"ping","id":9007199254740993}'],
    ['half a surrogate pair as its type', '{"type":"\\ud800"}'],
    ['NUL characters as its type', `{"type":"${'\\u0000'.repeat(1_000)}"}`],
  ])('of %s gets one short sentence, soon', async (_what, text) => {
    const answered = async () => {
      attacker.send(text)
      await attacker.next((message) => message.type === 'error')
    }
    // Finding every fault of such a message took up to 700 ms each, and nothing limited how many came.
    expect(await cpuMs(answered)).toBeLessThan(400)
    const [error] = attacker.ofType('error')
    expect(error).toMatchObject({ code: 400, name: 'bad-request' })
    expect(error!.message.length).toBeLessThan(700)
    expect((await attacker.ask({ type: 'ping', id: 1 }, 'pong')).id).toBe(1)
  })

  it('of the same key twice means the last one, and only that', async () => {
    attacker.send('{"type":"auth","apiKey":"x","type":"ping","id":3,"id":4,"apiKey":"y"}')
    expect(await attacker.next((m) => m.type === 'error')).toMatchObject({ code: 400, id: 4 })
    attacker.send('{"type":"auth","type":"ping","id":3,"id":5}')
    expect(await attacker.next((m) => m.type === 'pong')).toMatchObject({ id: 5 })
  })

  it('of 200 such messages ends the connection with 4009, and costs no second', async () => {
    const text = `{"type":"subscribe","channel":"ticker","symbols":[${'1,'.repeat(6_000)}1]}`
    const flood = async () => {
      for (let sent = 0; sent < 210; sent++) attacker.send(text)
      expect(await attacker.closed).toBe(4009)
    }
    expect(await cpuMs(flood)).toBeLessThan(2_000)
  })
})

describe('a prototype in a command', () => {
  const polluted = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty']
  const commands = Object.keys(COMMANDS)
  const good: Said = {
    auth: { apiKey: 'x' },
    subscribe: { channel: 'ticker', symbols: ['S1/USDT'] },
    unsubscribe: { channel: 'ticker', symbols: ['S1/USDT'] },
    list: {},
    ping: {},
    heartbeat: { intervalMs: 0 },
    replay: { id: 1, channel: 'ticker', symbols: ['A'], from: 0, to: 1 },
    'replay.pause': { id: 1 },
    'replay.resume': { id: 1 },
    'replay.stop': { id: 1 },
  }

  it.each(commands)('%s is an unknown field, at the top and inside, and reaches nobody', async (type) => {
    expect(good).toHaveProperty([type])
    const inside = ['filters', 'resume', 'id', 'symbols', 'from']
    for (const name of polluted) {
      const attack = `"${name}":{"admin":true,"tier":"institutional","prototype":{"admin":true}}`
      const top = JSON.stringify({ type, ...good[type] }).replace(/\}$/, `,${attack}}`)
      for (const text of [top, ...inside.map((field) => `{"type":"${type}","${field}":{${attack}}}`)]) {
        const before = attacker.messages.length
        attacker.send(text)
        const error = await attacker.next((message) => message.type === 'error', before)
        expect(error).toMatchObject({ code: 400, name: 'bad-request' })
      }
    }
    expect(Object.hasOwn(Object.prototype, 'admin')).toBe(false)
    expect(({} as Said).tier).toBeUndefined()
  })

  it('is no channel, no source, no symbol, no timeframe and no topic either', async () => {
    for (const name of polluted) {
      const channel = await attacker.ask({ ...subscribe, channel: name }, 'subscribed')
      expect(channel).toMatchObject({ code: 422, name: 'unknown-channel' })
      const source = await attacker.ask({ ...subscribe, source: name }, 'subscribed')
      expect(source.rejected).toMatchObject([{ code: 422 }])
      const symbol = await attacker.ask({ ...subscribe, symbols: [name, 'S1/USDT'] }, 'subscribed')
      expect(symbol).toMatchObject({ symbols: ['S1/USDT'], rejected: [{ symbol: name, code: 422 }] })
      const resume = `{"venue|ticker|${name}":[1,1]}`
      attacker.send(JSON.stringify(subscribe).replace(/\}$/, `,"id":"${name}","resume":${resume}}`))
      const answer = await attacker.next((message) => message.id === name)
      expect(answer).toMatchObject({ type: 'subscribed', unrecovered: [`venue|ticker|${name}`] })
    }
  })
})

describe('patterns that take long', () => {
  it('cost one command no more than 200 of them would', async () => {
    const symbols = numbered(10_000, (n) => `*${n}*/*`)
    let answer: Said = {}
    const ask = async () => {
      answer = await attacker.ask({ ...subscribe, symbols }, 'subscribed')
    }
    expect(await cpuMs(ask)).toBeLessThan(1_000)
    expect(answer.symbols).toHaveLength(200)
    expect(answer.rejected).toHaveLength(9_800)
    expect(answer.rejected[0]).toMatchObject({ code: 405 })
    const end = { type: 'unsubscribe', channel: 'ticker', symbols }
    expect(await attacker.ask(end, 'unsubscribed')).toMatchObject({ type: 'error', code: 405 })
  })

  it('and hold more than eight times * are refused one by one', async () => {
    const symbols = ['*'.repeat(256), `${'S*'.repeat(120)}T`, 'S1/USDT', '*a*b*c*d*e*f*g*h']
    const answer = await attacker.ask({ ...subscribe, symbols }, 'subscribed')
    expect(answer.symbols).toEqual(['*'.repeat(256), 'S1/USDT', '*a*b*c*d*e*f*g*h'])
    expect(answer.rejected).toEqual([
      { symbol: symbols[1], code: 400, message: 'a symbol may hold 8 times *' },
    ])
  })

  it('and names excepted from them are no more than 1,000', async () => {
    await attacker.ask({ ...subscribe, symbols: ['zzz*'] }, 'subscribed')
    const names = numbered(2_000, (n) => `n${n}`)
    const end = { type: 'unsubscribe', channel: 'ticker', symbols: names }
    expect(await attacker.ask(end, 'unsubscribed')).toMatchObject({ type: 'error', code: 405 })
    const wild = { ...subscribe, symbols: numbered(199, (n) => `*${n}x*`) }
    expect(await cpuMs(() => attacker.ask(wild, 'subscribed'))).toBeLessThan(500)
  })

  it('and filters of many symbols are made once', async () => {
    const filters = { marketHours: { from: '08:00', to: '17:00', timezone: 'Europe/London' } }
    const symbols = numbered(10_000, (n) => `S${n}/USDT`)
    let answer: Said = {}
    const ask = async () => {
      answer = await attacker.ask({ ...subscribe, symbols, filters }, 'subscribed')
    }
    // Ten thousand calendars took 1.7 s.
    expect(await cpuMs(ask)).toBeLessThan(1_000)
    expect(answer.symbols).toHaveLength(1_000)
  })
})

describe('rubbish in a time zone', () => {
  it.each([
    '',
    'Mars/Olympus',
    '../../etc/passwd',
    'UTC\u0000',
    'a'.repeat(65),
    '+05:30',
    '__proto__',
    'constructor',
    '😀',
  ])('%j gets 400', async (timezone) => {
    const filters = { marketHours: { from: '08:00', to: '17:00', timezone } }
    const answer = await attacker.ask({ ...subscribe, id: 1, filters }, 'subscribed')
    expect(answer).toMatchObject({ type: 'error', id: 1, code: 400 })
  })

  it('is none in the other spellings of a zone, and they are all one filter', async () => {
    for (const timezone of ['Europe/London', 'europe/london', 'EUROPE/LONDON', 'GB']) {
      const filters = { marketHours: { from: '08:00', to: '17:00', timezone } }
      expect(await attacker.ask({ ...subscribe, filters }, 'subscribed')).toMatchObject({
        symbols: ['S1/USDT'],
      })
    }
  })
})

it('who does not read its answers is asked no more, and what it sends meanwhile is bounded', async () => {
  const symbols = numbered(10_000, (n) => `unknown-${n}`)
  await attacker.ask({ ...subscribe, symbols }, 'subscribed')
  expect(attacker.frames.at(-1)!.length).toBeGreaterThan(700_000)
  attacker.socket.pause()
  for (let sent = 0; sent < 20; sent++) attacker.send({ ...subscribe, symbols })
  await until(() => [...gateway.hub.clients].some(({ connection }) => connection.behind), 20_000)
  const rubbish = 'x'.repeat(200_000)
  for (let sent = 0; sent < 40; sent++) attacker.send(rubbish)
  // More than 4 MiB wait to be handled: that is a flood.
  await until(
    () => [...gateway.hub.clients].every(({ connection }) => connection.open === false || !connection.behind),
    20_000,
  )
  attacker.socket.resume()
  expect([4129, 1006]).toContain(await attacker.closed)
  // The kernel takes a few megabytes of answers; those beyond were not made.
  expect(attacker.ofType('subscribed').length).toBeLessThan(12)
})
