import type { Identity } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import { CHANNELS, isChannel } from '../../market/event.ts'
import type { Topic } from '../../market/topic.ts'
import type {
  AuthCommand,
  Command,
  HeartbeatCommand,
  SubscribeCommand,
  UnsubscribeCommand,
} from '../../protocol/commands.ts'
import type { ServerMessage } from '../../protocol/messages.ts'
import { BadMessage } from '../../protocol/parse.ts'
import type { ClientHub } from './hub.ts'
import type { Position } from './outgoing.ts'
import type { Recovered, Subscriptions } from './subscriptions.ts'

/** Topics that an error names; `list` tells what is left. */
const MAX_NAMED = 20

/** The commands of one client that has said who it is. */
export class Commands {
  readonly #hub: ClientHub
  readonly #subscriptions: Subscriptions
  readonly #send: (message: ServerMessage) => void
  #heartbeat: NodeJS.Timeout | undefined
  /** Heads as last told, by topic. */
  #told = new Map<Topic, Position>()
  #closed = false

  constructor(hub: ClientHub, subscriptions: Subscriptions, send: (message: ServerMessage) => void) {
    this.#hub = hub
    this.#subscriptions = subscriptions
    this.#send = send
    hub.feeds.followers.add(subscriptions)
  }

  /** That the client is sent. */
  get topics(): number {
    return this.#subscriptions.size
  }

  /** Resolves when the command has been answered. */
  async execute(command: Exclude<Command, AuthCommand>): Promise<void> {
    switch (command.type) {
      case 'subscribe':
        await this.#subscribe(command)
        break
      case 'unsubscribe':
        this.#unsubscribe(command)
        break
      case 'list':
        this.#send({ type: 'subscriptions', ...idOf(command), ...this.#subscriptions.list() })
        break
      case 'ping':
        this.#send({ type: 'pong', ...idOf(command), timestamp: this.#hub.ports.now() })
        break
      case 'heartbeat':
        this.#beat(command)
        break
      default:
        throw new FeedgateError(
          'not-supported-yet',
          'this version does not replay: history is at GET /v1/history',
        )
    }
  }

  async #subscribe(command: SubscribeCommand): Promise<void> {
    checkResume(command)
    const recovered = command.resume ? await this.#subscriptions.recover(command) : NONE
    if (this.#closed) return
    let sent: Promise<unknown>
    try {
      sent = this.#grant(command, recovered)
    } catch (error) {
      for (const catchUp of recovered.values()) catchUp?.close()
      throw error
    }
    if (command.from !== undefined) void sent.then(() => this.#tellLive(command))
  }

  #grant(command: SubscribeCommand, recovered: Recovered): Promise<unknown> {
    const { source, timeframe, filters } = command
    return this.#subscriptions.subscribe(command, recovered, (granted) => {
      const { channel, symbols, rejected, conflateMs, depth, unrecovered } = granted
      this.#send({
        type: 'subscribed',
        ...idOf(command),
        channel,
        ...(source === undefined ? {} : { source }),
        symbols: [...symbols],
        ...(timeframe === undefined ? {} : { timeframe }),
        ...(filters === undefined ? {} : { filters }),
        conflateMs,
        ...(depth === undefined ? {} : { depth }),
        ...(rejected.length === 0 ? {} : { rejected: [...rejected] }),
        ...(unrecovered.length === 0 ? {} : { unrecovered: [...unrecovered] }),
      })
    })
  }

  /** Behind all that was sent before. */
  #tellLive(command: SubscribeCommand): void {
    if (this.#closed) return
    this.#hub.feeds.fanout.flush()
    this.#send({ type: 'live', ...idOf(command) })
  }

  #unsubscribe(command: UnsubscribeCommand): void {
    const channel = this.#subscriptions.unsubscribe(command)
    this.#send({
      type: 'unsubscribed',
      ...idOf(command),
      channel,
      ...(command.source === undefined ? {} : { source: command.source }),
      symbols: [...new Set(command.symbols)],
      ...(command.timeframe === undefined ? {} : { timeframe: command.timeframe }),
    })
  }

  #beat({ id, intervalMs, heads }: HeartbeatCommand): void {
    clearInterval(this.#heartbeat)
    this.#told = new Map()
    const beat = () => {
      // What the heads name has been written before them.
      this.#hub.feeds.fanout.flush()
      this.#send({
        type: 'heartbeat',
        ...(id === undefined ? {} : { id }),
        timestamp: this.#hub.ports.now(),
        ...(heads ? { heads: this.#changedHeads() } : {}),
      })
    }
    beat()
    if (intervalMs > 0) this.#heartbeat = setInterval(beat, intervalMs)
  }

  #changedHeads(): [string, number, number][] {
    const heads: [string, number, number][] = []
    const now = new Map(this.#subscriptions.heads())
    for (const [topic, { epoch, seq }] of now) {
      const told = this.#told.get(topic)
      if (told?.epoch !== epoch || told.seq !== seq) heads.push([topic.publicId, epoch, seq])
    }
    this.#told = now
    return heads
  }

  /** Other rights now: what is lost is told. */
  become(identity: Identity, refuse: (error: FeedgateError) => void): void {
    const lost = this.#subscriptions.become(identity)
    if (lost.length === 0) return
    const names = lost.slice(0, MAX_NAMED).map((topic) => topic.publicId)
    const more = lost.length > names.length ? ` and ${lost.length - names.length} more` : ''
    refuse(new FeedgateError('forbidden', `no longer sent: ${names.join(', ')}${more}`))
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#heartbeat)
    this.#hub.feeds.followers.delete(this.#subscriptions)
    this.#subscriptions.close()
  }
}

function idOf({ id }: { readonly id?: Command['id'] }): { id?: NonNullable<Command['id']> } {
  return id === undefined ? {} : { id }
}

/** Throws BadMessage where a name is none of a topic, whether there is one or not. */
function checkResume({ id, resume = {} }: SubscribeCommand): void {
  for (const name of Object.keys(resume)) {
    const [source, channel, subject, timeframe, ...rest] = name.split('|')
    const shaped = source && subject && rest.length === 0 && channel !== undefined && isChannel(channel)
    if (!shaped || CHANNELS[channel].timeframe !== (timeframe !== undefined))
      throw new BadMessage(
        `field "resume" names ${JSON.stringify(name)}: give topics as source|channel|subject, with |timeframe for ohlcv and technical_analysis`,
        id,
      )
  }
}

const NONE: Recovered = new Map()
