import type { Level } from '../../market/event.ts'
import { venuePair } from '../../market/symbol.ts'
import { createDialect } from '../../player/venues/coinbase.ts'
import type { Market, MarketTrade } from '../market.ts'
import { bookStream, tradeStream } from '../streams.ts'
import { isoText, levelsText, limitOf, noSize } from '../text.ts'
import type { RestAnswer, RestRequest, Stream, Wire } from '../wire.ts'

/** Of trades: a market's updates and trades share no numbers at Coinbase; it only grows. */
const sequenceOf = (market: Market): number => market.lastUpdate

const nameOf = ({ base, quote }: Market): string => `${base}-${quote}`

/** Coinbase Exchange feed: https://docs.cdp.coinbase.com/exchange/websocket-feed/overview */
export function createWire(): Wire {
  return {
    id: 'coinbase',
    dialect: createDialect(),
    symbols: ['BTC/USD', 'ETH/USD', 'SOL/USD'],
    keyOf: (symbol) => venuePair(symbol, (base, quote) => `${base}-${quote}`),
    // All names of a channel have the same frames.
    feedKey: () => '',
    open(ask, _path, markets) {
      const market = markets.find(ask.symbol)
      return market && streamOf(market, ask.stream.slice(0, ask.stream.indexOf('|')))
    },
    rest,
    limits: {
      messages: { count: 100, perMs: 1_000 },
      connects: { count: 8, perMs: 1_000 },
      subscribeWithinMs: 5_000,
      rest: { count: 10, perMs: 1_000 },
      excess: (limit) =>
        limit === 'messages' || limit === 'subscribes'
          ? ['{"type":"error","message":"Rate limit exceeded","reason":"too many messages"}']
          : [],
    },
  }
}

function streamOf(market: Market, channel: string): Stream | undefined {
  const name = nameOf(market)
  switch (channel) {
    case 'level2':
      return bookStream(market, { depth: Number.POSITIVE_INFINITY }, (kind, now, bids, asks) =>
        kind === 'snapshot' ? snapshotText(name, now, bids, asks) : updateText(name, now, bids, asks),
      )
    case 'matches':
      return tradeStream(
        market,
        (trade, now) => matchText('match', name, trade, now),
        (now) => [matchText('last_match', name, now.lastTrade, now)],
      )
    case 'ticker':
      return {
        ...tradeStream(market, (_, now) => tickerText(name, now)),
        begin: (now) => [tickerText(name, now)],
      }
    case 'heartbeat':
      // Comes once a second, from the dialect.
      return { markets: [market], step: () => {} }
    default:
      return undefined
  }
}

function snapshotText(name: string, now: Market, bids: readonly Level[], asks: readonly Level[]): string {
  return `{"type":"snapshot","product_id":"${name}","asks":${levelsText(asks)},"bids":${levelsText(bids)},"time":"${isoText(now.time)}"}`
}

function updateText(name: string, now: Market, bids: readonly Level[], asks: readonly Level[]): string {
  const gone = noSize(now)
  const changes = (side: string, levels: readonly Level[]) =>
    levels.map(([price, size]) => `["${side}","${price}","${size === '0' ? gone : size}"]`)
  const all = [...changes('buy', bids), ...changes('sell', asks)].join(',')
  return `{"type":"l2update","product_id":"${name}","changes":[${all}],"time":"${isoText(now.time)}"}`
}

/** `side` is the maker's. */
function matchText(type: string, name: string, trade: MarketTrade, now: Market): string {
  const { id, price, size, takerBuys, time } = trade
  return (
    `{"type":"${type}","trade_id":${id},"maker_order_id":"${orderId(id, 1)}","taker_order_id":"${orderId(id, 2)}",` +
    `"side":"${takerBuys ? 'sell' : 'buy'}","size":"${size}","price":"${price}","product_id":"${name}",` +
    `"sequence":${sequenceOf(now)},"time":"${isoText(time)}"}`
  )
}

function orderId(id: number, party: number): string {
  return `0000000${party}-0000-4000-8000-${String(id).padStart(12, '0')}`
}

