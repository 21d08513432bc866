import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { arrayFrame, eventFrame, joinFrames, textFrame } from '../../../src/gateway/ws/frame.ts'

/** What a real client reads from these bytes. */
async function read(bytes: Buffer, count: number): Promise<string[]> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(server, 'listening')
  server.on('connection', (_socket, request) => request.socket.write(bytes))
  const { port } = server.address() as { port: number }
  const client = new WebSocket(`ws://127.0.0.1:${port}`, {
    createConnection: () => connect(port, '127.0.0.1'),
  })
  const messages: string[] = []
  client.on('message', (data) => messages.push(String(data)))
  while (messages.length < count) await once(client, 'message')
  client.terminate()
  server.close()
  return messages
}

describe('frames', () => {
  it.each([0, 2, 124, 125, 126, 127, 65_534, 65_535, 65_536, 200_000])(
    'hold a text of %i bytes',
    async (length) => {
      const text = 'x'.repeat(length)
      expect(await read(joinFrames([textFrame(text), textFrame('end')]), 2)).toEqual([text, 'end'])
    },
  )

  it('put a tail in the place of the closing brace, and join in arrays', async () => {
    const bodies = ['{"a":"é"}', `{"b":"${'y'.repeat(300)}"}`, `{"c":"${'z'.repeat(70_000)}"}`]
    const frames = bodies.map((body) => eventFrame(Buffer.from(body), ',"t":1}'))
    const expected = bodies.map((body) => `${body.slice(0, -1)},"t":1}`)
    expect(await read(joinFrames(frames), 3)).toEqual(expected)
    expect(await read(arrayFrame(frames), 1)).toEqual([`[${expected.join()}]`])
  })
})
