import jwt from 'jsonwebtoken'
import { afterEach, describe, expect, it } from 'vitest'
import type { Payload } from '../../../src/market/event.ts'
import type { Topic } from '../../../src/market/topic.ts'
import { JWT_SECRET, TestGateway, until } from './gateway.ts'

let gateway: TestGateway
afterEach(() => gateway.stop())

const AT = Date.parse('2025-11-09T20:20:00.900Z') * 1_000

function market(selections: string[], marketId = 'M1', name = 'Match Odds'): Payload {
  return {
    ...{ type: 'odds', kind: 'market', eventId: 'MATCH_002', marketId, market: name, phase: 'LIVE' },
    ...{ status: 'OPEN', version: 1 },
    selections: selections.map((selectionId) => ({ selectionId, name: selectionId, status: 'ACTIVE' })),
  }
}

function price(selectionId: string, odds: string, changes: object = {}): Payload {
  return {
    ...{ type: 'odds', kind: 'price', eventId: 'MATCH_002', marketId: 'M1', market: 'Match Odds' },
    ...{ selectionId, selection: selectionId, side: 'back', level: 0, odds },
    ...{ sourcePrice: odds, sourceFormat: 'decimal', marketVersion: 1 },
    ...changes,
  } as Payload
}

describe('/ws/odds', () => {
  async function start(): Promise<Topic> {
    gateway = await new TestGateway().start()
    return gateway.carry('bookie', 'odds', 'MATCH_002')
  }

  it('sends exactly the four fields, at once and for each change of the first selection', async () => {
    const topic = await start()
    const at = { sourceTime: AT }
    await gateway.publish(topic, price('away', '3.10'), at)
    await gateway.publish(topic, market(['home', 'away']), at)
    await gateway.publish(topic, price('home', '1.850'), at)
    await gateway.publish(topic, price('home', '1.80', { side: 'lay' }), at)
    await gateway.publish(topic, price('home', '1.70', { level: 1 }), at)
    await gateway.publish(topic, price('X', '2.5', { marketId: 'M2', market: 'Total' }), at)
    const client = await gateway.client({ path: '/ws/odds', tier: 'premium' })
    client.send('{ "type": "subscribe", "eventId": "MATCH_002" }')
    await until(() => client.frames.length === 2)
    expect(client.frames).toEqual([
      '{"eventId":"MATCH_002","market":"Match Odds","odd":1.85,"timestamp":"2025-11-09T20:20:00Z"}',
      '{"eventId":"MATCH_002","market":"Total","odd":2.5,"timestamp":"2025-11-09T20:20:00Z"}',
    ])
    await gateway.publish(topic, price('away', '3.5'), at)
    await gateway.publish(topic, price('home', '1.85'), at)
    await gateway.publish(topic, price('home', '1.9'), at)
    await gateway.publish(topic, market(['away', 'home']), at)
    await until(() => client.frames.length === 4)
    expect(client.frames.slice(2).map((frame) => JSON.parse(frame).odd)).toEqual([1.9, 3.5])
  })

  it('gives basic the newest value of a market at most five times a second', async () => {
    const topic = await start()
    const client = await gateway.client({ path: '/ws/odds' })
    client.send({ type: 'subscribe', eventId: 'MATCH_002' })
    const began = performance.now()
    let odds = 100
    while (performance.now() - began < 1_000) {
      await gateway.publish(topic, price('home', (++odds / 100).toFixed(2)))
      await gateway.publish(topic, price('draw', (odds / 50).toFixed(2), { marketId: 'M2' }))
      await new Promise((resume) => setTimeout(resume, 5))
    }
    await until(() => client.messages.some((message) => message.odd === odds / 100))
    expect(client.frames.length).toBeGreaterThanOrEqual(8)
    expect(client.frames.length).toBeLessThanOrEqual(14)
  })

  it('says what is wrong in a message, and goes on', async () => {
    const topic = await start()
    await gateway.publish(topic, price('home', '2'))
    const client = await gateway.client({ path: '/ws/odds' })
    for (const message of [
      '{',
      '{"type":"subscribe"}',
      '{"type":"subscribe","eventId":"NO"}',
      '{"type":"x"}',
    ]) {
      const before = client.frames.length
      client.send(message)
      await until(() => client.frames.length > before)
      expect(Object.keys(JSON.parse(client.frames.at(-1)!))).toEqual(['type', 'message'])
    }
    client.send({ type: 'subscribe', eventId: 'MATCH_002' })
    await client.next((message) => message.odd === 2)
    client.send({ type: 'unsubscribe', eventId: 'MATCH_002' })
    client.send('{}')
    await client.next((message) => message.type === 'error', client.messages.length)
    const before = client.frames.length
    await gateway.publish(topic, price('home', '3'))
    client.send('{}')
    await until(() => client.frames.length > before)
    expect(client.messages.at(-1)).toMatchObject({ type: 'error' })
  })

  it('limits what one address may send', async () => {
    await start()
    const client = await gateway.client({ path: '/ws/odds' })
    for (let sent = 0; sent < 100; sent++) client.send({ type: 'unsubscribe', eventId: 'MATCH_002' })
    expect(await client.next((message) => message.type === 'error')).toEqual({
      type: 'error',
      message: 'too many messages from this address: wait a second',
    })
    client.send('x'.repeat(20_000))
    expect(await client.closed).toBe(1009)
  })
})

