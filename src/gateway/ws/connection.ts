import type { Socket } from 'node:net'
import { WebSocket } from 'ws'
import { signals } from '../../signals.ts'
import type { ClientEntry } from '../clients.ts'
import { newClientId } from './client-id.ts'
import { type Encoding, JSON_TEXT } from './encoding.ts'
import type { Fanout, Sender } from './fanout.ts'
import { joinFrames } from './frame.ts'

export interface ConnectionLimits {
  /** Between pings; a client that answers none for two of them is gone. */
  readonly pingMs: number
  /** Bytes that may wait in this process before a client is behind. */
  readonly backlogBytes: number
  /** Longest time in which a client with bytes waiting may read less than that. */
  readonly stalledMs: number
}

/** After a close frame the peer gets this long to read what was sent before, and to answer it. */
const CLOSE_GRACE_MS = 5_000
/** Frames of one turn that are joined; beyond it they leave at once. */
const MAX_POSTED = 1_000

/**
 * One client socket. Frames are written raw: `ws` is given nothing to compress, so its own pings and close frames keep
 * their place among them.
 */
export class Connection implements Sender {
  readonly id = newClientId()
  /** Epoch µs. */
  readonly since: number
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #fanout: Fanout
  readonly #limits: ConnectionLimits
  readonly endpoint: ClientEntry['endpoint']
  readonly address: string
  readonly encoding: Encoding
  #tier: string | undefined
  #posted: Buffer[] = []
  #closeCode: number | undefined
  /** Messages. */
  received = 0
  /** Frames of the two endpoints of the first system. */
  posted = 0
  readonly #bytesBefore: number
  /** When a message or a pong came last, as `performance.now()` tells time. */
  heardAt = performance.now()
  #pingedAt = performance.now()
  #answeredAt = performance.now()
  #ponged = false
  /** Who waits for a sign of life; bounded by those who ask, see `LiveClients`. */
  #listening: (() => void)[] = []
  /** Since when bytes wait, and how many had been taken by then. */
  #stalledAt: number | undefined
  #takenThen = 0
  #drained: (() => void) | undefined
  /** Who waits for room; as many as there are catch-ups that run. */
  #roomless: (() => void)[] = []

  constructor(
    ws: WebSocket,
    socket: Socket,
    fanout: Fanout,
    limits: ConnectionLimits,
    of: {
      readonly endpoint: ClientEntry['endpoint']
      readonly address: string
      readonly encoding?: Encoding
    },
  ) {
    this.#ws = ws
    this.#socket = socket
    this.#fanout = fanout
    this.#limits = limits
    this.endpoint = of.endpoint
    this.address = of.address
    this.encoding = of.encoding ?? JSON_TEXT
    this.since = fanout.now()
    this.#bytesBefore = socket.bytesWritten
    ws.on('pong', () => {
      this.#heard()
      this.#answeredAt = this.heardAt
      this.#ponged = true
    })
    socket.on('drain', () => {
      this.#stalledAt = undefined
      const drained = this.#drained
      this.#drained = undefined
      drained?.()
      this.#tellRoom()
    })
    ws.once('close', (code: number) => {
      this.#ended(this.#closeCode ?? code)
      this.#tellRoom()
      this.#heard()
    })
  }

