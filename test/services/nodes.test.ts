import { existsSync, readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { all, createKey, type Message, rest, until } from '../whole/program.ts'
import { Cluster } from './cluster.ts'
import { withEngines } from './engines.ts'
import { Listener, type Place, readAgainst, type Seen } from './listener.ts'

const SYMBOLS = ['BTC/USDT', 'ETH/USDT']
const SOURCES = [
  { id: 'sim', kind: 'simulator', rate: 50, subscriptions: [{ channel: 'trades', symbols: SYMBOLS }] },
]
const TRADES = { channel: 'trades', source: 'sim', symbols: SYMBOLS }

/** What the store holds of a topic, through the REST interface of a node. */
async function stored(node: { url: string }, topic: string): Promise<Place[]> {
  const [source, channel, symbol] = topic.split('|')
  const events = await all<Message>(
    node,
    `/v1/history/${channel}?source=${source}&symbol=${encodeURIComponent(symbol!)}&limit=10000`,
  )
  return events.map(({ epoch, seq }) => [epoch as number, seq as number])
}

/** The places in the store, at the latest after 20 s all that were seen. */
async function storedWith(node: { url: string }, topic: string, seen: readonly Seen[]): Promise<Place[]> {
  const { epoch, seq } = seen.at(-1)!
  return until(async () => {
    const places = await stored(node, topic)
    return places.some(([e, s]) => e > epoch || (e === epoch && s >= seq)) && places
  }, 20_000)
}

await withEngines(['postgres', 'kafka', 'redis'], ({ postgres, kafka, redis }) => {
  describe('nodes', () => {
    let cluster: Cluster

    beforeEach(async ({ task }) => {
      const name = task.name.replace(/\W+/g, '-').slice(0, 60)
      cluster = await Cluster.create({ name, database: postgres, kafka, redis, sources: () => SOURCES })
    })
    afterEach(() => cluster.end())

    it('a node killed with -9 is back on its port, and its log is kept', async () => {
      const node = await cluster.start('everything', 'ingest,recorder,relay,analytics,gateway')
      await node.ready()
      const key = await createKey(node, 'premium')
      await node.kill()
      await expect(fetch(`${node.url}/healthz`)).rejects.toThrow()
      await node.restart()
      await node.ready()
      const { status } = await rest(node, '/v1/sources', { headers: { 'x-api-key': key } })
      expect(status).toBe(200)
      expect(existsSync(node.log)).toBe(true)
      expect(readFileSync(node.log, 'utf8').match(/is ready at/g)).toHaveLength(2)
    })

    it('two gateways give the same events; when one dies, its clients see at the other what fell between', async () => {
      const [, left, right] = await Promise.all([
        cluster.start('worker', 'ingest,recorder,relay,analytics'),
        cluster.start('left', 'gateway'),
        cluster.start('right', 'gateway'),
      ])
      await Promise.all(cluster.nodes.map((node) => node.ready()))
      const key = await createKey(right, 'premium')
      const mover = new Listener([left.url, right.url], key, [TRADES]).open()
      const stayer = new Listener([right.url, left.url], key, [TRADES]).open()
      try {
        const said = () => `${mover.describe()}; ${stayer.describe()}`
        await until(() => mover.count() > 200 && stayer.count() > 200, 30_000, said)
        await left.kill()
        const before = mover.count()
        await until(() => mover.connections === 2 && mover.count() > before + 200, 30_000, said)
      } finally {
        await Promise.all([mover.close(), stayer.close()])
      }
      for (const symbol of SYMBOLS) {
        const topic = `sim|trades|${symbol}`
        const places = await storedWith(right, topic, stayer.seen.get(topic)!)
        const clean = { holes: 0, undetected: [], unstored: [], disordered: [] }
        expect(readAgainst(stayer.seen.get(topic)!, places)).toMatchObject(clean)
        expect(readAgainst(mover.seen.get(topic)!, places)).toMatchObject(clean)
        expect(places).toEqual(places.map((_, at) => [places[0]![0], at + 1]))
      }
    })
  })
})
