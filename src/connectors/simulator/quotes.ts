import type { Decoded } from '../connector.ts'
import { type Feed, type FeedContext, SIMULATED } from './feed.ts'
import { MarketModel } from './market-model.ts'
import { Random } from './random.ts'

/** Best prices, and the day's figures since the subscription. */
export class TickerFeed implements Feed {
  readonly #symbol: string
  readonly #model: MarketModel
  readonly #random: Random
  readonly #open: number
  #high: number
  #low: number
  #volume = 0

  constructor(symbol: string, { seed, rate }: FeedContext) {
    this.#symbol = symbol
    this.#model = new MarketModel(seed, symbol, rate)
    this.#random = new Random(`${seed}|ticker|${symbol}`)
    this.#open = this.#high = this.#low = this.#model.tradeTicks
  }

  step(time: number, emit: (update: Decoded) => void): void {
    const model = this.#model
    model.step()
    this.#high = Math.max(this.#high, model.tradeTicks)
    this.#low = Math.min(this.#low, model.tradeTicks)
    this.#volume += model.tradeLots
    const { orderLots } = model.instrument
    emit({
      kind: 'event',
      channel: 'ticker',
      symbol: this.#symbol,
      sourceTime: time,
      flags: SIMULATED,
      payload: {
        type: 'ticker',
        bid: model.price(model.bid),
        bidSize: model.size(this.#random.integer(1, 2 * orderLots)),
        ask: model.price(model.ask),
        askSize: model.size(this.#random.integer(1, 2 * orderLots)),
        last: model.price(model.tradeTicks),
        open: model.price(this.#open),
        high: model.price(this.#high),
        low: model.price(this.#low),
        volume: model.size(this.#volume),
      },
    })
  }
}

export class TradeFeed implements Feed {
  readonly #symbol: string
  readonly #model: MarketModel
  #id: number

  constructor(symbol: string, { seed, rate, startTime }: FeedContext) {
    this.#symbol = symbol
    this.#model = new MarketModel(seed, symbol, rate)
    this.#id = startTime
  }

  step(time: number, emit: (update: Decoded) => void): void {
    const model = this.#model
    model.step()
    emit({
      kind: 'event',
      channel: 'trades',
      symbol: this.#symbol,
      sourceTime: time,
      flags: SIMULATED,
      payload: {
        type: 'trade',
        id: String(this.#id++),
        price: model.price(model.tradeTicks),
        size: model.size(model.tradeLots),
        side: model.takerBuys ? 'buy' : 'sell',
      },
    })
  }
}
