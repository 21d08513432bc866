import { FeedgateError } from '../../errors.ts'
import { compareDecimals } from '../../market/decimal.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { Channel, Decimal } from '../../market/event.ts'
import type { FiltersAsked } from '../../protocol/commands.ts'
import { LocalClock } from './local-clock.ts'

/** The field that `minVolume` is compared with, of the channels that have one. */
const VOLUME_OF: Readonly<Partial<Record<Channel, 'size' | 'volume'>>> = {
  trades: 'size',
  liquidations: 'size',
  ticker: 'volume',
  ohlcv: 'volume',
}

const SATURDAY = 6
const SUNDAY = 0

/**
 * Which events of a topic a client wants. What does not pass is left out, and `prev` of the next one shows it; a `gap`
 * always passes. Times are those of the event (`sourceTime`, else `receivedTime`). Filters of the same key are the same.
 */
export class Filter {
  readonly key: string
  readonly asked: FiltersAsked
  readonly #minVolume: Decimal | undefined
  readonly #field: 'size' | 'volume' | undefined
  readonly #clock: LocalClock | undefined
  readonly #excludeWeekends: boolean
  /** Minutes of the local day. */
  readonly #opens: number
  readonly #closes: number

  /** Throws `bad-request` for a time zone that is none, and for a volume where the channel has none. */
  constructor(channel: Channel, asked: FiltersAsked) {
    const { minVolume, marketHours, excludeWeekends = false } = asked
    this.asked = asked
    this.#minVolume = minVolume
    this.#field = VOLUME_OF[channel]
    if (minVolume !== undefined && !this.#field)
      throw new FeedgateError(
        'bad-request',
        `field "filters.minVolume" does not fit channel ${channel}: it goes with ${Object.keys(VOLUME_OF).join(', ')}`,
      )
    this.#excludeWeekends = excludeWeekends
    if (marketHours || excludeWeekends) this.#clock = LocalClock.of(marketHours?.timezone ?? 'UTC')
    this.#opens = minuteOf(marketHours?.from ?? '00:00')
    this.#closes = minuteOf(marketHours?.to ?? '00:00')
    const volume = minVolume === undefined ? '' : `${this.#field}>=${minVolume}`
    this.key = `${volume}|${this.#clock?.timezone ?? ''}|${this.#opens}-${this.#closes}|${excludeWeekends}`
  }

  passes(event: EncodedEvent): boolean {
    if (event.type === 'gap') return true
    return (!this.#clock || this.#isOpen(event, this.#clock)) && this.#isLarge(event)
  }

  /** Hours that end before they begin go over midnight; equal, they are the whole day. */
  #isOpen({ eventTime }: EncodedEvent, clock: LocalClock): boolean {
    const { weekday, minute } = clock.at(eventTime)
    if (this.#excludeWeekends && (weekday === SATURDAY || weekday === SUNDAY)) return false
    const [opens, closes] = [this.#opens, this.#closes]
    if (opens < closes) return minute >= opens && minute < closes
    return opens === closes || minute >= opens || minute < closes
  }

  /** An event that does not say its volume is not known to be large enough. */
  #isLarge(event: EncodedEvent): boolean {
    if (this.#minVolume === undefined) return true
    const volume = (event.payload as { size?: Decimal; volume?: Decimal })[this.#field!]
    return volume !== undefined && compareDecimals(volume, this.#minVolume) >= 0
  }
}

function minuteOf(time: string): number {
  const [hours, minutes] = time.split(':').map(Number) as [number, number]
  return hours * 60 + minutes
}

/** Distinct filters of one client, and of all clients of a process: each is asked about every event of its topics. */
const MAX_OF_CLIENT = 50
const MAX_OF_ALL = 5_000

/** How many clients hold each filter; its key is all that is kept. */
export class FilterUse {
  readonly #clients = new Map<string, number>()

  /** Throws `rate-limited` when there are too many in all. */
  take(key: string): void {
    const clients = this.#clients.get(key) ?? 0
    if (clients === 0 && this.#clients.size >= MAX_OF_ALL)
      throw new FeedgateError('rate-limited', 'too many different filters are in use here', {
        retryAfterMs: 60_000,
      })
    this.#clients.set(key, clients + 1)
  }

  giveBack(key: string): void {
    const clients = this.#clients.get(key)! - 1
    if (clients > 0) this.#clients.set(key, clients)
    else this.#clients.delete(key)
  }
}

/** The filters of one client. */
export class ClientFilters {
  readonly #use: FilterUse
  readonly #held = new Map<string, Filter>()

  constructor(use: FilterUse) {
    this.#use = use
  }

  /**
   * Undefined where nothing is filtered. `wanted`: what earlier subscriptions still use; the others are forgotten when
   * there is no room. Throws `bad-request`, `symbol-limit` or `rate-limited`.
   */
  of(
    channel: Channel,
    asked: FiltersAsked | undefined,
    wanted: () => Iterable<Filter | undefined>,
  ): Filter | undefined {
    const { minVolume, marketHours, excludeWeekends } = asked ?? {}
    if (!asked || (minVolume === undefined && !marketHours && !excludeWeekends)) return undefined
    const filter = new Filter(channel, asked)
    const held = this.#held.get(filter.key)
    if (held) return held
    if (this.#held.size >= MAX_OF_CLIENT) this.#forgetAllBut(new Set(wanted()))
    if (this.#held.size >= MAX_OF_CLIENT)
      throw new FeedgateError('symbol-limit', `a connection may hold ${MAX_OF_CLIENT} different filters`)
    this.#use.take(filter.key)
    this.#held.set(filter.key, filter)
    return filter
  }

  #forgetAllBut(wanted: ReadonlySet<Filter | undefined>): void {
    for (const [key, filter] of this.#held) {
      if (wanted.has(filter)) continue
      this.#held.delete(key)
      this.#use.giveBack(key)
    }
  }

  close(): void {
    this.#forgetAllBut(new Set())
  }
}
