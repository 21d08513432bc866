import {
  type Connector,
  type DecodedBook,
  type DecodedEvent,
  type Link,
  type LinkOptions,
  type Subscription,
  subscriptionKey,
} from '../connectors/connector.ts'
import type { BookPayload, Micros } from '../market/event.ts'
import { encodeSymbol, type Topic, topicOf } from '../market/topic.ts'
import type { FetchTrades } from './backfill.ts'
import { BookKeeper } from './book-keeper.ts'
import { type Keeper, PlainKeeper, type Role, type StateListener } from './keeper.ts'
import type { TopicState, TopicStatus } from './manager.ts'
import type { Patience } from './patience.ts'
import type { Positions } from './positions.ts'
import type { Output } from './topic-writer.ts'
import { TradeKeeper } from './trade-keeper.ts'

/** Asked for so often in vain, it is asked for on another connection. */
const MAX_VAIN = 2

export interface FeedContext {
  readonly source: string
  readonly connector: Connector
  readonly options: LinkOptions
  readonly writers: { of(topic: Topic): Output }
  readonly positions: Positions
  readonly patience: Patience
  now(): Micros
  /** The venue says by REST that it knows no such symbol. */
  unknownSymbol(symbol: string, reason: string): void
  /** Of one of two sides. */
  readonly side?: FeedSide
}

/** What a feed is to the other one of the same topic, where a source has two sides. */
export interface FeedSide {
  /** Trades of both go through one keeper. */
  trades?(changed: StateListener): Keeper
  changed(state: TopicState): void
}

/** One wanted subscription, its topic, and what became of it. */
export class Feed {
  readonly topic: Topic
  readonly key: string
  subscription: Subscription
  /** The connection that carries it. */
  link: Link | undefined
  readonly #context: FeedContext
  readonly #writer: Output
  readonly #keeper: Keeper
  #state: TopicState = 'pending'
  #reason: string | undefined
  #acknowledged = false
  #delivered = false
  /** Monotonic ms. */
  #askedAt = 0
  #heardAt = 0
  #deliveryMs: number
  #silenceMs: number
  /** Times in a row that it was asked for again, though the venue must have something to say of it. */
  #vain = 0
  /** It was asked for again only to see whether it is still right. */
  #probed = false

  constructor(subscription: Subscription, context: FeedContext) {
    const { source, writers } = context
    this.subscription = subscription
    this.key = subscriptionKey(subscription)
    this.topic = topicOfFeed(source, subscription)
    this.#context = context
    this.#deliveryMs = context.patience.deliveryMs
    this.#silenceMs = this.#firstSilenceMs
    this.#writer = writers.of(this.topic)
    this.#keeper = this.#createKeeper()
    const reason = context.connector.refuse(subscription)
    if (reason !== undefined) this.refused(reason)
  }

  get isRefused(): boolean {
    return this.#state === 'refused'
  }

  /** Did the venue ever send something since it was asked? */
  get isDelivered(): boolean {
    return this.#delivered
  }

