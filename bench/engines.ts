/**
 * From a venue's frame to a client's socket through the real engines: Kafka, TimescaleDB (or PostgreSQL) and Redis, which
 * it starts, or which KAFKA_BROKERS, DATABASE_URL and REDIS_URL name. A loopback venue sends Binance trades on 100
 * symbols; the program takes them, a role a process and then all roles in one, recording all the while; 100 clients in
 * another process listen to one topic each. Beside it, in turns, a bare kafkajs → ioredis bridge. Then where the time
 * goes, by traces, and rows a second into the database, by `bench/record.ts`.
 *
 *   npm run bench:engines [-- --seconds 10 --rounds 5 --rates 1000,10000] [-- --quick]
 *                         [-- --setups split,whole,bridge] [-- --no-trace] [-- --no-record] [-- --profile FOLDER]
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import kafkajs from 'kafkajs'
import { Client } from 'pg'
import { Cluster } from '../test/services/cluster.ts'
import type { Engine } from '../test/services/engine.ts'
import { emptyKafka, startKafka } from '../test/services/kafka.ts'
import { startPostgres } from '../test/services/postgres.ts'
import { endAll } from '../test/services/processes.ts'
import { startRedis } from '../test/services/redis.ts'
import { startTimescale } from '../test/services/timescale.ts'
import { Collector } from '../test/tracing/collector.ts'
import { createKey, rest, until } from '../test/whole/program.ts'
import { bridgeIn, bridgeOut, bridgeRelay, startBridge } from './bridge.ts'
import { type Arrival, Listeners, listen } from './listeners.ts'
import { busySeconds, cpuSeconds, listenerOn, treeSeconds } from './machine.ts'
import { stagesOf } from './stages.ts'
import { SYMBOLS, Venue } from './venue.ts'

const { values } = parseArgs({
  allowNegative: true,
  options: {
    seconds: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '5' },
    rates: { type: 'string', default: '1000,10000' },
    setups: { type: 'string', default: 'split,whole,bridge' },
    quick: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: true },
    record: { type: 'boolean', default: true },
    profile: { type: 'string' },
    // Of a child.
    part: { type: 'string' },
    kafka: { type: 'string' },
    redis: { type: 'string' },
    to: { type: 'string' },
    keys: { type: 'string', default: '' },
  },
})
const PROGRAM = fileURLToPath(import.meta.url)
const PROFILER = new URL('../profile.mjs', import.meta.url).href
const PROFILE = values.profile && {
  NODE_OPTIONS: `--import ${PROFILER}`,
  PROFILE_FOLDER: resolve(values.profile),
}
if (values.profile) mkdirSync(values.profile, { recursive: true })
const SECONDS = values.quick ? 2 : Number(values.seconds)
const ROUNDS = values.quick ? 1 : Number(values.rounds)
const RATES = values.rates.split(',').map(Number)
const WARM_UP_SECONDS = 3
/** A broker that has just started compiles its code on the cores that are measured. */
const BROKER_WARM_UP_SECONDS = 15
/** What a recorder finds that was away. */
const BACKLOG_RATE = 15_000
const BACKLOG_SECONDS = 30
const CATCH_UP_MS = 120_000
/** A client's key may have so many connections; see the tiers. */
const CONNECTIONS_A_KEY = 50
/** Enough spans for a 99th percentile, too few to weigh. */
const TRACED_A_SECOND = 200

interface Engines {
  readonly kafka: Engine
  readonly redis: Engine
  readonly database: Engine
}

/** What is measured, ready for clients. */
interface Running {
  readonly url: string
  readonly keys: readonly string[]
  /** Process ids by name. */
  readonly parts: Readonly<Record<string, number>>
  readonly cluster?: Cluster
  /** Events in the database. */
  stored?(): Promise<number>
  end(): Promise<void>
}

type Setup = (engines: Engines, venue: Venue, env: Readonly<Record<string, string>>) => Promise<Running>

/** By node. The gateway is first: clients ask it. */
const SPLIT = { gateway: 'gateway', relay: 'relay', recorder: 'recorder', ingest: 'ingest' }
const WHOLE = { feedgate: 'ingest,recorder,relay,analytics,gateway' }

const SETUPS: Readonly<Record<string, { readonly title: string; readonly start: Setup }>> = {
  split: { title: 'feedgate, a role a process', start: (...on) => startCluster(SPLIT, ...on) },
  whole: { title: 'feedgate, one process', start: (...on) => startCluster(WHOLE, ...on) },
  unrecorded: {
    title: 'feedgate, nothing recorded',
    start: (...on) => startCluster({ gateway: 'gateway', relay: 'relay', ingest: 'ingest' }, ...on),
  },
  bridge: { title: 'bare kafkajs → ioredis', start: startBareBridge },
}

