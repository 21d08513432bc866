import type { Identity } from '../../auth/auth.ts'
import { ERRORS, FeedgateError } from '../../errors.ts'
import { CHANNELS, type Channel, isChannel } from '../../market/event.ts'
import { type Topic, topicOf } from '../../market/topic.ts'
import type { SubscribeCommand, UnsubscribeCommand } from '../../protocol/commands.ts'
import type { RejectedSymbol, SubscriptionEntry } from '../../protocol/messages.ts'
import type { GatewayPorts } from '../gateway.ts'
import type { Feeds } from './feeds.ts'
import type { Outbox } from './outbox.ts'
import type { Position } from './outgoing.ts'
import { type Rule, Rules } from './rules.ts'
import type { TopicFeed } from './topic-feed.ts'
import type { View } from './view.ts'
import { isWildcard } from './wildcard.ts'

/** A topic that the client is sent. */
interface Grant {
  readonly feed: TopicFeed
  /** Of books: Infinity is full. */
  readonly depth: number
  /** Absent until the feed is live. */
  view?: View
  /** Asked for; else it came along: `source` events of the sources concerned. */
  asked: boolean
}

export interface Granted {
  readonly channel: Channel
  readonly symbols: readonly string[]
  readonly rejected: readonly RejectedSymbol[]
  readonly depth: number | 'full' | undefined
}

/** What one client follows, within what it may. */
export class Subscriptions {
  readonly #ports: GatewayPorts
  readonly #feeds: Feeds
  readonly #outbox: Outbox
  #identity: Identity
  readonly #rules = new Rules()
  readonly #grants = new Map<Topic, Grant>()
  /** Topics asked for, by source: as long as there is one, the source's own events come too. */
  readonly #askedOf = new Map<string, number>()
  #asked = 0
  /** Patterns whose later topics went over the limit: told once. */
  readonly #toldLimit = new Set<Rule>()
  readonly #refuse: (error: FeedgateError) => void

  constructor(
    ports: GatewayPorts,
    feeds: Feeds,
    outbox: Outbox,
    identity: Identity,
    refuse: (error: FeedgateError) => void,
  ) {
    this.#ports = ports
    this.#feeds = feeds
    this.#outbox = outbox
    this.#identity = identity
    this.#refuse = refuse
  }

