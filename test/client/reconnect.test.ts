import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { backoffMs } from '../../client/closing.ts'
import { FeedgateError } from '../../client/index.ts'
import { until } from '../whole/program.ts'
import { ScriptedGateway, trade, Watched } from './scripted-gateway.ts'

const TRADES = { channel: 'trades', symbols: ['A/B'] } as const
let gateway: ScriptedGateway
let client: Watched

beforeEach(() => {
  gateway = new ScriptedGateway()
})
afterEach(async () => {
  client?.close()
  await gateway.close()
})

async function connect(options: object = {}): Promise<Watched> {
  client = new Watched({ url: await gateway.url(), WebSocket, ...options })
  return client
}

describe('who is there', () => {
  it('sends the key first, waits to be admitted, asks for heartbeats and arrays, then subscribes', async () => {
    await connect({ apiKey: 'fg_key', heartbeatMs: 1_000 })
    await client.subscribe(TRADES, () => {}).ready
    const peer = await gateway.peer()
    expect(peer.query.get('batch')).toBe('true')
    expect(peer.commands.map(({ type }) => type)).toEqual(['auth', 'heartbeat', 'subscribe'])
    expect(peer.commands[0]).toMatchObject({ apiKey: 'fg_key' })
    expect(peer.commands[1]).toMatchObject({ intervalMs: 1_000, heads: true })
  })

  it('gives a new ticket to each connection, in its URL', async () => {
    let tickets = 0
    await connect({ ticket: async () => `t${++tickets}` })
    const first = await gateway.peer()
    await until(() => client.last('open'))
    first.socket.terminate()
    const second = await gateway.peer(1)
    expect([first.query.get('ticket'), second.query.get('ticket')]).toEqual(['t1', 't2'])
    expect(second.of('auth')).toEqual([])
  })

  it('refreshes its token on the live connection, and goes on', async () => {
    let tokens = 0
    await connect({ token: async () => `jwt${++tokens}` })
    const peer = await gateway.peer()
    await peer.command('heartbeat')
    peer.send({ type: 'token.expiring', expiresAt: 1 })
    expect(await peer.command('auth', 1)).toMatchObject({ token: 'jwt2' })
    expect(gateway.peers).toHaveLength(1)
    expect(client.of('token.expiring')).toHaveLength(1)
  })

  it('does not ask on and on for a token that is about to end from the start', async () => {
    let tokens = 0
    gateway.on('auth', (peer, { id }) => {
      peer.send({ type: 'authenticated', id, tier: 'basic' })
      peer.send({ type: 'token.expiring', expiresAt: 1 })
    })
    await connect({ token: () => `jwt${++tokens}` })
    await (await gateway.peer()).command('auth', 1)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(tokens).toBe(2)
  })

  it.each([
    [{ apiKey: 'a', token: 'b' }, /one of apiKey, token and ticket/],
    [{ url: 'ftp://host' }, /^ftp:\/\/host is no address of a gateway/],
    [{ url: 'localhost' }, /^localhost is no address of a gateway/],
  ])('refuses options that cannot be meant: %o', async (options, message) => {
    await expect(connect(options)).rejects.toThrow(message)
  })
})

