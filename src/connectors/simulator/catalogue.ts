import type { Subscription } from '../connector.ts'
import { BookFeed } from './book.ts'
import { CandleFeed } from './candles.ts'
import type { Feed, FeedContext } from './feed.ts'
import { OddsFeed } from './odds.ts'
import { TickerFeed, TradeFeed } from './quotes.ts'
import { StatusFeed } from './status.ts'

/** Seconds. */
export const TIMEFRAMES: Readonly<Record<string, number>> = {
  '1s': 1,
  '1m': 60,
  '5m': 300,
  '15m': 900,
  '1h': 3_600,
  '4h': 14_400,
  '1d': 86_400,
}

const PAIR = /^[A-Z0-9]{1,20}\/[A-Z0-9]{1,20}$/
const MATCH = /^MATCH_\d{3}$/
const CONVERSATION = /^[A-Za-z0-9_-]{1,64}\/CONV_\d{3}$/

/** Why the simulator does not carry it; undefined if it does. */
export function refusal({ channel, symbol, timeframe }: Subscription): string | undefined {
  if (channel === 'ohlcv' && (timeframe === undefined || !Object.hasOwn(TIMEFRAMES, timeframe)))
    return `timeframes are ${Object.keys(TIMEFRAMES).join(', ')}`
  switch (channel) {
    case 'ohlcv':
    case 'ticker':
    case 'trades':
    case 'orderbook':
      return PAIR.test(symbol) ? undefined : 'a symbol is BASE/QUOTE in capitals, such as BTC/USDT'
    case 'odds':
      return MATCH.test(symbol) ? undefined : 'events are MATCH_001 to MATCH_999'
    case 'status':
      return CONVERSATION.test(symbol) ? undefined : 'conversations are CONV_001 to CONV_999 of a tenant'
    default:
      return `the simulator has no channel ${channel}`
  }
}

/** Call it only for what `refusal` lets pass. */
export function createFeed(subscription: Subscription, depth: number, context: FeedContext): Feed {
  const { channel, symbol, timeframe = '' } = subscription
  switch (channel) {
    case 'ticker':
      return new TickerFeed(symbol, context)
    case 'trades':
      return new TradeFeed(symbol, context)
    case 'orderbook':
      return new BookFeed(symbol, depth, context)
    case 'ohlcv':
      return new CandleFeed(symbol, timeframe, (TIMEFRAMES[timeframe] ?? 60) * 1e6, context)
    case 'odds':
      return new OddsFeed(symbol, context)
    default:
      return new StatusFeed(symbol, context)
  }
}
