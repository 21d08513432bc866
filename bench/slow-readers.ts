/**
 * What clients that stop reading cost the others, and the memory they take: 1,000 clients of one shape, of which 10
 * pause their sockets until the hub closes them with 4100; then they come back and resume. In turns with the same load
 * while all read, in one run. The server is a process of its own, the clients that read are raw sockets in another.
 *
 *   npm run bench:slow-readers [-- --clients 1000 --slow 10 --rate 15 --seconds 15 --turns 3] [-- --quick]
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { WebSocket } from 'ws'
import { encodeEvent } from '../src/market/encode.ts'
import { signals } from '../src/signals.ts'
import { Asked } from './asked.ts'
import { hubServer, now, topics } from './fanout-server.ts'
import { beClients, RawClients, symbolName } from './raw-clients.ts'
import { micros } from './venue.ts'

const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '1000' },
    slow: { type: 'string', default: '10' },
    rate: { type: 'string', default: '15' },
    seconds: { type: 'string', default: '15' },
    turns: { type: 'string', default: '3' },
    quick: { type: 'boolean', default: false },
    part: { type: 'string' },
  },
})

const ALIKE = { symbols: 1, each: 1 }
/** Long, so that what the kernel takes for a socket (megabytes) is full soon. */
const ID = 'x'.repeat(16_000)
/** As many as the memory cache keeps of a topic: then it grows no more. */
const WINDOW_EVENTS = 2_000
const MOST_TIMES = 1.2
/** Of one that does not read: what may wait in its socket before it is behind, and what may wait for it from then on. */
const BOUND_BYTES = 256 * 1_024 + 4 * 1_048_576
const MAX_WAIT_MS = 120_000

const turn = (ms: number) => new Promise((resume) => setTimeout(resume, ms))

/** The process of the server: answers `open`, `start`, `stop`, `closes` and `memory`. */
async function beServer(): Promise<void> {
  const target = await hubServer(1)
  const [topic] = topics(1)
  let seq = 0
  const publish = () => {
    const at = { epoch: 1, seq: ++seq, receivedTime: now(), publishedTime: now() }
    const payload = { type: 'trade', id: ID, price: String(micros()), size: '1', side: 'buy' } as const
    target.deliver([[encodeEvent(topic!, at, payload)]])
  }
  for (let event = 0; event < WINDOW_EVENTS; event++) publish()
  const closes: number[] = []
  signals.clientDisconnected.on(({ code }) => void closes.push(code))
  let peak = 0
  setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss())
  }, 100)
  let load: NodeJS.Timeout | undefined
  Asked.answer({
    open: () => target.port,
    start: (rate: number) => {
      load = setInterval(publish, 1_000 / rate)
    },
    stop: () => clearInterval(load),
    closes: () => closes.splice(0),
    memory: () => {
      const most = peak
      gc!()
      peak = process.memoryUsage.rss()
      return most
    },
  })
}

/** A client that may stop reading, and checks that it misses nothing: every event follows the one before. */
class Reader {
  #socket: WebSocket | undefined
  #seq: number | undefined
  broken: string | undefined
  readonly #url: string

  constructor(port: number) {
    this.#url = `ws://127.0.0.1:${port}/ws`
  }

  get seq(): number {
    return this.#seq ?? 0
  }

