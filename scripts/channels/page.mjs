// A page of docs/channels, as Markdown.
import { TIERS } from '../../dist/auth/tiers.js'
import { eventMessage } from '../../dist/bus/kafka-messages.js'
import { KafkaTopics } from '../../dist/bus/kafka-topics.js'
import { CHANNELS } from '../../dist/market/event.js'
import { DELIVERY, ENVELOPE, PAYLOADS } from '../../dist/protocol/events.js'
import { DECIMAL } from '../../dist/protocol/fields.js'
import { GAP, PAGES } from './catalogue.mjs'

const TOPICS = new KafkaTopics()
const MADE = '<!-- Made by `npm run docs`: change scripts/channels/ or the schemas instead. -->'

const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
const block = (lines, language = '') => [`\`\`\`${language}`, ...[lines].flat(), '```'].join('\n')
const code = (text) => `\`${text}\``
const cell = (text) => String(text ?? '').replaceAll('|', '\\|')

function typeOf(schema) {
  if ('const' in schema) return code(JSON.stringify(schema.const))
  if (schema.enum) return schema.enum.length > 8 ? 'text' : schema.enum.map(code).join(' ')
  if (schema.type === 'array' && !Array.isArray(schema.items)) return `array of ${typeOf(schema.items)}`
  if (schema.type === 'array') return `\\[${schema.items.map(typeOf).join(', ')}\\]`
  if (schema.type === 'object') return `{ ${Object.keys(schema.properties).map(code).join(', ')} }`
  if (schema.type === 'string') return schema.pattern === DECIMAL ? 'decimal text' : 'text'
  return schema.type
}

function fieldsTable(fields) {
  const rows = Object.entries(fields).map(([name, schema]) => [
    code(name),
    typeOf(schema),
    '~optional' in schema ? '' : '✓',
    cell(schema.description),
  ])
  return table(['field', 'type', 'always', ''], rows)
}

/** Of `type`, which every event has, and the subject, which stands in the envelope, no row. */
function payloadTables(payloads) {
  const tables = payloads.map((name) => {
    const { type, eventId, conversationId, ...fields } = PAYLOADS[name].properties
    return fieldsTable(fields)
  })
  return tables.join('\n\n')
}

const arrows = (said) => said.map(({ from, text }) => `${from === 'client' ? '→' : '←'} ${text}`)

function tiersOf(channel) {
  const having = Object.values(TIERS).filter(({ channels }) => channels.has(channel))
  return having
    .map(({ name, bookDepth }) => {
      if (channel !== 'orderbook') return code(name)
      return `${code(name)} (${bookDepth === Infinity ? 'full depth' : `depth ${bookDepth}`})`
    })
    .join(', ')
}

function kafkaBlock(event) {
  const { key, value, headers } = eventMessage(event)
  const pairs = Object.entries(headers).map(([name, text]) => `${name}=${text}`)
  return block([
    `topic    ${TOPICS.of(event.topic.channel)}`,
    `key      ${key}`,
    `headers  ${pairs.join('  ')}`,
    `value    ${value}`,
  ])
}

function sqlPart(sql, rows) {
  if (rows.length === 0) throw new Error(`no rows: ${sql}`)
  const columns = Object.keys(rows[0])
  const show = (text) => cell(text?.replace(/^(\d{4}-\d\d-\d\d)T(.*)\+00:00$/, '$1 $2+00'))
  return `${block(`${sql.replaceAll(/ (?=(?:from|where|order by) )/g, '\n')};`, 'sql')}\n\n${table(
    columns,
    rows.map((row) => columns.map((column) => show(row[column]))),
  )}`
}

function originOf({ kind, fixture, source }) {
  const run = 'Everything else is what the running gateway made, at a clock that is set.'
  return fixture
    ? `The frames of the venue are those of [test/fixtures/${fixture}](../../test/fixtures/${fixture}), the socket to \`${kind}\` alone is not there. ${run}`
    : `The source is the demo's simulator \`${source}\`. ${run}`
}

/** The commands of a page; each works against `npm start`. */
function commands({ channel, demo, more = [] }, ask) {
  const subscribe = `npx wscat -c ws://localhost:8080/ws -H "X-API-Key: $KEY" -x '${JSON.stringify(ask)}' -w 3`
  const query = [`channel=${channel}`, demo].filter(Boolean).join('&')
  const history = demo ? `${channel}?${demo}&limit=3` : `${channel}?limit=3`
  const get = (path) => `curl -H "X-API-Key: $KEY" 'http://localhost:8080${path}'`
  return block([subscribe, get(`/v1/latest?${query}`), get(`/v1/history/${history}`), ...more], 'sh')
}

function configOf({ kind, subscription: { channel, symbol } }) {
  return block(
    [
      'sources:',
      `  - id: ${kind}`,
      `    kind: ${kind}`,
      `    subscriptions: [{ channel: ${channel}, symbols: ['${symbol}'] }]`,
    ],
    'yaml',
  )
}

export function askOf({ channel, symbols, options = {} }) {
  return { type: 'subscribe', id: 1, channel, symbols, ...options }
}

function facts(page, carriers) {
  const { channel, key } = page
  const { class: kind } = CHANNELS[channel]
  return table(
    ['', ''],
    [
      ['`type` of its events', code(CHANNELS[channel].type)],
      ['class', key ? `${kind}; key: ${key}` : kind],
      ['tiers', tiersOf(channel)],
      ['carried by', carriers],
      ['Kafka', `topic ${code(TOPICS.of(channel))}`],
    ],
  )
}

