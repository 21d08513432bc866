import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DepthView } from '../../src/market/depth-view.ts'
import type { Level } from '../../src/market/event.ts'
import { OrderBook } from '../../src/market/order-book.ts'
import { changes, NaiveBook } from './naive-book.ts'

/** What a client does: prices as texts, best first. */
class Client {
  #bids = new Map<string, string>()
  #asks = new Map<string, string>()

  take({ bids, asks }: { bids: readonly Level[]; asks: readonly Level[] }): void {
    for (const [map, levels] of [
      [this.#bids, bids],
      [this.#asks, asks],
    ] as const) {
      for (const [price, size] of levels) {
        if (size === '0') expect(map.delete(price)).toBe(true)
        else map.set(price, size)
      }
    }
  }

  get bids(): Level[] {
    return [...this.#bids]
  }

  get asks(): Level[] {
    return [...this.#asks]
  }
}

const sorted = (levels: readonly Level[]) => levels.map((level) => level.join(':')).sort()

describe('DepthView', () => {
  it('lets a client hold exactly the best levels, after any messages', () => {
    const depths = fc.constantFrom(1, 3, 5, Number.POSITIVE_INFINITY)
    fc.assert(
      fc.property(
        fc.array(changes, { maxLength: 30 }),
        depths,
        fc.constantFrom(0, 4),
        (messages, depth, kept) => {
          const book = new OrderBook({ truncateTo: kept })
          const naive = new NaiveBook(kept)
          const view = new DepthView(depth)
          const client = new Client()
          client.take(view.reset(book))
          for (const { bids, asks, reset } of messages) {
            if (reset) book.reset(bids, asks)
            else book.apply(bids, asks)
            naive.apply(bids, asks, reset)
            const change = view.change(book)
            if (change) client.take(change)
            expect(sorted(client.bids)).toEqual(sorted(naive.top('bids', depth)))
            expect(sorted(client.asks)).toEqual(sorted(naive.top('asks', depth)))
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  it('catches up when it was not asked after every message', () => {
    fc.assert(
      fc.property(fc.array(changes, { minLength: 2, maxLength: 20 }), fc.nat(), (messages, at) => {
        const book = new OrderBook()
        const view = new DepthView(3)
        const client = new Client()
        client.take(view.reset(book))
        messages.forEach(({ bids, asks }, index) => {
          book.apply(bids, asks)
          if (index % 3 !== at % 3 && index < messages.length - 1) return
          const change = view.change(book)
          if (change) client.take(change)
        })
        expect(sorted(client.bids)).toEqual(sorted(book.top('bids', 3)))
        expect(sorted(client.asks)).toEqual(sorted(book.top('asks', 3)))
      }),
    )
  })

  it('sends what is pushed out as removed, and what comes in', () => {
    const book = new OrderBook()
    const view = new DepthView(2)
    book.reset(
      [
        ['3', '1'],
        ['2', '1'],
        ['1', '1'],
      ],
      [['5', '1']],
    )
    expect(view.reset(book)).toEqual({
      bids: [
        ['3', '1'],
        ['2', '1'],
      ],
      asks: [['5', '1']],
    })
    book.apply([['4', '9']], [])
    expect(view.change(book)).toEqual({
      bids: [
        ['2', '0'],
        ['4', '9'],
      ],
      asks: [],
    })
    book.apply([['4', '0']], [])
    expect(view.change(book)).toEqual({
      bids: [
        ['4', '0'],
        ['2', '1'],
      ],
      asks: [],
    })
  })

  it('says nothing of what changed below its depth, or did not change', () => {
    const book = new OrderBook()
    const view = new DepthView(1)
    book.reset(
      [
        ['3', '1'],
        ['2', '1'],
      ],
      [],
    )
    view.reset(book)
    book.apply([['2', '7']], [])
    expect(view.change(book)).toBeUndefined()
    book.apply([['3', '1']], [['9', '0']])
    expect(view.change(book)).toBeUndefined()
    expect(view.change(book)).toBeUndefined()
  })
})
