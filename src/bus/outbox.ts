import { FeedgateError } from '../errors.ts'
import type { Log } from '../gateway/gateway.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { signals } from '../signals.ts'
import { Bell } from './bell.ts'
import type { DeadLetter } from './bus.ts'
import { eventMessage, letterMessage, type Origin } from './kafka-messages.ts'
import type { Outgoing, Sender } from './kafka-sender.ts'
import type { KafkaTopics } from './kafka-topics.ts'
import type { Spill } from './spill.ts'

/** One send. kafkajs groups messages in time that grows with the square of their number. */
const BATCH_EVENTS = 500
/** Below what a broker takes by default, 1 MiB, with keys and headers. */
const BATCH_BYTES = 768 << 10
/** Key, headers and framing of a message are less than this. */
const OVERHEAD_BYTES = 512
/** While events come one by one they are sent together so often. */
const FLUSH_MS = 1
/** What has waited longer than this is written to disk, so that it outlives us. */
const SPILL_AFTER_MS = 250
const LOOK_EVERY_MS = 100
/** A broker that takes nothing for longer than this is a fault. */
const FAULT_AFTER_MS = 2_000
/** Waiting dead letters; those that come beyond it are let go and counted. */
const MAX_LETTERS = 2_000
const MAX_LETTER_BYTES = 16 << 20
/** What a broker refuses as too large is kept to this length. */
const CUT_BYTES = 512 << 10
/** At the end: what has not been sent by then goes to disk. */
const CLOSE_MS = 800

export interface OutboxOptions {
  readonly sender: Sender
  readonly topics: KafkaTopics
  /** Without it only memory stands between a broker that is away and publishers that wait. */
  readonly spill?: Spill
  /** Beyond it events go to disk, or publishers wait. */
  readonly memoryEvents: number
  readonly memoryBytes: number
  readonly log: Log
}

interface Publisher {
  readonly events: readonly EncodedEvent[]
  readonly taken: () => void
  readonly refused: (reason: unknown) => void
}

interface Letter {
  readonly letter: DeadLetter
  readonly origin: Origin
}

/**
 * What is on its way to Kafka: one send at a time, in the order of `publish`. Events wait in memory; when the broker has
 * not answered for 250 ms, or the memory is full, all that waits and all that comes is written to the spill, and sent from
 * there, until it is empty. When that is full too, `publish` waits. A process that is killed while the broker is away
 * loses what came in its last 250 ms before the spill began, at most; the next one sends what is on disk before all else.
 */
export class Outbox {
  readonly #options: OutboxOptions
  #pending: EncodedEvent[] = []
  #pendingBytes = 0
  /** From memory, in Kafka's hands now. */
  #inFlight: readonly EncodedEvent[] = []
  /** What is left of the spill's oldest file; undefined: not read yet. */
  #file: EncodedEvent[] | undefined
  /** So many events at the spill's beginning were in flight when it began, and have arrived. */
  #arrived = 0
  /** Files that an earlier process left. */
  #recovering: number
  /** Settles before the next send: somebody must see where Kafka stands now. */
  readonly #holds = new Set<Promise<unknown>>()
  #letters: Letter[] = []
  #letterBytes = 0
  #lettersLost = 0
  /** In the order of their calls. Each publisher awaits its call, so there are few. */
  #waiting: Publisher[] = []
  /** Since when Kafka owes us an answer, monotonic ms. */
  #owedSince: number | undefined = performance.now()
  #lastSend = 0
  #spillFailed = false
  readonly #bell = new Bell()
  /** Rings when the spill of an earlier process, or all, has been sent. */
  readonly #progress = new Bell()
  readonly #timer: NodeJS.Timeout
  #closing = false
  #closed: Promise<void> | undefined
  readonly #stop = new AbortController()

