import type { EncodedEvent } from '../market/encoded-event.ts'
import { CHANNELS, type Micros } from '../market/event.ts'
import type { Topic } from '../market/topic.ts'

/**
 * Events whose bytes are wholly told by columns: trades and tickers in the usual shape. Taking one apart and putting it
 * together are written side by side here, and stay as they are whatever becomes of the encoder: an event in another shape
 * is not compact, and is stored with its bytes.
 */
export interface Compact {
  /** The columns of the table's own, in its order. */
  readonly own: readonly (string | undefined)[]
  /** µs from `receivedTime` to `publishedTime`. */
  readonly published: number
  /** Separated by commas. */
  readonly flags: string | undefined
  readonly venueFirst: number | undefined
  readonly venueLast: number | undefined
}

/** What of a row makes the event again; decimals as the database prints them. */
export interface CompactRow {
  readonly received_time: Micros
  readonly epoch: number
  readonly seq: number
  readonly event_time: Micros
  readonly published: number
  readonly flags: string | null
  readonly venue_first: number | null
  readonly venue_last: number | null
  readonly own: readonly (string | null)[]
}

export interface CompactShape {
  /** Undefined: not in the usual shape. */
  take(event: EncodedEvent): Compact | undefined
  text(topic: Topic, row: CompactRow): string
}

/** A decimal that numeric prints as it was sent: no needless zero in front, no negative zero. */
const DECIMAL = '(?!-0(?:\\.0+)?")-?(?:0|[1-9]\\d{0,99})(?:\\.\\d{1,99})?'
/** Below 2^53: it is a number without loss, and printed as it was. */
const INTEGER = '(0|[1-9]\\d{0,14}|[1-8]\\d{15})'
/** Neither escaped nor beyond ASCII. */
const PLAIN = '[ !#-\\[\\]-~]{1,256}'
const ENVELOPE =
  `^${INTEGER}(?:,"sourceTime":${INTEGER})?,"receivedTime":${INTEGER},"publishedTime":${INTEGER}` +
  `(?:,"flags":\\["([a-z]+(?:","[a-z]+)*)"\\])?(?:,"venueSeq":\\[${INTEGER},${INTEGER}\\])?`
/** Groups of the envelope; those of the fields come after. */
const FIRST_OWN = 8

interface Field {
  readonly name: string
  readonly pattern: string
  readonly required: boolean
}

const TRADE: readonly Field[] = [
  { name: 'id', pattern: PLAIN, required: false },
  { name: 'price', pattern: DECIMAL, required: true },
  { name: 'size', pattern: DECIMAL, required: true },
  { name: 'side', pattern: 'buy|sell|unknown', required: true },
]

const TICKER: readonly Field[] = [
  ...(['bid', 'bidSize', 'ask', 'askSize', 'last', 'open', 'high', 'low', 'volume'] as const),
].map((name) => ({ name, pattern: DECIMAL, required: false }))

function shapeOf(type: string, fields: readonly Field[]): CompactShape {
  const patterns = fields.map(({ name, pattern, required }) =>
    required ? `,"${name}":"(${pattern})"` : `(?:,"${name}":"(${pattern})")?`,
  )
  const shape = new RegExp(`${ENVELOPE}${patterns.join('')}\\}$`)
  const labels = fields.map(({ name }) => `,"${name}":"`)
  const heads = new Heads(type)
  return {
    take: (event) => take(event, heads.bytesOf(event.topic, event.epoch), shape),
    text: (topic, row) => {
      let text = heads.textOf(topic, row.epoch) + envelopeOf(row)
      for (let i = 0; i < labels.length; i++) {
        const value = row.own[i]
        if (value !== null && value !== undefined) text += `${labels[i]}${value}"`
      }
      return `${text}}`
    },
  }
}

function take(event: EncodedEvent, head: Buffer, shape: RegExp): Compact | undefined {
  const { bytes, receivedTime, eventTime } = event
  if (bytes.compare(head, 0, head.length, 0, head.length) !== 0) return undefined
  const found = shape.exec(bytes.toString('latin1', head.length))
  if (!found) return undefined
  const published = Number(found[4]) - receivedTime
  // A time of the venue's that is the time of receipt could not be told from none.
  const isTold =
    Number(found[1]) === event.seq &&
    Number(found[3]) === receivedTime &&
    (found[2] === undefined ? eventTime === receivedTime : eventTime !== receivedTime) &&
    Number(found[2] ?? found[3]) === eventTime
  if (!isTold || published !== (published | 0)) return undefined
  const venueFirst = found[6] === undefined ? undefined : Number(found[6])
  const venueLast = found[7] === undefined ? undefined : Number(found[7])
  return {
    own: found.slice(FIRST_OWN),
    published,
    flags: found[5]?.replaceAll('","', ','),
    venueFirst,
    venueLast,
  }
}

function envelopeOf(row: CompactRow): string {
  let text = String(row.seq)
  if (row.event_time !== row.received_time) text += `,"sourceTime":${row.event_time}`
  text += `,"receivedTime":${row.received_time},"publishedTime":${row.received_time + row.published}`
  if (row.flags !== null) text += `,"flags":["${row.flags.replaceAll(',', '","')}"]`
  if (row.venue_first !== null) text += `,"venueSeq":[${row.venue_first},${row.venue_last}]`
  return text
}

/** What is the same at the beginning of every event of a topic and epoch; the last of each topic is kept. */
class Heads {
  readonly #type: string
  readonly #known = new WeakMap<
    Topic,
    { readonly epoch: number; readonly text: string; readonly bytes: Buffer }
  >()

  constructor(type: string) {
    this.#type = type
  }

  bytesOf(topic: Topic, epoch: number): Buffer {
    return this.#of(topic, epoch).bytes
  }

  textOf(topic: Topic, epoch: number): string {
    return this.#of(topic, epoch).text
  }

  #of(topic: Topic, epoch: number) {
    const known = this.#known.get(topic)
    if (known?.epoch === epoch) return known
    const source = JSON.stringify(topic.source)
    const subject = `"${CHANNELS[topic.channel].subject}":${JSON.stringify(topic.publicSubject)}`
    const text = `{"v":1,"type":"${this.#type}","source":${source},${subject},"epoch":${epoch},"seq":`
    const head = { epoch, text, bytes: Buffer.from(text) }
    this.#known.set(topic, head)
    return head
  }
}

export const COMPACT_TRADE = shapeOf('trade', TRADE)
export const COMPACT_TICKER = shapeOf('ticker', TICKER)
