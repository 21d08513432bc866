import { arrange, duration, flash, make, setText } from './dom.ts'
import type { Ticker } from './events.ts'

/** Symbols kept; further ones are counted and left out. */
const MAX_SYMBOLS = 5_000
/** Rows drawn; the filter reaches the others. */
const MAX_ROWS = 200

export interface Choice {
  readonly source: string
  readonly symbol: string
}

interface Price {
  readonly key: string
  readonly source: string
  readonly symbol: string
  ticker: Ticker
  /** `performance.now()` at its arrival. */
  arrived: number
  row: Row | undefined
}

interface Row {
  readonly root: HTMLTableRowElement
  readonly bid: HTMLElement
  readonly ask: HTMLElement
  readonly last: HTMLElement
  readonly change: HTMLElement
  readonly age: HTMLElement
}

type SortKey = 'symbol' | 'source' | 'last' | 'change'

/** The table of newest prices: sorted, filtered, repainted at a pace that eyes can follow. */
export class PricesView {
  readonly #body: HTMLElement
  readonly #note: HTMLElement
  readonly #choose: (choice: Choice) => void
  readonly #prices = new Map<string, Price>()
  #leftOut = 0
  #filter = ''
  #sortKey: SortKey = 'symbol'
  #descending = false
  #chosen = ''

  constructor(
    elements: { body: HTMLElement; note: HTMLElement; filter: HTMLInputElement; head: HTMLElement },
    choose: (choice: Choice) => void,
  ) {
    this.#body = elements.body
    this.#note = elements.note
    this.#choose = choose
    elements.filter.addEventListener('input', () => {
      this.#filter = elements.filter.value.trim().toUpperCase()
      this.paint()
    })
    const buttons = [...elements.head.querySelectorAll<HTMLButtonElement>('[data-sort]')]
    for (const button of buttons)
      button.addEventListener('click', () => {
        const key = button.dataset.sort as SortKey
        this.#descending = this.#sortKey === key && !this.#descending
        this.#sortKey = key
        for (const other of buttons) other.closest('th')?.removeAttribute('aria-sort')
        button.closest('th')?.setAttribute('aria-sort', this.#descending ? 'descending' : 'ascending')
        this.paint()
      })
  }

  take(ticker: Ticker): void {
    const key = `${ticker.source}|${ticker.symbol}`
    const arrived = performance.now()
    const price = this.#prices.get(key)
    if (price) {
      price.ticker = ticker
      price.arrived = arrived
    } else if (this.#prices.size >= MAX_SYMBOLS) this.#leftOut++
    else {
      const { source, symbol } = ticker
      this.#prices.set(key, { key, source, symbol, ticker, arrived, row: undefined })
    }
  }

  mark(choice: Choice): void {
    this.#chosen = `${choice.source}|${choice.symbol}`
    this.paint()
  }

  paint(): void {
    const matching = [...this.#prices.values()].filter(
      ({ key }) => this.#filter === '' || key.toUpperCase().includes(this.#filter),
    )
    matching.sort((a, b) => this.#compare(a, b))
    const shown = matching.slice(0, MAX_ROWS)
    const focused = document.activeElement
    arrange(
      this.#body,
      shown.map((price) => this.#draw(price)),
    )
    // Moving a row takes the focus from the button in it.
    if (focused instanceof HTMLElement && this.#body.contains(focused)) focused.focus({ preventScroll: true })
    setText(this.#note, this.#summary(shown.length, matching.length))
  }

  #summary(shown: number, matching: number): string {
    if (this.#prices.size === 0) return 'Waiting for the first price'
    const rest = this.#leftOut > 0 ? ` (only the first ${MAX_SYMBOLS} are kept)` : ''
    if (shown < matching) return `First ${shown} of ${matching}: filter to see others${rest}`
    return `${matching} of ${this.#prices.size} symbols${rest}`
  }

  #compare(a: Price, b: Price): number {
    const sign = this.#descending ? -1 : 1
    const byName = a.symbol.localeCompare(b.symbol) || a.source.localeCompare(b.source)
    if (this.#sortKey === 'symbol') return sign * byName
    if (this.#sortKey === 'source') return sign * a.source.localeCompare(b.source) || byName
    const value = this.#sortKey === 'last' ? lastOf : changeOf
    return sign * ((value(a.ticker) ?? 0) - (value(b.ticker) ?? 0)) || byName
  }

  #draw(price: Price): HTMLElement {
    price.row ??= this.#row(price)
    const { root, bid, ask, last, change, age } = price.row
    const { ticker } = price
    update(bid, ticker.bid)
    update(ask, ticker.ask)
    update(last, ticker.last)
    const percent = changeOf(ticker)
    const rounded = Number((percent ?? 0).toFixed(2))
    setText(change, percent === undefined ? '–' : `${rounded > 0 ? '+' : ''}${rounded.toFixed(2)} %`)
    change.dataset.sign = rounded > 0 ? 'up' : rounded < 0 ? 'down' : ''
    const silentMs = performance.now() - price.arrived
    setText(age, duration(silentMs))
    root.dataset.stale = String(silentMs > 10_000)
    if (price.key === this.#chosen) root.setAttribute('aria-current', 'true')
    else root.removeAttribute('aria-current')
    return root
  }

  #row({ source, symbol }: Price): Row {
    const root = make('tr')
    root.dataset.symbol = symbol
    const name = make('th')
    name.scope = 'row'
    const button = make('button', '', symbol)
    button.type = 'button'
    button.setAttribute('aria-label', `Show ${symbol} of ${source}`)
    name.append(button)
    const bid = make('td', 'number')
    const ask = make('td', 'number')
    const last = make('td', 'number strong')
    const change = make('td', 'number wide')
    const age = make('td', 'number wide faint')
    root.append(name, make('td', 'wide faint', source), bid, ask, last, change, age)
    root.addEventListener('click', () => this.#choose({ source, symbol }))
    return { root, bid, ask, last, change, age }
  }
}

function lastOf({ last, bid }: Ticker): number | undefined {
  const value = Number(last ?? bid)
  return Number.isFinite(value) ? value : undefined
}

/** Since `open`, in percent. */
function changeOf(ticker: Ticker): number | undefined {
  const last = lastOf(ticker)
  const open = Number(ticker.open)
  return last === undefined || !(open > 0) ? undefined : (100 * (last - open)) / open
}

/** Shows a price as it was sent, and for a moment which way it went. */
function update(cell: HTMLElement, text = '–'): void {
  const before = cell.textContent ?? ''
  if (before === text) return
  cell.textContent = text
  if (before !== '') flash(cell, Number(text) - Number(before))
}
