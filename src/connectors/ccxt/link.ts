import { setTimeout as sleep } from 'node:timers/promises'
import { now } from '../../clock.ts'
import type { Pacer } from '../../pacer.ts'
import { signals } from '../../signals.ts'
import type { Decoded, Link, LinkEnd, LinkOptions, LinkSink, Subscription } from '../connector.ts'
import { subscriptionKey } from '../connector.ts'
import { createExchange, type Tap } from './exchange.ts'
import { type CcxtClient, type CcxtExchange, type CcxtLibrary, reasonOf } from './library.ts'
import { sample } from './probe.ts'
import type { CcxtRest } from './rest.ts'
import { Watcher, type WatcherHost } from './watcher.ts'

/** How silence is told from death, ms. */
export interface Patience {
  readonly sweepMs: number
  /** A subscription that is silent for so long is compared with what REST says, then ever more rarely. */
  readonly doubtAfterMs: number
  /** What REST knows already the socket may still bring. */
  readonly graceMs: number
}

export const PATIENCE: Patience = { sweepMs: 5_000, doubtAfterMs: 15_000, graceMs: 3_000 }
const MAX_DOUBT_AFTER_MS = 300_000
/** Withheld so often on one socket, a subscription gets another. */
const WITHHELD_ON_SOCKET = 2
/** A peer that does not answer our close frame is cut off. */
const CLOSE_TIMEOUT_MS = 1_000

export interface CcxtLinkHost {
  readonly library: CcxtLibrary
  readonly exchangeId: string
  readonly patience: Patience
  /** Connections to one host, of all links together. */
  readonly dials: Pacer
  depth(limit: number | undefined): number
  readonly rest: CcxtRest
}

interface Watched {
  readonly watcher: Watcher
  /** Times it was proved that the venue moved on and did not tell, since it told something. */
  withheld: number
  doubtAfterMs: number
  /** What REST said, and when the subscription had delivered last. */
  mark?: { readonly deliveredAt: number; readonly text: string }
}

interface Stopping {
  readonly watched: Watched
  readonly done: Promise<void>
}

/**
 * One exchange object of ccxt and its sockets, of which ccxt opens as many as it likes. The link ends when none of them
 * carries anything any more; the loss of one among others is told for the subscriptions that it carried.
 */
export class CcxtLink implements Link {
  readonly #host: CcxtLinkHost
  readonly #options: LinkOptions
  readonly #sink: LinkSink
  readonly #exchange: CcxtExchange
  readonly #watcherHost: Omit<WatcherHost, 'depth'>
  /** Bounded, as `#stopping`, by `subscriptionsPerLink`. */
  readonly #watched = new Map<string, Watched>()
  readonly #stopping = new Map<string, Stopping>()
  #sweep: NodeJS.Timeout | undefined
  #check: NodeJS.Immediate | undefined
  #receivedTime = now()
  /** Resolves when reading goes on. */
  #paused: Promise<void> | undefined
  #unpause = () => {}
  #probing = false
  #ended = false

