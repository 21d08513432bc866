import type { Level } from '../market/event.ts'
import type { Market, MarketTrade } from './market.ts'

export interface TruthBook {
  /** Best first. */
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
}

/** What a market really is, and was: for tests that compare. Earlier states are walked to anew, so nothing is kept. */
export interface Truth {
  readonly symbol: string
  /** Steps so far. */
  readonly seq: number
  /** Of the last step, if it was one. */
  readonly trade: MarketTrade | undefined
  /** The book now. `depth`: levels a side; default all. */
  book(depth?: number): TruthBook
  /** The book after so many steps; 0: as it began. */
  bookAt(seq: number, depth?: number): TruthBook
  /** The last step after which the best levels of the book were exactly these; undefined: they never were. */
  seqOf(book: TruthBook): number | undefined
  /** Every trade so far, oldest first; their times are those of the newest 10,000 alone. */
  trades(): readonly MarketTrade[]
}

export function createTruth(market: Market): Truth {
  return {
    symbol: market.symbol,
    get seq() {
      return market.seq
    },
    get trade() {
      return market.trade
    },
    book: (depth) => topOf(market, depth),
    bookAt: (seq, depth) => topOf(market.at(seq), depth),
    seqOf: (book) => seqOf(market, book),
    trades: () => tradesOf(market),
  }
}

function topOf({ book }: Market, depth = Number.POSITIVE_INFINITY): TruthBook {
  return { bids: book.top('bids', depth), asks: book.top('asks', depth) }
}

function seqOf(market: Market, wanted: TruthBook): number | undefined {
  const same = ({ book }: Market) =>
    (['bids', 'asks'] as const).every((side) =>
      wanted[side].every((level, rank) => {
        const real = book.at(side, rank)
        return real?.[0] === level[0] && real[1] === level[1]
      }),
    )
  // Mostly it is the book as it is.
  if (same(market)) return market.seq
  let found: number | undefined
  for (const walked = market.at(0); ; walked.step(walked.time + 1)) {
    if (same(walked)) found = walked.seq
    if (walked.seq === market.seq) return found
  }
}

function tradesOf(market: Market): MarketTrade[] {
  const recent = new Map(market.trades.map((trade) => [trade.id, trade]))
  const trades: MarketTrade[] = []
  for (const walked = market.at(0); walked.seq < market.seq; ) {
    walked.step(walked.time + 1)
    if (walked.trade) trades.push(recent.get(walked.trade.id) ?? walked.trade)
  }
  return trades
}
