import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { Kafka, logLevel } from 'kafkajs'
import { expect, it } from 'vitest'
import { createKafkaBus, type KafkaBusOptions } from '../../src/bus/kafka.ts'
import type { Log } from '../../src/gateway/gateway.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import { topicOf } from '../../src/market/topic.ts'
import { runRecorder } from '../../src/store/recorder.ts'
import { collect, describeBus } from '../contracts/bus.ts'
import { book, freshTopic, positionOf, price, series, tradesOf } from '../contracts/events.ts'
import { onPath } from './engine.ts'
import { withEngines } from './engines.ts'
import { MemoryStore } from './memory-store.ts'

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} }
const aWhile = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const untilTrue = async (condition: () => boolean) => {
  while (!condition()) await aWhile(20)
}

await withEngines(['kafka'], ({ kafka }) => {
  const brokers = kafka.url.split(',')
  const freshPrefix = () => `${randomBytes(4).toString('hex')}.`
  const open = (options: Partial<KafkaBusOptions> = {}) =>
    createKafkaBus({
      brokers,
      clientId: 'feedgate-test',
      topicPrefix: freshPrefix(),
      log: SILENT,
      ...options,
    })
  const client = () => new Kafka({ brokers, clientId: 'test', logLevel: logLevel.NOTHING })

  /** All messages of a topic as they lie in Kafka. */
  async function messagesOf(topic: string, count: number) {
    const consumer = client().consumer({ groupId: `test-${freshPrefix()}`, maxWaitTimeInMs: 50 })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    const found: { key: string; value: Buffer; headers: Record<string, string> }[] = []
    await consumer.run({
      eachMessage: async ({ message: { key, value, headers = {} } }) => {
        const plain = Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, String(text)]))
        found.push({ key: String(key), value: value!, headers: plain })
      },
    })
    await untilTrue(() => found.length >= count)
    await consumer.disconnect()
    return found
  }

  describeBus('kafka', async () => open())

  it('carries 10,000 events a second through four partitions in the order of each topic', async () => {
    const bus = open({ partitions: 4 })
    const stop = new AbortController()
    const got = collect(bus.subscribe('group', stop.signal), 20_000)
    const topics = Array.from({ length: 10 }, () => tradesOf(freshTopic('trades'), 2_000))
    for (let i = 0; i < 2_000; i += 20) await bus.publish(topics.flatMap((events) => events.slice(i, i + 20)))
    for (const events of topics)
      expect((await got).filter((e) => e.topic === events[0]!.topic).map((e) => e.seq)).toEqual(
        events.map((e) => e.seq),
      )
    await bus.close()
  })

  it('goes on where a group stopped, and gives what was not taken again', async () => {
    const topicPrefix = freshPrefix()
    const events = tradesOf(freshTopic('trades'), 30)
    const first = open({ topicPrefix })
    const batches = first.subscribe('group', new AbortController().signal)[Symbol.asyncIterator]()
    await first.publish(events.slice(0, 10))
    const taken: number[] = []
    while (taken.length < 10)
      taken.push(...(await batches.next()).value.events.map((e: EncodedEvent) => e.seq))
    await first.publish(events.slice(10, 20))
    // Asking for this batch takes the one before; this one is in hand, and not taken, when the program ends.
    await batches.next()
    await first.close()
    const second = open({ topicPrefix })
    await second.publish(events.slice(20))
    const again = await collect(second.subscribe('group', new AbortController().signal), 20)
    expect(again.map((e) => e.seq)).toEqual(events.slice(10).map((e) => e.seq))
    await second.close()
  })

  it('commits what was taken, not only at its end', async () => {
    const topicPrefix = freshPrefix()
    const bus = open({ topicPrefix })
    const batches = bus.subscribe('group', new AbortController().signal)[Symbol.asyncIterator]()
    await bus.publish(tradesOf(freshTopic('trades'), 10))
    for (let n = 0; n < 10; ) n += (await batches.next()).value.events.length
    void batches.next()
    const admin = client().admin()
    await admin.connect()
    const committed = async () => {
      const [found] = await admin.fetchOffsets({
        groupId: `${topicPrefix}feedgate-group`,
        topics: [`${topicPrefix}md.trade`],
      })
      return found!.partitions[0]!.offset
    }
    while ((await committed()) !== '10') await aWhile(50)
    await admin.disconnect()
    await bus.close()
  })

  it('shows key, headers and value as the contract has them', async () => {
    const topicPrefix = freshPrefix()
    const bus = open({ topicPrefix })
    const odds = series(topicOf('supplier', 'odds', 'MATCH_002'))(price('home', '1.85'))
    const trade = tradesOf(topicOf('venue', 'trades', 'BTC/USDT'), 1)[0]!
    trade.trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await bus.publish([odds, trade])
    await bus.ends()
    const stamp = (e: EncodedEvent) =>
      `${e.epoch},${e.seq},${e.receivedTime},${e.eventTime},${e.key === undefined ? '' : `=${e.key}`}`
    expect(await messagesOf(`${topicPrefix}odds_updates`, 1)).toEqual([
      {
        key: 'MATCH_002',
        value: odds.bytes,
        headers: {
          source: 'supplier',
          v: '1',
          topic: 'supplier|odds|MATCH_002',
          type: 'odds',
          stamp: stamp(odds),
        },
      },
    ])
    const headers = { source: 'venue', v: '1', type: 'trade', stamp: stamp(trade), traceparent: trade.trace }
    expect(await messagesOf(`${topicPrefix}md.trade`, 1)).toEqual([
      { key: 'venue|trades|BTC/USDT', value: trade.bytes, headers },
    ])
    await bus.close()
    if (!onPath('kcat')) return
    const format = ['-C', '-e', '-q', '-f', '%k %h %s']
    const { stdout } = await promisify(execFile)('kcat', [
      '-b',
      kafka.url,
      '-t',
      `${topicPrefix}odds_updates`,
      ...format,
    ])
    expect(stdout).toContain('MATCH_002 source=supplier,v=1,topic=supplier|odds|MATCH_002,type=odds,')
    expect(stdout).toContain(odds.bytes.toString())
  })

  it('makes topics that are not compacted, with the partitions and the retention of its settings', async () => {
    const topicPrefix = freshPrefix()
    const bus = open({ topicPrefix, partitions: 2, retentionMs: 3_600_000, retentionBytes: 1 << 20 })
    await bus.ends()
    await bus.close()
    const admin = client().admin()
    await admin.connect()
    const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(topicPrefix))
    expect(
      topics
        .map((topic) => topic.slice(topicPrefix.length))
        .filter((topic) => !topic.endsWith('.dlq'))
        .sort(),
    ).toEqual(
      [
        ...['md.book', 'md.derivatives', 'md.derived', 'md.ohlcv', 'md.source', 'md.ticker', 'md.trade'],
        ...['messages', 'msg.out.instagram', 'msg.out.whatsapp', 'msg.status', 'odds_updates'],
      ].sort(),
    )
    expect(topics.filter((topic) => topic.endsWith('.dlq'))).toHaveLength(12)
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: 2, name: `${topicPrefix}md.book` }],
    })
    const config = Object.fromEntries(resources[0]!.configEntries.map((e) => [e.configName, e.configValue]))
    expect(config).toMatchObject({
      'cleanup.policy': 'delete',
      'retention.ms': '3600000',
      'retention.bytes': '1048576',
    })
    const { topics: found } = await admin.fetchTopicMetadata({ topics: [`${topicPrefix}md.book`] })
    expect(found[0]!.partitions).toHaveLength(2)
    await admin.disconnect()
  })

  it('stores exactly once while readers come, go and lose partitions, and fences who is late', async () => {
    const topicPrefix = freshPrefix()
    const memory = new MemoryStore()
    memory.ms = 20
    const topics = Array.from({ length: 8 }, () => tradesOf(freshTopic('trades'), 3_000))
    const writer = open({ topicPrefix, partitions: 4 })
    const recorders: { stop: AbortController; done: Promise<void> }[] = []
    const start = () => {
      const bus = open({ topicPrefix, partitions: 4 })
      const stop = new AbortController()
      const done = runRecorder({ bus, store: memory.store, log: SILENT }, stop.signal).then(() => bus.close())
      recorders.push({ stop, done })
    }
    start()
    const writing = (async () => {
      for (let i = 0; i < 3_000; i += 5) {
        await writer.publish(topics.flatMap((events) => events.slice(i, i + 5)))
        await aWhile(10)
      }
    })()
    await aWhile(1_500)
    start()
    await aWhile(1_500)
    recorders[0]!.stop.abort()
    await aWhile(500)
    start()
    await writing
    await untilTrue(() => memory.rows.length >= 24_000)
    await aWhile(500)
    expect(new Set(memory.rows.map(positionOf)).size).toBe(24_000)
    expect(memory.rows).toHaveLength(24_000)
    for (const events of topics)
      expect(memory.rows.filter((e) => e.topic === events[0]!.topic).map((e) => e.seq)).toEqual(
        events.map((e) => e.seq),
      )
    for (const { stop } of recorders) stop.abort()
    await Promise.all([...recorders.map(({ done }) => done), writer.close()])
  })

  it('reads the partitions of a fenced batch again from where they are stored', async () => {
    const topicPrefix = freshPrefix()
    const memory = new MemoryStore()
    const bus = open({ topicPrefix })
    const stop = new AbortController()
    const running = runRecorder({ bus, store: memory.store, log: SILENT }, stop.signal)
    const events = tradesOf(freshTopic('trades'), 30)
    await bus.publish(events.slice(0, 10))
    await untilTrue(() => memory.rows.length === 10)
    // Another recorder, which had the partition for a moment, stored the next ten.
    memory.stands.set(`${topicPrefix}md.trade/0`, '20')
    await bus.publish(events.slice(10))
    await untilTrue(() => memory.rows.length === 20)
    expect(memory.fences).toBeGreaterThan(0)
    expect(memory.rows.slice(10).map((e) => e.seq)).toEqual(events.slice(20).map((e) => e.seq))
    stop.abort()
    await running
    await bus.close()
  })

  it('waits, in its group, for a database that is away, and loses nothing', async () => {
    const memory = new MemoryStore()
    memory.away = true
    const bus = open()
    const stop = new AbortController()
    const running = runRecorder({ bus, store: memory.store, log: SILENT }, stop.signal)
    const events = tradesOf(freshTopic('trades'), 60_000)
    for (let i = 0; i < events.length; i += 500) await bus.publish(events.slice(i, i + 500))
    await aWhile(8_000)
    expect(bus.fault()).toBeUndefined()
    memory.away = false
    await untilTrue(() => memory.rows.length >= 60_000)
    memory.away = true
    await aWhile(7_000)
    await bus.publish(tradesOf(freshTopic('trades'), 10))
    await aWhile(500)
    memory.away = false
    await untilTrue(() => memory.rows.length >= 60_010)
    expect(memory.rows.slice(0, 60_000).map((e) => e.seq)).toEqual(events.map((e) => e.seq))
    expect(memory.rows).toHaveLength(60_010)
    stop.abort()
    await running
    await bus.close()
  })

  it('reads what there is, and says so, when Kafka has deleted what was not stored yet', async () => {
    const topicPrefix = freshPrefix()
    const memory = new MemoryStore()
    const errors: object[] = []
    const events = tradesOf(freshTopic('trades'), 20)
    const writer = open({ topicPrefix })
    const written = collect(writer.subscribe('group', new AbortController().signal), 20)
    await writer.publish(events)
    await written
    await writer.close()
    const admin = client().admin()
    await admin.connect()
    // kafkajs deletes only of topics that it has looked at.
    await admin.fetchTopicOffsets(`${topicPrefix}md.trade`)
    await admin.deleteTopicRecords({
      topic: `${topicPrefix}md.trade`,
      partitions: [{ partition: 0, offset: '15' }],
    })
    await admin.disconnect()
    memory.stands.set(`${topicPrefix}md.trade/0`, '5')
    const bus = open({ topicPrefix, log: { ...SILENT, error: (fields) => void errors.push(fields) } })
    const stop = new AbortController()
    const running = runRecorder({ bus, store: memory.store, log: SILENT }, stop.signal)
    await untilTrue(() => memory.rows.length >= 5)
    expect(memory.rows.map((e) => e.seq)).toEqual([16, 17, 18, 19, 20])
    expect(errors).toEqual([
      {
        group: `${topicPrefix}feedgate-recorder`,
        partition: `${topicPrefix}md.trade/0`,
        stored: '5',
        low: '15',
        high: '20',
      },
    ])
    stop.abort()
    await running
    await bus.close()
  })

  it('keeps dead letters with their bytes, place and reason, and stores each exactly once', async () => {
    const topicPrefix = freshPrefix()
    const memory = new MemoryStore()
    const bus = open({ topicPrefix })
    const stop = new AbortController()
    const running = runRecorder({ bus, store: memory.store, log: SILENT }, stop.signal)
    const seenByOthers = collect(bus.subscribe('other', stop.signal), 1)
    const bytes = Buffer.from([0, 255, 123])
    const letter = {
      source: 'venue',
      channel: 'orderbook',
      subject: 'BTC/USDT',
      receivedTime: 7,
      reason: 'no number',
      bytes,
    }
    await bus.reject([letter, { source: 'venue', receivedTime: 8, reason: 'no JSON', bytes }])
    // Somebody else's bytes, between two events, stop nobody.
    const [first, second] = tradesOf(topicOf('venue', 'trades', 'BTC/USDT'), 2)
    await bus.publish([first!])
    await untilTrue(() => memory.rows.length === 1)
    const producer = client().producer()
    await producer.connect()
    const strange = [{ value: 'no event' }, { key: 'venue|trades|X', value: null }]
    await producer.send({ topic: `${topicPrefix}md.trade`, messages: strange })
    await producer.send({ topic: `${topicPrefix}md.source.dlq`, messages: [{ value: 'no letter of ours' }] })
    await producer.disconnect()
    await bus.publish([second!])
    await untilTrue(() => memory.rows.length === 2 && memory.letters.length >= 5)
    await aWhile(500)
    expect((await seenByOthers).length).toBeGreaterThan(0)
    expect(await messagesOf(`${topicPrefix}md.book.dlq`, 1)).toEqual([
      {
        key: 'venue',
        value: bytes,
        headers: {
          v: '1',
          topic: `${topicPrefix}md.book`,
          source: 'venue',
          channel: 'orderbook',
          subject: 'BTC/USDT',
          receivedTime: '7',
          reason: 'no number',
        },
      },
    ])
    expect(
      (await messagesOf(`${topicPrefix}md.source.dlq`, 2)).map(({ headers }) => headers.reason),
    ).toContain('no JSON')
    const [strayed] = await messagesOf(`${topicPrefix}md.source.dlq`, 4).then((all) =>
      all.filter(({ value }) => value.toString() === 'no event'),
    )
    expect(strayed!.headers).toMatchObject({
      topic: `${topicPrefix}md.trade`,
      partition: '0',
      offset: '1',
      reason: 'read from Kafka: no event of this gateway',
    })
    expect(memory.letters.map(({ reason }) => reason).sort()).toEqual([
      'no JSON',
      'no number',
      'no reason given',
      'read from Kafka: no event of this gateway',
      'read from Kafka: no event of this gateway',
    ])
    expect(memory.letters.find(({ reason }) => reason === 'no number')).toEqual(letter)
    stop.abort()
    await running
    await bus.close()
  })

  it('moves an event that is too large for its topic to the dead letters, and goes on', async () => {
    const topicPrefix = freshPrefix()
    const bus = open({ topicPrefix, maxMessageBytes: 1 << 20 })
    const stop = new AbortController()
    const memory = new MemoryStore()
    const running = runRecorder({ bus, store: memory.store, log: SILENT }, stop.signal)
    const next = series(topicOf('venue', 'orderbook', 'BTC/USDT'))
    const levels = Array.from({ length: 100_000 }, (_, i): [string, string] => [`${i}.00`, '1.00000000'])
    const large = next(book('snapshot', levels, []))
    expect(large.bytes.length).toBeGreaterThan(1 << 20)
    await bus.publish([large, next(book('delta', [['1', '2']], []))])
    await untilTrue(() => memory.rows.length === 1 && memory.letters.length === 1)
    // While we run the broker is told of a lower limit: now it is the broker that refuses.
    const admin = client().admin()
    await admin.connect()
    await admin.alterConfigs({
      validateOnly: false,
      resources: [
        {
          type: 2,
          name: `${topicPrefix}md.book`,
          configEntries: [{ name: 'max.message.bytes', value: '20000' }],
        },
      ],
    })
    await admin.disconnect()
    const other = next(book('snapshot', levels.slice(0, 2_000), []))
    await bus.publish([next(book('delta', [['1', '3']], [])), other, next(book('delta', [['1', '4']], []))])
    await untilTrue(() => memory.rows.length >= 3 && memory.letters.length >= 2)
    expect([...new Set(memory.rows.map((e) => e.seq))]).toEqual([2, 4, 5])
    expect(memory.letters[1]!.bytes.equals(other.bytes)).toBe(true)
    expect(memory.letters[0]!.reason).toMatch(/larger than Kafka takes/)
    stop.abort()
    await running
    await bus.close()
  })
})
