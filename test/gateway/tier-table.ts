import type { TierName } from '../../src/auth/auth.ts'
import type { Channel } from '../../src/market/event.ts'

/** The contract's tier table, written down a second time: what the program holds is compared with it. */
export interface TierRow {
  readonly name: TierName
  readonly channels: readonly Channel[]
  /** Levels a side; 0: no books. */
  readonly depth: number | 'full'
  readonly framesPerMinute: number
  readonly frameBurst: number
  readonly commands: number
  readonly connections: number
  readonly symbols: number
  readonly resumeMs: number
  readonly historyMs: number
}

export const MINUTE_MS = 60_000
export const DAY_MS = 24 * 60 * MINUTE_MS
const NO_LIMIT = Number.POSITIVE_INFINITY

const basic: readonly Channel[] = [
  ...(['ticker', 'trades', 'ohlcv', 'funding', 'openinterest', 'liquidations'] as const),
  ...(['odds', 'status', 'raw_ticks', 'trading_signals', 'source'] as const),
]
const premium: readonly Channel[] = [
  ...(['orderbook', 'ml_features', 'technical_analysis', 'pattern_alerts', 'microstructure'] as const),
  ...(['risk_metrics', 'consolidated', 'bars'] as const),
]
const institutional: readonly Channel[] = ['premium_analytics', 'news_sentiment']

export const ALL_CHANNELS: readonly Channel[] = [...basic, ...premium, ...institutional]

export const TIER_TABLE: readonly TierRow[] = [
  {
    ...{ name: 'basic', channels: basic, depth: 0, framesPerMinute: 60, frameBurst: 30 },
    ...{ commands: 2, connections: 2, symbols: 50, resumeMs: 30_000, historyMs: DAY_MS },
  },
  {
    ...{ name: 'premium', channels: [...basic, ...premium], depth: 25, framesPerMinute: NO_LIMIT },
    ...{ frameBurst: NO_LIMIT, commands: 20, connections: 10, symbols: 2_000, resumeMs: 2 * MINUTE_MS },
    historyMs: 365 * DAY_MS,
  },
  {
    ...{ name: 'institutional', channels: ALL_CHANNELS, depth: 'full', framesPerMinute: NO_LIMIT },
    ...{ frameBurst: NO_LIMIT, commands: 100, connections: 50, symbols: NO_LIMIT },
    ...{ resumeMs: 15 * MINUTE_MS, historyMs: NO_LIMIT },
  },
]
