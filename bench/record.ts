/**
 * Records events exactly once, as the recorder does: rows, heads and offsets in one transaction, batch after batch, while
 * a timer watches the event loop. On a server the same rows are then copied once more, by plain COPY into tables of the
 * same shape, and both are told beside each other. Then the time of typical reads.
 *
 *   npm run bench:record -- [--engine pglite|postgres|timescale] [--url postgresql://…] [--mix all|trades]
 *                           [--events 300000] [--batch 20000]
 *
 * A server is that of `--url`, else of DATABASE_URL; the bench makes a database of its own there and drops it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import type * as encode from '../src/market/encode.ts'
import type { EncodedEvent } from '../src/market/encoded-event.ts'
import type { Payload } from '../src/market/event.ts'
import type * as topics from '../src/market/topic.ts'
import type * as pglite from '../src/store/pglite.ts'
import type * as postgres from '../src/store/postgres.ts'
import { DEFAULT_STORE_SETTINGS } from '../src/store/settings.ts'
import type { Store } from '../src/store/store.ts'

// The built program: its database thread is a file beside it.
const built = (path: string) => import(new URL(`../../dist/${path}`, import.meta.url).href)
const { encodeEvent } = (await built('market/encode.js')) as typeof encode
const { topicOf } = (await built('market/topic.js')) as typeof topics
const { createPgliteStore } = (await built('store/pglite.js')) as typeof pglite
const { createPostgresStore } = (await built('store/postgres.js')) as typeof postgres

const { values } = parseArgs({
  options: {
    engine: { type: 'string', default: 'pglite' },
    url: { type: 'string', default: process.env.DATABASE_URL ?? '' },
    mix: { type: 'string', default: 'all' },
    events: { type: 'string', default: '300000' },
    batch: { type: 'string', default: '20000' },
  },
})
/** Trades of now: those of long ago would be late for the candles, and refreshed beside. */
const START = Date.now() * 1_000
const MINUTE = 60_000_000

function payloadOf(kind: number, n: number): Payload {
  const price = `${60_000 + (n % 100)}.10`
  if (kind < 4) return { type: 'trade', id: String(n), price, size: '0.00100000', side: 'buy' }
  if (kind < 6) return { type: 'ticker', bid: price, bidSize: '1.500', ask: `${price}5`, askSize: '0.700' }
  if (kind < 9) {
    const bids = [[price, n % 7 === 0 ? '0' : '1.25000000'] as const]
    const asks = [[`${60_101 + (n % 90)}.50`, '0.50000000'] as const]
    return { type: 'orderbook', kind: n < 100 ? 'snapshot' : 'delta', bids, asks, depth: 1_000 }
  }
  return {
    type: 'odds',
    kind: 'price',
    eventId: 'MATCH',
    marketId: '1X2',
    market: '1X2',
    selectionId: `S${n % 3}`,
    selection: 'Home',
    side: 'back',
    level: 0,
    odds: '1.85',
    sourcePrice: '1.85',
    sourceFormat: 'decimal',
    marketVersion: 1,
  }
}

const CHANNELS = ['trades', 'ticker', 'orderbook', 'odds'] as const
const seqs = new Map<string, number>()
let made = 0

/** 40 % trades, 20 % tickers, 30 % deltas, 10 % odds, of 100 subjects, one event every 100 µs. */
function nextEvent(): EncodedEvent {
  const kind = values.mix === 'trades' ? 0 : made % 10
  const channel = CHANNELS[kind < 4 ? 0 : kind < 6 ? 1 : kind < 9 ? 2 : 3]!
  const n = values.mix === 'trades' ? made : Math.floor(made / 10)
  const topic = topicOf('bench', channel, `S${n % 100}`)
  const seq = (seqs.get(topic.id) ?? 0) + 1
  seqs.set(topic.id, seq)
  const receivedTime = START + made++ * 100
  const envelope = {
    epoch: START,
    seq,
    sourceTime: receivedTime - 50,
    receivedTime,
    publishedTime: receivedTime + 9,
  }
  return encodeEvent(topic, envelope, payloadOf(kind, n))
}

async function timed(
  what: string,
  act: () => Promise<{ items: readonly unknown[] } | undefined>,
): Promise<void> {
  const began = performance.now()
  const answer = await act()
  const count = answer && 'items' in answer ? `${answer.items.length} items` : ''
  console.log(`${what.padEnd(44)} ${(performance.now() - began).toFixed(1).padStart(8)} ms  ${count}`)
}

async function reads(store: Store): Promise<void> {
  const end = START + made * 100
  await timed('history: one topic, 1,000 newest minute', () =>
    store.history({ channel: 'trades', subject: 'S1', from: end - MINUTE, limit: 1_000 }),
  )
  await timed('history: 100 topics, first 10,000', () => store.history({ channel: 'trades', limit: 10_000 }))
  await timed('history: 100 topics, 1,000 of the end', () =>
    store.history({ channel: 'trades', from: end - MINUTE / 10, limit: 1_000 }),
  )
  await timed('candles: 1s of one symbol', () =>
    store.candles({ source: 'bench', subject: 'S1', timeframe: '1s', limit: 1_000 }),
  )
  await timed('candles: 1m of one symbol', () =>
    store.candles({ source: 'bench', subject: 'S1', timeframe: '1m', limit: 1_000 }),
  )
  await timed('book at the end', async () => {
    await store.bookAt(topicOf('bench', 'orderbook', 'S1'), end)
    return undefined
  })
}

