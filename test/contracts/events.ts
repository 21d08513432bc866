import { encodeEvent } from '../../src/market/encode.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import type { Candle, Envelope, Level, Payload } from '../../src/market/event.ts'
import { type Topic, topicOf } from '../../src/market/topic.ts'

/** µs of 2024-01-01T00:00:00Z: a whole minute, hour and day, and a Monday. */
export const START = 1_704_067_200_000_000

/** Events of a topic as its owner makes them: numbered from 1, `receivedTime` strictly increasing. */
export function series(topic: Topic, epoch = START) {
  let seq = 0
  let last = 0
  return (
    payload: Payload,
    times: Partial<Pick<Envelope, 'receivedTime' | 'sourceTime'>> = {},
  ): EncodedEvent => {
    seq++
    last = Math.max(times.receivedTime ?? START + seq, last + 1)
    return encodeEvent(topic, { epoch, seq, publishedTime: last + 5, ...times, receivedTime: last }, payload)
  }
}

export function tradesOf(topic: Topic, count: number, epoch = START): EncodedEvent[] {
  const next = series(topic, epoch)
  return Array.from({ length: count }, (_, i) => next(trade(String(i + 1))))
}

export function trade(id: string | undefined, price = '60000.10', size = '0.0010'): Payload {
  return { type: 'trade', ...(id === undefined ? {} : { id }), price, size, side: 'buy' }
}

export function book(kind: 'snapshot' | 'delta', bids: Level[], asks: Level[], depth = 0): Payload {
  return { type: 'orderbook', kind, bids, asks, depth }
}

export function gap(
  channel: 'orderbook' | 'trades' | 'ticker',
  fromTime = START,
  toTime = START + 1,
): Payload {
  return { type: 'gap', channel, reason: 'sequence', fromTime, toTime }
}

export function candle(timeframe: string, openTime: number, fields: Partial<Candle> = {}): Candle {
  return {
    type: 'ohlcv',
    timeframe,
    openTime,
    open: '10.0',
    high: '12.0',
    low: '9.0',
    close: '11.0',
    volume: '5.00',
    closed: true,
    origin: 'venue',
    revision: 0,
    ...fields,
  }
}

export function price(selectionId: string, odds: string): Payload {
  return {
    type: 'odds',
    kind: 'price',
    eventId: 'MATCH_001',
    marketId: 'M1',
    market: '1X2',
    selectionId,
    selection: selectionId,
    side: 'back',
    level: 0,
    odds,
    sourcePrice: odds,
    sourceFormat: 'decimal',
    marketVersion: 1,
  }
}

export function status(tenantId: string, conversationId: string): Payload {
  return { type: 'status', messageId: 'm1', conversationId, tenantId, status: 'READ', channel: 'whatsapp' }
}

let topics = 0
/** A topic that no other test uses. */
export function freshTopic(channel: Topic['channel'], timeframe?: string): Topic {
  return topicOf('venue', channel, `SYM${++topics}/USDT`, timeframe)
}

export const positionOf = (event: { topic: Topic; epoch: number; seq: number }) =>
  `${event.topic.id} ${event.epoch} ${event.seq}`
