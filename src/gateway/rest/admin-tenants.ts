import Type from 'typebox'
import type { Tier, TierName } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import type { GatewayPorts } from '../gateway.ts'
import { TenantId, TierField } from './admin-keys.ts'
import type { RoutePlugin } from './route.ts'
import { answers, listOf, SECURED, strict } from './schema.ts'

const TenantEntry = Type.Object({
  tenant: Type.String(),
  tier: Type.Enum(['basic', 'premium', 'institutional'], { description: 'its ceiling' }),
  createdAt: Type.String({ format: 'date-time' }),
})
const TenantPath = strict({ tenant: TenantId })

const LimitNumber = Type.Union([Type.Number(), Type.Null()], { description: 'null: no limit' })
const TierEntry = Type.Object({
  tier: Type.String(),
  channels: Type.Array(Type.String()),
  bookDepth: LimitNumber,
  framesPerMinute: LimitNumber,
  frameBurst: LimitNumber,
  conflateMs: LimitNumber,
  commandsPerSecond: LimitNumber,
  connections: LimitNumber,
  symbols: LimitNumber,
  resumeWindowMs: LimitNumber,
  historyMs: LimitNumber,
  replaySpeed: LimitNumber,
})

export function tenantsRoutes({ auth }: GatewayPorts): RoutePlugin {
  return async (server) => {
    server.get(
      '/admin/tenants',
      {
        schema: {
          summary: 'Every tenant and its ceiling',
          tags: ['admin'],
          security: SECURED,
          querystring: strict({}),
          response: answers({ 200: listOf(TenantEntry) }, [400, 401, 403, 503]),
        },
      },
      async () => ({ items: await auth.listTenants(), next: null }),
    )
    server.get(
      '/admin/tenants/:tenant',
      {
        schema: {
          summary: 'One tenant',
          tags: ['admin'],
          security: SECURED,
          params: TenantPath,
          response: answers({ 200: TenantEntry }, [400, 401, 403, 404, 503]),
        },
      },
      async ({ params }) => {
        const tenant = (await auth.listTenants()).find((one) => one.tenant === params.tenant)
        if (!tenant) throw unknownTenant(params.tenant)
        return tenant
      },
    )
    server.put(
      '/admin/tenants/:tenant',
      {
        schema: {
          summary: 'Set the ceiling of a tenant; it holds at once',
          tags: ['admin'],
          security: SECURED,
          params: TenantPath,
          body: strict({ tier: TierField }),
          response: answers({ 200: TenantEntry }, [400, 401, 403, 404, 422, 503]),
        },
      },
      async ({ params, body }) => {
        const tenant = await auth.setTenantTier(params.tenant, body.tier as TierName)
        if (!tenant) throw unknownTenant(params.tenant)
        return tenant
      },
    )
    server.get(
      '/admin/tiers',
      {
        schema: {
          summary: 'What each tier allows',
          tags: ['admin'],
          security: SECURED,
          querystring: strict({}),
          response: answers({ 200: listOf(TierEntry) }, [400, 401, 403]),
        },
      },
      async () => ({ items: Object.values(auth.tiers).map(entryOf), next: null }),
    )
  }
}

function unknownTenant(tenant: string): FeedgateError {
  return new FeedgateError('not-found', `there is no tenant ${tenant}: a tenant is made by its first key`)
}

/** JSON has no Infinity: it stands as null. */
function entryOf({ name, channels, ...limits }: Tier): object {
  return { tier: name, channels: [...channels], ...limits }
}