async function startCluster(
  nodes: Readonly<Record<string, string>>,
  engines: Engines,
  venue: Venue,
  env: Readonly<Record<string, string>>,
): Promise<Running> {
  const subscriptions = [{ channel: 'trades', symbols: SYMBOLS.map((symbol) => `${symbol}/USDT`) }]
  const source = { id: 'binance', kind: 'binance', url: venue.url, restUrl: venue.url.replace('ws', 'http') }
  const cluster = await Cluster.create({
    name: 'bench',
    ...engines,
    sources: () => [{ ...source, subscriptions }],
    env: { LOG_LEVEL: 'warn', ...PROFILE, ...env },
  })
  for (const [name, roles] of Object.entries(nodes)) await (await cluster.start(name, roles)).ready()
  const [gateway] = cluster.nodes
  const topics = async () => {
    const { body } = await rest<{ items: { topics: { channel: string }[] }[] }>(gateway!, '/v1/sources')
    return body.items[0]?.topics.filter(({ channel }) => channel === 'trades').length
  }
  await until(
    async () => venue.streams.size === SYMBOLS.length && (await topics()) === SYMBOLS.length,
    30_000,
  )
  const keys: string[] = []
  for (let n = 0; n < SYMBOLS.length / CONNECTIONS_A_KEY; n++)
    keys.push(await createKey(gateway!, 'institutional', 'bench'))
  return {
    url: `${gateway!.url.replace('http', 'ws')}/ws`,
    keys,
    cluster,
    parts: Object.fromEntries(
      cluster.nodes.map(({ name, url }) => [name, listenerOn(Number(new URL(url).port))!]),
    ),
    ...(nodes.recorder || nodes.feedgate ? { stored: () => storedIn(cluster.databaseUrl) } : {}),
    end: () => cluster.end(),
  }
}

async function storedIn(databaseUrl: string): Promise<number> {
  const client = new Client(databaseUrl)
  await client.connect()
  const { rows } = await client.query<{ count: string }>('select count(*) from events_trade')
  await client.end()
  return Number(rows[0]!.count)
}

async function publishedIn(kafka: Engine): Promise<number> {
  const admin = new kafkajs.Kafka({
    brokers: kafka.url.split(','),
    logLevel: kafkajs.logLevel.NOTHING,
  }).admin()
  await admin.connect()
  const partitions = await admin.fetchTopicOffsets('md.trade')
  await admin.disconnect()
  return partitions.reduce((sum, { high }) => sum + Number(high), 0)
}

async function startBareBridge({ kafka, redis }: Engines, venue: Venue): Promise<Running> {
  await emptyKafka(kafka)
  const bridge = await startBridge(PROGRAM, kafka.url, redis.url, venue.url)
  return { url: bridge.url, keys: [], parts: bridge.parts, end: () => bridge.end() }
}

interface Figures {
  readonly setup: string
  readonly rate: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Cores used by each process or engine. */
  readonly cores: Readonly<Record<string, number>>
  /** Cores that were busy, with whatever. */
  readonly busy: number
}

/** Looks that every client gets every event of its topic, once. */
class Tally {
  readonly #last = new Array<number>(SYMBOLS.length).fill(0)
  taken = 0
  lost = 0
  doubled = 0

  take(arrivals: readonly Arrival[]): void {
    for (const { symbol, id } of arrivals) {
      const last = this.#last[symbol]!
      if (id <= last) this.doubled++
      else {
        this.taken++
        this.lost += id - last - 1
        this.#last[symbol] = id
      }
    }
  }

  end(ids: readonly number[]): void {
    for (const [symbol, id] of ids.entries()) this.lost += id - this.#last[symbol]!
  }
}

/** Until the broker has compiled what matters. */
async function warmUp(engines: Engines): Promise<void> {
  const venue = await new Venue().listening()
  const bridge = await startBareBridge(engines, venue)
  await venue.run(Math.max(...RATES), BROKER_WARM_UP_SECONDS)
  await bridge.end()
  venue.close()
}

