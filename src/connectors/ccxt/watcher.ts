import { setTimeout as sleep } from 'node:timers/promises'
import type { Decoded, Subscription } from '../connector.ts'
import { BookReader } from './book-reader.ts'
import { type CcxtClient, type CcxtExchange, type CcxtLibrary, failureOf } from './library.ts'
import { CandlesReader, type Reader, TickerReader, TradesReader } from './readers.ts'
import { type Watch, watchesOf } from './watches.ts'

/** A watch that fails is called again at once, then ever more rarely. */
const RETRY = { baseMs: 500, capMs: 30_000 }
/** What failed so often without ever delivering is refused by the venue: ccxt does not always say whose fault it was. */
const REFUSED_AFTER = 3
/** Errors in a row that one which delivers may get for others. */
const NEIGHBOURS_ERRORS = 10
/** A venue that does not answer an unsubscription is not waited for. */
const UNWATCH_TIMEOUT_MS = 3_000

export interface WatcherHost {
  readonly library: CcxtLibrary
  readonly exchange: CcxtExchange
  readonly depth: number
  reason(error: unknown): string
  /** The socket that carried it is gone: this watcher waits, and tries again unless the link ends. */
  broken(watcher: Watcher, reason: string): void
  emit(update: Decoded): void
}

/**
 * One subscription: calls the watch methods of ccxt again and again, and is told apart from its neighbours where ccxt is
 * not: which socket carries it, which errors are its own.
 */
export class Watcher {
  readonly subscription: Subscription
  /** Monotonic ms; 0: never. */
  deliveredAt = 0
  readonly startedAt = performance.now()
  isBroken = false
  readonly #host: WatcherHost
  readonly #loops: readonly Loop[]
  #reader: Reader
  #stopped = false

