import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as startTls } from 'node:tls'
import WebSocket, { type ClientOptions, type RawData } from 'ws'
import { now } from '../clock.ts'
import { FeedgateError } from '../errors.ts'
import { type Pacer, venuePacer } from '../pacer.ts'
import { signals } from '../signals.ts'
import type { Decoded, Link, LinkEnd, LinkOptions, LinkSink, Subscription, Via } from './connector.ts'
import { Requests } from './requests.ts'
import { parseRetryAfter } from './rest.ts'
import type { Decoder, Venue } from './venue.ts'

const HANDSHAKE_TIMEOUT_MS = 10_000
/** Snapshots of full books have a few MB; more in one message is an attack or an accident. */
const MAX_FRAME_BYTES = 32 * 1024 * 1024
/** A peer that does not answer our close frame is cut off. */
const CLOSE_TIMEOUT_MS = 1_000
/** Nothing is asked for so long of a venue that was asked too much, whatever limits it tells. */
const TOO_MANY_MS = 1_000

/** The one socket session of all venues; what differs between them is in `venue`. */
export function openSession(venue: Venue, route: string, options: LinkOptions, sink: LinkSink): Link {
  return new Session(venue, route, options, sink)
}

class Session implements Link {
  readonly #venue: Venue
  readonly #source: string
  readonly #sink: LinkSink
  readonly #socket: WebSocket
  readonly #decoder: Decoder
  readonly #requests: Requests
  readonly #pacer: Pacer
  /** Of requests alone. */
  readonly #requestPacer: Pacer | undefined
  /** feedgate's symbol by the venue's name of it; bounded by what this connection was ever asked for. */
  readonly #symbols = new Map<string, string>()
  /** Frames of requests already begun; at most those of one request. */
  #frames: string[] = []
  #sendTimer: NodeJS.Timeout | undefined
  #watch: NodeJS.Timeout | undefined
  /** Monotonic ms: when anything came, when something came that is no mere answer to us, when we last asked. */
  #heardAt = 0
  #provedAt = 0
  #pingedAt = 0
  /**
   * The venue sends heartbeats by itself: from then on they, or data, are the proof of life, and pongs are not.
   * Unknown again after an unsubscription, which may have ended them.
   */
  #heartbeats = false
  #paused = false
  #ended = false

