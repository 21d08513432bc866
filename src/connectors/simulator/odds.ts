import type { OddsMarket, OddsPrice } from '../../market/event.ts'
import type { Decoded } from '../connector.ts'
import { type Feed, type FeedContext, SIMULATED } from './feed.ts'
import { fixed } from './market-model.ts'
import { Random } from './random.ts'

const TEAMS = [
  'Northport United',
  'Eastvale Rovers',
  'Kingsford City',
  'Harrow Athletic',
  'Silverlake FC',
  'Redmoor Wanderers',
  'Ashby Town',
  'Lindholm',
  'Porto Novo',
  'Vila Serena',
  'Castelmar',
  'Brightwater',
] as const

/** The house's share: the sum of 1/odds over a market. */
const OVERROUND = 1.05
const BET_DELAY_SECONDS = 5

interface Selection {
  readonly id: string
  readonly name: string
  /** Relative chance; odds follow from its share of the market. */
  weight: number
  /** Hundredths. */
  odds: number
}

interface Market {
  readonly id: string
  readonly name: string
  readonly line?: string
  readonly selections: readonly Selection[]
}

/** One match in play: a result market and a totals market that move, are suspended together and open again. */
export class OddsFeed implements Feed {
  readonly #eventId: string
  readonly #random: Random
  readonly #markets: readonly Market[]
  #version = 0
  /** Steps until the markets open again; 0: open. */
  #suspendedFor = 0

  constructor(eventId: string, { seed }: FeedContext) {
    this.#eventId = eventId
    this.#random = new Random(`${seed}|odds|${eventId}`)
    const number = Number(eventId.slice(-3))
    const home = TEAMS[(2 * number) % TEAMS.length] as string
    const away = TEAMS[(2 * number + 1) % TEAMS.length] as string
    this.#markets = [
      this.#market('1X2', 'Match Odds', undefined, ['1', home], ['X', 'Draw'], ['2', away]),
      this.#market('OU25', 'Total Goals', '2.5', ['OVER', 'Over 2.5'], ['UNDER', 'Under 2.5']),
    ]
  }

  step(time: number, emit: (update: Decoded) => void): void {
    if (this.#version === 0) this.#open(time, emit)
    else if (this.#suspendedFor > 0) {
      if (--this.#suspendedFor === 0) this.#open(time, emit)
    } else if (this.#random.chance(0.012)) {
      this.#suspendedFor = this.#random.integer(4, 10)
      this.#announce('SUSPENDED', time, emit)
    } else this.#drift(time, emit)
  }

  /** A goal, or the start: every market changes, then opens at once with all its prices. */
  #open(time: number, emit: (update: Decoded) => void): void {
    for (const market of this.#markets) {
      for (const selection of market.selections)
        selection.weight = bounded(selection.weight * (0.6 + 0.8 * this.#random.unit()))
      quote(market)
    }
    this.#announce('OPEN', time, emit)
    for (const market of this.#markets)
      for (const selection of market.selections) emit(this.#price(market, selection, time))
  }

  #drift(time: number, emit: (update: Decoded) => void): void {
    const market = this.#random.pick(this.#markets)
    const moved = this.#random.pick(market.selections)
    const before = market.selections.map((selection) => selection.odds)
    moved.weight = bounded(moved.weight * (0.975 + 0.05 * this.#random.unit()))
    quote(market)
    for (const [i, selection] of market.selections.entries())
      if (selection === moved || selection.odds !== before[i]) emit(this.#price(market, selection, time))
  }

  #announce(status: 'OPEN' | 'SUSPENDED', time: number, emit: (update: Decoded) => void): void {
    this.#version++
    for (const market of this.#markets) {
      emit(
        this.#event(time, {
          type: 'odds',
          kind: 'market',
          eventId: this.#eventId,
          marketId: market.id,
          market: market.name,
          ...(market.line === undefined ? {} : { line: market.line }),
          phase: 'LIVE',
          status,
          version: this.#version,
          betDelay: BET_DELAY_SECONDS,
          selections: market.selections.map(({ id, name }) => ({ selectionId: id, name, status })),
        }),
      )
    }
  }

  #price(market: Market, selection: Selection, time: number): Decoded {
    const odds = fixed(selection.odds, 2)
    return this.#event(time, {
      type: 'odds',
      kind: 'price',
      eventId: this.#eventId,
      marketId: market.id,
      market: market.name,
      ...(market.line === undefined ? {} : { line: market.line }),
      selectionId: selection.id,
      selection: selection.name,
      side: 'back',
      level: 0,
      odds,
      size: fixed(this.#random.integer(2_000, 250_000), 2),
      sourcePrice: odds,
      sourceFormat: 'decimal',
      marketVersion: this.#version,
    })
  }

  #event(time: number, payload: OddsMarket | OddsPrice): Decoded {
    return {
      kind: 'event',
      channel: 'odds',
      symbol: this.#eventId,
      sourceTime: time,
      flags: SIMULATED,
      payload,
    }
  }

  #market(
    id: string,
    name: string,
    line: string | undefined,
    ...selections: readonly (readonly [id: string, name: string])[]
  ): Market {
    return {
      id: `${this.#eventId}-${id}`,
      name,
      ...(line === undefined ? {} : { line }),
      selections: selections.map(([selectionId, selection]) => ({
        id: selectionId,
        name: selection,
        weight: this.#random.integer(250, 600),
        odds: 0,
      })),
    }
  }
}

/** Keeps any selection between favourite and outsider, so that odds stay between about 1.01 and 50. */
function bounded(weight: number): number {
  return Math.min(4_000, Math.max(100, weight))
}

function quote(market: Market): void {
  let total = 0
  for (const selection of market.selections) total += selection.weight
  for (const selection of market.selections)
    selection.odds = Math.max(101, Math.floor((100 * total) / (OVERROUND * selection.weight)))
}
