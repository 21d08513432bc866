import type { Connector, Subscription } from '../connectors/connector.ts'
import type { FetchTrades } from './backfill.ts'
import { createTradeKeeper, Feed, type FeedContext, fetchTradesOf, topicOfFeed } from './feed.ts'
import { MergedBook } from './merged-book.ts'
import { MergedTrades } from './merged-trades.ts'
import { type Merge, type MergeHost, type Side, SideOutput, type Tally } from './sides.ts'
import { Standby } from './standby.ts'
import { StandbyBook } from './standby-book.ts'

/** A side that polls is silent when so many polls brought nothing. */
const MISSED_POLLS = 3

/** One subscription on both sides. */
export interface MergedFeeds {
  readonly feeds: readonly [Feed, Feed]
  /** Every second. */
  sweep(): void
  close(): void
}

/** One subscription on both sides, each with its context, and what it has done. */
export function mergeFeeds(
  subscription: Subscription,
  contexts: readonly [FeedContext, FeedContext],
  tallies: readonly [Tally, Tally],
): MergedFeeds {
  const { source, connector, patience, now, writers } = contexts[0]
  const feeds: Feed[] = []
  // Of two sides that are polled by turns, one is always newer, and the other not silent for that.
  const turnsMs = MISSED_POLLS * (connector.pollMs?.(subscription) ?? 0)
  const host: MergeHost = {
    writer: writers.of(topicOfFeed(source, subscription)),
    patience: { ...patience, sideSilentMs: Math.max(patience.sideSilentMs, turnsMs) },
    now,
    image: (side) => feeds[side]?.image(),
    first: (side) => tallies[side].first++,
    filled: (side) => tallies[side].filled++,
  }
  if (subscription.channel === 'trades' && !connector.tradeRules.withoutIds) {
    const fetch = fromEither(contexts, subscription.symbol)
    const trades = new MergedTrades(
      host,
      createTradeKeeper(host.writer, contexts[0], fetch, () => {}),
      connector.tradeRules,
    )
    const feedOf = (side: Side) =>
      new Feed(subscription, {
        ...contexts[side],
        side: { trades: (changed) => trades.keeperOf(side, changed), changed: () => {} },
      })
    return { feeds: [feedOf(0), feedOf(1)], sweep: () => {}, close: () => {} }
  }
  const merge = createMerge(host, subscription, connector)
  const feedOf = (side: Side) => {
    const output = new SideOutput(host.writer, merge, side)
    const changed = (state: Parameters<Merge['changed']>[1]) => merge.changed(side, state)
    const feed = new Feed(subscription, {
      ...contexts[side],
      writers: { of: () => output },
      side: { changed },
    })
    feeds[side] = feed
    return feed
  }
  return { feeds: [feedOf(0), feedOf(1)], sweep: () => merge.sweep(), close: () => merge.close() }
}

function createMerge(host: MergeHost, { channel }: Subscription, { bookRules }: Connector): Merge {
  if (channel !== 'orderbook') return new Standby(host)
  return bookRules.follows ? new MergedBook(host) : new StandbyBook(host)
}

/** Trades that neither side had are asked of the second host where the first does not answer. */
function fromEither([a, b]: readonly [FeedContext, FeedContext], symbol: string): FetchTrades | undefined {
  const [one, other] = [fetchTradesOf(a, symbol), fetchTradesOf(b, symbol)]
  return one && other && ((wanted, signal) => one(wanted, signal).catch(() => other(wanted, signal)))
}