  constructor(venue: Venue, route: string, options: LinkOptions, sink: LinkSink) {
    this.#venue = venue
    this.#source = options.source
    this.#sink = sink
    this.#requests = new Requests(venue)
    // One of the messages a second is kept free for the pongs that answer the venue's pings.
    const { requests, messagesPerSecond } = venue.limits
    this.#pacer = venuePacer({ count: Math.max(1, messagesPerSecond - 1), perMs: 1_000 })
    if (requests) this.#requestPacer = venuePacer(requests)
    this.#decoder = venue.createDecoder({
      symbolOf: (name) => this.#symbols.get(name),
      venueSymbols: () => this.#symbols.keys(),
    })
    const url = options.url ?? venue.url
    const endpoint = venue.endpoint?.(url, route) ?? url
    this.#socket = new WebSocket(endpoint, {
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      maxPayload: MAX_FRAME_BYTES,
      ...(options.via && { createConnection: openedBy(options.via, /^wss:/i.test(endpoint)) }),
    })
    this.#listen()
  }

  #listen(): void {
    const socket = this.#socket
    socket.on('open', () => this.#onOpen())
    socket.on('message', (data) => this.#onMessage(data))
    socket.on('ping', () => this.#onPing())
    socket.on('pong', () => {
      this.#heardAt = performance.now()
    })
    socket.on('unexpected-response', (request, response) => {
      const retryAfterMs = parseRetryAfter(response.headers['retry-after'])
      request.destroy()
      this.#end({
        reason: `refused: HTTP ${response.statusCode}`,
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      })
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const doing = this.#heardAt === 0 ? 'cannot connect' : 'connection failed'
      const known = error instanceof FeedgateError ? error : undefined
      this.#end({
        reason: `${doing}: ${known?.message ?? error.code ?? error.message}`,
        ...(known?.retryAfterMs !== undefined && { retryAfterMs: known.retryAfterMs }),
      })
    })
    socket.on('close', (code, reason) => {
      const said = printable(reason.toString())
      this.#end({ reason: `closed by the venue (${code}${said && ` ${said}`})` })
    })
  }

  subscribe(subscriptions: readonly Subscription[]): void {
    for (const { symbol } of subscriptions) {
      const name = this.#venue.venueSymbol(symbol)
      if (name !== undefined) this.#symbols.set(name, symbol)
    }
    this.#requests.add('subscribe', subscriptions)
    this.#send()
  }

  unsubscribe(subscriptions: readonly Subscription[]): void {
    this.#heartbeats = false
    this.#requests.add('unsubscribe', subscriptions)
    this.#send()
  }

  pause(): void {
    this.#paused = true
    if (this.#isOpen()) this.#socket.pause()
  }

  resume(): void {
    this.#paused = false
    this.#heardAt = this.#provedAt = performance.now()
    if (this.#isOpen()) this.#socket.resume()
  }

  close(reason: string): void {
    if (this.#ended) return
    if (this.#isOpen()) {
      this.#socket.resume()
      this.#socket.close(1000)
      const timer = setTimeout(() => this.#socket.terminate(), CLOSE_TIMEOUT_MS)
      this.#socket.once('close', () => clearTimeout(timer))
    } else this.#socket.terminate()
    this.#end({ reason })
  }

  #isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN
  }

  #onOpen(): void {
    if (this.#ended) return
    this.#heardAt = this.#provedAt = this.#pingedAt = performance.now()
    if (this.#paused) this.#socket.pause()
    const { silentMs, ping } = this.#venue.heartbeat
    this.#watch = setInterval(
      () => this.#check(),
      Math.min(1_000, Math.max(20, Math.min(silentMs, ping?.everyMs ?? silentMs) / 4)),
    )
    this.#sink.opened()
    this.#send()
  }

  #onPing(): void {
    this.#heardAt = performance.now()
    this.#pacer.spend()
  }

  #onMessage(data: RawData): void {
    if (this.#ended) return
    const receivedTime = now()
    this.#heardAt = performance.now()
    const frame = data.toString()
    signals.framesReceived.emit({ source: this.#source, count: 1 })
    this.#sink.frame?.('in', frame, receivedTime)
    try {
      this.#decoder.decode(frame, (update) => this.#deliver(update, receivedTime, frame))
    } catch (error) {
      // A decoder promises not to throw; one that does must not take the others' connections with it.
      const reason = `decoder failed: ${error instanceof Error ? error.message : 'unknown error'}`
      this.#sink.decoded({ kind: 'malformed', reason }, receivedTime, frame)
    }
  }

  #deliver(update: Decoded, receivedTime: number, frame: string): void {
    if (this.#ended) return
    switch (update.kind) {
      case 'event':
      case 'book':
        this.#provedAt = this.#heardAt
        break
      case 'heartbeat':
        this.#provedAt = this.#heardAt
        this.#heartbeats = true
        break
      case 'acknowledged':
        for (const subscription of this.#requests.acknowledged(update))
          this.#sink.decoded({ kind: 'acknowledged', subscription }, receivedTime, frame)
        return
      case 'refused':
        if (update.tooMany) {
          this.#requests.postpone(update)
          this.#sendIn(TOO_MANY_MS)
          return
        }
        for (const subscription of this.#requests.refused(update))
          this.#sink.decoded({ kind: 'refused', subscription, reason: update.reason }, receivedTime, frame)
        this.#send()
        return
      case 'ignored':
        signals.frameIgnored.emit({ source: this.#source, what: update.what })
    }
    this.#sink.decoded(update, receivedTime, frame)
  }

  /** Sends what is due, as fast as the venue allows. */
  #send(): void {
    if (this.#sendTimer !== undefined) return
    while (!this.#ended && this.#isOpen()) {
      if (this.#frames.length === 0) this.#frames = this.#requests.next()
      const frame = this.#frames[0]
      if (frame === undefined) {
        // Nothing had to be said about these; about the next there may be.
        if (this.#requests.isEmpty) return
        continue
      }
      const waitMs = Math.max(this.#pacer.waitMs(), this.#requestPacer?.waitMs() ?? 0)
      if (waitMs > 0) {
        this.#sendIn(waitMs)
        return
      }
      this.#frames.shift()
      this.#requestPacer?.spend()
      this.#write(frame)
    }
  }

  #sendIn(ms: number): void {
    clearTimeout(this.#sendTimer)
    this.#sendTimer = setTimeout(() => {
      this.#sendTimer = undefined
      this.#send()
    }, ms)
  }

  #write(frame: string): void {
    this.#pacer.spend()
    this.#sink.frame?.('out', frame, now())
    this.#socket.send(frame)
  }

  #check(): void {
    if (this.#paused) return
    const time = performance.now()
    const { silentMs, ping } = this.#venue.heartbeat
    const silent = time - (this.#heartbeats ? this.#provedAt : this.#heardAt)
    if (silent >= silentMs) {
      this.#end({ reason: `no message for ${Math.round(silentMs / 1_000)} s`, silent: true })
      return
    }
    if (!ping || time - this.#pingedAt < ping.everyMs) return
    if (silent < ping.everyMs && !ping.always) return
    if (this.#pacer.waitMs() > 0) return
    this.#pingedAt = time
    const frame = ping.frame(this.#requests.nextId())
    if (frame !== 'protocol') this.#write(frame)
    else {
      this.#pacer.spend()
      this.#socket.ping()
    }
  }

  #end(end: LinkEnd): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#sendTimer)
    clearInterval(this.#watch)
    // What never opened, or went silent, will not answer a close frame.
    if (this.#socket.readyState !== WebSocket.CLOSING) this.#socket.terminate()
    this.#sink.ended(end)
  }
}

/** TLS is with the venue, whoever opened the connection. */
function openedBy(via: Via, isTls: boolean): ClientOptions['createConnection'] {
  const open = (
    { host = '', port }: { host?: string; port?: number | string },
    done: (error: Error | null, socket?: Duplex) => void,
  ) => {
    via
      .connect(host, Number(port))
      .then(
        (socket) =>
          done(null, isTls ? startTls({ socket, host, servername: isIP(host) ? '' : host }) : socket),
        done,
      )
  }
  return open as unknown as ClientOptions['createConnection']
}

/** What a venue says at a close is shown to people and kept in events: short, one line. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return text.replace(/[\u0000-\u001f\u007f]+/g, ' ').slice(0, 100)
}
