import { isDeepStrictEqual } from 'node:util'
import type { Bus } from '../bus/bus.ts'
import { now as wallClock } from '../clock.ts'
import type {
  Connector,
  Connectors,
  Credentials,
  Instrument,
  Subscription,
  Via,
} from '../connectors/connector.ts'
import { subscriptionKey } from '../connectors/connector.ts'
import { FeedgateError } from '../errors.ts'
import type { Log } from '../gateway/gateway.ts'
import type { Micros } from '../market/event.ts'
import { CHANNELS } from '../market/event.ts'
import type { Topic } from '../market/topic.ts'
import { authority, type Passage } from '../tunnel.ts'
import type { Vault } from '../vault.ts'
import { ConnectLimits } from './connect-limits.ts'
import type { DesiredState } from './desired-state.ts'
import type { Lease, Leases } from './leases.ts'
import type { Answer, Manager, Notification, SourceRequest, SourceSpec, SourceStatus } from './manager.ts'
import { PATIENCE, type Patience } from './patience.ts'
import type { Positions } from './positions.ts'
import { Publisher } from './publisher.ts'
import {
  checkCredentials,
  checkSame,
  checkSides,
  connectorOf,
  kindOf,
  specOf,
  subscriptionOf,
} from './request-check.ts'
import { Source, type SourceContext } from './source.ts'
import { Writers } from './topic-writer.ts'

export interface ManagerOptions {
  readonly connectors: Connectors
  readonly bus: Bus
  /** Of the settings file, or the demo's. */
  readonly sources: readonly SourceSpec[]
  readonly desired: DesiredState
  readonly positions: Positions
  readonly leases: Leases
  readonly vault: Vault
  /** The way through another node. */
  via(node: string): Via
  readonly log: Log
  /** Wall clock, µs. */
  readonly now?: () => Micros
  readonly patience?: Patience
}

/** The newest are kept. */
const MAX_NOTIFICATIONS = 100
/** What admins may add; more is refused. */
const MAX_SOURCES = 1_000
const MAX_SUBSCRIPTIONS = 10_000
/** How long a venue's verdict on credentials is waited for. */
const VERDICT_MS = 10_000

/** A manager that runs sources itself. */
export interface OwningManager extends Manager {
  /** Sources that this node runs, or disconnected while it had them: no other node may. */
  owned(): readonly string[]
  /** For other nodes: may they go from here to this address, as far as it is one of a wanted source? */
  passage(authority: string): Passage | undefined
}

/** Loads what these sources need before there can be a manager of them. */
export async function prepareConnectors(
  connectors: Connectors,
  sources: readonly SourceSpec[],
): Promise<void> {
  for (const { id, kind } of sources) await connectors.prepare(kindOf(id, kind, connectors))
}

/**
 * Connectors of `sources` are prepared (`prepareConnectors`). Throws `bad-setting` for a source that cannot be what the
 * settings say.
 */
export function createManager(options: ManagerOptions): OwningManager {
  return new Supervisor(options)
}

/** The right to run a source, and the numbering under it. */
interface Ownership {
  readonly lease: Lease
  readonly writers: Writers
}

/** What an admin added to a source, or the source itself. */
interface Added {
  readonly spec?: SourceSpec
  readonly subscriptions: Map<string, Subscription>
}

class Supervisor implements OwningManager {
  readonly #options: ManagerOptions
  readonly #context: Omit<SourceContext, 'writers'>
  readonly #publisher: Publisher
  readonly #sources = new Map<string, Source>()
  readonly #fromFile: ReadonlyMap<string, SourceSpec>
  /** By source id. */
  readonly #added = new Map<string, Added>()
  /** By source id; kept when the source is disconnected, so that it goes on in the same epochs. */
  readonly #owned = new Map<string, Ownership>()
  readonly #owning = new Map<string, Promise<Ownership | undefined>>()
  /** Of the settings file, disconnected by an admin until the next start. */
  readonly #disconnected = new Set<string>()
  /** At most `MAX_NOTIFICATIONS`. */
  readonly #notifications: Notification[] = []
  #sweep: NodeJS.Timeout | undefined
  #adopting: Promise<void> | undefined
  #paused = false
  #ended = false
  #closed: Promise<void> | undefined

