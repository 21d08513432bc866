// What a page says that no schema says, and of which recording its example is made.

const STATE =
  'A newer value of a key stands for an older one: a slow or conflated client is sent fewer of them.'
const EVENT =
  'None is left out: the connection of a client of `premium` or `institutional` that is too slow for them is closed (4100). A frame of `basic` has the newest 500, and `slow` says that there were more.'
const OTHER = (channel, columns) =>
  `select t.source, t.symbol, e.event_time as time, ${columns} from events_other e join topics t on t.id = e.topic_id where t.channel = '${channel}' order by e.received_time`

/** What any exchange of ccxt may have, by what it can watch. */
export const OF_CCXT = ['ticker', 'trades', 'orderbook', 'ohlcv']

/** `demo`: what of it the demo has, as a query; absent: nothing. */
export const PAGES = [
  {
    channel: 'ticker',
    payloads: ['ticker'],
    about: 'Best bid and ask, and the figures of the day, as far as the venue tells them in one message.',
    key: 'one of each topic',
    follows: STATE,
    recording: {
      ...{ kind: 'kraken', source: 'kraken', fixture: 'kraken/feed.txt', has: /"channel":"ticker","type"/ },
      ...{ joinAfter: 1, subscription: { channel: 'ticker', symbol: 'BTC/USD' } },
    },
    symbols: ['BTC/*'],
    demo: 'symbol=BTC/USDT',
    sql: "select source, symbol, time, bid, bid_size, ask, ask_size, last, volume from tickers where symbol = 'BTC/USD' order by received_time",
  },
  {
    channel: 'trades',
    payloads: ['trade'],
    about: 'Every trade of the venue, once, by its id.',
    follows: `${EVENT} Where the ids of a venue grow by one, a jump is told as a [\`gap\`](gap.md), and what the venue still has of it follows, flagged \`backfilled\`.`,
    recording: {
      ...{ kind: 'bybit', source: 'bybit', fixture: 'bybit/linear.txt', has: /"topic":"publicTrade/ },
      ...{ joinAfter: 0, subscription: { channel: 'trades', symbol: 'BTC/USDT:USDT' } },
    },
    symbols: ['BTC/*'],
    demo: 'symbol=BTC/USDT',
    sql: "select source, symbol, time, id, price, size, side from trades where symbol = 'BTC/USDT:USDT' order by received_time",
  },
  {
    channel: 'orderbook',
    payloads: ['orderbook'],
    about:
      'The book: a snapshot, then every change of it. A client asks for the best 5, 10, 25 or 100 levels a side, or for all (`full`), and its view is exact at that depth: a level that is pushed out is sent with size `"0"`, one that comes in is sent.',
    key: 'price, within a side',
    follows:
      'Put the snapshot into two maps by price, then set the levels of each delta, or remove those of size `"0"`. Deltas of a conflated client are merged, so its book is the same. Snapshots have a `checksum`, and while the book changes at least one delta a second: CRC32 of `price:size` of the best 25 asks, then bids, joined by `|`. Where yours is another number, something is wrong: subscribe again.',
    recording: {
      ...{
        kind: 'bybit',
        source: 'bybit',
        fixture: 'bybit/linear.txt',
        has: /"topic":"orderbook.50.BTCUSDT"/,
      },
      ...{ joinAfter: 1, subscription: { channel: 'orderbook', symbol: 'BTC/USDT:USDT', limit: 50 } },
    },
    symbols: ['BTC/*'],
    options: { depth: 10 },
    demo: 'symbol=BTC/USDT',
    more: [
      'curl -H "X-API-Key: $KEY" \'http://localhost:8080/v1/orderbook?source=demo-crypto&symbol=BTC/USDT&depth=5\'',
    ],
    sql: "select source, symbol, time, seq, kind, bids, asks from order_book_events where symbol = 'BTC/USDT:USDT' order by received_time",
  },
  {
    channel: 'ohlcv',
    payloads: ['ohlcv'],
    about: 'Candles: the running one whenever it changes, and once with `closed: true` when it is complete.',
    key: '`openTime`; a closed candle is never left out',
    follows: STATE,
    recording: {
      ...{ kind: 'kraken', source: 'kraken', fixture: 'kraken/feed.txt', has: /"channel":"ohlc","type"/ },
      ...{ joinAfter: 1, subscription: { channel: 'ohlcv', symbol: 'BTC/USD', timeframe: '5m' } },
    },
    symbols: ['BTC/*'],
    demo: 'symbol=BTC/USDT&timeframe=1m',
    more: [
      'curl -H "X-API-Key: $KEY" \'http://localhost:8080/v1/candles?source=demo-crypto&symbol=BTC/USDT&timeframe=5m\'',
    ],
    sql: "select source, symbol, timeframe, time, open, high, low, close, volume, closed from candles where symbol = 'BTC/USD' order by received_time",
  },
  {
    channel: 'odds',
    payloads: ['oddsMarket', 'oddsPrice', 'oddsResult'],
    about:
      'Markets of an event, prices of their selections, and results. A `market` event is for the whole market at once: when it is suspended, none of its prices holds. `/ws/odds` gives the best back price of the first selection of each market alone, as the first system did.',
    key: '`kind`, `marketId`, `selectionId`, `side`, `level`; results are never left out',
    follows: `${STATE} A price belongs to the market whose \`version\` is its \`marketVersion\`.`,
    recording: {
      ...{ kind: 'simulator', source: 'demo-odds', steps: 2, joinAfter: 1 },
      subscription: { channel: 'odds', symbol: 'MATCH_002' },
      legacy: { ask: { type: 'subscribe', eventId: 'MATCH_002' }, answers: 3 },
    },
    symbols: ['MATCH_002'],
    demo: 'symbol=MATCH_002',
    more: [
      'npx wscat -c ws://localhost:8080/ws/odds -x \'{"type":"subscribe","eventId":"MATCH_002"}\' -w 3',
      'curl -H "X-API-Key: $KEY" http://localhost:8080/v1/odds/MATCH_002',
    ],
    sql: "select event_id, time, market, selection, side, level, odds, size from odds_prices where event_id = 'MATCH_002' order by received_time limit 3",
  },
  {
    channel: 'status',
    payloads: ['status'],
    about:
      "How far each message of a conversation has come. A client sees its own tenant's conversations; those of others are unknown to it. `/ws/status` gives the same in the form of the first system.",
    follows: EVENT,
    recording: {
      ...{ kind: 'simulator', source: 'demo-messages', steps: 7, joinAfter: 4 },
      subscription: { channel: 'status', symbol: 'demo/CONV_001' },
    },
    symbols: ['CONV_001'],
    demo: 'symbol=CONV_001',
    sql: "select tenant, conversation_id, time, message_id, status, channel from message_statuses where conversation_id = 'CONV_001' order by received_time",
  },
  {
    channel: 'funding',
    payloads: ['funding'],
    about:
      'Funding rate of a perpetual swap, when it is paid next, and the mark price. Venues tell them in messages of their own: an event has all that is known by then.',
    key: 'one of each topic',
    follows: STATE,
    recording: {
      ...{ kind: 'okx', source: 'okx', fixture: 'okx/public.txt', joinAfter: 1 },
      has: /"channel":"(funding-rate|mark-price)","instId":"BTC-USDT-SWAP"/,
      subscription: { channel: 'funding', symbol: 'BTC/USDT:USDT' },
    },
    symbols: ['BTC/*'],
    sql: OTHER('funding', "e.body::json ->> 'rate' as rate, e.body::json ->> 'markPrice' as mark_price"),
  },
  {
    channel: 'openinterest',
    payloads: ['openinterest'],
    about: 'Size of all open positions of a derivative.',
    key: 'one of each topic',
    follows: STATE,
    recording: {
      ...{ kind: 'bybit', source: 'bybit', fixture: 'bybit/linear.txt', has: /"topic":"tickers.BTCUSDT"/ },
      ...{ joinAfter: 1, subscription: { channel: 'openinterest', symbol: 'BTC/USDT:USDT' } },
    },
    symbols: ['BTC/*'],
    sql: OTHER('openinterest', "e.body::json ->> 'amount' as amount"),
  },
  {
    channel: 'liquidations',
    payloads: ['liquidation'],
    about: 'Positions that the venue closed by force, as far as it tells them.',
    follows: EVENT,
    recording: {
      ...{ kind: 'bybit', source: 'bybit', fixture: 'bybit/linear.txt', has: /"topic":"allLiquidation/ },
      ...{ joinAfter: 0, subscription: { channel: 'liquidations', symbol: 'BTC/USDT:USDT' } },
    },
    symbols: ['BTC/*'],
    sql: OTHER(
      'liquidations',
      "e.body::json ->> 'price' as price, e.body::json ->> 'size' as size, e.body::json ->> 'side' as side",
    ),
  },
  {
    channel: 'source',
    payloads: ['source'],
    about:
      'How the connection of a source is. These events come to every client that follows something of the source, asked for or not. What the gateway itself has to say of a source, when its cache is away for one, has the same fields without `epoch` and `seq`.',
    follows: EVENT,
    recording: {
      ...{
        kind: 'kraken',
        source: 'kraken',
        fixture: 'kraken/feed.txt',
        has: /"channel":"ticker","type":"snapshot"/,
      },
      ...{ joinAfter: 1, subscription: { channel: 'ticker', symbol: 'BTC/USD' } },
      end: 'closed by the venue (1006)',
    },
    symbols: ['*'],
    demo: 'source=demo-crypto',
    more: ['curl -H "X-API-Key: $KEY" http://localhost:8080/v1/sources'],
    sql: "select source, time, state, reason, attempt from source_states where source = 'kraken' and reason like 'closed%'",
  },
]

/** No channel: an event of any topic. */
export const GAP = {
  payloads: ['gap'],
  about:
    'A hole in the topic in which it stands: what lay between `fromTime` and `toTime` is not known, or came from elsewhere (`repairedBy`). It is an event as any other: numbered, stored, sent in its place. `resync` is a message of the gateway, without a number: a topic goes on from its newest value or a snapshot, as a book does after a gap, and as any topic does of which the gateway missed what the source did send.',
  follows:
    'A gap says what the *source* missed; `seq`, `prev` and `prevSent` say whether the *client* did. When the venue gives again what is missing, those events follow, flagged `backfilled`, and then the gap once more with `repairedBy`.',
  recording: {
    ...{ kind: 'kraken', source: 'kraken', fixture: 'kraken/feed.txt', has: /"channel":"trade","type"/ },
    ...{ joinAfter: 1, subscription: { channel: 'trades', symbol: 'MATIC/USD' } },
  },
  sql: "select source, channel, symbol, from_time, to_time, reason, repaired_by from known_gaps where symbol = 'MATIC/USD'",
}
