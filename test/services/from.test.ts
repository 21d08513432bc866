import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { encodeEvent } from '../../src/market/encode.ts'
import { topicOf } from '../../src/market/topic.ts'
import { createPostgresStore } from '../../src/store/postgres.ts'
import { DEFAULT_STORE_SETTINGS } from '../../src/store/settings.ts'
import { createKey, type Message, until } from '../whole/program.ts'
import { Cluster } from './cluster.ts'
import { withEngines } from './engines.ts'

const MINUTES = Number(process.env.FROM_MINUTES ?? 10)
const SYMBOLS = Array.from({ length: 20 }, (_, n) => `C${n}/USDT`)
/** Events a second of each symbol, in the history and live. */
const RATE = 100
const OF_EACH = MINUTES * 60 * RATE
const PERIOD = 1_000_000 / RATE
/** Events recorded at a time. */
const BATCH = 20_000
/** What the gateway may need more than when it was idle, whoever reads the history and however slowly. */
const MAX_GROWTH = 256 * 1_048_576

/** Ten minutes that ended just now, recorded as the recorder records, only faster. Answers when it began, µs. */
async function recordHistory(url: string): Promise<number> {
  const store = createPostgresStore({ url, settings: DEFAULT_STORE_SETTINGS })
  try {
    await store.ready()
    const begin = (Date.now() - MINUTES * 60_000) * 1_000
    const topics = SYMBOLS.map((symbol) => topicOf('sim', 'trades', symbol))
    for (let seq = 1; seq <= OF_EACH; ) {
      const events = []
      for (; seq <= OF_EACH && events.length < BATCH; seq++) {
        const receivedTime = begin + seq * PERIOD
        const times = { sourceTime: receivedTime - 900, receivedTime, publishedTime: receivedTime + 50 }
        const trade = { type: 'trade', price: `${seq}.10`, size: '0.50', side: 'buy' } as const
        for (const topic of topics)
          events.push(encodeEvent(topic, { epoch: begin, seq, ...times }, { ...trade, id: `h${seq}` }))
      }
      await store.record({ events, deadLetters: [] })
    }
    return begin
  } finally {
    await store.close()
  }
}

interface Trade {
  readonly symbol: string
  readonly epoch: number
  readonly seq: number
}

/** Follows every trade from a time on, and checks each against the one before; it keeps no event. */
class Reader {
  readonly heads = new Map<string, readonly [epoch: number, seq: number]>()
  readonly faults: string[] = []
  events = 0
  lives = 0
  readonly socket: WebSocket
  readonly closed: Promise<number>
  readonly #begin: number

  constructor(url: string, apiKey: string, begin: number) {
    this.#begin = begin
    this.socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, { headers: { 'x-api-key': apiKey } })
    this.socket.on('error', () => {})
    this.closed = new Promise((done) => this.socket.once('close', done))
    this.socket.on('open', () =>
      this.socket.send(
        JSON.stringify({ type: 'subscribe', id: 7, channel: 'trades', symbols: ['*'], from: begin }),
      ),
    )
    this.socket.on('message', (data) => this.#take(JSON.parse(String(data)) as Message))
  }

  #take(message: Message): void {
    const { type, symbol, epoch, seq } = message as Message & Trade
    if (type === 'live') this.lives++
    else if (type === 'subscribed' || type === 'source') return
    else if (type !== 'trade' && type !== 'gap') this.faults.push(JSON.stringify(message))
    else {
      this.events++
      const head = this.heads.get(symbol)
      if (!this.#follows(message, head)) this.faults.push(`${symbol}: ${epoch}, ${seq} came after ${head}`)
      this.heads.set(symbol, [epoch, seq])
    }
  }

  #follows({ epoch, seq, prev, prevSent }: Message, head: readonly [number, number] | undefined): boolean {
    if (!head) return epoch === this.#begin && seq === 1
    if (prev !== undefined) return false
    return epoch === head[0] ? seq === head[1] + 1 : seq === 1 && String(prevSent) === String(head)
  }
}

