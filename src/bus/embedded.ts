import { FeedgateError } from '../errors.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Bus, BusBatch, DeadLetter } from './bus.ts'

/** A batch is what has queued, up to this many events or bytes (one publish more at most). */
const BATCH_EVENTS = 5_000
const BATCH_BYTES = 4 << 20

export interface EmbeddedBusOptions {
  /** What one group may have waiting before publishers wait for it. */
  readonly maxEvents?: number
  readonly maxBytes?: number
}

/** One publish: the array the publisher gave, handed on without a copy. */
interface Parcel {
  readonly events: readonly EncodedEvent[]
  readonly deadLetters: readonly DeadLetter[]
  readonly count: number
  readonly bytes: number
}

interface Publisher {
  readonly parcel: Parcel
  readonly taken: () => void
  readonly refused: (reason: unknown) => void
}

/**
 * The bus inside one process: every group has its own bounded queue. While any group's queue is full, `publish` waits:
 * nothing is dropped, the sources slow down to the slowest group, and the venue's socket buffer does the rest. A
 * publisher awaits each call, so what waits is one publish a publisher. With every queue below its bound `publish`
 * resolves at once, and a group that is idle gets the events in the same turn of the loop.
 *
 * A group has one reader at a time. When its signal ends, or the bus closes, it takes nothing new, hands out what had
 * queued, and its stream ends.
 */
export function createEmbeddedBus(options: EmbeddedBusOptions = {}): Bus {
  return new EmbeddedBus(options.maxEvents ?? 200_000, options.maxBytes ?? 128 << 20)
}

class EmbeddedBus implements Bus {
  readonly #maxEvents: number
  readonly #maxBytes: number
  readonly #groups = new Map<string, GroupQueue>()
  /** In the order of their calls, so that none overtakes another in its topic. */
  #waiting: Publisher[] = []
  #closed = false

  constructor(maxEvents: number, maxBytes: number) {
    this.#maxEvents = maxEvents
    this.#maxBytes = maxBytes
  }

  publish(events: readonly EncodedEvent[]): Promise<void> {
    let bytes = 0
    for (const event of events) bytes += event.bytes.length
    return this.#send({ events, deadLetters: [], count: events.length, bytes })
  }

  reject(deadLetters: readonly DeadLetter[]): Promise<void> {
    let bytes = 0
    for (const letter of deadLetters) bytes += letter.bytes.length
    return this.#send({ events: [], deadLetters, count: deadLetters.length, bytes })
  }

  subscribe(group: string, signal: AbortSignal): AsyncIterable<BusBatch> {
    if (this.#groups.has(group)) throw new Error(`group ${group} of the embedded bus has a reader already`)
    const queue = new GroupQueue(() => this.#admit())
    // Registered now and not at the first read: what is published from here on is the group's.
    if (!this.#closed && !signal.aborted) {
      this.#groups.set(group, queue)
      signal.addEventListener('abort', () => this.#leave(group, queue), { once: true })
    } else queue.end()
    return queue.batches(() => this.#leave(group, queue))
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const [group, queue] of this.#groups) this.#leave(group, queue)
    for (const publisher of this.#waiting.splice(0)) publisher.refused(closed())
  }

  #send(parcel: Parcel): Promise<void> {
    if (this.#closed) return Promise.reject(closed())
    if (parcel.count === 0) return Promise.resolve()
    if (this.#waiting.length === 0 && !this.#full()) {
      this.#deliver(parcel)
      return Promise.resolve()
    }
    return new Promise((taken, refused) => this.#waiting.push({ parcel, taken, refused }))
  }

  #deliver(parcel: Parcel): void {
    for (const queue of this.#groups.values()) queue.push(parcel)
  }

  #full(): boolean {
    for (const queue of this.#groups.values())
      if (queue.count >= this.#maxEvents || queue.bytes >= this.#maxBytes) return true
    return false
  }

  /** Room was made: lets in, in order, as many waiting publishers as fit. */
  #admit(): void {
    let admitted = 0
    for (; admitted < this.#waiting.length && !this.#full(); admitted++) {
      const publisher = this.#waiting[admitted]!
      this.#deliver(publisher.parcel)
      publisher.taken()
    }
    if (admitted > 0) this.#waiting = this.#waiting.slice(admitted)
  }

  #leave(group: string, queue: GroupQueue): void {
    if (this.#groups.get(group) === queue) this.#groups.delete(group)
    queue.end()
    this.#admit()
  }
}

/** What one group has not taken yet; bounded by the bus, which stops publishing while it is full. */
class GroupQueue {
  /** Events and dead letters waiting, the batch in the reader's hands included: it is taken when the next is asked for. */
  count = 0
  bytes = 0
  #parcels: Parcel[] = []
  #inHand: readonly Parcel[] = []
  #ended = false
  #wake: (() => void) | undefined
  readonly #freed: () => void

  constructor(freed: () => void) {
    this.#freed = freed
  }

  push(parcel: Parcel): void {
    this.#parcels.push(parcel)
    this.count += parcel.count
    this.bytes += parcel.bytes
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  async *batches(left: () => void): AsyncGenerator<BusBatch> {
    try {
      while (true) {
        if (this.#parcels.length > 0) {
          yield this.#take()
          this.#release()
        } else if (this.#ended) return
        else
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
      }
    } finally {
      left()
    }
  }

  #take(): BusBatch {
    let count = 0
    let bytes = 0
    let n = 0
    while (n < this.#parcels.length && count < BATCH_EVENTS && bytes < BATCH_BYTES) {
      count += this.#parcels[n]!.count
      bytes += this.#parcels[n]!.bytes
      n++
    }
    this.#inHand = this.#parcels.splice(0, n)
    const [only] = this.#inHand
    if (n === 1 && only) return only
    return {
      events: this.#inHand.flatMap((parcel) => parcel.events),
      deadLetters: this.#inHand.flatMap((parcel) => parcel.deadLetters),
    }
  }

  #release(): void {
    for (const parcel of this.#inHand) {
      this.count -= parcel.count
      this.bytes -= parcel.bytes
    }
    this.#inHand = []
    this.#freed()
  }
}

function closed(): FeedgateError {
  return new FeedgateError('shutting-down', 'the bus is closed')
}
