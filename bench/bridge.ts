/**
 * What one would write in an afternoon: frames of a venue through Kafka and Redis to clients, by kafkajs, ioredis and `ws`
 * alone, each tuned for latency, in three processes. It numbers, proves and stores nothing.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import { Kafka, logLevel, type Message } from 'kafkajs'
import { WebSocket, WebSocketServer } from 'ws'
import { SYMBOLS } from './venue.ts'

const TOPIC = 'bare'
const FLUSH_MS = 1
const BATCH_MESSAGES = 1_000
const streamOf = (symbol: string) => `${symbol.toLowerCase()}usdt@aggTrade`

export interface Bridge {
  /** Where clients connect. */
  readonly url: string
  readonly parts: Readonly<Record<string, number>>
  end(): Promise<void>
}

const PARTS = ['bridge-out', 'bridge-relay', 'bridge-in'] as const

export async function startBridge(
  program: string,
  kafka: string,
  redis: string,
  venue: string,
): Promise<Bridge> {
  const admin = new Kafka({ brokers: kafka.split(','), logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: 1 }], waitForLeaders: true })
  await admin.disconnect()
  const children: ChildProcess[] = []
  let url = ''
  // Readers first: nothing is missed.
  for (const part of PARTS) {
    const child = fork(program, ['--part', part, '--kafka', kafka, '--redis', redis, '--to', venue])
    children.push(child)
    const [said] = (await once(child, 'message')) as [string]
    if (part === 'bridge-out') url = said
  }
  return {
    url,
    parts: Object.fromEntries(PARTS.map((part, n) => [part.replace('bridge-', ''), children[n]!.pid!])),
    end: async () => {
      const running = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
      for (const child of running) child.kill()
      await Promise.all(running.map((child) => once(child, 'exit')))
    },
  }
}

const client = (brokers: string) => new Kafka({ brokers: brokers.split(','), logLevel: logLevel.ERROR })

/** Child: venue → Kafka, one send in flight, what has queued every millisecond. */
export async function bridgeIn(kafka: string, venue: string): Promise<void> {
  const producer = client(kafka).producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const upstream = new WebSocket(`${venue}/stream`)
  await once(upstream, 'open')
  let queued: Message[] = []
  let wake: (() => void) | undefined
  upstream.on('message', (data: Buffer) => {
    const text = data.toString()
    const { stream } = JSON.parse(text) as { stream?: string }
    if (!stream) return process.send!('ready')
    queued.push({ key: stream, value: text })
    wake?.()
  })
  upstream.send(JSON.stringify({ method: 'SUBSCRIBE', params: SYMBOLS.map(streamOf), id: 1 }))
  for (let last = 0; ; ) {
    if (queued.length === 0)
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    const wait = last + FLUSH_MS - performance.now()
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    last = performance.now()
    const messages = queued.slice(0, BATCH_MESSAGES)
    queued = queued.slice(BATCH_MESSAGES)
    await producer.send({ topic: TOPIC, messages })
  }
}

/** Child: Kafka → Redis, one PUBLISH a batch. */
export async function bridgeRelay(kafka: string, redis: string): Promise<void> {
  const publisher = new Redis(redis)
  const consumer = client(kafka).consumer({ groupId: TOPIC, minBytes: 1, maxWaitTimeInMs: 100 })
  await consumer.connect()
  await consumer.subscribe({ topic: TOPIC, fromBeginning: true })
  consumer.on(consumer.events.GROUP_JOIN, () => process.send!('ready'))
  // Else the group would live on for a while.
  process.once('SIGTERM', () => consumer.disconnect().finally(() => process.exit()))
  await consumer.run({
    autoCommitInterval: 1_000,
    eachBatch: async ({ batch }) => {
      await publisher.publish(TOPIC, batch.messages.map(({ key, value }) => `${key}\t${value}`).join('\n'))
    },
  })
}

/** Child: Redis → clients. */
export async function bridgeOut(redis: string): Promise<void> {
  const byStream = new Map<string, Set<WebSocket>>()
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
  await once(server, 'listening')
  server.on('connection', (socket) => {
    socket.on('message', (data) => {
      const { symbols } = JSON.parse(String(data)) as { symbols: string[] }
      const stream = streamOf(symbols[0]!.replace('/USDT', ''))
      byStream.set(stream, (byStream.get(stream) ?? new Set()).add(socket))
      socket.send('{"type":"subscribed"}')
    })
  })
  const subscriber = new Redis(redis)
  await subscriber.subscribe(TOPIC)
  subscriber.on('message', (_, lines) => {
    for (const line of lines.split('\n')) {
      const tab = line.indexOf('\t')
      for (const socket of byStream.get(line.slice(0, tab)) ?? []) socket.send(line.slice(tab + 1))
    }
  })
  process.send!(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
}
