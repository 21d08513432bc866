import { appendFileSync, mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createEmbeddedBus } from '../../src/bus/embedded.ts'
import { Spool } from '../../src/bus/spool.ts'
import { topicOf } from '../../src/market/topic.ts'
import { describeBus } from '../contracts/bus.ts'
import { freshTopic, series, tradesOf } from '../contracts/events.ts'

const folder = () => join(mkdtempSync(join(tmpdir(), 'feedgate-spool-')), 'spool')
const plain = (events: readonly { topic: object; bytes: Buffer }[]) =>
  events.map((event) => ({ ...event, bytes: event.bytes.toString() }))

describeBus('embedded with a spool', async () => createEmbeddedBus({ spool: new Spool(folder()) }))

describe('the spool', () => {
  it('gives the next process, event for event, what the recorder had not taken', async () => {
    const path = folder()
    const bus = createEmbeddedBus({ spool: new Spool(path) })
    const reader = bus.subscribe('recorder', new AbortController().signal)[Symbol.asyncIterator]()
    const events = tradesOf(freshTopic('trades'), 3)
    for (const event of events) {
      await bus.publish([event])
      await reader.next()
    }
    // The third was handed out, but not taken; a little later this process ends.
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(plain(new Spool(path).recovered).slice(-1)).toEqual(plain(events.slice(-1)))

    const spool = new Spool(path)
    const next = createEmbeddedBus({ spool })
    const more = tradesOf(freshTopic('trades'), 1)
    const again = next.subscribe('recorder', new AbortController().signal)[Symbol.asyncIterator]()
    await next.publish(more)
    const { value } = await again.next()
    // Handed over: on disk it stays until it is taken, in memory it does not.
    expect(spool.recovered).toEqual([])
    expect(plain(value.events).slice(-2)).toEqual(plain([...events.slice(-1), ...more]))
  })

  it('is empty once everything was taken', async () => {
    const path = folder()
    const bus = createEmbeddedBus({ spool: new Spool(path) })
    const stop = new AbortController()
    const batches = bus.subscribe('recorder', stop.signal)
    await bus.publish(tradesOf(freshTopic('trades'), 5))
    stop.abort()
    for await (const _batch of batches);
    await bus.close()
    expect(readdirSync(path)).toEqual([])
  })

  it('keeps conversations, candles and odds as they were, and passes over a torn line', () => {
    const path = folder()
    const spool = new Spool(path)
    const status = series(topicOf('demo', 'status', 'acme/CONV_1'))({
      type: 'status',
      messageId: 'm1',
      conversationId: 'CONV_1',
      tenantId: 'acme',
      status: 'SENT',
      channel: 'whatsapp',
    })
    const market = series(topicOf('demo', 'odds', 'MATCH_1'))({
      type: 'odds',
      kind: 'market',
      eventId: 'MATCH_1',
      marketId: 'M1',
      market: 'Match Odds',
      phase: 'LIVE',
      status: 'OPEN',
      version: 1,
      selections: [],
    })
    spool.append([status, market])
    spool.close()
    appendFileSync(join(path, readdirSync(path)[0]!), 'demo|odds|MATCH_1\t{"v":1,"type":"od')
    const { recovered } = new Spool(path)
    expect(plain(recovered)).toEqual(plain([status, market]))
    expect(recovered.map((event) => event.key)).toEqual([status.key, market.key])
  })

  it('deletes a file as soon as everything in it was taken', () => {
    const path = folder()
    const spool = new Spool(path)
    const size = () => readdirSync(path).length
    const big = tradesOf(freshTopic('trades'), 20_000)
    for (let round = 0; round < 6; round++) {
      spool.append(big)
      if (round > 0) spool.release(big.length)
      expect(size()).toBeLessThanOrEqual(3)
    }
    spool.release(big.length)
    spool.close()
    expect(readdirSync(path)).toEqual([])
  })

  it('does not hand recovered events to anybody but the recorder', async () => {
    const path = folder()
    new Spool(path).append(tradesOf(freshTopic('trades'), 1))
    const bus = createEmbeddedBus({ spool: new Spool(path) })
    const relay = bus.subscribe('relay', new AbortController().signal)[Symbol.asyncIterator]()
    const [fresh] = tradesOf(freshTopic('trades'), 1)
    await bus.publish([fresh!])
    expect((await relay.next()).value.events).toEqual([fresh])
  })
})
