import type { SourceSpec } from './manager/manager.ts'

/** What a gateway without any setting serves: simulated markets, odds and message statuses. */
export const DEMO_SOURCES: readonly SourceSpec[] = [
  {
    id: 'demo-crypto',
    kind: 'simulator',
    subscriptions: [
      {
        channel: 'ticker',
        symbols: ['BTC/USDT', 'ETH/USDT', 'SOL/USDT', 'XRP/USDT', 'ADA/USDT', 'DOGE/USDT'],
      },
      {
        channel: 'trades',
        symbols: ['BTC/USDT', 'ETH/USDT', 'SOL/USDT', 'XRP/USDT', 'ADA/USDT', 'DOGE/USDT'],
      },
      { channel: 'orderbook', symbols: ['BTC/USDT', 'ETH/USDT', 'SOL/USDT'] },
      { channel: 'ohlcv', symbols: ['BTC/USDT', 'ETH/USDT', 'SOL/USDT'], timeframe: '1m' },
    ],
  },
  {
    id: 'demo-fx',
    kind: 'simulator',
    subscriptions: [
      { channel: 'ticker', symbols: ['EUR/USD', 'GBP/USD', 'USD/JPY', 'USD/CHF', 'AUD/USD'] },
      { channel: 'trades', symbols: ['EUR/USD', 'GBP/USD', 'USD/JPY', 'USD/CHF', 'AUD/USD'] },
      { channel: 'ohlcv', symbols: ['EUR/USD', 'GBP/USD'], timeframe: '1m' },
    ],
  },
  {
    id: 'demo-odds',
    kind: 'simulator',
    rate: 2,
    subscriptions: [
      { channel: 'odds', symbols: ['MATCH_001', 'MATCH_002', 'MATCH_003', 'MATCH_004', 'MATCH_005'] },
    ],
  },
  {
    id: 'demo-messages',
    kind: 'simulator',
    rate: 1,
    subscriptions: [
      {
        channel: 'status',
        symbols: ['demo/CONV_001', 'demo/CONV_002', 'demo/CONV_003', 'demo/CONV_004', 'demo/CONV_005'],
      },
    ],
  },
]
