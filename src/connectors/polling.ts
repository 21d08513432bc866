import { now } from '../clock.ts'
import { FeedgateError } from '../errors.ts'
import type { Micros } from '../market/event.ts'
import { type Decoded, type Link, type LinkSink, type Subscription, subscriptionKey } from './connector.ts'
import type { RestClient } from './rest.ts'
import type { PolledChannel, Venue } from './venue.ts'

/** Requests of one link at once. */
const MAX_UNDER_WAY = 5
/** What was asked for so often in vain is not known any more; nor is anything, when nothing is answered for as long. */
const MISSED_TURNS = 3
/** While the venue does not answer, it is asked ever more slowly; at most so slowly. */
const MAX_PAUSE_MS = 60_000

interface Polled {
  readonly subscription: Subscription
  asked: boolean
  /** Turns in a row without an answer. */
  missed: number
  sourceTime: Micros
  interrupted: boolean
}

/** A link of a channel that the venue has no stream of: what is subscribed is asked for in turn, by REST. */
export function openPolls(venue: Venue, channel: PolledChannel, client: RestClient, sink: LinkSink): Link {
  return new Polls(venue, channel, client, sink)
}

class Polls implements Link {
  readonly polls = true
  readonly #venue: Venue
  readonly #channel: PolledChannel
  readonly #client: RestClient
  readonly #sink: LinkSink
  /** By subscription; bounded by what the manager gives to one link. */
  readonly #polled = new Map<string, Polled>()
  /** The same, next first. */
  readonly #turns: Polled[] = []
  readonly #stop = new AbortController()
  readonly #watch: NodeJS.Timeout
  #timer: NodeJS.Timeout | undefined
  #underWay = 0
  /** Monotonic ms; likewise the next two. */
  #askedAt = Number.NEGATIVE_INFINITY
  #answeredAt = performance.now()
  #pausedUntil = 0
  /** In a row. */
  #failures = 0
  #failure = 'the limits of the venue'
  #paused = false

  constructor(venue: Venue, channel: PolledChannel, client: RestClient, sink: LinkSink) {
    this.#venue = venue
    this.#channel = channel
    this.#client = client
    this.#sink = sink
    this.#watch = setInterval(() => this.#check(), channel.everyMs)
    setImmediate(() => {
      if (!this.#ended) sink.opened()
    })
  }

  get #ended(): boolean {
    return this.#stop.signal.aborted
  }

  /** New ones are next: the others have a value. */
  subscribe(subscriptions: readonly Subscription[]): void {
    const added = subscriptions
      .filter((one) => !this.#polled.has(subscriptionKey(one)))
      .map((subscription) => ({
        ...{ subscription, asked: false, missed: 0, sourceTime: 0, interrupted: false },
      }))
    if (this.#turns.length === 0) this.#answeredAt = performance.now()
    for (const one of added) this.#polled.set(subscriptionKey(one.subscription), one)
    this.#turns.unshift(...added)
    queueMicrotask(() => {
      for (const subscription of subscriptions) this.#deliver({ kind: 'acknowledged', subscription })
    })
    this.#schedule()
  }

  unsubscribe(subscriptions: readonly Subscription[]): void {
    for (const subscription of subscriptions) this.#forget(subscription)
    this.#schedule()
  }

  pause(): void {
    this.#paused = true
    clearTimeout(this.#timer)
  }

  resume(): void {
    this.#paused = false
    this.#answeredAt = performance.now()
    this.#schedule()
  }

  close(reason: string): void {
    if (this.#ended) return
    clearTimeout(this.#timer)
    clearInterval(this.#watch)
    this.#stop.abort()
    this.#sink.ended({ reason })
  }

  /** It was not given up while it was asked for. */
  #holds(one: Polled): boolean {
    return !this.#ended && this.#polled.get(subscriptionKey(one.subscription)) === one
  }

  #forget(subscription: Subscription): void {
    const key = subscriptionKey(subscription)
    const one = this.#polled.get(key)
    if (!one) return
    this.#polled.delete(key)
    this.#turns.splice(this.#turns.indexOf(one), 1)
  }

  /** Requests are spread evenly over the interval, and farther apart where the venue's limits want it. */
  #schedule(): void {
    clearTimeout(this.#timer)
    const { everyMs, weight } = this.#channel
    if (this.#ended || this.#paused || this.#turns.length === 0 || this.#underWay >= MAX_UNDER_WAY) return
    const dueAt = Math.max(this.#askedAt + everyMs / this.#turns.length, this.#pausedUntil)
    const waitMs = Math.max(dueAt - performance.now(), this.#client.pollWaitMs(weight))
    this.#timer = setTimeout(() => this.#next(), Math.max(0, waitMs))
  }

  #next(): void {
    const one = this.#turns[0]
    if (one && this.#client.pollWaitMs(this.#channel.weight) === 0) {
      this.#turns.push(this.#turns.shift()!)
      this.#askedAt = performance.now()
      one.asked = true
      this.#underWay++
      void this.#ask(one).finally(() => {
        this.#underWay--
        this.#schedule()
      })
    }
    this.#schedule()
  }

  async #ask(one: Polled): Promise<void> {
    const { symbol } = one.subscription
    const path = this.#channel.path(this.#venue.venueSymbol(symbol)!)
    try {
      const body = await this.#client.poll(path, this.#channel.weight, this.#stop.signal)
      if (body === undefined) throw new FeedgateError('venue-unavailable', 'HTTP 404')
      this.#failures = 0
      const time = now()
      this.#sink.answered?.(this.#client.urlOf(path), body, time)
      this.#answered(one, this.#channel.decode(body, symbol), time, body)
    } catch (error) {
      if (this.#holds(one)) this.#failed(one, error as Error)
    }
  }

  #answered(one: Polled, update: Decoded, time: Micros, body: string): void {
    if (!this.#holds(one)) return
    if (update.kind === 'event') {
      this.#answeredAt = performance.now()
      one.missed = 0
      one.interrupted = false
      // Not all servers of a venue are equally far.
      const { sourceTime = one.sourceTime } = update
      if (sourceTime < one.sourceTime) return
      one.sourceTime = sourceTime
    }
    this.#sink.decoded(update, time, body)
    if (update.kind !== 'event') this.#missed(one, 'the answer cannot be read')
  }

  #failed(one: Polled, error: Error): void {
    const { subscription } = one
    if (error instanceof FeedgateError && error.code === 'unknown-symbol') {
      this.#forget(subscription)
      this.#deliver({ kind: 'refused', subscription, reason: error.message })
      return
    }
    const pauseMs = Math.min(this.#channel.everyMs * 2 ** this.#failures++, MAX_PAUSE_MS)
    this.#pausedUntil = performance.now() + pauseMs
    this.#missed(one, error.message)
  }

  #missed(one: Polled, reason: string): void {
    this.#failure = reason
    if (++one.missed >= MISSED_TURNS) this.#interrupt(one)
  }

  #check(): void {
    const silentMs = performance.now() - this.#answeredAt
    if (this.#paused || silentMs < MISSED_TURNS * this.#channel.everyMs) return
    for (const one of this.#polled.values()) if (one.asked) this.#interrupt(one)
  }

  #interrupt(one: Polled): void {
    if (one.interrupted) return
    one.interrupted = true
    const { subscription } = one
    this.#deliver({ kind: 'interrupted', subscription, reason: `not answered: ${this.#failure}` })
  }

  #deliver(update: Decoded): void {
    if (!this.#ended) this.#sink.decoded(update, now(), undefined)
  }
}
