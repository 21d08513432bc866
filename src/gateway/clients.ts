import Type, { type Static } from 'typebox'

const Micros = (description: string) =>
  Type.Integer({ description: `${description}, µs since the Unix epoch` })

/** A client that is connected and has said who it is, as an operator sees it. */
export const ClientEntry = Type.Object({
  id: Type.String({ description: 'of this connection' }),
  node: Type.String({ description: 'that it is connected to' }),
  tenant: Type.String(),
  keyId: Type.Optional(Type.String({ description: 'of its API key, or of the key behind its token' })),
  subject: Type.String(),
  tier: Type.Enum(['basic', 'premium', 'institutional'], { description: 'that holds now' }),
  address: Type.String(),
  endpoint: Type.Enum(['/ws', '/ws/odds', '/ws/status']),
  encoding: Type.String({ description: 'of its frames' }),
  since: Micros('connected'),
  expiresAt: Type.Optional(Micros('its token ends')),
  subscriptions: Type.Integer({ description: 'topics that it is sent' }),
  receivedMessages: Type.Integer(),
  sentEvents: Type.Integer(),
  sentBytes: Type.Integer({ description: 'that its socket has taken' }),
  conflated: Type.Integer({
    description: 'values left out because of its pace or its slowness; newer ones stood for them',
  }),
  skipped: Type.Integer({ description: 'events left out because of its pace' }),
  bufferedBytes: Type.Integer({ description: 'that wait for its socket' }),
  lastPong: Type.Union([Type.Integer(), Type.Null()], {
    description: 'when it answered a ping last, µs since the Unix epoch',
  }),
  slow: Type.Boolean({ description: 'it reads too slowly now' }),
})
export type ClientEntry = Static<typeof ClientEntry>

/** What the clients of one caller are sent, and were since the gateways started. */
export const UsageEntry = Type.Object({
  caller: Type.String({
    description: 'limits are counted by it: the API key, else issuer and subject, else the address',
  }),
  tenant: Type.String(),
  connections: Type.Integer({ description: 'open now' }),
  subscriptions: Type.Integer({ description: 'topics that they are sent now' }),
  receivedMessages: Type.Integer(),
  sentEvents: Type.Integer(),
  sentBytes: Type.Integer(),
  conflated: Type.Integer({ description: 'values left out; newer ones stood for them' }),
  skipped: Type.Integer({ description: 'events left out' }),
})
export type UsageEntry = Static<typeof UsageEntry>

export interface ClientQuery {
  /** Clients behind this id; ids are in the order of connecting. Empty: from the first. */
  readonly after: string
  readonly limit: number
  readonly tenant?: string
}

export interface UsageQuery {
  /** Callers behind this one, by name. Empty: from the first. */
  readonly after: string
  readonly limit: number
  readonly tenant?: string
  readonly caller?: string
}

/** The clients of all gateways that share a Redis; else of this process. */
export interface Clients {
  /** `complete`: false when a gateway did not answer. */
  list(query: ClientQuery): Promise<{
    readonly items: readonly ClientEntry[]
    readonly next: string | null
    readonly complete: boolean
  }>
  /** Closes it with 4009. False: there is no such client. Throws `cache-unavailable` when not every gateway could say. */
  end(id: string): Promise<boolean>
  /** `since`: µs; every gateway has counted at least since then. */
  usage(query: UsageQuery): Promise<{
    readonly since: number
    readonly items: readonly UsageEntry[]
    readonly next: string | null
    readonly complete: boolean
  }>
}
