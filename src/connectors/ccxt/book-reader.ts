import { toDecimal } from '../../market/decimal.ts'
import type { Level } from '../../market/event.ts'
import type { Decoded, Subscription } from '../connector.ts'
import type { CcxtBook, Numeric } from './library.ts'
import { type Reader, timeOf } from './readers.ts'

interface Row {
  readonly price: number
  readonly size: number
}

/**
 * ccxt gives the whole book each time: the first is the snapshot, and each later one becomes the difference to the one
 * before it, exact at the depth that was asked. A book that went back in the venue's count starts over.
 */
export class BookReader implements Reader {
  readonly #subscription: Subscription
  readonly #depth: number
  #bids: readonly Row[] | undefined
  #asks: readonly Row[] = []
  #nonce: number | undefined

  constructor(subscription: Subscription, depth: number) {
    this.#subscription = subscription
    this.#depth = depth
  }

  read(result: unknown, emit: (update: Decoded) => void): void {
    const book = result as CcxtBook
    const nonce = Number.isSafeInteger(book.nonce) ? book.nonce : undefined
    if (this.#nonce !== undefined && nonce !== undefined && nonce < this.#nonce) {
      this.#bids = undefined
      emit({ kind: 'interrupted', subscription: this.#subscription, reason: 'the book went back in time' })
    }
    this.#nonce = nonce
    try {
      this.#emit(book, rowsOf(book.bids, this.#depth), rowsOf(book.asks, this.#depth), emit)
    } catch (error) {
      const { symbol } = this.#subscription
      emit({ kind: 'malformed', reason: (error as Error).message, channel: 'orderbook', symbol })
    }
  }

  #emit(book: CcxtBook, bids: readonly Row[], asks: readonly Row[], emit: (update: Decoded) => void): void {
    const before = this.#bids
    const change = before
      ? { bids: difference(before, bids, -1), asks: difference(this.#asks, asks, 1) }
      : { bids: bids.map(levelOf), asks: asks.map(levelOf) }
    this.#bids = bids
    this.#asks = asks
    if (before && change.bids.length === 0 && change.asks.length === 0) return
    emit({
      kind: 'book',
      symbol: this.#subscription.symbol,
      snapshot: !before,
      ...change,
      sourceTime: timeOf(book.timestamp),
      ...(this.#nonce !== undefined && { first: this.#nonce, last: this.#nonce }),
    })
  }
}

/** Copied, since ccxt goes on with its book; orders of one price (books by order) are added up. */
function rowsOf(levels: readonly (readonly Numeric[])[], depth: number): readonly Row[] {
  const rows: Row[] = []
  for (const [givenPrice, givenSize] of levels) {
    const price = Number(givenPrice)
    const size = Number(givenSize)
    if (!Number.isFinite(price) || !Number.isFinite(size)) throw new Error('level without price or size')
    if (size <= 0) continue
    const last = rows.at(-1)
    if (last?.price === price) rows[rows.length - 1] = { price, size: added(last.size, size) }
    else if (rows.length === depth) break
    else rows.push({ price, size })
  }
  return rows
}

/** Without the last digit that binary addition invents. */
function added(a: number, b: number): number {
  return Number((a + b).toPrecision(15))
}

/** Both are sorted, best first; `direction` is 1 where prices ascend. */
function difference(before: readonly Row[], now: readonly Row[], direction: 1 | -1): Level[] {
  const levels: Level[] = []
  let at = 0
  for (const row of now) {
    while (at < before.length && (row.price - before[at]!.price) * direction > 0)
      levels.push(removal(before[at++]!))
    const old = before[at]
    if (old?.price !== row.price) levels.push(levelOf(row))
    else {
      at++
      if (old.size !== row.size) levels.push(levelOf(row))
    }
  }
  while (at < before.length) levels.push(removal(before[at++]!))
  return levels
}

function levelOf({ price, size }: Row): Level {
  const written = [toDecimal(price), toDecimal(size)] as const
  if (written[0] === undefined || written[1] === undefined) throw new Error('level that is no decimal')
  return [written[0], written[1]]
}

function removal({ price }: Row): Level {
  return [toDecimal(price)!, '0']
}
