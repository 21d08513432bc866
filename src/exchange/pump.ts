import { now } from '../clock.ts'
import type { Micros } from '../market/event.ts'
import type { Floor } from './floor.ts'
import type { Injections } from './injections.ts'
import type { Market } from './market.ts'

/** Of a step by hand. */
const STEP_MICROS = 10_000
/** Steps before clients are written to, and others in this process have their turn. */
const BURST = 256
/** All markets are quiet: look again after so long. */
const QUIET_MS = 10
/** What was not done in so long is left out: a process that was stopped does not catch up. */
const MAX_BEHIND_MS = 250

/** When the markets step: by hand, so often a second, or as fast as clients take it. */
export class Pump {
  steps = 0
  readonly #markets: readonly Market[]
  readonly #injections: Injections
  readonly #floor: Floor
  #rate = 0
  /** Of the markets. */
  #time: Micros
  #turn = 0
  /** When `#due` steps were done, monotonic ms. */
  #origin = 0
  #done = 0
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined
  #closed = false

  constructor(markets: readonly Market[], injections: Injections, floor: Floor, startTime: Micros) {
    this.#markets = markets
    this.#injections = injections
    this.#floor = floor
    this.#time = startTime
  }

  setRate(rate: number): void {
    this.#rate = rate
    this.#origin = performance.now()
    this.#done = 0
    this.wake()
  }

  advance(steps: number): void {
    for (let step = 0; step < steps; step++) if (!this.#step(this.#time + STEP_MICROS)) break
    this.#floor.flush()
  }

  wake(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
    if (this.#closed || this.#rate <= 0) return
    if (this.#rate === Number.POSITIVE_INFINITY) this.#immediate = setImmediate(this.#burst)
    else {
      const dueMs = this.#origin + ((this.#done + 1) * 1_000) / this.#rate - performance.now()
      this.#timer = setTimeout(this.#catchUp, Math.max(1, dueMs))
    }
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
  }

  #catchUp = (): void => {
    const elapsed = performance.now() - this.#origin
    if (elapsed - (this.#done * 1_000) / this.#rate > MAX_BEHIND_MS) {
      this.#done = Math.floor(((elapsed - MAX_BEHIND_MS) * this.#rate) / 1_000)
    }
    const due = Math.floor((elapsed * this.#rate) / 1_000)
    const end = Math.min(due, this.#done + Math.max(BURST, this.#rate * 0.01))
    while (this.#done < end) {
      this.#done++
      if (!this.#step(this.#now())) break
    }
    this.#floor.flush()
    this.wake()
  }

  #burst = (): void => {
    let step = 0
    while (step < BURST && this.#step(this.#now())) step++
    this.#floor.flush()
    const slow = this.#floor.drained()
    if (slow) void slow.then(() => this.wake())
    else if (step > 0) this.wake()
    else this.#timer = setTimeout(this.#burst, QUIET_MS)
  }

  #now(): Micros {
    return Math.max(this.#time + 1, now())
  }

  /** The next market that is not quiet; false: all are. */
  #step(time: Micros): boolean {
    const markets = this.#markets
    for (let tried = 0; tried < markets.length; tried++) {
      const market = markets[this.#turn++ % markets.length]!
      if (!this.#injections.none && this.#injections.take('quiet', { symbol: market.symbol })) continue
      this.#time = time
      market.step(time)
      this.steps++
      this.#floor.stepped(market)
      return true
    }
    return false
  }
}
