import { flash, make, setText } from './dom.ts'
import type { OddsMarket, OddsPrice } from './events.ts'

/** Markets and selections drawn for one match; further ones are left out. */
const MAX_MARKETS = 40
const MAX_SELECTIONS = 60

interface MarketCard {
  readonly root: HTMLElement
  readonly title: HTMLElement
  readonly phase: HTMLElement
  readonly status: HTMLElement
  readonly version: HTMLElement
  readonly body: HTMLElement
  readonly rows: Map<
    string,
    { readonly odds: HTMLElement; readonly size: HTMLElement; readonly state: HTMLElement }
  >
}

/** The markets of one match: each selection's best back price, and whether it can be had now. */
export class OddsView {
  readonly #root: HTMLElement
  readonly #note: HTMLElement
  readonly #markets = new Map<string, MarketCard>()
  #eventId = ''

  constructor(root: HTMLElement, note: HTMLElement) {
    this.#root = root
    this.#note = note
  }

  /** Shows another match. */
  open(eventId: string): void {
    this.#eventId = eventId
    this.#markets.clear()
    this.#root.replaceChildren()
    setText(this.#note, `Waiting for ${eventId}`)
  }

  take(odds: OddsMarket | OddsPrice): void {
    if (odds.eventId !== this.#eventId) return
    const card = this.#card(odds)
    if (!card) return
    setText(this.#note, `${this.#eventId}, ${odds.source}: decimal odds, best back price`)
    if (odds.kind === 'market') this.#market(card, odds)
    else if (odds.kind === 'price' && odds.side === 'back' && odds.level === 0) this.#price(card, odds)
  }

  #market(card: MarketCard, market: OddsMarket): void {
    setText(card.title, market.line === undefined ? market.market : `${market.market} ${market.line}`)
    setText(card.phase, market.phase)
    card.phase.dataset.state = market.phase
    setText(card.status, market.status)
    card.status.dataset.state = market.status
    card.root.dataset.status = market.status
    setText(card.version, `v${market.version}`)
    for (const { selectionId, name, status } of market.selections) {
      const row = this.#row(card, selectionId, name)
      if (row) setText(row.state, status)
    }
  }

  #price(card: MarketCard, price: OddsPrice): void {
    const row = this.#row(card, price.selectionId, price.selection)
    if (!row) return
    const before = Number(row.odds.textContent)
    setText(row.odds, price.odds)
    setText(row.size, price.size ?? '–')
    if (before > 0) flash(row.odds, Number(price.odds) - before)
  }

  #card({ source, marketId, market }: OddsMarket | OddsPrice): MarketCard | undefined {
    const key = `${source}|${marketId}`
    const known = this.#markets.get(key)
    if (known) return known
    if (this.#markets.size >= MAX_MARKETS) return undefined
    const root = make('article', 'market')
    const head = make('div', 'market-head')
    const title = make('h3', '', market)
    const phase = make('span', 'badge')
    const status = make('span', 'badge')
    const version = make('span', 'faint')
    head.append(title, version, phase, status)
    const table = make('table')
    const headings = make('tr')
    for (const [text, className] of [
      ['Selection', ''],
      ['Back', 'number'],
      ['Size', 'number'],
      ['Status', 'number'],
    ] as const) {
      const cell = make('th', className, text)
      cell.scope = 'col'
      headings.append(cell)
    }
    const top = make('thead')
    top.append(headings)
    const body = make('tbody')
    table.append(top, body)
    root.append(head, table)
    this.#root.append(root)
    const card = { root, title, phase, status, version, body, rows: new Map() }
    this.#markets.set(key, card)
    return card
  }

  #row(card: MarketCard, selectionId: string, name: string) {
    const known = card.rows.get(selectionId)
    if (known) return known
    if (card.rows.size >= MAX_SELECTIONS) return undefined
    const root = make('tr')
    const label = make('th', '', name)
    label.scope = 'row'
    const row = {
      odds: make('td', 'number odd'),
      size: make('td', 'number'),
      state: make('td', 'number faint'),
    }
    root.append(label, row.odds, row.size, row.state)
    card.body.append(root)
    card.rows.set(selectionId, row)
    return row
  }
}
