import { afterAll, afterEach, describe, expect, it } from 'vitest'
import type { Payload } from '../../../src/market/event.ts'
import { signals } from '../../../src/signals.ts'
import { type TestClient, TestGateway, trade, until } from './gateway.ts'

let gateway: TestGateway
afterEach(() => gateway.stop())

const MEBIBYTE = 1_048_576
const EVENT_BYTES = 64_000
const BACKLOG_BYTES = 256 * 1_024
const SUBSCRIBE = { type: 'subscribe', channel: 'trades', symbols: ['BTC/USDT'], snapshot: false }
/** Long, so that what the kernel takes for a socket is full soon. */
const longTrade = (id: number): Payload =>
  ({ ...trade(id), id: `${id}-`.padEnd(EVENT_BYTES, 'x') }) as Payload

describe('some of many clients that stop reading', () => {
  const closes: number[] = []
  const stop = signals.clientDisconnected.on(({ code }) => void closes.push(code))
  afterEach(() => void closes.splice(0))
  afterAll(stop)

  it('are closed with 4100 within their bounds, miss nothing when they resume, and delay nobody', async () => {
    gateway = await new TestGateway({ hub: { pingMs: 60_000 } }).start()
    const topic = gateway.carry('venue', 'trades', 'BTC/USDT')
    const clients = await Promise.all(
      Array.from({ length: 6 }, () => gateway.client({ tier: 'institutional' })),
    )
    for (const client of clients) await client.ask(SUBSCRIBE, 'subscribed')
    const stalled = clients.slice(0, 2)
    const others = clients.slice(2)
    let published = 0
    const publish = async () => {
      await gateway.publish(topic, longTrade(++published))
      await until(() => others.every((client) => lastSeq(client) === published))
    }
    for (let round = 0; round < 5; round++) await publish()
    for (const client of stalled) client.socket.pause()

    let mostBuffered = 0
    /** Events that came while a client was behind. */
    const waited = new Map<string, number>()
    while (closes.length < stalled.length && published < 2_000) {
      await publish()
      // The others have had each event before the next one was published: nothing held them up.
      const open = [...gateway.hub.clients].map(({ connection }) => connection).filter((of) => of.open)
      for (const { id, bufferedBytes } of open) {
        mostBuffered = Math.max(mostBuffered, bufferedBytes)
        if (bufferedBytes > BACKLOG_BYTES) waited.set(id, (waited.get(id) ?? 0) + 1)
      }
      if (open.length === others.length) await until(() => closes.length === stalled.length)
    }
    expect(closes).toEqual([4100, 4100])
    expect(mostBuffered).toBeLessThan(BACKLOG_BYTES + 2 * EVENT_BYTES)
    expect(Math.max(...waited.values()) * EVENT_BYTES).toBeLessThan(4 * MEBIBYTE + 2 * EVENT_BYTES)

    for (const client of stalled) {
      const last = lastSeq(client)
      client.socket.terminate()
      const again = await gateway.client({ tier: 'institutional' })
      const resume = { 'venue|trades|BTC/USDT': [1_000, last] }
      const { unrecovered } = await again.ask({ ...SUBSCRIBE, resume }, 'subscribed')
      expect(unrecovered ?? []).toEqual([])
      await until(() => lastSeq(again) === published)
      const seqs = again.ofType('trade').map((event) => event.seq)
      expect(seqs).toEqual(Array.from({ length: published - last }, (_, index) => last + 1 + index))
    }
  })
})

function lastSeq(client: TestClient): number {
  return client.ofType('trade').at(-1)?.seq ?? 0
}
