import type { Level } from '../../market/event.ts'
import { type Ask, type Dialect, isFields, levelsOf, parseJson, type Recorded, textsOf } from '../dialect.ts'

const CONNECTION_ID = 'd30fdpbboasp1pjbe7r0'

/** Bybit v5, public: https://bybit-exchange.github.io/docs/v5/ws/connect */
export function createDialect(): Dialect {
  return {
    id: 'bybit',
    recognises: (text) => /^wss?:\/\/[^/]*\bbybit\./.test(text) || /^\{"topic":"[a-zA-Z]+\./.test(text),
    read,
    request(message) {
      if (!isFields(message)) return undefined
      const { op } = message
      if (op === 'ping') return { kind: 'ping', frames: [answer('ping', 'pong', message.req_id)] }
      const topics = textsOf(message.args)
      if ((op !== 'subscribe' && op !== 'unsubscribe') || topics.length === 0) return undefined
      return {
        kind: op,
        // A topic that does not exist voids the message.
        whole: true,
        asks: topics.map(askOf),
        answer: (_, [bad]) => [
          bad
            ? answer(op, `error:handler not found,topic:${bad.channel}`, message.req_id, false)
            : answer(op, '', message.req_id),
        ],
      }
    },
    bookFrame(kind, ask, bids, asks, state) {
      const time = Math.floor(state.time * 1_000)
      return bookText(kind, ask.channel, ask.symbol, bids, asks, time, state.last ?? 0, state.last ?? 0)
    },
    faults: {
      ids: /"(u|seq)":(\d+)/g,
      absurdTime: (frame) => frame.replace(/"(ts|cts|T)":\d+/g, '"$1":-62135596800000'),
      unknownType: (count) => `{"topic":"whisper.BTCUSDT","type":"snapshot","data":{"count":${count}}}`,
    },
  }
}

function answer(op: string, said: string, requestId: unknown, success = true): string {
  const fields = { success, ret_msg: said, conn_id: CONNECTION_ID, req_id: requestId ?? '', op }
  return JSON.stringify(fields)
}

/** `orderbook.50.BTCUSDT` is a stream of its own for each depth: they are numbered apart. */
function askOf(topic: string): Ask {
  return { stream: topic, symbol: topic.slice(topic.lastIndexOf('.') + 1), channel: topic }
}

export function bookText(
  kind: 'snapshot' | 'update',
  topic: string,
  name: string,
  bids: readonly Level[],
  asks: readonly Level[],
  timeMs: number,
  update: number,
  sequence: number,
): string {
  const levels = (list: readonly Level[]) => JSON.stringify(list.map(([price, size]) => [price, size]))
  return (
    `{"topic":"${topic}","type":"${kind === 'update' ? 'delta' : kind}","ts":${timeMs},"data":{"s":"${name}",` +
    `"b":${levels(bids)},"a":${levels(asks)},"u":${update},"seq":${sequence}},"cts":${timeMs}}`
  )
}

function read(frame: string): Recorded {
  const message = parseJson(frame)
  if (!isFields(message)) return { kind: 'notice' }
  const { topic, type, data } = message
  if (typeof topic !== 'string') return { kind: 'op' in message ? 'answer' : 'notice' }
  const { stream, symbol } = askOf(topic)
  if (topic.startsWith('orderbook.') && isFields(data)) {
    const bids = levelsOf(data.b)
    const asks = levelsOf(data.a)
    const snapshot = type === 'snapshot'
    const book = { snapshot, bids, asks, first: Number(data.u), last: Number(data.u) }
    const amounts = [...bids, ...asks].map((level) => `"${level[1]}"`)
    return { kind: 'data', stream, symbol, book, provable: !snapshot, amounts }
  }
  const first: unknown = Array.isArray(data) ? data[0] : undefined
  if (!topic.startsWith('publicTrade.') || !isFields(first)) return { kind: 'data', stream, symbol }
  // Ids of derivatives are no numbers: nothing proves that one of those trades is missing.
  const trade = { id: Number(first.seq ?? 0) }
  return { kind: 'data', stream, symbol, trade, amounts: [`"${first.v}"`] }
}
