import Type, { type Static } from 'typebox'
import { ChannelName, Decimal, exact, Id, Position, SourceId, Symbols, Time, Timeframe } from './fields.ts'

/** What a client may send on `/ws`. */

export const Auth = Type.Object(
  {
    type: Type.Literal('auth'),
    id: Type.Optional(Id),
    token: Type.Optional(Type.String({ minLength: 1, maxLength: 16_384, description: 'a JWT' })),
    apiKey: Type.Optional(Type.String({ minLength: 1, maxLength: 512, description: 'an API key' })),
    batch: Type.Optional(Type.Boolean({ description: 'true to get events in arrays, else false' })),
  },
  { ...exact, description: 'Says who is there, or refreshes a token. Either `token` or `apiKey`.' },
)

export const Filters = Type.Object(
  {
    minVolume: Type.Optional(Decimal),
    marketHours: Type.Optional(
      Type.Object(
        {
          from: Type.String({ pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]$', description: 'a time as HH:MM' }),
          to: Type.String({ pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]$', description: 'a time as HH:MM' }),
          timezone: Type.String({
            pattern: '^[A-Za-z0-9_+/-]{1,64}$',
            description: 'an IANA time zone such as Europe/London',
          }),
        },
        {
          ...exact,
          description:
            '{"from","to","timezone"}: from inclusive, to exclusive; over midnight where to is the earlier',
        },
      ),
    ),
    excludeWeekends: Type.Optional(
      Type.Boolean({ description: 'true leaves out Saturday and Sunday, of the time zone, else UTC' }),
    ),
  },
  {
    ...exact,
    description:
      'an object of minVolume (trades and liquidations by size, ticker and ohlcv by volume), marketHours and excludeWeekends; times are sourceTime, else receivedTime',
  },
)

/** Levels a side that a client may ask for; 0 is another word for full. */
export const Depth = Type.Union(
  [
    Type.Literal(5),
    Type.Literal(10),
    Type.Literal(25),
    Type.Literal(100),
    Type.Literal(0),
    Type.Literal('full'),
  ],
  { description: '5, 10, 25, 100 or "full"' },
)

export const Subscribe = Type.Object(
  {
    type: Type.Literal('subscribe'),
    id: Type.Optional(Id),
    channel: ChannelName,
    source: Type.Optional(SourceId),
    symbols: Symbols,
    timeframe: Type.Optional(Timeframe),
    filters: Type.Optional(Filters),
    conflateMs: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 3_600_000,
        description: 'least time between two values of a key: whole ms from 0 to 3600000',
      }),
    ),
    depth: Type.Optional(Depth),
    snapshot: Type.Optional(Type.Boolean({ description: 'true or false' })),
    resume: Type.Optional(
      Type.Record(Type.String({ minLength: 1, maxLength: 512 }), Position, {
        maxProperties: 10_000,
        description:
          'an object of at most 10000 topics, each with the last position [epoch, seq] that the client has: what came after it follows',
      }),
    ),
    from: Type.Optional(Time),
  },
  { ...exact, description: 'Asks for topics: their latest value or a snapshot, then every event in order.' },
)

export const Unsubscribe = Type.Object(
  {
    type: Type.Literal('unsubscribe'),
    id: Type.Optional(Id),
    channel: ChannelName,
    source: Type.Optional(SourceId),
    symbols: Symbols,
    timeframe: Type.Optional(Timeframe),
  },
  { ...exact, description: 'Ends what the symbols cover.' },
)

export const List = Type.Object(
  { type: Type.Literal('list'), id: Type.Optional(Id) },
  { ...exact, description: 'Asks for the subscriptions of this connection.' },
)

export const Ping = Type.Object(
  { type: Type.Literal('ping'), id: Type.Optional(Id) },
  { ...exact, description: 'Asks for a pong.' },
)

export const HeartbeatEvery = Type.Object(
  {
    type: Type.Literal('heartbeat'),
    id: Type.Optional(Id),
    intervalMs: Type.Union([Type.Literal(0), Type.Integer({ minimum: 1_000, maximum: 60_000 })], {
      description: 'whole ms from 1000 to 60000, or 0 to stop',
    }),
    heads: Type.Optional(
      Type.Boolean({ description: 'true to be told the position of topics that changed' }),
    ),
  },
  { ...exact, description: 'Asks for a heartbeat at once and every `intervalMs`.' },
)

export const Replay = Type.Object(
  {
    type: Type.Literal('replay'),
    id: Id,
    channel: ChannelName,
    source: Type.Optional(SourceId),
    symbols: Symbols,
    timeframe: Type.Optional(Timeframe),
    from: Time,
    to: Time,
    speed: Type.Optional(
      Type.Union([Type.Number({ exclusiveMinimum: 0, maximum: 1_000_000 }), Type.Literal('max')], {
        description: 'a number above 0, or "max"',
      }),
    ),
  },
  { ...exact, description: 'Stored history again, paced as if live.' },
)

const ofReplay = (type: 'replay.pause' | 'replay.resume' | 'replay.stop') =>
  Type.Object({ type: Type.Literal(type), id: Id }, { ...exact, description: 'Steers a replay.' })
export const ReplayPause = ofReplay('replay.pause')
export const ReplayResume = ofReplay('replay.resume')
export const ReplayStop = ofReplay('replay.stop')

export const COMMANDS = {
  auth: Auth,
  subscribe: Subscribe,
  unsubscribe: Unsubscribe,
  list: List,
  ping: Ping,
  heartbeat: HeartbeatEvery,
  replay: Replay,
  'replay.pause': ReplayPause,
  'replay.resume': ReplayResume,
  'replay.stop': ReplayStop,
} as const

export type CommandType = keyof typeof COMMANDS
export type AuthCommand = Static<typeof Auth>
export type SubscribeCommand = Static<typeof Subscribe>
export type FiltersAsked = Static<typeof Filters>
export type UnsubscribeCommand = Static<typeof Unsubscribe>
export type HeartbeatCommand = Static<typeof HeartbeatEvery>
export type ReplayCommand = Static<typeof Replay>
export type Command =
  | AuthCommand
  | SubscribeCommand
  | UnsubscribeCommand
  | Static<typeof List>
  | Static<typeof Ping>
  | HeartbeatCommand
  | ReplayCommand
  | Static<typeof ReplayPause>
export type CommandId = Static<typeof Id>
