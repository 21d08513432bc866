import Type from 'typebox'
import { FeedgateError } from '../../errors.ts'
import { ClientEntry, UsageEntry } from '../clients.ts'
import type { RestPorts } from '../gateway.ts'
import { TenantId } from './admin-keys.ts'
import type { RoutePlugin } from './route.ts'
import { answers, Cursor, listOf, SECURED, strict } from './schema.ts'

const ClientId = Type.String({ pattern: '^[a-z0-9]{1,64}$', description: '`id` of a client' })
const INCOMPLETE =
  'Each gateway is asked. `complete` is false when one did not answer within 2 s, or Redis is away: then what it has is not in the answer.'
export const Since = Type.Integer({
  description:
    'every gateway has counted at least since then, µs since the Unix epoch; a start of one begins anew',
})
export const Complete = Type.Boolean({ description: 'every gateway has answered' })
const PAGE = { limit: { minimum: 1, maximum: 1_000, default: 100 } }

/** Who is connected, at whichever gateway, and what was sent. */
export function clientsRoutes({ clients }: RestPorts): RoutePlugin {
  return async (server) => {
    server.get(
      '/admin/clients',
      {
        schema: {
          summary: 'The clients that are connected to all gateways, oldest first',
          description: INCOMPLETE,
          tags: ['admin'],
          security: SECURED,
          querystring: strict({
            tenant: Type.Optional(TenantId),
            limit: Type.Optional(Type.Integer({ ...PAGE.limit, description: 'items on a page' })),
            cursor: Type.Optional(ClientId),
          }),
          response: answers(
            { 200: Type.Object({ ...listOf(ClientEntry).properties, complete: Complete }) },
            [400, 401, 403],
          ),
        },
      },
      async ({ query: { tenant, limit = PAGE.limit.default, cursor = '' } }) =>
        clients.list({ after: cursor, limit, ...(tenant === undefined ? {} : { tenant }) }),
    )
    server.get(
      '/admin/usage',
      {
        schema: {
          summary: 'What each caller has open and was sent by WebSocket',
          description: INCOMPLETE,
          tags: ['admin'],
          security: SECURED,
          querystring: strict({
            tenant: Type.Optional(TenantId),
            limit: Type.Optional(Type.Integer({ ...PAGE.limit, description: 'items on a page' })),
            cursor: Cursor,
          }),
          response: answers(
            { 200: Type.Object({ since: Since, ...listOf(UsageEntry).properties, complete: Complete }) },
            [400, 401, 403],
          ),
        },
      },
      async ({ query: { tenant, limit = PAGE.limit.default, cursor = '' } }) =>
        clients.usage({ after: cursor, limit, ...(tenant === undefined ? {} : { tenant }) }),
    )
    server.delete(
      '/admin/clients/:id',
      {
        schema: {
          summary: 'Close the connection of a client with 4009; its key stays',
          tags: ['admin'],
          security: SECURED,
          params: strict({ id: ClientId }),
          response: answers({ 204: Type.Null() }, [400, 401, 403, 404, 503]),
        },
      },
      async ({ params: { id } }, reply) => {
        if (!(await clients.end(id)))
          throw new FeedgateError(
            'not-found',
            `there is no client with id ${id}: GET /admin/clients lists them`,
          )
        return reply.code(204).send()
      },
    )
  }
}