function tickerText(name: string, now: Market): string {
  const { book, day, lastTrade } = now
  const [bid, bidSize] = book.at('bids', 0)!
  const [ask, askSize] = book.at('asks', 0)!
  return (
    `{"type":"ticker","sequence":${sequenceOf(now)},"product_id":"${name}","price":"${lastTrade.price}",` +
    `"open_24h":"${day.open}","volume_24h":"${day.volume}","low_24h":"${day.low}","high_24h":"${day.high}",` +
    `"volume_30d":"${day.volume}","best_bid":"${bid}","best_bid_size":"${bidSize}","best_ask":"${ask}",` +
    `"best_ask_size":"${askSize}","side":"${lastTrade.takerBuys ? 'buy' : 'sell'}","time":"${isoText(now.time)}",` +
    `"trade_id":${lastTrade.id},"last_size":"${lastTrade.size}"}`
  )
}

// REST

const json = (value: unknown, headers?: RestAnswer['headers']): RestAnswer => ({
  body: JSON.stringify(value),
  ...(headers && { headers }),
})

function rest({ path, query, markets, bookOf }: RestRequest): RestAnswer | undefined {
  if (path === '/time') return json({ iso: new Date().toISOString(), epoch: Date.now() / 1_000 })
  if (path === '/products') return json(markets.all.map(product))
  const [, name = '', what] = /^\/products\/([^/]+)(?:\/(\w+))?$/.exec(path) ?? []
  if (name === '') return undefined
  const market = markets.find(decodeURIComponent(name))
  if (!market) return { status: 404, body: '{"message":"NotFound"}' }
  switch (what) {
    case undefined:
      return json(product(market))
    case 'book': {
      const then = bookOf(market)
      const depth = query.get('level') === '2' ? Number.POSITIVE_INFINITY : 1
      const side = (levels: readonly Level[]) => levels.map(([price, size]) => [price, size, 1])
      return json({
        bids: side(then.book.top('bids', depth)),
        asks: side(then.book.top('asks', depth)),
        sequence: sequenceOf(then),
        time: isoText(then.time),
      })
    }
    case 'trades':
      return trades(market, query)
    case 'ticker':
      return json(tickerFields(market))
    case 'candles':
      return candles(market, query)
    default:
      return undefined
  }
}

/** Newest first; `after`: those older than this id, `before`: those newer. The headers name the page's ends. */
function trades({ trades: all }: Market, query: URLSearchParams): RestAnswer {
  const after = Number(query.get('after') ?? Number.POSITIVE_INFINITY)
  const before = Number(query.get('before') ?? Number.NEGATIVE_INFINITY)
  const limit = limitOf(query, 1_000, 1_000)
  const page = all
    .filter(({ id }) => id < after && id > before)
    .slice(-limit)
    .reverse()
  const ends: Record<string, string> =
    page.length > 0 ? { 'cb-before': String(page[0]!.id), 'cb-after': String(page.at(-1)!.id) } : {}
  return json(
    page.map(({ id, price, size, takerBuys, time }) => ({
      time: isoText(time),
      trade_id: id,
      price,
      size,
      side: takerBuys ? 'sell' : 'buy',
    })),
    ends,
  )
}

function candles(market: Market, query: URLSearchParams): RestAnswer {
  const seconds = Number(query.get('granularity') ?? 60)
  if (![60, 300, 900, 3_600, 21_600, 86_400].includes(seconds))
    return { status: 400, body: '{"message":"Unsupported granularity"}' }
  const list = market.candles
    .list(seconds * 1_000_000)
    .slice(-300)
    .reverse()
  return json(
    list.map(({ openTime, low, high, open, close, volume }) => [
      openTime / 1_000_000,
      ...[low, high, open, close, volume].map(Number),
    ]),
  )
}

function tickerFields(market: Market): object {
  const { lastTrade, book, day, time } = market
  return {
    trade_id: lastTrade.id,
    price: lastTrade.price,
    size: lastTrade.size,
    time: isoText(time),
    bid: book.at('bids', 0)![0],
    ask: book.at('asks', 0)![0],
    volume: day.volume,
  }
}

function product(market: Market): object {
  const { base, quote, tick, lot } = market
  return {
    id: nameOf(market),
    base_currency: base,
    quote_currency: quote,
    quote_increment: tick,
    base_increment: lot,
    display_name: `${base}/${quote}`,
    min_market_funds: '1',
    margin_enabled: false,
    post_only: false,
    limit_only: false,
    cancel_only: false,
    status: 'online',
    status_message: '',
    trading_disabled: false,
    fx_stablecoin: false,
    auction_mode: false,
  }
}