describe('close codes', () => {
  it.each([4001, 4003, 4009])(
    '%i with a fixed key: it does not come back, and everyone is told',
    async (code) => {
      gateway.on('auth', (peer, { id }) => {
        peer.send({
          type: 'error',
          id,
          code: 401,
          name: 'not-authenticated',
          message: 'the key is not known',
        })
        peer.socket.close(code, 'no')
      })
      await connect({ apiKey: 'wrong' })
      const subscription = client.subscribe(TRADES)
      const failure = { code, reason: 'not-authenticated', message: 'the key is not known' }
      await expect(subscription.ready).rejects.toMatchObject(failure)
      await expect(subscription[Symbol.asyncIterator]().next()).rejects.toBeInstanceOf(FeedgateError)
      expect(client.last('closed')?.error).toMatchObject(failure)
      await new Promise((resolve) => setTimeout(resolve, 150))
      expect(gateway.peers).toHaveLength(1)
    },
  )

  it('4003 with a function that gives tokens: it comes back with another one, and stops when that is refused too', async () => {
    let tokens = 0
    await connect({ token: () => `jwt${++tokens}` })
    const peer = await gateway.peer()
    await peer.command('heartbeat')
    gateway.on('auth', ({ socket }) => socket.close(4001, 'not that one'))
    peer.socket.close(4003, 'expired')
    await until(() => client.last('closed'))
    expect(gateway.peers.map(({ commands }) => commands[0]?.token)).toEqual(['jwt1', 'jwt2'])
    expect(client.last('closed')?.error?.code).toBe(4001)
  })

  it.each([4100, 4106, 4129, 1006, 1013])('%i: it comes back after a while', async (code) => {
    await connect()
    const peer = await gateway.peer()
    await peer.command('heartbeat')
    if (code === 1006) peer.socket.terminate()
    else peer.socket.close(code)
    await gateway.peer(1)
    expect(client.last('waiting')).toMatchObject({ code })
  })

  it('4200: it comes back when the gateway told it to', async () => {
    await connect({ backoff: { baseMs: 60_000, capMs: 60_000 } })
    const peer = await gateway.peer()
    await peer.command('heartbeat')
    peer.send({ type: 'shutdown', reconnectInMs: 40 })
    peer.socket.close(4200, 'the gateway shuts down')
    await gateway.peer(1)
    expect(client.last('waiting')).toMatchObject({ code: 4200, retryInMs: 40 })
  })

  it('4201: at once, and after a while where that did not help', async () => {
    await connect({ backoff: { baseMs: 60_000, capMs: 60_000 } })
    const first = await gateway.peer()
    await first.command('heartbeat')
    first.socket.close(4201, 'no pong')
    const second = await gateway.peer(1)
    expect(client.last('waiting')?.retryInMs).toBe(0)
    second.socket.close(4201, 'no pong')
    await until(() => client.last('waiting')?.attempt === 2)
    expect(client.last('waiting')?.retryInMs).toBeGreaterThan(0)
  })

  it('waits longer each time, up to the cap, and never the same', () => {
    const waits = Array.from({ length: 2_000 }, (_, at) => backoffMs(at % 20, 100, 10_000))
    expect(Math.max(...waits)).toBeLessThan(10_000)
    expect(Math.max(...waits)).toBeGreaterThan(9_000)
    expect(Math.max(...waits.filter((_, at) => at % 20 === 0))).toBeLessThan(100)
    expect(new Set(waits).size).toBeGreaterThan(1_990)
  })

  it('keeps trying where no token can be had', async () => {
    let asked = 0
    await connect({
      token: () => {
        if (++asked < 3) throw new Error('the issuer is away')
        return 'jwt'
      },
    })
    await gateway.peer()
    expect(client.last('waiting')).toMatchObject({ code: 0, reason: 'the issuer is away' })
  })
})

describe('dead connections', () => {
  it('finds a connection dead on which nothing came for 2.5 heartbeats, and makes another one', async () => {
    gateway.on('heartbeat', () => {})
    await connect({ heartbeatMs: 60 })
    await (await gateway.peer()).command('heartbeat')
    const began = performance.now()
    await gateway.peer(1)
    expect(performance.now() - began).toBeGreaterThan(100)
    expect(client.last('waiting')).toMatchObject({ code: 1006, reason: 'nothing heard' })
  })

  it('leaves a connection alone that is just quiet, heartbeats aside', async () => {
    gateway.on('heartbeat', (peer, { id }) => {
      const beat = setInterval(() => peer.send({ type: 'heartbeat', id, timestamp: 1 }), 50)
      peer.socket.on('close', () => clearInterval(beat))
    })
    await connect({ heartbeatMs: 50 })
    await gateway.peer()
    await new Promise((resolve) => setTimeout(resolve, 600))
    expect(gateway.peers).toHaveLength(1)
  })

  it('gives up on a handshake that does not end', async () => {
    gateway.on('auth', () => {})
    await connect({ apiKey: 'k', openTimeoutMs: 80 })
    await gateway.peer(1)
    expect(client.last('waiting')?.reason).toBe('no connection in time')
  })
})

