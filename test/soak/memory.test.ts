import { rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { Random } from '../../src/connectors/simulator/random.ts'
import type { ExchangeFault, InjectOptions, Violation } from '../../src/exchange/exchange.ts'
import type { SourceSpec } from '../../src/manager/manager.ts'
import { temporaryFolder } from '../manager/venue-world.ts'
import { Child } from './child.ts'

/** An hour on request. */
const MINUTES = Number(process.env.SOAK_MINUTES ?? 10)
/** Code is compiled, caches and windows of known trades fill up. */
const WARM_UP_MS = Math.min(150_000, (MINUTES * 60_000) / 4)
const SAMPLE_MS = Math.min(20_000, (MINUTES * 60_000) / 30)
const FAULT_MS = 1_000
/** Of the heap after the warm-up, over the whole run. */
const MOST_GROWTH = 0.08

const VENUES = ['binance', 'binance-futures', 'bybit', 'coinbase', 'kraken', 'kraken-v1', 'okx']
/** What one thing after the other does to a connection, or to what is sent over it. */
const FAULTS: readonly (Omit<InjectOptions, 'fault'> & { fault: ExchangeFault })[] = [
  { fault: 'hard-cut', count: 10 },
  { fault: 'hard-cut' },
  { fault: 'cut' },
  { fault: 'shutdown' },
  { fault: 'drop', count: 3 },
  { fault: 'duplicate', count: 3 },
  { fault: 'reorder', count: 3 },
  { fault: 'zombie' },
  { fault: 'pongs-only' },
  { fault: 'half-open' },
  { fault: 'corrupt' },
  { fault: 'absurd' },
  { fault: '429', where: 'handshake' },
  { fault: '429', where: 'rest' },
  { fault: 'unknown-type', count: 5 },
  { fault: 'quiet', ms: 5_000 },
]

interface Sample {
  readonly heapUsed: number
  readonly rss: number
  readonly external: number
  /** How many of each kind the process holds open. */
  readonly open: Readonly<Record<string, number>>
  readonly cpuSeconds: number
  readonly events: number
  readonly gaps: number
  readonly deadLetters: number
}

const folder = temporaryFolder()
const venues = new Child('venues.mjs')
const upstream = new Child('upstream.mjs', [folder])

afterAll(() => {
  venues.end()
  upstream.end()
  rmSync(folder, { recursive: true, force: true })
})

async function startVenue(venue: string): Promise<SourceSpec> {
  const options = { venue, rate: 30, depth: 50, seed: 7 }
  const { url, restUrl } = await venues.ask<{ url: string; restUrl: string }>('start', { options })
  const symbols = symbolsOf(venue)
  const subscriptions = [
    { channel: 'orderbook', symbols, limit: 100 },
    { channel: 'trades', symbols },
    { channel: 'ticker', symbols },
    ...(venue === 'coinbase' ? [] : [{ channel: 'ohlcv', symbols, timeframe: '1m' } as const]),
  ] as const
  const reconnect = { baseMs: 100, capMs: 2_000, maxAgeMs: 45_000 }
  return { id: venue, kind: venue, url, restUrl, subscriptions, reconnect }
}

function symbolsOf(venue: string): readonly string[] {
  if (venue === 'binance-futures') return ['BTC/USDT:USDT', 'ETH/USDT:USDT']
  return /coinbase|kraken/.test(venue) ? ['BTC/USD', 'ETH/USD'] : ['BTC/USDT', 'ETH/USDT']
}

/** One fault a second somewhere, and now and then a rotation, until the time is over. */
async function disturb(until: number): Promise<number> {
  const random = new Random('soak')
  let faults = 0
  for (; performance.now() < until; faults++) {
    const venue = random.pick(VENUES)
    if (random.chance(0.1)) await upstream.ask('rotate', { source: venue })
    else await venues.ask('inject', { venue, options: random.pick(FAULTS) })
    await delay(FAULT_MS)
  }
  return faults
}

async function watch(until: number): Promise<Sample[]> {
  const samples: Sample[] = []
  for (;;) {
    await delay(SAMPLE_MS)
    if (performance.now() >= until) return samples
    const sample = await upstream.ask<Sample>('sample')
    samples.push(sample)
    const { heapUsed, rss, open, cpuSeconds, events, gaps } = sample
    const handles = Object.entries(open).map(([name, count]) => `${name} ${count}`)
    console.log(
      `heap ${megabytes(heapUsed)}, rss ${megabytes(rss)}, cpu ${cpuSeconds.toFixed(0)} s, ${events} events, ${gaps} gaps; ${handles.join(', ')}`,
    )
  }
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(2)} MB`
const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!

/** Least squares: what a value gains from the first sample to the last. */
function gain(values: readonly number[]): number {
  const meanAt = (values.length - 1) / 2
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  let above = 0
  let below = 0
  values.forEach((value, at) => {
    above += (at - meanAt) * (value - mean)
    below += (at - meanAt) ** 2
  })
  return (above / below) * (values.length - 1)
}

/** The medians of the first quarter and of the last. */
function ends(values: readonly number[]): { first: number; last: number } {
  const quarter = Math.max(1, values.length >> 2)
  return { first: median(values.slice(0, quarter)), last: median(values.slice(-quarter)) }
}

it(
  `needs no more memory after ${MINUTES} min of cuts, shutdowns, rotations and faults`,
  async () => {
    const sources: SourceSpec[] = []
    for (const venue of VENUES) sources.push(await startVenue(venue))
    await upstream.ask('start', { sources, patience: { mergeMs: 5_000 } })
    const begun = performance.now()
    const until = begun + MINUTES * 60_000
    const disturbed = disturb(until)
    await delay(WARM_UP_MS)
    const samples = await watch(until)
    const faults = await disturbed
    const heap = samples.map(({ heapUsed }) => heapUsed)
    const handshakes = await venues.ask<number>('handshakes')
    const growth = gain(heap) / median(heap)
    console.log(
      `${faults} faults, ${handshakes} handshakes: heap ${megabytes(ends(heap).first)} → ${megabytes(ends(heap).last)}, slope over ${((samples.length * SAMPLE_MS) / 60_000).toFixed(1)} min ${(growth * 100).toFixed(1)} %`,
    )
    await expect
      .poll(() => upstream.ask<string[]>('notLive'), { timeout: 90_000, interval: 1_000 })
      .toEqual([])
    expect(await venues.ask<Violation[]>('violations')).toEqual([])
    expect(growth).toBeLessThan(MOST_GROWTH)
    expect(ends(heap).last).toBeLessThan(ends(heap).first * (1 + MOST_GROWTH))
    const rss = ends(samples.map((sample) => sample.rss))
    // What the kernel leaves in memory varies with what else runs.
    expect(rss.last).toBeLessThan(rss.first * 1.25 + 50e6)
    for (const name of new Set(samples.flatMap(({ open }) => Object.keys(open)))) {
      const { first, last } = ends(samples.map(({ open }) => open[name] ?? 0))
      expect({ [name]: last }).toSatisfy(() => last <= first * 1.5 + 10)
    }
  },
  (MINUTES + 4) * 60_000,
)
