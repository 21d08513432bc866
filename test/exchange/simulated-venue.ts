import { type Exchange, type ExchangeOptions, startExchange } from '../../src/exchange/exchange.ts'
import type { SourceSpec } from '../../src/manager/manager.ts'
import { OrderBook } from '../../src/market/order-book.ts'
import { startUpstream, type Upstream, type Wire } from '../manager/venue-world.ts'

const open: { close(): unknown }[] = []

export async function closeAll(): Promise<void> {
  for (const one of open.splice(0).reverse()) await one.close()
}

/** With the markets standing still, so that tests say when something happens. */
export async function exchangeOf(venue: string, options: Partial<ExchangeOptions> = {}): Promise<Exchange> {
  const exchange = await startExchange({ venue, rate: 0, ...options })
  open.push(exchange)
  return exchange
}

/** A gateway's upstream half with one source: the exchange. */
export async function sourceOf(exchange: Exchange, spec: Partial<SourceSpec>): Promise<Upstream> {
  const upstream = await startUpstream([
    {
      id: 'x',
      kind: exchange.venue,
      url: exchange.url,
      restUrl: exchange.restUrl,
      reconnect: { baseMs: 20, capMs: 100 },
      subscriptions: [],
      ...spec,
    },
  ])
  open.push({ close: () => upstream.stop() })
  return upstream
}

/** A client's book, made of the events of its topic; undefined while it is not known. */
export function bookOf(
  events: readonly Wire[],
): { bids: [string, string][]; asks: [string, string][] } | undefined {
  let book: OrderBook | undefined
  for (const event of events) {
    if (event.type === 'gap') book = undefined
    else if (event.kind === 'snapshot') {
      book = new OrderBook()
      book.reset(event.bids, event.asks)
    } else book?.apply(event.bids, event.asks)
  }
  const side = (name: 'bids' | 'asks') =>
    book!.top(name, Number.POSITIVE_INFINITY).map(([price, size]): [string, string] => [price, size])
  return book && { bids: side('bids'), asks: side('asks') }
}
