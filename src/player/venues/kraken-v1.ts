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
import type { Mirror } from '../mirror.ts'

/** The venue sends one when it was silent for a second. */
const HEARTBEAT_MS = 900
/** Of pairs that the recording does not hold; above any of the venue's own. */
const FIRST_MADE_ID = 1_000_000
const DEFAULT_DEPTH = 10
const GONE = '0.00000000'

/**
 * Kraken's first WebSocket protocol: arrays with the channel and the pair at their end. `ids`: channel ids by stream, the
 * recorded ones where there are any; bounded by what clients may ask in their messages.
 */
export function createDialect(ids = new Map<string, number>()): Dialect {
  let made = FIRST_MADE_ID
  const idOf = (stream: string): number => {
    const known = ids.get(stream)
    if (known !== undefined) return known
    ids.set(stream, ++made)
    return made
  }

  return {
    id: 'kraken-v1',
    recognises: (text) =>
      /^wss?:\/\/[^/]*\bkraken\.com(?!.*\/v2)/.test(text) ||
      /^\[\d+,.*,"[a-z]+(-\d+)?","[^"]+"\]$/.test(text) ||
      /"event":"(systemStatus|subscriptionStatus)"/.test(text),
    learn(frame) {
      const match = /^\[(\d+),.*,"([a-z]+(?:-\d+)?)","([^"]+)"\]$/.exec(frame)
      if (match) ids.set(streamOf(match[2]!, match[3]!), Number(match[1]))
    },
    read,
    request(message) {
      if (!isFields(message) || typeof message.event !== 'string') return undefined
      const reqid = message.reqid === undefined ? '' : `,"reqid":${JSON.stringify(message.reqid)}`
      if (message.event === 'ping') return { kind: 'ping', frames: [`{"event":"pong"${reqid}}`] }
      if (message.event === 'subscribe' || message.event === 'unsubscribe')
        return subscription(message, message.event, reqid, idOf)
      return { kind: 'other', frames: ['{"errorMessage":"Unknown event","event":"error"}'] }
    },
    greeting: () =>
      `{"connectionID":${Math.floor(Math.random() * 2 ** 52)},"event":"systemStatus","status":"online","version":"1.9.6"}`,
    heartbeats: (state) =>
      state.asks.length > 0 && state.idleMs >= HEARTBEAT_MS ? ['{"event":"heartbeat"}'] : [],
    bookFrame(kind, ask, bids, asks, mirror) {
      const depth = ask.depth ?? DEFAULT_DEPTH
      const end = `"book-${depth}",${JSON.stringify(ask.symbol)}]`
      const time = mirror.time.toFixed(6)
      if (kind === 'snapshot')
        return `[${idOf(ask.stream)},{"as":${levels(asks, time)},"bs":${levels(bids, time)}},${end}`
      const maps = []
      if (asks.length > 0) maps.push(`"a":${levels(asks, time)}`)
      if (bids.length > 0) maps.push(`"b":${levels(bids, time)}`)
      maps.push(`${maps.pop()},"c":"${mirror.checksum}"`)
      return `[${idOf(ask.stream)},${maps.map((map) => `{${map}}`).join(',')},${end}`
    },
    faults: {
      levelText: (price, size) => `"${price}","${size}"`,
      absurdTime: (frame) => frame.replace(/"\d{9,}\.\d{6}"/, '"-62135596800.000000"'),
      unknownType: (count) => `{"event":"whisper","count":${count}}`,
      shutdown: () => '{"connectionID":0,"event":"systemStatus","status":"maintenance","version":"1.9.6"}',
      twoMaps,
    },
  }
}

/** What a level has beyond price and size: the time it was recorded with, else that of the book. */
function levels(list: readonly Level[], time: string): string {
  return JSON.stringify(
    list.map(([price, size, recorded]: readonly (string | undefined)[]) => [
      price,
      size === '0' ? GONE : size,
      recorded ?? time,
    ]),
  )
}

function streamOf(name: string, pair: string): string {
  return `${name.replace(/^book-\d+$/, 'book')}|${pair}`
}

