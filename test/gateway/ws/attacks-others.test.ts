import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Payload } from '../../../src/market/event.ts'
import { KEYS, TestGateway, tier } from './gateway.ts'

let gateway: TestGateway

beforeAll(async () => {
  gateway = await new TestGateway({ tiers: tier('premium', { commandsPerSecond: 10_000 }) }).start()
  gateway.carry('venue', 'status', 'demo/CONV_1')
})
afterAll(() => gateway.stop())

describe("somebody else's conversation", () => {
  const status = (conversationId: string, tenantId: string): Payload => ({
    ...{ type: 'status', messageId: 'm1', conversationId, tenantId, status: 'SENT', channel: 'whatsapp' },
  })
  const named = (value: unknown) => JSON.stringify(value).replaceAll(/CONV_9|CONV_X/g, 'CONV')

  it('is answered as one that there is not, whatever is asked of it, and never sent', async () => {
    const theirs = gateway.carry('venue', 'status', 'acme/CONV_9')
    await gateway.publish(theirs, status('CONV_9', 'acme'))
    const attacker = await gateway.client({ tier: 'premium' })
    const answers: string[][] = []
    for (const name of ['CONV_9', 'CONV_X']) {
      const of = { channel: 'status', symbols: [name], id: 1 }
      const topic = `venue|status|${name}`
      const asked: string[] = []
      for (const message of [
        { type: 'subscribe', ...of },
        { type: 'subscribe', ...of, source: 'venue' },
        { type: 'subscribe', ...of, symbols: [`${name}*`] },
        { type: 'subscribe', ...of, from: 0 },
        { type: 'subscribe', ...of, resume: { [topic]: [1_000, 0] } },
        { type: 'unsubscribe', ...of },
      ])
        asked.push(
          named(await attacker.ask(message, message.type === 'subscribe' ? 'subscribed' : 'unsubscribed')),
        )
      answers.push(asked)
    }
    expect(answers[0]).toEqual(answers[1])
    // A name within another tenant is none of a conversation.
    for (const name of ['acme/CONV_9', 'demo/../acme/CONV_9', 'acme%2FCONV_9', 'venue|status|acme/CONV_9']) {
      const answer = await attacker.ask(
        { type: 'subscribe', channel: 'status', symbols: [name] },
        'subscribed',
      )
      expect(answer.rejected).toMatchObject([{ code: 422 }])
    }
    await attacker.ask({ type: 'subscribe', channel: 'status', symbols: ['*'] }, 'subscribed')
    await gateway.publish(theirs, status('CONV_9', 'acme'))
    await gateway.publish(gateway.carry('venue', 'status', 'demo/CONV_1'), status('CONV_1', 'demo'))
    await attacker.next((message) => message.conversationId === 'CONV_1')
    const { topics } = await attacker.ask({ type: 'list' }, 'subscriptions')
    expect(topics).toEqual(['venue|status|CONV_1'])
    const beat = await attacker.ask({ type: 'heartbeat', intervalMs: 0, heads: true }, 'heartbeat')
    expect(JSON.stringify(beat)).not.toContain('CONV_9')
    expect(attacker.ofType('status').every(({ conversationId }) => conversationId === 'CONV_1')).toBe(true)
    expect(attacker.frames.join()).not.toContain('acme"')
    attacker.socket.close()
  })

  it('is as unknown on the endpoint of the first system', async () => {
    const attacker = await gateway.client({ path: '/ws/status', tier: 'premium' })
    const answers: string[] = []
    for (const conversationId of ['CONV_9', 'CONV_X']) {
      attacker.send({ type: 'subscribe', conversationId })
      answers.push(named(await attacker.next(({ message }) => String(message).includes(conversationId))))
    }
    expect(answers[0]).toBe(answers[1])
    attacker.socket.close()
  })
})

it('a ticket of another gateway, a used one and one that was guessed are refused with 401 and 4001', async () => {
  const other = await new TestGateway().start()
  const identity = await other.auth.identify({ kind: 'apiKey', apiKey: KEYS.premium }, '::1')
  const { ticket } = await other.auth.issueTicket(identity)
  const { ticket: used } = await gateway.auth.issueTicket(identity)
  const first = await gateway.client({ path: `/ws?ticket=${used}` })
  await first.ask({ type: 'ping' }, 'pong')
  for (const tried of [ticket, used, used.slice(1), `${used}x`, 'x'.repeat(5_000)]) {
    const attacker = gateway.connect({ path: `/ws?ticket=${tried}` })
    expect(await attacker.closed).toBe(4001)
    expect(attacker.messages).toMatchObject([{ code: 401 }])
  }
  first.socket.close()
  await other.stop()
})

it('a flood on the endpoints of the first system ends with 4129', async () => {
  for (const path of ['/ws/odds', '/ws/status']) {
    const attacker = await gateway.client({ path, tier: 'premium' })
    for (let sent = 0; sent < 2_000; sent++) attacker.send('{')
    expect(await attacker.closed).toBe(4129)
    expect(attacker.messages.length).toBeLessThan(400)
  }
})
