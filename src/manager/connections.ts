import type { Connector, LinkOptions } from '../connectors/connector.ts'
import type { Micros, SourceState } from '../market/event.ts'
import type { Feed } from './feed.ts'
import { Lane, type LaneHost } from './lane.ts'

/** The worst state of the connections is that of their sum, but it is down only when all are. */
const SEVERITY: readonly SourceState[] = ['connected', 'connecting', 'stale', 'reconnecting', 'down']

export function severityOf(state: SourceState): number {
  return SEVERITY.indexOf(state)
}

export interface ConnectionsHost extends Omit<LaneHost, 'changed' | 'emptied'> {
  now(): Micros
  /** State, reason or attempt changed. */
  changed(): void
}

/** The connections to one host or set of hosts: as many as the routes and the venue's limits need. */
export class Connections {
  state: SourceState = 'connecting'
  reason = 'starting'
  attempt = 0
  since: Micros
  readonly #host: ConnectionsHost
  readonly #laneHost: LaneHost
  readonly #connector: Connector
  readonly #lanes: Lane[] = []
  /** Before the start. */
  readonly #waiting: Feed[] = []
  #started = false
  #paused = false
  /** Monotonic ms. */
  #mergedAt = performance.now()

  constructor(host: ConnectionsHost) {
    this.#host = host
    this.#connector = host.connector
    this.since = host.now()
    this.#laneHost = {
      ...host,
      changed: () => this.#update(),
      emptied: (lane) => this.#drop(lane, 'another connection carries what this one did'),
    }
  }

  get options(): LinkOptions {
    return this.#host.options
  }

  start(): void {
    this.#started = true
    const routes = new Map<string, Feed[]>()
    for (const feed of this.#waiting.splice(0)) {
      const route = this.#connector.route(feed.subscription)
      const feeds = routes.get(route)
      if (feeds) feeds.push(feed)
      else routes.set(route, [feed])
    }
    for (const [route, feeds] of routes) this.#deal(route, feeds)
    if (this.#lanes.length === 0) this.#addLane('')
    for (const lane of this.#lanes) lane.start()
  }

  /** To no more connections than are needed, by turns: the busiest markets are mostly named first. */
  #deal(route: string, feeds: readonly Feed[]): void {
    const { subscriptionsPerLink, booksPerLink = subscriptionsPerLink } = this.#connector
    const isBook = ({ subscription }: Feed) => subscription.channel === 'orderbook'
    const books = feeds.filter(isBook)
    const count = Math.ceil(Math.max(feeds.length / subscriptionsPerLink, books.length / booksPerLink))
    const lanes = Array.from({ length: count }, () => this.#addLane(route))
    const others = feeds.filter((feed) => !isBook(feed))
    for (const [turn, feed] of [...books, ...others].entries()) lanes[turn % count]!.add(feed)
  }

  add(feed: Feed): void {
    if (!this.#started) {
      this.#waiting.push(feed)
      return
    }
    const route = this.#connector.route(feed.subscription)
    const lane = this.#lanes.find((one) => one.route === route && one.hasRoomFor(feed))
    if (lane) {
      lane.add(feed)
      return
    }
    const added = this.#addLane(route)
    added.start()
    added.add(feed)
  }

  remove(feed: Feed): void {
    // While one connection takes what another carried, both know it.
    for (const lane of this.#lanes.filter((one) => one.feeds.has(feed.key))) {
      lane.remove(feed)
      if (lane.feeds.size === 0 && this.#lanes.length > 1) this.#drop(lane, 'nothing is subscribed')
    }
  }

  rotate(): void {
    for (const lane of this.#lanes) lane.replace('rotated by an admin')
  }

  pause(): void {
    this.#paused = true
    for (const lane of this.#lanes) lane.pause()
  }

  resume(): void {
    this.#paused = false
    for (const lane of this.#lanes) lane.resume()
  }

  sweep(time: number): void {
    for (const lane of this.#lanes) lane.sweep(time)
    if (time - this.#mergedAt >= this.#host.patience.mergeMs) this.#merge(time)
  }

  close(reason: string): void {
    for (const lane of this.#lanes) lane.close(reason)
    this.state = 'down'
    this.reason = reason
    this.since = this.#host.now()
  }

  /** Of connections that became nearly empty one gives what it carries to another of its route. */
  #merge(time: number): void {
    this.#mergedAt = time
    for (const lane of this.#lanes) {
      const other = this.#lanes.find((one) => one !== lane && one.route === lane.route && one.canTake(lane))
      if (!other) continue
      other.take(lane)
      return
    }
  }

  #drop(lane: Lane, reason: string): void {
    const at = this.#lanes.indexOf(lane)
    if (at < 0) return
    this.#lanes.splice(at, 1)
    lane.close(reason)
    this.#update()
  }

  #addLane(route: string): Lane {
    const lane = new Lane(route, this.#laneHost)
    if (this.#paused) lane.pause()
    this.#lanes.push(lane)
    return lane
  }

  #update(): void {
    const worst = this.#lanes.reduce<Lane | undefined>(
      (one, lane) => (one && severityOf(one.state) >= severityOf(lane.state) ? one : lane),
      undefined,
    )
    if (!worst) return
    const allDown = this.#lanes.every((lane) => lane.state === 'down')
    const state = worst.state === 'down' && !allDown ? 'reconnecting' : worst.state
    if (state !== this.state) this.since = this.#host.now()
    this.state = state
    this.reason = worst.reason
    this.attempt = worst.attempt
    this.#host.changed()
  }
}