  /** Messages in order, inflated; text is told apart by `binary`. */
  onMessage(listener: (data: Buffer, binary: boolean) => void): void {
    this.#ws.on('message', (data: Buffer, binary: boolean) => {
      this.received++
      this.#heard()
      if (this.open) listener(data, binary)
    })
  }

  onClose(listener: () => void): void {
    this.#ws.once('close', listener)
  }

  get open(): boolean {
    return this.#closeCode === undefined && this.#ws.readyState === WebSocket.OPEN
  }

  #heard(): void {
    this.heardAt = performance.now()
    if (this.#listening.length === 0) return
    const listening = this.#listening
    this.#listening = []
    for (const tell of listening) tell()
  }

  /** Epoch µs; undefined: it was not asked yet, or never answered. */
  get lastPong(): number | undefined {
    return this.#ponged
      ? this.#fanout.now() - Math.round((performance.now() - this.#answeredAt) * 1_000)
      : undefined
  }

  /** That wait in this process. */
  get bufferedBytes(): number {
    return this.#socket.writableLength
  }

  /** That the kernel has taken. */
  get sentBytes(): number {
    return this.#taken - this.#bytesBefore
  }

  /**
   * Pings. False: within `waitMs` the client said nothing, and read nothing of what waits for it; at once when it is being
   * closed.
   */
  async answers(waitMs: number): Promise<boolean> {
    if (!this.open) return false
    const [taken, waiting] = [this.#taken, this.bufferedBytes > 0]
    this.#ws.ping()
    const spoke = await new Promise<boolean>((resolve) => {
      // This process may have been busy: what came meanwhile is read before it is called silent.
      const timer = setTimeout(() => setImmediate(resolve, false), waitMs)
      this.#listening.push(() => {
        clearTimeout(timer)
        resolve(true)
      })
    })
    return this.open && (spoke || (waiting && this.#taken > taken))
  }

  /** True when so much waits that a client should be sent less. */
  get behind(): boolean {
    return this.#socket.writableLength > this.#limits.backlogBytes
  }

  /** Counts as a client of this tier from now on. */
  admitted(tier: string): void {
    if (this.#tier === undefined) signals.clientConnected.emit({ endpoint: this.endpoint, tier })
    this.#tier ??= tier
  }

  #ended(code: number): void {
    if (this.#tier !== undefined)
      signals.clientDisconnected.emit({ endpoint: this.endpoint, tier: this.#tier, code })
  }

  /** False: so much waits that it may be behind now. */
  write(bytes: Buffer): boolean {
    if (!this.open || this.#socket.write(bytes)) return true
    if (this.#stalledAt === undefined) this.#watch(performance.now())
    return false
  }

  #watch(now: number): void {
    this.#stalledAt = now
    this.#takenThen = this.#taken
  }

  /** Bytes that the kernel has taken. */
  get #taken(): number {
    return this.#socket.bytesWritten - this.#socket.writableLength
  }

  /** A message of the gateway's own, at once. */
  send(message: object): void {
    this.write(this.encoding.message(message))
  }

  /** A frame that leaves with the others of this turn. */
  post(frame: Buffer): void {
    this.posted++
    if (this.#posted.push(frame) === 1) this.#fanout.touch(this)
    else if (this.#posted.length > MAX_POSTED) this.#writePosted()
  }

  flush(): void {
    if (this.#posted.length > 0) this.#writePosted()
  }

  #writePosted(): void {
    const frames = this.#posted
    this.#posted = []
    if (this.behind) this.tooSlow()
    const bytes = joinFrames(frames)
    this.write(bytes)
    this.#fanout.sent(frames.length, bytes.length, this.encoding)
  }

  /** Calls back once when what waits has gone; only while `behind`. */
  whenDrained(act: () => void): void {
    this.#drained = act
  }

  /** Resolves when nothing waits to be read, or never will. For what need not be sent now: history. */
  async room(): Promise<void> {
    if (this.open && this.#socket.writableNeedDrain) await new Promise<void>((go) => this.#roomless.push(go))
  }

  #tellRoom(): void {
    const roomless = this.#roomless
    this.#roomless = []
    for (const go of roomless) go()
  }

  /** The peer gets the code if it still reads; in the end the socket is taken down. */
  close(code: number, reason: string): void {
    if (!this.open) return
    this.#ws.close(code, reason.slice(0, 120))
    this.#closeCode = code
    setTimeout(() => this.terminate(), CLOSE_GRACE_MS).unref()
  }

  terminate(): void {
    this.#ws.terminate()
  }

  /** Called every second or so: pings, and ends who does not answer or does not read. */
  check(now: number): void {
    if (!this.open) return
    const { pingMs, stalledMs, backlogBytes } = this.#limits
    if (this.#socket.writableLength === 0) this.#stalledAt = undefined
    else if (this.#stalledAt === undefined || this.#taken - this.#takenThen > backlogBytes) this.#watch(now)
    if (this.#stalledAt !== undefined && now - this.#stalledAt > stalledMs) this.tooSlow()
    else if (now - this.#answeredAt > 2.5 * pingMs) this.close(4201, 'no pong')
    else if (now - this.#pingedAt >= pingMs) {
      this.#pingedAt = now
      this.#ws.ping()
    }
  }

  tooSlow(): void {
    this.close(4100, 'the client reads too slowly')
  }
}
