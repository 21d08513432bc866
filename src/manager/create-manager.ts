import type { Bus } from '../bus/bus.ts'
import { now as wallClock } from '../clock.ts'
import type { Connectors, Subscription } from '../connectors/connector.ts'
import { subscriptionKey } from '../connectors/connector.ts'
import { FeedgateError } from '../errors.ts'
import type { Log } from '../gateway/gateway.ts'
import type { Micros } from '../market/event.ts'
import { CHANNELS } from '../market/event.ts'
import type { Topic } from '../market/topic.ts'
import { ConnectLimits } from './connect-limits.ts'
import type { DesiredSource, DesiredState } from './desired-state.ts'
import type { Answer, Manager, Notification, SourceRequest, SourceSpec, SourceStatus } from './manager.ts'
import type { Positions } from './positions.ts'
import { Publisher } from './publisher.ts'
import { checkSame, specOf, subscriptionOf } from './request-check.ts'
import { Source, type SourceContext } from './source.ts'
import { Writers } from './topic-writer.ts'

export interface ManagerOptions {
  readonly connectors: Connectors
  readonly bus: Bus
  /** Of the settings file, or the demo's. */
  readonly sources: readonly SourceSpec[]
  readonly desired: DesiredState
  readonly positions: Positions
  readonly log: Log
  /** Wall clock, µs. */
  readonly now?: () => Micros
}

const SWEEP_MS = 1_000
/** The newest are kept. */
const MAX_NOTIFICATIONS = 100
/** What admins may add; more is refused. */
const MAX_SOURCES = 1_000
const MAX_SUBSCRIPTIONS = 10_000

/** Throws `bad-setting` for a source that cannot be what the settings say. */
export function createManager(options: ManagerOptions): Manager {
  return new Supervisor(options)
}

/** What an admin added to a source, or the source itself. */
interface Added {
  readonly spec?: SourceSpec
  readonly subscriptions: Map<string, Subscription>
}

class Supervisor implements Manager {
  readonly #options: ManagerOptions
  readonly #context: SourceContext
  readonly #publisher: Publisher
  readonly #sources = new Map<string, Source>()
  readonly #fromFile: ReadonlyMap<string, SourceSpec>
  /** By source id. */
  readonly #added = new Map<string, Added>()
  /** At most `MAX_NOTIFICATIONS`. */
  readonly #notifications: Notification[] = []
  #sweep: NodeJS.Timeout | undefined
  #paused = false
  #closed: Promise<void> | undefined

  constructor(options: ManagerOptions) {
    const { bus, positions, log, now = wallClock } = options
    this.#options = options
    this.#fromFile = new Map(options.sources.map((spec) => [spec.id, spec]))
    for (const spec of options.sources) this.#check(spec)
    this.#publisher = new Publisher(bus, log, (high) => this.#press(high))
    this.#context = {
      publisher: this.#publisher,
      writers: new Writers({ publisher: this.#publisher, positions, now }),
      positions,
      limits: new ConnectLimits(),
      log,
      now,
      notify: (notification) => {
        this.#notifications.push(notification)
        if (this.#notifications.length > MAX_NOTIFICATIONS) this.#notifications.shift()
      },
    }
  }

  /** A wrong setting stops the start: kinds, channels, timeframes and symbols that the source cannot have. */
  #check(spec: SourceSpec): void {
    let what = spec.id
    try {
      const connector = this.#connectorOf(spec)
      for (const { symbols, ...wanted } of spec.subscriptions ?? []) {
        for (const symbol of symbols) {
          what = `${spec.id}, ${wanted.channel} of ${symbol}`
          subscriptionOf({ exchangeId: spec.id, symbol, ...wanted }, connector)
        }
      }
    } catch (cause) {
      const { message } = cause as Error
      throw new FeedgateError('bad-setting', `setting sources: ${what}: ${message}`, { cause })
    }
  }

  async start(): Promise<void> {
    for (const { id, spec, subscriptions } of this.#options.desired.load()) {
      this.#added.set(id, {
        ...(spec && { spec: { ...spec, id } }),
        subscriptions: new Map(subscriptions.map((one) => [subscriptionKey(one), one])),
      })
    }
    for (const spec of this.#fromFile.values()) this.#start(spec)
    for (const { spec } of this.#added.values()) if (spec && !this.#sources.has(spec.id)) this.#start(spec)
    this.#sweep = setInterval(() => {
      const time = performance.now()
      for (const source of this.#sources.values()) source.sweep(time)
    }, SWEEP_MS)
  }

  async connect(request: SourceRequest): Promise<Answer> {
    const { source, created } = this.#sourceFor(request)
    const subscribed = request.channel !== undefined && this.#subscribe(source, request)
    if (created || subscribed) this.#save()
    return { created: created || subscribed, status: source.status() }
  }

