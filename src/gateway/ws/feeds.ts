import type { Place } from '../../market/continuity.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { SourceChange } from '../../market/event.ts'
import type { Topic } from '../../market/topic.ts'
import type { SourceNotice } from '../../protocol/messages.ts'
import { traceStage } from '../../tracing/tracing.ts'
import type { GatewayPorts, Log } from '../gateway.ts'
import { BookView } from './book-view.ts'
import { Catalog, type Selection, selects } from './catalog.ts'
import { ConflatedView } from './conflated-view.ts'
import { Fanout } from './fanout.ts'
import { FilterUse } from './filter.ts'
import { Groups } from './group.ts'
import { LateTopic } from './late-topic.ts'
import type { Shape } from './shape.ts'
import { TopicFeed } from './topic-feed.ts'
import { Upstream } from './upstream.ts'
import { EventView, type Taker, type View } from './view.ts'
import { isWildcard } from './wildcard.ts'

/** Whoever wants topics that are not there yet. */
export interface Follower {
  /** The topic has its first event now: join it if it is wanted. */
  cover(topic: Topic): void
}

type SourceNoticeOf = (source: string, last: SourceChange | undefined) => SourceNotice

/** Events handled before what they became is sent, in a long batch. */
const FLUSH_EVERY = 512

/** Every topic that somebody follows, in every shape that somebody follows. */
export class Feeds {
  readonly fanout: Fanout
  readonly groups: Groups
  readonly catalog: Catalog
  readonly followers = new Set<Follower>()
  readonly upstream: Upstream
  readonly log: Log
  readonly filters = new FilterUse()
  /** Held for clients that resume, until it is sent. */
  recoveredBytes = 0
  #notice: SourceNoticeOf | undefined
  readonly #ports: GatewayPorts
  /** As many as topics followed. */
  readonly #feeds = new Map<Topic, TopicFeed>()
  /** Of those that see a topic later, by topic and delay. */
  readonly #late = new Map<string, TopicFeed>()
  readonly #views = new Map<TopicFeed, Map<string, View>>()
  /** Topics with an event that all followers were asked about; bounded as topics are. */
  readonly #settled = new Set<Topic>()
  /** The topic whose very first event is being handled: it has no image that would be older. */
  #starting: Topic | undefined

  constructor(ports: GatewayPorts) {
    this.#ports = ports
    this.log = ports.log
    this.upstream = new Upstream(ports)
    this.fanout = new Fanout(() => ports.now())
    this.groups = new Groups(this.fanout)
    this.catalog = new Catalog(() => ports.manager.topics())
  }

