import { setTimeout as delay } from 'node:timers/promises'
import { type Bus, type BusBatch, type DeadLetter, RECORDER } from '../bus/bus.ts'
import { FeedgateError } from '../errors.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { signals } from '../signals.ts'
import { traceStage } from '../tracing/tracing.ts'
import type { Store } from './store.ts'

/** A batch smaller than this was all that had queued: the next is given time to grow. */
const FULL_BATCH = 5_000
/** Commits are this far apart at least while batches are small; what was sent to clients is stored soon after. */
const PAUSE_MS = 100
const RETRY_BASE_MS = 100
const RETRY_CAP_MS = 5_000
/** After the signal: how long what has queued may take. */
const DRAIN_MS = 1_200

interface Log {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface RecorderPorts {
  readonly bus: Bus
  readonly store: Store
  /** Told of events whose commit is done. */
  readonly positions?: { stored(events: readonly EncodedEvent[]): void }
  readonly log: Log
}

/**
 * Carries the bus into the store. While the store is away the bus queues, for ever if need be: nothing is dropped and
 * nothing dead-lettered. An event that the database itself refuses is found by halving its batch and becomes a dead
 * letter, so that it does not hold up what follows. Where another recorder has a partition now, the batch is left to it
 * and reading begins anew from what is stored. When the signal ends, what has queued is stored, within 1.2 s.
 */
export async function runRecorder(ports: RecorderPorts, signal: AbortSignal): Promise<void> {
  const recorder = new Recorder(ports, signal)
  await recorder.run()
}

/** Of a batch. `late`: the deadline after the signal has passed. */
type Outcome = 'done' | 'fenced' | 'late'

class Recorder {
  readonly #ports: RecorderPorts
  readonly #signal: AbortSignal
  /** Ends `DRAIN_MS` after the signal. */
  readonly #deadline = new AbortController()

  constructor(ports: RecorderPorts, signal: AbortSignal) {
    this.#ports = ports
    this.#signal = signal
  }

  async run(): Promise<void> {
    const startDeadline = () => {
      const timer = setTimeout(() => this.#deadline.abort(), DRAIN_MS)
      timer.unref()
    }
    if (this.#signal.aborted) startDeadline()
    else this.#signal.addEventListener('abort', startDeadline, { once: true })
    const { bus, store } = this.#ports
    let fences = 0
    for await (const batch of bus.subscribe(RECORDER, this.#signal, store)) {
      const outcome = await this.#take(batch)
      if (outcome === 'late') return
      if (outcome === 'done') fences = 0
      else {
        batch.reload?.()
        await pause(backoffMs(fences++), this.#signal)
      }
    }
  }

  /** Anything but `done`: not taken from the bus. */
  async #take(batch: BusBatch): Promise<Outcome> {
    const began = performance.now()
    const { events } = batch
    let odds = 0
    for (const event of events) if (event.type === 'odds' && event.key?.startsWith('price|')) odds++
    if (events.length > 0) signals.recorderConsumed.emit({ events: events.length, odds })
    const outcome = await this.#recordPatiently(batch)
    if (outcome === 'late')
      this.#ports.log.warn(
        {},
        'the store did not answer in time: the bus keeps the events for the next start',
      )
    if (outcome !== 'done') return outcome
    traceStage('record', events, began)
    if (events.length + batch.deadLetters.length < FULL_BATCH)
      await pause(PAUSE_MS - (performance.now() - began), this.#signal)
    return 'done'
  }

  /** Until it is done, or the deadline after the signal has passed. */
  async #recordPatiently(batch: BusBatch): Promise<Outcome> {
    for (let attempt = 0; !this.#deadline.signal.aborted; attempt++) {
      const outcome = await this.#tryRecord(batch)
      if (outcome !== 'retry') return outcome
      await pause(backoffMs(attempt), this.#deadline.signal)
    }
    return 'late'
  }

  async #tryRecord(batch: BusBatch): Promise<'done' | 'fenced' | 'retry'> {
    const began = performance.now()
    try {
      await untilAborted(this.#ports.store.ready(), this.#deadline.signal)
      await untilAborted(this.#record(batch), this.#deadline.signal)
    } catch (error) {
      if (this.#deadline.signal.aborted) return 'retry'
      const reason = error instanceof Error ? error.message : String(error)
      if (error instanceof FeedgateError && error.code === 'fenced') {
        this.#ports.log.warn({ reason }, 'a batch is left to its new owner')
        return 'fenced'
      }
      signals.recorderError.emit({ reason })
      this.#ports.log.warn({ reason }, 'the store did not take a batch, trying again')
      return 'retry'
    }
    signals.recorderWrote.emit({ rows: batch.events.length, ms: performance.now() - began })
    return 'done'
  }

  /**
   * Halves a batch that the data of one of its events makes fail, down to that event. A bus that outlives us (it has
   * offsets) gets the letter, keeps it for `dlq retry` and brings it back to be stored.
   */
  async #record(batch: BusBatch, toBus = batch.offsets !== undefined): Promise<void> {
    const { events, deadLetters, offsets } = batch
    try {
      await this.#ports.store.record(batch)
      this.#ports.positions?.stored(events)
    } catch (error) {
      if (!isRefusal(error)) throw error
      if (events.length === 0) {
        this.#ports.log.error(
          { letters: deadLetters.length, reason: error.message },
          'dead letters were refused',
        )
        if (offsets) await this.#ports.store.record({ events, deadLetters: [], offsets })
        return
      }
      if (events.length === 1) {
        const letter = deadLetter(events[0]!, error.message)
        signals.deadLetter.emit({ source: letter.source, reason: letter.reason })
        if (toBus) await this.#ports.bus.reject([letter])
        const letters = toBus ? deadLetters : [...deadLetters, letter]
        return this.#record({ events: [], deadLetters: letters, ...(offsets ? { offsets } : {}) }, toBus)
      }
      const half = events.length >> 1
      await this.#record({ events: events.slice(0, half), deadLetters: [] }, toBus)
      // The place in the bus is stored with the last of the batch.
      await this.#record({ events: events.slice(half), deadLetters, ...(offsets ? { offsets } : {}) }, toBus)
    }
  }
}

/** SQLSTATE classes of what no repetition cures: 22 data, 23 constraint, 54 program limit exceeded. */
function isRefusal(error: unknown): error is Error {
  const code = (error as { code?: unknown } | undefined)?.code
  return error instanceof Error && typeof code === 'string' && /^(22|23|54)[0-9A-Z]{3}$/.test(code)
}

function deadLetter(event: EncodedEvent, message: string): DeadLetter {
  return {
    source: event.topic.source,
    channel: event.topic.channel,
    subject: event.topic.subject,
    receivedTime: event.receivedTime,
    reason: `refused by the store: ${message}`,
    bytes: event.bytes,
  }
}

function backoffMs(attempt: number): number {
  return Math.random() * Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** Math.min(attempt, 10))
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await delay(ms, undefined, { signal }).catch(() => undefined)
}

/** Rejects when the signal ends first; what was begun goes on by itself. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