const RESUME =
  'A client that lost its connection gives the last `[epoch, seq]` that it has of each topic and gets exactly what came after it; what cannot be had again is named in `unrecovered`. Here the client lacks the last event:'

/** `seen`: what `record` noted, and the rows of the page's SQL. */
export function channelPage(page, carriers, { said, resumed, events, legacy, rows }) {
  const { channel, payloads, about, follows, recording, demo, sql } = page
  return `${[
    MADE,
    `# ${channel}`,
    about,
    facts(page, carriers),
    '## Fields',
    `Beside [those that every event has](README.md#what-every-event-has):`,
    payloadTables(payloads),
    '## As a client gets it',
    originOf(recording),
    block(arrows(said)),
    ...(legacy ? ['The same on `/ws/odds`:', block(arrows(legacy))] : []),
    '## Try it',
    demo
      ? '`KEY` is the key of `premium` that `npm start` prints.'
      : 'The simulators of `npm start` have no derivatives: these are answered there, and nothing follows. In `feedgate.yaml`:',
    ...(demo ? [] : [configOf(recording)]),
    commands(page, askOf(page)),
    '## Is anything missing?',
    `[By \`seq\`, \`prev\` and \`prevSent\`](README.md#is-anything-missing). ${follows}`,
    RESUME,
    block(arrows(resumed)),
    '## In Kafka',
    'The value is the event as it was made at ingest, for all clients alike:',
    kafkaBlock(events.at(-1)),
    '## In SQL',
    sqlPart(sql, rows),
  ].join('\n\n')}\n`
}

export function gapPage({ said, events, rows }) {
  const gap = events.find(({ type }) => type === 'gap')
  return `${[
    MADE,
    '# gap',
    GAP.about,
    '## Fields',
    'Beside [those that every event has](README.md#what-every-event-has):',
    payloadTables(GAP.payloads),
    '## As a client gets it',
    `Between two frames of the recording the venue's trade ids jump. ${originOf(GAP.recording)}`,
    block(arrows(said)),
    '## Try it',
    'All known holes, of every topic that the caller may see:',
    block('curl -H "X-API-Key: $KEY" \'http://localhost:8080/v1/gaps\'', 'sh'),
    '## Is anything missing?',
    GAP.follows,
    '## In Kafka',
    'Where the events of its topic are:',
    kafkaBlock(gap),
    '## In SQL',
    'Beside the events of its topic, and once more in a view of all gaps:',
    sqlPart(GAP.sql, rows),
  ].join('\n\n')}\n`
}

const MISSING = [
  'A topic is `source|channel|symbol`, of candles with the timeframe behind it. Within a topic and `epoch`, `seq` counts from 1 without a hole, in the gateway, in Kafka and in SQL alike. What a client is sent follows what it was sent before if one of these holds:',
  '- the `epoch` is the same, and `seq` is one more;\n- the `epoch` is the same, and `prev` is the `seq` before: in between something was left out on purpose (thinned, conflated, filtered, or beyond the depth);\n- the `epoch` is a new one, and `prevSent` is the `[epoch, seq]` before.',
  'Anything else is a hole: ask for it by `resume`. The snapshot that begins a subscription carries the `epoch` and `seq` of the last event it holds. `{"type":"heartbeat","intervalMs":5000,"heads":true}` asks to be told the newest position of each topic now and then, so that a missing end is found too. The [client](../../client/README.md) does all of this.',
]

const FRAMES = [
  'A frame has one event; with `?batch=true`, or `"batch":true` in `auth`, it has an array of all that is due, and `basic` always gets that. The trades of [trades](trades.md) for a client of `basic`:',
  'By the subprotocol `feedgate.v1.msgpack` frames are MessagePack and say the same, field for field; `?compress=true` has what clients share compressed once for all of them.',
]

/** `asBasic`: trades, as a client of `basic` gets them. */
export function indexPage(carriersOf, asBasic) {
  const rows = PAGES.map(({ channel, about, key }) => [
    `[${channel}](${channel}.md)`,
    CHANNELS[channel].class,
    key ?? '',
    tiersOf(channel),
    carriersOf(channel),
    about.split(/(?<=[.]) /)[0],
  ])
  const known = new Set(PAGES.map(({ channel }) => channel))
  const later = Object.keys(CHANNELS).filter((channel) => !known.has(channel))
  return `${[
    MADE,
    '# Channels',
    'What clients subscribe to, one page each, with an example that the running code made: [AsyncAPI](../../README.md#try-it) says the same for programs. Class **state**: the newest value of a key stands for older ones. **delta**: changes may be merged. **event**: none stands for another.',
    table(['channel', 'class', 'key', 'tiers', 'carried by', ''], rows),
    '[gap](gap.md) is an event of any of these topics: what the source is known to have missed.',
    `Derived channels can be asked for by name, and nothing produces them in this version: ${later.map(code).join(', ')}.`,
    '## What every event has',
    'Before the fields of its channel:',
    fieldsTable({
      v: { const: 1, description: 'version of this form' },
      type: { type: 'string', description: 'what it is' },
      ...ENVELOPE,
    }),
    'Behind them, put there by the gateway for this client:',
    fieldsTable(DELIVERY),
    'Prices and sizes are texts, as the venue wrote them, trailing zeros kept and exponents written out. Times are whole µs since the Unix epoch, UTC. A field that the venue does not tell is absent.',
    '## Frames',
    FRAMES[0],
    block(arrows(asBasic.said)),
    FRAMES[1],
    '## Is anything missing?',
    ...MISSING,
  ].join('\n\n')}\n`
}