  constructor(options: ManagerOptions) {
    const { bus, positions, log, now = wallClock, patience = PATIENCE } = options
    this.#options = options
    this.#fromFile = new Map(options.sources.map((spec) => [spec.id, spec]))
    for (const spec of options.sources) this.#check(spec)
    this.#publisher = new Publisher(bus, log, (high) => this.#press(high))
    this.#context = {
      publisher: this.#publisher,
      positions,
      limits: new ConnectLimits(),
      via: options.via,
      patience,
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
      const connector = connectorOf(spec, this.#options.connectors)
      checkSides(spec, connector)
      this.#openCredentials(spec, connector)
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
    // What nodes share may be away: it is asked for again and again.
    if (this.#options.desired.shared) this.#adoptAgain()
    else await this.#adopt()
    this.#sweep = setInterval(() => {
      const time = performance.now()
      for (const source of this.#sources.values()) source.sweep(time)
      this.#adoptAgain()
    }, this.#context.patience.sweepMs)
  }

  owned(): readonly string[] {
    return [...this.#owned.keys()]
  }

  passage(to: string): Passage | undefined {
    const { limits } = this.#context
    for (const spec of this.#wanted()) {
      const connector = this.#nativeConnector(spec)
      if (!connector) continue
      for (const { url } of spec.sides ?? [spec]) {
        const target = url ?? connector.url
        if (target === undefined || authority(target) !== to) continue
        const route = url === undefined ? {} : { url }
        return { waitMs: () => limits.waitMs(connector, route), spend: () => limits.spend(connector, route) }
      }
    }
    return undefined
  }

  /** Undefined: what ccxt connects to is not known. */
  #nativeConnector(spec: SourceSpec): Connector | undefined {
    const { connectors } = this.#options
    const kind = kindOf(spec.id, spec.kind, connectors)
    return kind === 'ccxt' ? undefined : connectors.connectorFor(kind, {})
  }

  /** Other nodes end, and leave their sources; admins add some at other nodes. */
  #adoptAgain(): void {
    const { desired, log } = this.#options
    if (!desired.shared || this.#ended) return
    this.#adopting ??= this.#adopt()
      .catch((error: Error) => log.warn({ error: error.message }, 'sources cannot be taken over now'))
      .finally(() => {
        this.#adopting = undefined
      })
  }

  /** Runs every wanted source that no other node runs. */
  async #adopt(): Promise<void> {
    const { connectors, desired } = this.#options
    for (const { id, spec, subscriptions } of await desired.load()) {
      if (this.#owned.has(id)) continue
      this.#added.set(id, {
        ...(spec && { spec: { ...spec, id } }),
        subscriptions: new Map(subscriptions.map((one) => [subscriptionKey(one), one])),
      })
    }
    await Promise.all(
      this.#wanted().map(async (spec) => {
        if (this.#sources.has(spec.id) || this.#disconnected.has(spec.id)) return
        const ownership = await this.#own(spec.id)
        await connectors.prepare(kindOf(spec.id, spec.kind, connectors))
        if (ownership && !this.#sources.has(spec.id)) this.#restart(spec, ownership)
      }),
    )
  }

  /** Of the settings file, and what admins added, whichever node runs it. */
  #wanted(): readonly SourceSpec[] {
    const wanted = [...this.#fromFile.values()]
    for (const [id, { spec }] of this.#added) if (spec && !this.#fromFile.has(id)) wanted.push(spec)
    return wanted
  }

  /** Undefined: another node runs the source. */
  #own(id: string): Promise<Ownership | undefined> {
    const known = this.#owned.get(id)
    if (known) return Promise.resolve(known)
    const under = this.#owning.get(id) ?? this.#acquire(id).finally(() => this.#owning.delete(id))
    this.#owning.set(id, under)
    return under
  }

