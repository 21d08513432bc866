import { encodeEvent } from '../market/encode.ts'
import type { Envelope, Flag, Gap, Micros, Payload, VenueId } from '../market/event.ts'
import type { Topic } from '../market/topic.ts'
import { signals } from '../signals.ts'
import type { Positions } from './positions.ts'
import type { Publisher } from './publisher.ts'

/** What all writers share. */
export interface WriterContext {
  readonly publisher: Publisher
  readonly positions: Positions
  /** See `Lease.token`. */
  readonly token: number
  now(): Micros
}

/** What an event has besides its payload. */
export interface Stamp {
  readonly receivedTime: Micros
  readonly sourceTime?: Micros | undefined
  readonly flags?: readonly Flag[] | undefined
  readonly venueSeq?: readonly [VenueId, VenueId] | undefined
}

export interface Hole {
  readonly reason: string
  readonly fromVenueSeq?: VenueId | undefined
  readonly toVenueSeq?: VenueId | undefined
  /** What came of a hole that was told before, with its times. */
  readonly repairedBy?: string
  readonly fromTime?: Micros
  readonly toTime?: Micros
}

/** Where a keeper puts what it proved: into its topic, or before what chooses between the two sides of a source. */
export interface Output {
  readonly topic: Topic
  /** Null: nothing was written yet. */
  readonly epoch: number | null
  readonly seq: number | null
  /** Of the last event written by this process. */
  readonly receivedTime: Micros | null
  write(payload: Payload, stamp: Stamp): void
  /**
   * Declares that something is missing between the last event and `stamp.receivedTime`. Undefined: nothing is, or not for
   * sure, because the other side may have it.
   */
  gap(hole: Hole, stamp: Stamp): Gap | undefined
}

/**
 * Numbers and stamps the events of one topic: `seq` without a hole, `receivedTime` strictly increasing, one epoch for
 * as long as this node owns the source. The epoch is opened by the first event; if an earlier process stored events of the topic, a
 * `gap` comes first, because nobody listened meanwhile.
 */
export class TopicWriter implements Output {
  readonly topic: Topic
  readonly #context: WriterContext
  #epoch: number | null = null
  #seq = 0
  #receivedTime: Micros | null = null

  constructor(topic: Topic, context: WriterContext) {
    this.topic = topic
    this.#context = context
  }

  get epoch(): number | null {
    return this.#epoch
  }

  get seq(): number | null {
    return this.#epoch === null ? null : this.#seq
  }

  get receivedTime(): Micros | null {
    return this.#epoch === null ? null : this.#receivedTime
  }

  write(payload: Payload, stamp: Stamp): void {
    if (this.#epoch === null && this.#open()) this.#gap({ reason: 'restart' }, stamp)
    this.#write(payload, stamp)
  }

  gap(hole: Hole, stamp: Stamp): Gap {
    // The seam of a new epoch says it already; what is known of the hole goes into that one event.
    const reopened = this.#epoch === null && this.#open()
    return this.#gap(reopened ? { ...hole, reason: 'restart' } : hole, stamp)
  }

  /** True: an earlier process stored events of this topic. */
  #open(): boolean {
    const last = this.#context.positions.last(this.topic.id)
    this.#epoch = Math.max(this.#context.token, (last?.epoch ?? 0) + 1)
    this.#receivedTime = last?.receivedTime ?? null
    return last !== undefined
  }

  #gap(hole: Hole, { receivedTime, flags }: Stamp): Gap {
    const { source, channel, timeframe } = this.topic
    const { reason, fromVenueSeq, toVenueSeq, repairedBy } = hole
    const fromTime = hole.fromTime ?? this.#receivedTime ?? receivedTime
    if (repairedBy === undefined) signals.gap.emit({ source, channel, reason })
    const gap: Gap = {
      type: 'gap',
      channel,
      ...(timeframe !== undefined && { timeframe }),
      reason,
      fromTime,
      toTime: hole.toTime ?? Math.max(fromTime, receivedTime),
      ...(fromVenueSeq !== undefined && { fromVenueSeq }),
      ...(toVenueSeq !== undefined && { toVenueSeq }),
      ...(repairedBy !== undefined && { repairedBy }),
    }
    this.#write(gap, { receivedTime, flags: flags?.filter((flag) => flag === 'simulated') })
    return gap
  }

  #write(payload: Payload, { receivedTime, sourceTime, flags, venueSeq }: Stamp): void {
    const { publisher, positions, now } = this.#context
    const last = this.#seq === 0 ? positions.last(this.topic.id) : undefined
    this.#seq++
    this.#receivedTime =
      this.#receivedTime === null ? receivedTime : Math.max(receivedTime, this.#receivedTime + 1)
    const envelope: { -readonly [K in keyof Envelope]: Envelope[K] } = {
      epoch: this.#epoch as number,
      seq: this.#seq,
      receivedTime: this.#receivedTime,
      publishedTime: Math.max(now(), this.#receivedTime),
    }
    if (last) {
      envelope.prevEpoch = last.epoch
      envelope.prevSeq = last.seq
    }
    if (sourceTime !== undefined) envelope.sourceTime = sourceTime
    if (flags) envelope.flags = flags
    if (venueSeq) envelope.venueSeq = venueSeq
    publisher.publish(encodeEvent(this.topic, envelope, payload))
  }
}

/** The writers of one source under one lease. One is kept when its subscription ends, so that a later one goes on in the same epoch. */
export class Writers {
  readonly #context: WriterContext
  /** Bounded by the topics that operators ask for. */
  readonly #writers = new Map<string, TopicWriter>()

  constructor(context: WriterContext) {
    this.#context = context
  }

  of(topic: Topic): TopicWriter {
    let writer = this.#writers.get(topic.id)
    if (!writer) {
      writer = new TopicWriter(topic, this.#context)
      this.#writers.set(topic.id, writer)
    }
    return writer
  }
}
