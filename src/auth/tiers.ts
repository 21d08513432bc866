import type { Channel } from '../market/event.ts'
import type { Tier, TierName } from './auth.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

const BASIC: readonly Channel[] = [
  'ticker',
  'trades',
  'ohlcv',
  'funding',
  'openinterest',
  'liquidations',
  'odds',
  'status',
  'raw_ticks',
  'trading_signals',
  'source',
]
const PREMIUM: readonly Channel[] = [
  ...BASIC,
  'orderbook',
  'ml_features',
  'technical_analysis',
  'pattern_alerts',
  'microstructure',
  'risk_metrics',
  'consolidated',
  'bars',
]
const INSTITUTIONAL: readonly Channel[] = [...PREMIUM, 'premium_analytics', 'news_sentiment']

/** The contract's tier table. Infinity: no limit. */
export const TIERS: Readonly<Record<TierName, Tier>> = {
  basic: {
    name: 'basic',
    channels: new Set(BASIC),
    bookDepth: 0,
    framesPerMinute: 60,
    frameBurst: 30,
    conflateMs: 0,
    commandsPerSecond: 2,
    connections: 2,
    symbols: 50,
    resumeWindowMs: 30_000,
    historyMs: DAY_MS,
    replaySpeed: 0,
  },
  premium: {
    name: 'premium',
    channels: new Set(PREMIUM),
    bookDepth: 25,
    framesPerMinute: Infinity,
    frameBurst: Infinity,
    conflateMs: 0,
    commandsPerSecond: 20,
    connections: 10,
    symbols: 2_000,
    resumeWindowMs: 2 * MINUTE_MS,
    historyMs: 365 * DAY_MS,
    replaySpeed: 10,
  },
  institutional: {
    name: 'institutional',
    channels: new Set(INSTITUTIONAL),
    bookDepth: Infinity,
    framesPerMinute: Infinity,
    frameBurst: Infinity,
    conflateMs: 0,
    commandsPerSecond: 100,
    connections: 50,
    symbols: Infinity,
    resumeWindowMs: 15 * MINUTE_MS,
    historyMs: Infinity,
    replaySpeed: Infinity,
  },
}

/** From the least to the most. */
export const TIER_NAMES: readonly TierName[] = ['basic', 'premium', 'institutional']

export function isTierName(name: unknown): name is TierName {
  return TIER_NAMES.some((tier) => tier === name)
}

export function leastTier(first: TierName, ...others: readonly TierName[]): TierName {
  return others.reduce(
    (least, tier) => (TIER_NAMES.indexOf(tier) < TIER_NAMES.indexOf(least) ? tier : least),
    first,
  )
}