  async subscribe(request: SourceRequest): Promise<Answer> {
    // What is wrong with the request is found before a source is made for it.
    const known = this.#sources.get(request.exchangeId)
    if (!known) subscriptionOf(request, this.#connectorOf(this.#specFor(request)))
    const { source } = this.#sourceFor(request)
    const created = this.#subscribe(source, request)
    this.#save()
    return { created, status: source.status() }
  }

  async unsubscribe(request: SourceRequest): Promise<Answer> {
    const source = this.#existing(request)
    const subscription = subscriptionOf(request, source.connector)
    if (!source.unsubscribe(subscription))
      throw new FeedgateError(
        'not-found',
        `${request.exchangeId} is not subscribed to ${subscription.channel} of ${subscription.symbol}`,
      )
    if (this.#added.get(request.exchangeId)?.subscriptions.delete(subscriptionKey(subscription))) this.#save()
    return { created: false, status: source.status() }
  }

  async disconnect(request: SourceRequest): Promise<Answer> {
    const source = this.#existing(request)
    source.close('disconnected by an admin', true)
    this.#sources.delete(request.exchangeId)
    // A source of the settings file is there again at the next start, with what admins added to it.
    if (!this.#fromFile.has(request.exchangeId) && this.#added.delete(request.exchangeId)) this.#save()
    return { created: false, status: source.status() }
  }

  async rotate(request: SourceRequest): Promise<Answer> {
    const source = this.#existing(request)
    source.rotate()
    return { created: false, status: source.status() }
  }

  status(): readonly SourceStatus[]
  status(id: string): SourceStatus | undefined
  status(id?: string): readonly SourceStatus[] | SourceStatus | undefined {
    if (id !== undefined) return this.#sources.get(id)?.status()
    return [...this.#sources.values()].map((source) => source.status())
  }

  *topics(): Generator<Topic> {
    for (const source of this.#sources.values()) yield* source.topics()
  }

  licence(source: string): 'open' | 'restricted' | undefined {
    return this.#sources.get(source)?.licence
  }

  notifications(): readonly Notification[] {
    return this.#notifications
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    clearInterval(this.#sweep)
    for (const source of this.#sources.values()) source.close('feedgate stops', false)
    await this.#publisher.close()
  }

  #existing({ exchangeId }: SourceRequest): Source {
    const source = this.#sources.get(exchangeId)
    if (!source) throw new FeedgateError('unknown-source', `no source ${exchangeId} is connected`)
    return source
  }

  /** The source of that id, made if need be. */
  #sourceFor(request: SourceRequest): { source: Source; created: boolean } {
    const known = this.#sources.get(request.exchangeId)
    if (known) {
      checkSame(request, known.spec)
      if (known.state === 'down')
        throw new FeedgateError(
          'source-down',
          `the source ${known.spec.id} is down: ${known.status().reason}`,
        )
      return { source: known, created: false }
    }
    if (this.#sources.size >= MAX_SOURCES)
      throw new FeedgateError('bad-request', `at most ${MAX_SOURCES} sources can be connected`)
    const spec = this.#specFor(request)
    if (!this.#fromFile.has(spec.id)) this.#added.set(spec.id, { spec, subscriptions: new Map() })
    return { source: this.#start(spec), created: true }
  }

  #specFor(request: SourceRequest): SourceSpec {
    const fromFile = this.#fromFile.get(request.exchangeId)
    if (fromFile) checkSame(request, fromFile)
    return fromFile ?? specOf(request, this.#options.connectors)
  }

  #connectorOf({ id, kind = id, seed, rate }: SourceSpec) {
    const connector = this.#options.connectors.connectorFor(kind, {
      ...(seed !== undefined && { seed }),
      ...(rate !== undefined && { rate }),
    })
    if (connector) return connector
    const accepted = this.#options.connectors.kinds.join(', ')
    throw new FeedgateError('unknown-exchange', `no kind ${kind}: accepted kinds are ${accepted}`)
  }

  #subscribe(source: Source, request: SourceRequest): boolean {
    const subscription = subscriptionOf(request, source.connector)
    if (source.lacks(subscription.symbol))
      throw new FeedgateError(
        'unknown-symbol',
        `${source.spec.id} lists no instrument ${subscription.symbol}`,
      )
    const id = source.spec.id
    const added = this.#added.get(id) ?? { subscriptions: new Map<string, Subscription>() }
    const key = subscriptionKey(subscription)
    const already = source.has(subscription)
    if (!already && added.subscriptions.size >= MAX_SUBSCRIPTIONS)
      throw new FeedgateError(
        'bad-request',
        `at most ${MAX_SUBSCRIPTIONS} subscriptions can be added to a source`,
      )
    source.subscribe(subscription)
    const saved = added.subscriptions.get(key)
    // One of the file is kept too once an admin asked for it deeper; the deepest wins at the next start as well.
    if (!already || saved || subscription.limit !== undefined) {
      added.subscriptions.set(key, deeper(saved, subscription))
      this.#added.set(id, added)
    }
    return !already
  }

  #start(given: SourceSpec): Source {
    const spec = { ...given, kind: given.kind ?? given.id }
    const source = new Source(spec, this.#connectorOf(spec), this.#context)
    this.#sources.set(spec.id, source)
    for (const { symbols, ...rest } of spec.subscriptions ?? []) {
      for (const symbol of symbols) source.subscribe(withTimeframe({ ...rest, symbol }))
    }
    for (const subscription of this.#added.get(spec.id)?.subscriptions.values() ?? [])
      source.subscribe(subscription)
    if (this.#paused) source.pause()
    source.start()
    return source
  }

  #save(): void {
    const sources: DesiredSource[] = []
    for (const [id, { spec, subscriptions }] of this.#added) {
      const { kind, url, restUrl } = spec ?? {}
      sources.push({
        id,
        ...(kind !== undefined && {
          spec: { kind, ...(url !== undefined && { url }), ...(restUrl !== undefined && { restUrl }) },
        }),
        subscriptions: [...subscriptions.values()],
      })
    }
    this.#options.desired.save(sources)
  }

  #press(high: boolean): void {
    this.#paused = high
    for (const source of this.#sources.values()) {
      if (high) source.pause()
      else source.resume()
    }
  }
}

function deeper(saved: Subscription | undefined, asked: Subscription): Subscription {
  return saved?.limit !== undefined && saved.limit > (asked.limit ?? 0) ? saved : asked
}

/** A file may leave the timeframe out, as a request may. */
function withTimeframe(subscription: Subscription): Subscription {
  const { timeframe, ...rest } = subscription
  return CHANNELS[subscription.channel].timeframe ? { ...rest, timeframe: timeframe ?? '1m' } : rest
}
