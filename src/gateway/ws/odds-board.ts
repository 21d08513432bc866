import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { Micros, Odds, OddsMarket, OddsPrice } from '../../market/event.ts'
import { textFrame } from './frame.ts'
import { timestampOf } from './legacy-session.ts'
import type { FeedReader, TopicFeed } from './topic-feed.ts'

interface Market {
  /** Its first selection: by the market's own order, else the first one seen. */
  first: string | undefined
  /** Is `first` the market's own order? */
  ordered: boolean
  name: string
  /** Best back price by selection. */
  readonly prices: Map<string, { readonly odds: string; readonly time: Micros }>
  /** What was sent last, and its frame. */
  shown: string | undefined
  frame: Buffer | undefined
}

/** Bounded by what a feed keeps of an event; beyond these an event's further markets are left out. */
const MAX_MARKETS = 1_000
const MAX_SELECTIONS = 1_000

/** One event as `/ws/odds` shows it: of each market the best back price of the first selection, encoded once. */
export class OddsBoard implements FeedReader {
  readonly feed: TopicFeed
  readonly followers = new Set<(marketId: string, frame: Buffer) => void>()
  readonly #markets = new Map<string, Market>()

  /** The feed's one board, made for its first follower. */
  static of(feed: TopicFeed): OddsBoard {
    for (const reader of feed.readers) if (reader instanceof OddsBoard) return reader
    return new OddsBoard(feed)
  }

  constructor(feed: TopicFeed) {
    this.feed = feed
    for (const event of feed.values.values()) this.#apply(event)
    feed.readers.add(this)
  }

  leave(follower: (marketId: string, frame: Buffer) => void): void {
    this.followers.delete(follower)
    if (this.followers.size === 0) this.feed.readers.delete(this)
  }

  /** What a client who comes now is shown, one frame a market. */
  *current(): Iterable<[marketId: string, frame: Buffer]> {
    for (const [marketId, { frame }] of this.#markets) if (frame) yield [marketId, frame]
  }

  take(event: EncodedEvent): void {
    const changed = this.#apply(event)
    const frame = changed === undefined ? undefined : this.#markets.get(changed)?.frame
    if (frame) for (const show of this.followers) show(changed as string, frame)
  }

  resync(): void {}

  reload(): void {
    for (const event of this.feed.values.values()) this.take(event)
  }

  /** The market whose shown price changed. */
  #apply(event: EncodedEvent): string | undefined {
    if (event.type !== 'odds') return undefined
    const odds = event.payload as Odds
    if (odds.kind === 'result') return undefined
    const market = this.#marketOf(odds)
    if (!market) return undefined
    if (odds.kind === 'market') {
      const [first] = odds.selections
      if (first) Object.assign(market, { first: first.selectionId, ordered: true, name: odds.market })
    } else this.#price(market, odds, event.eventTime)
    return this.#show(market, odds) ? odds.marketId : undefined
  }

  #marketOf({ marketId, market: name }: OddsMarket | OddsPrice): Market | undefined {
    let market = this.#markets.get(marketId)
    if (market || this.#markets.size >= MAX_MARKETS) return market
    market = { first: undefined, ordered: false, name, prices: new Map(), shown: undefined, frame: undefined }
    this.#markets.set(marketId, market)
    return market
  }

  #price(market: Market, price: OddsPrice, time: Micros): void {
    if (price.side !== 'back' || price.level !== 0) return
    if (!market.ordered) market.first ??= price.selectionId
    if (market.prices.has(price.selectionId) || market.prices.size < MAX_SELECTIONS)
      market.prices.set(price.selectionId, { odds: price.odds, time })
  }

  /** Makes the frame anew if what is shown changed. */
  #show(market: Market, { eventId }: OddsMarket | OddsPrice): boolean {
    const price = market.first === undefined ? undefined : market.prices.get(market.first)
    if (!price) {
      market.shown = market.frame = undefined
      return false
    }
    const odd = Number(price.odds)
    const shown = `${market.first}|${odd}`
    if (shown === market.shown) return false
    market.shown = shown
    const update = {
      eventId,
      market: market.name,
      odd: Number(price.odds),
      timestamp: timestampOf(price.time),
    }
    market.frame = textFrame(JSON.stringify(update))
    return true
  }
}
