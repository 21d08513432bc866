import { describe, expect, it } from 'vitest'
import { asyncApiDocument } from '../../src/protocol/asyncapi.ts'

// biome-ignore lint/suspicious/noExplicitAny: a document is looked at as JSON
const document: any = JSON.parse(JSON.stringify(asyncApiDocument('1.2.3')))

function resolve(reference: string): unknown {
  return reference
    .slice(2)
    .split('/')
    .reduce((node, key) => node?.[key], document)
}

describe('the AsyncAPI document', () => {
  it('is of version 3 and names the three endpoints', () => {
    expect(document).toMatchObject({ asyncapi: '3.0.0', info: { title: 'feedgate', version: '1.2.3' } })
    const addresses = Object.values(document.channels).map(
      (channel) => (channel as { address: string }).address,
    )
    expect(addresses).toEqual(['/ws', '/ws/odds', '/ws/status'])
  })

  it('names the subprotocols of /ws, and no others', () => {
    const { stream, odds } = document.channels
    expect(stream.bindings.ws.headers.properties['Sec-WebSocket-Protocol'].enum).toEqual([
      'feedgate.v1.json',
      'feedgate.v1.msgpack',
    ])
    expect(odds.bindings.ws.headers).toBeUndefined()
  })

  it('has no reference that leads nowhere', () => {
    const references: string[] = []
    const walk = (node: unknown): void => {
      if (typeof node !== 'object' || node === null) return
      for (const [key, value] of Object.entries(node)) {
        if (key === '$ref') references.push(value)
        else walk(value)
      }
    }
    walk(document)
    expect(references.length).toBeGreaterThan(50)
    for (const reference of references) expect(resolve(reference), reference).toBeDefined()
  })

  it('describes every command with its fields, and every event', () => {
    const { messages } = document.components
    expect(messages['stream.client.subscribe'].payload.required).toEqual(['type', 'channel', 'symbols'])
    expect(Object.keys(messages['stream.server.trade'].payload.properties)).toEqual(
      expect.arrayContaining(['v', 'type', 'seq', 'price', 'sentTime', 'prev', 'prevSent', 'conflated']),
    )
    expect(messages['stream.server.live'].payload.required).toEqual(['type'])
    for (const field of ['filters', 'conflateMs', 'unrecovered'])
      expect(messages['stream.server.subscribed'].payload.properties).toHaveProperty(field)
    expect(Object.keys(messages['odds.server.odds'].payload.properties)).toEqual([
      'eventId',
      'market',
      'odd',
      'timestamp',
    ])
  })
})
