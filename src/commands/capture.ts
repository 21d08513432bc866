import { setTimeout } from 'node:timers/promises'
import { Command } from 'commander'
import { now } from '../clock.ts'
import type { Connector, Link, LinkEnd, LinkSink, Subscription } from '../connectors/connector.ts'
import { loadConnectors, loadVenues } from '../connectors/registry.ts'
import { bookDepth, grouped, type Venue } from '../connectors/venue.ts'
import { FeedgateError } from '../errors.ts'
import { isChannel } from '../market/event.ts'
import { Tape } from '../player/tape.ts'
import { interrupted } from './interrupted.ts'

const PROGRESS_MS = 5_000
const RECONNECT_BASE_MS = 1_000
const RECONNECT_CAP_MS = 30_000
const REST_TIMEOUT_MS = 10_000

interface CaptureCall {
  readonly source: string
  readonly channel: string
  readonly symbols: string
  readonly timeframe?: string
  readonly limit?: string
  readonly url?: string
  readonly restUrl?: string
  readonly out?: string
  readonly seconds?: string
  readonly json?: boolean
}

/** Records what a venue sends, frame for frame, through the connector that the gateway uses. */
export function captureCommand(): Command {
  return new Command('capture')
    .description('record raw frames of a venue, for feedgate play')
    .requiredOption('--source <kind>', 'a native venue, such as kraken')
    .requiredOption('--channel <names>', 'ticker, trades, orderbook, ohlcv; several with commas')
    .requiredOption('--symbols <symbols>', 'such as BTC/USD,ETH/USD')
    .option('--timeframe <name>', 'of ohlcv, such as 1m')
    .option('--limit <n>', 'book levels a side')
    .option('--url <url>', "WebSocket address; default: the venue's own")
    .option('--rest-url <url>', "REST address; default: the venue's own")
    .option('--out <file>', 'file to write, which must not be there yet; default <source>-<time>.txt')
    .option('--seconds <n>', 'end by itself; default: until it is interrupted')
    .option('--json', 'print one JSON document at the end')
    .action(async (call: CaptureCall) => {
      const venue = await venueOf(call.source)
      const file = call.out ?? `${venue.id}-${new Date().toISOString().replace(/[:.]/g, '-')}.txt`
      const subscriptions = await subscriptionsOf(venue, call)
      const seconds = call.seconds === undefined ? undefined : number('--seconds', call.seconds)
      const tape = await Tape.create(file)
      const print = (line: string): unknown => process.stderr.write(`${line}\n`)
      const progress = setInterval(() => print(tape.summary()), PROGRESS_MS)
      const capture = new Capture(venue, call, tape, print)
      try {
        await capture.run(subscriptions, interrupted(seconds))
      } finally {
        clearInterval(progress)
        await tape.close()
      }
      const { frames, answers, bytes } = tape
      process.stdout.write(
        call.json
          ? `${JSON.stringify({ file, frames, answers, bytes })}\n`
          : `${tape.summary()} in ${file}\n`,
      )
    })
}

async function venueOf(kind: string): Promise<Venue> {
  const venues = await loadVenues()
  const venue = venues.get(kind)
  if (venue) return venue
  throw new FeedgateError(
    'bad-request',
    `--source is ${JSON.stringify(kind)}: accepted are ${[...venues.keys()].join(', ')}`,
  )
}

async function subscriptionsOf(venue: Venue, call: CaptureCall): Promise<Subscription[]> {
  const connector = (await loadConnectors()).connectorFor(venue.id, {})!
  const limit = call.limit === undefined ? undefined : number('--limit', call.limit)
  const subscriptions: Subscription[] = []
  for (const channel of list(call.channel)) {
    if (!isChannel(channel) || !venue.channels.includes(channel))
      throw new FeedgateError(
        'bad-request',
        `--channel is ${JSON.stringify(channel)}: ${venue.id} has ${venue.channels.join(', ')}`,
      )
    const timeframe = channel === 'ohlcv' ? timeframeOf(venue, call.timeframe) : undefined
    for (const symbol of list(call.symbols)) {
      const subscription: Subscription = {
        channel,
        symbol,
        ...(timeframe === undefined ? {} : { timeframe }),
        ...(limit === undefined || channel !== 'orderbook' ? {} : { limit }),
      }
      const reason = connector.refuse(subscription)
      if (reason !== undefined) throw new FeedgateError('bad-request', reason)
      subscriptions.push(subscription)
    }
  }
  return subscriptions
}

function timeframeOf(venue: Venue, timeframe: string | undefined): string {
  if (timeframe !== undefined && venue.timeframes.includes(timeframe)) return timeframe
  const said = timeframe === undefined ? 'missing' : JSON.stringify(timeframe)
  throw new FeedgateError(
    'bad-request',
    `--timeframe is ${said}: ${venue.id} has ${venue.timeframes.join(', ') || 'none'}`,
  )
}

const list = (text: string): string[] => [
  ...new Set(
    text
      .split(',')
      .map((item) => item.trim())
      .filter(Boolean),
  ),
]

