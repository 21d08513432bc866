import { expect, it } from 'vitest'
import { type Place, readAgainst, type Seen } from './listener.ts'

const STORED: Place[] = [
  [10, 1],
  [10, 2],
  [10, 3],
  [20, 1],
  [20, 2],
]

function seen(...places: readonly (readonly [epoch: number, seq: number, more?: Partial<Seen>])[]): Seen[] {
  return places.map(([epoch, seq, more]) => ({ epoch, seq, connection: 0, ...more }))
}

it('finds nothing wrong with a client that saw everything, over an epoch that joins', () => {
  const client = seen([10, 1], [10, 2], [10, 3], [20, 1, { prevEpoch: 10, prevSeq: 3 }], [20, 2])
  expect(readAgainst(client, STORED)).toEqual({
    events: 5,
    holes: 0,
    undetected: [],
    unstored: [],
    disordered: [],
  })
})

it('counts a hole that the client could see', () => {
  expect(readAgainst(seen([10, 1], [10, 3]), STORED)).toMatchObject({ holes: 1, undetected: [] })
  expect(readAgainst(seen([10, 3], [20, 1]), STORED)).toMatchObject({ holes: 1, undetected: [] })
  expect(readAgainst(seen([10, 3], [20, 2, { prevSent: [10, 3] }]), STORED)).toMatchObject({ holes: 1 })
})

it('names what a client missed and could not see', () => {
  const client = seen([10, 1], [20, 1, { prevEpoch: 10, prevSeq: 1 }])
  expect(readAgainst(client, STORED).undetected).toEqual([
    [10, 2],
    [10, 3],
  ])
})

it('names what came twice, too late, or was never stored', () => {
  const client = seen([10, 1], [10, 2], [10, 2], [10, 1], [10, 4])
  expect(readAgainst(client, STORED)).toMatchObject({
    disordered: [
      [10, 2],
      [10, 1],
    ],
    unstored: [[10, 4]],
  })
})

it('expects nothing between two connections', () => {
  expect(readAgainst(seen([10, 1], [10, 3, { connection: 1 }]), STORED)).toMatchObject({
    events: 2,
    holes: 0,
  })
})
