import { DepthView } from '../market/depth-view.ts'
import type { Connection, HeldAsk } from './connection.ts'
import type { Ask, Dialect, Recorded, Request } from './dialect.ts'
import type { Faults } from './faults.ts'
import type { Mirror, Mirrors } from './mirror.ts'
import type { RecordedFrame, Recording } from './recording.ts'
import type { Stage } from './sequence.ts'

/** Frames that `quiet` holds back; more end the silence. */
const MAX_QUIET = 10_000
/** Between the announcement of `shutdown` and the end. */
const SHUTDOWN_MS = 3_000
const HEARTBEAT_MS = 1_000

export interface PlayerStats {
  /** Frames of the recording that the position has passed. */
  readonly frames: number
  /** Frames sent, made ones included. */
  readonly sent: number
  /** Recorded acknowledgements: passed, and not sent, because clients get answers of their own. */
  readonly answeredLive: number
  /** Snapshots made where the recording has none. */
  readonly snapshotsMade: number
  /** Lines of the files that are none of the format. */
  readonly skippedLines: number
}

/** Is told when clients want more, and when they want less. */
export interface Demand {
  subscribed(): void
  left(): void
}

export interface ExchangeParts {
  readonly recording: Recording
  /** Those whose clients are understood, in the order in which they are tried. */
  readonly dialects: readonly Dialect[]
  readonly mirrors: Mirrors
  readonly faults: Faults
  readonly quietMs: number
  readonly demand: Demand
}

/** The venue: clients with what they asked for, the player's own books, and what happens to a frame. */
export class Exchange implements Stage {
  /** Oldest first. */
  readonly #connections: Connection[] = []
  readonly #recording: Recording
  readonly #dialects: readonly Dialect[]
  readonly #faults: Faults
  readonly #quietMs: number
  readonly #demand: Demand
  readonly #mirrors: Mirrors
  readonly #lastTrades = new Map<string, NonNullable<Recorded['trade']>>()
  /** `quiet`: frames of a symbol, held back. */
  #quiet: { symbol: string; frames: RecordedFrame[]; timer: NodeJS.Timeout } | undefined
  /** `reorder`: what waits for the next frame of its stream. */
  #overtaken: { connection: Connection; stream: string; texts: readonly string[] } | undefined
  readonly #heartbeat: NodeJS.Timeout
  #settled: (() => void) | undefined
  readonly #counts = { sent: 0, answeredLive: 0, snapshotsMade: 0 }

  constructor(parts: ExchangeParts) {
    this.#recording = parts.recording
    this.#dialects = parts.dialects
    this.#mirrors = parts.mirrors
    this.#faults = parts.faults
    this.#quietMs = parts.quietMs
    this.#demand = parts.demand
    this.#heartbeat = setInterval(() => this.#sendHeartbeats(), HEARTBEAT_MS)
  }

