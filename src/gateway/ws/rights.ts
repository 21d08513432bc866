import type { Asked, Auth, Entitlement, Identity } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import { CHANNELS, type Channel, type ChannelClass, isChannel } from '../../market/event.ts'
import type { Topic } from '../../market/topic.ts'
import type { SubscribeCommand } from '../../protocol/commands.ts'
import type { GatewayPorts } from '../gateway.ts'
import type { Rule } from './rules.ts'
import { type Shape, shapeOf } from './shape.ts'
import { isWildcard } from './wildcard.ts'

/** What one client may follow, and how. */
export class Rights {
  readonly #ports: GatewayPorts
  identity: Identity

  constructor(ports: GatewayPorts, identity: Identity) {
    this.#ports = ports
    this.identity = identity
  }

  /** Throws `unknown-channel`, or `forbidden` where the tier does not have it. */
  channel(name: string): Channel {
    if (!isChannel(name)) throw unknownChannel(name)
    const { tier } = this.identity
    if (!this.#of({ source: '*', channel: name }).allowed)
      throw new FeedgateError(
        'forbidden',
        `channel ${name} is not part of tier ${tier.name}: it has ${[...tier.channels].join(', ')}`,
      )
    return name
  }

  #of(asked: Asked): Entitlement {
    return this.#ports.auth.entitled(this.identity, asked)
  }

  /** What comes now, or later by a delay. */
  may(topic: Topic): boolean {
    return this.#denied(topic) === undefined
  }

  #denied(topic: Topic): 'not-entitled' | 'unknown' | undefined {
    const entitlement = this.#of(topic)
    if (!entitlement.allowed) return entitlement.why
    return entitlement.live ? undefined : 'not-entitled'
  }

  /** Nothing that may be had matches: an error, unless it is a pattern that later topics may match. */
  explainNone({ channel, source, pattern, timeframe }: Rule, matching: readonly Topic[]): void {
    if (matching.some((topic) => this.#denied(topic) === 'not-entitled'))
      throw new FeedgateError('forbidden', `${pattern} of channel ${channel} is not open to this client`)
    const unknownSource = source !== undefined && this.#ports.manager.licence(source) === undefined
    if (!unknownSource && isWildcard(pattern)) return
    const where = source === undefined ? 'no source carries' : `source ${source} does not carry`
    const what = timeframe === undefined ? pattern : `${pattern} at ${timeframe}`
    throw new FeedgateError(
      'unknown-symbol',
      unknownSource ? `source ${source} is not known here` : `${where} ${what} on channel ${channel}`,
    )
  }

  /** Takes from the limit; negative gives back. False: over it, nothing taken. */
  takeSymbols(count: number): boolean {
    return this.#ports.limits.symbols(this.identity, count)
  }

  overLimit(what: string): FeedgateError {
    const { name, symbols } = this.identity.tier
    return new FeedgateError('symbol-limit', `tier ${name} may follow ${symbols} symbols: ${what}`)
  }

  shape(topic: Topic, { depth, filter, conflateMs }: Rule): Shape {
    const conflation = this.conflation(topic.class, conflateMs)
    const entitlement = this.#of(topic)
    const [allowed, delayMs] = entitlement.allowed ? [entitlement.depth, entitlement.delayMs] : [0, 0]
    return shapeOf(topic.channel === 'orderbook' ? Math.min(depth, allowed) : 0, filter, conflation, delayMs)
  }

  /** ms: at least the floor of the tier; events are never thinned. */
  conflation(channelClass: ChannelClass, askedMs: number): number {
    return channelClass === 'event' ? 0 : Math.max(askedMs, this.identity.tier.conflateMs)
  }

  /** As books are echoed: what was asked for, as far as it is allowed. */
  bookDepth(asked: number, source = '*'): number | 'full' {
    const entitlement = this.#of({ source, channel: 'orderbook' })
    return echo(Math.min(asked, entitlement.allowed ? entitlement.depth : 0))
  }

  echoedDepth(channel: Channel, command: SubscribeCommand): number | 'full' | undefined {
    if (channel === 'orderbook') return this.bookDepth(depthOf(command), command.source)
    return command.depth === undefined ? undefined : echo(depthOf(command))
  }

  /** How far back the client may look into the topic, epoch µs. */
  oldest(topic: Topic): number {
    const entitlement = this.#of(topic)
    return entitlement.allowed ? Math.ceil(entitlement.oldest * 1_000) : this.#ports.now()
  }
}

/** How much later the caller is sent what comes of a topic, ms; undefined: not at all. */
export function delayOf(auth: Auth, identity: Identity, topic: Topic): number | undefined {
  const entitlement = auth.entitled(identity, topic)
  return entitlement.allowed && entitlement.live ? entitlement.delayMs : undefined
}

export function unknownChannel(name: string): FeedgateError {
  return new FeedgateError(
    'unknown-channel',
    `channel ${JSON.stringify(name)} is not known: give one of ${Object.keys(CHANNELS).join(', ')}`,
  )
}

/** Levels a side that are asked for; Infinity: full. */
export function depthOf({ depth }: SubscribeCommand): number {
  return depth === undefined || depth === 0 || depth === 'full' ? Number.POSITIVE_INFINITY : depth
}

function echo(depth: number): number | 'full' {
  return depth === Number.POSITIVE_INFINITY ? 'full' : depth
}
