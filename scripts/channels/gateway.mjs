// What the channel pages show: the built gateway, from the frame of a venue to the socket of a client, at a clock that is set.
// Only the socket to the venue is not there: its frames are those of test/fixtures, or the steps of a simulator.
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WebSocket } from 'ws'
import { createAuth } from '../../dist/auth/create-auth.js'
import { createRateLimits } from '../../dist/auth/rate-limit.js'
import { createEmbeddedBus } from '../../dist/bus/embedded.js'
import { createMemoryCache } from '../../dist/cache/memory.js'
import { runRelay } from '../../dist/cache/relay.js'
import { loadConnectors, loadVenues } from '../../dist/connectors/registry.js'
import { createFeed } from '../../dist/connectors/simulator/catalogue.js'
import { createServer } from '../../dist/gateway/server.js'
import { createHub } from '../../dist/gateway/ws/hub.js'
import { webSocketRoutes } from '../../dist/gateway/ws/routes.js'
import { createManager } from '../../dist/manager/create-manager.js'
import { openDesiredState } from '../../dist/manager/desired-state.js'
import { createMemoryLeases } from '../../dist/manager/leases.js'
import { PATIENCE } from '../../dist/manager/patience.js'
import { openPositions } from '../../dist/manager/positions-file.js'
import { createPgliteStore } from '../../dist/store/pglite.js'
import { runRecorder } from '../../dist/store/recorder.js'
import { createVault } from '../../dist/vault.js'

const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
const FIXTURES = new URL('../../test/fixtures/', import.meta.url)
const SECRET = 'of the documents, and of nothing else: nobody can reach this gateway'
const keyOf = (tier) => `fg_${tier}_${'x'.repeat(40)}`
const DEADLINE_MS = 60_000
const NEVER = 3_600_000

/** µs: a frame is read so long after the venue's own time, published and sent so long after that. */
const TRANSIT = 4_000
const WORK = 60
const SEND = 180
/** After it the client subscribes. */
const JOIN = 5_000
/** Between frames whose venue does not tell a time, and steps of a simulator. */
const PACE = 500_000
/** When simulators begin. */
const BEGINNING = Date.UTC(2026, 10, 23, 10) * 1_000

