import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Level } from '../../src/market/event.ts'
import { bookChecksum, OrderBook, type Side } from '../../src/market/order-book.ts'
import { changes, NaiveBook } from './naive-book.ts'

const SIDES: readonly Side[] = ['bids', 'asks']

describe('OrderBook', () => {
  it('is what a plain map is, after any messages', () => {
    fc.assert(
      fc.property(fc.array(changes, { maxLength: 30 }), fc.constantFrom(0, 3, 10), (messages, truncateTo) => {
        const book = new OrderBook({ truncateTo })
        const naive = new NaiveBook(truncateTo)
        for (const { bids, asks, reset } of messages) {
          if (reset) book.reset(bids, asks)
          else book.apply(bids, asks)
          naive.apply(bids, asks, reset)
          for (const side of SIDES) {
            expect(book.top(side, 1000)).toEqual(naive.top(side, 1000))
            expect(book.top(side, 2)).toEqual(naive.top(side, 2))
            expect(book.size(side)).toBe(naive.top(side, 1000).length)
            expect(book.at(side, 1)).toEqual(naive.top(side, 2)[1])
          }
          expect(book.krakenChecksum()).toBe(naive.krakenChecksum())
          expect(book.checksum()).toBe(naive.checksum(25))
          expect(book.checksum(3)).toBe(naive.checksum(3))
        }
      }),
      { numRuns: 300 },
    )
  })

  it('orders prices above 2^53 ticks, of any scale, beside small ones', () => {
    const book = new OrderBook()
    book.reset(
      [],
      [
        ['99999999999.00000000', '1'],
        ['9999999997.00000', '2'],
        ['0.00000001', '3'],
        ['99999999999.00000001', '4'],
        ['12345678.9', '5'],
      ],
    )
    expect(book.top('asks', 9).map(([, size]) => size)).toEqual(['3', '5', '2', '1', '4'])
    book.apply([], [['99999999999.00000000', '0']])
    book.apply([], [['12345678.900000000000', '6']])
    expect(book.top('asks', 9).map(([, size]) => size)).toEqual(['3', '6', '2', '4'])
    book.apply(
      [
        ['-37.63', '1'],
        ['-37.64', '2'],
      ],
      [],
    )
    expect(book.top('bids', 1)).toEqual([['-37.63', '1']])
  })

  it('keeps the texts as they were sent', () => {
    const book = new OrderBook()
    book.reset([['1.50', '0.00012345678901234']], [])
    expect(book.top('bids', 1)).toEqual([['1.50', '0.00012345678901234']])
    book.apply([['1.5', '2.0']], [])
    expect(book.top('bids', 9)).toEqual([['1.5', '2.0']])
    book.apply([['1.500', '0.000']], [])
    expect(book.size('bids')).toBe(0)
  })

  it('truncates after the whole message, not within it', () => {
    const book = new OrderBook({ truncateTo: 2 })
    book.reset(
      [
        ['3', '1'],
        ['2', '1'],
        ['1', '1'],
      ],
      [],
    )
    expect(book.size('bids')).toBe(2)
    book.apply(
      [
        ['4', '1'],
        ['3', '0'],
      ],
      [],
    )
    expect(book.top('bids', 9)).toEqual([
      ['4', '1'],
      ['2', '1'],
    ])
  })

  it('drops the worst level of a side that is full', () => {
    const book = new OrderBook()
    const asks = Array.from({ length: 100_000 }, (_, at): Level => [String(at + 1), '1'])
    book.reset([], asks)
    book.apply([], [['0.5', '1']])
    expect(book.size('asks')).toBe(100_000)
    expect(book.top('asks', 1)).toEqual([['0.5', '1']])
    expect(book.at('asks', 99_999)).toEqual(['99999', '1'])
  })

  it('tells a crossed book', () => {
    const book = new OrderBook()
    expect(book.crossed()).toBe(false)
    book.reset([['1.0', '1']], [['1.1', '1']])
    expect(book.crossed()).toBe(false)
    book.apply([['1.10', '1']], [])
    expect(book.crossed()).toBe(true)
  })
})

describe('checksums', () => {
  it("follow a book of Kraken's, recorded with its numbers shortened", () => {
    const book = new OrderBook({ truncateTo: 10 })
    const bids: Level[] = [
      ...([
        ['85600.4', '0.20401971'],
        ['85599.6', '0.04385864'],
        ['85599.5', '0.17523456'],
      ] as const),
      ...([
        ['85597.8', '0.00005'],
        ['85597.7', '2.92063885'],
        ['85596.3', '0.000051'],
      ] as const),
      ...([
        ['85595.8', '0.00596174'],
        ['85595.2', '0.58888844'],
        ['85593.6', '2.92077632'],
      ] as const),
      ['85592', '0.000051'],
    ]
    const asks: Level[] = [
      ...([
        ['85600.5', '0.90679198'],
        ['85601.6', '0.21608516'],
        ['85601.7', '2.92050281'],
      ] as const),
      ...([
        ['85602.1', '0.000233'],
        ['85603', '0.0077'],
        ['85603.7', '2.92043523'],
      ] as const),
      ...([
        ['85604.4', '0.87632208'],
        ['85604.8', '0.000051'],
        ['85606.2', '0.00116814'],
      ] as const),
      ['85607.7', '2.92029921'],
    ]
    book.reset(bids, asks)
    expect(book.krakenChecksum()).toBe(817831036)
    book.apply(
      [],
      [
        ['85601.6', '0'],
        ['85608', '0.04358176'],
      ],
    )
    expect(book.krakenChecksum()).toBe(3973935795)
    book.apply([], [['85600.5', '1.12287714']])
    expect(book.krakenChecksum()).toBe(402752521)
  })

  it('are of the best 25 levels, asks first, as the contract writes them', () => {
    const bids = Array.from({ length: 30 }, (_, at): Level => [`${100 - at}.0`, `${at + 1}`])
    const asks: Level[] = [['101.0', '0.50']]
    const text = ['101.0:0.50', ...bids.slice(0, 25).map(([price, size]) => `${price}:${size}`)].join('|')
    const book = new OrderBook()
    book.reset(bids, asks)
    expect(book.checksum()).toBe(crc32(text))
    expect(bookChecksum(bids, asks)).toBe(crc32(text))
    expect(book.checksum(1)).toBe(crc32('101.0:0.50|100.0:1'))
    expect(new OrderBook().checksum()).toBe(0)
  })
})