describe('/ws/status', () => {
  const status = (messageId: string, value: 'SENT' | 'READ'): Payload => ({
    ...{ type: 'status', messageId, conversationId: 'CONV_001', tenantId: 'demo', status: value },
    channel: 'whatsapp',
  })
  const token = (claims: object = {}) =>
    jwt.sign({ nameid: 'user-7', tenant_id: 'demo', exp: Math.floor(AT / 1e6) + 1e9, ...claims }, JWT_SECRET)
  const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)

  it('sends each message in the exact shape', async () => {
    gateway = await new TestGateway().start()
    const topic = gateway.carry('sim', 'status', 'demo/CONV_001')
    await gateway.publish(topic, status('m0', 'READ'))
    const client = await gateway.client({ path: `/ws/status?access_token=${token()}` })
    await until(() => client.frames.length === 1)
    client.send({ type: 'subscribe', conversationId: 'CONV_001' })
    await until(() => client.frames.length === 2)
    client.send({ type: 'ping' })
    await until(() => client.frames.length === 3)
    await gateway.publish(topic, status('m1', 'SENT'), { sourceTime: AT })
    await until(() => client.frames.length === 4)
    client.send({ type: 'unsubscribe', conversationId: 'CONV_001' })
    await until(() => client.frames.length === 5)
    await gateway.publish(topic, status('m1', 'READ'))
    client.send({ type: 'ping' })
    await until(() => client.frames.length === 6)
    const [connected, subscribed, pong, sent, , last] = client.messages
    expect(Object.keys(connected!)).toEqual(['type', 'connectionId', 'userId', 'timestamp'])
    expect(connected).toMatchObject({ type: 'connected', userId: 'user-7', timestamp: TIME })
    expect(subscribed).toEqual({ type: 'subscribed', conversationId: 'CONV_001', timestamp: TIME })
    expect(pong).toEqual({ type: 'pong', timestamp: TIME })
    expect(client.frames[3]).toBe(
      '{"type":"message.status","messageId":"m1","conversationId":"CONV_001","status":"SENT","channel":"whatsapp","timestamp":"2025-11-09T20:20:00Z"}',
    )
    expect(sent).toBeDefined()
    expect(last).toMatchObject({ type: 'pong' })
  })

  it("does not know another tenant's conversation", async () => {
    gateway = await new TestGateway().start()
    gateway.carry('sim', 'status', 'other/CONV_009')
    const client = await gateway.client({ path: `/ws/status?access_token=${token()}` })
    client.send({ type: 'subscribe', conversationId: 'CONV_009' })
    expect(await client.next((message) => message.type === 'error')).toEqual({
      type: 'error',
      message: 'conversation CONV_009 is not known here',
    })
    const stream = await gateway.client({ tier: 'premium' })
    const answer = await stream.ask(
      { type: 'subscribe', channel: 'status', symbols: ['CONV_009'] },
      'subscribed',
    )
    expect(answer.rejected).toMatchObject([{ symbol: 'CONV_009', code: 422 }])
  })

  it('shows anonymous clients the demo tenant in demo mode, and nothing outside it', async () => {
    for (const demo of [true, false]) {
      gateway = await new TestGateway({ demo }).start()
      gateway.carry('sim', 'status', 'demo/CONV_001')
      const client = await gateway.client({ path: '/ws/status' })
      client.send({ type: 'subscribe', conversationId: 'CONV_001' })
      await until(() => client.frames.length === 2)
      expect(client.messages[1]!.type).toBe(demo ? 'subscribed' : 'error')
      await gateway.stop()
    }
    gateway = new TestGateway()
  })

  it('closes with 4001 what it cannot let in, and with 4003 what has expired', async () => {
    gateway = await new TestGateway({ anonymous: false }).start()
    for (const [path, code] of [
      ['/ws/status', 4001],
      ['/ws/status?access_token=a.b.c', 4001],
      [`/ws/status?access_token=${token({ exp: 1 })}`, 4003],
    ] as const) {
      const client = gateway.connect({ path })
      expect(await client.closed).toBe(code)
      expect(Object.keys(client.messages[0]!)).toEqual(['type', 'message'])
    }
  })
})
