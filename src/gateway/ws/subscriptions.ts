import type { Identity } from '../../auth/auth.ts'
import { ERRORS, FeedgateError } from '../../errors.ts'
import { CHANNELS, type Channel, isChannel, type Micros } from '../../market/event.ts'
import { type Topic, topicOf } from '../../market/topic.ts'
import type { SubscribeCommand, UnsubscribeCommand } from '../../protocol/commands.ts'
import type { RejectedSymbol, SubscriptionEntry } from '../../protocol/messages.ts'
import type { GatewayPorts } from '../gateway.ts'
import { parseTime } from '../time.ts'
import { CatchUp } from './catch-up.ts'
import type { Feeds } from './feeds.ts'
import { ClientFilters } from './filter.ts'
import type { Outbox } from './outbox.ts'
import type { Position } from './outgoing.ts'
import { Recovery } from './recovery.ts'
import { depthOf, Rights, unknownChannel } from './rights.ts'
import { MAX_WILDCARDS, type Rule, Rules } from './rules.ts'
import { PLAIN, type Shape } from './shape.ts'
import type { TopicFeed } from './topic-feed.ts'
import type { View } from './view.ts'
import { isWildcard, wildcardsOf } from './wildcard.ts'

/** A topic that the client is sent. */
interface Grant {
  readonly feed: TopicFeed
  readonly shape: Shape
  /** Absent until the feed is live, and the client has caught up with it. */
  view?: View
  /** Until then, where it begins in the past. */
  catchUp?: CatchUp
  /** Asked for; else it came along: `source` events of the sources concerned. */
  asked: boolean
}

export interface Granted {
  readonly channel: Channel
  readonly symbols: readonly string[]
  readonly rejected: readonly RejectedSymbol[]
  readonly conflateMs: number
  readonly depth: number | 'full' | undefined
  /** Topics of the client's `resume` that are not sent from its position on. */
  readonly unrecovered: readonly string[]
}

/** Where a topic begins: in the past, or with its latest value though the client has an older one. Else as its rule says. */
type Begin = CatchUp | 'latest'
/** By topic what a resume found; undefined: not recovered. */
export type Recovered = ReadonlyMap<Topic, CatchUp | undefined>

/** What one client follows, within what it may. */
export class Subscriptions {
  readonly #feeds: Feeds
  readonly #outbox: Outbox
  readonly #rights: Rights
  readonly #rules = new Rules()
  readonly #grants = new Map<Topic, Grant>()
  /** Topics asked for, by source: as long as there is one, the source's own events come too. */
  readonly #askedOf = new Map<string, number>()
  #asked = 0
  /** Patterns whose later topics went over the limit: told once. */
  readonly #toldLimit = new Set<Rule>()
  readonly #refuse: (error: FeedgateError) => void
  readonly #filters: ClientFilters
  /** One topic catches up at a time: what a client may make the gateway hold stays small. */
  #catchingUp: Promise<void> = Promise.resolve()
  #closed = false

  constructor(
    ports: GatewayPorts,
    feeds: Feeds,
    outbox: Outbox,
    identity: Identity,
    refuse: (error: FeedgateError) => void,
  ) {
    this.#feeds = feeds
    this.#outbox = outbox
    this.#rights = new Rights(ports, identity)
    this.#refuse = refuse
    this.#filters = new ClientFilters(feeds.filters)
  }