  take(events: readonly EncodedEvent[]): void {
    const began = performance.now()
    for (const [index, event] of events.entries()) {
      try {
        if (!this.#settled.has(event.topic)) this.#settle(event)
        this.#feeds.get(event.topic)?.take(event)
      } catch (error) {
        this.#ports.log.error(
          { topic: event.topic.id, seq: event.seq, error: String(error) },
          'an event was not sent',
        )
      }
      if ((index + 1) % FLUSH_EVERY === 0) this.fanout.flush()
    }
    // A batch is what has queued: what it became leaves now, not a turn of the event loop later.
    this.fanout.flush()
    traceStage('deliver', events, began, ({ topic }) => this.#clientsOf(topic))
  }

  #clientsOf(topic: Topic): number {
    const feed = this.#feeds.get(topic)
    let clients = 0
    for (const view of (feed && this.#views.get(feed)?.values()) ?? [])
      for (const taker of view.takers) clients += taker.clients
    return clients
  }

  /** A topic's first event here: unless it was known before, patterns of earlier subscriptions may cover it. */
  #settle(event: EncodedEvent): void {
    this.#settled.add(event.topic)
    if (this.catalog.has(event.topic)) return
    this.#starting = event.seq === 1 ? event.topic : undefined
    for (const follower of this.followers) follower.cover(event.topic)
    this.#starting = undefined
  }

  /** Carried topics that match. What a pattern matches that is not carried now is asked about with its next event. */
  find(selection: Selection): readonly Topic[] {
    const found = this.catalog.find(selection)
    if (isWildcard(selection.pattern)) {
      const followed = new Set(found.filter((topic) => this.#feeds.has(topic)))
      for (const topic of this.#settled)
        if (!followed.has(topic) && selects(selection, topic)) this.#settled.delete(topic)
    }
    return found
  }

  /** Looks again at what sources carry: patterns of earlier subscriptions may cover what is new. */
  refresh(): void {
    const { gone, added } = this.catalog.refresh()
    for (const topic of gone) this.#settled.delete(topic)
    for (const topic of added) for (const follower of this.followers) follower.cover(topic)
  }

  /** The cache tells how far a topic has come. */
  head(topic: Topic, position: Place): void {
    this.#feeds.get(topic)?.head(position)
  }

  /**
   * What holds of sources until it is called off, in the gateway's own word: no event of the topic, so without epoch and
   * seq. Told to whoever follows a source now or later, behind everything sent so far; `last` is the source's own word.
   */
  tellSources(notice: SourceNoticeOf, until: 'told' | 'called off'): void {
    this.#notice = until === 'called off' ? notice : undefined
    for (const [feed, views] of this.#views)
      for (const view of views.values())
        for (const taker of view.takers) this.#tellSource(feed, taker, notice)
  }

  /** To one who joins. */
  tellNotice(feed: TopicFeed, taker: Pick<Taker, 'tell'>): void {
    if (this.#notice) this.#tellSource(feed, taker, this.#notice)
  }

  #tellSource({ topic, values }: TopicFeed, taker: Pick<Taker, 'tell'>, notice: SourceNoticeOf): void {
    if (topic.channel !== 'source') return
    taker.tell(notice(topic.source, values.get('')?.payload as SourceChange | undefined))
  }

  /** `delayMs`: as the topic was so long ago. */
  feed(topic: Topic, delayMs = 0): TopicFeed {
    if (delayMs > 0) return this.#lateFeed(topic, delayMs)
    let feed = this.#feeds.get(topic)
    if (!feed) {
      feed = new TopicFeed(topic, this.upstream, this.#ports.log)
      this.#feeds.set(topic, feed)
      feed.open(topic === this.#starting)
    }
    return feed
  }

  #lateFeed(topic: Topic, delayMs: number): TopicFeed {
    let feed = this.#late.get(lateKey(topic, delayMs))
    if (!feed) {
      const upstream = new LateTopic(this.#ports, this.upstream, topic, delayMs)
      feed = new TopicFeed(topic, upstream, this.#ports.log, delayMs)
      this.#late.set(lateKey(topic, delayMs), feed)
      feed.open(false)
      void upstream.run(feed)
    }
    return feed
  }

  /** The feed must be live. */
  view(feed: TopicFeed, shape: Shape): View {
    let views = this.#views.get(feed)
    if (!views) {
      views = new Map()
      this.#views.set(feed, views)
    }
    let view = views.get(shape.key)
    if (!view) {
      view = viewOf(feed, shape)
      views.set(shape.key, view)
      feed.readers.add(view)
    }
    return view
  }

  /** Called after somebody left: what nobody follows any more is dropped. */
  release(feed: TopicFeed): void {
    const views = this.#views.get(feed)
    for (const [key, view] of views ?? []) {
      if (view.takers.size > 0) continue
      views!.delete(key)
      feed.readers.delete(view)
      view.close()
    }
    if (feed.readers.size > 0 || feed.awaited) return
    this.#views.delete(feed)
    const key = lateKey(feed.topic, feed.delayMs)
    if (this.#feeds.get(feed.topic) === feed) this.#feeds.delete(feed.topic)
    else if (this.#late.get(key) === feed) this.#late.delete(key)
    feed.close()
  }

  close(): void {
    for (const feeds of [this.#feeds, this.#late]) {
      for (const feed of feeds.values()) feed.close()
      feeds.clear()
    }
  }
}

function lateKey(topic: Topic, delayMs: number): string {
  return `${delayMs}|${topic.id}`
}

function viewOf(feed: TopicFeed, shape: Shape): View {
  if (feed.topic.channel === 'orderbook') return new BookView(feed, shape)
  return shape.conflateMs > 0 ? new ConflatedView(feed, shape) : new EventView(feed, shape)
}
