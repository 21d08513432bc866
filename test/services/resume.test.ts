import { setTimeout as sleep } from 'node:timers/promises'
import { Client as Postgres } from 'pg'
import { expect, it } from 'vitest'
import { Random } from '../../src/connectors/simulator/random.ts'
import { createKey, until } from '../whole/program.ts'
import { Cluster, type ClusterNode } from './cluster.ts'
import { withEngines } from './engines.ts'
import type { Place } from './listener.ts'
import { Resumer, soon } from './resumer.ts'

/** Over all clients. */
const CUTS = Number(process.env.RESUME_CUTS ?? 60)
const SEED = Number(process.env.RESUME_SEED ?? Date.now() % 2 ** 32)
const CLIENTS = 4
const TOPICS = { trades: 16, orderbook: 4, ticker: 5 }
/** Events a second of each topic: 2,000 in all. */
const RATE = 80

const SUBSCRIPTIONS = Object.entries(TOPICS).map(([channel, topics]) => ({
  channel,
  symbols: Array.from({ length: topics }, (_, n) => `C${n}/USDT`),
}))
const SOURCE = { id: 'sim', kind: 'simulator', seed: SEED, rate: RATE, subscriptions: SUBSCRIPTIONS }
/** Books are cut to a depth: of what changes behind it they are sent nothing. */
const ASKED = SUBSCRIPTIONS.map((one) => ({
  ...one,
  source: 'sim',
  ...(one.channel === 'orderbook' ? { depth: 10 } : {}),
}))
/** By which epochs are counted. */
const TOPIC = 'sim|trades|C0/USDT'
const EVENTS = ['events_trade', 'events_book', 'events_ticker', 'events_source']
const HEADS = ['topic_heads']

/** The places in these tables, by topic, in the order of the topic. */
async function storedPlaces(databaseUrl: string, tables: readonly string[]): Promise<Map<string, Place[]>> {
  const database = new Postgres({ connectionString: databaseUrl })
  await database.connect()
  try {
    const { rows } = await database.query<{ name: string; epoch: string; seq: string }>(
      `select name, epoch, seq from (${tables.map((table) => `select topic_id, epoch, seq from ${table}`).join(' union all ')}) e
       join topics on topics.id = topic_id order by epoch, seq`,
    )
    const places = new Map<string, Place[]>()
    for (const { name, epoch, seq } of rows) {
      const list = places.get(name)
      if (list) list.push([Number(epoch), Number(seq)])
      else places.set(name, [[Number(epoch), Number(seq)]])
    }
    return places
  } finally {
    await database.end()
  }
}

/** What is wrong with what a client was sent of a topic, a sentence each: complete and in order, up to the last event. */
function faultsOf(topic: string, client: Resumer, stored: readonly Place[]): string[] {
  const runs = client.runs.get(topic) ?? []
  const faults: string[] = []
  const rank = new Map(stored.map((place, at) => [String(place), at]))
  const isCut = topic.includes('|orderbook|') || (topic.includes('|ticker|') && client.slows > 0)
  // Events of a source come unasked: without a position, from now on.
  const isWhole = !isCut && (client.head(topic) || !topic.includes('|source|'))
  let before = -1
  for (const run of runs) {
    for (const [index, place] of run.entries()) {
      const at = rank.get(String(place))
      if (at === undefined) faults.push(`${topic}: ${place} is not stored`)
      // A snapshot may stand where the client stood.
      else if (at < before || (index > 0 && at === before)) faults.push(`${topic}: ${place} came twice`)
      else if (index > 0 && !isCut && at !== before + 1)
        faults.push(`${topic}: ${stored.slice(before + 1, at)} are missing before ${place}`)
      before = at ?? before
    }
  }
  if (isWhole && before !== stored.length - 1) faults.push(`${topic}: nothing came after ${stored[before]}`)
  return faults
}

