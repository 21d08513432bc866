import type { BookPayload, Level } from '../market/event.ts'
import { OrderBook } from '../market/order-book.ts'
import type { Said, Side } from './sides.ts'
import { Standby } from './standby.ts'

type Levels = Pick<BookPayload, 'bids' | 'asks'>

/**
 * A book whose venue numbers nothing. Each side's keeper proves a book of its own, as far as the venue lets it. What the
 * other side said is taken up only where it makes its book of the published one; else its book replaces that.
 */
export class StandbyBook extends Standby {
  /** As clients have it. */
  readonly #published = new OrderBook()
  #depth = 0

  protected override remember(said: Said): void {
    if (bookOf(said).kind === 'snapshot') this.remembered = []
    else super.remember(said)
  }

  /** Our own checksums come at times that differ. */
  protected override isSame(one: Said, other: Said): boolean {
    if (one.stamp.sourceTime !== other.stamp.sourceTime) return false
    const [a, b] = [bookOf(one), bookOf(other)]
    return textOf(a.bids) === textOf(b.bids) && textOf(a.asks) === textOf(b.asks)
  }

  protected override missing(side: Side): readonly Said[] | undefined {
    const image = this.host.image(side)
    if (!image || image.depth !== this.#depth) return undefined
    const now = levelsOf(this.#published)
    if (isEqual(now, image)) return []
    const missing = this.saidAfter()
    if (!missing) return undefined
    const book = new OrderBook()
    book.reset(now.bids, now.asks)
    for (const said of missing) book.apply(bookOf(said).bids, bookOf(said).asks)
    return isEqual(levelsOf(book), image) ? missing : undefined
  }

  protected override beginning(side: Side): readonly Said[] {
    const payload = this.host.image(side)
    const { sourceTime } = this.remembered.at(-1)?.stamp ?? {}
    return payload ? [{ payload, stamp: { receivedTime: this.host.now(), sourceTime } }] : []
  }

  protected override published(said: Said): void {
    super.published(said)
    const { kind, bids, asks, depth } = bookOf(said)
    this.#depth = depth
    if (kind === 'snapshot') this.#published.reset(bids, asks)
    else this.#published.apply(bids, asks)
  }
}

function bookOf({ payload }: Said): BookPayload {
  if (payload.type !== 'orderbook') throw new TypeError(`${payload.type} in a book`)
  return payload
}

function levelsOf(book: OrderBook): Levels {
  return {
    bids: book.top('bids', Number.POSITIVE_INFINITY),
    asks: book.top('asks', Number.POSITIVE_INFINITY),
  }
}

function isEqual(one: Levels, other: Levels): boolean {
  return textOf(one.bids) === textOf(other.bids) && textOf(one.asks) === textOf(other.asks)
}

function textOf(levels: readonly Level[]): string {
  return levels.join(' ')
}
