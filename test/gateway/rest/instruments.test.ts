import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Instrument } from '../../../src/connectors/connector.ts'
import { startRest, symbolTopic, type TestGateway } from './gateway.ts'

const instrument = (base: string, type: 'spot' | 'swap' = 'spot'): Instrument => ({
  symbol: type === 'spot' ? `${base}/USDT` : `${base}/USDT:USDT`,
  venueSymbol: `${base}USDT`,
  type,
  base,
  quote: 'USDT',
  ...(type === 'swap' && { settle: 'USDT' }),
  tickSize: '0.10',
  status: 'TRADING',
})

let gateway: TestGateway
beforeAll(async () => {
  gateway = await startRest()
  const { desk } = gateway
  desk.carry(symbolTopic('ticker', 'BTC/USDT', 'open'))
  desk.carry(symbolTopic('ticker', 'BTC/USDT', 'closed'), 'live', 'restricted')
  desk.carry(symbolTopic('ticker', 'BTC/USDT', 'unlisted'))
  desk.instruments.set('open', [instrument('XRP'), instrument('BTC'), instrument('BTC', 'swap')])
  desk.instruments.set('closed', [instrument('SECRET')])
})
afterAll(() => gateway.close())

describe('GET /v1/instruments', () => {
  const symbols = async (query: string) =>
    (await gateway.get(`/v1/instruments${query}`, gateway.keys.premium)).body.items.map(
      (one: Instrument) => one.symbol,
    )

  it('lists what the venues list, by source and symbol, of the sources that the caller may see', async () => {
    const { body } = await gateway.get('/v1/instruments', gateway.keys.premium)
    expect(body.items[0]).toEqual({ source: 'open', ...instrument('BTC') })
    expect(await symbols('')).toEqual(['BTC/USDT', 'BTC/USDT:USDT', 'XRP/USDT'])
    expect(body.next).toBeNull()
  })

  it('finds by source, symbol and type', async () => {
    expect(await symbols('?source=unlisted')).toEqual([])
    expect(await symbols('?symbol=BTC/USDT')).toEqual(['BTC/USDT'])
    expect(await symbols('?type=swap')).toEqual(['BTC/USDT:USDT'])
  })

  it('gives pages that go on where the one before ended', async () => {
    const first = (await gateway.get('/v1/instruments?limit=2', gateway.keys.premium)).body
    expect(first.items).toHaveLength(2)
    expect(await symbols(`?limit=2&cursor=${first.next}`)).toEqual(['XRP/USDT'])
  })

  it('refuses what it does not know', async () => {
    expect((await gateway.get('/v1/instruments?source=closed', gateway.keys.premium)).status).toBe(403)
    expect((await gateway.get('/v1/instruments?source=nowhere', gateway.keys.premium)).status).toBe(422)
    expect((await gateway.get('/v1/instruments?type=option', gateway.keys.premium)).status).toBe(400)
    expect((await gateway.get('/v1/instruments?cursor=x', gateway.keys.premium)).status).toBe(400)
  })
})