await withEngines(['timescale', 'kafka', 'redis'], ({ timescale, kafka, redis }) => {
  it(
    `${CUTS} cuts under 2,000 events a second leave every topic complete and in order, on two nodes, across epochs and a Redis that was lost (RESUME_SEED=${SEED})`,
    async () => {
      const engines = { database: timescale, kafka, redis }
      const cluster = await Cluster.create({ name: 'resume', ...engines, sources: () => [SOURCE] })
      const clients: Resumer[] = []
      try {
        const [ingest, , ...gateways] = (await Promise.all([
          cluster.start('ingest', 'ingest'),
          cluster.start('worker', 'recorder,relay'),
          cluster.start('left', 'gateway'),
          cluster.start('right', 'gateway'),
        ])) as [ClusterNode, ClusterNode, ClusterNode, ClusterNode]
        await Promise.all(cluster.nodes.map((node) => node.ready()))
        const key = await createKey(gateways[0]!, 'institutional')
        for (const gateway of gateways) await gateway.knows(25)
        const began = performance.now()
        let cuts = 0
        let isOver = false

        const cutAgainAndAgain = async (client: Resumer, random: Random) => {
          while (cuts < CUTS || !isOver) {
            const { url } = gateways[Math.floor(random.unit() * gateways.length)]!
            // At any moment, in the middle of what it missed, or soon after that: a third each.
            const third = Math.floor(random.unit() * 3)
            await client.stay(url, ({ came, caughtUp }) =>
              third === 0
                ? soon(random, 0, 300)
                : (third === 1 ? came : caughtUp).then(() => soon(random, 0, 400)),
            )
            cuts++
            await soon(random, 0, 500)
          }
        }
        for (let n = 0; n < CLIENTS; n++) clients.push(new Resumer(key, ASKED))
        const cutting = clients.map((client, n) =>
          cutAgainAndAgain(client, new Random(`resume|${SEED}|${n}`)),
        )
        const reached = (share: number) => until(() => cuts >= CUTS * share, 600_000)
        const epoch = () => Math.max(0, ...clients.map((client) => client.head(TOPIC)?.[0] ?? 0))
        const killIngest = async () => {
          const before = epoch()
          await ingest.restart()
          await until(() => epoch() > before, 60_000)
        }
        const phases: string[] = []
        const phase = (what: string) =>
          phases.push(`${clients.flatMap((client) => client.unrecovered.splice(0)).length} ${what}`)
        await reached(0.25)
        phase('before anything was killed')
        await killIngest()
        await reached(0.5)
        phase('after a kill of the ingest')
        if (redis.own) await redis.restart()
        await reached(0.75)
        phase('after Redis came back empty')
        await killIngest()
        isOver = true
        await Promise.all(cutting)
        const seconds = (performance.now() - began) / 1_000
        await ingest.end()

        // A last time, without a cut: everybody comes to where the topics end.
        const isWhole = async () => {
          await sleep(500)
          const heads = await storedPlaces(cluster.databaseUrl, HEADS)
          return [...heads].every(([topic, [last]]) =>
            clients.every((client) => {
              const head = client.head(topic)
              if (topic.includes('|source|') && !head) return true
              // Of a book the last changes may lie behind its depth.
              return topic.includes('|orderbook|') ? head : String(head) === String(last)
            }),
          )
        }
        const whole = until(isWhole, 120_000).catch(() => {})
        await Promise.all(clients.map((client, n) => client.stay(gateways[n % 2]!.url, () => whole)))
        const stored = await storedPlaces(cluster.databaseUrl, EVENTS)

        phase('after a second kill')
        const sum = (of: (client: Resumer) => number) => clients.reduce((all, client) => all + of(client), 0)
        const events = [...stored.values()].reduce((all, places) => all + places.length, 0)
        const epochs = new Set(stored.get(TOPIC)!.map(([epoch]) => epoch)).size
        console.log(
          `resume, seed ${SEED}: ${cuts} cuts of ${CLIENTS} clients in ${seconds.toFixed(1)} s; ` +
            `stored ${events} events of ${stored.size} topics in ${epochs} epochs; clients were sent ${sum((c) => c.events)}; ` +
            `positions resumed ${sum((c) => c.resumed)}, unrecovered ${phases.join(', ')}; ` +
            `resyncs ${sum((c) => c.resyncs)}, refused ${sum((c) => c.refusals)}, slow ${sum((c) => c.slows)}; ` +
            `book checksums right ${sum((c) => c.verified)}`,
        )
        const faults = clients.flatMap((client) => [
          ...client.faults,
          ...[...stored].flatMap(([topic, places]) => faultsOf(topic, client, places)),
        ])
        expect(faults.slice(0, 20), `${faults.length} faults`).toEqual([])
        expect(epochs).toBe(3)
      } finally {
        await cluster.end()
      }
    },
    CUTS * 1_000 + 240_000,
  )
})
