import Type, { type Static } from 'typebox'
import { Filters } from './commands.ts'
import { Id, KnownChannel, Micros, Position, SourceId, Timeframe } from './fields.ts'

/** What the gateway sends on `/ws` beside events. */

export const Authenticated = Type.Object(
  {
    type: Type.Literal('authenticated'),
    id: Type.Optional(Id),
    tier: Type.String(),
    expiresAt: Type.Optional(Micros),
  },
  { description: 'Answers `auth`; comes unasked when the tier has changed.' },
)

const GrantedDepth = Type.Union([Type.Integer(), Type.Literal('full')], {
  description: 'levels a side of books',
})

const GrantedConflation = Type.Integer({
  description: 'ms; at least the floor of the tier, 0 for channels whose events are never thinned',
})

export const Rejected = Type.Object({
  symbol: Type.String(),
  code: Type.Integer({ description: '403, 405 or 422' }),
  message: Type.String(),
})

export const Subscribed = Type.Object(
  {
    type: Type.Literal('subscribed'),
    id: Type.Optional(Id),
    channel: KnownChannel,
    source: Type.Optional(SourceId),
    symbols: Type.Array(Type.String()),
    timeframe: Type.Optional(Timeframe),
    filters: Type.Optional(Filters),
    conflateMs: GrantedConflation,
    depth: Type.Optional(GrantedDepth),
    rejected: Type.Optional(Type.Array(Rejected)),
    unrecovered: Type.Optional(
      Type.Array(Type.String(), {
        description: 'topics of `resume` that go on from their latest value or a snapshot, or are not sent',
      }),
    ),
  },
  {
    description:
      'Answers `subscribe` with what was granted; the latest values follow, or what came after the positions or the time given, then events.',
  },
)

export const Live = Type.Object(
  { type: Type.Literal('live'), id: Type.Optional(Id) },
  { description: 'What `subscribe` asked for with `from` has been sent; what follows is live.' },
)

export const Unsubscribed = Type.Object(
  {
    type: Type.Literal('unsubscribed'),
    id: Type.Optional(Id),
    channel: KnownChannel,
    source: Type.Optional(SourceId),
    symbols: Type.Array(Type.String()),
    timeframe: Type.Optional(Timeframe),
  },
  { description: 'Answers `unsubscribe`: nothing of these symbols follows.' },
)

export const Subscription = Type.Object({
  channel: KnownChannel,
  source: Type.Optional(SourceId),
  symbols: Type.Array(Type.String()),
  timeframe: Type.Optional(Timeframe),
  filters: Type.Optional(Filters),
  conflateMs: GrantedConflation,
  depth: Type.Optional(GrantedDepth),
})

export const Subscriptions = Type.Object(
  {
    type: Type.Literal('subscriptions'),
    id: Type.Optional(Id),
    subscriptions: Type.Array(Subscription),
    topics: Type.Array(Type.String(), { description: 'the topics that are sent now' }),
  },
  { description: 'Answers `list`.' },
)

export const Pong = Type.Object(
  { type: Type.Literal('pong'), id: Type.Optional(Id), timestamp: Micros },
  { description: 'Answers `ping`.' },
)

export const Head = Type.Tuple([Type.String(), Position.items[0], Position.items[1]], {
  description: '[topic, epoch, seq]: the newest that this connection was sent of the topic',
})

export const Heartbeat = Type.Object(
  {
    type: Type.Literal('heartbeat'),
    id: Type.Optional(Id),
    timestamp: Micros,
    heads: Type.Optional(Type.Array(Head, { description: 'topics that changed since the last heartbeat' })),
  },
  { description: 'Comes every `intervalMs` once asked for.' },
)

export const Slow = Type.Object(
  { type: Type.Literal('slow'), topics: Type.Integer(), skipped: Type.Integer(), reason: Type.String() },
  { description: 'Events were left out for this connection; `prev` shows where.' },
)

export const Resync = Type.Object(
  { type: Type.Literal('resync'), topic: Type.String(), reason: Type.String() },
  {
    description:
      'The topic begins anew, with its newest value or a snapshot: the source built its book anew after a gap, the gateway missed events, or the client sees it at another delay now.',
  },
)

export const SourceNotice = Type.Object(
  {
    type: Type.Literal('source'),
    source: SourceId,
    symbol: Type.String(),
    state: Type.Enum(['connecting', 'connected', 'stale', 'reconnecting', 'down']),
    reason: Type.String(),
    attempt: Type.Integer(),
    receivedTime: Micros,
  },
  {
    description:
      "The gateway's own word on what it can send of a source; no event of the topic, so without `epoch` and `seq`.",
  },
)

export const TokenExpiring = Type.Object(
  { type: Type.Literal('token.expiring'), expiresAt: Micros },
  { description: 'The token ends within 60 s: send `auth` with a new one.' },
)

export const Shutdown = Type.Object(
  { type: Type.Literal('shutdown'), reconnectInMs: Type.Integer() },
  { description: 'The gateway goes away; close code 4200 follows.' },
)

export const ErrorMessage = Type.Object(
  {
    type: Type.Literal('error'),
    code: Type.Integer({ description: '400 401 403 405 406 411 422 429 503' }),
    name: Type.String({ description: 'stable, such as unknown-symbol' }),
    message: Type.String(),
    id: Type.Optional(Id),
    retryAfterMs: Type.Optional(Type.Integer()),
  },
  { description: 'What was wrong, in one sentence. The connection goes on unless a close follows.' },
)

export const CONTROL = {
  authenticated: Authenticated,
  subscribed: Subscribed,
  live: Live,
  unsubscribed: Unsubscribed,
  subscriptions: Subscriptions,
  pong: Pong,
  heartbeat: Heartbeat,
  slow: Slow,
  resync: Resync,
  sourceNotice: SourceNotice,
  'token.expiring': TokenExpiring,
  shutdown: Shutdown,
  error: ErrorMessage,
} as const

export type SourceNotice = Static<typeof SourceNotice>
export type RejectedSymbol = Static<typeof Rejected>
export type SubscriptionEntry = Static<typeof Subscription>
export type ServerMessage = {
  [K in keyof typeof CONTROL]: Static<(typeof CONTROL)[K]>
}[keyof typeof CONTROL]
