import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { type Exchange, startExchange } from '../../src/exchange/exchange.ts'
import { all, createKey, type Message, ROOT, until } from '../whole/program.ts'
import { type Audit, auditTrades, breaks } from './audit.ts'
import { type BlowReport, dealBlows } from './chaos.ts'
import { Cluster } from './cluster.ts'
import { withEngines } from './engines.ts'
import { Listener, type Place, type Reading, readAgainst } from './listener.ts'

/** On each database. */
const KILLS = Number(process.env.CHAOS_KILLS ?? 30) / 2
const SEED = Number(process.env.CHAOS_SEED ?? Date.now() % 2 ** 32)
const SYMBOLS = ['BTC/USDT', 'ETH/USDT']
/** Market steps a second over all symbols; four in ten are trades. */
const RATE = 200
/** After the last blow the venue goes on for so long: a source that was lost is taken over within 10 s. */
const CALM_AT_END_MS = 15_000
const NODES = {
  'ingest-1': 'ingest',
  'ingest-2': 'ingest',
  recorder: 'recorder,analytics',
  relay: 'relay',
  'gateway-1': 'gateway',
  'gateway-2': 'gateway',
}

const CHANNELS = ['trades', 'ticker', 'orderbook'] as const
type ChannelName = (typeof CHANNELS)[number]

function history(node: { url: string }, symbol: string, channel: ChannelName = 'trades'): Promise<Message[]> {
  return all(node, `/v1/history/${channel}?source=venue&symbol=${encodeURIComponent(symbol)}&limit=10000`)
}

/** The audit of each symbol, as soon as nothing is missing any more; at the latest after a minute. */
async function audits(node: { url: string }, exchange: Exchange): Promise<Audit[]> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const found = await Promise.all(
      SYMBOLS.map(async (symbol) =>
        auditTrades(exchange.truth(symbol).trades(), await history(node, symbol)),
      ),
    )
    if (found.every(({ lost }) => lost.length === 0) || performance.now() > deadline) return found
    await sleep(2_000)
  }
}

function print(
  database: string,
  blows: readonly BlowReport[],
  found: readonly Audit[],
  readings: readonly Reading[],
  listeners: readonly Listener[],
): void {
  const away = new Map<string, number[]>()
  for (const { victim, awayMs } of blows) away.set(victim, [...(away.get(victim) ?? []), awayMs])
  const sum = <T>(list: readonly T[], of: (item: T) => number) =>
    list.reduce((total, item) => total + of(item), 0)
  const lines = [
    `chaos on ${database}, seed ${SEED}: ${blows.length} kills in ${Math.round((blows.at(-1)?.atMs ?? 0) / 1000)} s`,
    ...[...away].map(
      ([name, times]) => `  ${name}: ${times.length} kills, away at most ${Math.max(...times)} ms`,
    ),
    `  stored ${sum(found, (a) => a.stored)} events in ${sum(found, (a) => a.epochs)} epochs; in reported gaps ` +
      `${sum(found, (a) => a.inGaps)} trades; lost ${sum(found, (a) => a.lost.length)}, doubled ${sum(found, (a) => a.doubled.length)}`,
    `  clients saw ${sum(readings, (r) => r.events)} events, ${sum(readings, (r) => r.holes)} holes that they could see, ` +
      `${sum(readings, (r) => r.undetected.length)} that they could not; ` +
      `refused on reconnecting ${sum(listeners, (l) => l.refusals)} times`,
  ]
  console.log(lines.join('\n'))
}

await withEngines(['postgres', 'timescale', 'kafka', 'redis'], ({ postgres, timescale, kafka, redis }) => {
  it.each([
    ['PostgreSQL', postgres],
    ['TimescaleDB', timescale],
  ] as const)(
    `${KILLS} kills at random times lose nothing, double nothing, and hide nothing: %s (CHAOS_SEED=${SEED})`,
    async (product, database) => {
      const exchange = await startExchange({ venue: 'binance', symbols: SYMBOLS, seed: SEED, rate: RATE })
      const source = {
        id: 'venue',
        kind: 'binance',
        url: exchange.url,
        restUrl: exchange.restUrl,
        subscriptions: CHANNELS.map((channel) => ({ channel, symbols: SYMBOLS })),
        reconnect: { baseMs: 100, capMs: 1_000 },
      }
      const cluster = await Cluster.create({
        name: `survival-${database.name}`,
        database,
        kafka,
        redis,
        sources: () => [source],
      })
      const listeners: Listener[] = []
      try {
        await Promise.all(Object.entries(NODES).map(([name, roles]) => cluster.start(name, roles)))
        await Promise.all(cluster.nodes.map((node) => node.ready()))
        const gateways = cluster.nodes.filter(({ name }) => name.startsWith('gateway')).map(({ url }) => url)
        const key = await createKey({ url: gateways[0]! }, 'premium')
        const asks = CHANNELS.map((channel) => ({ channel, source: 'venue', symbols: SYMBOLS, depth: 25 }))
        for (const urls of [gateways, gateways, [...gateways].reverse(), [...gateways].reverse()]) {
          listeners.push(new Listener(urls, key, asks).open())
        }
        await until(
          () => listeners.every((listener) => listener.count() > 50),
          30_000,
          () => `${listeners.map((listener) => listener.describe()).join('; ')}`,
        )

        const engines = [database, kafka, redis].filter(({ own }) => own)
        const blows = await dealBlows({
          seed: SEED,
          victims: [...cluster.nodes, ...engines],
          kills: KILLS,
          calmMs: [1_000, 6_000],
          downMs: [100, 4_000],
          together: 2,
        })
        await Promise.all(cluster.nodes.map((node) => node.ready()))
        await sleep(CALM_AT_END_MS)
        exchange.setRate(0)

        const found = await audits({ url: gateways[0]! }, exchange)
        await Promise.all(listeners.map((listener) => listener.close()))
        const readings: Reading[] = []
        const broken: Record<string, readonly Place[]> = {}
        for (const symbol of SYMBOLS) {
          for (const channel of CHANNELS) {
            const topic = `venue|${channel}|${symbol}`
            const events = await history({ url: gateways[0]! }, symbol, channel)
            const places = events.map(({ epoch, seq }) => [epoch as number, seq as number] as const)
            for (const { seen } of listeners) readings.push(readAgainst(seen.get(topic) ?? [], places))
            broken[topic] = breaks(events)
          }
        }
        print(product, blows, found, readings, listeners)
        const report = join(ROOT, `coverage/clusters/survival-${database.name}/report.json`)
        writeFileSync(report, JSON.stringify({ seed: SEED, blows, audits: found, readings }, null, 1))
        for (const { lost, doubled, broken } of found) {
          expect({ lost: lost.length, doubled: doubled.length, broken: broken.length }, report).toEqual({
            lost: 0,
            doubled: 0,
            broken: 0,
          })
        }
        for (const [topic, places] of Object.entries(broken)) expect(places, topic).toEqual([])
        for (const reading of readings) {
          expect(reading, report).toMatchObject({ undetected: [], unstored: [], disordered: [] })
        }
      } finally {
        await Promise.all(listeners.map((listener) => listener.close()))
        await cluster.end()
        await exchange.close()
      }
    },
    KILLS * 15_000 + 180_000,
  )
})
