import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Decoded, DecodedBook } from '../../../src/connectors/connector.ts'
import type { Venue } from '../../../src/connectors/venue.ts'
import { venue as binance } from '../../../src/connectors/venues/binance.ts'
import { venue as coinbase } from '../../../src/connectors/venues/coinbase.ts'
import { venue as krakenV1 } from '../../../src/connectors/venues/kraken-v1.ts'
import type { VenueId } from '../../../src/market/event.ts'
import { OrderBook } from '../../../src/market/order-book.ts'
import { NaiveBook } from '../../market/naive-book.ts'

/** Real traffic; see the README beside it. It is no part of this repository. */
const CAPTURES = process.env.CAPTURES_DIR ?? join(import.meta.dirname, '../../../../shared/captures')
const absent = existsSync(CAPTURES) ? undefined : `no captures in ${CAPTURES}`

function framesOf(file: string): string[] {
  const lines = readFileSync(join(CAPTURES, file), 'utf8').split('\n')
  return lines.filter((line) => /^\d+\.\d+: /.test(line)).map((line) => line.slice(line.indexOf(': ') + 2))
}

function decodeAll(venue: Venue, file: string): Decoded[] {
  const decoder = venue.createDecoder({ symbolOf: (name) => name, venueSymbols: () => [] })
  const updates: Decoded[] = []
  for (const frame of framesOf(file)) decoder.decode(frame, (update) => updates.push(update))
  return updates
}

