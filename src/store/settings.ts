import Type, { type Static } from 'typebox'
import Value from 'typebox/value'
import { FeedgateError } from '../errors.ts'

const UNITS = { m: 60, h: 3_600, d: 86_400, w: 604_800 } as const
const DURATION = '[1-9]\\d{0,4}[mhdw]'

const Duration = (value: string, description: string) =>
  Type.String({ pattern: `^${DURATION}$`, default: value, description })
const DurationOrOff = (value: string, description: string) =>
  Type.String({ pattern: `^(${DURATION}|off)$`, default: value, description })

/** Of a store on a server. Durations are whole numbers of m, h, d or w, such as `7d`. */
export const StoreSettings = Type.Object(
  {
    connections: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: 8,
      description: 'for reads of history; recording, keys and leases have 6 more of their own',
    }),
    timescale: Type.Union([Type.Literal('auto'), Type.Literal('off')], {
      default: 'auto',
      description: '`off`: a database that is not yet a TimescaleDB is left as it is',
    }),
    chunkInterval: Duration('1d', 'TimescaleDB: the time that one chunk of a hypertable holds'),
    compressAfter: DurationOrOff('7d', 'TimescaleDB: chunks older than this become columnstore; or `off`'),
    retainEvents: DurationOrOff('off', 'TimescaleDB: events older than this are dropped; or `off`'),
    retainCandles: DurationOrOff(
      'off',
      'TimescaleDB: candles of trades older than this are dropped; or `off`',
    ),
    refreshWindow: Duration('3d', 'TimescaleDB: how far back candles are computed again when trades change'),
  },
  { additionalProperties: false },
)

export type StoreSettings = Static<typeof StoreSettings>

export const DEFAULT_STORE_SETTINGS = Value.Create(StoreSettings)

/** The hourly aggregate looks for whole hours that ended three hours ago. */
const MIN_REFRESH_WINDOW = '12h'

/** `off`: never, so longer than anything. */
export function secondsOf(duration: string): number {
  if (duration === 'off') return Number.POSITIVE_INFINITY
  return Number(duration.slice(0, -1)) * UNITS[duration.at(-1) as keyof typeof UNITS]
}

/** Throws `bad-setting` for what TimescaleDB accepts without a word and then loses data by. */
export function checkStoreSettings(settings: StoreSettings): void {
  const { compressAfter, retainEvents, retainCandles, refreshWindow } = settings
  const refuse = (name: keyof StoreSettings, accepted: string): never => {
    throw new FeedgateError(
      'bad-setting',
      `setting store.${name} is ${JSON.stringify(settings[name])}: accepted is ${accepted}`,
    )
  }
  const isShorter = (one: string, other: string) => secondsOf(one) < secondsOf(other)
  if (isShorter(refreshWindow, MIN_REFRESH_WINDOW))
    refuse('refreshWindow', `${MIN_REFRESH_WINDOW} or more: candles of an hour need it`)
  if (isShorter(compressAfter, refreshWindow))
    refuse('compressAfter', `store.refreshWindow (${refreshWindow}) or more: late trades change those chunks`)
  if (!isShorter(refreshWindow, retainEvents))
    refuse(
      'retainEvents',
      `more than store.refreshWindow (${refreshWindow}): a refresh deletes the candles of trades that are gone`,
    )
  if (isShorter(retainCandles, retainEvents))
    refuse('retainCandles', `store.retainEvents (${retainEvents}) or more: candles outlive their trades`)
}
