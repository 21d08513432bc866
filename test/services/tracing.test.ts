import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CollectedSpan, Collector } from '../tracing/collector.ts'
import { Client, createKey, until } from '../whole/program.ts'
import { Cluster } from './cluster.ts'
import { withEngines } from './engines.ts'

const SOURCES = [
  {
    id: 'sim',
    kind: 'simulator',
    rate: 20,
    subscriptions: [{ channel: 'trades', symbols: ['BTC/USDT'] }],
  },
]

await withEngines(['postgres', 'kafka', 'redis'], ({ postgres, kafka, redis }) => {
  describe('tracing over Kafka and Redis', () => {
    let collector: Collector
    let cluster: Cluster

    beforeAll(async () => {
      collector = await Collector.start()
      cluster = await Cluster.create({
        name: 'tracing',
        database: postgres,
        kafka,
        redis,
        sources: () => SOURCES,
        env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, TRACE_RATIO: '1' },
      })
    })
    afterAll(async () => {
      await cluster.end()
      collector.close()
    })

    it('follows one event through five processes, to the clients of two gateways', async () => {
      const nodes = await Promise.all([
        cluster.start('left', 'gateway'),
        cluster.start('right', 'gateway'),
        cluster.start('ingest', 'ingest'),
        cluster.start('recorder', 'recorder'),
        cluster.start('relay', 'relay'),
      ])
      await Promise.all(nodes.map((node) => node.ready()))
      const key = await createKey(nodes[0], 'premium')
      const clients = nodes.slice(0, 2).map(({ url }) => new Client(`${url}/ws`, { 'x-api-key': key }))
      try {
        for (const client of clients) {
          await client.open()
          // A pattern covers topics that the gateway hears of later.
          client.send({ type: 'subscribe', id: 1, channel: 'trades', symbols: ['*'] })
        }
        const complete = ['bus', 'bus', 'deliver', 'deliver', 'receive', 'record', 'relay']
        const namesOf = (spans: readonly CollectedSpan[]) => String(spans.map(({ name }) => name).sort())
        const trace = await until(
          () => [...collector.traces.values()].find((spans) => namesOf(spans) === String(complete)),
          30_000,
          () => `seen: ${[...new Set([...collector.traces.values()].map(namesOf))].join(' · ')}`,
        )
        const root = trace.find(({ name }) => name === 'receive')!
        for (const span of trace) if (span !== root) expect(span.parentSpanId).toBe(root.spanId)
        const order = ['receive', 'relay', 'deliver'].map(
          (stage) => trace.find(({ name }) => name === stage)!,
        )
        for (const [at, span] of order.entries())
          if (at > 0)
            expect(BigInt(span.startTimeUnixNano)).toBeGreaterThan(BigInt(order[at - 1]!.startTimeUnixNano))
      } finally {
        for (const client of clients) client.close()
      }
    }, 90_000)
  })
})
