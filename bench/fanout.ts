/**
 * What it costs to deliver: our hub (its whole path: cache fan-out, feeds, views, groups) beside `ws.send` in a loop and
 * beside shared joined buffers written to the bare sockets, in one run. The server is a process of its own, cheap raw
 * clients are another; CPU is the server's, kernel included, by the operating system. Every byte is counted on arrival:
 * one too few or too many and the bench fails.
 *
 *   npm run bench:fanout [-- --only live,bursts] [-- --seconds 10] [-- --quick]
 */
import { parseArgs } from 'node:util'
import { beServer, type Load, MODES, type Mode, Server } from './fanout-server.ts'
import { beClients, RawClients, symbolsOf } from './raw-clients.ts'

interface Scenario {
  readonly about: string
  readonly clients: number
  /** How many there are, and how many each client wants. */
  readonly symbols: number
  readonly each: number
  readonly load: Omit<Load, 'bursts'>
  readonly target: Target
}

/** Deliveries per CPU second; or all delivered in time on so many cores; or times the latency of `ws.send`. */
type Target = { readonly perCpuSecond: number } | { readonly cores: number } | { readonly latency: number }

const OWN = { clients: 1_000, symbols: 500, each: 20 }
const ALIKE = { symbols: 1, each: 1 }
const SCENARIOS: Readonly<Record<string, Scenario>> = {
  live: {
    about: '500 clients of one shape, one event at a time, 1,000 a second',
    ...{ clients: 500, ...ALIKE, load: { events: 1, spread: 1, rate: 1_000 }, target: { cores: 1 } },
  },
  bursts: {
    about: '500 clients of one shape, bursts of 10',
    ...{ clients: 500, ...ALIKE, load: { events: 10, spread: 1 }, target: { perCpuSecond: 1_000_000 } },
  },
  own: {
    about: '1,000 clients, each its own 20 of 500 symbols, bursts of 10 of one symbol',
    ...{ ...OWN, load: { events: 10, spread: 1 }, target: { perCpuSecond: 600_000 } },
  },
  'own-mixed': {
    about: '1,000 clients, each its own 20 of 500 symbols, bursts of 10 for each, of 10 symbols',
    ...{ ...OWN, load: { events: 250, spread: 250 }, target: { perCpuSecond: 600_000 } },
  },
  'own-live': {
    about: '1,000 clients, each its own 20 of 500 symbols, bursts of 10 of 10 symbols, 1,500 a second',
    ...{ ...OWN, load: { events: 10, spread: 10, rate: 1_500 }, target: { cores: 1 } },
  },
  latency: {
    about: '100 clients of one shape, one event at a time, 100 a second',
    ...{ clients: 100, ...ALIKE, load: { events: 1, spread: 1, rate: 100 }, target: { latency: 1.3 } },
  },
}

/** Bursts that follow each other: so many deliveries. */
const DELIVERIES = 2_000_000
/** One message a write takes the longest: it gets fewer. */
const DELIVERIES_OF_LOOP = 400_000
/** The last event arrived later than this: the server did not keep up. */
const MAX_BEHIND_MS = 250
const LATENCY_ROUNDS = 5

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    seconds: { type: 'string', default: '10' },
    quick: { type: 'boolean', default: false },
    part: { type: 'string' },
    mode: { type: 'string' },
    symbols: { type: 'string' },
  },
})

const turn = (ms: number) => new Promise((resume) => setTimeout(resume, ms))

interface Figures {
  readonly deliveries: number
  /** Of the server. */
  readonly cpuSeconds: number
  readonly seconds: number
  /** From when the last event was due to its last arrival. */
  readonly behindMs: number
}

/** A server, and the clients of a scenario connected to it. */
class Bed {
  readonly #server: Server
  readonly #clients = new RawClients()
  readonly #scenario: Scenario
  /** How many want each symbol. */
  readonly #wanted: number[]
  #expected = 0

  constructor(mode: Mode, scenario: Scenario) {
    this.#scenario = scenario
    this.#server = new Server(mode, scenario.symbols)
    this.#wanted = new Array<number>(scenario.symbols).fill(0)
    for (let client = 0; client < scenario.clients; client++)
      for (const symbol of symbolsOf(client, scenario)) this.#wanted[symbol]!++
  }

  async open(timing: boolean): Promise<this> {
    const { clients, symbols, each } = this.#scenario
    await this.#clients.connect({ port: await this.#server.open(), clients, symbols, each, timing })
    this.#expected = await this.#clients.bytes()
    return this
  }

