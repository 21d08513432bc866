import { type BookChange, DepthView } from '../market/depth-view.ts'
import type { Level, Micros } from '../market/event.ts'
import type { MarketCandle } from './candles.ts'
import type { Market, MarketTrade } from './market.ts'
import type { Stream } from './wire.ts'

const NOTHING: BookChange = { bids: [], asks: [] }

/** The streams that all venues have, in words that differ. */

export function tradeStream(
  market: Market,
  write: (trade: MarketTrade, market: Market) => string,
  begin?: (market: Market) => readonly string[],
): Stream {
  return {
    markets: [market],
    ...(begin && { begin }),
    step(now, emit) {
      if (now.trade) emit(write(now.trade, now))
    },
  }
}

/** A frame of what is now. `everyMicros`: at most one in so long; 0: each step. `begins`: at once as well. */
export function stateStream(
  market: Market,
  write: (market: Market) => string,
  { everyMicros = 0, begins = false }: { readonly everyMicros?: Micros; readonly begins?: boolean } = {},
): Stream {
  let due = 0
  return {
    markets: [market],
    ...(begins && { begin: (now: Market) => [write(now)] }),
    step(now, emit) {
      if (now.time < due) return
      due = now.time + everyMicros
      emit(write(now))
    },
  }
}

/** `write` is told whether the candle is closed. `begin` gets the candles that a new subscriber is sent. */
export function candleStream(
  market: Market,
  timeframe: Micros,
  write: (candle: MarketCandle, closed: boolean, market: Market) => string,
  begin?: (market: Market) => readonly string[],
): Stream {
  const follower = market.candles.follow(timeframe, market.time)
  return {
    markets: [market],
    ...(begin && { begin }),
    step(now, emit) {
      let closed = false
      follower.step(now.time, now.trade, (candle) => {
        closed = true
        emit(write(candle, true, now))
      })
      if (now.trade || closed) emit(write(follower.current, false, now))
    },
  }
}

export type WriteBook = (
  kind: 'snapshot' | 'update',
  market: Market,
  bids: readonly Level[],
  asks: readonly Level[],
) => string

export interface BookStreamOptions {
  /** Levels a side. */
  readonly depth: number
  /** The venue keeps only these levels, and does not say that one fell out of them. */
  readonly truncates?: boolean
  /** A step that changed none of these levels is told as well: the venue numbers its messages. */
  readonly tellsNothing?: boolean
}

/** A snapshot at once, then what changed among the best levels. */
export function bookStream(market: Market, options: BookStreamOptions, write: WriteBook): Stream {
  const { depth, tellsNothing = false } = options
  const changes = depth >= market.depth ? undefined : changesWithin(market, options)
  return {
    markets: [market],
    begin: (now) => [write('snapshot', now, now.book.top('bids', depth), now.book.top('asks', depth))],
    step(now, emit) {
      // Where the whole book is told, every change of it is.
      const { bids, asks } = changes?.() ?? now
      if (tellsNothing || bids.length > 0 || asks.length > 0) emit(write('update', now, bids, asks))
    },
  }
}

/** What a step changed among the best levels. */
function changesWithin(market: Market, { depth, truncates }: BookStreamOptions): () => BookChange {
  const view = new DepthView(depth)
  view.reset(market.book)
  return () => {
    const change = view.change(market.book) ?? NOTHING
    if (!truncates) return change
    return {
      bids: withoutPushedOut(change.bids, market.bids),
      asks: withoutPushedOut(change.asks, market.asks),
    }
  }
}

/** What left the view and is still in the book was pushed out of it. */
function withoutPushedOut(changes: readonly Level[], step: readonly Level[]): readonly Level[] {
  return changes.filter(
    ([price, size]) => size !== '0' || step.some((level) => level[0] === price && level[1] === '0'),
  )
}
