import { expect, it } from 'vitest'
import type { MarketTrade } from '../../src/exchange/exchange.ts'
import type { Message } from '../whole/program.ts'
import { auditTrades } from './audit.ts'

const SENT = [1, 2, 3, 4, 5].map((id) => ({ id, time: id * 1_000 }) as MarketTrade)
const trade = (seq: number, id: number, more: object = {}): Message => ({
  type: 'trade',
  epoch: 7,
  seq,
  id: `${id}`,
  ...more,
})

it('finds nothing wrong where everything since the first stored trade is stored once', () => {
  const stored = [trade(1, 2), trade(2, 3), trade(3, 5), trade(1, 4, { epoch: 9, prevEpoch: 7, prevSeq: 3 })]
  expect(auditTrades(SENT, stored)).toEqual({
    stored: 4,
    lost: [],
    doubled: [],
    inGaps: 0,
    epochs: 2,
    broken: [],
  })
})

it('names what is lost, and counts what a gap tells of', () => {
  const gap = { type: 'gap', epoch: 7, seq: 2, fromVenueSeq: 2, toVenueSeq: 3 }
  expect(auditTrades(SENT, [trade(1, 1), gap, trade(3, 5)])).toMatchObject({
    lost: [4],
    inGaps: 2,
    broken: [],
  })
  const timed = { type: 'gap', epoch: 7, seq: 2, fromTime: 2_000, toTime: 3_500 }
  expect(auditTrades(SENT, [trade(1, 1), timed, trade(3, 5)])).toMatchObject({ lost: [4], inGaps: 2 })
})

it('names what is doubled, and where numbers do not go on', () => {
  expect(auditTrades(SENT, [trade(1, 1), trade(2, 1), trade(4, 2)])).toMatchObject({
    doubled: [{ id: '1', first: [7, 1], second: [7, 2] }],
    broken: [[7, 4]],
  })
  const claims = trade(1, 2, { epoch: 9, prevEpoch: 7, prevSeq: 5 })
  expect(auditTrades(SENT, [trade(1, 1), claims])).toMatchObject({ broken: [[9, 1]] })
})
