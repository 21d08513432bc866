import { BookView, DEPTH } from './book.ts'
import { CandleChart } from './chart.ts'
import { byId, make, setText } from './dom.ts'
import type { DataEvent, SourceStatus, StoredCandle, Ticker } from './events.ts'
import type { Choice } from './prices.ts'
import type { Session } from './session.ts'

/** Seconds. */
const TIMEFRAMES = { '1s': 1, '1m': 60, '5m': 300, '15m': 900, '1h': 3_600 } as const
type Timeframe = keyof typeof TIMEFRAMES
/** Candles asked of the history. */
const HISTORY = 300
/** With fewer stored minutes than this a first look shows seconds instead. */
const ENOUGH = 5

/** Everything about the chosen symbol: chart, quote and book. */
export class SymbolPanel {
  readonly #session: Session
  readonly #chart = new CandleChart(byId('chart'))
  readonly #book: BookView
  readonly #tabs = new Map<Timeframe, HTMLButtonElement>()
  #sources: readonly SourceStatus[] = []
  #choice: Choice | undefined
  #timeframe: Timeframe = '1m'
  /** Who makes the live candles: the venue, or this page from trades or from the ticker. */
  #origin: 'ohlcv' | 'trades' | 'ticker' = 'ticker'
  #load = new AbortController()
  #quote: Ticker | undefined

  constructor(session: Session) {
    this.#session = session
    this.#book = new BookView(
      {
        table: byId('book'),
        asks: byId('asks'),
        bids: byId('bids'),
        spread: byId('spread'),
        note: byId('book-note'),
      },
      () => session.again('book'),
    )
    for (const timeframe of Object.keys(TIMEFRAMES) as Timeframe[]) {
      const tab = make('button', '', timeframe)
      tab.type = 'button'
      tab.addEventListener('click', () => this.#open(timeframe))
      byId('timeframes').append(tab)
      this.#tabs.set(timeframe, tab)
    }
    this.#press()
  }

  get choice(): Choice | undefined {
    return this.#choice
  }

  /** What sources carry decides where candles and books come from; a change of it is followed. */
  know(sources: readonly SourceStatus[]): void {
    this.#sources = sources
    if (!this.#choice) return
    if (this.#originOf(this.#timeframe) !== this.#origin) this.#open(this.#timeframe)
    this.#wantBook()
  }

  choose(choice: Choice): void {
    const first = this.#choice === undefined
    this.#choice = choice
    this.#quote = undefined
    setText(byId('chart-title'), choice.symbol)
    setText(byId('chart-quote'), choice.source)
    this.#session.want('book', undefined)
    this.#book.clear('')
    this.#wantBook()
    this.#open(this.#timeframe, first)
  }

  /** Everything again, from the history on. */
  reload(): void {
    this.#open(this.#timeframe)
  }

  take(event: DataEvent): void {
    const choice = this.#choice
    if (!choice || event.source !== choice.source || event.symbol !== choice.symbol) return
    const length = TIMEFRAMES[this.#timeframe] * 1e6
    const time = event.sourceTime ?? event.receivedTime
    if (event.type === 'orderbook') this.#book.take(event)
    else if (event.type === 'ohlcv') {
      if (event.timeframe === this.#timeframe) this.#chart.take(event)
    } else if (event.type === 'trade') {
      if (this.#origin === 'trades') this.#chart.tick(event.price, event.size, time, length)
    } else if (event.type === 'ticker') {
      this.#quote = event
      const price = event.last ?? event.bid
      if (this.#origin === 'ticker' && price !== undefined) this.#chart.tick(price, '0', time, length)
    }
  }

  paint(): void {
    this.#chart.paint()
    this.#book.paint()
    if (!this.#choice) return
    setText(byId('chart-quote'), `${this.#quote?.last ?? '–'} · ${this.#choice.source}`)
    this.#chart.describe(`${this.#choice.symbol}, ${this.#timeframe}`)
  }

  recolour(): void {
    this.#chart.recolour()
    this.#chart.paint()
  }

  #carries(channel: string, timeframe?: string): boolean {
    const source = this.#sources.find(({ id }) => id === this.#choice?.source)
    return (source?.topics ?? []).some(
      (topic) =>
        topic.channel === channel &&
        topic.symbol === this.#choice?.symbol &&
        (timeframe === undefined || topic.timeframe === timeframe),
    )
  }

  #originOf(timeframe: Timeframe): 'ohlcv' | 'trades' | 'ticker' {
    if (this.#carries('ohlcv', timeframe)) return 'ohlcv'
    return this.#carries('trades') ? 'trades' : 'ticker'
  }

  #wantBook(): void {
    if (!this.#choice) return
    const { source, symbol } = this.#choice
    const carried = this.#carries('orderbook')
    if (!carried) this.#book.clear(`${source} carries no book of ${symbol}`)
    this.#session.want(
      'book',
      carried ? { channel: 'orderbook', source, symbols: [symbol], depth: DEPTH } : undefined,
    )
  }

  /** `mayShorten`: with hardly any history, seconds say more than one lone minute. */
  #open(timeframe: Timeframe, mayShorten = false): void {
    if (!this.#choice) return
    const { source, symbol } = this.#choice
    this.#timeframe = timeframe
    this.#press()
    this.#chart.clear()
    this.#origin = this.#originOf(timeframe)
    const channel = this.#origin
    this.#session.want(
      'candles',
      channel === 'ticker'
        ? undefined
        : { channel, source, symbols: [symbol], ...(channel === 'ohlcv' ? { timeframe } : {}) },
    )
    setText(byId('chart-note'), 'Loading history')
    this.#load.abort()
    this.#load = new AbortController()
    void this.#history(this.#choice, timeframe, mayShorten, this.#load.signal)
  }

  async #history(
    choice: Choice,
    timeframe: Timeframe,
    mayShorten: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    let note = ''
    try {
      const candles = await this.#stored(choice, timeframe, signal)
      if (mayShorten && timeframe === '1m' && candles.length < ENOUGH) return this.#open('1s')
      this.#chart.history(candles)
    } catch (error) {
      if (signal.aborted) return
      note = `; no history: ${error instanceof Error ? error.message : 'no answer'}`
    }
    const live = {
      ohlcv: "the venue's own",
      trades: 'made here from trades',
      ticker: "made here from the ticker's last",
    }
    setText(byId('chart-note'), `Live candles are ${live[this.#origin]}; times are UTC${note}`)
  }

  async #stored(
    { source, symbol }: Choice,
    timeframe: Timeframe,
    signal: AbortSignal,
  ): Promise<StoredCandle[]> {
    // Candles are stored as such, or made of stored trades; of a ticker alone there are none.
    if (!this.#carries('ohlcv') && !this.#carries('trades')) return []
    const from = (Date.now() - TIMEFRAMES[timeframe] * HISTORY * 1_000) * 1_000
    const query = new URLSearchParams({
      source,
      symbol,
      timeframe,
      from: String(from),
      limit: String(HISTORY + 1),
    })
    const page = (await this.#session.get(`/v1/candles?${query}`, signal)) as { items?: StoredCandle[] }
    return page.items ?? []
  }

  #press(): void {
    for (const [timeframe, tab] of this.#tabs)
      tab.setAttribute('aria-pressed', String(timeframe === this.#timeframe))
  }
}