  constructor(subscription: Subscription, host: WatcherHost, after: Promise<unknown>) {
    this.subscription = subscription
    this.#host = host
    this.#reader = readerOf(subscription, host.depth)
    this.#loops = watchesOf(host.exchange, subscription).map((watch) => new Loop(watch, host, this))
    void after.then(() => {
      for (const loop of this.#loops) void loop.run()
    })
  }

  get isStopped(): boolean {
    return this.#stopped
  }

  uses(client: CcxtClient): boolean {
    return this.#loops.some((loop) => loop.client === client)
  }

  clients(): readonly CcxtClient[] {
    return this.#loops.flatMap((loop) => loop.client ?? [])
  }

  delivered(result: unknown): void {
    this.deliveredAt = performance.now()
    this.isBroken = false
    this.#reader.read(result, (update) => this.#host.emit(update))
  }

  /** What comes next does not continue what came before. */
  interrupted(reason: string): void {
    this.#reader = readerOf(this.subscription, this.#host.depth)
    this.#host.emit({ kind: 'interrupted', subscription: this.subscription, reason })
  }

  refused(reason: string): void {
    this.end()
    this.#host.emit({ kind: 'refused', subscription: this.subscription, reason })
  }

  /** Resolves when the venue was told, or cannot be. Never rejects. */
  async stop(): Promise<void> {
    this.end()
    await Promise.all(this.#loops.map((loop) => loop.unwatch()))
    const { channel, symbol } = this.subscription
    if (channel === 'orderbook') delete this.#host.exchange.orderbooks[symbol]
  }

  /** Stops without a word to the venue. */
  end(): void {
    this.#stopped = true
    for (const loop of this.#loops) loop.end()
  }
}

class Loop {
  client: CcxtClient | undefined
  readonly #watch: Watch
  readonly #host: WatcherHost
  readonly #watcher: Watcher
  readonly #view: CcxtExchange
  /** What it asked for on its socket; at most a few. */
  readonly #hashes = new Set<string>()
  readonly #ended = new AbortController()
  #failures = 0
  #delivered = false

  constructor(watch: Watch, host: WatcherHost, watcher: Watcher) {
    this.#watch = watch
    this.#host = host
    this.#watcher = watcher
    this.#view = this.#createView()
  }

  async run(): Promise<void> {
    const { signal } = this.#ended
    while (!signal.aborted) {
      try {
        const result = await this.#watch.call(this.#view)
        if (signal.aborted) return
        this.#failures = 0
        this.#delivered = true
        this.#watcher.delivered(result)
      } catch (error) {
        if (signal.aborted) return
        const waitMs = this.#failed(error)
        if (waitMs === undefined) return
        if (waitMs > 0) await sleep(waitMs, undefined, { signal }).catch(() => {})
      }
    }
  }

  end(): void {
    this.#ended.abort()
  }

  async unwatch(): Promise<void> {
    const { stop } = this.#watch
    if (!this.client || this.#isLost) return
    const answered =
      stop &&
      (await Promise.race([
        stop(this.#view).then(
          () => true,
          () => false,
        ),
        sleep(UNWATCH_TIMEOUT_MS, false, { ref: false }),
      ]))
    if (!answered) this.#forget()
  }

  /** ccxt asks the venue once for each hash: what is forgotten is asked for again. */
  #forget(): void {
    for (const hash of this.#hashes) delete this.client?.subscriptions[hash]
  }

  get #isLost(): boolean {
    return this.client !== undefined && this.#host.exchange.clients[this.client.url] !== this.client
  }

  /** How long to wait, ms; undefined: not again. */
  #failed(error: unknown): number | undefined {
    const { library, reason, broken } = this.#host
    const watcher = this.#watcher
    const failure = failureOf(library, error)
    this.#failures++
    if (this.#isLost || (failure === 'connection' && !this.client)) {
      broken(watcher, reason(error))
      return this.#backoffMs()
    }
    if (this.#watch.optional) return undefined
    if (!this.#delivered && failure !== 'connection' && this.#watch.relent?.()) {
      this.#forget()
      return 0
    }
    const isFinal = failure === 'refused' || failure === 'credentials'
    if (isFinal || (!this.#delivered && this.#failures >= REFUSED_AFTER)) {
      watcher.refused(reason(error))
      return undefined
    }
    if (failure === 'integrity') watcher.interrupted(reason(error))
    // The error of one that delivers is most often a neighbour's: what is subscribed stays so.
    else if (!this.#delivered) this.#forget()
    return this.#backoffMs()
  }

  /** One that delivers comes back at once: what the socket brings while nobody waits is told with the next frame only. */
  #backoffMs(): number {
    const inVain = this.#failures - (this.#delivered ? NEIGHBOURS_ERRORS : 1)
    return inVain <= 0
      ? 0
      : Math.min(RETRY.capMs, RETRY.baseMs * 2 ** (inVain - 1)) * (0.5 + Math.random() / 2)
  }

  #connecting(client: CcxtClient): void {
    this.client = client
    void client.connected.then(() => {
      if (this.client === client) this.#watcher.isBroken = false
    })
  }

  /** The exchange as this loop sees it: the same in all, but it is known which socket and requests are the loop's. */
  #createView(): CcxtExchange {
    const { exchange } = this.#host
    const view = Object.create(exchange) as CcxtExchange
    view.client = (url) => {
      const client = exchange.client(url)
      // A socket was lost while nobody waited for its data.
      if (this.#isLost && client !== this.client && !this.#watcher.isBroken)
        this.#watcher.interrupted('reconnected')
      if (client !== this.client) this.#connecting(client)
      return client
    }
    view.watch = (url, messageHash, message, hash, info) => {
      if (hash !== undefined) this.#hashes.add(hash)
      return exchange.watch.call(view, url, messageHash, message, hash, info)
    }
    view.watchMultiple = (url, messageHashes, message, hashes, info) => {
      for (const hash of hashes ?? []) this.#hashes.add(hash)
      return exchange.watchMultiple.call(view, url, messageHashes, message, hashes, info)
    }
    return view
  }
}

function readerOf(subscription: Subscription, depth: number): Reader {
  switch (subscription.channel) {
    case 'trades':
      return new TradesReader(subscription)
    case 'orderbook':
      return new BookReader(subscription, depth)
    case 'ohlcv':
      return new CandlesReader(subscription)
    default:
      return new TickerReader(subscription)
  }
}
