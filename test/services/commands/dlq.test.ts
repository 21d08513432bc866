import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Bus } from '../../../src/bus/bus.ts'
import { createKafkaBus } from '../../../src/bus/kafka.ts'
import { topicOf } from '../../../src/market/topic.ts'
import { collect } from '../../contracts/bus.ts'
import { candle, START, series, tradesOf } from '../../contracts/events.ts'
import { run } from '../../whole/program.ts'
import { withEngines } from '../engines.ts'

const SILENT = { debug() {}, info() {}, warn() {}, error() {} }

interface Shown {
  readonly topic: string
  readonly partition: number
  readonly offset: string
  readonly source: string
  readonly reason: string
  readonly head: string
}

await withEngines(['kafka'], ({ kafka }) => {
  /** No other test's. */
  const source = `venue-${randomBytes(4).toString('hex')}`
  const env = { KAFKA_BROKERS: kafka.url }
  const trade = tradesOf(topicOf(source, 'trades', 'BTC/USDT'), 1)[0]!
  const minute = series(topicOf(source, 'ohlcv', 'BTC/USDT', '1m'))(candle('1m', START))
  const refused = 'refused by the store: numeric field overflow'
  let bus: Bus

  beforeAll(async () => {
    bus = createKafkaBus({ brokers: kafka.url.split(','), clientId: 'test', log: SILENT })
    const stored = collect(bus.subscribe('recorder', new AbortController().signal), 1)
    for (const { topic, receivedTime, bytes } of [trade, minute]) {
      const { channel, subject } = topic
      await bus.reject([{ source, channel, subject, receivedTime, reason: refused, bytes }])
    }
    const rubbish = Buffer.from('{"price":\u0007"NaN"}')
    await bus.reject([
      { source, channel: 'trades', receivedTime: START, reason: 'no number', bytes: rubbish },
    ])
    await bus.publish([trade])
    await stored
  })
  afterAll(() => bus.close())

  async function list(): Promise<readonly Shown[]> {
    const { stdout } = await run(['dlq', 'list', '--json', '--limit', '1000'], env)
    return (JSON.parse(stdout) as { items: Shown[] }).items.filter((item) => item.source === source)
  }

  it('lists dead letters of all topics with their place, reason and first bytes', async () => {
    const items = await list()
    expect(items.map(({ topic, reason }) => [topic, reason]).sort()).toEqual([
      ['md.ohlcv', refused],
      ['md.trade', 'no number'],
      ['md.trade', refused],
    ])
    expect(items.find(({ topic }) => topic === 'md.ohlcv')!.head).toBe(minute.bytes.toString('utf8', 0, 120))
  })

  it('lists them for people, one a line, and lets no byte of a venue steer the terminal', async () => {
    const { stdout, code } = await run(['dlq', 'list', '--topic', 'md.trade'], env)
    expect(code).toBe(0)
    const line = stdout.split('\n').find((of) => of.includes(source) && of.includes('no number'))!
    expect(line).toMatch(/^md\.trade\t0\t\d+\t2024-01-01T00:00:00\.000Z\t/)
    expect(stdout).not.toContain('\u0007')
  })

  it('publishes again what is an event, and says of the rest that it never was one', async () => {
    const again = collect(bus.subscribe('again', new AbortController().signal), 2)
    const ohlcv = await run(['dlq', 'retry', 'md.ohlcv', '--json'], env)
    expect(JSON.parse(ohlcv.stdout)).toEqual({ retried: 1, notEvents: [] })
    const trades = await run(['dlq', 'retry', 'md.trade'], env)
    expect(trades.stdout).toBe(
      'Published 1 of 2 again.\n1 never were events, so they cannot be published; their bytes stay in md.trade.dlq.\n',
    )
    expect([ohlcv.code, trades.code]).toEqual([0, 0])
    const events = await again
    for (const event of [trade, minute]) {
      const same = events.find(({ topic }) => topic === event.topic)!
      expect(same.bytes.equals(event.bytes)).toBe(true)
      expect({ ...same, bytes: 0 }).toEqual({ ...event, bytes: 0 })
    }
  })

  it('publishes one chosen letter, and fails where that is none or no event', async () => {
    const items = await list()
    const place = ({ topic, partition, offset }: Shown) => [
      topic,
      '--partition',
      `${partition}`,
      '--offset',
      offset,
    ]
    const event = items.find(({ topic, reason }) => topic === 'md.trade' && reason === refused)!
    const rubbish = items.find(({ reason }) => reason === 'no number')!
    const results = []
    for (const of of [event, rubbish, { ...event, offset: '999999' }])
      results.push(await run(['dlq', 'retry', ...place(of)], env))
    expect(results.map(({ code }) => code)).toEqual([0, 1, 2])
    expect(results[0]!.stdout).toBe('Published 1 of 1 again.\n')
    expect(results[2]!.stderr).toBe('feedgate: there is no such dead letter of md.trade\n')
  })

  it('refuses what it does not know with one line, and 2', async () => {
    const calls = [
      ['list', '--topic', 'md.nothing'],
      ['list', '--limit', '0'],
      ['retry', 'md.trade', '--offset', '1'],
    ]
    for (const call of calls) {
      const { code, stderr } = await run(['dlq', ...call], env)
      expect(stderr.trimEnd().split('\n')).toHaveLength(1)
      expect(code).toBe(2)
    }
  })
})