function number(option: string, text: string): number {
  const value = /^\d{1,8}$/.test(text) ? Number(text) : 0
  if (value > 0) return value
  throw new FeedgateError(
    'bad-request',
    `${option} is ${JSON.stringify(text)}: accepted is a whole number above 0`,
  )
}

/** Connections that are made again when they end, until the recording is to end. */
class Capture {
  readonly #venue: Venue
  readonly #call: CaptureCall
  readonly #tape: Tape
  readonly #print: (line: string) => void
  readonly #links = new Set<Link>()
  readonly #stop = new AbortController()

  constructor(venue: Venue, call: CaptureCall, tape: Tape, print: (line: string) => void) {
    this.#venue = venue
    this.#call = call
    this.#tape = tape
    this.#print = print
  }

  /** Until `end`. Rejects with `venue-unavailable` if a first connection fails. */
  async run(subscriptions: readonly Subscription[], end: Promise<void>): Promise<void> {
    for (const { path } of this.#venue.instrumentsRequests ?? []) void this.#fetch(path)
    const connector = (await loadConnectors()).connectorFor(this.#venue.id, {})!
    const routes = [...grouped(subscriptions, (one) => connector.route(one))]
    const kept = routes.map(([name, wanted]) => this.#keepOpen(connector, name, wanted))
    try {
      await Promise.race([end, this.#tape.failed, ...kept])
    } finally {
      this.#stop.abort()
      for (const link of this.#links) link.close('the recording ends')
    }
  }

  async #keepOpen(connector: Connector, route: string, wanted: readonly Subscription[]): Promise<void> {
    let backoffMs = RECONNECT_BASE_MS
    for (let first = true; !this.#stop.signal.aborted; first = false) {
      const { opened, end } = await this.#record(connector, route, wanted)
      if (this.#stop.signal.aborted) return
      if (first && !opened)
        throw new FeedgateError('venue-unavailable', `${this.#venue.id} cannot be recorded: ${end.reason}`)
      backoffMs = opened ? RECONNECT_BASE_MS : Math.min(backoffMs * 2, RECONNECT_CAP_MS)
      const waitMs = Math.max(backoffMs, end.retryAfterMs ?? 0)
      this.#print(`${end.reason}; connecting again in ${Math.ceil(waitMs / 1000)} s`)
      await setTimeout(waitMs, undefined, { signal: this.#stop.signal }).catch(() => {})
    }
  }

  /** One connection, from its opening to its end. */
  #record(
    connector: Connector,
    route: string,
    wanted: readonly Subscription[],
  ): Promise<{ opened: boolean; end: LinkEnd }> {
    const tape = this.#tape
    const base = this.#call.url ?? this.#venue.url
    const url = this.#venue.endpoint?.(base, route) ?? base
    const { restUrl } = this.#call
    // A book without snapshots in its stream is fetched when its first message is there: then the two overlap.
    const books = new Map(
      connector.bookRules.snapshots === 'rest'
        ? wanted.filter((one) => one.channel === 'orderbook').map((one) => [one.symbol, one])
        : [],
    )
    return new Promise((resolve) => {
      let opened = false
      const sink: LinkSink = {
        opened: () => {
          opened = true
          if (!link.polls) tape.connected(url, now())
          link.subscribe(wanted)
        },
        frame: (direction, text, time) => {
          if (direction === 'out') tape.sent(url, text, time)
          else tape.received(text, time)
          if (!tape.full) return
          link.pause()
          tape.onDrain(() => link.resume())
        },
        answered: (asked, body, time) => tape.answered(asked, body, time),
        decoded: (update) => {
          if (update.kind === 'refused')
            this.#print(`refused: ${update.subscription?.symbol ?? ''} ${update.reason}`)
          if (update.kind !== 'book') return
          const book = books.get(update.symbol)
          if (book && books.delete(update.symbol)) void this.#fetchBook(book)
        },
        ended: (end) => {
          this.#links.delete(link)
          resolve({ opened, end })
        },
      }
      const link = connector.open(
        route,
        { source: this.#venue.id, url: base, ...(restUrl && { restUrl }) },
        sink,
      )
      this.#links.add(link)
    })
  }

  async #fetchBook({ symbol, limit }: Subscription): Promise<void> {
    const name = this.#venue.venueSymbol(symbol)
    if (name !== undefined && this.#venue.bookRequest)
      await this.#fetch(this.#venue.bookRequest.path(name, bookDepth(this.#venue, limit)))
  }

  /** What the venue does not give is missing in the recording, and said. */
  async #fetch(path: string): Promise<void> {
    const url = `${(this.#call.restUrl ?? this.#venue.restUrl ?? '').replace(/\/+$/, '')}${path}`
    try {
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(REST_TIMEOUT_MS)])
      const response = await fetch(url, { signal })
      const body = await response.text()
      if (response.ok) this.#tape.answered(url, body, now())
      else this.#print(`${url}: HTTP ${response.status}`)
    } catch (error) {
      if (!this.#stop.signal.aborted)
        this.#print(`${url}: ${error instanceof Error ? error.message : 'no answer'}`)
    }
  }
}