  /** From where it stands. */
  async connect(): Promise<void> {
    const socket = new WebSocket(this.#url, { perMessageDeflate: false })
    this.#socket = socket
    const subscribed = new Promise<void>((done) =>
      socket.on('message', (data) => {
        const message = JSON.parse(String(data))
        if (message.type === 'trade') this.#take(message)
        else if (message.unrecovered?.length > 0) this.broken ??= 'not recovered'
        if (message.type === 'subscribed') done()
      }),
    )
    socket.on('error', () => {})
    await once(socket, 'open')
    const [topic] = topics(1)
    socket.send(
      JSON.stringify({
        ...{ type: 'subscribe', channel: 'trades', symbols: [symbolName(0)], snapshot: false },
        ...(this.#seq === undefined ? {} : { resume: { [topic!.publicId]: [1, this.#seq] } }),
      }),
    )
    await subscribed
  }

  #take({ seq, prev }: { seq: number; prev?: number }): void {
    if (this.#seq !== undefined && (seq !== this.#seq + 1 || prev !== undefined))
      this.broken ??= `${seq} came after ${this.#seq}`
    this.#seq = seq
  }

  stall(): void {
    this.#socket!.pause()
  }

  async leave(): Promise<void> {
    this.#socket!.removeAllListeners('message')
    this.#socket!.terminate()
  }
}

interface Turn {
  readonly p99: number
  readonly memory: number
}

async function main(): Promise<void> {
  const quick = values.quick ? { clients: 50, slow: 2, rate: 200, seconds: 1, turns: 1 } : undefined
  const [clients, slow, rate, seconds, turns] = (
    ['clients', 'slow', 'rate', 'seconds', 'turns'] as const
  ).map((name) => quick?.[name] ?? Number(values[name])) as [number, number, number, number, number]
  const server = new Asked(fork(process.argv[1]!, ['--part', 'server'], { serialization: 'advanced' }))
  const others = new RawClients()
  const port = await server.ask<number>('open')
  await others.connect({ port, clients: clients - slow, ...ALIKE, timing: true })
  const readers = Array.from({ length: slow }, () => new Reader(port))
  for (const reader of readers) await reader.connect()
  await server.ask('start', rate)
  await turn(Math.min(5, seconds) * 1_000)

  /** What the others saw meanwhile. */
  const during = async (what: () => Promise<unknown>): Promise<Turn> => {
    await Promise.all([others.times(), server.ask('memory')])
    await what()
    const times = Float64Array.from(await others.times()).sort()
    return { p99: times[Math.floor(times.length * 0.99)]!, memory: await server.ask('memory') }
  }
  const [all, without]: [Turn[], Turn[]] = [[], []]
  let closed = 0
  let seconds4100 = 0
  for (let round = 0; round < turns; round++) {
    all.push(await during(() => turn(seconds * 1_000)))
    const began = performance.now()
    without.push(
      await during(async () => {
        for (const reader of readers) reader.stall()
        const codes: number[] = []
        while (codes.length < slow && performance.now() - began < MAX_WAIT_MS) {
          await turn(100)
          codes.push(...(await server.ask<number[]>('closes')))
        }
        closed += codes.filter((code) => code === 4100).length
      }),
    )
    seconds4100 += (performance.now() - began) / 1_000 / turns
    for (const reader of readers) await reader.leave()
    const missed = readers.map(({ seq }) => seq)
    await Promise.all(readers.map((reader) => reader.connect()))
    const resumed = () => readers.every(({ seq }, index) => seq > missed[index]! + rate)
    for (const until = performance.now() + MAX_WAIT_MS; !resumed() && performance.now() < until; )
      await turn(50)
    await server.ask('closes')
  }
  await server.ask('stop')
  await turn(500)
  const newest = Math.max(...readers.map(({ seq }) => seq))
  const whole = readers.filter(({ broken, seq }) => broken === undefined && seq === newest).length
  for (const { broken } of readers) if (broken) console.log(`a client that came back: ${broken}`)
  server.end()
  others.end()
  for (const reader of readers) await reader.leave()
  report(all, without, [closed, slow * turns, seconds4100], [whole, slow])
}

function report(
  all: readonly Turn[],
  without: readonly Turn[],
  [closed, toClose, seconds]: readonly [number, number, number],
  [whole, slow]: readonly [number, number],
): void {
  const mebibytes = (bytes: number) => `${(bytes / 1_048_576).toFixed(0)} MiB`
  const [p99, p99Without] = [median(all.map((of) => of.p99)), median(without.map((of) => of.p99))]
  const peak = (of: readonly Turn[]) => median(of.map(({ memory }) => memory))
  const [bound, seen] = [slow * BOUND_BYTES, peak(without) - peak(all)]
  console.log(`\n${''.padEnd(24)}${'p99 of the others, ms'.padStart(24)}${'memory (RSS)'.padStart(16)}`)
  const row = (name: string, of: readonly Turn[], ms: number) =>
    console.log(name.padEnd(24) + (ms / 1_000).toFixed(2).padStart(24) + mebibytes(peak(of)).padStart(16))
  row('all read', all, p99)
  row(`${slow} do not`, without, p99Without)
  const verdicts: [boolean, string][] = [
    [p99Without <= p99 * MOST_TIMES, `p99 ${(p99Without / p99).toFixed(2)} times, at most ${MOST_TIMES}`],
    [seen <= bound, `memory ${mebibytes(seen)} more, at most ${mebibytes(bound)}`],
    [closed === toClose, `${closed} of ${toClose} closed with 4100, after ${seconds.toFixed(1)} s`],
    [whole === slow, `${whole} of ${slow} resumed each time without a hole or a double`],
  ]
  for (const [met, words] of verdicts) console.log(`${met ? 'met' : 'missed'}\t${words}`)
  if (values.quick) console.log('quick: times and memory say nothing')
  if (closed < toClose || whole < slow) process.exitCode = 1
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1]!
}

if (values.part === 'server') await beServer()
else if (values.part === 'clients') beClients()
else await main()
