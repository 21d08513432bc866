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

export interface ClientQuery {
  /** Clients behind this id; ids are in the order of connecting. Empty: from the first. */
  readonly after: string
  readonly limit: number
  readonly tenant?: string
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
}