/** One setup, from its start to its end, at every rate. */
async function measure(
  setup: string,
  engines: Engines,
  env: Readonly<Record<string, string>> = {},
  seen: (rate: number, arrivals: readonly Arrival[]) => Promise<void> = async () => {},
): Promise<Figures[]> {
  const venue = await new Venue().listening()
  const running = await SETUPS[setup]!.start(engines, venue, env)
  const listeners = await Listeners.start(PROGRAM, running.url, running.keys)
  const parts = { ...running.parts, clients: listeners.pid, venue: process.pid }
  const servers = pidsOf(engines)
  const tally = new Tally()
  const figures: Figures[] = []
  for (const rate of RATES) {
    await venue.run(rate, WARM_UP_SECONDS)
    await arrivalsOf(listeners, tally, venue)
    const before = usageOf(parts, servers)
    await venue.run(rate, SECONDS)
    const after = usageOf(parts, servers)
    const arrivals = await arrivalsOf(listeners, tally, venue)
    const [p50, p99, max] = percentiles(arrivals.map(({ whole }) => whole / 1_000))
    const cores = Object.fromEntries(
      Object.entries(after).map(([name, seconds]) => [name, (seconds - before[name]!) / SECONDS]),
    )
    figures.push({ setup, rate, p50, p99, max, cores, busy: cores.machine! })
    await seen(rate, arrivals)
  }
  tally.end(venue.ids)
  await check(setup, tally, venue, running)
  listeners.end()
  await running.end()
  venue.close()
  return figures
}

/** Of all events sent so far; of those that come at all. */
async function arrivalsOf(listeners: Listeners, tally: Tally, venue: Venue): Promise<Arrival[]> {
  const all: Arrival[] = []
  for (let silent = 0; silent < 5_000 && tally.taken + tally.lost < totalOf(venue); silent += 250) {
    await delay(250)
    const some = await listeners.arrivals()
    tally.take(some)
    if (some.length > 0) silent = 0
    for (const arrival of some) all.push(arrival)
  }
  return all
}

const totalOf = ({ ids }: Venue) => ids.reduce((sum, id) => sum + id, 0)

function pidsOf(engines: Engines): Record<string, number> {
  const parts: Record<string, number> = {}
  for (const [name, { url }] of Object.entries(engines) as [string, Engine][]) {
    const pid = listenerOn(Number(new URL(url.includes('://') ? url : `kafka://${url.split(',')[0]}`).port))
    if (pid !== undefined) parts[name] = pid
  }
  return parts
}

function usageOf(
  parts: Readonly<Record<string, number>>,
  servers: Readonly<Record<string, number>>,
): Record<string, number> {
  const used: Record<string, number> = {}
  for (const [name, pid] of Object.entries(parts)) used[name] = cpuSeconds(pid)
  for (const [name, pid] of Object.entries(servers)) used[name] = treeSeconds(pid)
  return { ...used, machine: busySeconds() }
}

/** Says so and makes the run fail where an event was lost or doubled. */
async function check(
  setup: string,
  { lost, doubled }: Tally,
  venue: Venue,
  { stored }: Running,
): Promise<void> {
  const sent = totalOf(venue)
  let rows = await stored?.()
  for (let left = 50; stored && rows! < sent && left > 0; left--) {
    await delay(200)
    rows = await stored()
  }
  const recorded = rows === undefined ? '' : `, ${rows} rows stored`
  console.log(`${SETUPS[setup]!.title}: ${sent} events, ${lost} lost, ${doubled} doubled${recorded}`)
  if (lost + doubled > 0 || (rows !== undefined && rows !== sent)) process.exitCode = 1
}

function percentiles(numbers: readonly number[]): [p50: number, p99: number, max: number] {
  const sorted = Float64Array.from(numbers).sort()
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return [at(0.5), at(0.99), at(1)]
}

const median = (numbers: readonly number[]) => percentiles(numbers)[0]
const cell = (value: number, width = 9) => value.toFixed(2).padStart(width)

function printLatencies(setups: readonly string[], all: readonly Figures[]): void {
  console.log(
    `\nvenue frame → client socket, ms; ${SYMBOLS.length} topics, a client each; medians of ${ROUNDS} × ${SECONDS} s, in turns\n`,
  )
  console.log(`${''.padEnd(28)} events/s      p50      p99      max   (p99 from … to)   cores busy`)
  for (const rate of RATES) {
    for (const setup of setups) {
      const rounds = all.filter((row) => row.setup === setup && row.rate === rate)
      const of = (name: 'p50' | 'p99' | 'max' | 'busy') => rounds.map((row) => row[name])
      const spread = `${Math.min(...of('p99')).toFixed(2)} … ${Math.max(...of('p99')).toFixed(2)}`
      const cells = [median(of('p50')), median(of('p99')), median(of('max'))]
        .map((value) => cell(value))
        .join('')
      console.log(
        `${SETUPS[setup]!.title.padEnd(28)} ${String(rate).padStart(8)}${cells} ${spread.padStart(18)} ${cell(median(of('busy')), 12)}`,
      )
    }
  }
}

function printCores(setups: readonly string[], all: readonly Figures[]): void {
  console.log('\ncores used\n')
  for (const rate of RATES) {
    for (const setup of setups) {
      const rounds = all.filter((row) => row.setup === setup && row.rate === rate)
      const names = Object.keys(rounds[0]!.cores).filter((name) => name !== 'machine')
      const used = names.map(
        (name) => `${name} ${median(rounds.map(({ cores }) => cores[name]!)).toFixed(2)}`,
      )
      console.log(`${SETUPS[setup]!.title.padEnd(28)} ${String(rate).padStart(8)}   ${used.join(' · ')}`)
    }
  }
}

