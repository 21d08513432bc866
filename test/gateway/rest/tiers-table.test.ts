import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RateLimits } from '../../../src/auth/auth.ts'
import { CHANNELS, type Level } from '../../../src/market/event.ts'
import { topicOf } from '../../../src/market/topic.ts'
import { book, series, trade } from '../../contracts/events.ts'
import { ALL_CHANNELS, MINUTE_MS, TIER_TABLE, type TierRow } from '../tier-table.ts'
import { startRest, type TestGateway } from './gateway.ts'

let gateway: TestGateway
let limits: RateLimits

const NOW = Date.now() * 1_000
const levels = (from: number, step: number) =>
  Array.from({ length: 200 }, (_, n): Level => [String(from + n * step), '1'])
/** An hour beyond and an hour within the history of each tier; the oldest first. */
const AGES_MS = TIER_TABLE.filter(({ historyMs }) => Number.isFinite(historyMs))
  .flatMap(({ historyMs }) => [historyMs + 60 * MINUTE_MS, historyMs - 60 * MINUTE_MS])
  .sort((one, other) => other - one)

beforeAll(async () => {
  gateway = await startRest()
  limits = gateway.ports.limits
  const trades = topicOf('sim', 'trades', 'X/Y')
  const deep = topicOf('sim', 'orderbook', 'X/Y')
  for (const channel of ALL_CHANNELS) {
    const { subject, timeframe } = CHANNELS[channel]
    const name = subject === 'symbol' ? 'X/Y' : subject === 'eventId' ? 'X' : 'demo/X'
    gateway.desk.carry(
      topicOf('sim', channel, channel === 'source' ? 'sim' : name, timeframe ? '1m' : undefined),
    )
  }
  const next = series(trades, NOW)
  const time = (ageMs: number) => ({ receivedTime: NOW - ageMs * 1_000, sourceTime: NOW - ageMs * 1_000 })
  await gateway.publish([
    ...AGES_MS.map((age, id) => next(trade(String(id), '1.5', '1'), time(age))),
    series(deep, NOW)(book('snapshot', levels(1_000, -1), levels(1_001, 1)), { receivedTime: NOW }),
  ])
})
afterAll(() => gateway.close())

/** What is walked here takes more calls than two a second. */
async function unlimited<T>(act: () => Promise<T>): Promise<T> {
  Object.assign(gateway.ports, { limits: { ...limits, command: async () => {} } })
  try {
    return await act()
  } finally {
    Object.assign(gateway.ports, { limits })
  }
}

describe.each(TIER_TABLE)('$name, by REST', (row: TierRow) => {
  it.each([...ALL_CHANNELS])('has the channel %s as the table says', async (channel) => {
    const key = gateway.keys[row.name]
    await unlimited(async () => {
      for (const path of [
        `/v1/latest?channel=${channel}`,
        `/v1/history/${channel}`,
        `/v1/gaps?channel=${channel}`,
      ]) {
        const answer = await gateway.get(path, key)
        if (row.channels.includes(channel)) expect([path, answer.status]).toEqual([path, 200])
        else expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } })
      }
    })
  })

  it('has books as deep as the table says, now and in history', async () => {
    const key = gateway.keys[row.name]
    await unlimited(async () => {
      const path = '/v1/orderbook?source=sim&symbol=X/Y'
      const now = await gateway.get(path, key)
      if (row.depth === 0) {
        expect(now).toMatchObject({ status: 403, body: { code: 'forbidden' } })
        expect(now.text).not.toContain('"bids"')
        return
      }
      const shown = row.depth === 'full' ? 200 : row.depth
      const books = [
        now.body,
        (await gateway.get(`${path}&depth=100`, key)).body,
        (await gateway.get('/v1/latest?channel=orderbook', key)).body.items[0],
        (await gateway.get('/v1/history/orderbook', key)).body.items[0],
        (await gateway.get(`${path}&at=${NOW + 1}`, key)).body,
      ]
      expect(books.map(({ bids, asks }) => [bids.length, asks.length])).toEqual([
        [shown, shown],
        [Math.min(shown, 100), Math.min(shown, 100)],
        ...Array.from({ length: 3 }, () => [shown, shown]),
      ])
    })
  })

  it('sees history as far back as the table says, as JSON, NDJSON and CSV', async () => {
    const key = gateway.keys[row.name]
    const visible = AGES_MS.flatMap((age, id) => (age <= row.historyMs ? [String(id)] : []))
    await unlimited(async () => {
      for (const from of ['', '&from=0', '&from=1970-01-01']) {
        const { body } = await gateway.get(`/v1/history/trades?symbol=X/Y${from}`, key)
        expect(body.items.map(({ id }: { id: string }) => id)).toEqual(visible)
      }
      for (const format of ['ndjson', 'csv']) {
        const { text } = await gateway.get(`/v1/history/trades?symbol=X/Y&format=${format}`, key)
        expect(text.trim().split('\n').length - (format === 'csv' ? 1 : 0)).toBe(visible.length)
      }
      const candles = await gateway.get('/v1/candles?source=sim&symbol=X/Y&timeframe=1h', key)
      expect(candles.body.items).toHaveLength(visible.length)
    })
  })

  it('may make as many calls a second as the table says, and the next is 429', async () => {
    const key = await gateway.newKey(row.name)
    const began = performance.now()
    const answers = await Promise.all(
      Array.from({ length: 3 * row.commands }, () => gateway.get('/v1/sources', key)),
    )
    const took = performance.now() - began
    const served = answers.filter(({ status }) => status === 200).length
    expect(served).toBeGreaterThanOrEqual(row.commands)
    if (took < 900) expect(served).toBe(row.commands)
    const refused = answers.find(({ status }) => status === 429)
    expect(refused).toMatchObject({ body: { code: 'rate-limited' }, headers: { 'retry-after': '1' } })
  })

  it('may not call what is for admins', async () => {
    await unlimited(async () => {
      for (const path of ['/admin/keys', '/admin/tenants', '/market-data/websocket/status', '/admin/replays'])
        expect(await gateway.get(path, gateway.keys[row.name])).toMatchObject({
          ...{ status: 403, body: { code: 'forbidden' } },
        })
    })
  })
})

it('replay is of a later version: 501 for the admin', async () => {
  for (const method of ['GET', 'POST'] as const) {
    const answer = await gateway.call(
      { method, url: '/admin/replays' },
      'test-admin-key-of-more-than-32-bytes',
    )
    expect(answer).toMatchObject({ status: 501, body: { code: 'not-implemented' } })
  }
})
