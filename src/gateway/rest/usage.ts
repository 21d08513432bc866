import Type from 'typebox'
import { UsageEntry } from '../clients.ts'
import type { RestPorts } from '../gateway.ts'
import { Complete, Since } from './admin-clients.ts'
import type { RoutePlugin } from './route.ts'
import { answers, SECURED, strict } from './schema.ts'

const LimitNumber = Type.Union([Type.Number(), Type.Null()], { description: 'null: no limit' })
const { caller: _, ...Counts } = UsageEntry.properties
const OwnUsage = Type.Object({
  since: Since,
  ...Counts,
  tier: Type.Enum(['basic', 'premium', 'institutional']),
  limits: Type.Object({ commandsPerSecond: LimitNumber, connections: LimitNumber, symbols: LimitNumber }),
  complete: Complete,
})

export function usageRoutes({ clients }: RestPorts): RoutePlugin {
  return async (server) => {
    server.get(
      '/v1/usage',
      {
        schema: {
          summary: 'What the caller has open and was sent by WebSocket, and its limits',
          tags: ['auth'],
          security: SECURED,
          querystring: strict({}),
          response: answers({ 200: OwnUsage }),
        },
      },
      async ({ identity: { tenant, tier, limitKey } }) => {
        const { since, items, complete } = await clients.usage({ after: '', limit: 1, caller: limitKey })
        const { caller: _, ...counts } = items[0] ?? NOTHING
        const { commandsPerSecond, connections, symbols } = tier
        // JSON has no Infinity: it stands as null.
        const limits = { commandsPerSecond, connections, symbols }
        return { since, ...counts, tenant, tier: tier.name, limits, complete }
      },
    )
  }
}

const NOTHING: UsageEntry = {
  ...{ caller: '', tenant: '', connections: 0, subscriptions: 0, receivedMessages: 0 },
  ...{ sentEvents: 0, sentBytes: 0, conflated: 0, skipped: 0 },
}