  /** `acknowledge` is called when it is known what is granted, before anything of it is sent. */
  subscribe(command: SubscribeCommand, acknowledge: (granted: Granted) => void): void {
    const channel = this.#channelOf(command.channel)
    this.#feeds.refresh()
    const asked = depthOf(command)
    const symbols: string[] = []
    const rejected: RejectedSymbol[] = []
    const joins = new Map<Topic, Rule>()
    for (const pattern of new Set(command.symbols)) {
      const { source } = command
      const timeframe = CHANNELS[channel].timeframe ? command.timeframe : undefined
      const first = command.snapshot ?? true
      try {
        const rule: Rule = { channel, source, pattern, timeframe, wanted: true, depth: asked, first }
        for (const topic of this.#permit(rule, joins)) joins.set(topic, rule)
        symbols.push(pattern)
      } catch (error) {
        if (!(error instanceof FeedgateError)) throw error
        rejected.push({ symbol: pattern, code: ERRORS[error.code].ws, message: error.message })
      }
    }
    acknowledge({ channel, symbols, rejected, depth: this.#echoedDepth(channel, command) })
    this.#join(joins)
  }

  unsubscribe(command: UnsubscribeCommand): Channel {
    const { channel: name, source, symbols } = command
    if (!isChannel(name)) throw unknownChannel(name)
    const timeframe = CHANNELS[name].timeframe ? command.timeframe : undefined
    for (const pattern of new Set(symbols))
      this.#rules.add({ channel: name, source, pattern, timeframe, wanted: false, depth: 0, first: false })
    this.#part(
      [...this.#grants].filter(([topic, grant]) => grant.asked && !this.#rules.of(topic)).map(([t]) => t),
    )
    return name
  }

  list(): { subscriptions: SubscriptionEntry[]; topics: string[] } {
    const entries = new Map<string, SubscriptionEntry>()
    for (const { channel, source, pattern, timeframe, depth } of this.#rules.wanted()) {
      const granted = channel === 'orderbook' ? echo(Math.min(depth, this.#tierDepth())) : undefined
      const key = `${channel}|${source}|${timeframe}|${granted}`
      const entry = entries.get(key)
      if (entry) entry.symbols.push(pattern)
      else
        entries.set(key, {
          channel,
          ...(source === undefined ? {} : { source }),
          symbols: [pattern],
          ...(timeframe === undefined ? {} : { timeframe }),
          conflateMs: 0,
          ...(granted === undefined ? {} : { depth: granted }),
        })
    }
    const topics = [...this.#grants].filter(([, grant]) => grant.asked).map(([topic]) => topic.publicId)
    return { subscriptions: [...entries.values()], topics }
  }

  /** The newest that was sent of each topic. */
  *heads(): Iterable<[Topic, Position]> {
    for (const [topic, { view }] of this.#grants) {
      const position = view && this.#outbox.position(view)
      if (position) yield [topic, position]
    }
  }

  /** A topic that has its first event: joined if a rule wants it. */
  cover(topic: Topic): void {
    const rule = this.#rules.of(topic)
    if (!rule || this.#grants.get(topic)?.asked || !this.#mayHave(topic)) return
    if (this.#ports.limits.symbols(this.#identity, 1)) {
      this.#asked++
      this.#join(new Map([[topic, rule]]))
    } else if (!this.#toldLimit.has(rule)) {
      this.#toldLimit.add(rule)
      this.#refuse(this.#overLimit(`${rule.pattern} has more topics now`))
    }
  }

  /** The same client with other rights: what it may no longer have ends. Answers what that was. */
  become(identity: Identity): readonly Topic[] {
    this.#ports.limits.symbols(this.#identity, -this.#asked)
    this.#identity = identity
    const lost = [...this.#grants.keys()].filter((topic) => !this.#mayHave(topic))
    let count = this.#asked - lost.filter((topic) => this.#grants.get(topic)!.asked).length
    for (const [topic, grant] of this.#grants) {
      if (this.#ports.limits.symbols(identity, count)) break
      if (grant.asked && !lost.includes(topic)) {
        lost.push(topic)
        count--
      }
    }
    this.#part(lost, false)
    const kept = [...this.#grants].filter(([, grant]) => grant.asked).map(([topic]) => topic)
    this.#join(new Map(kept.flatMap((topic) => [[topic, this.#rules.of(topic)!]])))
    return lost
  }

  close(): void {
    this.#ports.limits.symbols(this.#identity, -this.#asked)
    this.#outbox.close()
    for (const { feed } of this.#grants.values()) this.#feeds.release(feed)
    this.#grants.clear()
  }

  #channelOf(name: string): Channel {
    if (!isChannel(name)) throw unknownChannel(name)
    const { tier, admin } = this.#identity
    if (!admin && !tier.channels.has(name))
      throw new FeedgateError(
        'forbidden',
        `channel ${name} is not part of tier ${tier.name}: it has ${[...tier.channels].join(', ')}`,
      )
    return name
  }

  /** The topics that match now and may be had; their number is taken from the limit. `also`: granted just before. */
  #permit(rule: Rule, also: ReadonlyMap<Topic, Rule>): readonly Topic[] {
    const matching = this.#feeds.find(rule)
    const allowed = matching.filter((topic) => this.#mayHave(topic))
    if (allowed.length === 0) this.#explainNone(rule, matching)
    const added = allowed.filter((topic) => !this.#grants.get(topic)?.asked && !also.has(topic)).length
    if (!this.#ports.limits.symbols(this.#identity, added))
      throw this.#overLimit(`${rule.pattern} has ${added} topic${added === 1 ? '' : 's'} more`)
    try {
      this.#rules.add(rule)
    } catch (error) {
      this.#ports.limits.symbols(this.#identity, -added)
      throw error
    }
    this.#asked += added
    return allowed
  }

  /** Nothing that may be had matches: an error, unless it is a pattern that later topics may match. */
  #explainNone(rule: Rule, matching: readonly Topic[]): void {
    const { channel, source, pattern, timeframe } = rule
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

  #denied(topic: Topic): 'not-entitled' | 'unknown' | undefined {
    if (topic.tenant !== undefined && this.#identity.anonymous && !this.#ports.demo) return 'unknown'
    const entitlement = this.#ports.auth.entitled(this.#identity, topic)
    return entitlement.allowed ? undefined : entitlement.why
  }

  #mayHave(topic: Topic): boolean {
    return this.#denied(topic) === undefined
  }

  #overLimit(what: string): FeedgateError {
    const { name, symbols } = this.#identity.tier
    return new FeedgateError('symbol-limit', `tier ${name} may follow ${symbols} symbols: ${what}`)
  }

  #tierDepth(): number {
    return this.#identity.admin ? Number.POSITIVE_INFINITY : this.#identity.tier.bookDepth
  }

  #echoedDepth(channel: Channel, command: SubscribeCommand): number | 'full' | undefined {
    if (channel === 'orderbook') return echo(Math.min(depthOf(command), this.#tierDepth()))
    return command.depth === undefined ? undefined : echo(depthOf(command))
  }

  /** Each in the shape of its rule; what has that shape already goes on as it is. */
  #join(joins: ReadonlyMap<Topic, Rule>): void {
    this.#feeds.fanout.flush()
    const opens: [Topic, Grant, Rule, Position | undefined][] = []
    const leaves: View[] = []
    for (const [topic, rule] of joins) {
      const known = this.#grants.get(topic)
      const depth = topic.channel === 'orderbook' ? this.#depthFor(topic, rule.depth) : 0
      if (known?.asked && known.depth === depth) continue
      if (!known?.asked) this.#count(topic, 1)
      const after = known?.view && this.#outbox.position(known.view)
      // What came along so far goes on: its newest event is not sent a second time.
      if (known && after && known.depth === depth) {
        known.asked = true
        continue
      }
      if (known?.view) leaves.push(known.view)
      opens.push([topic, { feed: this.#feeds.feed(topic), depth, asked: true }, rule, after])
    }
    if (leaves.length > 0) this.#outbox.leave(leaves)
    for (const [topic, grant, rule, after] of opens) this.#open(topic, grant, rule.first, after)
    for (const { feed } of leaves) this.#feeds.release(feed)
    for (const source of new Set(opens.map(([topic]) => topic.source))) this.#followSource(source)
  }

  #depthFor(topic: Topic, asked: number): number {
    const entitlement = this.#ports.auth.entitled(this.#identity, topic)
    return Math.min(asked, this.#tierDepth(), entitlement.allowed ? entitlement.depth : 0)
  }

  #open(topic: Topic, grant: Grant, first: boolean, after?: Position): void {
    this.#grants.set(topic, grant)
    grant.feed.whenLive(() => {
      if (this.#grants.get(topic) !== grant) {
        this.#feeds.release(grant.feed)
        return
      }
      grant.view = this.#feeds.view(grant.feed, grant.depth)
      this.#outbox.join(grant.view, first, after)
      this.#feeds.tellNotice(grant.feed, this.#outbox)
    })
  }

  /** The events of a source come with its topics: only what happens from now on. */
  #followSource(source: string): void {
    const topic = topicOf(source, 'source', source)
    if (this.#grants.has(topic) || !this.#mayHave(topic)) return
    this.#open(topic, { feed: this.#feeds.feed(topic), depth: 0, asked: false }, false)
  }

  #count(topic: Topic, change: 1 | -1): void {
    const asked = (this.#askedOf.get(topic.source) ?? 0) + change
    if (asked > 0) this.#askedOf.set(topic.source, asked)
    else this.#askedOf.delete(topic.source)
  }

  /** `counted`: their number goes back to the limit. */
  #part(topics: readonly Topic[], counted = true): void {
    const grants = topics.map((topic) => this.#grants.get(topic)!)
    let asked = 0
    for (const [index, topic] of topics.entries()) {
      this.#grants.delete(topic)
      if (!grants[index]!.asked) continue
      asked++
      this.#count(topic, -1)
    }
    this.#asked -= asked
    if (counted) this.#ports.limits.symbols(this.#identity, -asked)
    for (const [topic, grant] of this.#grants) {
      if (grant.asked || this.#askedOf.has(topic.source)) continue
      this.#grants.delete(topic)
      grants.push(grant)
    }
    this.#outbox.leave(grants.flatMap(({ view }) => view ?? []))
    for (const { feed } of grants) this.#feeds.release(feed)
  }
}

function unknownChannel(name: string): FeedgateError {
  return new FeedgateError(
    'unknown-channel',
    `channel ${JSON.stringify(name)} is not known: give one of ${Object.keys(CHANNELS).join(', ')}`,
  )
}

function depthOf({ depth }: SubscribeCommand): number {
  return depth === undefined || depth === 0 || depth === 'full' ? Number.POSITIVE_INFINITY : depth
}

function echo(depth: number): number | 'full' {
  return depth === Number.POSITIVE_INFINITY ? 'full' : depth
}