  /** Until everything has arrived. */
  async run(load: Load): Promise<Figures> {
    const began = performance.now()
    const { messages, bytes, lateMs } = await this.#server.send(load)
    const handedOver = performance.now()
    this.#expected += this.#toAll(bytes)
    for (let had = -1; ; await turn(5)) {
      const has = await this.#clients.bytes()
      if (has === this.#expected) break
      if (has === had && performance.now() - handedOver > 5_000)
        throw new Error(`${has} bytes arrived, ${this.#expected} were expected`)
      had = has
    }
    const ended = performance.now()
    return {
      deliveries: this.#toAll(messages),
      cpuSeconds: await this.#server.cpu(),
      seconds: (ended - began) / 1_000,
      behindMs: lateMs + ended - handedOver,
    }
  }

  #toAll(ofEach: readonly number[]): number {
    return ofEach.reduce((sum, value, symbol) => sum + value * this.#wanted[symbol]!, 0)
  }

  times(): Promise<number[]> {
    return this.#clients.times()
  }

  close(): void {
    this.#server.end()
    this.#clients.end()
  }
}

/** Rows of a table, and whether the target is met. */
interface Outcome {
  readonly rows: readonly (readonly string[])[]
  readonly met: boolean
}

const count = (value: number) => Math.round(value).toLocaleString('en-US')

async function throughput(scenario: Scenario): Promise<Outcome> {
  const rows = [['', 'per CPU second', 'per second', 'cores', 'behind ms']]
  let met = false
  for (const mode of MODES) {
    const bed = await new Bed(mode, scenario).open(false)
    await bed.run({ events: scenario.symbols, spread: scenario.symbols, bursts: 2 })
    await bed.run({ ...scenario.load, bursts: Math.ceil(burstsOf(scenario, 'ws.send loop') / 4) })
    const { deliveries, cpuSeconds, seconds, behindMs } = await bed.run({
      ...scenario.load,
      bursts: burstsOf(scenario, mode),
    })
    bed.close()
    const [perCpuSecond, cores] = [deliveries / cpuSeconds, cpuSeconds / seconds]
    if (mode === 'feedgate')
      met =
        'cores' in scenario.target
          ? behindMs <= MAX_BEHIND_MS && Math.round(cores * 100) / 100 <= scenario.target.cores
          : 'perCpuSecond' in scenario.target && perCpuSecond >= scenario.target.perCpuSecond
    rows.push([mode, count(perCpuSecond), count(deliveries / seconds), cores.toFixed(2), count(behindMs)])
  }
  return { rows, met }
}

function burstsOf({ load, clients, symbols, each }: Scenario, mode: Mode): number {
  if (load.rate !== undefined) {
    const seconds = values.quick ? 0.2 : Number(values.seconds)
    // It falls behind from the first second on.
    return Math.round(load.rate * seconds * (mode === 'ws.send loop' ? 0.2 : 1))
  }
  const deliveries = mode === 'ws.send loop' ? DELIVERIES_OF_LOOP : DELIVERIES
  return Math.ceil((deliveries * (values.quick ? 0.01 : 1)) / ((load.events * clients * each) / symbols))
}

/** In turns, so that both have the same neighbours. */
async function latency(scenario: Scenario, most: number): Promise<Outcome> {
  const modes = ['ws.send loop', 'feedgate'] as const
  const beds = await Promise.all(modes.map((mode) => new Bed(mode, scenario).open(true)))
  const rounds: { p50: number; p99: number }[][] = modes.map(() => [])
  for (let round = 0; round <= LATENCY_ROUNDS; round++) {
    for (const [index, bed] of beds.entries()) {
      await bed.run({ ...scenario.load, bursts: Math.ceil(burstsOf(scenario, 'feedgate') / LATENCY_ROUNDS) })
      const times = Float64Array.from(await bed.times()).sort()
      const at = (share: number) => times[Math.floor(times.length * share)]!
      if (round > 0) rounds[index]!.push({ p50: at(0.5), p99: at(0.99) })
    }
  }
  for (const bed of beds) bed.close()
  const [loop, hub] = rounds.map((of) => ({
    p50: median(of.map(({ p50 }) => p50)),
    p99: median(of.map(({ p99 }) => p99)),
  })) as [{ p50: number; p99: number }, { p50: number; p99: number }]
  const times = { p50: hub.p50 / loop.p50, p99: hub.p99 / loop.p99 }
  const row = (name: string, { p50, p99 }: typeof loop) => [name, count(p50), count(p99)]
  return {
    rows: [
      ['', 'p50 µs', 'p99 µs'],
      row(modes[0], loop),
      row(modes[1], hub),
      ['times', times.p50.toFixed(2), times.p99.toFixed(2)],
    ],
    met: times.p50 <= most && times.p99 <= most,
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1]!
}

function wording(target: Target): string {
  if ('cores' in target) return `all in time, on at most ${target.cores.toFixed(2)} cores`
  if ('latency' in target) return `at most ${target.latency} times the latency of ws.send`
  return `at least ${count(target.perCpuSecond)} per CPU second`
}

async function main(): Promise<void> {
  const names = values.only?.split(',') ?? Object.keys(SCENARIOS)
  console.log(`deliveries, and the server's CPU (node ${process.version}, 235 B a message)`)
  const verdicts: string[] = []
  for (const name of names) {
    const scenario = SCENARIOS[name]
    if (!scenario)
      throw new Error(`no scenario called ${name}: there are ${Object.keys(SCENARIOS).join(', ')}`)
    const { about, target } = scenario
    const { rows, met } = await ('latency' in target
      ? latency(scenario, target.latency)
      : throughput(scenario))
    console.log(`\n${name}: ${about}`)
    for (const [first, ...cells] of rows)
      console.log(first!.padEnd(14) + cells.map((cell) => cell.padStart(16)).join(''))
    verdicts.push(`${(met ? 'met' : 'missed').padEnd(8)}${name.padEnd(12)}${wording(target)}`)
  }
  console.log(`\n${values.quick ? 'quick: the figures say nothing' : verdicts.join('\n')}`)
}

if (values.part === 'server') await beServer(values.mode as Mode, Number(values.symbols))
else if (values.part === 'clients') beClients()
else await main()
