import Type from 'typebox'
import { CHANNELS, type Channel } from '../market/event.ts'

/** Fields that several messages share. A `description` says what is accepted: it ends up in error sentences and docs. */

export const Id = Type.Union(
  [
    Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    Type.String({ minLength: 1, maxLength: 64 }),
  ],
  { description: 'a whole number or a text of 1 to 64 characters, given back in the answer' },
)

/** Any text passes the shape; a channel that does not exist is well-formed but unknown (422, not 400). */
export const ChannelName = Type.String({
  minLength: 1,
  maxLength: 64,
  description: `a channel: ${Object.keys(CHANNELS).join(', ')}`,
})

export const KnownChannel = Type.Enum(Object.keys(CHANNELS) as Channel[], { description: 'a channel' })

export const SourceId = Type.String({
  pattern: '^[A-Za-z0-9_-]{1,64}$',
  description: 'the id of a source: 1 to 64 of letters, digits, _ and -',
})

export const Symbols = Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
  minItems: 1,
  maxItems: 10_000,
  description:
    'an array of 1 to 10000 symbols, eventIds or conversationIds of 1 to 256 characters; * stands for any run of characters',
})

export const Timeframe = Type.String({
  pattern: '^[0-9A-Za-z]{1,16}$',
  description: 'a timeframe such as 1m or 4h',
})

export const Micros = Type.Integer({ minimum: 0, description: 'whole µs since the Unix epoch, UTC' })

export const Time = Type.Union(
  [Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }), Type.String({ format: 'date-time' })],
  {
    description:
      'a time: ISO 8601 with a zone, such as 2026-11-22T10:00:00Z, or whole µs since the Unix epoch',
  },
)

export const DECIMAL = '^-?[0-9]+([.][0-9]+)?$'

export const Decimal = Type.String({
  pattern: DECIMAL,
  description: 'a decimal number as text, such as "0.5"',
})

export const Position = Type.Tuple([Type.Integer({ minimum: 0 }), Type.Integer({ minimum: 0 })], {
  description: '[epoch, seq], two whole numbers',
})

/** Unknown fields are refused: a misspelt option would otherwise be ignored in silence. */
export const exact = { additionalProperties: false } as const