/** A server's database that is there for the bench alone. */
async function makeDatabase(url: string): Promise<{ url: string; drop(): Promise<void> }> {
  const name = `feedgate_bench_${process.pid}`
  const administer = async (statement: string) => {
    const client = new pg.Client(url)
    await client.connect()
    await client.query(statement).finally(() => client.end())
  }
  await administer(`create database ${name}`)
  const own = new URL(url)
  own.pathname = `/${name}`
  return { url: own.href, drop: () => administer(`drop database ${name} with (force)`) }
}

async function open(): Promise<{ store: Store; url?: string; drop(): Promise<void> }> {
  if (values.engine === 'pglite') {
    const dataDir = mkdtempSync(join(tmpdir(), 'feedgate-bench-'))
    const drop = async () => rmSync(dataDir, { recursive: true, force: true })
    return { store: createPgliteStore({ dataDir }), drop }
  }
  if (!values.url) throw new Error('--url or DATABASE_URL says where the server is')
  const { url, drop } = await makeDatabase(values.url)
  const timescale = values.engine === 'timescale' ? ('auto' as const) : ('off' as const)
  return {
    store: createPostgresStore({ url, settings: { ...DEFAULT_STORE_SETTINGS, timescale } }),
    url,
    drop,
  }
}

const HYPERTABLE_COLUMNS: Record<string, string> = { events_trade: 'event_time' }

/**
 * The rows that were recorded, once more by plain COPY: tables of the same columns and indexes, the same batches, one
 * transaction each, made beforehand. Answers rows a second.
 */
async function plainCopy(url: string, batchSize: number): Promise<number> {
  const client = new pg.Client(url)
  await client.connect()
  const tables = ['events_trade', 'events_ticker', 'events_book', 'events_odds']
  const parts: { table: string; bytes: Buffer }[] = []
  for (const table of tables) {
    await client.query(`create table plain_${table} (like ${table} including indexes)`)
    if (values.engine === 'timescale')
      await client.query(
        `select create_hypertable('plain_${table}', by_range('${HYPERTABLE_COLUMNS[table] ?? 'received_time'}'),
           create_default_indexes => false)`,
      )
    const { rows } = await client.query<{ n: number }>(`select count(*)::integer as n from ${table}`)
    const size = Math.max(1, Math.round((batchSize * rows[0]!.n) / made))
    for (let at = 0; at < rows[0]!.n; at += size) {
      const chunks: Buffer[] = []
      const rowsOf = `select * from ${table} order by received_time, topic_id offset ${at} limit ${size}`
      for await (const chunk of client.query(copyTo(`copy (${rowsOf}) to stdout (format binary)`)))
        chunks.push(chunk)
      parts.push({ table, bytes: Buffer.concat(chunks) })
    }
  }
  await client.query('checkpoint')
  const began = performance.now()
  for (const { table, bytes } of parts) {
    const stream = client.query(copyFrom(`copy plain_${table} from stdin (format binary)`))
    await new Promise<void>((resolve, reject) => {
      stream.on('finish', resolve)
      stream.on('error', reject)
      stream.end(bytes)
    })
  }
  const seconds = (performance.now() - began) / 1_000
  await client.end()
  return made / seconds
}

const opening = performance.now()
const { store, url, drop } = await open()
await store.ready()
console.log(
  `${values.engine}: opened and migrated in ${((performance.now() - opening) / 1_000).toFixed(1)} s`,
)

const total = Number(values.events)
const size = Number(values.batch)
const batches = Array.from({ length: Math.ceil(total / size) }, () => Array.from({ length: size }, nextEvent))
const loop = monitorEventLoopDelay({ resolution: 1 })
const slowest: number[] = []
await new Promise((resolve) => setTimeout(resolve, 100))
loop.enable()
const began = performance.now()
const cpu = process.cpuUsage()
let offset = 0
for (const events of batches) {
  const at = performance.now()
  const range = { from: String(offset), to: String(offset + events.length) }
  await store.record({ events, deadLetters: [], offsets: new Map([['bench/0', range]]) })
  offset += events.length
  slowest.push(performance.now() - at)
}
const seconds = (performance.now() - began) / 1_000
loop.disable()
const used = process.cpuUsage(cpu)
const rate = made / seconds
console.log(
  `${made} events in batches of ${size}: ${Math.round(rate)} events/s, slowest batch ${Math.max(...slowest).toFixed(0)} ms, ` +
    `${(((used.user + used.system) / 1e6 / seconds) * 100).toFixed(0)} % of a core`,
)
console.log(
  `event loop: p99 ${(loop.percentile(99) / 1e6).toFixed(1)} ms, longest stop ${(loop.max / 1e6).toFixed(1)} ms`,
)
if (url) {
  const copied = await plainCopy(url, size)
  console.log(
    `plain COPY of the same rows: ${Math.round(copied)} rows/s; recording reaches ${((rate / copied) * 100).toFixed(0)} %`,
  )
}
await reads(store)
console.log(`memory ${Math.round(process.memoryUsage().rss / 1e6)} MB`)
const closing = performance.now()
await store.close()
console.log(`closed in ${(performance.now() - closing).toFixed(0)} ms`)
await drop()
