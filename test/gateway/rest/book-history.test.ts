import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bookChecksum } from '../../../src/market/order-book.ts'
import { book, gap, series } from '../../contracts/events.ts'
import { startRest, symbolTopic, type TestGateway } from './gateway.ts'

/** Within every tier's window. */
const NOW = (Date.now() - 3_600_000) * 1_000
const levels = Array.from({ length: 40 }, (_, i) => i)
const bids = levels.map((i) => [String(1000 - i), '1.00'] as const)
const asks = levels.map((i) => [String(1001 + i), '2.50'] as const)
const bodyOf = (event: { bytes: Buffer }) => event.bytes.toString()
const itemsIn = (text: string): string => text.slice('{"items":['.length, text.lastIndexOf('],"next":'))

describe('the history of a book, for a tier of a limited depth', () => {
  const topic = symbolTopic('orderbook', 'DEEP/USDT')
  const number = series(topic, NOW)
  const next = (payload: ReturnType<typeof book>) => number(payload, { receivedTime: NOW })
  const events = [
    next(book('delta', [['1', '9']], [])),
    next({ ...book('snapshot', [...bids], [...asks]), checksum: 1 } as ReturnType<typeof book>),
    next(book('delta', [['970', '4.0']], [])),
    next({ ...book('delta', [['999', '0']], [['1003', '8.0']]), checksum: 1 } as ReturnType<typeof book>),
    next(book('delta', [['1000.5', '3.0']], [['1001', '0']])),
    next(gap('orderbook', NOW, NOW + 1)),
    next(book('delta', [['998', '5.0']], [])),
    next(book('snapshot', [...bids], [...asks])),
    next(book('delta', [['1000', '0']], [])),
  ]
  const path = '/v1/history/orderbook?source=sim&symbol=DEEP/USDT'
  type Shown = { type: string; kind: string; bids: [string, string][]; asks: [string, string][] }

  let gateway: TestGateway
  beforeAll(async () => {
    gateway = await startRest()
    gateway.desk.carry(topic)
    await gateway.ports.store.record({ events, deadLetters: [] })
  })

  afterAll(() => gateway.close())

  /** What a client holds who applies everything. */
  const bidsAfter = (items: readonly Shown[]) => {
    const held = new Map<string, string>()
    for (const { type, kind, bids } of items) {
      if (type === 'gap' || kind === 'snapshot') held.clear()
      for (const [price, size] of bids ?? []) size === '0' ? held.delete(price) : held.set(price, size)
    }
    return [...held].sort(([a], [b]) => Number(b) - Number(a))
  }

  it('shows that depth, exactly, every event in its place, and nothing of a book that is not known', async () => {
    const { body } = await gateway.get(path, gateway.keys.premium)
    expect(body.items.map(({ seq }: { seq: number }) => seq)).toEqual([2, 3, 4, 5, 6, 8, 9])
    const [snapshot, below, change] = body.items
    expect(snapshot).toMatchObject({ kind: 'snapshot', depth: 25, bids: bids.slice(0, 25) })
    expect(snapshot.checksum).toBe(bookChecksum(bids.slice(0, 25), asks.slice(0, 25)))
    expect(below).toMatchObject({ kind: 'delta', bids: [], asks: [], depth: 25 })
    expect(below).not.toHaveProperty('checksum')
    expect(change.bids).toEqual([
      ['999', '0'],
      ['975', '1.00'],
    ])
    expect(change.asks).toEqual([['1003', '8.0']])
    expect(change.checksum).toBeGreaterThan(1)
    for (const end of [1, 2, 3, 4, 6, 7]) {
      const { receivedTime } = body.items[end - 1]
      const at = `/v1/orderbook?source=sim&symbol=DEEP/USDT&at=${receivedTime}`
      expect(bidsAfter(body.items.slice(0, end))).toEqual(
        (await gateway.get(at, gateway.keys.premium)).body.bids,
      )
    }
  })

  it('is the same page by page, and as lines', async () => {
    const whole = await gateway.get(path, gateway.keys.premium)
    const paged: Shown[] = []
    let cursor = ''
    do {
      const { body } = await gateway.get(`${path}&limit=1${cursor}`, gateway.keys.premium)
      paged.push(...body.items)
      cursor = body.next === null ? '' : `&cursor=${body.next}`
    } while (cursor !== '')
    expect(paged).toEqual(whole.body.items)
    const lines = await gateway.get(`${path}&format=ndjson`, gateway.keys.premium)
    expect(`${lines.text.trim().split('\n').join(',')}`).toBe(itemsIn(whole.text))
  })

  it('is as it was stored for those who may see all of it', async () => {
    const { text } = await gateway.get(path, gateway.keys.institutional)
    expect(itemsIn(text)).toBe(events.map(bodyOf).join(','))
  })
})
