import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createMetrics, type Metrics } from '../../src/metrics/metrics.ts'
import { signals } from '../../src/signals.ts'

let metrics: Metrics

beforeEach(() => {
  metrics = createMetrics()
})
afterEach(() => metrics.close())

describe('metrics', () => {
  it('count what the recorder and the cache say, from 0', async () => {
    for (const name of ['messages_consumed', 'db_writes', 'cache_sets', 'errors'])
      expect(await metrics.text()).toMatch(new RegExp(`^odds_proc_${name}_total 0$`, 'm'))
    signals.recorderConsumed.emit({ events: 5, odds: 2 })
    signals.recorderWrote.emit({ rows: 4, ms: 3 })
    signals.recorderError.emit({ reason: 'gone' })
    signals.cacheSet.emit({ count: 7 })
    const text = await metrics.text()
    expect(text).toMatch(/^odds_proc_messages_consumed_total 5$/m)
    expect(text).toMatch(/^odds_proc_db_writes_total 4$/m)
    expect(text).toMatch(/^odds_proc_cache_sets_total 7$/m)
    expect(text).toMatch(/^odds_proc_errors_total 1$/m)
  })

  it('listen to every signal that there is', async () => {
    const fact = {
      ...{
        source: 'sim',
        state: 'connected',
        reason: 'r',
        attempt: 0,
        count: 1,
        what: 'w',
        channel: 'ticker',
      },
      ...{ symbol: 'A/B', events: 1, odds: 1, rows: 1, ms: 1, endpoint: '/ws', tier: 'basic', code: '400' },
      ...{ bytes: 10, micros: 100, encoding: 'json', plain: 20, deflated: 10, open: 1 },
    }
    // Tracing listens to these two.
    const { publishing, traced, ...counted } = signals
    expect([publishing, traced].some((signal) => signal.isHeard)).toBe(false)
    for (const [name, signal] of Object.entries(counted)) {
      const before = await samples()
      ;(signal as { emit(fact: unknown): void }).emit(fact)
      expect(await samples(), name).not.toBe(before)
    }
  })

  it('tell what sources and clients do', async () => {
    signals.sourceState.emit({ source: 'sim', state: 'connected', reason: '', attempt: 0 })
    signals.clientConnected.emit({ endpoint: '/ws', tier: 'basic' })
    signals.clientConnected.emit({ endpoint: '/ws', tier: 'basic' })
    signals.clientDisconnected.emit({ endpoint: '/ws', tier: 'basic', code: 4100 })
    signals.framesSent.emit({ encoding: 'msgpack+deflate', count: 3, bytes: 200 })
    signals.frameDeflated.emit({ plain: 900, deflated: 200 })
    const text = await metrics.text()
    expect(text).toContain('feedgate_source_connected{source="sim"} 1')
    expect(text).toContain('feedgate_clients{endpoint="/ws",tier="basic"} 1')
    expect(text).toContain('feedgate_client_closes_total{endpoint="/ws",code="4100"} 1')
    expect(text).toContain('feedgate_frames_sent_total{encoding="msgpack+deflate"} 3')
    expect(text).toContain('feedgate_bytes_sent_total{encoding="msgpack+deflate"} 200')
    expect(text).toMatch(/^feedgate_frames_deflated_total 1$/m)
    expect(text).toMatch(/^feedgate_deflate_input_bytes_total 900$/m)
    expect(text).toMatch(/^feedgate_deflate_output_bytes_total 200$/m)
    expect(text).toContain('nodejs_eventloop_lag_seconds')
  })

  it('do not grow with what others invent', async () => {
    for (let i = 0; i < 1_000; i++) signals.framesReceived.emit({ source: `source-${i}`, count: 1 })
    const lines = (await metrics.text())
      .split('\n')
      .filter((line) => line.startsWith('feedgate_frames_received_total{'))
    expect(lines).toHaveLength(201)
    expect(lines).toContain('feedgate_frames_received_total{source="other"} 800')
  })

  it('stop listening when they are closed', () => {
    metrics.close()
    metrics.close()
    signals.cacheSet.emit({ count: 1 })
  })

  /** Without those of the process, which change by themselves. */
  async function samples(): Promise<string> {
    return (await metrics.text())
      .split('\n')
      .filter((line) => /^(feedgate|odds_proc)_/.test(line))
      .join('\n')
  }
})
