import type { MarketTrade, Truth } from '../../src/exchange/exchange.ts'
import { BookFollower } from '../../src/market/book-follower.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import type { Gap, Level, Trade } from '../../src/market/event.ts'

const textOf = (bids: readonly Level[], asks: readonly Level[]) => JSON.stringify([bids, asks])

/** Every book that a market had, and the book that a client makes of the events of its topic. */
export class BookWatch {
  readonly #truth: Truth
  readonly #depth: number | undefined
  /** Steps that a book may lie back: what proves books without numbers says nothing of their order. */
  readonly #back: number
  /** The steps after which the book was so, by its text. */
  readonly #steps = new Map<string, number[]>()
  readonly #client = new BookFollower<EncodedEvent>()
  /** Of the step that the client's book is of. */
  #at = 0
  #text: string | undefined
  /** The first event that made a book which the venue never had, or not any more. */
  wrong: string | undefined

  constructor(truth: Truth, options: { readonly depth?: number; readonly numbered?: boolean } = {}) {
    this.#truth = truth
    this.#depth = options.depth
    this.#back = options.numbered === false ? 1 : 0
    this.stepped()
  }

  /** The market made a step. */
  stepped(): void {
    const text = this.#now()
    const steps = this.#steps.get(text)
    if (steps) steps.push(this.#truth.seq)
    else this.#steps.set(text, [this.#truth.seq])
  }

  #now(): string {
    const { bids, asks } = this.#truth.book(this.#depth)
    return textOf(bids, asks)
  }

  take(event: EncodedEvent): void {
    this.#client.apply(event)
    const image = this.#client.image()
    this.#text = image && textOf(image.bids, image.asks)
    if (this.#text === undefined) return
    const { payload } = event
    // A snapshot may be of long ago: it says so by its place among the messages, and is made up for or replaced.
    if (payload.type === 'orderbook' && payload.kind === 'snapshot') this.#at = 0
    const step = this.#steps.get(this.#text)?.find((one) => one >= this.#at - this.#back)
    if (step !== undefined) this.#at = step
    else
      this.wrong ??= `after seq ${event.seq} (${event.bytes.toString().slice(0, 300)}) the book is none of the venue's`
  }

  /** The client's book is that of the venue, as it is. */
  get isCurrent(): boolean {
    return this.#text !== undefined && this.#text === this.#now()
  }
}

export interface Hole {
  readonly gap: Gap
  /** Of the trades before and behind it in the topic; the second is undefined while none came. */
  readonly after: number
  readonly before: number | undefined
  repaired: boolean
}

/** Every trade that a market had, and those that came, with the holes that were told. */
export class TradeWatch {
  readonly #truth: Truth
  readonly #made: MarketTrade[] = []
  /** How often each came, by its place among those made. */
  readonly #came = new Map<number, number>()
  readonly #holes: Hole[] = []
  #newest = -1
  #first: number | undefined

  constructor(truth: Truth) {
    this.#truth = truth
  }

  stepped(): void {
    if (this.#truth.trade) this.#made.push(this.#truth.trade)
  }

  take({ payload, eventTime }: EncodedEvent): void {
    if (payload.type === 'gap') this.#takeGap(payload)
    if (payload.type !== 'trade') return
    const place = this.#placeOf(payload, eventTime)
    // The last of before the market began.
    if (place < 0) return
    this.#first ??= place
    this.#came.set(place, (this.#came.get(place) ?? 0) + 1)
    for (const hole of this.#holes) if (hole.before === undefined) Object.assign(hole, { before: place })
    this.#newest = Math.max(this.#newest, place)
  }

  #takeGap(gap: Gap): void {
    const same = ({ gap: one }: Hole) => one.fromTime === gap.fromTime && one.toTime === gap.toTime
    if (gap.repairedBy === undefined)
      this.#holes.push({ gap, after: this.#newest, before: undefined, repaired: false })
    else for (const hole of this.#holes.filter(same)) hole.repaired = true
  }

  /** Ids of the markets count by one; Bybit's and those above 2^53 end in them. Kraken v1 has none, but exact times. */
  #placeOf({ id, price, size }: Trade, time: number): number {
    const first = this.#made[0]?.id ?? 0
    if (id !== undefined) {
      const digits = BigInt(id.replaceAll('-', '').slice(-20))
      const number =
        digits > 2n ** 60n ? digits % 10n ** 8n : digits > 2n ** 53n ? digits - 2n ** 53n : digits
      return Number(number) - first
    }
    const exact = this.#made.findIndex((trade) => trade.time === time)
    if (exact >= 0) return exact
    return this.#made.findIndex(
      (trade, place) => trade.price === price && trade.size === size && place > this.#newest,
    )
  }

  get made(): number {
    return this.#made.length
  }

  get holes(): readonly Hole[] {
    return this.#holes
  }

  get doubled(): readonly number[] {
    return [...this.#came].filter(([, times]) => times > 1).map(([place]) => place)
  }

  /** Since the first that came. */
  get missing(): readonly number[] {
    const first = this.#first ?? this.#made.length
    return this.#made.map((_, place) => place).filter((place) => place >= first && !this.#came.has(place))
  }

  /** Those missing of which no client was told that they may be. */
  get untold(): readonly number[] {
    return this.missing.filter(
      (place) =>
        !this.#holes.some(
          ({ repaired, after, before = Number.POSITIVE_INFINITY }) =>
            !repaired && place > after && place < before,
        ),
    )
  }
}
