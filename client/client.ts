import { backoffMs, FeedgateError } from './closing.ts'
import { partsOf, subscribesOf, unsubscribesOf } from './commands.ts'
import type { Connection } from './connection.ts'
import { Emitter, guarded } from './emitter.ts'
import {
  type AnyEvent,
  type Break,
  type Notice,
  type StreamItem,
  topicOf,
  type WrongChecksum,
} from './events.ts'
import { groupBy } from './group-by.ts'
import { Link, type LinkOptions, type LinkState } from './link.ts'
import { LocalBook } from './local-book.ts'
import type { SubscribeRequest } from './selection.ts'
import { StreamSink, type Subscription, Wanted } from './subscription.ts'
import { holeAtEnd, holeBefore, type TopicState, Topics } from './topics.ts'
import type { Channel, HeartbeatMessage, ServerMessage, SubscribeCommand, SubscribedMessage } from './wire.ts'

export interface ClientOptions extends LinkOptions {
  /** Events that may wait for a `for await`, of each subscription; see `Queue` for what happens beyond. */
  readonly maxQueued?: number
}

export interface BookRequest {
  readonly source: string
  readonly symbol: string
  /** Levels a side; absent: all that the tier allows. */
  readonly depth?: SubscribeCommand['depth']
}

// A type, not an interface: only that has the index signature which the emitter asks for.
type ClientEvents = { state: LinkState; notice: Notice }

/** A symbol that was granted once and is refused now is asked for again: sources come back later than gateways. */
const ASK_AGAIN_MS = 5_000
/** A topic that was sound for so long had no lasting fault. */
const QUIET_MS = 60_000

/**
 * A client of a feedgate gateway. It stays connected, asks again for what is wanted, from where it stood, and checks of
 * every event that it follows the one before.
 */
export class FeedgateClient extends Emitter<ClientEvents> {
  readonly #maxQueued: number
  readonly #link: Link
  readonly #topics = new Topics()
  readonly #wanted = new Set<Wanted>()
  /** Wanted, and not yet asked for. */
  #fresh: Wanted[] = []
  readonly #timers = new Set<ReturnType<typeof setTimeout>>()
  #closed = false

