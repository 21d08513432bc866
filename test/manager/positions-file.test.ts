import { appendFileSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openPositions } from '../../src/manager/positions-file.ts'
import { encodeEvent } from '../../src/market/encode.ts'
import { topicOf } from '../../src/market/topic.ts'
import { temporaryFolder } from './venue-world.ts'

let folder: string
let path: string

beforeEach(() => {
  folder = temporaryFolder()
  path = join(folder, 'positions')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const ticker = (symbol: string, seq: number, epoch = 100) =>
  encodeEvent(
    topicOf('s', 'ticker', symbol),
    { epoch, seq, receivedTime: seq * 10, publishedTime: seq * 10 },
    { type: 'ticker', bid: '1' },
  )
const trade = (id: string, seq: number) =>
  encodeEvent(
    topicOf('s', 'trades', 'A/B'),
    { epoch: 100, seq, receivedTime: seq, publishedTime: seq },
    { type: 'trade', id, price: '1', size: '1', side: 'buy' },
  )

describe('positions', () => {
  it('are there again after a process that was killed: nothing needs to be closed', () => {
    openPositions(path).stored([
      ticker('A/B', 1),
      ticker('A/B', 2),
      ticker('C/D', 7),
      trade('x1', 1),
      trade('x2', 2),
    ])
    const again = openPositions(path)
    expect(again.last('s|ticker|A/B')).toEqual({ epoch: 100, seq: 2, receivedTime: 20 })
    expect(again.last('s|ticker|C/D')).toEqual({ epoch: 100, seq: 7, receivedTime: 70 })
    expect(again.last('s|trades|A/B')).toEqual({
      epoch: 100,
      seq: 2,
      receivedTime: 2,
      tradeIds: ['x1', 'x2'],
    })
    expect(again.last('s|ticker|X/Y')).toBeUndefined()
  })

  it('ignore a line that a crash tore, and rubbish', () => {
    const positions = openPositions(path)
    positions.stored([ticker('A/B', 1)])
    positions.close()
    appendFileSync(path, 'rubbish\n[1,2]\n["s|ticker|A/B",100,9')
    const again = openPositions(path)
    expect(again.last('s|ticker|A/B')?.seq).toBe(1)
    again.stored([ticker('A/B', 2)])
    expect(openPositions(path).last('s|ticker|A/B')?.seq).toBe(2)
  })

  it('never go back, whatever order commits are told in', () => {
    const positions = openPositions(path)
    positions.stored([ticker('A/B', 5, 200)])
    positions.stored([ticker('A/B', 9, 100)])
    expect(positions.last('s|ticker|A/B')).toMatchObject({ epoch: 200, seq: 5 })
    expect(openPositions(path).last('s|ticker|A/B')).toMatchObject({ epoch: 200, seq: 5 })
  })

  it('keep the newest trade ids only, and the file small, mode 0600', () => {
    const positions = openPositions(path)
    for (let i = 0; i < 600; i++) {
      const batch = Array.from({ length: 200 }, (_, n) => trade(`id-${i * 200 + n}`, i * 200 + n + 1))
      positions.stored(batch)
    }
    const ids = positions.last('s|trades|A/B')?.tradeIds ?? []
    expect([ids.length, ids[0], ids.at(-1)]).toEqual([256, 'id-119744', 'id-119999'])
    expect(statSync(path).size).toBeLessThan(1_100_000)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(openPositions(path).last('s|trades|A/B')?.tradeIds).toEqual(ids)
    expect(readFileSync(path, 'utf8').split('\n')).toHaveLength(2)
  })

  it('write nothing more once closed', () => {
    const positions = openPositions(path)
    positions.close()
    positions.close()
    positions.stored([ticker('A/B', 1)])
    expect(openPositions(path).last('s|ticker|A/B')).toBeUndefined()
  })
})
