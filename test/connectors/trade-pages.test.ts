import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { FetchedTrades, TradesWanted } from '../../src/connectors/connector.ts'
import { loadConnectors } from '../../src/connectors/registry.ts'

/** A venue's trades 1 to 2,500, one each 10 ms from here on, as its REST would give them. */
const START = 1_790_000_000_000
const COUNT = 2_500
const ids = Array.from({ length: COUNT }, (_, index) => index + 1)
const timeOf = (id: number) => START + id * 10
const kinds = (await loadConnectors()).connectorFor

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

/** Answers of one path, made of the query. */
async function venueAt(
  path: string,
  answer: (query: URLSearchParams, index: number) => unknown,
  status = [200],
) {
  const asked: string[] = []
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://venue')
    asked.push(url.search)
    response.statusCode = url.pathname === path ? (status[asked.length - 1] ?? 200) : 404
    if (response.statusCode === 429) response.setHeader('retry-after', '0.05')
    response.end(JSON.stringify(answer(url.searchParams, asked.length - 1)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { restUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

function wanted(after: number, until: number, known = true): TradesWanted {
  const times = { afterTime: timeOf(after) * 1_000, untilTime: timeOf(until) * 1_000 }
  return known ? { afterId: String(after), untilId: String(until), ...times } : times
}

function fetchOf(kind: string, symbol: string, what: TradesWanted, restUrl: string): Promise<FetchedTrades> {
  const signal = AbortSignal.timeout(10_000)
  return kinds(kind, {})!.fetchTrades!(symbol, what, { source: kind, restUrl }, signal)
}

const idsOf = ({ trades }: FetchedTrades) =>
  trades.map(({ payload }) => (payload.type === 'trade' ? Number(payload.id) : 0))
const between = (after: number, until: number) => ids.filter((id) => id > after && id < until)

const aggregate = (id: number) => ({ a: id, p: '1.10', q: '2.0', f: id, l: id, T: timeOf(id), m: true })
const binance = (query: URLSearchParams) => {
  const from = query.get('fromId')
  const start = Number(query.get('startTime') ?? 0)
  const chosen = ids.filter((id) => (from === null ? timeOf(id) >= start : id >= Number(from)))
  return chosen.slice(0, Number(query.get('limit'))).map(aggregate)
}
const okx = (query: URLSearchParams) => {
  const after = Number(query.get('after'))
  const older = ids.filter((id) => (query.get('type') === '1' ? id : timeOf(id)) < after)
  const data = older.slice(-Number(query.get('limit'))).reverse()
  const trade = (id: number) => ({
    tradeId: String(id),
    px: '1.10',
    sz: '2',
    side: 'sell',
    ts: String(timeOf(id)),
  })
  return { code: '0', msg: '', data: data.map(trade) }
}
const coinbase = (query: URLSearchParams) => {
  const after = Number(query.get('after') ?? COUNT + 1)
  const chosen = ids.filter((id) => id < after).slice(-Number(query.get('limit')))
  const trade = (id: number) => ({
    ...{ trade_id: id, side: 'buy', size: '2.0', price: '1.10', time: new Date(timeOf(id)).toISOString() },
  })
  return chosen.reverse().map(trade)
}
const kraken = (query: URLSearchParams) => {
  const since = BigInt(query.get('since') ?? 0)
  const ns = (id: number) => BigInt(timeOf(id)) * 1_000_000n
  const chosen = ids.filter((id) => ns(id) > since).slice(0, Number(query.get('count')))
  const trade = (id: number) => ['1.10', '2.0', timeOf(id) / 1_000, 's', 'm', '', id]
  return { error: [], result: { XXBTZUSD: chosen.map(trade), last: String(ns(chosen.at(-1) ?? 0)) } }
}

describe('trades of the past', () => {
  it.each([
    ['binance', 'BTC/USD', '/api/v3/aggTrades', binance],
    ['binance-futures', 'BTC/USDT:USDT', '/fapi/v1/aggTrades', binance],
    ['okx', 'BTC/USD', '/api/v5/market/history-trades', okx],
    ['coinbase', 'BTC/USD', '/products/BTC-USD/trades', coinbase],
    ['kraken', 'BTC/USD', '/0/public/Trades', kraken],
  ] as const)(
    'of %s come in order, page by page, exactly those between two',
    async (kind, symbol, path, answer) => {
      const { restUrl } = await venueAt(path, answer)
      for (const [after, until, known] of [
        [100, 1_450, true],
        [100, 101, true],
        [1_000, 1_300, false],
      ] as const) {
        const fetched = await fetchOf(kind, symbol, wanted(after, until, known), restUrl)
        expect(idsOf(fetched)).toEqual(known ? between(after, until) : between(after - 1, until + 1))
        expect(fetched.complete).toBe(true)
        for (const { flags, sourceTime } of fetched.trades) {
          expect(flags).toEqual(['backfilled'])
          expect(sourceTime).toBeGreaterThan(0)
        }
      }
    },
  )

  it('of Bybit are the newest alone: what lies before is missing, and told to be', async () => {
    const trade = (id: number) => ({
      ...{
        execId: `x-${id}`,
        price: '1.1',
        size: '2',
        side: 'Buy',
        time: String(timeOf(id)),
        isBlockTrade: false,
      },
    })
    const answer = () => ({
      retCode: 0,
      result: { category: 'linear', list: ids.slice(-1_000).reverse().map(trade) },
    })
    const { restUrl } = await venueAt('/v5/market/recent-trade', answer)
    const times = { afterTime: timeOf(2_000) * 1_000, untilTime: timeOf(2_100) * 1_000 }
    const whole = await fetchOf('bybit', 'BTC/USDT:USDT', { afterId: 'x-2000', ...times }, restUrl)
    expect(whole.complete).toBe(true)
    expect(whole.trades.map(({ payload }) => payload)).toHaveLength(100)
    expect(whole.trades[0]?.payload).toMatchObject({ id: 'x-2001', side: 'buy' })
    const early = { afterId: 'x-1000', afterTime: timeOf(1_000) * 1_000, untilTime: times.untilTime }
    expect(await fetchOf('bybit', 'BTC/USDT:USDT', early, restUrl)).toMatchObject({ complete: false })
  })

  it('wait as long as a 429 asks, and go on', async () => {
    const { restUrl, asked } = await venueAt('/api/v3/aggTrades', binance, [200, 429])
    const fetched = await fetchOf('binance', 'BTC/USD', wanted(100, 1_450), restUrl)
    expect(idsOf(fetched)).toEqual(between(100, 1_450))
    expect(asked).toHaveLength(3)
  })

  it('end where the venue has no more', async () => {
    const { restUrl } = await venueAt('/api/v3/aggTrades', binance)
    const fetched = await fetchOf('binance', 'BTC/USD', wanted(2_400, 9_999), restUrl)
    expect(idsOf(fetched)).toEqual(between(2_400, 9_999))
    expect(fetched.complete).toBe(true)
  })

  it('are refused for a symbol that the venue does not know', async () => {
    const { restUrl } = await venueAt('/0/public/Trades', () => ({ error: ['EQuery:Unknown asset pair'] }))
    const refused = fetchOf('kraken', 'NO/PE', wanted(1, 9), restUrl)
    await expect(refused).rejects.toMatchObject({ code: 'unknown-symbol' })
  })
})