function read(frame: string): Recorded {
  const message = parseJson(frame)
  if (isFields(message)) {
    const own =
      message.event === 'subscriptionStatus' || message.event === 'pong' || message.event === 'error'
    return { kind: own ? 'answer' : 'notice' }
  }
  if (!Array.isArray(message) || message.length < 4) return { kind: 'notice' }
  const name = String(message.at(-2))
  const symbol = String(message.at(-1))
  const stream = streamOf(name, symbol)
  if (!name.startsWith('book')) {
    const trades = name === 'trade' ? levelsOf(message[1]) : []
    return { kind: 'data', stream, symbol, amounts: trades.map((trade) => `"${trade[1]}"`) }
  }
  const maps = message.slice(1, -2).filter(isFields)
  const side = (long: string, short: string) => maps.flatMap((map) => levelsOf(map[long] ?? map[short]))
  const bids = side('bs', 'b')
  const asks = side('as', 'a')
  const checksum = maps.at(-1)?.c
  const book = {
    snapshot: maps.some((map) => 'as' in map || 'bs' in map),
    bids,
    asks,
    depth: Number(name.slice('book-'.length)) || DEFAULT_DEPTH,
    ...(checksum === undefined ? {} : { checksum: String(checksum) }),
  }
  const amounts = [...asks, ...bids].map((level) => `"${level[1]}"`)
  return { kind: 'data', stream, symbol, book, provable: !book.snapshot, amounts }
}

function subscription(
  message: Fields,
  kind: 'subscribe' | 'unsubscribe',
  reqid: string,
  idOf: (stream: string) => number,
): ReturnType<Dialect['request']> {
  const wanted = isFields(message.subscription) ? message.subscription : {}
  const name = String(wanted.name ?? '')
  const depth = typeof wanted.depth === 'number' ? wanted.depth : DEFAULT_DEPTH
  const interval = typeof wanted.interval === 'number' ? wanted.interval : 1
  const channel = name === 'book' ? `book-${depth}` : name === 'ohlc' ? `ohlc-${interval}` : name
  const asks = textsOf(message.pair).map((symbol) => ({
    stream: streamOf(channel, symbol),
    symbol,
    channel,
    ...(name === 'book' ? { depth } : {}),
  }))
  const subscribed = JSON.stringify({
    ...(name === 'book' ? { depth } : name === 'ohlc' ? { interval } : {}),
    name,
  })
  const status = (ask: Ask) =>
    `{"channelID":${idOf(ask.stream)},"channelName":${JSON.stringify(channel)},"event":"subscriptionStatus",` +
    `"pair":${JSON.stringify(ask.symbol)}${reqid},"status":"${kind}d","subscription":${subscribed}}`
  const error = (ask: Ask) =>
    `{"errorMessage":${JSON.stringify(`Currency pair not supported ${ask.symbol}`)},"event":"subscriptionStatus",` +
    `"pair":${JSON.stringify(ask.symbol)}${reqid},"status":"error","subscription":${subscribed}}`
  return { kind, asks, answer: (accepted, refused) => [...accepted.map(status), ...refused.map(error)] }
}

/** A frame of one side gets a map of the other that restates its best level: the book, and its checksum, stay. */
function twoMaps(
  frame: string,
  recorded: Recorded,
  mirror: Pick<Mirror, 'book' | 'time'>,
): string | undefined {
  const match = /^\[(\d+),\{"(a|b)":(\[[^{}]*\]),"c":"(\d+)"\},("book-\d+","[^"]+"\])$/.exec(frame)
  if (!match || !recorded.book) return undefined
  const [, id, key, changes, checksum, end] = match
  const other = mirror.book.top(key === 'a' ? 'bids' : 'asks', 1)
  if (other.length === 0) return undefined
  const same = levels(other, mirror.time.toFixed(6))
  const [asks, bids] = key === 'a' ? [changes, same] : [same, changes]
  return `[${id},{"a":${asks}},{"b":${bids},"c":"${checksum}"},${end}`
}
