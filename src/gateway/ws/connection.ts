import type { Socket } from 'node:net'
import { WebSocket } from 'ws'
import { signals } from '../../signals.ts'
import type { Fanout, Sender } from './fanout.ts'
import { joinFrames, textFrame } from './frame.ts'

export interface ConnectionLimits {
  /** Between pings; a client that answers none for two of them is gone. */
  readonly pingMs: number
  /** Bytes that may wait in this process before a client is behind. */
  readonly backlogBytes: number
  /** Longest time in which a client with bytes waiting may read less than that. */
  readonly stalledMs: number
}

/** After a close frame the peer gets this long to answer it. */
const CLOSE_GRACE_MS = 2_000
/** Frames of one turn that are joined; beyond it they leave at once. */
const MAX_POSTED = 1_000

/**
 * One client socket. Frames are written raw: `ws` has no compression to overtake here, so its own pings and close
 * frames keep their place among them.
 */
export class Connection implements Sender {
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #fanout: Fanout
  readonly #limits: ConnectionLimits
  readonly endpoint: string
  readonly address: string
  #tier: string | undefined
  #posted: Buffer[] = []
  #closeCode: number | undefined
  #pingedAt = performance.now()
  #answeredAt = performance.now()
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
    of: { readonly endpoint: string; readonly address: string },
  ) {
    this.#ws = ws
    this.#socket = socket
    this.#fanout = fanout
    this.#limits = limits
    this.endpoint = of.endpoint
    this.address = of.address
    ws.on('pong', () => {
      this.#answeredAt = performance.now()
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
    })
  }

  /** Text messages in order; anything else is told apart by `binary`. */
  onMessage(listener: (data: Buffer, binary: boolean) => void): void {
    this.#ws.on('message', (data: Buffer, binary: boolean) => {
      if (this.open) listener(data, binary)
    })
  }

  onClose(listener: () => void): void {
    this.#ws.once('close', listener)
  }

  get open(): boolean {
    return this.#closeCode === undefined && this.#ws.readyState === WebSocket.OPEN
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

  write(bytes: Buffer): void {
    if (!this.open) return
    this.#socket.write(bytes)
    if (this.#socket.writableLength > 0 && this.#stalledAt === undefined) this.#watch(performance.now())
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
    this.write(textFrame(JSON.stringify(message)))
  }

  /** A frame that leaves with the others of this turn. */
  post(frame: Buffer): void {
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
    this.#fanout.sent(frames.length, bytes.length)
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
    else if (this.#taken - this.#takenThen > backlogBytes) this.#watch(now)
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
