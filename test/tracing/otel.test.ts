import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { encodeEvent } from '../../src/market/encode.ts'
import { topicOf } from '../../src/market/topic.ts'
import { signals } from '../../src/signals.ts'
import { createOtelTracing } from '../../src/tracing/otel.ts'
import { traceStage } from '../../src/tracing/tracing.ts'
import { Client, preparedFolder, ROOT, startGateway, until } from '../whole/program.ts'
import { type CollectedSpan, Collector } from './collector.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function collector(): Promise<Collector> {
  const started = await Collector.start()
  closers.push(() => started.close())
  return started
}

function trade(seq: number) {
  const times = { receivedTime: 1_795_394_770_902_413 + seq, publishedTime: 1_795_394_770_902_500 + seq }
  return encodeEvent(
    topicOf('venue', 'trades', 'BTC/USD'),
    { epoch: 1_795_394_739_337_901, seq, ...times },
    { type: 'trade', id: String(seq), price: '1.0', size: '2', side: 'buy' },
  )
}

describe('tracing', () => {
  it('follows one event of the running program from the socket read to the write to its client', async () => {
    const { url, traces, resources, paths } = await collector()
    const gateway = await startGateway({
      dataDir: await preparedFolder(),
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: url, TRACE_RATIO: '1' },
    })
    closers.push(() => gateway.end())
    const [, key] = await gateway.line(/premium\s+(fg_premium_\w+)/)
    const clients = [1, 2].map(() => new Client(`${gateway.url}/ws`, { 'x-api-key': key! }))
    for (const client of clients) {
      closers.push(() => client.close())
      await client.open()
      client.send({ type: 'subscribe', id: 1, channel: 'ticker', symbols: ['BTC/USDT'] })
      await client.waitFor(({ type }) => type === 'ticker')
    }

    // The stage that comes last is `record`: the store may still be opening.
    const stages = await until(
      () =>
        [...traces.values()].find(
          (trace) => trace.length >= 6 && trace.some((span) => span.attributes['feedgate.clients'] === 2),
        ),
      15_000,
    )
    expect(stages.map(({ name }) => name).sort()).toEqual([
      'bus',
      'bus',
      'deliver',
      'receive',
      'record',
      'relay',
    ])
    const root = stages.find(({ name }) => name === 'receive') as CollectedSpan
    expect(root.parentSpanId ?? '').toBe('')
    for (const span of stages) {
      if (span !== root) expect(span.parentSpanId).toBe(root.spanId)
      expect(BigInt(span.startTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(root.startTimeUnixNano))
      expect(BigInt(span.endTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(span.startTimeUnixNano))
    }
    // The span says which frame it was, and begins when the frame says it was read.
    const { 'feedgate.seq': seq, 'feedgate.topic': topic } = root.attributes
    const frame = clients[0]!.messages.find((message) => message.seq === seq)
    expect(topic).toBe(`${frame?.source}|ticker|BTC/USDT`)
    expect(root.startTimeUnixNano).toBe(`${frame?.receivedTime}000`)
    expect([...paths]).toEqual(['POST /v1/traces'])
    expect(resources[0]).toMatchObject({ 'service.name': 'feedgate' })
  })

  it('marks the share of events that was asked for', async () => {
    const { url } = await collector()
    const tracing = createOtelTracing({ endpoint: url, ratio: 0.1, version: '0' })
    closers.push(() => tracing.close())
    const events = Array.from({ length: 5_000 }, (_, n) => trade(n + 1))
    signals.publishing.emit(events)
    const marked = events.filter((event) => event.trace !== undefined).length
    // 500 are expected; the deviation is 21.
    expect(marked).toBeGreaterThan(350)
    expect(marked).toBeLessThan(650)
  })

  it('goes on with the context that an event brings from another process', async () => {
    const there = await collector()
    const tracing = createOtelTracing({ endpoint: `${there.url}/`, ratio: 0, version: '0' })
    const event = trade(7)
    event.trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const forged = trade(8)
    forged.trace = 'nonsense'
    traceStage('relay', [event, forged, trade(9)], performance.now() - 5)
    await tracing.close()
    expect(there.spans.map(({ name }) => name)).toEqual(['bus', 'relay'])
    for (const span of there.spans)
      expect(span).toMatchObject({
        traceId: '0af7651916cd43dd8448eb211c80319c',
        parentSpanId: 'b7ad6b7169203331',
      })
    const [bus, relay] = there.spans
    expect(bus).toMatchObject({
      startTimeUnixNano: '1795394770902507000',
      attributes: { 'messaging.consumer.group.name': 'relay' },
    })
    const ms = (BigInt(relay!.endTimeUnixNano) - BigInt(relay!.startTimeUnixNano)) / 1_000_000n
    expect(ms).toBeGreaterThanOrEqual(4n)
    expect(ms).toBeLessThan(1_000n)
  })

  it('costs nothing but its spans when the collector is away', async () => {
    const tracing = createOtelTracing({ endpoint: 'http://127.0.0.1:1', ratio: 1, version: '0' })
    const events = Array.from({ length: 10_000 }, (_, n) => trade(n + 1))
    signals.publishing.emit(events)
    traceStage('receive', events, performance.now())
    const began = performance.now()
    await tracing.close()
    await tracing.close()
    expect(performance.now() - began).toBeLessThan(1_500)
    expect(signals.traced.isHeard).toBe(false)
  })

  // The metrics library loads OpenTelemetry's interfaces, `@opentelemetry/api`, by itself.
  it('loads no OpenTelemetry SDK and no exporter before they are wanted', () => {
    const loaded = (module: string) =>
      execFileSync(process.execPath, [
        '--input-type=module',
        '-e',
        `import { createRequire } from 'node:module'
        await import(${JSON.stringify(join(ROOT, 'dist', module))})
        const modules = Object.keys(createRequire('/').cache)
        console.log(modules.some((path) => /@opentelemetry.(sdk|exporter)/.test(path)))
        process.exit()`,
      ])
        .toString()
        .trim()
    expect(loaded('app.js')).toBe('false')
    expect(loaded('tracing/otel.js')).toBe('true')
  })
})
