import { describe, expect, it } from 'vitest'
import { type AnyEvent, conflationKey } from '../../client/events.ts'
import { Queue } from '../../client/queue.ts'
import * as market from '../../src/market/event.ts'
import { ticker, trade } from './scripted-gateway.ts'

async function drain(queue: Queue<AnyEvent>): Promise<(string | number)[]> {
  const seen: (string | number)[] = []
  try {
    for (;;) {
      const { value, done } = await queue.next()
      if (done) return seen
      seen.push(value.conflated ? `${value.seq} conflated` : value.seq)
    }
  } catch (error) {
    return [...seen, String(error)]
  }
}

describe('what waits for a loop', () => {
  it('comes in order, as many as may wait', async () => {
    const queue = new Queue<AnyEvent>(3, () => {})
    for (const seq of [1, 2, 3]) queue.put(trade(seq) as AnyEvent)
    queue.end()
    expect(await drain(queue)).toEqual([1, 2, 3])
  })

  it('is conflated when full: the newest of a key stands for older ones, and events stay', async () => {
    let left = 0
    const queue = new Queue<AnyEvent>(4, () => left++)
    for (const item of [ticker(1), trade(1), ticker(2), ticker(1, { symbol: 'C/D' }), ticker(3), ticker(4)])
      queue.put(item as AnyEvent)
    queue.end()
    expect(await drain(queue)).toEqual([1, 1, '3 conflated', 4])
    expect(left).toBe(0)
  })

  it('ends the stream with an error where nothing can be conflated, after what waits', async () => {
    let left = 0
    const queue = new Queue<AnyEvent>(2, () => left++)
    for (const seq of [1, 2, 3, 4]) queue.put(trade(seq) as AnyEvent)
    expect(await drain(queue)).toEqual([1, 2, expect.stringContaining('the loop is too slow')])
    expect(left).toBe(1)
  })

  it('never holds more than its bound, however long the loop sleeps', () => {
    const queue = new Queue<AnyEvent>(50, () => {})
    for (let seq = 1; seq <= 10_000; seq++) queue.put(ticker(seq, { symbol: `S${seq % 20}` }) as AnyEvent)
    expect(queue.size).toBeLessThanOrEqual(50)
  })
})

it('conflates by the keys of the gateway', () => {
  const payloads = [
    { type: 'ticker' },
    { type: 'trade' },
    { type: 'orderbook', kind: 'delta' },
    { type: 'ohlcv', openTime: 60, closed: false },
    { type: 'odds', kind: 'market', marketId: 'm' },
    { type: 'odds', kind: 'price', marketId: 'm', selectionId: 's', side: 'back', level: 0 },
    { type: 'odds', kind: 'result', marketId: 'm' },
    { type: 'status' },
    { type: 'funding' },
    { type: 'openinterest' },
    { type: 'liquidation' },
    { type: 'source' },
    { type: 'gap' },
  ]
  for (const payload of payloads) {
    const theirs = market.conflationKey(payload as unknown as market.Payload)
    const mine = conflationKey(payload as unknown as AnyEvent)
    expect(mine === undefined, payload.type).toBe(theirs === undefined)
    if (theirs) expect(mine).toBe(theirs)
  }
  expect(conflationKey({ type: 'ohlcv', openTime: 60, closed: true } as unknown as AnyEvent)).toBeUndefined()
})