  async #acquire(id: string): Promise<Ownership | undefined> {
    const { leases, positions, now = wallClock } = this.#options
    const lease = await leases.acquire(id)
    if (!lease) return undefined
    try {
      await positions.load(id)
    } catch (error) {
      await leases.release(id)
      throw error
    }
    if (lease.lost.aborted || this.#ended) return undefined
    const writers = new Writers({ publisher: this.#publisher, positions, now, token: lease.token })
    const ownership: Ownership = { lease, writers }
    this.#owned.set(id, ownership)
    lease.lost.addEventListener('abort', () => this.#lost(id), { once: true })
    return ownership
  }

  /** Another node runs it now; whatever of ours is still on its way has a lower epoch and is not taken. */
  #lost(id: string): void {
    this.#owned.delete(id)
    this.#sources.get(id)?.close('another node runs it now', false)
    this.#sources.delete(id)
  }

  /** What an admin added, and can no longer be had, must not keep the others from starting. */
  #restart(spec: SourceSpec, ownership: Ownership): void {
    try {
      this.#start(spec, ownership)
    } catch (error) {
      const what = `not started: ${(error as Error).message}`
      this.#context.log.error({ source: spec.id }, what)
      this.#context.notify({ time: this.#context.now(), source: spec.id, what })
    }
  }

  async connect(request: SourceRequest): Promise<Answer> {
    await this.#prepare(request)
    const { source, created } = await this.#sourceFor(request)
    const subscribed = request.channel !== undefined && this.#subscribe(source, request)
    if (created || subscribed) await this.#save(source.spec.id)
    return { created: created || subscribed, status: source.status() }
  }

  async subscribe(request: SourceRequest): Promise<Answer> {
    await this.#prepare(request)
    const { source } = await this.#sourceFor(request)
    const created = this.#subscribe(source, request)
    await this.#save(source.spec.id)
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
    if (this.#added.get(request.exchangeId)?.subscriptions.delete(subscriptionKey(subscription)))
      await this.#save(request.exchangeId)
    return { created: false, status: source.status() }
  }

  async disconnect(request: SourceRequest): Promise<Answer> {
    const source = this.#existing(request)
    source.close('disconnected by an admin', true)
    this.#sources.delete(request.exchangeId)
    // A source of the settings file is there again at the next start, with what admins added to it.
    if (this.#fromFile.has(request.exchangeId)) this.#disconnected.add(request.exchangeId)
    else if (this.#added.delete(request.exchangeId)) await this.#options.desired.remove(request.exchangeId)
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

  async instruments(source: string): Promise<readonly Instrument[] | undefined> {
    return this.#sources.get(source)?.instruments
  }

  notifications(): readonly Notification[] {
    return this.#notifications
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#ended = true
    clearInterval(this.#sweep)
    for (const source of this.#sources.values()) source.close('feedgate stops', false)
    await this.#publisher.close()
    // When all is published that will be: the next owner begins behind it.
    await this.#options.leases.close()
  }

  #existing({ exchangeId }: SourceRequest): Source {
    const source = this.#sources.get(exchangeId)
    if (!source) throw new FeedgateError('unknown-source', `no source ${exchangeId} is connected`)
    return source
  }

  /** The source of that id, made if need be. */
  async #sourceFor(request: SourceRequest): Promise<{ source: Source; created: boolean }> {
    const known = this.#sources.get(request.exchangeId)
    if (known) {
      this.#checkSame(request, known.spec)
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
    const ownership = await this.#own(spec.id)
    if (!ownership) throw new FeedgateError('fenced', `another node runs the source ${spec.id}`)
    // Somebody may have asked for the same meanwhile.
    const made = this.#sources.get(spec.id)
    if (made) return { source: made, created: false }
    if (!this.#fromFile.has(spec.id)) this.#added.set(spec.id, { spec, subscriptions: new Map() })
    this.#disconnected.delete(spec.id)
    return { source: this.#start(spec, ownership), created: true }
  }

  /** What is wrong with the request, or with the credentials in it, is found before a source is made for it. */
  async #prepare(request: SourceRequest): Promise<void> {
    const { exchangeId: id, channel } = request
    if (this.#sources.has(id)) return
    const { connectors } = this.#options
    const spec = this.#specFor(request)
    await connectors.prepare(kindOf(id, spec.kind, connectors))
    const connector = connectorOf(spec, connectors)
    if (channel !== undefined) subscriptionOf(request, connector)
    const credentials = this.#openCredentials(spec, connector)
    if (credentials && request.credentials !== undefined) await this.#verify(spec, connector, credentials)
  }

  /** Waits for the venue's verdict; one that does not come in time stands in the status, when it comes. */
  async #verify(
    { id, url, restUrl }: SourceSpec,
    connector: Connector,
    credentials: Credentials,
  ): Promise<void> {
    const options = {
      source: id,
      ...(url !== undefined && { url }),
      ...(restUrl !== undefined && { restUrl }),
      credentials,
    }
    try {
      await connector.verify?.(options, AbortSignal.timeout(VERDICT_MS))
    } catch (error) {
      const { message: what, code } = error as FeedgateError
      if (code !== 'venue-credentials-refused') return
      this.#context.notify({ time: this.#context.now(), source: id, what })
      throw error
    }
  }

  #openCredentials({ id, credentials }: SourceSpec, connector: Connector): Credentials | undefined {
    if (credentials === undefined) return undefined
    const opened = this.#options.vault.open(credentials)
    checkCredentials(opened, connector, id)
    return opened
  }

  #checkSame(request: SourceRequest, spec: SourceSpec): void {
    checkSame(request, spec)
    const { vault } = this.#options
    const asked = request.credentials
    if (asked === undefined) return
    if (spec.credentials !== undefined && isDeepStrictEqual(vault.open(asked), vault.open(spec.credentials)))
      return
    throw new FeedgateError(
      'bad-request',
      `credentials of the source ${spec.id} are others: disconnect it first to change them`,
    )
  }

  #specFor(request: SourceRequest): SourceSpec {
    const fromFile = this.#fromFile.get(request.exchangeId)
    if (fromFile) this.#checkSame(request, fromFile)
    return fromFile ?? specOf(request, this.#options.connectors)
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

  #start(given: SourceSpec, { writers }: Ownership): Source {
    const { connectors } = this.#options
    const spec = { ...given, kind: kindOf(given.id, given.kind, connectors) }
    const connector = connectorOf(spec, connectors)
    const credentials = this.#openCredentials(spec, connector)
    const context = { ...this.#context, writers, ...(credentials && { credentials }) }
    const source = new Source(spec, connector, context)
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

  async #save(id: string): Promise<void> {
    const added = this.#added.get(id)
    if (!added) return
    const { kind, url, restUrl, credentials } = added.spec ?? {}
    await this.#options.desired.put({
      id,
      ...(kind !== undefined && {
        spec: {
          kind,
          ...(url !== undefined && { url }),
          ...(restUrl !== undefined && { restUrl }),
          ...(credentials !== undefined && { credentials }),
        },
      }),
      subscriptions: [...added.subscriptions.values()],
    })
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
