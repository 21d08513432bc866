import { make, setText } from './dom.ts'
import type { Book, Level } from './events.ts'

export const DEPTH = 10

interface Rung {
  readonly root: HTMLElement
  readonly price: HTMLElement
  readonly size: HTMLElement
}

/** The ladder: asks above, bids below, best in the middle, a bar for each size. */
export class BookView {
  readonly #table: HTMLElement
  readonly #spread: HTMLElement
  readonly #note: HTMLElement
  readonly #rungs: { asks: readonly Rung[]; bids: readonly Rung[] }
  readonly #levels = { asks: new Map<string, string>(), bids: new Map<string, string>() }
  /** Called when events are missing: the book is asked for again. */
  readonly #lost: () => void
  #epoch = 0
  #seq = 0
  #complete = false

  constructor(
    elements: {
      table: HTMLElement
      asks: HTMLElement
      bids: HTMLElement
      spread: HTMLElement
      note: HTMLElement
    },
    lost: () => void,
  ) {
    this.#table = elements.table
    this.#spread = elements.spread
    this.#note = elements.note
    this.#lost = lost
    this.#rungs = { asks: rungs(elements.asks, 'Ask'), bids: rungs(elements.bids, 'Bid') }
  }

  /** Empties the ladder for another symbol; `note` says what to expect. */
  clear(note: string): void {
    this.#complete = false
    this.#levels.asks.clear()
    this.#levels.bids.clear()
    setText(this.#note, note)
    this.paint()
  }

  take(book: Book): void {
    if (book.kind === 'snapshot') {
      this.#levels.asks = new Map(book.asks)
      this.#levels.bids = new Map(book.bids)
      this.#complete = true
      setText(this.#note, '')
    } else {
      if (!this.#complete) return
      // `prev` names the event sent before, where that is not the one numbered before.
      if (book.epoch !== this.#epoch || (book.prev ?? book.seq - 1) !== this.#seq) {
        this.clear('Events are missing: asking for the book again')
        this.#lost()
        return
      }
      apply(this.#levels.asks, book.asks)
      apply(this.#levels.bids, book.bids)
    }
    this.#epoch = book.epoch
    this.#seq = book.seq
  }

  paint(): void {
    const asks = best(this.#levels.asks, 1)
    const bids = best(this.#levels.bids, -1)
    const most = Math.max(...asks.map(sizeOf), ...bids.map(sizeOf), Number.MIN_VALUE)
    draw(this.#rungs.asks, [...blanks(asks.length), ...asks.toReversed()], most)
    draw(this.#rungs.bids, [...bids, ...blanks(bids.length)], most)
    this.#table.dataset.levels = String(asks.length + bids.length)
    setText(this.#spread, spreadOf(bids[0]?.[0], asks[0]?.[0]))
  }
}

function rungs(body: HTMLElement, side: string): Rung[] {
  return Array.from({ length: DEPTH }, () => {
    const root = make('tr')
    root.dataset.side = side.toLowerCase()
    const name = make('th', '', side)
    name.scope = 'row'
    const price = make('td', 'number')
    const size = make('td', 'number size')
    root.append(name, price, size)
    body.append(root)
    return { root, price, size }
  })
}

function apply(side: Map<string, string>, levels: readonly Level[]): void {
  for (const [price, size] of levels) {
    if (size === '0') side.delete(price)
    else side.set(price, size)
  }
}

function best(side: ReadonlyMap<string, string>, away: 1 | -1): Level[] {
  return [...side].sort(([a], [b]) => (Number(a) - Number(b)) * away).slice(0, DEPTH)
}

function blanks(have: number): undefined[] {
  return Array.from({ length: DEPTH - have })
}

function sizeOf([, size]: Level): number {
  return Number(size)
}

function draw(onto: readonly Rung[], levels: readonly (Level | undefined)[], most: number): void {
  for (const [i, { root, price, size }] of onto.entries()) {
    const level = levels[i]
    setText(price, level?.[0] ?? ' ')
    setText(size, level?.[1] ?? ' ')
    root.style.setProperty('--share', level ? (sizeOf(level) / most).toFixed(3) : '0')
  }
}

/** In the decimals of the prices. */
function spreadOf(bid: string | undefined, ask: string | undefined): string {
  if (bid === undefined || ask === undefined) return '–'
  return (Number(ask) - Number(bid)).toFixed(ask.split('.')[1]?.length ?? 0)
}