  constructor(options: OutboxOptions) {
    this.#options = options
    this.#recovering = options.spill?.files ?? 0
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS)
    this.#timer.unref()
    void this.#run()
  }

  async publish(events: readonly EncodedEvent[]): Promise<void> {
    if (this.#closing) throw closed()
    if (events.length === 0) return
    if (this.#waiting.length > 0 || !this.#hasRoom())
      return new Promise((taken, refused) => this.#waiting.push({ events, taken, refused }))
    this.#accept(events)
  }

  /** Never waits: a flood of rubbish must not hold up events. */
  reject(letter: DeadLetter, origin: Origin = { topic: this.#options.topics.ofText(letter.channel) }): void {
    if (this.#letters.length >= MAX_LETTERS || this.#letterBytes >= MAX_LETTER_BYTES) {
      this.#lettersLost++
      return
    }
    this.#letters.push({ letter, origin })
    this.#letterBytes += letter.bytes.length
    this.#bell.ring()
  }

  /** Nothing more is sent until this settles. */
  hold(until: Promise<unknown>): void {
    this.#holds.add(until)
    const release = () => this.#holds.delete(until)
    until.then(release, release)
  }

  /** Resolves to true when what an earlier process left is in Kafka; false: not within `ms`. */
  async recovered(ms: number): Promise<boolean> {
    const deadline = performance.now() + ms
    for (let left = ms; this.#recovering > 0 && left > 0; left = deadline - performance.now())
      await this.#progress.wait(left)
    return this.#recovering === 0
  }

  fault(): string | undefined {
    const { sender } = this.#options
    if (this.#closing) return 'closed'
    if (this.#owedMs() < FAULT_AFTER_MS) return undefined
    return sender.connected
      ? `Kafka has taken nothing for ${Math.round(this.#owedMs() / 1_000)} s`
      : `Kafka cannot be used: ${sender.reason}`
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#closing = true
    for (const publisher of this.#waiting.splice(0)) publisher.refused(closed())
    const deadline = performance.now() + CLOSE_MS
    this.#bell.ring()
    for (let left = CLOSE_MS; !this.#empty() && left > 0; left = deadline - performance.now())
      await this.#progress.wait(left)
    clearInterval(this.#timer)
    this.#stop.abort()
    this.#bell.ring()
    if (!this.#empty()) this.#leave()
    this.#options.spill?.close()
    await this.#options.sender.close()
  }

  /** What Kafka did not take goes to disk. */
  #leave(): void {
    const { log } = this.#options
    const events = this.#inFlight.length + this.#pending.length
    const letters = this.#letters.length
    if (!this.#spilling()) this.#beginSpill()
    const fields = { events, letters, lettersLost: this.#lettersLost }
    if (this.#spilling())
      log.warn(fields, 'Kafka did not take all in time: the next start sends what is on disk')
    else log.error(fields, 'Kafka did not take all in time, and there is no disk to keep it on: it is lost')
  }

  #empty(): boolean {
    return this.#inFlight.length + this.#pending.length + this.#letters.length === 0 && !this.#spilling()
  }

  async #run(): Promise<void> {
    const { sender } = this.#options
    const { signal } = this.#stop
    if (!(await sender.open(signal))) return
    this.#owedSince = undefined
    while (!signal.aborted) {
      if (this.#empty()) {
        this.#progress.ring()
        await this.#bell.wait()
        continue
      }
      await pauseUntil(this.#lastSend + FLUSH_MS)
      this.#owedSince = this.#lastSend = performance.now()
      if (this.#holds.size > 0) await Promise.allSettled([...this.#holds])
      const sent = (await this.#sendLetters()) && (await this.#sendEvents())
      if (!sent) return
      this.#owedSince = undefined
      this.#admit()
    }
  }

  async #sendLetters(): Promise<boolean> {
    if (this.#letters.length === 0) return true
    const { sender, topics } = this.#options
    let bytes = 0
    let n = 0
    while (n < this.#letters.length && n < BATCH_EVENTS && bytes < BATCH_BYTES)
      bytes += this.#letters[n++]!.letter.bytes.length + OVERHEAD_BYTES
    const letters = this.#letters.slice(0, n)
    const outgoing = letters.map(({ letter, origin }) => {
      const topic = `${topics.ofText(letter.channel)}.dlq`
      const room = sender.largest(topic) - 4 * OVERHEAD_BYTES
      const message = letterMessage(letter, origin, room)
      return { topic, message, smaller: () => letterMessage(letter, origin, Math.min(room, CUT_BYTES)) }
    })
    const sent = await sender.send(outgoing, (refused, reason) => {
      this.#options.log.error({ topic: refused.topic, reason }, 'Kafka refuses a dead letter')
    })
    if (!sent) return false
    this.#letters = this.#letters.slice(n)
    for (const { letter } of letters) this.#letterBytes -= letter.bytes.length
    if (this.#lettersLost > 0)
      this.#options.log.error({ letters: this.#lettersLost }, 'too many dead letters: these were let go')
    this.#lettersLost = 0
    return true
  }

  async #sendEvents(): Promise<boolean> {
    const spilled = this.#spilling()
    const events = this.#next()
    if (!spilled) this.#inFlight = events
    const { sender, topics } = this.#options
    const outgoing: (Outgoing & { readonly event: EncodedEvent })[] = []
    for (const event of events) {
      const topic = topics.of(event.topic.channel)
      if (event.bytes.length + OVERHEAD_BYTES > sender.largest(topic))
        this.#bury(event, `larger than Kafka takes: ${event.bytes.length} bytes`)
      else outgoing.push({ topic, message: eventMessage(event), event })
    }
    const sent = await sender.send(outgoing, ({ event }, reason) => this.#bury(event, reason))
    if (!sent) return false
    if (!spilled) {
      if (this.#spilling()) this.#arrived = events.length
      this.#inFlight = []
    } else if (this.#file?.length === 0) this.#dropFile()
    return true
  }

  /** The oldest events: from disk while anything is there. */
  #next(): EncodedEvent[] {
    const { spill } = this.#options
    while (spill && !spill.empty) {
      this.#file ??= spill.read()
      const arrived = this.#file.splice(0, this.#arrived)
      this.#arrived -= arrived.length
      if (this.#file.length > 0) return takeBatch(this.#file)
      this.#dropFile()
    }
    const events = takeBatch(this.#pending)
    for (const event of events) this.#pendingBytes -= event.bytes.length
    return events
  }

  #dropFile(): void {
    const { spill, log } = this.#options
    spill?.drop()
    this.#file = undefined
    if (this.#recovering > 0 && --this.#recovering === 0) this.#progress.ring()
    if (spill?.empty) log.info({}, 'Kafka has all events again that waited on disk')
  }

  /** An event that Kafka refuses must not hold up what follows: its place in `seq` stays empty. */
  #bury(event: EncodedEvent, reason: string): void {
    const { source, channel, subject } = event.topic
    signals.deadLetter.emit({ source, reason: 'refused by Kafka' })
    this.reject({ source, channel, subject, receivedTime: event.receivedTime, reason, bytes: event.bytes })
  }

  #spilling(): boolean {
    return this.#options.spill?.empty === false
  }

  #hasRoom(): boolean {
    const { memoryEvents, memoryBytes, spill } = this.#options
    if (!this.#spilling()) {
      if (this.#pending.length < memoryEvents && this.#pendingBytes < memoryBytes) return true
      this.#beginSpill()
    }
    return this.#spilling() && !spill!.full
  }

  /** Throws when the disk does not take them. */
  #accept(events: readonly EncodedEvent[]): void {
    if (this.#spilling()) {
      try {
        this.#options.spill!.append(events)
      } catch (cause) {
        throw new FeedgateError('bus-unavailable', `the spill takes no events: ${(cause as Error).message}`, {
          cause,
        })
      }
    } else
      for (const event of events) {
        this.#pending.push(event)
        this.#pendingBytes += event.bytes.length
      }
    this.#bell.ring()
  }

  /** Moves what waits to disk; where the disk does not take it, it stays. */
  #beginSpill(): void {
    const { spill, log } = this.#options
    if (!spill) return
    const events = [...this.#inFlight, ...this.#pending]
    if (events.length === 0) return
    try {
      spill.append(events)
    } catch (error) {
      if (!this.#spillFailed) log.error({ error: (error as Error).message }, 'the spill takes no events')
      this.#spillFailed = true
      return
    }
    this.#spillFailed = false
    this.#pending = []
    this.#pendingBytes = 0
    log.warn({ events: events.length }, 'Kafka does not answer: events wait on disk')
  }

  #look(): void {
    if (this.#owedMs() > SPILL_AFTER_MS && !this.#spilling()) this.#beginSpill()
    this.#admit()
  }

  #owedMs(): number {
    return this.#owedSince === undefined ? 0 : performance.now() - this.#owedSince
  }

  /** Lets in, in order, as many waiting publishers as fit. */
  #admit(): void {
    while (this.#waiting.length > 0 && this.#hasRoom()) {
      const publisher = this.#waiting.shift()!
      try {
        this.#accept(publisher.events)
        publisher.taken()
      } catch (error) {
        publisher.refused(error)
      }
    }
  }
}

function takeBatch(from: EncodedEvent[]): EncodedEvent[] {
  let bytes = 0
  let n = 0
  while (n < from.length && n < BATCH_EVENTS) {
    bytes += from[n]!.bytes.length + OVERHEAD_BYTES / 2
    if (bytes > BATCH_BYTES && n > 0) break
    n++
  }
  return from.splice(0, n)
}

async function pauseUntil(time: number): Promise<void> {
  const ms = time - performance.now()
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
}

function closed(): FeedgateError {
  return new FeedgateError('shutting-down', 'the bus is closed')
}