  /**
   * What came after the positions that the command has, of the topics that it covers. Give it to `subscribe`, which then
   * owns it.
   */
  async recover(command: SubscribeCommand): Promise<Recovered> {
    const { resume = {} } = command
    const found = this.#resumable(command)
    const recovery = new Recovery(this.#feeds, this.#rights.identity.tier.resumeWindowMs)
    const recovered = new Map<Topic, CatchUp | undefined>()
    await Promise.all(
      [...found].map(async ([topic, shape]) => {
        recovered.set(topic, await this.#recover(recovery, topic, shape, resume[topic.publicId]!))
      }),
    )
    if (this.#closed) for (const catchUp of recovered.values()) catchUp?.close()
    return recovered
  }

  #recover(
    recovery: Recovery,
    topic: Topic,
    shape: Shape,
    [epoch, seq]: readonly [number, number],
  ): Promise<CatchUp | undefined> {
    const feed = this.#feeds.feed(topic, shape.delayMs)
    return recovery.of(feed, shape, { epoch, seq }, this.#rights.oldest(topic))
  }

  /** Topics that have a position in the command, as many as the tier may follow, and source events that come along. */
  #resumable(command: SubscribeCommand): Map<Topic, Shape> {
    const { resume = {}, symbols } = command
    const channel = this.#rights.channel(command.channel)
    this.#feeds.refresh()
    const found = new Map<Topic, Shape>()
    const { patterns } = patternsOf(symbols)
    for (const rule of this.#rulesOf(command, channel, patterns)) {
      for (const topic of this.#feeds.find(rule)) {
        if (found.size >= this.#rights.identity.tier.symbols) return found
        if (!this.#rights.may(topic)) continue
        if (Object.hasOwn(resume, topic.publicId)) found.set(topic, this.#rights.shape(topic, rule))
        const source = topicOf(topic.source, 'source', topic.source)
        if (Object.hasOwn(resume, source.publicId) && !this.#grants.has(source) && this.#rights.may(source))
          found.set(source, PLAIN)
      }
    }
    return found
  }

  #rulesOf(command: SubscribeCommand, channel: Channel, patterns: readonly string[]): Rule[] {
    const { source, filters, conflateMs = 0, snapshot: first = true } = command
    const timeframe = CHANNELS[channel].timeframe ? command.timeframe : undefined
    const filter = this.#filters.of(channel, filters, () => this.#rules.wanted().map((rule) => rule.filter))
    const what = { channel, source, timeframe, wanted: true, depth: depthOf(command), filter }
    return patterns.map((pattern) => ({ ...what, pattern, conflateMs, first }))
  }

  /**
   * `acknowledge` is called when it is known what is granted, before anything of it is sent. Resolves when all that
   * `from` asked for has been sent.
   */
  subscribe(
    command: SubscribeCommand,
    recovered: Recovered,
    acknowledge: (granted: Granted) => void,
  ): Promise<unknown> {
    const channel = this.#rights.channel(command.channel)
    const from = command.from === undefined ? undefined : timeOf(command.from)
    this.#feeds.refresh()
    const symbols: string[] = []
    const { patterns, refused } = patternsOf(command.symbols)
    const rejected = refused.map(([pattern, error]) => rejection(pattern, error))
    const joins = new Map<Topic, Rule>()
    for (const rule of this.#rulesOf(command, channel, patterns)) {
      try {
        for (const topic of this.#permit(rule, joins)) joins.set(topic, rule)
        symbols.push(rule.pattern)
      } catch (error) {
        if (!(error instanceof FeedgateError)) throw error
        rejected.push(rejection(rule.pattern, error))
      }
    }
    const { begins, unrecovered } = this.#begins(joins, command.resume ?? {}, recovered)
    const conflateMs = this.#rights.conflation(CHANNELS[channel].class, command.conflateMs ?? 0)
    const depth = this.#rights.echoedDepth(channel, command)
    acknowledge({ channel, symbols, rejected, conflateMs, depth, unrecovered })
    return this.#join(joins, begins, from)
  }

  /** Where the topics begin that are named in the resume, and which names are not sent from there on. */
  #begins(
    joins: ReadonlyMap<Topic, Rule>,
    resume: NonNullable<SubscribeCommand['resume']>,
    recovered: Recovered,
  ): { begins: Map<Topic, Begin>; unrecovered: string[] } {
    const names = new Set(Object.keys(resume))
    const begins = new Map<Topic, Begin>()
    const topics = new Set(joins.keys())
    for (const { source } of joins.keys()) {
      const topic = topicOf(source, 'source', source)
      // What comes already goes on.
      if (this.#grants.has(topic) && !joins.has(topic)) names.delete(topic.publicId)
      else topics.add(topic)
    }
    for (const topic of topics) {
      if (!Object.hasOwn(resume, topic.publicId)) continue
      const rule = joins.get(topic)
      const shape = rule ? this.#rights.shape(topic, rule) : PLAIN
      const found = recovered.get(topic)
      // What it may see may have changed meanwhile.
      const catchUp = found?.shape.key === shape.key ? found : undefined
      begins.set(topic, catchUp ?? 'latest')
      if (catchUp) names.delete(topic.publicId)
    }
    for (const [topic, catchUp] of recovered) if (begins.get(topic) !== catchUp) catchUp?.close()
    return { begins, unrecovered: [...names] }
  }

  unsubscribe(command: UnsubscribeCommand): Channel {
    const { channel: name, source, symbols } = command
    if (!isChannel(name)) throw unknownChannel(name)
    const timeframe = CHANNELS[name].timeframe ? command.timeframe : undefined
    const { patterns, refused } = patternsOf(symbols)
    if (refused[0]) throw refused[0][1]
    try {
      for (const pattern of patterns)
        this.#rules.add({ channel: name, source, pattern, timeframe, wanted: false, ...NOTHING_ASKED })
    } finally {
      this.#part(
        [...this.#grants].filter(([topic, grant]) => grant.asked && !this.#rules.of(topic)).map(([t]) => t),
      )
    }
    return name
  }

  list(): { subscriptions: SubscriptionEntry[]; topics: string[] } {
    const entries = new Map<string, SubscriptionEntry>()
    for (const { channel, source, pattern, timeframe, depth, filter, conflateMs } of this.#rules.wanted()) {
      const granted = channel === 'orderbook' ? this.#rights.bookDepth(depth, source) : undefined
      const conflation = this.#rights.conflation(CHANNELS[channel].class, conflateMs)
      const key = `${channel}|${source}|${timeframe}|${granted}|${conflation}|${filter?.key}`
      const entry = entries.get(key)
      if (entry) entry.symbols.push(pattern)
      else
        entries.set(key, {
          channel,
          ...(source === undefined ? {} : { source }),
          symbols: [pattern],
          ...(timeframe === undefined ? {} : { timeframe }),
          ...(filter ? { filters: filter.asked } : {}),
          conflateMs: conflation,
          ...(granted === undefined ? {} : { depth: granted }),
        })
    }
    const topics = [...this.#grants].filter(([, grant]) => grant.asked).map(([topic]) => topic.publicId)
    return { subscriptions: [...entries.values()], topics }
  }

  /** Topics, those that came along included. */
  get size(): number {
    return this.#grants.size
  }

  /** The newest that was sent of each topic. */
  *heads(): Iterable<[Topic, Position]> {
    for (const [topic, grant] of this.#grants) {
      const position = this.#positionOf(grant)
      if (position) yield [topic, position]
    }
  }

  #positionOf({ view, catchUp }: Grant): Position | undefined {
    return view ? this.#outbox.position(view) : catchUp?.position
  }

  /** A topic that has its first event: joined if a rule wants it. */
  cover(topic: Topic): void {
    if (this.#grants.get(topic)?.asked) return
    const rule = this.#rules.of(topic)
    if (!rule || !this.#rights.may(topic)) return
    if (this.#rights.takeSymbols(1)) {
      this.#asked++
      void this.#join(new Map([[topic, rule]]))
    } else if (!this.#toldLimit.has(rule)) {
      this.#toldLimit.add(rule)
      this.#refuse(this.#rights.overLimit(`${rule.pattern} has more topics now`))
    }
  }

  /**
   * The same client, or its tenant, with other rights: what it may no longer have ends, what it asked for and may have now
   * begins. Answers what ended.
   */
  become(identity: Identity): readonly Topic[] {
    this.#rights.takeSymbols(-this.#asked)
    this.#rights.identity = identity
    const lost = [...this.#grants.keys()].filter((topic) => !this.#rights.may(topic))
    let count = this.#asked - lost.filter((topic) => this.#grants.get(topic)!.asked).length
    for (const [topic, grant] of this.#grants) {
      if (this.#rights.takeSymbols(count)) break
      if (grant.asked && !lost.includes(topic)) {
        lost.push(topic)
        count--
      }
    }
    this.#part(lost, false)
    const kept = [...this.#grants].filter(([, grant]) => grant.asked).map(([topic]) => topic)
    void this.#join(new Map(kept.flatMap((topic) => [[topic, this.#rules.of(topic)!]])))
    const ended = new Set(lost)
    for (const rule of this.#rules.wanted())
      for (const topic of this.#feeds.catalog.find(rule)) if (!ended.has(topic)) this.cover(topic)
    return lost
  }

  close(): void {
    this.#rights.takeSymbols(-this.#asked)
    this.#outbox.close()
    this.#closed = true
    for (const { feed, catchUp } of this.#grants.values()) {
      catchUp?.close()
      this.#feeds.release(feed)
    }
    this.#grants.clear()
    this.#filters.close()
  }

  /** The topics that match now and may be had; their number is taken from the limit. `also`: granted just before. */
  #permit(rule: Rule, also: ReadonlyMap<Topic, Rule>): readonly Topic[] {
    const matching = this.#feeds.find(rule)
    const allowed = matching.filter((topic) => this.#rights.may(topic))
    if (allowed.length === 0) this.#rights.explainNone(rule, matching)
    const added = allowed.filter((topic) => !this.#grants.get(topic)?.asked && !also.has(topic)).length
    if (!this.#rights.takeSymbols(added))
      throw this.#rights.overLimit(`${rule.pattern} has ${added} topic${added === 1 ? '' : 's'} more`)
    try {
      this.#rules.add(rule)
    } catch (error) {
      this.#rights.takeSymbols(-added)
      throw error
    }
    this.#asked += added
    return allowed
  }

  /**
   * Each in the shape of its rule; what has that shape already goes on as it is, unless it begins anew. `from`: topics
   * without a begin of their own begin there. Resolves when they have caught up.
   */
  #join(
    joins: ReadonlyMap<Topic, Rule>,
    begins: ReadonlyMap<Topic, Begin> = NONE,
    from?: Micros,
  ): Promise<unknown> {
    this.#feeds.fanout.flush()
    const opens: {
      topic: Topic
      grant: Grant
      begin: Begin | undefined
      first: boolean
      after: Position | undefined
    }[] = []
    const leaves: View[] = []
    for (const [topic, rule] of joins) {
      const known = this.#grants.get(topic)
      const shape = this.#rights.shape(topic, rule)
      const sameShape = known?.shape.key === shape.key
      const moved = known !== undefined && known.shape.delayMs !== shape.delayMs
      const begin =
        begins.get(topic) ??
        this.#beginAt(from, topic, shape) ??
        (sameShape || moved ? undefined : known?.catchUp?.inShape(shape))
      const same = sameShape && !begin
      if (known?.asked && same) continue
      if (!known?.asked) this.#count(topic, 1)
      const after = known && this.#positionOf(known)
      // What came along so far goes on: its newest event is not sent a second time.
      if (known && after && same) {
        known.asked = true
        continue
      }
      if (known?.view) leaves.push(known.view)
      known?.catchUp?.close()
      const grant: Grant = { feed: this.#feeds.feed(topic, shape.delayMs), shape, asked: true }
      opens.push({ topic, grant, begin, first: rule.first || moved || begin === 'latest', after })
      if (moved) this.#tellMoved(topic, shape.delayMs)
    }
    if (leaves.length > 0) this.#outbox.leave(leaves)
    const caughtUp = opens.map(({ topic, grant, begin, first, after }) =>
      this.#open(topic, grant, begin, first, after),
    )
    for (const { feed } of leaves) this.#feeds.release(feed)
    for (const source of new Set(opens.map(({ topic }) => topic.source))) this.#followSource(source, begins)
    return Promise.all(caughtUp)
  }

  /** Another time: what was sent last is not what comes next. */
  #tellMoved({ publicId: topic }: Topic, delayMs: number): void {
    const reason =
      delayMs > 0 ? `the topic comes ${delayMs} ms late from now on` : 'the topic comes at once now'
    this.#outbox.tell({ type: 'resync', topic, reason })
  }

  #beginAt(from: Micros | undefined, topic: Topic, shape: Shape): CatchUp | undefined {
    if (from === undefined) return undefined
    const start = Math.max(from, this.#rights.oldest(topic))
    return new CatchUp(this.#feeds, this.#feeds.feed(topic, shape.delayMs), shape, start)
  }

  #open(
    topic: Topic,
    grant: Grant,
    begin: Begin | undefined,
    first: boolean,
    after?: Position,
  ): Promise<void> | undefined {
    this.#grants.set(topic, grant)
    if (begin && begin !== 'latest') return this.#catchUp(grant, begin)
    grant.feed.whenLive(() => {
      if (this.#grants.get(topic) !== grant) {
        this.#feeds.release(grant.feed)
        return
      }
      grant.view = this.#feeds.view(grant.feed, grant.shape)
      this.#outbox.join(grant.view, first, after)
      this.#feeds.tellNotice(grant.feed, this.#outbox)
    })
  }

  #catchUp(grant: Grant, catchUp: CatchUp): Promise<void> {
    grant.catchUp = catchUp
    const joined = (view: View) => {
      grant.view = view
      delete grant.catchUp
      this.#feeds.tellNotice(grant.feed, this.#outbox)
    }
    this.#catchingUp = this.#catchingUp.then(() => catchUp.run(this.#outbox, joined))
    return this.#catchingUp
  }

  /** The events of a source come with its topics: only what happens from now on, or from where a resume stands. */
  #followSource(source: string, begins: ReadonlyMap<Topic, Begin>): void {
    const topic = topicOf(source, 'source', source)
    if (this.#grants.has(topic) || !this.#rights.may(topic)) return
    const begin = begins.get(topic)
    const grant: Grant = { feed: this.#feeds.feed(topic), shape: PLAIN, asked: false }
    void this.#open(topic, grant, begin, begin === 'latest')
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
    if (counted) this.#rights.takeSymbols(-asked)
    for (const [topic, grant] of this.#grants) {
      if (grant.asked || this.#askedOf.has(topic.source)) continue
      this.#grants.delete(topic)
      grants.push(grant)
    }
    for (const { catchUp } of grants) catchUp?.close()
    this.#outbox.leave(grants.flatMap(({ view }) => view ?? []))
    for (const { feed } of grants) this.#feeds.release(feed)
  }
}

const NONE: ReadonlyMap<Topic, Begin> = new Map()
const NOTHING_ASKED = { depth: 0, filter: undefined, conflateMs: 0, first: false }

/** In one symbol. Each is looked for in every topic of the channel. */
const MAX_STARS = 8

/** The symbols of a command, each once; refused are those whose matching would hold up everybody else. */
function patternsOf(symbols: readonly string[]): {
  readonly patterns: readonly string[]
  readonly refused: readonly (readonly [string, FeedgateError])[]
} {
  const patterns: string[] = []
  const refused: [string, FeedgateError][] = []
  let wildcards = 0
  for (const symbol of new Set(symbols)) {
    if (wildcardsOf(symbol) > MAX_STARS)
      refused.push([symbol, new FeedgateError('bad-request', `a symbol may hold ${MAX_STARS} times *`)])
    else if (isWildcard(symbol) && ++wildcards > MAX_WILDCARDS)
      refused.push([
        symbol,
        new FeedgateError('symbol-limit', `a command may hold ${MAX_WILDCARDS} symbols with *`),
      ])
    else patterns.push(symbol)
  }
  return { patterns, refused }
}

function rejection(symbol: string, { code, message }: FeedgateError): RejectedSymbol {
  return { symbol, code: ERRORS[code].ws, message }
}

function timeOf(time: NonNullable<SubscribeCommand['from']>): Micros {
  const micros = typeof time === 'number' ? time : parseTime(time)
  if (micros === undefined) throw new FeedgateError('bad-request', 'field "from" is no time that there is')
  return micros
}
