import { toDecimal } from '../../market/decimal.ts'
import type { Level } from '../../market/event.ts'
import {
  type Ask,
  type Dialect,
  type Fields,
  isFields,
  parseExact,
  parseJson,
  type Recorded,
  textsOf,
} from '../dialect.ts'

/** The venue sends one when it was silent for a second. */
const HEARTBEAT_MS = 900
const DEFAULT_DEPTH = 10
const DEPTHS = [10, 25, 100, 500, 1000]
/** Channels whose newest frame is their snapshot. */
const LATEST = new Set(['ticker', 'instrument'])

/** Kraken's WebSocket protocol v2. */
export function createDialect(): Dialect {
  /** Depths that the recorder asked for, by symbol. */
  const depths = new Map<string, number>()
  /** Newest frame of streams of `LATEST`; of `instrument` the snapshot. Bounded by the recording's symbols. */
  const latest = new Map<string, string>()

  return {
    id: 'kraken',
    recognises: (text) =>
      /^wss?:\/\/[^/]*\bkraken\.com.*\/v2/.test(text) ||
      /^\{"(channel|method)":"\w+",.*"(data|success)":/.test(text),
    learn(frame) {
      if (!frame.startsWith('{"method":"subscribe"')) return
      const message = parseJson(frame)
      const result = isFields(message) && isFields(message.result) ? message.result : {}
      if (result.channel === 'book' && typeof result.depth === 'number')
        depths.set(String(result.symbol), result.depth)
    },
    read(frame) {
      const recorded = read(frame, depths)
      const channel = recorded.stream?.split('|')[0] ?? ''
      if (LATEST.has(channel) && (channel === 'ticker' || frame.includes('"type":"snapshot"')))
        latest.set(recorded.stream!, frame)
      return recorded
    },
    request(message) {
      if (!isFields(message) || typeof message.method !== 'string') return undefined
      // Binance has this key too, in capitals and with a list of parameters.
      if (message.method !== message.method.toLowerCase()) return undefined
      const id = message.req_id === undefined ? '' : `,"req_id":${JSON.stringify(message.req_id)}`
      if (message.method === 'ping') return { kind: 'ping', frames: [`{"method":"pong"${id},${times()}}`] }
      if (message.method === 'subscribe' || message.method === 'unsubscribe')
        return subscription(message, message.method, id)
      return {
        kind: 'other',
        frames: [
          `{"error":"Unsupported method","method":${JSON.stringify(message.method)}${id},"success":false,${times()}}`,
        ],
      }
    },
    greeting: () => status('online'),
    heartbeats: (state) =>
      state.asks.length > 0 && state.idleMs >= HEARTBEAT_MS ? ['{"channel":"heartbeat"}'] : [],
    bookFrame(kind, ask, bids, asks, mirror) {
      const time = new Date(mirror.time * 1000).toISOString()
      return (
        `{"channel":"book","type":"${kind}","data":[{"symbol":${JSON.stringify(ask.symbol)},"bids":${levels(bids)},` +
        `"asks":${levels(asks)}${mirror.checksum === undefined ? '' : `,"checksum":${mirror.checksum}`},"timestamp":"${time}"}]}`
      )
    },
    latest(ask) {
      const frame = latest.get(ask.stream)
      return frame?.replace('"type":"update"', '"type":"snapshot"')
    },
    faults: {
      ids: /"(trade_id)":(\d+)/g,
      levelText: (price, size) => `"price":${price},"qty":${size}`,
      absurdTime: (frame) =>
        frame.replace(/"timestamp":"[^"]*"/, '"timestamp":"0001-01-01T00:00:00.000000Z"'),
      unknownType: (count) => `{"channel":"whisper","type":"update","data":[{"count":${count}}]}`,
      shutdown: () => status('maintenance'),
    },
  }
}

function status(system: string): string {
  const id = Math.floor(Math.random() * 2 ** 52)
  return `{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"${system}","api_version":"v2","connection_id":${id}}]}`
}

function times(): string {
  const now = new Date().toISOString().replace('Z', '000Z')
  return `"time_in":"${now}","time_out":"${now}"`
}

const levels = (list: readonly Level[]): string =>
  `[${list.map(([price, size]) => `{"price":${price},"qty":${size}}`).join(',')}]`

function read(frame: string, depths: ReadonlyMap<string, number>): Recorded {
  const message = frame.startsWith('{"channel":"book"') ? parseExact(frame) : parseJson(frame)
  if (!isFields(message)) return { kind: 'notice' }
  const { channel, type } = message
  if (typeof channel !== 'string')
    return { kind: 'method' in message || 'error' in message ? 'answer' : 'notice' }
  if (channel === 'status' || channel === 'heartbeat') return { kind: 'notice' }
  const first: unknown = Array.isArray(message.data) ? message.data[0] : undefined
  if (channel === 'instrument' || !isFields(first)) return { kind: 'data', stream: channel }
  const symbol = String(first.symbol)
  if (channel === 'book') return readBook(first, symbol, type === 'snapshot', depths)
  const stream = streamOf(channel, symbol, first.interval)
  if (channel !== 'trade') return { kind: 'data', stream, symbol }
  const trade = { id: Number(first.trade_id) }
  const quantities = [...frame.matchAll(/"qty":([\d.eE+-]+)/g)].map((match) => match[1]!)
  return { kind: 'data', stream, symbol, trade, provable: type === 'update', amounts: quantities }
}

function readBook(
  entry: Fields,
  symbol: string,
  snapshot: boolean,
  depths: ReadonlyMap<string, number>,
): Recorded {
  const bids = sideOf(entry.bids)
  const asks = sideOf(entry.asks)
  // Without the recorder's acknowledgement the snapshot tells: the venue has so many depths.
  const size = Math.max(bids.length, asks.length)
  const depth = depths.get(symbol) ?? (snapshot ? DEPTHS.find((one) => one >= size) : undefined)
  const book = {
    snapshot,
    bids,
    asks,
    ...(depth === undefined ? {} : { depth }),
    ...(entry.checksum === undefined ? {} : { checksum: String(entry.checksum) }),
  }
  const amounts = [...bids, ...asks].map((level) => level[1])
  return { kind: 'data', stream: `book|${symbol}`, symbol, book, provable: !snapshot, amounts }
}

function sideOf(value: unknown): Level[] {
  if (!Array.isArray(value)) return []
  const side: Level[] = []
  for (const level of value) {
    const price = toDecimal(String(level?.price))
    const size = toDecimal(String(level?.qty))
    if (price !== undefined && size !== undefined) side.push([price, size])
  }
  return side
}

function streamOf(channel: string, symbol: string, interval: unknown): string {
  return channel === 'ohlc' ? `ohlc-${interval ?? 1}|${symbol}` : `${channel}|${symbol}`
}

function subscription(
  message: Fields,
  kind: 'subscribe' | 'unsubscribe',
  id: string,
): ReturnType<Dialect['request']> {
  const params = isFields(message.params) ? message.params : {}
  const { channel: name, depth, interval, snapshot } = params
  const channel = String(name ?? '')
  const symbols = textsOf(params.symbol)
  const asks: Ask[] = (symbols.length > 0 ? symbols : ['']).map((symbol) => ({
    stream: symbol === '' ? channel : streamOf(channel, symbol, interval),
    symbol,
    channel,
    ...(channel === 'book' ? { depth: typeof depth === 'number' ? depth : DEFAULT_DEPTH } : {}),
    ...(snapshot === false ? { snapshot: false } : {}),
  }))
  const done = (ask: Ask) => {
    const result = {
      channel,
      ...(ask.depth === undefined ? {} : { depth: ask.depth }),
      ...(channel === 'ohlc' ? { interval: interval ?? 1 } : {}),
      ...(kind === 'subscribe' ? { snapshot: snapshot ?? channel !== 'trade' } : {}),
      ...(ask.symbol === '' ? {} : { symbol: ask.symbol }),
    }
    return `{"method":"${kind}"${id},"result":${JSON.stringify(result)},"success":true,${times()}}`
  }
  const failed = (ask: Ask) =>
    `{"error":${JSON.stringify(`Currency pair not supported ${ask.symbol}`)},"method":"${kind}"${id},` +
    `"success":false,"symbol":${JSON.stringify(ask.symbol)},${times()}}`
  return { kind, asks, answer: (accepted, refused) => [...accepted.map(done), ...refused.map(failed)] }
}
