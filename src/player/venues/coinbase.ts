import {
  type Ask,
  type Dialect,
  type Fields,
  isFields,
  levelsOf,
  parseJson,
  type Recorded,
  textsOf,
} from '../dialect.ts'

/** A heartbeat comes once a second for each product; a recorded one may be a little late. */
const HEARTBEAT_MS = 1_200
/** Names that a client may use for one stream. */
const STREAMS: Readonly<Record<string, string>> = {
  level2_batch: 'level2',
  level2_50: 'level2',
  ticker_batch: 'ticker',
  ticker_1000: 'ticker',
}
const STREAM_OF_TYPE: Readonly<Record<string, string>> = {
  snapshot: 'level2',
  l2update: 'level2',
  match: 'matches',
  last_match: 'matches',
  received: 'full',
  open: 'full',
  done: 'full',
  change: 'full',
}

/** Coinbase Exchange feed. */
export function createDialect(): Dialect {
  return {
    id: 'coinbase',
    recognises: (text) =>
      /^wss?:\/\/ws-feed[^/]*\bcoinbase\.com/.test(text) ||
      /^\{"type":"(subscriptions|snapshot|l2update|ticker|match|last_match|heartbeat)",/.test(text),
    read,
    request: (message, held) => (isFields(message) ? requestOf(message, held) : undefined),
    heartbeats: (state) =>
      state.asks.flatMap((ask) => {
        if (!ask.stream.startsWith('heartbeat|') || state.streamIdleMs(ask.stream) < HEARTBEAT_MS) return []
        // The venue names the last trade. One that is not known must not be invented: a client would miss trades.
        const trade = state.lastTrade(ask.symbol)
        if (!trade) return []
        const sequence = trade.sequence ?? 0
        return `{"type":"heartbeat","last_trade_id":${trade.id},"product_id":${JSON.stringify(ask.symbol)},"sequence":${sequence},"time":"${new Date().toISOString().replace('Z', '000Z')}"}`
      }),
    bookFrame: (_kind, ask, bids, asks) =>
      `{"type":"snapshot","product_id":${JSON.stringify(ask.symbol)},"asks":${JSON.stringify(asks)},"bids":${JSON.stringify(bids)}}`,
    faults: {
      ids: /"(trade_id|last_trade_id|sequence)":(\d+)/g,
      absurdTime: (frame) => frame.replace(/"time":"[^"]*"/, '"time":"0001-01-01T00:00:00.000000Z"'),
      unknownType: (count) => `{"type":"whisper","product_id":"BTC-USD","count":${count}}`,
    },
  }
}

function read(frame: string): Recorded {
  const message = parseJson(frame)
  if (!isFields(message) || typeof message.type !== 'string') return { kind: 'notice' }
  const { type, product_id: symbol } = message
  if (type === 'subscriptions' || type === 'error') return { kind: 'answer' }
  if (typeof symbol !== 'string') return { kind: 'notice' }
  const stream = `${STREAM_OF_TYPE[type] ?? STREAMS[type] ?? type}|${symbol}`
  if (type === 'snapshot') {
    const book = { snapshot: true, bids: levelsOf(message.bids), asks: levelsOf(message.asks) }
    return { kind: 'data', stream, symbol, book }
  }
  if (type === 'l2update') {
    const changes = Array.isArray(message.changes) ? message.changes.filter((one) => Array.isArray(one)) : []
    const side = (name: string) =>
      levelsOf(changes.filter((one) => one[0] === name).map((one) => one.slice(1)))
    const book = { snapshot: false, bids: side('buy'), asks: side('sell') }
    return { kind: 'data', stream, symbol, book, amounts: changes.map((one) => `"${one[2]}"`) }
  }
  if (type === 'match' || type === 'last_match') {
    const trade = { id: Number(message.trade_id), sequence: Number(message.sequence) }
    return { kind: 'data', stream, symbol, trade, provable: type === 'match', amounts: [`"${message.size}"`] }
  }
  return { kind: 'data', stream, symbol }
}

function requestOf(message: Fields, held: readonly Ask[]): ReturnType<Dialect['request']> {
  const { type } = message
  if (type !== 'subscribe' && type !== 'unsubscribe') return undefined
  const common = textsOf(message.product_ids)
  const asks: Ask[] = []
  for (const item of Array.isArray(message.channels) ? message.channels : []) {
    const channel = isFields(item) ? String(item.name) : String(item)
    const name = STREAMS[channel] ?? channel
    const own = isFields(item) ? textsOf(item.product_ids) : []
    const products = [...new Set([...common, ...own])]
    if (products.length === 0 && type === 'unsubscribe')
      asks.push(...held.filter((ask) => ask.stream.startsWith(`${name}|`)))
    for (const symbol of products) asks.push({ stream: `${name}|${symbol}`, symbol, channel })
  }
  return { kind: type, asks, whole: true, answer }
}

/**
 * The venue answers with all that the connection is subscribed to by then. It ignores a message with a bad product:
 * https://github.com/coinbase/coinbase-pro-node/issues/174
 */
function answer(_accepted: readonly Ask[], refused: readonly Ask[], held: readonly Ask[]): string[] {
  const channels = new Map<string, string[]>()
  for (const { channel, symbol } of held) channels.set(channel, [...(channels.get(channel) ?? []), symbol])
  const list = [...channels].map(([name, products]) => ({ name, product_ids: products }))
  const errors = [...new Set(refused.map((ask) => ask.symbol))].map(
    (symbol) =>
      `{"type":"error","message":"Failed to subscribe","reason":${JSON.stringify(`${symbol} is not a valid product`)}}`,
  )
  if (errors.length > 0) return errors
  return [`{"type":"subscriptions","channels":${JSON.stringify(list)}}`]
}
