import { Redis } from 'ioredis'
import { Kafka, logLevel } from 'kafkajs'
import { Client } from 'pg'
import { expect, it } from 'vitest'
import { type Engine, emptyKafka, emptyRedis, freshDatabase, withEngines } from './engines.ts'

/** Kills and starts it again; a server of somebody else is left alone. */
async function killAndRestart(engine: Engine): Promise<void> {
  if (!engine.own) return
  await engine.kill()
  await engine.restart()
}

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

await withEngines(['redis'], ({ redis }) => {
  it('Redis answers, and comes back empty after kill -9', async () => {
    await emptyRedis(redis)
    const client = new Redis(redis.url, { retryStrategy: () => 50 })
    client.on('error', () => {})
    try {
      await client.set('last:a', 'value')
      expect(await client.get('last:a')).toBe('value')
      await killAndRestart(redis)
      expect(await client.get('last:a')).toBe(redis.own ? null : 'value')
    } finally {
      client.disconnect()
    }
  })
})

await withEngines(['postgres'], ({ postgres }) => {
  it('PostgreSQL answers, and keeps what was committed over kill -9', async () => {
    const { url, drop } = await freshDatabase(postgres)
    try {
      await query(url, 'create table prices (price numeric)')
      await query(url, "insert into prices values ('60000.000000')")
      await killAndRestart(postgres)
      expect(await query(url, 'select price from prices')).toEqual([{ price: '60000.000000' }])
    } finally {
      await drop()
    }
  })
})

await withEngines(['timescale'], ({ timescale }) => {
  it('TimescaleDB has hypertables, and keeps what was committed over kill -9', async () => {
    const { url, drop } = await freshDatabase(timescale)
    try {
      await query(url, 'create extension timescaledb')
      await query(
        url,
        `create table prices (topic_id integer, received_time bigint, price numeric)
         with (tsdb.hypertable, tsdb.partition_column = 'received_time', tsdb.chunk_interval = 1000000)`,
      )
      await query(url, 'insert into prices select 1, t * 500000, 1.50 from generate_series(1, 10) t')
      await killAndRestart(timescale)
      expect(await query(url, 'select count(*)::integer as n, sum(price) as sum from prices')).toEqual([
        { n: 10, sum: '15.00' },
      ])
      expect(await query(url, "select count(*)::integer as n from show_chunks('prices')")).toEqual([{ n: 6 }])
    } finally {
      await drop()
    }
  })
})

await withEngines(['kafka'], ({ kafka }) => {
  it('Kafka carries messages, and keeps what it acknowledged over kill -9', async () => {
    await emptyKafka(kafka)
    const client = new Kafka({
      brokers: kafka.url.split(','),
      logLevel: logLevel.NOTHING,
      retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 1e6 },
    })
    const topic = `engines.${Date.now()}`
    const admin = client.admin()
    const producer = client.producer({ idempotent: true })
    const consumer = client.consumer({ groupId: topic, sessionTimeout: 6_000, heartbeatInterval: 1_000 })
    try {
      await admin.connect()
      await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true })
      await producer.connect()
      await producer.send({ topic, messages: [{ key: 'k', value: 'before' }] })
      await killAndRestart(kafka)
      await producer.send({ topic, messages: [{ key: 'k', value: 'after' }] })
      const values: string[] = []
      await consumer.connect()
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      await new Promise<void>((done) => {
        void consumer.run({
          eachMessage: async ({ message }) => {
            if (values.push(String(message.value)) === 2) done()
          },
        })
      })
      expect(values).toEqual(['before', 'after'])
    } finally {
      await consumer.disconnect()
      await producer.disconnect()
      await admin.deleteTopics({ topics: [topic] }).catch(() => undefined)
      await admin.disconnect()
    }
  })
})