  constructor(host: CcxtLinkHost, options: LinkOptions, sink: LinkSink) {
    this.#host = host
    this.#options = options
    this.#sink = sink
    this.#exchange = createExchange(host.library, host.exchangeId, options, this.#tap())
    this.#watcherHost = {
      library: host.library,
      exchange: this.#exchange,
      reason: (error) => this.#reason(error),
      broken: (watcher, reason) => this.#broken(watcher, reason),
      emit: (update) => this.#emit(update),
    }
    void this.#open()
  }

  subscribe(subscriptions: readonly Subscription[]): void {
    for (const subscription of subscriptions) {
      if (this.#ended) return
      const key = subscriptionKey(subscription)
      const watched = this.#watched.get(key)
      // The manager asks whether a silent connection lives.
      if (watched && !watched.watcher.isStopped) void this.#probe(key, watched)
      else this.#watch(key, subscription)
    }
  }

  unsubscribe(subscriptions: readonly Subscription[]): void {
    for (const subscription of subscriptions) {
      const key = subscriptionKey(subscription)
      const watched = this.#watched.get(key)
      if (!watched || this.#ended) continue
      this.#watched.delete(key)
      const done = watched.watcher.stop().then(() => {
        if (this.#stopping.get(key)?.done !== done) return
        this.#stopping.delete(key)
        this.#closeSockets(watched.watcher, false)
      })
      this.#stopping.set(key, { watched, done })
    }
  }

  pause(): void {
    this.#paused ??= new Promise((resolve) => {
      this.#unpause = resolve
    })
  }

  resume(): void {
    this.#paused = undefined
    this.#unpause()
  }

  close(reason: string): void {
    this.#end({ reason })
  }

  async #open(): Promise<void> {
    try {
      this.#exchange.setMarketsFromExchange(await this.#host.rest.markets())
    } catch (error) {
      const retryAfterMs = this.#host.rest.retryAfterMs()
      const reason = `cannot list its markets: ${this.#reason(error)}`
      this.#end({ reason, ...(retryAfterMs !== undefined && { retryAfterMs }) })
      return
    }
    if (this.#ended) return
    this.#sweep = setInterval(() => this.#doubt(), this.#host.patience.sweepMs)
    this.#sink.opened()
  }

  #tap(): Tap {
    const sink = this.#sink
    return {
      admit: (dial) => this.#admit(dial),
      ready: () => this.#paused,
      received: (text) => {
        this.#receivedTime = now()
        if (this.#ended) return
        signals.framesReceived.emit({ source: this.#options.source, count: 1 })
        if (text !== undefined) sink.frame?.('in', text, this.#receivedTime)
        sink.decoded({ kind: 'heartbeat' }, this.#receivedTime, undefined)
      },
      // With credentials a frame may hold them.
      sent: (text) => {
        if (!this.#options.credentials) sink.frame?.('out', text, now())
      },
    }
  }

  /** ccxt opens sockets as it likes, and more than one at once: all of an exchange take turns. */
  #admit(dial: () => void): void {
    if (this.#ended) return
    const { dials } = this.#host
    const waitMs = dials.waitMs()
    if (waitMs > 0) setTimeout(() => this.#admit(dial), waitMs)
    else {
      dials.spend()
      dial()
    }
  }

  #watch(key: string, subscription: Subscription): void {
    const stopping = this.#stopping.get(key)
    this.#stopping.delete(key)
    const before = stopping?.watched
    const isHopeless = before !== undefined && before.withheld >= WITHHELD_ON_SOCKET
    const after = (stopping?.done ?? Promise.resolve()).then(() => {
      if (isHopeless) this.#closeSockets(before.watcher, true)
    })
    const host = { ...this.#watcherHost, depth: this.#host.depth(subscription.limit) }
    const watched: Watched = {
      watcher: new Watcher(subscription, host, after),
      withheld: isHopeless ? 0 : (before?.withheld ?? 0),
      doubtAfterMs: this.#host.patience.doubtAfterMs,
    }
    this.#watched.set(key, watched)
    if (!before) return
    // Asked for again: whatever the venue says or does not say to that, REST tells whether there is something to say.
    if (before.mark?.deliveredAt === 0) watched.mark = before.mark
    void this.#probe(key, watched)
  }

  #emit(update: Decoded): void {
    if (!this.#ended) this.#sink.decoded(update, this.#receivedTime, undefined)
  }

  /** Looked at once for all that broke in this turn: when nothing is left, the connection is lost. */
  #broken(watcher: Watcher, reason: string): void {
    if (watcher.isBroken) return
    watcher.isBroken = true
    this.#check ??= setImmediate(() => {
      this.#check = undefined
      const running = [...this.#watched.values()].map((one) => one.watcher).filter((one) => !one.isStopped)
      const broken = running.filter((one) => one.isBroken)
      if (broken.length === running.length) this.#end({ reason })
      else for (const one of broken) one.interrupted(reason)
    })
  }

  /** `shared`: also those that others use; ccxt opens new ones for them. */
  #closeSockets(watcher: Watcher, shared: boolean): void {
    for (const client of watcher.clients()) {
      const isUsed = [...this.#watched.values()].some((one) => one.watcher.uses(client))
      if (this.#exchange.clients[client.url] === client && (shared || !isUsed)) this.#closeSocket(client)
    }
  }

  #closeSocket(client: CcxtClient): void {
    delete this.#exchange.clients[client.url]
    client.close()
    client.onError(new this.#host.library.NetworkError('silent, and closed by us'))
    setTimeout(() => client.connection?.terminate(), CLOSE_TIMEOUT_MS).unref()
  }

  /** An acknowledgement, a pong or another subscription's data is no proof that this one lives. */
  #doubt(): void {
    const time = performance.now()
    for (const [key, watched] of this.#watched) {
      const { watcher, mark } = watched
      if (watcher.isStopped || watcher.isBroken || this.#paused) continue
      if (mark && mark.deliveredAt !== watcher.deliveredAt) {
        watched.doubtAfterMs = this.#host.patience.doubtAfterMs
        delete watched.mark
      }
      if (time - Math.max(watcher.deliveredAt, watcher.startedAt) < watched.doubtAfterMs) continue
      watched.doubtAfterMs = Math.min(watched.doubtAfterMs * 2, MAX_DOUBT_AFTER_MS)
      void this.#probe(key, watched)
    }
  }

  /** One at a time: the limits of REST are shared. A quiet market is a sign of life; one that moves unseen is not. */
  async #probe(key: string, watched: Watched): Promise<void> {
    if (this.#probing) return
    this.#probing = true
    try {
      const { watcher, mark } = watched
      const { deliveredAt } = watcher
      const text = await sample(await this.#host.rest.markets(), watcher.subscription)
      if (text === undefined || this.#ended) return
      const moved = mark !== undefined && mark.deliveredAt === deliveredAt && mark.text !== text
      watched.mark = { deliveredAt, text }
      if (moved) await sleep(this.#host.patience.graceMs, undefined, { ref: false })
      if (this.#ended || watcher.isStopped) return
      if (moved && watcher.deliveredAt === deliveredAt) this.#restart(key, watched)
      else this.#sink.decoded({ kind: 'heartbeat' }, now(), undefined)
    } catch {
      // REST does not answer: nothing is known.
    } finally {
      this.#probing = false
    }
  }

  #restart(key: string, watched: Watched): void {
    if (this.#watched.get(key) !== watched) return
    const { watcher } = watched
    watched.withheld = watcher.deliveredAt === 0 ? watched.withheld + 1 : 1
    watcher.interrupted('no data, though the venue moves on')
    this.unsubscribe([watcher.subscription])
    this.subscribe([watcher.subscription])
  }

  #reason(error: unknown): string {
    return reasonOf(error, Object.values(this.#options.credentials ?? {}))
  }

  #end(end: LinkEnd): void {
    if (this.#ended) return
    this.#ended = true
    clearInterval(this.#sweep)
    clearImmediate(this.#check)
    this.resume()
    for (const { watcher } of this.#watched.values()) watcher.end()
    this.#watched.clear()
    void this.#shutDown()
    this.#sink.ended(end)
  }

  async #shutDown(): Promise<void> {
    const clients = Object.values(this.#exchange.clients ?? {})
    const timer = setTimeout(() => {
      for (const { connection } of clients) connection?.terminate()
    }, CLOSE_TIMEOUT_MS)
    await this.#exchange.close().catch(() => {})
    clearTimeout(timer)
  }
}