/** One store for all pages: opening it costs more than all the rest. */
export function openHistory() {
  const dataDir = mkdtempSync(join(tmpdir(), 'feedgate-docs-'))
  const store = createPgliteStore({ dataDir, patienceMs: 600_000 })
  return {
    store,
    folder: (name) => mkdtempSync(join(dataDir, name)),
    /** Rows as texts, so that numbers keep their digits and times their microseconds. */
    query: async (sql) => {
      const { rows } = await store.sql.query(
        `select n, key, value from (select row_number() over () as n, * from (${sql}) q) r, json_each_text(row_to_json(r)) where key <> 'n'`,
      )
      const table = []
      for (const { n, key, value } of rows) {
        table[n - 1] ??= {}
        table[n - 1][key] = value
      }
      return table
    },
    close: async () => {
      await store.close()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

/** What the venue says, turn by turn: of a fixture the frames that `has` picks, of a simulator its steps. */
async function turnsOf({ kind, fixture, has, steps, subscription }) {
  if (fixture) {
    const venue = (await loadVenues()).get(kind)
    const symbols = new Map([[venue.venueSymbol(subscription.symbol), subscription.symbol]])
    const decoder = venue.createDecoder({
      symbolOf: (name) => symbols.get(name),
      venueSymbols: () => symbols.keys(),
    })
    const frames = readFileSync(new URL(fixture, FIXTURES), 'utf8').split('\n')
    return frames
      .filter((frame) => has.test(frame))
      .map((frame) => ({ frame, updates: updatesOf(decoder, frame) }))
  }
  const feed = createFeed(subscription, 0, { seed: 1, rate: 2, startTime: BEGINNING })
  return Array.from({ length: steps }, (_, step) => {
    const updates = []
    feed.step(BEGINNING + step * PACE, (update) => updates.push(update))
    return { frame: undefined, updates }
  })
}

function updatesOf(decoder, frame) {
  const updates = []
  decoder.decode(frame, (update) => updates.push(update))
  return updates
}

/**
 * Runs one recording through a gateway of its own, and notes what a client, Kafka and SQL see of it.
 * `joinAfter`: turns before the client subscribes; `end`: how the connection to the venue ends after the last one;
 * `legacy`: what a client of `/ws/odds` asks for, and how many messages it is sent.
 */
export async function record(recording, history) {
  const { kind, source, subscription, ask, joinAfter, end, legacy, tier = 'premium' } = recording
  const turns = await turnsOf(recording)
  let time = timeOf(turns[0], 0) - 1_000_000
  const now = () => time
  const folder = history.folder(source)
  const bus = createEmbeddedBus()
  const cache = createMemoryCache()
  const positions = openPositions(join(folder, 'positions'))
  let sink
  const manager = createManager({
    connectors: recordedConnectors(await loadConnectors(), (opened) => {
      sink = opened
    }),
    bus,
    // A connection that ends stays ended.
    sources: [
      { id: source, kind, subscriptions: [specOf(subscription)], reconnect: { baseMs: NEVER, capMs: NEVER } },
    ],
    desired: openDesiredState(join(folder, 'sources.json')),
    positions,
    leases: createMemoryLeases(now),
    vault: createVault(SECRET),
    log: SILENT,
    now,
    // Nothing is doubted on the way, however slow the machine.
    patience: { ...PATIENCE, sweepMs: NEVER },
  })
  const ports = {
    auth: createAuth({
      store: history.store,
      jwtSecret: SECRET,
      jwtIssuer: 'feedgate',
      adminApiKeys: [],
      licence: (id) => manager.licence(id),
      demoKeys: [{ tier, key: keyOf(tier) }],
      now: () => now() / 1_000,
    }),
    limits: createRateLimits(),
    manager,
    cache,
    store: history.store,
    log: SILENT,
    demo: false,
    version: '0.0.0',
    now,
    readiness: () => ({}),
    warnings: () => [],
    metrics: async () => '',
    seal: () => '',
  }
  const hub = createHub(ports)
  const server = await createServer(ports, [webSocketRoutes(ports, hub)])
  const reading = new AbortController()
  const published = []
  const collect = async () => {
    for await (const { events } of bus.subscribe('docs', reading.signal)) published.push(...events)
  }
  const running = [
    collect(),
    runRelay({ bus, cache }, reading.signal),
    runRecorder({ bus, store: history.store, positions, log: SILENT }, reading.signal),
    hub.run(reading.signal),
  ]
  await server.listen({ port: 0, host: '127.0.0.1' })
  const caller = { url: `ws://127.0.0.1:${server.server.address().port}/ws`, key: keyOf(tier) }

  const play = async ({ frame, updates }, last) => {
    const receivedTime = timeOf({ updates }, last)
    time = receivedTime + WORK
    for (const update of updates) sink.decoded(update, receivedTime, frame)
    time = receivedTime + SEND
    await passed()
    return receivedTime
  }

  try {
    await manager.start()
    await until('a link', () => sink)
    sink.opened()
    let last = time
    for (const turn of turns.slice(0, joinAfter)) last = await play(turn, last)
    time = last += JOIN
    const client = await connect(caller)
    await client.ask(ask)
    const first = legacy && (await connect({ ...caller, url: `${caller.url}/odds` }))
    await first?.ask(legacy.ask)
    for (const turn of turns.slice(joinAfter)) last = await play(turn, last)
    if (end) {
      time = last + PACE
      sink.ended({ reason: end })
      await passed()
    }
    await client.settle()
    if (first) await until('/ws/odds', () => first.said.length > legacy.answers)
    const isStored = ({ topic, seq }) => positions.last(topic.id)?.seq >= seq
    await until('all is stored', () => published.every(isStored))
    // Of `basic` that would be a command too many.
    const resumed = tier === 'basic' ? [] : await resume(caller, client.said, ask)
    client.close()
    first?.close()
    const events = published.filter(({ topic }) => topic.channel === ask.channel)
    return { said: [...client.said], resumed, events, legacy: first?.said }
  } finally {
    await hub.close(100)
    await manager.close()
    await passed()
    reading.abort()
    await Promise.all(running)
    await server.close()
    await bus.close()
    await cache.close()
    positions.close()
  }
}

const specOf = ({ symbol, ...rest }) => ({ ...rest, symbols: [symbol] })

function timeOf({ updates }, last) {
  const told = Math.max(0, ...updates.map(({ sourceTime = 0 }) => sourceTime))
  return Math.max(told === 0 ? last + PACE : told + TRANSIT, last + 1)
}

/** The real connectors, but that nothing is connected to or fetched: `opened` gets what a socket would deliver to. */
function recordedConnectors(real, opened) {
  return {
    ...real,
    connectorFor: (kind, options) => {
      const { fetchBook, fetchTrades, fetchInstruments, verify, ...connector } = real.connectorFor(
        kind,
        options,
      )
      return {
        ...connector,
        open: (_route, _options, sink) => {
          opened(sink)
          return {
            subscribe: () => {},
            unsubscribe: () => {},
            pause: () => {},
            resume: () => {},
            close: (reason) => sink.ended({ reason }),
          }
        },
      }
    },
  }
}

/** A second client, which lacks the last event that the first one was sent. */
async function resume(caller, said, ask) {
  const positions = {}
  for (const { channel, source, subject, timeframe, epoch, seq } of said.flatMap(topicsOf).slice(0, -1)) {
    if (channel !== ask.channel) continue
    positions[[source, channel, subject, timeframe].filter(Boolean).join('|')] = [epoch, seq]
  }
  const client = await connect(caller)
  await client.ask({ ...ask, id: ask.id + 1, resume: positions })
  await client.settle()
  client.close()
  if (client.said.some(({ text }) => /"resume":{}|"unrecovered"/.test(text)))
    throw new Error(`not resumed: ${JSON.stringify(client.said)}`)
  return [...client.said]
}

const CHANNEL_OF = { trade: 'trades', liquidation: 'liquidations' }

function topicsOf({ from, text }) {
  const events = [JSON.parse(text)].flat().filter(({ v }) => from === 'gateway' && v !== undefined)
  return events.map(({ type, symbol, eventId, conversationId, ...event }) => ({
    ...event,
    channel: type === 'gap' ? event.channel : (CHANNEL_OF[type] ?? type),
    subject: symbol ?? eventId ?? conversationId,
  }))
}

/** A client that notes every message, both ways, as it stands on the wire. */
async function connect({ url, key }) {
  const socket = new WebSocket(url, { headers: { 'X-API-Key': key }, perMessageDeflate: false })
  const said = []
  let pongs = 0
  socket.on('message', (data) => {
    const text = String(data)
    if (text.startsWith('{"type":"pong"')) pongs++
    else said.push({ from: 'gateway', text })
  })
  await once(socket, 'open')
  return {
    said,
    ask: async (message) => {
      const text = JSON.stringify(message)
      said.push({ from: 'client', text })
      socket.send(text)
      await until('an answer', () => said.some(({ from }) => from === 'gateway'))
      await passed()
    },
    /** All that was sent has come. */
    settle: async () => {
      const before = pongs
      socket.send('{"type":"ping"}')
      await until('a pong', () => pongs > before)
    },
    close: () => socket.close(),
  }
}

/** What goes through the process by callbacks alone has gone through. */
async function passed() {
  for (let turn = 0; turn < 100; turn++) await new Promise((resume) => setImmediate(resume))
}

async function until(what, holds) {
  const end = Date.now() + DEADLINE_MS
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within ${DEADLINE_MS} ms: ${what}`)
    await new Promise((resume) => setTimeout(resume, 2))
  }
}
