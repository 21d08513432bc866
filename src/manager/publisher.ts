import type { Bus, DeadLetter } from '../bus/bus.ts'
import type { Log } from '../gateway/gateway.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { signals } from '../signals.ts'
import { traceStage } from '../tracing/tracing.ts'

/** Events waiting for a bus that has not taken the batch before: from here on the sources are paused. */
const HIGH_WATER = 5_000
const LOW_WATER = 1_000
/** Dead letters waiting; beyond it they are counted and dropped: a flood of rubbish must not fill the memory. */
const MAX_LETTERS = 1_000
const RETRY_MS = 1_000
/** At the end the bus gets this long to take what is left. */
const CLOSE_MS = 500

/**
 * Collects the events of one turn of the event loop and publishes them as one batch, one batch at a time: so order holds,
 * an idle gateway adds no delay, and a busy one fills its batches by itself.
 */
export class Publisher {
  readonly #bus: Bus
  readonly #log: Log
  readonly #onPressure: (high: boolean) => void
  /** Bounded by pausing the sources; what their sockets had already read still comes in. */
  #events: EncodedEvent[] = []
  #letters: DeadLetter[] = []
  #running: Promise<void> | undefined
  #scheduled = false
  #high = false
  #closed = false

  constructor(bus: Bus, log: Log, onPressure: (high: boolean) => void) {
    this.#bus = bus
    this.#log = log
    this.#onPressure = onPressure
  }

  publish(event: EncodedEvent): void {
    this.#events.push(event)
    this.#schedule()
    if (!this.#high && this.#running && this.#events.length >= HIGH_WATER) this.#press(true)
  }

  reject(letter: DeadLetter): void {
    signals.deadLetter.emit({ source: letter.source, reason: letter.reason })
    if (this.#letters.length >= MAX_LETTERS) return
    this.#letters.push(letter)
    this.#schedule()
  }

  /** Hands over what is left, for half a second at most. */
  async close(): Promise<void> {
    this.#start()
    this.#closed = true
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS)
    })
    await Promise.race([this.#running, patience])
    clearTimeout(timer)
  }

  #schedule(): void {
    if (this.#scheduled || this.#running || this.#closed) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#start()
    })
  }

  #start(): void {
    if (this.#running || this.#closed) return
    this.#running = this.#run().finally(() => {
      this.#running = undefined
    })
  }

  async #run(): Promise<void> {
    while (this.#events.length > 0 || this.#letters.length > 0) {
      const events = this.#events
      const letters = this.#letters
      this.#events = []
      this.#letters = []
      if (letters.length > 0) await this.#until(() => this.#bus.reject(letters))
      if (events.length > 0) await this.#publish(events)
      if (this.#high && this.#events.length < LOW_WATER) this.#press(false)
    }
  }

  async #publish(events: readonly EncodedEvent[]): Promise<void> {
    const began = performance.now()
    signals.publishing.emit(events)
    await this.#until(() => this.#bus.publish(events))
    tell(events)
    traceStage('receive', events, began)
  }

  /** A bus that fails is asked again: nothing is skipped, and meanwhile the sources are slowed down. */
  async #until(hand: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await hand()
        return
      } catch (error) {
        this.#log.error({ error: (error as Error).message }, 'the bus does not take events')
        if (this.#closed) return
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
      }
    }
  }

  #press(high: boolean): void {
    this.#high = high
    this.#onPressure(high)
  }
}

/** One fact for each run of events of one channel. */
function tell(events: readonly EncodedEvent[]): void {
  let from = 0
  for (let at = 1; at <= events.length; at++) {
    const first = events[from]!.topic
    const topic = events[at]?.topic
    if (topic && topic.source === first.source && topic.channel === first.channel) continue
    signals.eventsPublished.emit({ source: first.source, channel: first.channel, count: at - from })
    from = at
  }
}
