import Type from 'typebox'
import type { Entitlement, Identity } from '../../auth/auth.ts'
import type { SourceStatus, TopicStatus } from '../../manager/manager.ts'
import type { GatewayPorts } from '../gateway.ts'
import type { RoutePlugin } from './route.ts'
import { answers, listOf, SECURED } from './schema.ts'

const Nullable = (description: string) => Type.Union([Type.Integer(), Type.Null()], { description })

export const TopicEntry = Type.Object({
  channel: Type.String(),
  symbol: Type.String(),
  timeframe: Type.Optional(Type.String()),
  state: Type.Enum(['pending', 'syncing', 'live', 'stale', 'refused']),
  reason: Type.Optional(Type.String({ description: 'why it is refused or stale' })),
  epoch: Nullable('null before the first event, and where the caller does not see it now'),
  seq: Nullable('of the newest event'),
  lastReceivedTime: Nullable('µs since the Unix epoch'),
})

const SourceState = Type.Enum(['connecting', 'connected', 'stale', 'reconnecting', 'down'])

export const SourceEntry = Type.Object({
  id: Type.String(),
  kind: Type.String(),
  licence: Type.Enum(['open', 'restricted']),
  state: SourceState,
  reason: Type.String(),
  since: Type.Integer({ description: 'µs since the Unix epoch' }),
  attempt: Type.Integer({ description: 'attempts to connect since it was last connected' }),
  sides: Type.Optional(
    Type.Array(
      Type.Object({
        side: Type.Enum(['A', 'B']),
        state: SourceState,
        reason: Type.String(),
        since: Type.Integer({ description: 'µs since the Unix epoch' }),
        attempt: Type.Integer(),
        first: Type.Integer({ description: 'events that it delivered first, or alone' }),
        filled: Type.Integer({ description: 'holes and failures of the other side that it made good' }),
      }),
      { description: 'of a source with two sides; it is as well as the better one' },
    ),
  ),
  topics: Type.Array(TopicEntry),
})

export function sourcesRoutes(ports: GatewayPorts): RoutePlugin {
  return async (server) => {
    server.get(
      '/v1/sources',
      {
        schema: {
          summary: 'Sources, their state and their topics',
          tags: ['market data'],
          security: SECURED,
          querystring: Type.Object({}, { additionalProperties: false }),
          response: answers({ 200: listOf(SourceEntry) }),
        },
      },
      async ({ identity }) => {
        const conversations = conversationsOf(ports, identity)
        const items = ports.manager
          .status()
          .filter(({ id }) => ports.auth.entitled(identity, { source: id, channel: 'source' }).allowed)
          .map((source) => visible(ports, identity, source, conversations))
        return { items, next: null }
      },
    )
  }
}

/** `source/conversation` of the caller's tenant: a status entry does not say whose conversation it is. */
function conversationsOf(ports: GatewayPorts, identity: Identity): ReadonlySet<string> {
  const own = new Set<string>()
  for (const topic of ports.manager.topics())
    if (topic.channel === 'status' && ports.auth.entitled(identity, topic).allowed)
      own.add(`${topic.source}/${topic.publicSubject}`)
  return own
}

function visible(
  ports: GatewayPorts,
  identity: Identity,
  source: SourceStatus,
  conversations: ReadonlySet<string>,
): SourceStatus {
  // Of thousands of topics there are few channels.
  const channels = new Map<string, Entitlement>()
  const entitlementOf = ({ channel }: TopicStatus) => {
    const known = channels.get(channel) ?? ports.auth.entitled(identity, { source: source.id, channel })
    channels.set(channel, known)
    return known
  }
  const shown = (topic: TopicStatus) =>
    entitlementOf(topic).allowed &&
    (topic.channel !== 'status' || conversations.has(`${source.id}/${topic.symbol}`))
  const asSeen = (topic: TopicStatus) => {
    const entitlement = entitlementOf(topic)
    // Where it stands now is told to those who see it now.
    return entitlement.allowed && entitlement.live && entitlement.delayMs === 0
      ? topic
      : { ...topic, epoch: null, seq: null, lastReceivedTime: null }
  }
  return { ...source, topics: source.topics.filter(shown).map(asSeen) }
}
