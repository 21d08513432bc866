import { isDeepStrictEqual } from 'node:util'
import type { BookRules, DecodedBook } from '../connectors/connector.ts'
import { FeedgateError } from '../errors.ts'
import type { BookPayload, Level, Micros, VenueId } from '../market/event.ts'
import { OrderBook, type PushedOut } from '../market/order-book.ts'
import { signals } from '../signals.ts'
import { backoffMs } from './backoff.ts'
import type { Keeper, Role, StateListener } from './keeper.ts'
import type { Patience } from './patience.ts'
import type { Hole, Output } from './topic-writer.ts'
import { idAfter, idBefore } from './venue-ids.ts'

/** Diffs kept while a snapshot is fetched; beyond it they are dropped and the book starts over. */
const MAX_BUFFERED = 10_000
/** What is older a snapshot that comes now knows: none is on its way for so long. A thousand may wait for their turn. */
const BUFFER_MICROS = 15_000_000
/** A delta carries the checksum when the last one is older, µs: so no second in which the book changes goes without. */
const CHECKSUM_EVERY = 500_000

/** What a book needs of its surroundings. */
export interface BookHost {
  readonly source: string
  readonly symbol: string
  readonly writer: Output
  readonly rules: BookRules
  readonly patience: Patience
  /** Levels a side to ask for; 0: all. */
  depth(): number
  now(): Micros
  /** Of books with REST snapshots. */
  fetch?(depth: number, signal: AbortSignal): Promise<DecodedBook>
  /** Asks the venue for this one book again. */
  resubscribe(): void
  readonly changed: StateListener
  /** The venue knows no such symbol. */
  unknown(reason: string): void
}

interface Buffered {
  readonly update: DecodedBook
  readonly receivedTime: Micros
}

/**
 * One book: syncing until its snapshot is there, live while every message proves right, and built anew, alone, when one
 * does not. A book that may be wrong is never published; the hole is, as a `gap`.
 */
export class BookKeeper implements Keeper {
  readonly #host: BookHost
  #book = new OrderBook()
  #depth = 0
  #live = false
  /** Nothing was applied to the snapshot yet. */
  #fresh = false
  #local: VenueId | undefined
  /** While a snapshot is fetched; at most `MAX_BUFFERED`. */
  #buffer: Buffered[] = []
  /** What the `next` connection delivered before this one has caught up; at most `MAX_BUFFERED`. */
  #ahead: Buffered[] = []
  /** The book was known before, and what came since is not: a gap is due before its next snapshot. */
  #interrupted: boolean
  /** A snapshot was asked for to see whether the book is still right. */
  #probing = false
  #checksumTime = 0
  #fetching: AbortController | undefined
  #retry: NodeJS.Timeout | undefined
  /** Snapshots asked for in vain since the last, and books that failed since one was sound. */
  #attempts = 0
  #failures = 0
  /** Monotonic ms. */
  #liveSince = 0

  constructor(host: BookHost) {
    this.#host = host
    this.#interrupted = host.writer.epoch !== null
  }

