import type { DecodedEvent, FetchedTrades, TradesWanted } from './connector.ts'
import type { TradesPage, TradesRequest } from './venue.ts'

/** Requests for one hole at most: with the smallest pages, of 100, that is 20,000 trades. */
const MAX_PAGES = 200

/**
 * The trades that are wanted, page by page. `get` makes a request; `numbered`: ids are numbers that grow, so that what is
 * known already is told by them.
 */
export async function fetchTradePages(
  request: TradesRequest,
  symbol: string,
  wanted: TradesWanted,
  numbered: boolean,
  get: (path: string) => Promise<TradesPage>,
): Promise<FetchedTrades> {
  const forward = request.from === 'oldest'
  const pages: (readonly DecodedEvent[])[] = []
  let cursor: string | undefined
  let complete = false
  while (pages.length < MAX_PAGES && !complete) {
    const page = await get(request.path(symbol, wanted, cursor))
    pages.push(page.trades)
    complete = forward ? isPast(page.trades, wanted, numbered) : reachesBack(page.trades, wanted, numbered)
    if (page.cursor === undefined || page.cursor === cursor) {
      complete ||= forward
      break
    }
    cursor = page.cursor
  }
  const all = (forward ? pages : pages.toReversed()).flat()
  return {
    trades: all.slice(startOf(all, wanted)).filter((trade) => isWanted(trade, wanted, numbered)),
    complete,
  }
}

/** Pages that go on have come to what is known again, or to the end of what there is. */
function isPast(trades: readonly DecodedEvent[], wanted: TradesWanted, numbered: boolean): boolean {
  const newest = trades.at(-1)
  return newest === undefined || isLate(newest, wanted, numbered)
}

/** Pages that go back have come to what is known. The end of what there is proves nothing: venues forget. */
function reachesBack(trades: readonly DecodedEvent[], wanted: TradesWanted, numbered: boolean): boolean {
  const oldest = trades[0]
  return startOf(trades, wanted) > 0 || (oldest !== undefined && isEarly(oldest, wanted, numbered))
}

/** Behind the last known trade, where that is among them. */
function startOf(trades: readonly DecodedEvent[], { afterId }: TradesWanted): number {
  return afterId === undefined ? 0 : trades.findLastIndex((trade) => idOf(trade) === afterId) + 1
}

function isWanted(trade: DecodedEvent, wanted: TradesWanted, numbered: boolean): boolean {
  const { sourceTime } = trade
  if (idOf(trade) === wanted.untilId) return false
  if (numbered && wanted.afterId !== undefined)
    return !isEarly(trade, wanted, true) && !isLate(trade, wanted, true)
  return sourceTime === undefined || (sourceTime >= wanted.afterTime && sourceTime <= wanted.untilTime)
}

/** Known already, or before anything that is wanted. */
function isEarly(trade: DecodedEvent, { afterId, afterTime }: TradesWanted, numbered: boolean): boolean {
  const id = idOf(trade)
  if (id === afterId && id !== undefined) return true
  if (numbered && id !== undefined && afterId !== undefined) return BigInt(id) <= BigInt(afterId)
  return trade.sourceTime !== undefined && trade.sourceTime < afterTime
}

function isLate(trade: DecodedEvent, { untilId, untilTime }: TradesWanted, numbered: boolean): boolean {
  const id = idOf(trade)
  if (numbered && id !== undefined && untilId !== undefined) return BigInt(id) >= BigInt(untilId)
  return trade.sourceTime !== undefined && trade.sourceTime > untilTime
}

function idOf({ payload }: DecodedEvent): string | undefined {
  return payload.type === 'trade' ? payload.id : undefined
}