  /** Asks the venue for it, over a connection that was opened for it. */
  ask(link: Link): void {
    this.link = link
    this.#acknowledged = false
    this.#delivered = false
    this.#askedAt = performance.now()
    if (this.#state === 'refused') this.#changed('pending')
  }

  /** Asks again, over the same connection. */
  resubscribe(): void {
    const { link } = this
    if (!link) return
    link.unsubscribe([this.subscription])
    this.ask(link)
    link.subscribe([this.subscription])
  }

  /** More levels are wanted than are asked of the venue. */
  deepen(limit: number): void {
    const { link } = this
    link?.unsubscribe([this.subscription])
    this.subscription = { ...this.subscription, limit }
    if (this.#keeper instanceof BookKeeper) this.#keeper.restart()
    if (!link) return
    this.ask(link)
    link.subscribe([this.subscription])
  }

  received(update: DecodedEvent | DecodedBook, receivedTime: Micros, role: Role): boolean {
    const takesOver = this.#keeper.received(update, receivedTime, role)
    // Changes of a book whose snapshot did not come.
    if (this.#keeper instanceof BookKeeper && !this.#keeper.isLive) return takesOver
    this.#delivered = true
    this.#vain = 0
    this.#heardAt = performance.now()
    this.#deliveryMs = this.#context.patience.deliveryMs
    // The answer to a probe says nothing of the next one.
    if (!this.#probed) this.#silenceMs = this.#firstSilenceMs
    this.#probed = false
    return takesOver
  }

  acknowledged(): void {
    this.#acknowledged = true
    const { epoch } = this.#writer
    if (this.#state === 'pending' || this.#state === 'stale')
      this.#changed(epoch === null ? 'pending' : 'syncing', 'acknowledged, nothing received yet')
    this.#keeper.acknowledged()
  }

  refused(reason: string): void {
    this.#keeper.close()
    this.#changed('refused', reason)
  }

  interrupted(reason: string): void {
    this.link = undefined
    this.#keeper.interrupted()
    if (this.#state !== 'refused') this.#changed(this.#writer.epoch === null ? 'pending' : 'stale', reason)
  }

  malformed(receivedTime: Micros, named: boolean, role: Role): void {
    this.#keeper.malformed(receivedTime, named, role)
  }

  lastTrade(id: string, receivedTime: Micros): void {
    this.#keeper.lastTrade(id, receivedTime)
  }

  abandoned(): void {
    this.#keeper.abandoned?.()
  }

  takeOver(link: Link, lost: boolean): void {
    this.link = link
    this.#keeper.takenOver(lost)
  }

  close(): void {
    this.#keeper.close()
    this.link = undefined
  }

  /** Called every second while its connection is open: an acknowledgement is no proof of data. True: asked again. */
  sweep(time: number): boolean {
    if (!this.link || this.isRefused) return false
    if (this.#delivered) return this.#isSilenced(time) || this.#isProbed(time)
    // What waits for the limits of REST is not withheld.
    if (this.#keeper instanceof BookKeeper && this.#keeper.isLoading) this.#askedAt = time
    if (time - this.#askedAt < this.#deliveryMs) return false
    const what = this.#acknowledged ? 'acknowledged, but no data' : 'not acknowledged'
    const reason = `${what} within ${Math.round(this.#deliveryMs / 1_000)} s: asked again`
    this.#deliveryMs = Math.min(this.#deliveryMs * 2, this.#context.patience.maxWaitMs)
    // A subscription to a book has a snapshot for its answer.
    if (this.#keeper instanceof BookKeeper && this.#acknowledged) this.#vain++
    if (!(this.#keeper instanceof BookKeeper && this.#keeper.undelivered())) this.resubscribe()
    this.#changed(this.#state, reason)
    return true
  }

  /** Silent for longer than the venue ever is with such a subscription. */
  #isSilenced(time: number): boolean {
    const quietMs = this.#context.connector.quietMs?.(this.subscription)
    if (quietMs === undefined || time - this.#heardAt < quietMs) return false
    const reason = `nothing for ${Math.round(quietMs / 1_000)} s: asked again`
    if (this.#keeper instanceof BookKeeper) this.#keeper.withheld()
    else this.resubscribe()
    this.#delivered = false
    this.#askedAt = time
    this.#vain++
    this.#changed('stale', reason)
    return true
  }

  get #firstSilenceMs(): number {
    const { silenceMs, tradeSilenceMs } = this.#context.patience
    return this.topic.channel === 'trades' ? tradeSilenceMs : silenceMs
  }

  /** A silent book that nothing else can prove is asked for again. */
  #isProbed(time: number): boolean {
    const { bookRules, fetchBook } = this.#context.connector
    if (!(this.#keeper instanceof BookKeeper) || fetchBook || !bookRules.resends) return false
    if (!this.#isSilent(time)) return false
    this.#keeper.probe()
    this.#probed = true
    return true
  }

  /** It can be compared with what the venue gives in another way, and is silent for so long that it should be. */
  isDoubtful(time: number): boolean {
    const { fetchBook, fetchTrades } = this.#context.connector
    const keeper = this.#keeper
    const fetch =
      keeper instanceof BookKeeper ? fetchBook : keeper instanceof TradeKeeper ? fetchTrades : undefined
    return fetch !== undefined && this.#isSilent(time)
  }

  #isSilent(time: number): boolean {
    if (this.#state !== 'live' || time - Math.max(this.#heardAt, this.#askedAt) < this.#silenceMs)
      return false
    const most = Math.max(this.#context.patience.maxWaitMs, this.#firstSilenceMs * 16)
    this.#silenceMs = Math.min(this.#silenceMs * 2, most)
    return true
  }

  /** Did the venue's market move on while we heard nothing? */
  async isWithheld(): Promise<boolean> {
    const { connector } = this.#context
    if (this.#keeper instanceof BookKeeper) return this.#keeper.isWithheld(connector.bookDepth(1))
    return this.#keeper instanceof TradeKeeper && this.#keeper.isWithheld()
  }

  /** It did: this topic alone is begun anew. */
  withheld(): void {
    if (!this.link) return
    this.#vain++
    if (this.#keeper instanceof BookKeeper) this.#keeper.withheld()
    if (!(this.#keeper instanceof TradeKeeper)) return
    this.#keeper.withheld()
    this.resubscribe()
  }

  /** True once: this connection does not carry it, whatever it acknowledges. */
  isHopeless(): boolean {
    if (this.#vain < MAX_VAIN) return false
    this.#vain = 0
    return true
  }

  /** The book that it proved, as a snapshot. */
  image(): BookPayload | undefined {
    return this.#keeper instanceof BookKeeper ? this.#keeper.image() : undefined
  }

  status(): TopicStatus {
    const { channel, publicSubject, timeframe } = this.topic
    return {
      channel,
      symbol: publicSubject,
      ...(timeframe !== undefined && { timeframe }),
      state: this.#state,
      ...(this.#reason !== undefined && { reason: this.#reason }),
      epoch: this.#writer.epoch,
      seq: this.#writer.seq,
      lastReceivedTime: this.#writer.receivedTime,
    }
  }

  readonly #changed = (state: TopicState, reason?: string): void => {
    this.#state = state
    this.#reason = reason
    this.#context.side?.changed(state)
  }

  #createKeeper(): Keeper {
    const { connector, options, patience, now, source, side } = this.#context
    const { channel, symbol } = this.subscription
    const writer = this.#writer
    if (channel === 'trades') {
      const fetch = fetchTradesOf(this.#context, symbol)
      return side?.trades?.(this.#changed) ?? createTradeKeeper(writer, this.#context, fetch, this.#changed)
    }
    if (channel !== 'orderbook') return new PlainKeeper(writer, this.#changed)
    return new BookKeeper({
      source,
      symbol,
      writer,
      rules: connector.bookRules,
      patience,
      depth: () => connector.bookDepth(this.subscription.limit),
      now,
      ...(connector.fetchBook && {
        fetch: (depth: number, signal: AbortSignal) => connector.fetchBook!(symbol, depth, options, signal),
      }),
      resubscribe: () => this.resubscribe(),
      changed: this.#changed,
      unknown: (reason) => this.#context.unknownSymbol(symbol, reason),
    })
  }
}

export function topicOfFeed(source: string, { channel, symbol, timeframe }: Subscription): Topic {
  return topicOf(source, channel, encodeSymbol(symbol), timeframe)
}

export function createTradeKeeper(
  writer: Output,
  { connector, positions, patience, now }: FeedContext,
  fetch: FetchTrades | undefined,
  changed: StateListener,
): TradeKeeper {
  const stored = positions.last(writer.topic.id)
  return new TradeKeeper({ writer, rules: connector.tradeRules, stored, patience, changed, fetch, now })
}

/** Undefined: the venue does not give trades again. */
export function fetchTradesOf({ connector, options }: FeedContext, symbol: string): FetchTrades | undefined {
  if (!connector.fetchTrades) return undefined
  return (wanted, signal) => connector.fetchTrades!(symbol, wanted, options, signal)
}
