import { now } from '../../clock.ts'
import type {
  Connector,
  Decoded,
  DecodedBook,
  Link,
  LinkOptions,
  LinkSink,
  Subscription,
} from '../connector.ts'
import { subscriptionKey } from '../connector.ts'
import { createFeed, refusal, TIMEFRAMES } from './catalogue.ts'
import type { Feed } from './feed.ts'
import { hash } from './random.ts'

export interface SimulatorOptions {
  /** The same seed gives the same prices, odds and statuses; only times, and ids made of them, differ. Default 1. */
  readonly seed?: number
  /** Events a second of each topic, default 10. */
  readonly rate?: number
}

const DEFAULT_DEPTH = 100
const MAX_DEPTH = 1_000
/** What was missed beyond this, in a pause or a stall, is left out: a queue of the past helps nobody. */
const CATCH_UP_MS = 250

/** A venue without a network: FX and crypto markets, matches in play and conversations, all flagged `simulated`. */
export function createSimulator({ seed = 1, rate = 10 }: SimulatorOptions = {}): Connector {
  return {
    kind: 'simulator',
    channels: ['ticker', 'trades', 'orderbook', 'ohlcv', 'odds', 'status'],
    timeframes: Object.keys(TIMEFRAMES),
    bookRules: { snapshots: 'stream', truncates: false, follows },
    // Contiguous in a link, but each link counts from its own start.
    tradeRules: { contiguousIds: false },
    subscriptionsPerLink: 10_000,
    connects: { count: 100, perMs: 1_000 },
    route: () => '',
    bookDepth,
    refuse: refusal,
    open: (_route, _options: LinkOptions, sink) => new SimulatorLink(seed, rate, sink),
  }
}

function bookDepth(limit: number | undefined): number {
  return Math.min(limit ?? DEFAULT_DEPTH, MAX_DEPTH)
}

function follows(local: number | bigint, { first, last }: DecodedBook): 'apply' | 'old' | 'gap' {
  if (last === undefined || first === undefined) return 'gap'
  if (last <= local) return 'old'
  return BigInt(first) === BigInt(local) + 1n ? 'apply' : 'gap'
}

/** A subscribed topic: its first step at once, the others on its symbol's beat. Times in epoch ms. */
interface Running {
  readonly feed: Feed
  due: number
  /** Step n is due at `beat + n * period`; counted, not added up, so that no error grows. */
  beat: number
  steps: number
}

class SimulatorLink implements Link {
  readonly #seed: number
  readonly #rate: number
  readonly #periodMs: number
  readonly #sink: LinkSink
  /** Bounded by `subscriptionsPerLink`. */
  readonly #topics = new Map<string, Running>()
  /** Answers to subscriptions, told at the next turn; as many as were asked since the last. */
  #answers: Decoded[] = []
  #timer: NodeJS.Timeout | undefined
  #opened = false
  #paused = false
  #closed = false

  constructor(seed: number, rate: number, sink: LinkSink) {
    this.#seed = seed
    this.#rate = rate
    this.#periodMs = 1_000 / rate
    this.#sink = sink
    this.#wakeIn(0)
  }

  subscribe(subscriptions: readonly Subscription[]): void {
    if (this.#closed) return
    const startTime = now()
    const context = { seed: this.#seed, rate: this.#rate, startTime }
    for (const subscription of subscriptions) {
      const reason = refusal(subscription)
      if (reason !== undefined) {
        this.#answers.push({ kind: 'refused', subscription, reason })
        continue
      }
      this.#answers.push({ kind: 'acknowledged', subscription })
      const key = subscriptionKey(subscription)
      const running = this.#topics.get(key)
      if (running) running.feed.restart?.()
      else {
        const feed = createFeed(subscription, bookDepth(subscription.limit), context)
        const due = startTime / 1_000
        this.#topics.set(key, { feed, due, beat: this.#beatAfter(due, subscription.symbol), steps: 0 })
      }
    }
    this.#wakeIn(0)
  }

  unsubscribe(subscriptions: readonly Subscription[]): void {
    for (const subscription of subscriptions) this.#topics.delete(subscriptionKey(subscription))
  }

  pause(): void {
    this.#paused = true
    clearTimeout(this.#timer)
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#wakeIn(0)
  }

  close(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    this.#topics.clear()
    setImmediate(() => this.#sink.ended({ reason }))
  }

  #wakeIn(ms: number): void {
    if (this.#closed || this.#paused) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#turn(), ms)
  }

  /** One timer for all topics: each turn runs what is due, by the clock, so that delays do not add up. */
  #turn(): void {
    if (!this.#opened) {
      this.#opened = true
      this.#sink.opened()
    }
    const receivedTime = now()
    const time = receivedTime / 1_000
    const deliver = (update: Decoded) => {
      if (!this.#closed) this.#sink.decoded(update, receivedTime, undefined)
    }
    const answers = this.#answers
    this.#answers = []
    answers.forEach(deliver)
    let next = Number.POSITIVE_INFINITY
    for (const running of this.#topics.values()) {
      // Pausing from inside a delivery takes hold after the topic's step, as a socket's pause does after a read.
      if (this.#paused || this.#closed) return
      this.#advance(running, time, deliver)
      next = Math.min(next, running.due)
    }
    if (next < Number.POSITIVE_INFINITY) this.#wakeIn(Math.max(1, Math.ceil(next - now() / 1_000)))
  }

  /** Runs every step of a topic that is due. */
  #advance(running: Running, time: number, deliver: (update: Decoded) => void): void {
    const late = time - running.due
    // Far ahead of the clock: the clock was set back.
    if (late > CATCH_UP_MS || late < -2 * this.#periodMs) {
      const missed = Math.floor(late / this.#periodMs) * this.#periodMs
      running.beat += missed
      running.due += missed
    }
    while (running.due <= time) {
      running.feed.step(Math.round(running.due * 1_000), deliver)
      running.due = running.beat + running.steps++ * this.#periodMs
    }
  }

  /** All topics of a symbol share a beat, so its trades and candles agree; symbols are spread over the period. */
  #beatAfter(time: number, symbol: string): number {
    const offset = ((hash(symbol) % 1_000) / 1_000) * this.#periodMs
    return Math.ceil((time - offset) / this.#periodMs + 0.5) * this.#periodMs + offset
  }
}
