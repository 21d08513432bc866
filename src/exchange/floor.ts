import { textFrame } from '../gateway/ws/frame.ts'
import { parseJson, type Recorded, type Request, type Subscribing } from '../player/dialect.ts'
import { corrupted, withAbsurdSize, withBigIds, withExponent } from '../player/rewrites.ts'
import { type Client, Feed } from './client.ts'
import type { Injections, Matter } from './injections.ts'
import type { Limits } from './limits.ts'
import type { Market } from './market.ts'
import type { LimitName, Markets, Wire } from './wire.ts'

/** A snapshot that is too old is so many steps older than the market. */
const OLD_STEPS = 20
const SHUTDOWN_MS = 3_000
/** A half-open connection is forgotten after so long. */
const HALF_OPEN_MS = 300_000
/** Faults that change a frame, in the order in which they do. */
const REWRITES = ['two-maps', 'corrupt', 'exponent', 'absurd'] as const

export interface FloorParts {
  readonly wire: Wire
  readonly markets: Markets
  readonly injections: Injections
  readonly limits: Limits
  readonly enforce: boolean
  readonly timeScale: number
}

/** Where clients meet markets: subscriptions, frames, and what goes wrong with them. */
export class Floor {
  readonly clients = new Set<Client>()
  /** Frames sent, heartbeats and answers not counted. */
  sent = 0
  readonly #parts: FloorParts
  readonly #feeds = new Map<string, Feed>()
  readonly #byMarket = new Map<Market, Set<Feed>>()
  /** Those with frames that are not written yet. */
  readonly #waiting: Client[] = []

  constructor(parts: FloorParts) {
    this.#parts = parts
  }

  // Clients

  connect(client: Client, url: URL): void {
    const { dialect } = this.#parts.wire
    this.clients.add(client)
    client.dialect = dialect
    const greeting = dialect.greeting?.()
    if (greeting) client.send(greeting)
    const request = dialect.requestInUrl?.(url)
    if (request) this.#answer(client, request, undefined)
  }

  disconnect(client: Client): void {
    client.closed()
    this.clients.delete(client)
    for (const name of [...client.feeds.keys()]) this.#leave(client, name)
  }

  receive(client: Client, text: string): void {
    client.activeAt = performance.now()
    const { wire, limits } = this.#parts
    const message = parseJson(text) ?? text
    if (!client.answersPings) return
    const late = limits.message(client)
    if (late && this.#excess(client, late, message)) return
    const request = wire.dialect.request(message, client.held())
    if (request?.kind !== 'ping' && !client.open) return
    if (request) this.#answer(client, request, message)
  }

  /** True: the request is not served. */
  #excess(client: Client, limit: LimitName, message: unknown): boolean {
    const { enforce } = this.#parts
    if (!enforce) return false
    this.#refuse(client, limit, message)
    return true
  }

