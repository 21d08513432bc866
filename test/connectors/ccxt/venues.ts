/**
 * One small market as each venue tells it: a ticker, a trade, a book with one change, a candle and the one after it, in
 * the forms that the venues document. What ccxt asks is what it is answered.
 */
import type { Script } from './loopback.ts'

export const TIME = Date.UTC(2026, 10, 22, 12, 0, 30)
const MINUTE = Date.UTC(2026, 10, 22, 12)
const NEXT = MINUTE + 60_000
const ISO = new Date(TIME).toISOString()
const SECONDS = TIME / 1_000

/** `exact`: the venue writes decimals as text, and ccxt keeps it; else zeros at the end are lost. */
export interface VenueScript extends Script {
  readonly exact: boolean
  readonly channels: readonly ('ticker' | 'trades' | 'orderbook' | 'ohlcv')[]
}

const ALL = ['ticker', 'trades', 'orderbook', 'ohlcv'] as const

export const VENUES: Readonly<Record<string, VenueScript>> = {
  binance: {
    marketId: 'BTCUSDT',
    exact: true,
    channels: ALL,
    rest: [
      [
        /^\/api\/v3\/depth/,
        {
          lastUpdateId: 10,
          bids: [
            ['99.00', '1.0'],
            ['98.00', '2.0'],
          ],
          asks: [
            ['101.00', '1.0'],
            ['102.00', '2.0'],
          ],
        },
      ],
    ],
    replies: [
      [
        /miniTicker/,
        {
          e: '24hrMiniTicker',
          E: TIME,
          s: 'BTCUSDT',
          c: '100.50',
          o: '90.00',
          h: '110.00',
          l: '80.00',
          v: '1000.0',
          q: '1',
        },
      ],
      [/bookTicker/, { u: 1, s: 'BTCUSDT', b: '100.40', B: '1.0', a: '100.60', A: '2.0' }],
      [
        /@trade"/,
        { e: 'trade', E: TIME, s: 'BTCUSDT', t: 42, p: '100.50', q: '0.250', T: TIME, m: false, M: true },
      ],
      [
        /@depth/,
        { result: null, id: 1 },
        { e: 'depthUpdate', E: TIME, s: 'BTCUSDT', U: 9, u: 10, b: [], a: [] },
        {
          e: 'depthUpdate',
          E: TIME,
          s: 'BTCUSDT',
          U: 11,
          u: 11,
          b: [['99.00', '3.0']],
          a: [['101.00', '0.0']],
        },
      ],
      [
        /@kline_1m/,
        ...[
          [MINUTE, '100.00', '101.00', '99.00', '100.50', '12.0'],
          [NEXT, '100.50', '100.50', '100.50', '100.50', '1.0'],
        ].map(([t, o, h, l, c, v]) => ({
          e: 'kline',
          E: TIME,
          s: 'BTCUSDT',
          k: { t, T: Number(t) + 59_999, s: 'BTCUSDT', i: '1m', o, h, l, c, v, x: false },
        })),
      ],
    ],
  },
  bybit: {
    marketId: 'BTCUSDT',
    exact: true,
    channels: ALL,
    replies: [
      [
        /tickers\./,
        {
          topic: 'tickers.BTCUSDT',
          ts: TIME,
          type: 'snapshot',
          cs: 1,
          data: {
            symbol: 'BTCUSDT',
            lastPrice: '100.50',
            highPrice24h: '110.00',
            lowPrice24h: '80.00',
            prevPrice24h: '90.00',
            volume24h: '1000.0',
            turnover24h: '1',
            price24hPcnt: '0.1',
          },
        },
      ],
      [
        /publicTrade/,
        {
          topic: 'publicTrade.BTCUSDT',
          type: 'snapshot',
          ts: TIME,
          data: [{ T: TIME, s: 'BTCUSDT', S: 'Buy', v: '0.250', p: '100.50', i: '42', BT: false }],
        },
      ],
      [
        /orderbook\.(50|200)/,
        {
          topic: 'orderbook.50.BTCUSDT',
          type: 'snapshot',
          ts: TIME,
          data: {
            s: 'BTCUSDT',
            b: [
              ['99.00', '1.0'],
              ['98.00', '2.0'],
            ],
            a: [
              ['101.00', '1.0'],
              ['102.00', '2.0'],
            ],
            u: 1,
            seq: 1,
          },
        },
        {
          topic: 'orderbook.50.BTCUSDT',
          type: 'delta',
          ts: TIME,
          data: { s: 'BTCUSDT', b: [['99.00', '3.0']], a: [['101.00', '0']], u: 2, seq: 2 },
        },
      ],
      [
        /kline\.1\./,
        ...[
          [MINUTE, '100.00', '101.00', '99.00', '100.50', '12.0'],
          [NEXT, '100.50', '100.50', '100.50', '100.50', '1.0'],
        ].map(([start, open, high, low, close, volume]) => ({
          topic: 'kline.1.BTCUSDT',
          ts: TIME,
          type: 'snapshot',
          data: [
            {
              start,
              end: 0,
              interval: '1',
              open,
              high,
              low,
              close,
              volume,
              turnover: '1',
              confirm: false,
              timestamp: TIME,
            },
          ],
        })),
      ],
    ],
  },
  okx: {
    marketId: 'BTC-USDT',
    exact: true,
    channels: ALL,
    replies: [
      [
        /"tickers"/,
        {
          arg: { channel: 'tickers', instId: 'BTC-USDT' },
          data: [
            {
              instType: 'SPOT',
              instId: 'BTC-USDT',
              last: '100.50',
              lastSz: '1',
              askPx: '100.60',
              askSz: '2.0',
              bidPx: '100.40',
              bidSz: '1.0',
              open24h: '90.00',
              high24h: '110.00',
              low24h: '80.00',
              vol24h: '1000.0',
              volCcy24h: '1',
              ts: String(TIME),
            },
          ],
        },
      ],
      [
        /"trades"/,
        {
          arg: { channel: 'trades', instId: 'BTC-USDT' },
          data: [
            { instId: 'BTC-USDT', tradeId: '42', px: '100.50', sz: '0.250', side: 'buy', ts: String(TIME) },
          ],
        },
      ],
      [
        /"books"/,
        {
          arg: { channel: 'books', instId: 'BTC-USDT' },
          action: 'snapshot',
          data: [
            {
              bids: [
                ['99.00', '1.0', '0', '1'],
                ['98.00', '2.0', '0', '1'],
              ],
              asks: [
                ['101.00', '1.0', '0', '1'],
                ['102.00', '2.0', '0', '1'],
              ],
              ts: String(TIME),
              seqId: 1,
              prevSeqId: -1,
            },
          ],
        },
        {
          arg: { channel: 'books', instId: 'BTC-USDT' },
          action: 'update',
          data: [
            {
              bids: [['99.00', '3.0', '0', '1']],
              asks: [['101.00', '0', '0', '0']],
              ts: String(TIME),
              seqId: 2,
              prevSeqId: 1,
            },
          ],
        },
      ],
      [
        /candle1m/,
        ...[
          [MINUTE, '100.00', '101.00', '99.00', '100.50', '12.0'],
          [NEXT, '100.50', '100.50', '100.50', '100.50', '1.0'],
        ].map(([t, ...rest]) => ({
          arg: { channel: 'candle1m', instId: 'BTC-USDT' },
          data: [[String(t), ...rest, '1', '1', '0']],
        })),
      ],
    ],
  },
  kraken: {
    marketId: 'XBTUSDT',
    exact: false,
    channels: ALL,
    replies: [
      [
        /"ticker"/,
        {
          channel: 'ticker',
          type: 'snapshot',
          data: [
            {
              symbol: 'BTC/USDT',
              bid: 100.4,
              bid_qty: 1,
              ask: 100.6,
              ask_qty: 2,
              last: 100.5,
              volume: 1000,
              vwap: 100,
              low: 80,
              high: 110,
              change: 1,
              change_pct: 1,
            },
          ],
        },
      ],
      [
        /"trade"/,
        {
          channel: 'trade',
          type: 'update',
          data: [
            {
              symbol: 'BTC/USDT',
              side: 'buy',
              price: 100.5,
              qty: 0.25,
              ord_type: 'market',
              trade_id: 42,
              timestamp: ISO,
            },
          ],
        },
      ],
      [
        /"book"/,
        {
          channel: 'book',
          type: 'snapshot',
          data: [
            {
              symbol: 'BTC/USDT',
              bids: [
                { price: 99, qty: 1 },
                { price: 98, qty: 2 },
              ],
              asks: [
                { price: 101, qty: 1 },
                { price: 102, qty: 2 },
              ],
            },
          ],
        },
        {
          channel: 'book',
          type: 'update',
          data: [
            {
              symbol: 'BTC/USDT',
              bids: [{ price: 99, qty: 3 }],
              asks: [{ price: 101, qty: 0 }],
              timestamp: ISO,
            },
          ],
        },
      ],
      [
        /"ohlc"/,
        ...[
          [MINUTE, 100, 101, 99, 100.5, 12],
          [NEXT, 100.5, 100.5, 100.5, 100.5, 1],
        ].map(([t, open, high, low, close, volume]) => ({
          channel: 'ohlc',
          type: 'update',
          timestamp: ISO,
          data: [
            {
              symbol: 'BTC/USDT',
              open,
              high,
              low,
              close,
              trades: 1,
              volume,
              vwap: 1,
              interval: 1,
              interval_begin: new Date(t!).toISOString(),
              timestamp: new Date(t! + 60_000).toISOString(),
            },
          ],
        })),
      ],
    ],
  },
  bitget: {
    marketId: 'BTCUSDT',
    exact: true,
    channels: ALL,
    replies: [
      [
        /"ticker"/,
        {
          action: 'snapshot',
          arg: { instType: 'SPOT', channel: 'ticker', instId: 'BTCUSDT' },
          ts: TIME,
          data: [
            {
              instId: 'BTCUSDT',
              lastPr: '100.50',
              open24h: '90.00',
              high24h: '110.00',
              low24h: '80.00',
              change24h: '0.1',
              bidPr: '100.40',
              askPr: '100.60',
              bidSz: '1.0',
              askSz: '2.0',
              baseVolume: '1000.0',
              quoteVolume: '1',
              ts: String(TIME),
            },
          ],
        },
      ],
      [
        /"trade"/,
        {
          action: 'update',
          arg: { instType: 'SPOT', channel: 'trade', instId: 'BTCUSDT' },
          ts: TIME,
          data: [{ ts: String(TIME), price: '100.50', size: '0.250', side: 'buy', tradeId: '42' }],
        },
      ],
      [
        /"books"/,
        {
          action: 'snapshot',
          arg: { instType: 'SPOT', channel: 'books', instId: 'BTCUSDT' },
          ts: TIME,
          data: [
            {
              bids: [
                ['99.00', '1.0'],
                ['98.00', '2.0'],
              ],
              asks: [
                ['101.00', '1.0'],
                ['102.00', '2.0'],
              ],
              ts: String(TIME),
            },
          ],
        },
        {
          action: 'update',
          arg: { instType: 'SPOT', channel: 'books', instId: 'BTCUSDT' },
          ts: TIME,
          data: [{ bids: [['99.00', '3.0']], asks: [['101.00', '0']], ts: String(TIME) }],
        },
      ],
      [
        /candle1m/,
        ...[
          [MINUTE, '100.00', '101.00', '99.00', '100.50', '12.0'],
          [NEXT, '100.50', '100.50', '100.50', '100.50', '1.0'],
        ].map(([t, ...rest]) => ({
          action: 'update',
          arg: { instType: 'SPOT', channel: 'candle1m', instId: 'BTCUSDT' },
          ts: TIME,
          data: [[String(t), ...rest, '1', '1']],
        })),
      ],
    ],
  },
  gate: {
    marketId: 'BTC_USDT',
    exact: true,
    channels: ALL,
    replies: [
      [
        /spot\.tickers/,
        {
          time: SECONDS,
          channel: 'spot.tickers',
          event: 'update',
          result: {
            currency_pair: 'BTC_USDT',
            last: '100.50',
            lowest_ask: '100.60',
            highest_bid: '100.40',
            change_percentage: '1',
            base_volume: '1000.0',
            quote_volume: '1',
            high_24h: '110.00',
            low_24h: '80.00',
          },
        },
      ],
      [
        /spot\.trades/,
        {
          time: SECONDS,
          channel: 'spot.trades',
          event: 'update',
          result: {
            id: 42,
            create_time: SECONDS,
            create_time_ms: `${TIME}.0`,
            side: 'buy',
            currency_pair: 'BTC_USDT',
            amount: '0.250',
            price: '100.50',
          },
        },
      ],
      [
        /spot\.obu/,
        {
          channel: 'spot.obu',
          time_ms: TIME,
          event: 'update',
          result: {
            t: TIME,
            full: true,
            s: 'ob.BTC_USDT.50',
            u: 1,
            b: [
              ['99.00', '1.0'],
              ['98.00', '2.0'],
            ],
            a: [
              ['101.00', '1.0'],
              ['102.00', '2.0'],
            ],
          },
        },
        {
          channel: 'spot.obu',
          time_ms: TIME,
          event: 'update',
          result: { t: TIME, s: 'ob.BTC_USDT.50', U: 2, u: 2, b: [['99.00', '3.0']], a: [['101.00', '0']] },
        },
      ],
      [
        /candlesticks/,
        ...[
          [MINUTE, '100.00', '101.00', '99.00', '100.50', '12.0'],
          [NEXT, '100.50', '100.50', '100.50', '100.50', '1.0'],
        ].map(([t, o, h, l, c, a]) => ({
          time: SECONDS,
          channel: 'spot.candlesticks',
          event: 'update',
          result: { t: String(Number(t) / 1_000), v: '1', a, c, h, l, o, n: '1m_BTC_USDT' },
        })),
      ],
    ],
  },
  cryptocom: {
    marketId: 'BTC_USDT',
    exact: true,
    channels: ALL,
    replies: [
      [
        /ticker\./,
        result({
          instrument_name: 'BTC_USDT',
          subscription: 'ticker.BTC_USDT',
          channel: 'ticker',
          data: [
            {
              h: '110.00',
              l: '80.00',
              a: '100.50',
              c: '0.1',
              b: '100.40',
              bs: '1.0',
              k: '100.60',
              ks: '2.0',
              i: 'BTC_USDT',
              v: '1000.0',
              vv: '1',
              oi: '1',
              t: TIME,
            },
          ],
        }),
      ],
      [
        /trade\./,
        result({
          instrument_name: 'BTC_USDT',
          subscription: 'trade.BTC_USDT',
          channel: 'trade',
          data: [{ d: '42', s: 'BUY', p: '100.50', q: '0.250', t: TIME, i: 'BTC_USDT' }],
        }),
      ],
      [
        /book\./,
        result({
          instrument_name: 'BTC_USDT',
          subscription: 'book.BTC_USDT.100',
          channel: 'book',
          depth: 100,
          data: [
            {
              bids: [
                ['99.00', '1.0', '1'],
                ['98.00', '2.0', '1'],
              ],
              asks: [
                ['101.00', '1.0', '1'],
                ['102.00', '2.0', '1'],
              ],
              t: TIME,
              u: 1,
            },
          ],
        }),
        result({
          instrument_name: 'BTC_USDT',
          subscription: 'book.BTC_USDT.100',
          channel: 'book.update',
          depth: 100,
          data: [
            { update: { bids: [['99.00', '3.0', '1']], asks: [['101.00', '0', '0']] }, t: TIME, u: 2, pu: 1 },
          ],
        }),
      ],
      [
        /candlestick\./,
        ...[
          [MINUTE, '100.00', '101.00', '99.00', '100.50', '12.0'],
          [NEXT, '100.50', '100.50', '100.50', '100.50', '1.0'],
        ].map(([t, o, h, l, c, v]) =>
          result({
            instrument_name: 'BTC_USDT',
            subscription: 'candlestick.1m.BTC_USDT',
            channel: 'candlestick',
            interval: '1m',
            data: [{ t, o, h, l, c, v }],
          }),
        ),
      ],
    ],
  },
  deribit: {
    marketId: 'BTC_USDT',
    exact: false,
    channels: ALL,
    replies: [
      [
        /"ticker\./,
        notified('ticker.BTC_USDT.100ms', {
          timestamp: TIME,
          stats: { volume: 1_000, high: 110, low: 80 },
          state: 'open',
          last_price: 100.5,
          instrument_name: 'BTC_USDT',
          best_bid_price: 100.4,
          best_bid_amount: 1,
          best_ask_price: 100.6,
          best_ask_amount: 2,
        }),
      ],
      [
        /"trades\./,
        notified('trades.BTC_USDT.100ms', [
          {
            trade_seq: 42,
            trade_id: '42',
            timestamp: TIME,
            price: 100.5,
            instrument_name: 'BTC_USDT',
            direction: 'buy',
            amount: 0.25,
          },
        ]),
      ],
      [
        /"book\./,
        notified('book.BTC_USDT.100ms', {
          type: 'snapshot',
          timestamp: TIME,
          instrument_name: 'BTC_USDT',
          change_id: 1,
          bids: [
            ['new', 99, 1],
            ['new', 98, 2],
          ],
          asks: [
            ['new', 101, 1],
            ['new', 102, 2],
          ],
        }),
        notified('book.BTC_USDT.100ms', {
          type: 'change',
          timestamp: TIME,
          instrument_name: 'BTC_USDT',
          change_id: 2,
          prev_change_id: 1,
          bids: [['change', 99, 3]],
          asks: [['delete', 101, 0]],
        }),
      ],
      [
        /chart\.trades/,
        ...[
          [MINUTE, 100, 101, 99, 100.5, 12],
          [NEXT, 100.5, 100.5, 100.5, 100.5, 1],
        ].map(([tick, open, high, low, close, volume]) =>
          notified('chart.trades.BTC_USDT.1', { tick, open, high, low, close, volume, cost: 1 }),
        ),
      ],
    ],
  },
  poloniex: {
    marketId: 'BTC_USDT',
    exact: true,
    channels: ALL,
    replies: [
      [
        /\["ticker"\]/,
        {
          channel: 'ticker',
          data: [
            {
              symbol: 'BTC_USDT',
              startTime: TIME,
              open: '90.00',
              high: '110.00',
              low: '80.00',
              close: '100.50',
              quantity: '1000.0',
              amount: '1',
              tradeCount: 1,
              dailyChange: '0.1',
              markPrice: '1',
              closeTime: TIME,
              ts: TIME,
            },
          ],
        },
      ],
      [
        /\["trades"\]/,
        {
          channel: 'trades',
          data: [
            {
              symbol: 'BTC_USDT',
              amount: '1',
              quantity: '0.250',
              takerSide: 'buy',
              createTime: TIME,
              price: '100.50',
              id: '42',
              ts: TIME,
            },
          ],
        },
      ],
      [
        /book_lv2/,
        {
          channel: 'book_lv2',
          action: 'snapshot',
          data: [
            {
              symbol: 'BTC_USDT',
              createTime: TIME,
              bids: [
                ['99.00', '1.0'],
                ['98.00', '2.0'],
              ],
              asks: [
                ['101.00', '1.0'],
                ['102.00', '2.0'],
              ],
              lastId: 0,
              id: 1,
              ts: TIME,
            },
          ],
        },
        {
          channel: 'book_lv2',
          action: 'update',
          data: [
            {
              symbol: 'BTC_USDT',
              createTime: TIME,
              bids: [['99.00', '3.0']],
              asks: [['101.00', '0']],
              lastId: 1,
              id: 2,
              ts: TIME,
            },
          ],
        },
      ],
      [
        /candles_minute_1/,
        ...[
          [MINUTE, '100.00', '101.00', '99.00', '100.50', '12.0'],
          [NEXT, '100.50', '100.50', '100.50', '100.50', '1.0'],
        ].map(([startTime, open, high, low, close, quantity]) => ({
          channel: 'candles_minute_1',
          data: [
            {
              symbol: 'BTC_USDT',
              amount: '1',
              high,
              quantity,
              tradeCount: 1,
              low,
              closeTime: 0,
              startTime,
              close,
              open,
              ts: TIME,
            },
          ],
        })),
      ],
    ],
  },
  whitebit: {
    marketId: 'BTC_USDT',
    exact: true,
    channels: ALL,
    replies: [
      [
        /market_subscribe/,
        {
          method: 'market_update',
          id: null,
          params: [
            'BTC_USDT',
            {
              close: '100.50',
              deal: '1',
              high: '110.00',
              last: '100.50',
              low: '80.00',
              open: '90.00',
              period: 86_400,
              volume: '1000.0',
            },
          ],
        },
      ],
      [
        /trades_subscribe/,
        {
          method: 'trades_update',
          id: null,
          params: ['BTC_USDT', [{ id: 42, time: SECONDS, price: '100.50', amount: '0.250', type: 'buy' }]],
        },
      ],
      [
        /depth_subscribe/,
        {
          method: 'depth_update',
          id: null,
          params: [
            true,
            {
              timestamp: SECONDS,
              bids: [
                ['99.00', '1.0'],
                ['98.00', '2.0'],
              ],
              asks: [
                ['101.00', '1.0'],
                ['102.00', '2.0'],
              ],
            },
            'BTC_USDT',
          ],
        },
        {
          method: 'depth_update',
          id: null,
          params: [
            false,
            { timestamp: SECONDS, bids: [['99.00', '3.0']], asks: [['101.00', '0']] },
            'BTC_USDT',
          ],
        },
      ],
      [
        /candles_subscribe/,
        ...[
          [MINUTE / 1_000, '100.00', '100.50', '101.00', '99.00', '12.0'],
          [NEXT / 1_000, '100.50', '100.50', '100.50', '100.50', '1.0'],
        ].map((candle) => ({ method: 'candles_update', id: null, params: [[...candle, '1', 'BTC_USDT']] })),
      ],
    ],
  },
  hyperliquid: {
    marketId: 'BTC/USDT',
    exact: true,
    channels: ['trades', 'orderbook', 'ohlcv'],
    replies: [
      [
        /"trades"/,
        {
          channel: 'trades',
          data: [
            { coin: 'BTC/USDT', side: 'B', px: '100.50', sz: '0.250', time: TIME, hash: '0x0', tid: 42 },
          ],
        },
      ],
      [
        /l2Book/,
        levels(
          [
            ['99.00', '1.0'],
            ['98.00', '2.0'],
          ],
          [
            ['101.00', '1.0'],
            ['102.00', '2.0'],
          ],
        ),
        levels(
          [
            ['99.00', '3.0'],
            ['98.00', '2.0'],
          ],
          [['102.00', '2.0']],
        ),
      ],
      [
        /"candle"/,
        ...[
          [MINUTE, '100.00', '101.00', '99.00', '100.50', '12.0'],
          [NEXT, '100.50', '100.50', '100.50', '100.50', '1.0'],
        ].map(([t, o, h, l, c, v]) => ({
          channel: 'candle',
          data: { t, T: t, s: 'BTC/USDT', i: '1m', o, h, l, c, v, n: 1 },
        })),
      ],
    ],
  },
  htx: {
    marketId: 'btcusdt',
    exact: false,
    gzip: true,
    channels: ['ticker', 'trades', 'ohlcv'],
    replies: [
      [
        /usdt\.detail/,
        {
          ch: 'market.btcusdt.detail',
          ts: TIME,
          tick: {
            id: 1,
            low: 80,
            high: 110,
            open: 90,
            close: 100.5,
            vol: 1,
            amount: 1_000,
            version: 1,
            count: 1,
          },
        },
      ],
      [
        /trade\.detail/,
        {
          ch: 'market.btcusdt.trade.detail',
          ts: TIME,
          tick: {
            id: 1,
            ts: TIME,
            data: [{ id: 1, ts: TIME, tradeId: 42, amount: 0.25, price: 100.5, direction: 'buy' }],
          },
        },
      ],
      [
        /kline\.1min/,
        ...[
          [MINUTE, 100, 101, 99, 100.5, 12],
          [NEXT, 100.5, 100.5, 100.5, 100.5, 1],
        ].map(([t, open, high, low, close, amount]) => ({
          ch: 'market.btcusdt.kline.1min',
          ts: TIME,
          tick: { id: t! / 1_000, open, close, low, high, amount, vol: 1, count: 1 },
        })),
      ],
    ],
  },
  coinbaseexchange: {
    marketId: 'BTC-USDT',
    exact: true,
    channels: ['ticker', 'trades'],
    replies: [
      [
        /"ticker"/,
        {
          type: 'ticker',
          sequence: 1,
          product_id: 'BTC-USDT',
          price: '100.50',
          open_24h: '90.00',
          volume_24h: '1000.0',
          low_24h: '80.00',
          high_24h: '110.00',
          volume_30d: '1',
          best_bid: '100.40',
          best_ask: '100.60',
          side: 'buy',
          time: ISO,
          trade_id: 42,
          last_size: '0.250',
        },
      ],
      [
        /"matches"/,
        {
          type: 'match',
          trade_id: 42,
          maker_order_id: 'a',
          taker_order_id: 'b',
          side: 'sell',
          size: '0.250',
          price: '100.50',
          product_id: 'BTC-USDT',
          sequence: 1,
          time: ISO,
        },
      ],
    ],
  },
}

function result(content: object): object {
  return { code: 0, id: 1, method: 'subscribe', result: content }
}

function notified(channel: string, data: unknown): object {
  return { jsonrpc: '2.0', method: 'subscription', params: { channel, data } }
}

function levels(...sides: readonly string[][][]): object {
  const side = (one: readonly string[][]) => one.map(([px, sz]) => ({ px, sz, n: 1 }))
  return { channel: 'l2Book', data: { coin: 'BTC/USDT', time: TIME, levels: sides.map(side) } }
}
