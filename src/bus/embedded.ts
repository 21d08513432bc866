import { FeedgateError } from '../errors.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { type Bus, type BusBatch, type DeadLetter, RECORDER } from './bus.ts'
import type { Spool } from './spool.ts'

/** A batch is what has queued, up to this many events or bytes (one publish more at most). */
const BATCH_EVENTS = 5_000
const BATCH_BYTES = 4 << 20

export interface EmbeddedBusOptions {
  /** Keeps on disk what the recorder has not taken, so that it outlives a kill; without it that is lost. */
  readonly spool?: Spool
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
 * The bus inside one process, with a spool on disk behind it: every group has its own bounded queue. While any group's queue is full, `publish` waits:
 * nothing is dropped, the sources slow down to the slowest group, and the venue's socket buffer does the rest. A
 * publisher awaits each call, so what waits is one publish a publisher. With every queue below its bound `publish`
 * resolves at once, and a group that is idle gets the events in the same turn of the loop.
 *
 * A group has one reader at a time. When its signal ends, or the bus closes, it takes nothing new, hands out what had
 * queued, and its stream ends.
 */
export function createEmbeddedBus(options: EmbeddedBusOptions = {}): Bus {
  return new EmbeddedBus(options.maxEvents ?? 200_000, options.maxBytes ?? 128 << 20, options.spool)
}

class EmbeddedBus implements Bus {
  readonly #maxEvents: number
  readonly #maxBytes: number
  readonly #spool: Spool | undefined
  readonly #groups = new Map<string, GroupQueue>()
  /** In the order of their calls, so that none overtakes another in its topic. */
  #waiting: Publisher[] = []
  #closed = false

  constructor(maxEvents: number, maxBytes: number, spool: Spool | undefined) {
    this.#maxEvents = maxEvents
    this.#maxBytes = maxBytes
    this.#spool = spool
  }

  publish(events: readonly EncodedEvent[]): Promise<void> {
    return this.#send(parcelOf(events, []))
  }

  reject(deadLetters: readonly DeadLetter[]): Promise<void> {
    return this.#send(parcelOf([], deadLetters))
  }

  subscribe(group: string, signal: AbortSignal): AsyncIterable<BusBatch> {
    if (this.#groups.has(group)) throw new Error(`group ${group} of the embedded bus has a reader already`)
    // What this group has not taken is in the spool.
    const spool = group === RECORDER ? this.#spool : undefined
    const queue = new GroupQueue((events) => {
      spool?.release(events)
      this.#admit()
    })
    const recovered = spool?.takeRecovered() ?? []
    if (recovered.length > 0) queue.push(parcelOf(recovered, []))
    // Registered now and not at the first read: what is published from here on is the group's.
    if (!this.#closed && !signal.aborted) {
      this.#groups.set(group, queue)
      signal.addEventListener('abort', () => this.#leave(group, queue), { once: true })
    } else queue.end()
    return queue.batches(() => this.#leave(group, queue))
  }

  async ends(): Promise<ReadonlyMap<string, string>> {
    return new Map()
  }

  async *tail(): AsyncGenerator<readonly EncodedEvent[]> {}

  fault(): string | undefined {
    return this.#closed ? 'closed' : undefined
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const [group, queue] of this.#groups) this.#leave(group, queue)
    for (const publisher of this.#waiting.splice(0)) publisher.refused(closed())
    this.#spool?.close()
  }

  async #send(parcel: Parcel): Promise<void> {
    if (this.#closed) throw closed()
    if (parcel.count === 0) return
    if (this.#waiting.length === 0 && !this.#full()) {
      this.#deliver(parcel)
      return
    }
    await new Promise<void>((taken, refused) => this.#waiting.push({ parcel, taken, refused }))
  }

  /** To the spool first. Throws when the disk does not take it: then nobody gets it. */
  #deliver(parcel: Parcel): void {
    if (parcel.events.length > 0) this.#spool?.append(parcel.events)
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
      try {
        this.#deliver(publisher.parcel)
        publisher.taken()
      } catch (error) {
        publisher.refused(error)
      }
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
  /** A batch was taken, of so many events. */
  readonly #freed: (events: number) => void

  constructor(freed: (events: number) => void) {
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
    let events = 0
    for (const parcel of this.#inHand) {
      this.count -= parcel.count
      this.bytes -= parcel.bytes
      events += parcel.events.length
    }
    this.#inHand = []
    this.#freed(events)
  }
}

function parcelOf(events: readonly EncodedEvent[], deadLetters: readonly DeadLetter[]): Parcel {
  let bytes = 0
  for (const event of events) bytes += event.bytes.length
  for (const letter of deadLetters) bytes += letter.bytes.length
  return { events, deadLetters, count: events.length + deadLetters.length, bytes }
}

function closed(): FeedgateError {
  return new FeedgateError('shutting-down', 'the bus is closed')
}