  #refuse(client: Client, limit: LimitName, message: unknown): void {
    const { wire } = this.#parts
    const frames = wire.limits.excess?.(limit, message)
    if (frames) for (const frame of frames) client.send(frame)
    else client.terminate()
  }

  #answer(client: Client, request: Request, message: unknown): void {
    if ('frames' in request) {
      for (const frame of request.frames) client.send(frame)
      return
    }
    const subscribing = request.kind === 'subscribe'
    const excess = this.#parts.limits.subscribe(client, request.asks.length, subscribing)
    if (excess && this.#excess(client, excess, message)) return
    if (this.#parts.injections.take('rate-limited', { connection: client.id })) {
      this.#refuse(client, 'subscribes', message)
      return
    }
    if (subscribing) this.#subscribe(client, request)
    else this.#unsubscribe(client, request)
  }

  #unsubscribe(client: Client, request: Subscribing): void {
    for (const ask of request.asks) {
      client.unask(ask)
      this.#leave(client, ask.stream)
    }
    for (const frame of request.answer(request.asks, [], client.held())) client.send(frame)
  }

  #subscribe(client: Client, request: Subscribing): void {
    const { acknowledgesAll = false } = this.#parts.wire
    const known = new Map<string, Feed>()
    for (const ask of request.asks) {
      const feed = this.#feedFor(client, ask)
      if (feed) known.set(ask.stream, feed)
    }
    const refused = acknowledgesAll ? [] : request.asks.filter((ask) => !known.has(ask.stream))
    const accepted =
      request.whole && refused.length > 0 ? [] : request.asks.filter((ask) => !refused.includes(ask))
    for (const ask of accepted) {
      client.ask(ask)
      this.#leave(client, ask.stream)
    }
    for (const frame of request.answer(accepted, refused, client.held())) client.send(frame)
    for (const ask of accepted) {
      const feed = known.get(ask.stream)
      if (!feed) continue
      this.#join(client, feed)
      if (ask.snapshot !== false) this.#begin(client, feed)
    }
  }

  /** The feed of an ask, made if there is none yet; undefined: a symbol or stream that the venue does not have. */
  #feedFor(client: Client, ask: Subscribing['asks'][number]): Feed | undefined {
    const { wire, markets } = this.#parts
    const own = wire.feedKey?.(ask, client.path) ?? `${ask.channel}|${ask.symbol}|${ask.depth ?? ''}`
    const key = `${ask.stream} ${own}`
    const stream = wire.open(ask, client.path, markets)
    return stream && (this.#feeds.get(key) ?? new Feed(key, ask.stream, stream))
  }

  #join(client: Client, feed: Feed): void {
    client.feeds.set(feed.name, feed)
    feed.subscribers.add(client)
    if (this.#feeds.has(feed.key)) return
    this.#feeds.set(feed.key, feed)
    for (const market of feed.stream.markets) {
      const feeds = this.#byMarket.get(market) ?? new Set()
      this.#byMarket.set(market, feeds.add(feed))
    }
  }

  #leave(client: Client, name: string): void {
    const feed = client.feeds.get(name)
    if (!feed) return
    client.feeds.delete(name)
    feed.subscribers.delete(client)
    if (client.overtaken?.feed === feed) client.overtaken = undefined
    if (feed.subscribers.size > 0) return
    this.#feeds.delete(feed.key)
    for (const market of feed.stream.markets) this.#byMarket.get(market)?.delete(feed)
  }

  #begin(client: Client, feed: Feed): void {
    const { stream, market } = feed
    if (!market || !stream.begin) return
    const isBook = /book|depth|level2/.test(feed.name)
    const now = isBook ? this.bookOf(market, client.id) : market
    for (const text of stream.begin(now)) this.#send(client, feed, textFrame(text), text, market)
    this.flush()
  }

  /** The market as books are told of it: `old-snapshot` may tell of an earlier one. */
  bookOf(market: Market, connection?: number): Market {
    const { injections } = this.#parts
    if (injections.none || !injections.take('old-snapshot', { symbol: market.symbol, connection }))
      return market
    return market.at(Math.max(0, market.seq - OLD_STEPS))
  }

  // Frames

  /** After a step of the market. */
  stepped(market: Market): void {
    for (const feed of this.#byMarket.get(market) ?? [])
      feed.stream.step(market, (text) => {
        const frame = textFrame(text)
        for (const client of feed.subscribers) this.#send(client, feed, frame, text, market)
      })
  }

  /** Writes what has been sent. */
  flush(): void {
    for (const client of this.#waiting) client.flush()
    this.#waiting.length = 0
  }

  /** A slow reader among the clients, if there is one. */
  drained(): Promise<unknown> | undefined {
    for (const client of this.clients) {
      const drained = client.drained()
      if (drained) return drained
    }
    return undefined
  }

  /** What heartbeats and other texts of the venue go through. */
  tell(client: Client, text: string): void {
    const { injections, wire } = this.#parts
    if (client.open) client.send(injections.holds('big-id', {}) ? withBigIds(text, wire.dialect) : text)
  }

  #send(client: Client, feed: Feed, frame: Buffer, text: string, market: Market): void {
    if (!client.open) return
    if (!this.#parts.injections.none || client.overtaken || client.asks.get(feed.name)?.zombie)
      this.#sendFaulty(client, feed, text, market)
    else this.#push(client, frame)
  }

  #push(client: Client, frame: Buffer): void {
    this.sent++
    if (client.push(frame)) this.#waiting.push(client)
  }

  #sendFaulty(client: Client, feed: Feed, text: string, market: Market): void {
    const { injections, wire } = this.#parts
    const recorded = wire.dialect.read(text)
    // Trades of Kraken v1 have no ids to be read.
    const matter: Matter = recorded.book
      ? 'book'
      : recorded.trade || feed.name.startsWith('trade|')
        ? 'trade'
        : 'other'
    const occasion = { symbol: market.symbol, connection: client.id, matter }
    const ask = client.asks.get(feed.name)
    if (ask && !ask.zombie && injections.take('zombie', occasion)) ask.zombie = true
    if (ask?.zombie || injections.take('withheld', occasion)) return
    if (this.#breaks(client, text, occasion)) return
    if (injections.take('unknown-type', occasion))
      this.#push(client, textFrame(wire.dialect.faults.unknownType(this.sent)))
    // A snapshot is no message that can be missed, doubled or overtaken: it says all there is.
    const moves = (fault: 'drop' | 'duplicate' | 'reorder') =>
      recorded.book?.snapshot !== true &&
      (recorded.provable === true || injections.holds(fault, occasion)?.options.matter !== undefined) &&
      injections.take(fault, occasion)
    if (moves('drop')) return
    let changed = this.#rewritten(text, recorded, market, occasion)
    if (injections.holds('big-id', occasion)) changed = withBigIds(changed, wire.dialect)
    if (!client.overtaken && moves('reorder')) {
      client.overtaken = { feed, text: changed }
      return
    }
    this.#push(client, textFrame(changed))
    if (moves('duplicate')) this.#push(client, textFrame(changed))
    if (client.overtaken?.feed !== feed) return
    this.#push(client, textFrame(client.overtaken.text))
    client.overtaken = undefined
  }

  #rewritten(
    text: string,
    recorded: Recorded,
    market: Market,
    occasion: { symbol: string; connection: number; matter: Matter },
  ): string {
    const { injections, wire } = this.#parts
    const { dialect } = wire
    const state = { book: market.book, time: market.time / 1e6 }
    for (const fault of REWRITES) {
      const injection = injections.holds(fault, occasion)
      if (!injection) continue
      const wrong =
        fault === 'two-maps'
          ? recorded.book?.snapshot === false && dialect.faults.twoMaps?.(text, recorded, state)
          : fault === 'corrupt'
            ? recorded.book?.snapshot === false && corrupted(text, recorded, dialect, market.book)
            : fault === 'exponent'
              ? !recorded.book?.snapshot && withExponent(text, recorded)
              : recorded.amounts &&
                !recorded.book?.snapshot &&
                (injection.hits % 2 === 0 ? dialect.faults.absurdTime(text) : withAbsurdSize(text, recorded))
      if (wrong && wrong !== text && injections.take(fault, occasion)) return wrong
    }
    return text
  }

  // Faults of whole connections

  /** True: the frame is lost with the connection. */
  #breaks(client: Client, text: string, occasion: { symbol: string; connection: number }): boolean {
    const { injections } = this.#parts
    if (injections.take('shutdown', occasion)) this.break(client, 'shutdown')
    if (injections.take('cut', occasion)) {
      client.cut(text)
      return true
    }
    for (const fault of ['hard-cut', 'pongs-only', 'half-open'] as const) {
      if (!injections.take(fault, occasion)) continue
      this.break(client, fault)
      return true
    }
    return false
  }

  break(client: Client, fault: 'shutdown' | 'hard-cut' | 'pongs-only' | 'half-open'): void {
    const { wire, timeScale } = this.#parts
    if (fault === 'hard-cut') client.reset()
    else if (fault === 'shutdown') {
      const announcement = wire.dialect.faults.shutdown?.(client.path)
      if (announcement) client.send(announcement)
      setTimeout(() => client.terminate(), SHUTDOWN_MS / timeScale).unref()
    } else {
      client.hold(fault)
      // Nothing is read from it, its end neither: it would stay for ever.
      if (fault === 'half-open') setTimeout(() => client.terminate(), HALF_OPEN_MS / timeScale).unref()
    }
  }
}
