import type { FeedgateError } from './closing.ts'
import type { AnyEvent, Break, StreamItem } from './events.ts'
import { Queue } from './queue.ts'
import { formOf, Selection, type SubscribeRequest, shapeOf } from './selection.ts'
import type { Channel, SubscribedMessage } from './wire.ts'

/** Who takes what a subscription brings. */
export interface Sink {
  item(item: AnyEvent | Break): void
  /** The gateway has granted it, for the first time or again. */
  joined?(): void
  /** The connection is gone: what comes next goes on from here, or says that it does not. */
  lost?(): void
  /** Nothing follows; an error unless it was closed. */
  ended(error?: FeedgateError): void
}

type Refusal = NonNullable<SubscribedMessage['rejected']>[number]

/** A subscription as its client keeps it. */
export class Wanted {
  readonly request: SubscribeRequest
  readonly selection: Selection
  readonly shape: string
  /** What of the shape must be the same where topics are shared. */
  readonly form: string
  readonly sink: Sink
  /** Symbols that were granted at least once: when refused later, they are asked for again. */
  readonly granted = new Set<string>()
  readonly #asks: ReadonlySet<string>
  readonly #refused = new Map<string, Refusal>()

  constructor(request: SubscribeRequest, sink: Sink) {
    this.request = request
    this.selection = new Selection(request)
    this.shape = shapeOf(request)
    this.form = formOf(request)
    this.sink = sink
    this.#asks = new Set(request.symbols)
  }

  /** Answers a refusal where nothing of it was ever granted and nothing is left to be answered. */
  answered({ symbols, rejected = [] }: SubscribedMessage): Refusal | undefined {
    for (const symbol of symbols) if (this.#asks.has(symbol)) this.granted.add(symbol)
    for (const refusal of rejected)
      if (this.#asks.has(refusal.symbol)) this.#refused.set(refusal.symbol, refusal)
    return this.granted.size === 0 && this.#refused.size === this.#asks.size
      ? this.#refused.values().next().value
      : undefined
  }
}

/**
 * A stream of events, in order, and of what interrupts them: iterate it once, or give `subscribe` a listener. Leaving
 * the loop ends the subscription.
 */
export interface Subscription<C extends Channel> extends AsyncIterable<StreamItem<C>> {
  /** When the gateway has granted it. Rejects with a FeedgateError where it refuses all of it. */
  readonly ready: Promise<void>
  close(): void
}

export class StreamSink<C extends Channel> implements Sink {
  readonly ready: Promise<void>
  readonly queue: Queue<StreamItem<C>>
  readonly #listener: ((item: StreamItem<C>) => void) | undefined
  #joined: () => void = () => {}
  #failed: (error: FeedgateError) => void = () => {}

  constructor(maxQueued: number, left: () => void, listener?: (item: StreamItem<C>) => void) {
    this.#listener = listener
    this.queue = new Queue(maxQueued, left)
    this.ready = new Promise((resolve, reject) => {
      this.#joined = resolve
      this.#failed = reject
    })
    // Told by the loop, and to whoever waits for it: no need to do both.
    this.ready.catch(() => {})
  }

  item(item: AnyEvent | Break): void {
    if (this.#listener) this.#listener(item as StreamItem<C>)
    else this.queue.put(item as StreamItem<C>)
  }

  joined(): void {
    this.#joined()
  }

  ended(error?: FeedgateError): void {
    this.queue.end(error)
    if (error) this.#failed(error)
    else this.#joined()
  }
}