  received(update: DecodedBook, receivedTime: Micros, role: Role): boolean {
    if (role === 'old') return false
    if (!update.snapshot && this.#takesDiffs(role)) return this.#diff({ update, receivedTime }, role)
    if (update.snapshot) {
      this.#reset(update, receivedTime)
      return role === 'next'
    }
    if (role === 'current' && this.#live) this.#apply({ update, receivedTime })
    return false
  }

  /** A venue that sends no snapshot although it should is asked for one by REST, where that is possible. */
  #takesDiffs(role: Role): boolean {
    const { rules, fetch } = this.#host
    return rules.snapshots === 'rest' || (fetch !== undefined && role === 'current' && !this.#live)
  }

  acknowledged(): void {
    if (this.#host.rules.snapshots === 'rest' && !this.#live) this.#load()
  }

  interrupted(): void {
    this.#interrupted ||= this.#live
    this.#stop()
  }

  malformed(receivedTime: Micros, named: boolean, role: Role): void {
    if (role !== 'current') return
    const { follows, checksum } = this.#host.rules
    if (named || !(follows || checksum)) this.#fail({ reason: 'malformed' }, receivedTime)
  }

  takenOver(): void {
    if (this.#host.rules.snapshots === 'stream') this.interrupted()
    for (const entry of this.#ahead.splice(0)) this.#diff(entry, 'current')
  }

  /** The depth asked of the venue has changed: a new snapshot replaces the book; nothing is missing. */
  restart(): void {
    this.#stop()
    if (this.#host.rules.snapshots === 'rest') this.#load()
  }

  lastTrade(): void {}

  close(): void {
    this.#stop()
  }

  /** It is known, and proved by every message so far. */
  get isLive(): boolean {
    return this.#live
  }

  /** A snapshot is on its way, or waits for its turn. */
  get isLoading(): boolean {
    return this.#fetching !== undefined
  }

  /** The book as a snapshot; undefined while it is not known. */
  image(): BookPayload | undefined {
    if (!this.#live) return undefined
    const bids = this.#book.top('bids', Number.POSITIVE_INFINITY)
    const asks = this.#book.top('asks', Number.POSITIVE_INFINITY)
    const checksum = this.#book.checksum()
    return { type: 'orderbook', kind: 'snapshot', bids, asks, depth: this.#depth, checksum }
  }

  /** Asks the venue another way whether the book moved on while the stream was silent. */
  async isWithheld(depth: number): Promise<boolean> {
    const { fetch, patience } = this.#host
    const before = this.#local
    if (!fetch || !this.#live || before === undefined) return false
    const snapshot = await fetch(depth, AbortSignal.timeout(patience.probeMs)).catch(() => undefined)
    if (snapshot?.last === undefined || snapshot.last <= before) return false
    await new Promise((resolve) => setTimeout(resolve, patience.graceMs).unref())
    return this.#live && this.#local === before
  }

  /** Asks the venue for the book again: it is right if the snapshot says the same, and then nobody sees it. */
  probe(): void {
    this.#probing = this.#live
    this.#host.resubscribe()
  }

  /** The snapshot that belongs to a subscription did not come. True: the book that there was is built anew. */
  undelivered(): boolean {
    if (!this.#live || this.#host.rules.snapshots === 'rest') return false
    this.#fail({ reason: 'no data' }, this.#host.now())
    return true
  }

  /** The stream says nothing though the venue moved on. */
  withheld(): void {
    this.#fail({ reason: 'no data' }, this.#host.now())
    if (this.#host.rules.snapshots === 'rest') this.#host.resubscribe()
  }

  #diff(entry: Buffered, role: Role): boolean {
    if (role === 'next') this.#push(this.#ahead, entry)
    else if (this.#live) this.#apply(entry)
    else {
      this.#push(this.#buffer, entry)
      const oldest = entry.receivedTime - BUFFER_MICROS
      while (this.#buffer[0] && this.#buffer[0].receivedTime < oldest) this.#buffer.shift()
      this.#load()
    }
    return this.#catchUp()
  }

  #push(buffer: Buffered[], entry: Buffered): void {
    if (buffer.length >= MAX_BUFFERED) {
      buffer.length = 0
      this.#fetching?.abort()
      this.#fetching = undefined
    }
    buffer.push(entry)
  }

  /** True as soon as what the next connection delivered continues this book: both then say the same. */
  #catchUp(): boolean {
    const first = this.#ahead[0]
    if (!first || !this.#live || this.#local === undefined) return false
    if (this.#host.rules.follows?.(this.#local, first.update, this.#fresh) === 'gap') return false
    for (const entry of this.#ahead.splice(0)) this.#diff(entry, 'current')
    return true
  }

  /** A snapshot, published as it came. */
  #reset(update: DecodedBook, receivedTime: Micros): void {
    const { writer, rules, depth, changed } = this.#host
    this.#cancel()
    this.#depth = depth()
    if (this.#interrupted) writer.gap({ reason: 'reconnect' }, { receivedTime, flags: update.flags })
    this.#interrupted = false
    const book = new OrderBook(rules.truncates ? { truncateTo: this.#depth } : {})
    book.reset(update.bids, update.asks)
    if (this.#probing && this.#passes(book, update, receivedTime)) return
    this.#book = book
    if (this.#disproved(update)) {
      this.#fail({ reason: this.#disproof }, receivedTime)
      return
    }
    this.#attempts = 0
    this.#local = update.last
    this.#fresh = true
    if (!this.#live) this.#liveSince = performance.now()
    this.#live = true
    const bids = this.#book.top('bids', Number.POSITIVE_INFINITY)
    const asks = this.#book.top('asks', Number.POSITIVE_INFINITY)
    this.#write('snapshot', { ...update, bids, asks }, receivedTime, true)
    changed('live')
  }

  /** The probe: a snapshot that says the same goes no further, another one shows that something was withheld. */
  #passes(book: OrderBook, { last, flags }: DecodedBook, receivedTime: Micros): boolean {
    this.#probing = false
    const same = (['bids', 'asks'] as const).every((side) => {
      const [ours, theirs] = [this.#book, book].map((one) => one.top(side, Number.POSITIVE_INFINITY))
      return isDeepStrictEqual(ours, theirs)
    })
    if (!same) {
      this.#host.writer.gap({ reason: 'no data' }, { receivedTime, flags })
      return false
    }
    this.#local = last
    this.#fresh = true
    this.#host.changed('live')
    return true
  }

  #apply({ update, receivedTime }: Buffered): void {
    const { rules } = this.#host
    if (rules.follows && this.#local !== undefined && update.last !== undefined) {
      const verdict = rules.follows(this.#local, update, this.#fresh)
      if (verdict === 'old') return
      if (verdict === 'gap') {
        const fromVenueSeq = idAfter(this.#local)
        const toVenueSeq =
          update.first !== undefined && update.first > fromVenueSeq ? idBefore(update.first) : undefined
        this.#fail({ reason: 'sequence', fromVenueSeq, toVenueSeq }, receivedTime)
        // The message itself may be what follows the next snapshot.
        if (this.#takesDiffs('current')) this.#push(this.#buffer, { update, receivedTime })
        return
      }
    }
    const pushedOut = this.#book.apply(update.bids, update.asks)
    if (this.#disproved(update)) {
      this.#fail({ reason: this.#disproof }, receivedTime)
      return
    }
    if (update.last !== undefined) this.#local = update.last
    this.#fresh = false
    const delta = pushedOut ? withRemovals(update, pushedOut) : update
    this.#write('delta', delta, receivedTime, receivedTime - this.#checksumTime >= CHECKSUM_EVERY)
  }

  /** Where the venue numbers and sums nothing, a crossed book is the only proof of a lost message. */
  #disproved(update: DecodedBook): boolean {
    const { checksum, follows } = this.#host.rules
    if (checksum) return update.checksum !== undefined && checksum(this.#book) !== update.checksum
    return !follows && this.#book.crossed()
  }

  get #disproof(): string {
    return this.#host.rules.checksum ? 'checksum' : 'crossed'
  }

  #write(kind: 'snapshot' | 'delta', update: DecodedBook, receivedTime: Micros, withChecksum: boolean): void {
    const { bids, asks, first, last, sourceTime, flags } = update
    const depth = this.#depth
    if (withChecksum) this.#checksumTime = receivedTime
    this.#host.writer.write(
      withChecksum
        ? { type: 'orderbook', kind, bids, asks, depth, checksum: this.#book.checksum() }
        : { type: 'orderbook', kind, bids, asks, depth },
      { receivedTime, sourceTime, flags, venueSeq: last === undefined ? undefined : [first ?? last, last] },
    )
  }

  #fail(hole: Hole, receivedTime: Micros): void {
    const { source, symbol, writer, rules, patience, changed, resubscribe } = this.#host
    signals.bookGap.emit({ source, symbol, reason: hole.reason })
    if (this.#live) {
      writer.gap(hole, { receivedTime })
      if (performance.now() - this.#liveSince > patience.soundMs) this.#failures = 0
    }
    this.#stop()
    changed('syncing', hole.reason)
    this.#later(this.#failures === 0 ? 0 : this.#delayMs(this.#failures), () =>
      rules.snapshots === 'rest' ? this.#load() : resubscribe(),
    )
    this.#failures++
  }

  /** Before the nth attempt in a row. */
  #delayMs(attempt: number): number {
    const { rebuildBaseMs: baseMs, rebuildCapMs: capMs } = this.#host.patience
    return backoffMs(attempt, { baseMs, capMs })
  }

  #later(ms: number, act: () => void): void {
    this.#retry = setTimeout(() => {
      this.#retry = undefined
      act()
    }, ms)
  }

  /** Fetches a snapshot unless one is on its way or has to wait. */
  #load(): void {
    if (this.#fetching || this.#retry) return
    const { fetch, depth, now, changed } = this.#host
    if (!fetch) return
    const fetching = new AbortController()
    this.#fetching = fetching
    changed('syncing')
    fetch(depth(), fetching.signal).then(
      (snapshot) => {
        if (this.#fetching === fetching) this.#loaded(snapshot, now())
      },
      (error: unknown) => {
        if (this.#fetching === fetching) this.#notLoaded(error)
      },
    )
  }

  #loaded(snapshot: DecodedBook, receivedTime: Micros): void {
    this.#fetching = undefined
    const verdict = (entry: Buffered) =>
      snapshot.last === undefined
        ? 'apply'
        : (this.#host.rules.follows?.(snapshot.last, entry.update, true) ?? 'apply')
    while (this.#buffer[0] && verdict(this.#buffer[0]) === 'old') this.#buffer.shift()
    if (this.#buffer[0] && verdict(this.#buffer[0]) === 'gap') {
      this.#later(this.#delayMs(++this.#attempts), () => this.#load())
      return
    }
    const buffered = this.#buffer
    this.#buffer = []
    this.#reset(snapshot, receivedTime)
    for (const entry of buffered) this.#diff(entry, 'current')
  }

  #notLoaded(error: unknown): void {
    this.#fetching = undefined
    const { code, message = 'no snapshot', retryAfterMs = 0 } = error as Partial<FeedgateError>
    if (error instanceof FeedgateError && code === 'unknown-symbol') {
      this.#later(this.#host.patience.rebuildCapMs, () => this.#load())
      this.#host.unknown(message)
      return
    }
    this.#host.changed('syncing', message)
    this.#later(Math.max(retryAfterMs, this.#delayMs(++this.#attempts)), () => this.#load())
  }

  /** A snapshot made whatever was under way needless. */
  #cancel(): void {
    this.#fetching?.abort()
    this.#fetching = undefined
    clearTimeout(this.#retry)
    this.#retry = undefined
  }

  #stop(): void {
    this.#cancel()
    this.#probing = false
    this.#live = false
    this.#local = undefined
    this.#book.clear()
    this.#buffer = []
    this.#ahead = []
  }
}

/** A venue that truncates never says which level fell out: the delta does, so that no reader need truncate. */
function withRemovals(update: DecodedBook, { bids, asks }: PushedOut): DecodedBook {
  const removals = (levels: readonly Level[]): Level[] => levels.map(([price]) => [price, '0'])
  return { ...update, bids: update.bids.concat(removals(bids)), asks: update.asks.concat(removals(asks)) }
}