  /** Throws a TypeError that says what is wrong with the options. */
  constructor({ maxQueued = 10_000, ...options }: ClientOptions) {
    super()
    this.#maxQueued = maxQueued
    this.#link = new Link(options, {
      ready: (connection) => this.#resume(connection),
      event: (event) => this.#take(event),
      message: (message) => this.#heard(message),
      lost: () => this.#lost(),
      state: (state) => {
        if (state.state === 'closed') this.#end(state.error)
        this.emit('state', state)
      },
    })
  }

  /**
   * Follows topics: iterate what it answers, or give a listener. Throws where another subscription of this client has
   * some of the topics at another depth, rate or filter: a connection has each topic once.
   */
  subscribe<const C extends Channel>(
    request: SubscribeRequest<C>,
    listener?: (item: StreamItem<C>) => void,
  ): Subscription<C> {
    const close = () => this.#drop(wanted)
    const sink = new StreamSink<C>(this.#maxQueued, close, listener)
    const wanted = new Wanted(request, sink)
    this.#want(wanted)
    return { ready: sink.ready, close, [Symbol.asyncIterator]: () => sink.queue }
  }

  /** An order book kept here, proved by the gateway's checksums. */
  book({ source, symbol, depth }: BookRequest): LocalBook {
    const request = { channel: 'orderbook', source, symbols: [symbol], ...(depth ? { depth } : {}) } as const
    return new LocalBook(`${source}|orderbook|${symbol}`, (sink) => {
      const wanted = new Wanted(request, sink)
      this.#want(wanted)
      return { wrong: (notice) => this.#mistrust(notice), close: () => this.#drop(wanted) }
    })
  }

  /** Ends every subscription and the connection. */
  close(): void {
    this.#link.close()
  }

  #want(wanted: Wanted): void {
    if (this.#closed) throw new FeedgateError(0, 'closed', 'the client is closed: make another one')
    for (const other of this.#wanted)
      if (other.form !== wanted.form && other.selection.overlaps(wanted.selection))
        throw new FeedgateError(
          0,
          'overlap',
          'another subscription of this client has some of these topics at another depth, rate or filter: use another client',
        )
    this.#wanted.add(wanted)
    if (this.#fresh.push(wanted) === 1) queueMicrotask(() => this.#askFresh())
  }

  /** What was wanted in one turn is asked for together. */
  #askFresh(): void {
    const fresh = this.#fresh
    this.#fresh = []
    const before = new Map([...this.#topics].map((state) => [state, new Set(state.takers)]))
    this.#topics.want(this.#wanted)
    const connection = this.#link.ready
    if (!connection) return
    for (const state of this.#topics) {
      const joining = state.takers.filter((taker) => !before.get(state)?.has(taker))
      if (!state.position || joining.length === 0) continue
      if (partsOf(state.topic).channel === 'orderbook') this.#anew(state)
      else for (const { sink } of joining) guarded(() => sink.item(state.latest!))
    }
    this.#ask(connection, fresh, [])
  }

  #resume(connection: Connection): void {
    this.#fresh = []
    this.#topics.want(this.#wanted)
    this.#ask(connection, [...this.#wanted], [...this.#topics])
  }

  /** Subscriptions of one shape together; each topic is resumed by the first of them that has it. */
  #ask(connection: Connection, wanted: readonly Wanted[], topics: readonly TopicState[]): void {
    const left = new Set(topics)
    for (const group of groupBy(wanted, ({ shape }) => shape)) {
      const symbols = [...new Set(group.flatMap(({ request }) => request.symbols))]
      const resumed = [...left].filter(
        ({ position, takers }) => position && takers.some((taker) => group.includes(taker)),
      )
      for (const state of resumed) left.delete(state)
      this.#subscribe(connection, group, symbols, resumed)
    }
  }

  #subscribe(
    connection: Connection,
    group: readonly Wanted[],
    symbols: readonly string[],
    resumed: readonly TopicState[],
  ): void {
    const commands = subscribesOf(group[0]!.request, symbols, resumed, connection.maxCommandBytes)
    for (const command of commands)
      connection.request({
        command,
        answered: (answer) => this.#granted(connection, group, answer as SubscribedMessage),
        failed: (error) => {
          for (const wanted of group) this.#fail(wanted, error)
        },
      })
  }

  #granted(connection: Connection, group: readonly Wanted[], answer: SubscribedMessage): void {
    for (const topic of answer.unrecovered ?? []) {
      const state = this.#topics.get(topic)
      if (state) this.#beginAnew(state)
    }
    for (const rejected of answer.rejected ?? [])
      this.emit('notice', { type: 'rejected', channel: answer.channel, ...rejected })
    const again = new Set<string>()
    for (const wanted of group.filter((one) => this.#wanted.has(one))) {
      for (const { symbol } of answer.rejected ?? []) if (wanted.granted.has(symbol)) again.add(symbol)
      const refused = wanted.answered(answer)
      if (refused) this.#fail(wanted, new FeedgateError(refused.code, 'rejected', refused.message))
      else wanted.sink.joined?.()
    }
    if (again.size > 0)
      this.#later(ASK_AGAIN_MS, () => {
        const left = group.filter((wanted) => this.#wanted.has(wanted))
        const resumed = [...this.#topics].filter(
          ({ topic, takers }) =>
            takers.some((taker) => left.includes(taker)) && again.has(partsOf(topic).subject),
        )
        if (left.length > 0) this.#subscribe(connection, left, [...again], resumed)
      })
  }

  #fail(wanted: Wanted, error: FeedgateError): void {
    this.#wanted.delete(wanted)
    this.#topics.want(this.#wanted)
    guarded(() => wanted.sink.ended(error))
  }

  /** What others have in common with it goes on from where it is. */
  #drop(wanted: Wanted): void {
    if (!this.#wanted.delete(wanted)) return
    const asked = !this.#fresh.includes(wanted)
    this.#fresh = this.#fresh.filter((fresh) => fresh !== wanted)
    this.#topics.want(this.#wanted)
    guarded(() => wanted.sink.ended())
    const connection = this.#link.ready
    if (!connection || !asked) return
    const { request, selection } = wanted
    for (const command of unsubscribesOf(request, request.symbols, connection.maxCommandBytes))
      connection.request({ command })
    const others = [...this.#wanted].filter((other) => other.selection.overlaps(selection))
    const shared = [...this.#topics].filter(({ topic }) => selection.has(topic))
    this.#ask(connection, others, shared)
  }

  #take(event: AnyEvent): void {
    if (event.type === 'source') this.emit('notice', event)
    const state = this.#topics.of(topicOf(event))
    if (!state || state.held) return
    const hole = holeBefore(state, event)
    if (hole) this.#repair(state, hole)
    else {
      state.position = [event.epoch, event.seq]
      state.latest = event
      this.#give(state, event)
    }
  }

  #give({ takers }: TopicState, item: AnyEvent | Break): void {
    for (const { sink } of takers) guarded(() => sink.item(item))
  }

  #heard(message: ServerMessage): void {
    this.emit('notice', message)
    if (message.type === 'heartbeat') this.#compare(message)
    else if (message.type === 'resync') {
      const state = this.#topics.get(message.topic)
      if (state) this.#give(state, message)
    }
  }

  /** What the gateway sent last of each topic, and what came. */
  #compare({ heads = [] }: HeartbeatMessage): void {
    for (const [topic, epoch, seq] of heads) {
      const state = this.#topics.get(topic)
      const hole = state && !state.held && holeAtEnd(state, epoch, seq)
      if (hole) this.#repair(state, hole)
    }
  }

  /** Asks for what is missing, and for all that follows. */
  #repair(state: TopicState, hole: Break): void {
    this.#tell(state, hole)
    this.#askAnew(state)
  }

  #tell(state: TopicState, broken: Break): void {
    this.emit('notice', broken)
    this.#give(state, broken)
  }

  #mistrust(notice: WrongChecksum): void {
    this.emit('notice', notice)
    const state = this.#topics.get(notice.topic)
    if (state) this.#anew(state)
  }

  /** Not from where it stood: with a snapshot. */
  #anew(state: TopicState): void {
    this.#beginAnew(state)
    this.#askAnew(state)
  }

  #beginAnew(state: TopicState): void {
    const { topic, position } = state
    if (!position) return
    state.position = undefined
    this.#tell(state, { type: 'unrecovered', topic, last: position })
  }

  /** Nothing of the topic is taken until the gateway has begun it again. */
  #askAnew(state: TopicState): void {
    const connection = this.#link.ready
    if (!connection || state.held) return
    state.held = true
    const now = performance.now()
    if (now - state.repairedAt > QUIET_MS) state.repairs = 0
    state.repairedAt = now
    const waitMs = state.repairs === 0 ? 0 : backoffMs(state.repairs, 500, 30_000)
    state.repairs++
    this.#later(waitMs, () => this.#rejoin(connection, state))
  }

  #rejoin(connection: Connection, state: TopicState): void {
    const { takers, topic } = state
    if (takers.length === 0) return
    const { source, subject, timeframe } = partsOf(topic)
    const request = { ...takers[0]!.request, source, ...(timeframe === undefined ? {} : { timeframe }) }
    const [unsubscribe] = unsubscribesOf(request, [subject], connection.maxCommandBytes)
    const [subscribe] = subscribesOf({ ...request, symbols: [subject] }, [subject], [state], 15_000)
    connection.request({ command: unsubscribe! })
    connection.request({
      command: subscribe!,
      answered: (answer) => {
        state.held = false
        this.#granted(connection, takers, answer as SubscribedMessage)
      },
      failed: (error) => {
        for (const wanted of takers) this.#fail(wanted, error)
      },
    })
  }

  /** On this connection. */
  #later(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      act()
    }, ms)
    this.#timers.add(timer)
  }

  #lost(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    for (const state of this.#topics) state.held = false
    for (const { sink } of this.#wanted) guarded(() => sink.lost?.())
  }

  #end(error?: FeedgateError): void {
    this.#closed = true
    for (const { sink } of this.#wanted) guarded(() => sink.ended(error))
    this.#wanted.clear()
    this.#topics.want([])
  }
}