function counted(updates: readonly Decoded[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const update of updates) {
    const name = update.kind === 'event' ? update.channel : update.kind
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

/** The file read by JSON.parse and a map: nothing of the code under test. */
type Read = (
  frame: string,
) => { symbol: string; snapshot: boolean; bids: string[][]; asks: string[][] } | undefined

function expectSameTop(
  books: ReadonlyMap<string, OrderBook>,
  frames: readonly string[],
  read: Read,
  depth = 0,
  begun: Map<string, NaiveBook> = new Map(),
): void {
  for (const frame of frames) {
    const message = read(frame)
    if (!message) continue
    const book = message.snapshot ? new NaiveBook(depth) : begun.get(message.symbol)!
    begun.set(message.symbol, book)
    const levels = (side: string[][]) => side.map(([price, size]) => [price!, size!] as const)
    book.apply(levels(message.bids), levels(message.asks))
  }
  expect(books.size).toBe(begun.size)
  for (const [symbol, book] of books) {
    for (const side of ['bids', 'asks'] as const)
      expect(book.top(side, 10), `${symbol} ${side}`).toEqual(begun.get(symbol)!.top(side, 10))
  }
}

describe.skipIf(absent !== undefined)(`recorded traffic${absent ? ` (skipped: ${absent})` : ''}`, () => {
  it('of Binance: 172 diffs apply, 5 are old, and none is missing', () => {
    const updates = decodeAll(binance, 'binance.ws.txt')
    expect(counted(updates)).toEqual({ book: 177, ticker: 84, trades: 2, ohlcv: 2 })
    const rest = readFileSync(join(CAPTURES, 'binance.rest.txt'), 'utf8').split('\n')
    const books = new Map<string, { book: OrderBook; local: VenueId | undefined }>()
    const naive = new Map<string, NaiveBook>()
    const ids = new Map<string, number>()
    for (const line of rest) {
      const [, name, body] = /depth\?symbol=(\w+)\S* -> [\d.]+: (.*)$/.exec(line) ?? []
      if (name === undefined || body === undefined) continue
      const snapshot = binance.bookRequest!.parse(body, name)
      const book = new OrderBook()
      book.reset(snapshot.bids, snapshot.asks)
      books.set(name, { book, local: snapshot.last })
      const plain = JSON.parse(body) as {
        lastUpdateId: number
        bids: [string, string][]
        asks: [string, string][]
      }
      naive.set(name, new NaiveBook())
      naive.get(name)!.apply(plain.bids, plain.asks)
      ids.set(name, plain.lastUpdateId)
    }
    expect(books.size).toBe(4)
    const verdicts = { apply: 0, old: 0, gap: 0 }
    for (const update of updates) {
      if (update.kind !== 'book') continue
      const held = books.get(update.symbol)!
      const verdict = binance.book.follows!(held.local!, update)
      verdicts[verdict]++
      if (verdict !== 'apply') continue
      held.book.apply(update.bids, update.asks)
      held.local = update.last
      expect(held.book.crossed()).toBe(false)
    }
    expect(verdicts).toEqual({ apply: 172, old: 5, gap: 0 })
    const read: Read = (frame) => {
      const { data } = JSON.parse(frame)
      if (data.e !== 'depthUpdate' || data.u <= ids.get(data.s)!) return undefined
      return { symbol: data.s, snapshot: false, bids: data.b, asks: data.a }
    }
    const final = new Map([...books].map(([name, { book }]) => [name, book]))
    expectSameTop(final, framesOf('binance.ws.txt'), read, 0, naive)
    expect(binance.instrumentsRequests![0]!.parse(rest[0]!.slice(rest[0]!.indexOf('{')))).toContainEqual({
      ...{ symbol: 'NKN/USDT', venueSymbol: 'NKNUSDT', type: 'spot', base: 'NKN', quote: 'USDT' },
      ...{ tickSize: '0.00010000', lotSize: '1.00000000', minSize: '1.00000000', status: 'TRADING' },
    })
  })

  it('of Coinbase: no book is ever crossed, and trade ids leave none out', () => {
    const updates = decodeAll(coinbase, 'coinbase.ws.txt')
    expect(counted(updates)).toEqual({ acknowledged: 60, book: 3919, ticker: 37, trades: 37 })
    const books = applyAll(updates, 0)
    expectSameTop(books, framesOf('coinbase.ws.txt'), (frame) => {
      const message = JSON.parse(frame)
      const { type, product_id: symbol } = message
      if (type === 'snapshot') return { symbol, snapshot: true, bids: message.bids, asks: message.asks }
      if (type !== 'l2update') return undefined
      const of = (side: string) =>
        message.changes.filter(([one]: string[]) => one === side).map((c: string[]) => c.slice(1))
      return { symbol, snapshot: false, bids: of('buy'), asks: of('sell') }
    })
    const last = new Map<string, number>()
    for (const update of updates) {
      if (update.kind !== 'event' || update.payload.type !== 'trade') continue
      const id = Number(update.payload.id)
      const before = last.get(update.symbol)
      if (before !== undefined) expect(id).toBe(before + 1)
      last.set(update.symbol, id)
    }
  })

  it('of Kraken v1: every checksum holds, also where one frame has two maps', () => {
    const updates = decodeAll(krakenV1, 'kraken-v1.book.ws.txt')
    expect(counted(updates)).toEqual({ acknowledged: 10, book: 1672, heartbeat: 15, ignored: 1 })
    const books = applyAll(updates, 1000, (update, book) => {
      if (!update.snapshot) expect(book.krakenChecksum()).toBe(update.checksum)
    })
    expectSameTop(
      books,
      framesOf('kraken-v1.book.ws.txt'),
      (frame) => {
        const message = JSON.parse(frame)
        if (!Array.isArray(message)) return undefined
        const maps = message.slice(1, -2) as Record<string, string[][]>[]
        const of = (name: string) => maps.flatMap((map) => map[name] ?? map[`${name}s`] ?? [])
        return { symbol: message.at(-1), snapshot: 'as' in maps[0]!, bids: of('b'), asks: of('a') }
      },
      1000,
    )
  })

  it('of Kraken v1: one changed digit of a top-10 quantity breaks the checksum', () => {
    const updates = decodeAll(krakenV1, 'kraken-v1.book.ws.txt').filter((update) => update.kind === 'book')
    const snapshot = updates.find((update) => update.snapshot)!
    const next = updates.find((update) => update.symbol === snapshot.symbol && !update.snapshot)!
    const [price, size] = snapshot.bids[3]!
    const changed = size.replace(/\d$/, (digit) => String((Number(digit) + 1) % 10))
    const book = new OrderBook({ truncateTo: 1000 })
    book.reset(snapshot.bids.with(3, [price, changed]), snapshot.asks)
    book.apply(next.bids, next.asks)
    expect(book.krakenChecksum()).not.toBe(next.checksum)
  })

  it('of Kraken v1: tickers and trades', () => {
    expect(counted(decodeAll(krakenV1, 'kraken-v1.ticker.ws.txt'))).toMatchObject({
      ticker: 18,
      heartbeat: 31,
    })
    expect(counted(decodeAll(krakenV1, 'kraken-v1.trade.ws.txt'))).toMatchObject({
      trades: 10,
      heartbeat: 30,
    })
  })
})

function applyAll(
  updates: readonly Decoded[],
  depth: number,
  check: (update: DecodedBook, book: OrderBook) => void = () => {},
): Map<string, OrderBook> {
  const books = new Map<string, OrderBook>()
  for (const update of updates) {
    if (update.kind !== 'book') continue
    const book = books.get(update.symbol) ?? new OrderBook({ truncateTo: depth })
    books.set(update.symbol, book)
    if (update.snapshot) book.reset(update.bids, update.asks)
    else book.apply(update.bids, update.asks)
    expect(book.crossed()).toBe(false)
    check(update, book)
  }
  return books
}
