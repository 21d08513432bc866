import Type from 'typebox'
import type { TierName } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import type { GatewayPorts } from '../gateway.ts'
import type { RoutePlugin } from './route.ts'
import { answers, listOf, SECURED, strict } from './schema.ts'

export const TenantId = Type.String({
  pattern: '^[A-Za-z0-9_-]{1,64}$',
  description: '1 to 64 of A-Z a-z 0-9 _ -',
})
/** Checked where tiers are known: an unknown one is 422, not 400. */
export const TierField = Type.String({
  minLength: 1,
  maxLength: 64,
  description: 'basic, premium, institutional',
})

const KeyEntry = Type.Object({
  id: Type.String(),
  prefix: Type.String({ description: 'how the key begins' }),
  tenant: Type.String(),
  tier: Type.Enum(['basic', 'premium', 'institutional']),
  name: Type.Optional(Type.String()),
  scope: Type.Optional(Type.String()),
  createdAt: Type.String({ format: 'date-time' }),
})
const NewKey = Type.Object({
  id: Type.String(),
  key: Type.String({ description: 'shown this once' }),
  prefix: Type.String(),
  tenant: Type.String(),
  tier: Type.Enum(['basic', 'premium', 'institutional']),
})
const KeyPath = strict({ id: Type.String({ minLength: 1, maxLength: 64 }) })

export function keysRoutes({ auth }: GatewayPorts): RoutePlugin {
  return async (server) => {
    server.post(
      '/admin/keys',
      {
        schema: {
          summary: 'Make an API key; a tenant is made by its first one',
          tags: ['admin'],
          security: SECURED,
          body: strict({
            tenant: TenantId,
            tier: TierField,
            name: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
            scope: Type.Optional(
              Type.String({
                pattern: '^[A-Za-z0-9_.:-]+( [A-Za-z0-9_.:-]+)*$',
                minLength: 1,
                maxLength: 128,
                description: 'words with spaces between; admin: the key may call admin routes',
              }),
            ),
          }),
          response: answers({ 201: NewKey }, [400, 401, 403, 422, 503]),
        },
      },
      async ({ body }, reply) => {
        const { id, key, prefix, tenant, tier } = await auth.createKey({
          ...body,
          tier: body.tier as TierName,
        })
        reply.code(201)
        return { id, key, prefix, tenant, tier }
      },
    )
    server.get(
      '/admin/keys',
      {
        schema: {
          summary: 'Every key, without its secret',
          tags: ['admin'],
          security: SECURED,
          querystring: strict({}),
          response: answers({ 200: listOf(KeyEntry) }, [400, 401, 403, 503]),
        },
      },
      async () => ({ items: await auth.listKeys(), next: null }),
    )
    server.get(
      '/admin/keys/:id',
      {
        schema: {
          summary: 'One key, without its secret',
          tags: ['admin'],
          security: SECURED,
          params: KeyPath,
          response: answers({ 200: KeyEntry }, [400, 401, 403, 404, 503]),
        },
      },
      async ({ params }) => {
        const key = (await auth.listKeys()).find(({ id }) => id === params.id)
        if (!key) throw unknownKey(params.id)
        return key
      },
    )
    server.delete(
      '/admin/keys/:id',
      {
        schema: {
          summary: 'Delete a key; its tokens and live sessions end',
          tags: ['admin'],
          security: SECURED,
          params: KeyPath,
          response: answers({ 204: Type.Null() }, [400, 401, 403, 404, 503]),
        },
      },
      async ({ params }, reply) => {
        if (!(await auth.deleteKey(params.id))) throw unknownKey(params.id)
        return reply.code(204).send()
      },
    )
  }
}

function unknownKey(id: string): FeedgateError {
  return new FeedgateError('not-found', `there is no key with id ${id}: GET /admin/keys lists them`)
}
