import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeEvent } from '../../src/market/encode.ts'
import type { Envelope, Payload } from '../../src/market/event.ts'
import { topicOf } from '../../src/market/topic.ts'

const envelope: Envelope = {
  epoch: 1_700_000_000_000_001,
  seq: 42,
  receivedTime: 1_700_000_000_123_456,
  publishedTime: 1_700_000_000_123_999,
}
const text = (topic: ReturnType<typeof topicOf>, payload: Payload, more: Partial<Envelope> = {}) =>
  encodeEvent(topic, { ...envelope, ...more }, payload).bytes.toString()
const times = '"receivedTime":1700000000123456,"publishedTime":1700000000123999'
const numbered = `"epoch":1700000000000001,"seq":42,${times}`

describe('encodeEvent', () => {
  it('writes every field of the envelope in its place', () => {
    const topic = topicOf('kraken', 'trades', 'BTC/USD')
    const payload = { type: 'trade', id: '7', price: '1.50', size: '2', side: 'buy' } as const
    const more: Partial<Envelope> = {
      ...{ prevEpoch: 1_600_000_000_000_000, prevSeq: 9, sourceTime: 1_700_000_000_000_007 },
      ...{ flags: ['backfilled', 'simulated'], venueSeq: [5, 9007199254740993n] },
    }
    expect(text(topic, payload, more)).toBe(
      '{"v":1,"type":"trade","source":"kraken","symbol":"BTC/USD","epoch":1700000000000001,"seq":42,' +
        '"prevEpoch":1600000000000000,"prevSeq":9,"sourceTime":1700000000000007,' +
        `${times},"flags":["backfilled","simulated"],"venueSeq":[5,9007199254740993],` +
        '"id":"7","price":"1.50","size":"2","side":"buy"}',
    )
  })

  it.each<[string, string, Payload, string]>([
    [
      'a ticker with what it has',
      'ticker|A/B',
      { type: 'ticker', ask: '2.0', bid: '1.0', volume: '3', low: undefined } as Payload,
      `{"v":1,"type":"ticker","source":"s","symbol":"A/B",${numbered},"bid":"1.0","ask":"2.0","volume":"3"}`,
    ],
    [
      'a book',
      'orderbook|A/B',
      {
        type: 'orderbook',
        kind: 'delta',
        bids: [
          ['1.0', '0'],
          ['0.9', '5'],
        ],
        asks: [],
        depth: 25,
        checksum: 4294967295,
      },
      `{"v":1,"type":"orderbook","source":"s","symbol":"A/B",${numbered},"kind":"delta",` +
        '"bids":[["1.0","0"],["0.9","5"]],"asks":[],"depth":25,"checksum":4294967295}',
    ],
    [
      'a candle',
      'ohlcv|A/B|1m',
      {
        ...{
          type: 'ohlcv',
          timeframe: '1m',
          openTime: 60_000_000,
          open: '1',
          high: '2',
          low: '0.5',
          close: '1.5',
        },
        ...{ volume: '9', trades: 3, closed: true, origin: 'venue', revision: 0 },
      } as Payload,
      `{"v":1,"type":"ohlcv","source":"s","symbol":"A/B",${numbered},"timeframe":"1m","openTime":60000000,"open":"1",` +
        '"high":"2","low":"0.5","close":"1.5","volume":"9","trades":3,"closed":true,"origin":"venue","revision":0}',
    ],
    [
      'odds, with the event in the head alone',
      'odds|MATCH_002',
      {
        ...{
          type: 'odds',
          kind: 'price',
          eventId: 'MATCH_002',
          marketId: 'm',
          market: '1X2',
          selectionId: 'h',
        },
        ...{ selection: 'Zürich "A"', side: 'back', level: 0, odds: '1.85', sourcePrice: '1.85' },
        ...{ sourceFormat: 'decimal', marketVersion: 1 },
      } as Payload,
      `{"v":1,"type":"odds","source":"s","eventId":"MATCH_002",${numbered},"kind":"price","marketId":"m",` +
        '"market":"1X2","selectionId":"h","selection":"Zürich \\"A\\"","side":"back","level":0,"odds":"1.85",' +
        '"sourcePrice":"1.85","sourceFormat":"decimal","marketVersion":1}',
    ],
    [
      'a status, named without its tenant',
      'status|demo/CONV_001',
      {
        ...{ type: 'status', messageId: 'm1', conversationId: 'CONV_001', tenantId: 'demo' },
        ...{ status: 'READ', channel: 'whatsapp' },
      } as Payload,
      `{"v":1,"type":"status","source":"s","conversationId":"CONV_001",${numbered},"messageId":"m1",` +
        '"tenantId":"demo","status":"READ","channel":"whatsapp"}',
    ],
    [
      'a gap in any topic',
      'orderbook|A/B',
      {
        ...{ type: 'gap', channel: 'orderbook', reason: 'checksum', fromTime: 1, toTime: 2 },
        ...{ fromVenueSeq: 9007199254740993n, toVenueSeq: 7, repairedBy: 'snapshot' },
      } as Payload,
      `{"v":1,"type":"gap","source":"s","symbol":"A/B",${numbered},"channel":"orderbook","reason":"checksum",` +
        '"fromTime":1,"toTime":2,"fromVenueSeq":9007199254740993,"toVenueSeq":7,"repairedBy":"snapshot"}',
    ],
  ])('writes %s', (_, name, payload, expected) => {
    const [channel, subject, timeframe] = name.split('|') as ['ticker', string, string | undefined]
    expect(text(topicOf('s', channel, subject, timeframe), payload)).toBe(expected)
  })

  it('writes any text as JSON does, and any numbers exactly', () => {
    const number = fc.nat({ max: Number.MAX_SAFE_INTEGER })
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), number, number, (id, symbol, seq, time) => {
        const payload = { type: 'trade', id, price: '1', size: '1', side: 'buy' } as const
        const topic = topicOf('s', 'trades', `${symbol}/é`)
        const event = JSON.parse(text(topic, payload, { seq, receivedTime: time }))
        const well = JSON.parse(JSON.stringify(id))
        expect(event).toMatchObject({ id: well, symbol: `${symbol}/é`, seq, receivedTime: time })
      }),
    )
  })

  it('gives bytes that no later event changes, be they many or large', () => {
    const topic = topicOf('s', 'orderbook', 'A/B')
    const sizes = [1, 2, 500, 1, 3000, 2, 1, 200, 1]
    const events = sizes.map((levels, seq) => {
      const bids = Array.from({ length: levels }, (_, at) => [`${at}.5`, `${seq}`] as const)
      return encodeEvent(
        topic,
        { ...envelope, seq },
        { type: 'orderbook', kind: 'snapshot', bids, asks: [], depth: 0 },
      )
    })
    events.forEach((event, seq) => {
      const { bids, ...rest } = JSON.parse(event.bytes.toString())
      expect(rest.seq).toBe(seq)
      expect(bids).toHaveLength(sizes[seq]!)
      expect(bids.at(-1)).toEqual([`${sizes[seq]! - 1}.5`, `${seq}`])
    })
  })

  it('leaves nothing of an event that could not be written in the next one', () => {
    const topic = topicOf('kraken', 'odds', 'MATCH_1')
    const broken = { type: 'odds', kind: 'unheard-of', marketId: 'M' } as unknown as Payload
    expect(() => encodeEvent(topic, envelope, broken)).toThrow()
    const trade: Payload = { type: 'trade', price: '1', size: '2', side: 'sell' }
    expect(JSON.parse(text(topicOf('kraken', 'trades', 'A/B'), trade))).toMatchObject({
      symbol: 'A/B',
      price: '1',
    })
  })

  it('names the time and the key by which an event is stored and thinned', () => {
    const topic = topicOf('s', 'ohlcv', 'A/B', '1m')
    const candle = { type: 'ohlcv', timeframe: '1m', openTime: 60_000_000 } as Payload
    const event = encodeEvent(topic, { ...envelope, sourceTime: 5 }, candle)
    expect(event).toMatchObject({ key: '60000000', eventTime: 5, seq: 42, type: 'ohlcv', topic })
    expect(encodeEvent(topic, envelope, candle).eventTime).toBe(envelope.receivedTime)
  })
})