/** Once more, with some of the events traced. */
async function printStages(engines: Engines): Promise<void> {
  console.log('\nwhere the time goes, a role a process, by traces of some of the events\n')
  const collector = await Collector.start()
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    TRACE_RATIO: String(Math.min(1, TRACED_A_SECOND / Math.max(...RATES))),
  }
  await measure('split', engines, env, async (rate, arrivals) => {
    // What waits in the exporters.
    await delay(1_500)
    const stages = stagesOf(arrivals, collector.traces)
    console.log(`${`${rate} events/s`.padEnd(60)}      p50      p99      max`)
    for (const [stage, micros] of Object.entries(stages)) {
      const cells = percentiles(micros.map((value) => value / 1_000)).map((value) => cell(value))
      console.log(`  ${stage.padEnd(58)}${cells.join('')}`)
    }
  })
  collector.close()
}

/** A recorder that finds a backlog in Kafka: from its first commit to its last, all else idle. */
async function printCatchUp(engines: Engines): Promise<void> {
  const venue = await new Venue().listening()
  const { cluster } = await startCluster({ gateway: 'gateway', ingest: 'ingest' }, engines, venue, {})
  await venue.run(BACKLOG_RATE, values.quick ? 2 : BACKLOG_SECONDS)
  const sent = totalOf(venue)
  await until(async () => (await publishedIn(engines.kafka)) === sent, 60_000)
  await Promise.all(cluster!.nodes.map((node) => node.end()))
  const database = new Client(cluster!.databaseUrl)
  await database.connect()
  const recorder = await cluster!.start('recorder', 'recorder')
  const pid = listenerOn(Number(new URL(recorder.url).port))!
  const marks: { at: number; stored: number; cpu: number }[] = []
  const deadline = performance.now() + CATCH_UP_MS
  while ((marks.at(-1)?.stored ?? 0) < sent && performance.now() < deadline) {
    // Cheaper than to count rows, and committed with them.
    const { rows } = await database.query<{ stored: string | null }>(
      "select sum(position::bigint) as stored from consumer_offsets where name like '%/md.trade/%'",
    )
    const stored = Number(rows[0]!.stored)
    if (stored > 0 && stored !== marks.at(-1)?.stored)
      marks.push({ at: performance.now(), stored, cpu: cpuSeconds(pid) })
    await delay(10)
  }
  const rows = await storedIn(cluster!.databaseUrl)
  await database.end()
  await cluster!.end()
  venue.close()
  const [first, last] = [marks[0]!, marks.at(-1)!]
  const seconds = (last.at - first.at) / 1_000
  console.log(
    `a recorder behind by ${sent} events: ${Math.round((last.stored - first.stored) / seconds)} events/s from Kafka into ` +
      `the database, ${((last.cpu - first.cpu) / seconds).toFixed(2)} of a core; ${rows} rows stored`,
  )
  if (rows !== sent) process.exitCode = 1
}

async function main(): Promise<void> {
  const database = await startTimescale().catch(() => startPostgres())
  const engines = { kafka: await startKafka(), redis: await startRedis(), database }
  console.log(
    Object.values(engines)
      .map(({ origin }) => origin)
      .join('; '),
  )
  const setups = values.setups.split(',')
  const all: Figures[] = []
  try {
    if (!values.quick) await warmUp(engines)
    for (let round = 0; round < ROUNDS; round++)
      for (const setup of round % 2 === 0 ? setups : setups.slice().reverse())
        all.push(...(await measure(setup, engines)))
    printLatencies(setups, all)
    printCores(setups, all)
    if (values.trace) await printStages(engines)
    if (values.record) {
      printRows(database)
      await printCatchUp(engines)
    }
  } finally {
    await endAll()
  }
}

function printRows({ name, url }: Engine): void {
  console.log('\nrows a second, recorded exactly once\n')
  const script = fileURLToPath(new URL('../../scripts/bench.mjs', import.meta.url))
  const events = values.quick ? ['--events', '20000'] : []
  spawnSync(process.execPath, [script, 'record', '--engine', name, '--url', url, ...events], {
    stdio: 'inherit',
  })
}

if (values.part === 'listeners') await listen(values.to!, values.keys ? values.keys.split(',') : [])
else if (values.part === 'bridge-in') await bridgeIn(values.kafka!, values.to!)
else if (values.part === 'bridge-relay') await bridgeRelay(values.kafka!, values.redis!)
else if (values.part === 'bridge-out') await bridgeOut(values.redis!)
else {
  await main()
  process.exit()
}
