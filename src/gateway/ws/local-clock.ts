import { FeedgateError } from '../../errors.ts'
import type { Micros } from '../../market/event.ts'

const MINUTE: Micros = 60_000_000
const QUARTER_HOUR: Micros = 15 * MINUTE
const MINUTES_OF_DAY = 1_440
/** 1970-01-01 was a Thursday. */
const FIRST_WEEKDAY = 4

export interface LocalTime {
  /** 0: Sunday. */
  readonly weekday: number
  /** Of the day, from 0. */
  readonly minute: number
}

/**
 * Wall clock of a time zone. Clocks are changed on whole quarters of an hour, so that within one the offset from UTC
 * holds: `Intl` is asked once a quarter, not once an event.
 */
export class LocalClock {
  readonly timezone: string
  readonly #format: Intl.DateTimeFormat
  #quarter = -1
  #offset: Micros = 0

  /** As many as there are time zones. */
  static readonly #known = new Map<string, LocalClock>()

  /** Throws `bad-request` for a name that is no time zone. */
  static of(name: string): LocalClock {
    const format = formatOf(name)
    const { timeZone } = format.resolvedOptions()
    const known = LocalClock.#known.get(timeZone) ?? new LocalClock(timeZone, format)
    LocalClock.#known.set(timeZone, known)
    return known
  }

  private constructor(timezone: string, format: Intl.DateTimeFormat) {
    this.timezone = timezone
    this.#format = format
  }

  at(time: Micros): LocalTime {
    const quarter = Math.floor(time / QUARTER_HOUR)
    if (quarter !== this.#quarter) {
      this.#quarter = quarter
      this.#offset = this.#offsetAt(quarter * QUARTER_HOUR)
    }
    const minutes = Math.floor((time + this.#offset) / MINUTE)
    return {
      weekday: (Math.floor(minutes / MINUTES_OF_DAY) + FIRST_WEEKDAY) % 7,
      minute: minutes % MINUTES_OF_DAY,
    }
  }

  /** `time` is a whole minute. */
  #offsetAt(time: Micros): Micros {
    const parts: Record<string, number> = {}
    for (const { type, value } of this.#format.formatToParts(time / 1_000)) parts[type] = Number(value)
    const { year, month, day, hour, minute } = parts as Record<
      'year' | 'month' | 'day' | 'hour' | 'minute',
      number
    >
    return Date.UTC(year, month - 1, day, hour, minute) * 1_000 - time
  }
}

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const numbers = {
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
  } as const
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone, hourCycle: 'h23', ...numbers })
  } catch {
    throw new FeedgateError(
      'bad-request',
      `field "filters.marketHours.timezone" is ${JSON.stringify(timeZone)}: give an IANA time zone such as Europe/London`,
    )
  }
}