describe('commands', () => {
  it('asks again what was refused for the rate, when it may, and in order', async () => {
    let refused = 0
    gateway.on('subscribe', (peer, { id, channel, symbols }) =>
      ++refused <= 2
        ? peer.send({
            type: 'error',
            id,
            code: 429,
            name: 'rate-limited',
            message: '2 a second',
            retryAfterMs: 30,
          })
        : peer.send({ type: 'subscribed', id, channel, symbols, conflateMs: 0 }),
    )
    await connect()
    await Promise.all([
      client.subscribe(TRADES, () => {}).ready,
      client.subscribe({ channel: 'ticker', symbols: ['*'] }, () => {}).ready,
    ])
    const asked = (await gateway.peer()).of('subscribe').map(({ channel }) => channel)
    expect(asked).toEqual(['trades', 'trades', 'trades', 'ticker'])
  })

  it('asks for what is wanted in one turn with one command', async () => {
    await connect()
    await Promise.all(
      ['A/B', 'C/D', 'A/B'].map((symbol) => client.subscribe({ channel: 'trades', symbols: [symbol] }).ready),
    )
    expect((await gateway.peer()).of('subscribe').map(({ symbols }) => symbols)).toEqual([['A/B', 'C/D']])
  })

  it('splits what is too long for one message', async () => {
    await connect()
    const symbols = Array.from({ length: 2_000 }, (_, at) => `SYMBOL-${at}/USDT`)
    await client.subscribe({ channel: 'trades', symbols }, () => {}).ready
    await until(
      () => gateway.peers[0]?.of('subscribe').flatMap((command) => command.symbols).length === 2_000,
    )
    const commands = gateway.peers[0]!.of('subscribe')
    expect(commands.flatMap((command) => command.symbols)).toEqual(symbols)
    for (const command of commands) expect(JSON.stringify(command).length).toBeLessThan(16_384)
  })

  it('fails a subscription all of whose symbols are refused, and tells of one that is refused among others', async () => {
    gateway.on('subscribe', (peer, { id, channel, symbols }) =>
      peer.send({
        type: 'subscribed',
        id,
        channel,
        symbols: symbols!.filter((symbol) => symbol !== 'X/Y'),
        conflateMs: 0,
        ...(symbols!.includes('X/Y')
          ? { rejected: [{ symbol: 'X/Y', code: 422, message: 'no source carries X/Y' }] }
          : {}),
      }),
    )
    await connect()
    const lost = client.subscribe({ channel: 'trades', symbols: ['X/Y'] })
    const partly = client.subscribe({ channel: 'ticker', symbols: ['X/Y', 'A/B'] })
    await expect(lost.ready).rejects.toMatchObject({ code: 422, message: 'no source carries X/Y' })
    await partly.ready
    expect(client.of('rejected')).toMatchObject([{ channel: 'trades' }, { channel: 'ticker', symbol: 'X/Y' }])
  })

  it('asks again for a symbol that it had and that is refused after a reconnect', async () => {
    await connect()
    const subscription = client.subscribe(TRADES, () => {})
    await subscription.ready
    const first = await gateway.peer()
    gateway.on('subscribe', (peer, { id, channel }) =>
      peer.send({
        ...{ type: 'subscribed', id, channel, symbols: [], conflateMs: 0 },
        rejected: [{ symbol: 'A/B', code: 422, message: 'not carried yet' }],
      }),
    )
    first.socket.terminate()
    const second = await gateway.peer(1)
    await second.command('subscribe')
    await until(() => second.of('subscribe').length === 2, 8_000)
    expect(client.last('closed')).toBeUndefined()
  })

  it('fails a subscription that the gateway does not grant', async () => {
    gateway.on('subscribe', (peer, { id }) =>
      peer.send({ type: 'error', id, code: 403, name: 'forbidden', message: 'not part of tier basic' }),
    )
    await connect()
    const books = client.subscribe({ channel: 'orderbook', symbols: ['A/B'] })
    await expect(books[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: 403,
      reason: 'forbidden',
    })
  })
})

describe('streams', () => {
  it('takes arrays and single events alike, and unsubscribes when the loop is left', async () => {
    await connect()
    const seen: number[] = []
    const reading = (async () => {
      for await (const item of client.subscribe(TRADES)) {
        if (item.type === 'trade') seen.push(item.seq)
        if (seen.length === 3) break
      }
    })()
    const peer = await gateway.peer()
    await peer.command('subscribe')
    peer.send([trade(1), trade(2)])
    peer.send(trade(3))
    await reading
    expect(seen).toEqual([1, 2, 3])
    expect(await peer.command('unsubscribe')).toMatchObject({ channel: 'trades', symbols: ['A/B'] })
  })

  it('ends loops without an error when the client is closed', async () => {
    await connect()
    const items: unknown[] = []
    const reading = (async () => {
      for await (const item of client.subscribe(TRADES)) items.push(item)
    })()
    await gateway.peer()
    client.close()
    await reading
    expect(items).toEqual([])
    expect(() => client.subscribe(TRADES)).toThrow(/closed/)
  })

  it('gives a later subscription of the same topic its newest event, and leaves the earlier one whole', async () => {
    await connect()
    const one: number[] = []
    const two: number[] = []
    const first = client.subscribe(TRADES, (item) => item.type === 'trade' && one.push(item.seq))
    const peer = await gateway.peer()
    await peer.command('subscribe')
    peer.send([trade(1), trade(2)])
    await until(() => one.length === 2)
    const second = client.subscribe(TRADES, (item) => item.type === 'trade' && two.push(item.seq))
    await second.ready
    first.close()
    const again = await peer.command('subscribe', 2)
    expect(again.resume).toEqual({ 'x|trades|A/B': [7, 2] })
    peer.send(trade(3))
    await until(() => two.length === 2)
    expect([one, two]).toEqual([
      [1, 2],
      [2, 3],
    ])
  })

  it('refuses the same topics in another form', async () => {
    await connect()
    client.subscribe({ channel: 'orderbook', symbols: ['A/B'], depth: 10 }, () => {})
    expect(() => client.book({ source: 'x', symbol: 'A/B', depth: 25 })).toThrow(/another depth/)
    expect(() => client.subscribe({ channel: 'orderbook', symbols: ['C/D'], depth: 25 })).not.toThrow()
  })
})
