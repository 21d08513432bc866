import type { Level } from '../../market/event.ts'
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

/** Binance spot, and USDⓈ-M futures, whose messages are of the same form. */
export function createDialect(): Dialect {
  return {
    id: 'binance',
    recognises: (text) =>
      /^wss?:\/\/[^/]*\bbinance\./.test(text) ||
      /^\{"stream":"[^"]+@/.test(text) ||
      /^\{"e":"\w+","E":\d+/.test(text) ||
      /^\{"u":\d+,"s":"/.test(text),
    read,
    request: (message) => (isFields(message) ? requestOf(message) : undefined),
    requestInUrl,
    adapt,
    restBook(url) {
      const symbol = url.searchParams.get('symbol')
      if (!url.pathname.endsWith('/depth') || !symbol) return undefined
      const limit = Number(url.searchParams.get('limit') ?? 100)
      return { stream: `${symbol.toLowerCase()}@depth`, limit: limit > 0 ? limit : 100 }
    },
    readRestBook(body) {
      const fields = parseJson(body)
      const { lastUpdateId, bids, asks } = (isFields(fields) ? fields : {}) as Fields
      return { snapshot: true, last: Number(lastUpdateId), bids: levelsOf(bids), asks: levelsOf(asks) }
    },
    writeRestBook: (mirror, limit) =>
      `{"lastUpdateId":${mirror.last ?? 0},"bids":${JSON.stringify(mirror.book.top('bids', limit))},` +
      `"asks":${JSON.stringify(mirror.book.top('asks', limit))}}`,
    faults: {
      // `t` is a trade's id only where the frame is a trade; elsewhere it is a time.
      ids: /"(U|u|pu|lastUpdateId|a|f|l|L|t(?=":\d+,"p"))":(\d+)/g,
      absurdTime: (frame) => frame.replace(/"(E|T)":\d+/g, '"$1":-62135596800000'),
      unknownType: (count) => `{"e":"marketWhisper","E":${Date.now()},"s":"BTCUSDT","n":${count}}`,
      shutdown: (path) => {
        const event = `{"e":"serverShutdown","E":${Date.now()}}`
        return combined(path) ? `{"stream":"!serverShutdown","data":${event}}` : event
      },
      olderRestBook: (body) =>
        body.replace(/"lastUpdateId":(\d+)/, (_, id: string) => `"lastUpdateId":${BigInt(id) - 1_000_000n}`),
      badSymbol: '{"code":-1121,"msg":"Invalid symbol."}',
    },
  }
}

function read(frame: string): Recorded {
  const message = parseJson(frame)
  if (!isFields(message)) return { kind: 'notice' }
  const payload = isFields(message.data) ? message.data : message
  const named = typeof message.stream === 'string' ? message.stream : nameOf(payload)
  if (named === undefined) return { kind: 'result' in message || 'error' in message ? 'answer' : 'notice' }
  const stream = plain(named)
  const symbol = symbolOf(stream)
  if (payload.e === 'depthUpdate') {
    const bids = levelsOf(payload.b)
    const asks = levelsOf(payload.a)
    // Futures: `pu` is the `u` of the message before; spot: `U` follows it.
    const first = typeof payload.pu === 'number' ? payload.pu + 1 : Number(payload.U)
    const book = { snapshot: false, bids, asks, first, last: Number(payload.u) }
    return { kind: 'data', stream, symbol, book, provable: true, amounts: [...bids, ...asks].map(amountOf) }
  }
  if (payload.e === 'aggTrade' || payload.e === 'trade') {
    const id = Number(payload.e === 'trade' ? payload.t : payload.a)
    return { kind: 'data', stream, symbol, trade: { id }, provable: true, amounts: [`"${payload.q}"`] }
  }
  return { kind: 'data', stream, symbol, ...(payload.B === undefined ? {} : { amounts: [`"${payload.B}"`] }) }
}

const amountOf = (level: Level): string => `"${level[1]}"`

/** The stream of a payload that came without its name. */
function nameOf(payload: Fields): string | undefined {
  if (typeof payload.s !== 'string') return undefined
  const symbol = payload.s.toLowerCase()
  switch (payload.e) {
    case 'depthUpdate':
      return `${symbol}@depth`
    case 'trade':
    case 'aggTrade':
      return `${symbol}@${payload.e}`
    case '24hrTicker':
      return `${symbol}@ticker`
    case '24hrMiniTicker':
      return `${symbol}@miniTicker`
    case 'markPriceUpdate':
      return `${symbol}@markPrice`
    case 'kline':
      return `${symbol}@kline_${isFields(payload.k) ? payload.k.i : ''}`
    case undefined:
      return 'B' in payload && 'A' in payload ? `${symbol}@bookTicker` : undefined
    default:
      return `${symbol}@${payload.e}`
  }
}

/** Without the speed: `btcusdt@depth` for `btcusdt@depth@100ms`. */
function plain(name: string): string {
  return name.replace(/@\d+(ms|s)$/, '')
}

function symbolOf(stream: string): string {
  return stream.startsWith('!') ? '' : stream.slice(0, stream.indexOf('@') >>> 0).toUpperCase()
}

function askOf(name: string): Ask {
  const stream = plain(name)
  return { stream, symbol: symbolOf(stream), channel: name }
}

function requestOf(message: Fields): ReturnType<Dialect['request']> {
  const { method, params } = message
  if (typeof method !== 'string' || method !== method.toUpperCase()) return undefined
  const id = JSON.stringify(message.id ?? null)
  const done = `{"result":null,"id":${id}}`
  if (method === 'SUBSCRIBE' || method === 'UNSUBSCRIBE') {
    const kind = method === 'SUBSCRIBE' ? 'subscribe' : 'unsubscribe'
    // The venue acknowledges a stream of a symbol it does not have, and sends nothing.
    return { kind, asks: textsOf(params).map(askOf), answer: () => [done] }
  }
  if (method === 'LIST_SUBSCRIPTIONS')
    return {
      kind: 'subscribe',
      asks: [],
      answer: (_, __, held) => [`{"result":${JSON.stringify(held.map((ask) => ask.channel))},"id":${id}}`],
    }
  return {
    kind: 'other',
    frames: [`{"error":{"code":2,"msg":"Invalid request: unknown method"},"id":${id}}`],
  }
}

/** `/stream?streams=a/b` and `/ws/a/b`, below whatever path. */
function requestInUrl(url: URL): ReturnType<NonNullable<Dialect['requestInUrl']>> {
  const raw = /\/ws\/(.+)$/.exec(url.pathname)?.[1]
  const names = (combined(url.pathname) ? url.searchParams.get('streams') : raw)?.split('/').filter(Boolean)
  if (!names || names.length === 0) return undefined
  return { kind: 'subscribe', asks: names.map((name) => askOf(decodeURIComponent(name))), answer: () => [] }
}

export const combined = (path: string): boolean => /\/stream\/?$/.test(path)

/** `/stream` wraps a payload with its name, `/ws` does not, whichever way it was recorded. */
function adapt(frame: string, recorded: Recorded, path: string, ask: Ask | undefined): string {
  const wrapped = /^\{"stream":"([^"]+)","data":/.exec(frame)
  if (wrapped && /\/ws(\/|$)/.test(path)) return frame.slice(wrapped[0].length, -1)
  if (wrapped || !combined(path) || !recorded.stream) return frame
  return `{"stream":"${ask?.channel ?? recorded.stream}","data":${frame}}`
}