  stats(): Omit<PlayerStats, 'frames'> {
    return { ...this.#counts, skippedLines: this.#recording.skipped }
  }

  ready(): boolean {
    return this.#connections.some((connection) => connection.live)
  }

  /** Resolves when nothing is held back any more. */
  async settled(): Promise<void> {
    if (this.#quiet)
      await new Promise<void>((resolve) => {
        this.#settled = resolve
      })
    this.#release()
  }

  close(): void {
    clearInterval(this.#heartbeat)
    clearTimeout(this.#quiet?.timer)
    for (const connection of this.#connections) connection.terminate()
  }

  // Clients

  connect(connection: Connection, url: URL): void {
    this.#connections.push(connection)
    const [only, ...others] = this.#recording.dialects
    if (others.length === 0) this.#speaks(connection, only)
    for (const dialect of this.#dialects) {
      const request = dialect.requestInUrl?.(url)
      if (!request) continue
      this.#speaks(connection, dialect)
      this.#answer(connection, dialect, request)
      return
    }
  }

  #speaks(connection: Connection, dialect: Dialect | undefined): void {
    if (!dialect || connection.dialect === dialect) return
    connection.dialect = dialect
    const greeting = dialect.greeting?.()
    if (greeting) this.#send(connection, greeting)
  }

  disconnect(connection: Connection): void {
    connection.closed()
    const at = this.#connections.indexOf(connection)
    if (at >= 0) this.#connections.splice(at, 1)
    if (this.#overtaken?.connection === connection) this.#overtaken = undefined
    this.#demand.left()
  }

  receive(connection: Connection, message: unknown): void {
    const own = connection.dialect ? [connection.dialect] : []
    for (const dialect of new Set([...own, ...this.#dialects])) {
      const request = dialect.request(message, [...connection.asks.values()])
      if (!request) continue
      if (request.kind === 'ping' ? !connection.answersPings : !connection.open) return
      this.#speaks(connection, dialect)
      this.#answer(connection, dialect, request)
      return
    }
  }

  #answer(connection: Connection, dialect: Dialect, request: Request): void {
    if ('frames' in request) {
      for (const frame of request.frames) this.#send(connection, frame)
      return
    }
    const refused =
      request.kind === 'subscribe' ? request.asks.filter((ask) => this.#faults.refuses(ask)) : []
    const accepted: Ask[] = []
    for (const ask of request.asks) {
      if (refused.includes(ask) || (request.whole && refused.length > 0)) continue
      if (request.kind === 'unsubscribe') connection.unask(ask)
      else if (!connection.ask(ask)) continue
      accepted.push(ask)
    }
    for (const frame of request.answer(accepted, refused, [...connection.asks.values()]))
      this.#send(connection, frame)
    if (request.kind === 'unsubscribe') this.#demand.left()
    if (request.kind === 'unsubscribe' || accepted.length === 0) return
    for (const ask of accepted) this.#sendSnapshot(connection, dialect, connection.asks.get(ask.stream)!)
    this.#demand.subscribed()
  }

  /** For a subscription whose recorded snapshot the position has passed; before that the recorded one will come. */
  #sendSnapshot(connection: Connection, dialect: Dialect, ask: HeldAsk): void {
    if (ask.snapshot === false) return
    const mirror = this.#mirrors.find(dialect, ask.stream)
    let text = dialect.latest?.(ask)
    if (mirror?.known && dialect.bookFrame) {
      const depth = Math.min(ask.depth ?? Number.POSITIVE_INFINITY, mirror.depth)
      const { bids, asks } = this.#view(ask, depth).reset(mirror.book)
      text = dialect.bookFrame('snapshot', ask, bids, asks, mirror)
      this.#faults.snapshotSent(ask.stream, dialect)
      if (this.#overtaken?.stream === ask.stream) this.#overtaken = undefined
    }
    if (text === undefined) return
    this.#counts.snapshotsMade++
    this.#send(connection, this.#faults.rewriteIds(text, dialect))
  }

  #view(ask: HeldAsk, depth: number): DepthView {
    ask.view = new DepthView(depth)
    return ask.view
  }

  #send(connection: Connection, text: string, stream?: string): void {
    if (!connection.answersPings) return
    this.#counts.sent++
    connection.send(text, stream)
  }

  #sendHeartbeats(): void {
    for (const connection of this.#connections) {
      if (!connection.live) continue
      const frames = connection.dialect?.heartbeats?.({
        asks: [...connection.asks.values()],
        idleMs: connection.idleMs(),
        streamIdleMs: (stream) => connection.streamIdleMs(stream),
        lastTrade: (symbol) => this.#lastTrades.get(symbol),
      })
      for (const frame of frames ?? [])
        this.#send(connection, this.#faults.rewriteIds(frame, connection.dialect!))
    }
  }

  // Frames

  play(frame: RecordedFrame): 'again' | Promise<void> | undefined {
    const recorded = frame.dialect.read(frame.text)
    if (recorded.kind === 'answer') {
      this.#counts.answeredLive++
      return undefined
    }
    const target = this.#target(frame.dialect, recorded)
    if (target?.ask && this.#breaks(target.connection, frame)) return 'again'
    if (recorded.kind === 'data' && this.#holds(frame, recorded, target?.ask !== undefined)) return undefined
    this.#deliver(frame, recorded)
    return target?.connection.drained()
  }

  /** The newest connection that asked for the stream, else the newest subscribed one, first of the same venue. */
  #target(dialect: Dialect, recorded: Recorded): { connection: Connection; ask?: HeldAsk } | undefined {
    let same: Connection | undefined
    let any: Connection | undefined
    for (let at = this.#connections.length - 1; at >= 0; at--) {
      const connection = this.#connections[at]!
      if (!connection.live) continue
      const stream = recorded.stream ?? ''
      if (connection.dialect === dialect) {
        const ask = connection.asks.get(stream)
        if (ask) return { connection, ask }
        if (connection.declined.has(stream)) continue
        same ??= connection
      }
      any ??= connection
    }
    const connection = same ?? any
    return connection && { connection }
  }

  /** Faults of a whole connection. The frame stays next: nothing of the recording is lost by them. */
  #breaks(connection: Connection, frame: RecordedFrame): boolean {
    const faults = this.#faults
    if (faults.turn('shutdown', 1, 5)) {
      faults.say('shutdown', `the connection ends in ${SHUTDOWN_MS / 1000} s`)
      const announcement = frame.dialect.faults.shutdown?.(connection.path)
      if (announcement) this.#send(connection, announcement)
      setTimeout(() => connection.terminate(), SHUTDOWN_MS).unref()
    }
    if (faults.turn('cut', 1, 5)) {
      faults.say('cut', 'reset in the middle of a frame')
      connection.cut(frame.text)
      return true
    }
    for (const fault of ['pongs-only', 'half-open'] as const) {
      if (!faults.turn(fault, 1, 5)) continue
      faults.say(fault, 'until the client reconnects')
      connection.hold(fault)
      return true
    }
    return false
  }

  /** `quiet`: the symbol's part of the recording comes later, whole and in order. */
  #holds(frame: RecordedFrame, recorded: Recorded, asked: boolean): boolean {
    const { symbol } = recorded
    if (symbol && asked && !this.#quiet && this.#faults.turn('quiet', 1, 5)) {
      this.#faults.say('quiet', `${symbol} for ${this.#quietMs / 1000} s`)
      this.#quiet = { symbol, frames: [], timer: setTimeout(() => this.#endQuiet(), this.#quietMs) }
    }
    if (!this.#quiet || this.#quiet.symbol !== symbol) return false
    this.#quiet.frames.push(frame)
    if (this.#quiet.frames.length >= MAX_QUIET) this.#endQuiet()
    return true
  }

  #endQuiet(): void {
    const quiet = this.#quiet
    if (!quiet) return
    clearTimeout(quiet.timer)
    if (!this.ready()) {
      quiet.timer = setTimeout(() => this.#endQuiet(), HEARTBEAT_MS)
      return
    }
    this.#quiet = undefined
    for (const frame of quiet.frames) this.#deliver(frame, frame.dialect.read(frame.text))
    this.#settled?.()
  }

  #deliver(frame: RecordedFrame, recorded: Recorded): void {
    const { dialect } = frame
    if (recorded.trade && recorded.symbol) this.#lastTrades.set(recorded.symbol, recorded.trade)
    const mirror = recorded.book && this.#mirrors.of(dialect, recorded.stream!)
    const checksum = mirror?.checksum
    const applied = mirror && recorded.book ? mirror.apply(recorded.book, frame.time) : true
    const target = this.#target(dialect, recorded)
    if (!target || this.#faults.isBad(recorded.symbol)) return
    const { connection, ask } = target
    if (recorded.kind === 'data' && ask && this.#isZombie(ask)) return
    const text = this.#textFor(frame, recorded, connection, ask, mirror)
    if (text === undefined) return
    if (connection.dialect !== dialect || recorded.kind !== 'data') {
      this.#send(connection, text)
      return
    }
    if (recorded.book?.snapshot && ask) this.#faults.snapshotSent(ask.stream, dialect)
    // A venue that hashes its books says with the hash whether the message can be missed.
    const provable =
      recorded.provable === true &&
      ask !== undefined &&
      applied &&
      (!checksum || checksum !== mirror?.checksum)
    const texts = this.#faults.apply({ text, recorded, dialect, mirror, provable })
    this.#sendInTurn(connection, recorded.stream ?? '', texts, provable)
  }

  #isZombie(ask: HeldAsk): boolean {
    if (!ask.zombie && this.#faults.turn('zombie', 1, 0)) {
      this.#faults.say('zombie', ask.stream)
      ask.zombie = true
    }
    return ask.zombie
  }

  /** The frame in the client's form; undefined if it says nothing to a client of fewer levels. */
  #textFor(
    frame: RecordedFrame,
    recorded: Recorded,
    connection: Connection,
    ask: HeldAsk | undefined,
    mirror: Mirror | undefined,
  ): string | undefined {
    const { dialect, text } = frame
    if (mirror && ask?.depth !== undefined && ask.depth < mirror.depth && dialect.bookFrame) {
      if (recorded.book!.snapshot) {
        const { bids, asks } = this.#view(ask, ask.depth).reset(mirror.book)
        return dialect.bookFrame('snapshot', ask, bids, asks, mirror)
      }
      const change = ask.view?.change(mirror.book)
      return change && dialect.bookFrame('update', ask, change.bids, change.asks, mirror)
    }
    return dialect.adapt?.(text, recorded, connection.path, ask) ?? text
  }

  #sendInTurn(connection: Connection, stream: string, texts: readonly string[], provable: boolean): void {
    const overtaken = this.#overtaken
    if (!overtaken && provable && texts.length > 0 && this.#faults.turn('reorder', 1, 3)) {
      this.#faults.say('reorder', stream)
      this.#overtaken = { connection, stream, texts }
      return
    }
    for (const text of texts) this.#send(connection, text, stream)
    if (overtaken?.stream === stream && overtaken.connection === connection) this.#release()
  }

  #release(): void {
    const overtaken = this.#overtaken
    this.#overtaken = undefined
    for (const text of overtaken?.texts ?? []) this.#send(overtaken!.connection, text, overtaken!.stream)
  }
}