/** What a node says of its process. */
async function metric(url: string, name: 'resident_memory_bytes' | 'cpu_seconds_total'): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return Number(text.match(new RegExp(`^process_${name} (\\S+)$`, 'm'))![1])
}

const mib = (bytes: number) => `${Math.round(bytes / 1_048_576)} MiB`

await withEngines(['timescale', 'kafka', 'redis'], ({ timescale, kafka, redis }) => {
  it(`${MINUTES} minutes of history while 2,000 events a second arrive: no hole, no double, one live, and a gateway that holds little of it`, async () => {
    const subscriptions = [{ channel: 'trades', symbols: SYMBOLS }]
    const sources = () => [{ id: 'sim', kind: 'simulator', rate: RATE, subscriptions }]
    const cluster = await Cluster.create({ name: 'from', database: timescale, kafka, redis, sources })
    const readers: Reader[] = []
    let watching = true
    try {
      const recordingAt = performance.now()
      const begin = await recordHistory(cluster.databaseUrl)
      const recordingMs = performance.now() - recordingAt
      await Promise.all([
        cluster.start('ingest', 'ingest'),
        cluster.start('worker', 'recorder,relay'),
        cluster.start('gateway', 'gateway'),
      ])
      await Promise.all(cluster.nodes.map((node) => node.ready()))
      const gateway = cluster.nodes.find(({ name }) => name === 'gateway')!
      await gateway.knows(SYMBOLS.length)
      const { url } = gateway
      const key = await createKey({ url }, 'premium')
      const read = () => {
        const reader = new Reader(url, key, begin)
        readers.push(reader)
        return reader
      }
      const before = await metric(url, 'resident_memory_bytes')
      const cpuBefore = await metric(url, 'cpu_seconds_total')
      let most = before
      const watch = (async () => {
        for (; watching; await sleep(250)) most = Math.max(most, await metric(url, 'resident_memory_bytes'))
      })()

      const began = performance.now()
      const fast = read()
      // Takes a little, and a while later a little more: less than arrives.
      const slow = read()
      let enough = 200
      slow.socket.on('message', () => {
        if (slow.events < enough) return
        enough = slow.events + 200
        slow.socket.pause()
        setTimeout(() => slow.socket.resume(), 1_000)
      })
      await until(
        () => fast.lives > 0,
        300_000,
        () => `${fast.events} events came`,
      )
      const liveMs = performance.now() - began
      const atLive = fast.events
      const cpu = (await metric(url, 'cpu_seconds_total')) - cpuBefore
      // It goes on live: every topic is in its new epoch.
      await until(() => [...fast.heads.values()].every(([epoch]) => epoch > begin), 30_000)
      const then = fast.events
      await until(() => fast.events > then + 2_000, 30_000)
      watching = false
      await watch
      console.log(
        `from: ${OF_EACH * SYMBOLS.length} events recorded in ${Math.round(recordingMs)} ms; ` +
          `live after ${atLive} events in ${Math.round(liveMs)} ms (${cpu.toFixed(1)} s of the gateway's CPU), ` +
          `${fast.events} in all, meanwhile a slow client took ${slow.events}; ` +
          `resident memory of the gateway ${mib(before)}, at most ${mib(most)}`,
      )
      expect([...fast.faults, ...slow.faults].slice(0, 20)).toEqual([])
      expect(fast.heads.size).toBe(SYMBOLS.length)
      expect(atLive).toBeGreaterThanOrEqual(OF_EACH * SYMBOLS.length)
      expect(fast.lives).toBe(1)
      expect(slow.lives).toBe(0)
      expect(slow.socket.readyState).not.toBe(WebSocket.CLOSED)
      expect(most - before).toBeLessThan(MAX_GROWTH)
    } finally {
      watching = false
      for (const { socket } of readers) socket.terminate()
      await cluster.end()
    }
  }, 600_000)
})
