import {
  CandlestickSeries,
  ColorType,
  createChart,
  HistogramSeries,
  type IChartApi,
  type ISeriesApi,
  type UTCTimestamp,
} from 'lightweight-charts'
import type { StoredCandle } from './events.ts'
import { colour } from './theme.ts'

/** Candles drawn; the oldest go. */
const MAX_CANDLES = 2_000

/** Numbers only to draw with; `time` in seconds. */
interface Bar {
  readonly time: UTCTimestamp
  readonly open: number
  high: number
  low: number
  close: number
  volume: number
}

/** A candle chart with volume below it; history first, then live. Its colours are the page's. */
export class CandleChart {
  readonly #element: HTMLElement
  readonly #chart: IChartApi
  readonly #candles: ISeriesApi<'Candlestick'>
  readonly #volumes: ISeriesApi<'Histogram'>
  #bars: Bar[] = []
  #decimals = -1
  #changed = false

  constructor(element: HTMLElement) {
    this.#element = element
    this.#chart = createChart(element, {
      autoSize: true,
      timeScale: { timeVisible: true, secondsVisible: true, rightOffset: 3, barSpacing: 9 },
      rightPriceScale: { scaleMargins: { top: 0.08, bottom: 0.22 } },
    })
    this.#candles = this.#chart.addSeries(CandlestickSeries, { borderVisible: false })
    this.#volumes = this.#chart.addSeries(HistogramSeries, {
      priceScaleId: 'volume',
      priceFormat: { type: 'volume' },
      lastValueVisible: false,
      priceLineVisible: false,
    })
    this.#volumes.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } })
    this.recolour()
  }

  recolour(): void {
    const [up, down, line] = [colour('--up'), colour('--down'), colour('--line')]
    this.#chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: colour('--panel') },
        textColor: colour('--faint'),
        fontFamily: getComputedStyle(document.body).fontFamily,
      },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      timeScale: { borderColor: line },
      rightPriceScale: { borderColor: line },
    })
    this.#candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down })
    this.#changed = true
  }

  clear(): void {
    this.#bars = []
    this.#decimals = -1
    this.#changed = true
    this.#chart.timeScale().resetTimeScale()
    this.paint()
  }

  /** Stored candles, oldest first; live ones that came meanwhile win. */
  history(candles: readonly StoredCandle[]): void {
    const bars = new Map<number, Bar>()
    for (const candle of candles) {
      this.#measure(candle.close)
      const bar = barOf(candle)
      bars.set(bar.time, bar)
    }
    for (const bar of this.#bars) {
      const stored = bars.get(bar.time)
      bars.set(bar.time, stored ? joined(stored, bar) : bar)
    }
    this.#bars = [...bars.values()].sort((a, b) => a.time - b.time).slice(-MAX_CANDLES)
    this.#changed = true
  }

  /** A candle as the venue or the gateway has it now. */
  take(candle: StoredCandle): void {
    this.#measure(candle.close)
    const bar = barOf(candle)
    const at = this.#bars.findLastIndex(({ time }) => time <= bar.time)
    if (this.#bars[at]?.time === bar.time) this.#bars[at] = bar
    else this.#bars.splice(at + 1, 0, bar)
    this.#trim()
  }

  /** One price into the candle it falls in, where nobody makes candles for us. `time` and `length` in µs. */
  tick(price: string, size: string, time: number, length: number): void {
    const value = Number(price)
    const seconds = ((time - (time % length)) / 1e6) as UTCTimestamp
    const last = this.#bars.at(-1)
    this.#measure(price)
    if (!Number.isFinite(value) || (last && seconds < last.time)) return
    if (last?.time === seconds) {
      last.high = Math.max(last.high, value)
      last.low = Math.min(last.low, value)
      last.close = value
      last.volume += Number(size)
    } else
      this.#bars.push({
        time: seconds,
        open: value,
        high: value,
        low: value,
        close: value,
        volume: Number(size),
      })
    this.#trim()
  }

  paint(): void {
    if (!this.#changed) return
    this.#changed = false
    const [up, down] = [colour('--up-soft'), colour('--down-soft')]
    this.#candles.setData(this.#bars)
    this.#volumes.setData(
      this.#bars.map(({ time, open, close, volume }) => ({
        time,
        value: volume,
        color: close >= open ? up : down,
      })),
    )
    this.#element.dataset.candles = String(this.#bars.length)
  }

  /** For those who do not see the canvas. */
  describe(name: string): void {
    const last = this.#bars.at(-1)
    const text = last
      ? `${name}: ${this.#bars.length} candles; the newest opened at ${last.open}, high ${last.high}, low ${last.low}, now ${last.close}`
      : `${name}: no candle yet`
    if (this.#element.getAttribute('aria-label') !== text) this.#element.setAttribute('aria-label', text)
  }

  get size(): number {
    return this.#bars.length
  }

  #trim(): void {
    if (this.#bars.length > MAX_CANDLES) this.#bars.splice(0, this.#bars.length - MAX_CANDLES)
    this.#changed = true
  }

  /** The axis has as many decimals as the prices are sent with. */
  #measure(price: string): void {
    const decimals = price.split('.')[1]?.length ?? 0
    if (decimals <= this.#decimals) return
    this.#decimals = decimals
    this.#candles.applyOptions({
      priceFormat: {
        type: 'price',
        precision: decimals,
        minMove: Number((10 ** -decimals).toFixed(decimals)),
      },
    })
  }
}

function barOf(candle: StoredCandle): Bar {
  return {
    time: (candle.openTime / 1e6) as UTCTimestamp,
    open: Number(candle.open),
    high: Number(candle.high),
    low: Number(candle.low),
    close: Number(candle.close),
    volume: Number(candle.volume),
  }
}

/** What the store had of a bucket, and what came live after it. */
function joined(stored: Bar, live: Bar): Bar {
  return {
    time: stored.time,
    open: stored.open,
    high: Math.max(stored.high, live.high),
    low: Math.min(stored.low, live.low),
    close: live.close,
    volume: Math.max(stored.volume, live.volume),
  }
}
