import Type, { type Static } from 'typebox'

/** `/ws/odds` and `/ws/status`: kept to the byte from the first system. Unknown fields are ignored, as it did. */

const EventId = Type.String({
  pattern: '^[A-Za-z0-9_.:@+-]{1,128}$',
  description: 'an event id: 1 to 128 of letters, digits and _.:@+-',
})
const ConversationId = Type.String({
  pattern: '^[A-Za-z0-9_.:@+-]{1,128}$',
  description: 'a conversation id: 1 to 128 of letters, digits and _.:@+-',
})
const Timestamp = Type.String({ format: 'date-time', description: 'UTC, whole seconds, with Z' })

export const ODDS_COMMANDS = {
  subscribe: Type.Object({ type: Type.Literal('subscribe'), eventId: EventId }),
  unsubscribe: Type.Object({ type: Type.Literal('unsubscribe'), eventId: EventId }),
} as const

export const STATUS_COMMANDS = {
  subscribe: Type.Object({ type: Type.Literal('subscribe'), conversationId: ConversationId }),
  unsubscribe: Type.Object({ type: Type.Literal('unsubscribe'), conversationId: ConversationId }),
  ping: Type.Object({ type: Type.Literal('ping') }),
} as const

export const LegacyError = Type.Object({ type: Type.Literal('error'), message: Type.String() })

export const OddsUpdate = Type.Object(
  { eventId: EventId, market: Type.String(), odd: Type.Number(), timestamp: Timestamp },
  { description: "The best back price of a market's first selection." },
)

export const STATUS_MESSAGES = {
  connected: Type.Object({
    type: Type.Literal('connected'),
    connectionId: Type.String(),
    userId: Type.String(),
    timestamp: Timestamp,
  }),
  subscribed: Type.Object({
    type: Type.Literal('subscribed'),
    conversationId: ConversationId,
    timestamp: Timestamp,
  }),
  pong: Type.Object({ type: Type.Literal('pong'), timestamp: Timestamp }),
  'message.status': Type.Object({
    type: Type.Literal('message.status'),
    messageId: Type.String(),
    conversationId: ConversationId,
    status: Type.String(),
    channel: Type.String(),
    timestamp: Timestamp,
  }),
  error: LegacyError,
} as const

export type OddsCommand = Static<(typeof ODDS_COMMANDS)[keyof typeof ODDS_COMMANDS]>
export type StatusCommand = Static<(typeof STATUS_COMMANDS)[keyof typeof STATUS_COMMANDS]>
export type StatusMessage = {
  [K in keyof typeof STATUS_MESSAGES]: Static<(typeof STATUS_MESSAGES)[K]>
}[keyof typeof STATUS_MESSAGES]
