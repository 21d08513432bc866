import { expect, it } from 'vitest'
import { startExchange } from '../../src/exchange/exchange.ts'
import { all, type Message, rest, until } from '../whole/program.ts'
import { auditTrades } from './audit.ts'
import { Cluster } from './cluster.ts'
import { withEngines } from './engines.ts'

const SYMBOL = 'BTC/USDT'
const RATE = 100

interface Side {
  readonly side: 'A' | 'B'
  readonly state: string
}

await withEngines(['postgres', 'kafka', 'redis'], ({ postgres, kafka, redis }) => {
  it('a source that is reached over two nodes survives the death of either, also of the one that runs it', async () => {
    const venue = await startExchange({ venue: 'binance', symbols: [SYMBOL], rate: RATE, depth: 20 })
    let sources: object[] = []
    const cluster = await Cluster.create({
      ...{ name: 'two-nodes', database: postgres, kafka, redis, sources: () => sources },
    })
    try {
      const rear = await cluster.start('rear', 'recorder,relay,analytics,gateway')
      const [one, two] = [await cluster.start('one', 'ingest'), await cluster.start('two', 'ingest')]
      // The same settings on both, now that their addresses are known.
      const { url, restUrl } = venue
      sources = [
        {
          ...{ id: 'x', kind: 'binance', reconnect: { baseMs: 50, capMs: 500 } },
          sides: [one, two].map((node) => ({ url, restUrl, via: node.url })),
          subscriptions: [{ channel: 'trades', symbols: [SYMBOL] }],
        },
      ]
      await one.restart()
      await Promise.all([one.ready(), rear.ready()])
      const states = async () => {
        const { body } = await rest<{ sides?: Side[] }>(rear, '/market-data/websocket/status/x')
        return body.sides?.map(({ state }) => state).join() ?? ''
      }
      const come = (wanted: RegExp) => until(async () => wanted.test(await states()), 60_000)
      await come(/^connected,(reconnecting|down)$/)
      await two.restart()
      await come(/^connected,connected$/)
      const stored = () => all<Message>(rear, `/v1/history/trades?source=x&symbol=${SYMBOL}&limit=10000`)
      const more = async () => {
        const goal = venue.truth(SYMBOL).trades().length + 20
        await until(async () => Number((await stored()).at(-1)?.id ?? 0) >= goal, 60_000)
      }
      await more()

      await two.kill()
      await come(/^connected,(reconnecting|down)$/)
      await more()
      await two.start()
      await come(/^connected,connected$/)
      // Not a word of it in the topic.
      const before = await stored()
      expect(before.filter(({ type }) => type === 'gap')).toEqual([])
      expect(new Set(before.map(({ epoch }) => epoch)).size).toBe(1)

      await one.kill()
      await come(/^(reconnecting|down|connecting),connected$/)
      await more()
      await one.start()
      await come(/^connected,connected$/)
      await more()

      venue.setRate(0)
      const sent = venue.truth(SYMBOL).trades()
      const audit = await until(async () => {
        const found = auditTrades(sent, await stored())
        return found.lost.length === 0 && found
      }, 60_000)
      expect(audit).toMatchObject({ lost: [], doubled: [], inGaps: 0, epochs: 2, broken: [] })
    } finally {
      await cluster.end()
      await venue.close()
    }
  }, 240_000)
})
