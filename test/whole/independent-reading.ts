import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CAPTURES } from './program.ts'

/**
 * A second, plain reading of the captures, that shares no code with the program: maps and big decimals, no cleverness.
 */

interface PlainLevel {
  text: [price: string, size: string]
  /** The price as an integer of a scale common to all, exact. */
  scaled: bigint
}
type Side = Map<string, PlainLevel>
export interface PlainBook {
  bids: Side
  asks: Side
}

export function top(side: Side, count: number, best: 'highest' | 'lowest'): [string, string][] {
  const sign = best === 'lowest' ? 1n : -1n
  return [...side.values()]
    .sort((a, b) => Number((a.scaled - b.scaled) * sign > 0n) * 2 - 1)
    .slice(0, count)
    .map((level) => level.text)
}

function set(side: Side, price: string, size: string): void {
  const [whole, fraction = ''] = price.split('.')
  const scaled = BigInt(whole! + fraction.padEnd(20, '0'))
  // The same price may be written with other trailing zeros.
  const key = String(scaled)
  if (/^[0.]+$/.test(size)) side.delete(key)
  else side.set(key, { text: [price, size], scaled })
}

/** Takes the worst levels away until `count` are left. */
function truncate(side: Side, count: number, worst: 'highest' | 'lowest'): void {
  while (side.size > count) {
    let found: string | undefined
    for (const [key, { scaled }] of side) {
      const limit = found === undefined ? undefined : side.get(found)!.scaled
      if (limit === undefined || (worst === 'highest' ? scaled > limit : scaled < limit)) found = key
    }
    side.delete(found!)
  }
}

function newBook(levels: { bids: [string, string][]; asks: [string, string][] }): PlainBook {
  const book: PlainBook = { bids: new Map(), asks: new Map() }
  for (const [price, size] of levels.bids) set(book.bids, price, size)
  for (const [price, size] of levels.asks) set(book.asks, price, size)
  return book
}

function frames(file: string): unknown[] {
  const found: unknown[] = []
  for (const line of readFileSync(join(CAPTURES, file), 'utf8').split('\n')) {
    const match = /^\d+\.\d+: (.*)$/.exec(line)
    if (match) found.push(JSON.parse(match[1]!))
  }
  return found
}

function bookOf(books: Map<string, PlainBook>, symbol: string): PlainBook {
  let book = books.get(symbol)
  if (!book) {
    book = { bids: new Map(), asks: new Map() }
    books.set(symbol, book)
  }
  return book
}

export function readBinance(): Map<string, PlainBook> {
  const books = new Map<string, PlainBook>()
  const last = new Map<string, number>()
  for (const line of readFileSync(join(CAPTURES, 'binance.rest.txt'), 'utf8').split('\n')) {
    const match = /depth\?symbol=(\w+)&.*? -> [\d.]+: (.*)$/.exec(line)
    if (!match) continue
    const snapshot = JSON.parse(match[2]!) as {
      lastUpdateId: number
      bids: [string, string][]
      asks: [string, string][]
    }
    books.set(match[1]!, newBook(snapshot))
    last.set(match[1]!, snapshot.lastUpdateId)
  }
  for (const frame of frames('binance.ws.txt') as {
    data: { e?: string; s: string; u: number; b: [string, string][]; a: [string, string][] }
  }[]) {
    if (frame.data.e !== 'depthUpdate' || frame.data.u <= last.get(frame.data.s)!) continue
    const book = books.get(frame.data.s)!
    for (const [price, size] of frame.data.b) set(book.bids, price, size)
    for (const [price, size] of frame.data.a) set(book.asks, price, size)
  }
  return books
}

export function readCoinbase(): Map<string, PlainBook> {
  const books = new Map<string, PlainBook>()
  for (const frame of frames('coinbase.ws.txt') as {
    type: string
    product_id: string
    bids: [string, string][]
    asks: [string, string][]
    changes: [string, string, string][]
  }[]) {
    if (frame.type === 'snapshot') books.set(frame.product_id, newBook(frame))
    if (frame.type !== 'l2update') continue
    const book = books.get(frame.product_id)!
    for (const [side, price, size] of frame.changes) set(side === 'buy' ? book.bids : book.asks, price, size)
  }
  return books
}

export function readKraken(): { books: Map<string, PlainBook>; updates: number } {
  const books = new Map<string, PlainBook>()
  let updates = 0
  type Levels = [string, string, string][]
  for (const frame of frames('kraken-v1.book.ws.txt')) {
    if (!Array.isArray(frame)) continue
    const pair = frame.at(-1) as string
    const book = bookOf(books, pair)
    for (const map of frame.slice(1, -2) as { as?: Levels; bs?: Levels; a?: Levels; b?: Levels }[]) {
      for (const [price, size] of [...(map.as ?? []), ...(map.a ?? [])]) set(book.asks, price, size)
      for (const [price, size] of [...(map.bs ?? []), ...(map.b ?? [])]) set(book.bids, price, size)
    }
    // The venue keeps 1,000 levels and never says which fell out.
    truncate(book.bids, 1000, 'lowest')
    truncate(book.asks, 1000, 'highest')
    if (!('as' in (frame[1] as object))) updates++
  }
  return { books, updates }
}

/** Frames of a recording of which `what` holds. */
export function count(file: string, what: (frame: never) => boolean): number {
  return frames(file).filter((frame) => what(frame as never)).length
}
