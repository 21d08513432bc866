import { CRC_START, crcText, crcValue } from '../../market/crc32.ts'
import type { Level } from '../../market/event.ts'
import {
  type Ask,
  type Dialect,
  type Fields,
  isFields,
  levelsOf,
  parseJson,
  type Recorded,
} from '../dialect.ts'

/** Levels a side of the channel `books`, and of its checksum. */
const DEPTH = 400
const HASHED_LEVELS = 25
const CONNECTION_ID = 'a4d3ae55'
/** Channels of a whole type of instruments: their name stands in the place of the instrument's. */
const NAMES = ['instId', 'instType', 'instFamily'] as const

/** OKX v5, the public and the business path: https://www.okx.com/docs-v5/en/#overview-websocket */
export function createDialect(): Dialect {
  return {
    id: 'okx',
    recognises: (text) => /^wss?:\/\/[^/]*\bokx\.com/.test(text) || /^\{"arg":\{"channel":"/.test(text),
    read,
    request(message) {
      if (message === 'ping') return { kind: 'ping', frames: ['pong'] }
      if (!isFields(message) || (message.op !== 'subscribe' && message.op !== 'unsubscribe')) return undefined
      const args = Array.isArray(message.args) ? message.args.filter(isFields) : []
      return args.length === 0 ? undefined : subscription(args, message.op, message.id)
    },
    bookFrame(kind, ask, bids, asks, state) {
      const ids = { last: state.last ?? 0, previous: -1 }
      const time = Math.floor(state.time * 1_000)
      return bookText(kind, ask.symbol, bids, asks, time, { ...ids, checksum: state.checksum ?? '0' })
    },
    faults: {
      ids: /"(seqId|prevSeqId)":(\d+)/g,
      levelText: (price, size) => `"${price}","${size}"`,
      absurdTime: (frame) => frame.replace(/"ts":"\d+"/, '"ts":"-62135596800000"'),
      unknownType: (count) => `{"arg":{"channel":"whisper"},"data":[{"count":"${count}"}]}`,
      shutdown: () =>
        `{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. Please reconnect.","connId":"${CONNECTION_ID}"}`,
    },
  }
}

export function bookText(
  kind: 'snapshot' | 'update',
  name: string,
  bids: readonly Level[],
  asks: readonly Level[],
  timeMs: number,
  {
    last,
    previous,
    checksum,
  }: { readonly last: number; readonly previous: number; readonly checksum: string },
): string {
  return (
    `{"arg":{"channel":"books","instId":"${name}"},"action":"${kind}","data":[{"asks":${levels(asks)},` +
    `"bids":${levels(bids)},"ts":"${timeMs}","checksum":${checksum},"seqId":${last},"prevSeqId":${previous}}]}`
  )
}

/** The third is no longer used, the fourth the number of orders. */
export function levels(list: readonly Level[]): string {
  return `[${list.map(([price, size]) => `["${price}","${size}","0","${size === '0' ? 0 : 1}"]`).join(',')}]`
}

/** CRC-32, signed, of the best 25 levels, bid and ask by turns. */
export function checksumOf(bids: readonly Level[], asks: readonly Level[]): number {
  const pieces: string[] = []
  for (let rank = 0; rank < HASHED_LEVELS; rank++)
    for (const level of [bids[rank], asks[rank]]) if (level) pieces.push(level[0], level[1])
  return crcValue(crcText(CRC_START, pieces.join(':'))) | 0
}

function streamOf(arg: Fields): string {
  const name = NAMES.map((key) => arg[key]).find((value) => typeof value === 'string')
  return `${arg.channel}|${name ?? ''}`
}

function read(frame: string): Recorded {
  const message = parseJson(frame)
  if (!isFields(message)) return { kind: frame === 'pong' ? 'answer' : 'notice' }
  const { arg, data, action, event } = message
  if (event === 'subscribe' || event === 'unsubscribe' || event === 'error') return { kind: 'answer' }
  if (!isFields(arg) || !Array.isArray(data)) return { kind: 'notice' }
  const stream = streamOf(arg)
  const first: unknown = data[0]
  const named = arg.instId ?? (isFields(first) ? first.instId : undefined)
  const symbol = typeof named === 'string' ? named : ''
  if (!isFields(first)) return { kind: 'data', stream, symbol }
  if (arg.channel === 'trades' || arg.channel === 'trades-all')
    return {
      ...{ kind: 'data', stream, symbol, provable: true, amounts: [`"${first.sz}"`] },
      trade: { id: Number(first.tradeId) },
    }
  if (arg.channel !== 'books') return { kind: 'data', stream, symbol }
  const bids = levelsOf(first.bids)
  const asks = levelsOf(first.asks)
  const book = {
    ...{ snapshot: action === 'snapshot', bids, asks, depth: DEPTH },
    ...{ first: Number(first.prevSeqId) + 1, last: Number(first.seqId) },
    ...(first.checksum === undefined ? {} : { checksum: String(first.checksum) }),
  }
  const amounts = [...asks, ...bids].map((level) => `"${level[1]}"`)
  return { kind: 'data', stream, symbol, book, provable: !book.snapshot, amounts }
}

function subscription(
  args: readonly Fields[],
  kind: 'subscribe' | 'unsubscribe',
  requestId: unknown,
): ReturnType<Dialect['request']> {
  const id = requestId === undefined ? '' : `"id":${JSON.stringify(requestId)},`
  const byStream = new Map(args.map((arg) => [streamOf(arg), arg]))
  const asks: Ask[] = [...byStream].map(([stream, arg]) => ({
    ...{ stream, symbol: String(arg.instId ?? ''), channel: String(arg.channel) },
  }))
  const done = ({ stream }: Ask) =>
    `{${id}"event":"${kind}","arg":${JSON.stringify(byStream.get(stream))},"connId":"${CONNECTION_ID}"}`
  const failed = ({ stream }: Ask) => {
    const arg = Object.entries(byStream.get(stream) ?? {}).map(([key, value]) => `${key}:${value}`)
    const why = `Wrong URL or ${arg.join(',')} doesn't exist. Please use the correct URL, channel and parameters referring to API document.`
    return `{${id}"event":"error","msg":${JSON.stringify(why)},"code":"60018","connId":"${CONNECTION_ID}"}`
  }
  return { kind, asks, answer: (accepted, refused) => [...accepted.map(done), ...refused.map(failed)] }
}
