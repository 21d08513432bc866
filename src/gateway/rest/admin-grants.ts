import Type from 'typebox'
import type { Grant } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import { isChannel } from '../../market/event.ts'
import type { GatewayPorts } from '../gateway.ts'
import { parseTime } from '../time.ts'
import { unknownChannel, unknownSource } from './access.ts'
import { TenantId } from './admin-keys.ts'
import type { RoutePlugin } from './route.ts'
import { answers, ChannelName, listOf, SECURED, SourceName, strict } from './schema.ts'

const MAX_DELAY_MS = 31 * 86_400_000

const Depth = Type.Integer({
  minimum: 1,
  maximum: 100_000,
  description: 'levels a side of books; default: as the tier has it',
})
const DelayMs = Type.Integer({
  minimum: 0,
  maximum: MAX_DELAY_MS,
  default: 0,
  description: 'what is received is seen so much later',
})
const Display = Type.Boolean({
  default: false,
  description: 'for people to look at only: no export, nor anything else that feeds machines alone',
})
const TimeText = (description: string) => Type.String({ minLength: 1, maxLength: 40, description })
const From = 'a time, ISO 8601 or µs since the Unix epoch: what was received from then on; default: all'
const To = 'a time: what was received before then; default: all, and live without end'

const GrantEntry = Type.Object({
  id: Type.String(),
  tenant: Type.String(),
  source: Type.String(),
  channel: Type.Optional(Type.String({ description: 'absent: every channel of the tier' })),
  depth: Type.Optional(Depth),
  delayMs: DelayMs,
  display: Display,
  from: Type.Optional(Type.String({ format: 'date-time' })),
  to: Type.Optional(Type.String({ format: 'date-time' })),
  createdAt: Type.String({ format: 'date-time' }),
})
const GrantPath = strict({ id: Type.String({ minLength: 1, maxLength: 64 }) })

export function grantsRoutes({ auth, manager }: GatewayPorts): RoutePlugin {
  return async (server) => {
    server.post(
      '/admin/grants',
      {
        schema: {
          summary: 'Let a tenant see a restricted source; it holds at once',
          description:
            'It takes the place of an earlier grant for the same tenant, source and channel. One that names a channel stands before one for all. Nothing goes beyond the tier, and an open source needs none.',
          tags: ['admin'],
          security: SECURED,
          body: strict({
            tenant: TenantId,
            source: SourceName,
            channel: Type.Optional(ChannelName),
            depth: Type.Optional(Depth),
            delayMs: Type.Optional(DelayMs),
            display: Type.Optional(Display),
            from: Type.Optional(TimeText(From)),
            to: Type.Optional(TimeText(To)),
          }),
          response: answers({ 201: GrantEntry }, [400, 401, 403, 422, 503]),
        },
      },
      async ({ body }, reply) => {
        const { tenant, source, channel, depth, delayMs = 0, display = false } = body
        if (channel !== undefined && !isChannel(channel)) throw unknownChannel(channel)
        if (depth !== undefined && channel !== undefined && channel !== 'orderbook')
          throw new FeedgateError('bad-request', `field depth is for books: ${channel} has none`)
        const from = readMs('from', body.from)
        const to = readMs('to', body.to)
        if (from !== undefined && to !== undefined && from >= to)
          throw new FeedgateError('bad-request', 'field from must be earlier than to')
        if (manager.licence(source) === undefined) throw unknownSource(source)
        const grant = await auth.createGrant({
          ...{ tenant, source, delayMs, display },
          ...(channel === undefined ? {} : { channel }),
          ...(depth === undefined ? {} : { depth }),
          ...(from === undefined ? {} : { from }),
          ...(to === undefined ? {} : { to }),
        })
        reply.code(201)
        return entryOf(grant)
      },
    )
    server.get(
      '/admin/grants',
      {
        schema: {
          summary: 'Every grant',
          tags: ['admin'],
          security: SECURED,
          querystring: strict({}),
          response: answers({ 200: listOf(GrantEntry) }, [400, 401, 403, 503]),
        },
      },
      async () => ({ items: (await auth.listGrants()).map(entryOf), next: null }),
    )
    server.get(
      '/admin/grants/:id',
      {
        schema: {
          summary: 'One grant',
          tags: ['admin'],
          security: SECURED,
          params: GrantPath,
          response: answers({ 200: GrantEntry }, [400, 401, 403, 404, 503]),
        },
      },
      async ({ params }) => {
        const grant = (await auth.listGrants()).find(({ id }) => id === params.id)
        if (!grant) throw unknownGrant(params.id)
        return entryOf(grant)
      },
    )
    server.delete(
      '/admin/grants/:id',
      {
        schema: {
          summary: 'Take a grant back; live sessions are told what is no longer sent',
          tags: ['admin'],
          security: SECURED,
          params: GrantPath,
          response: answers({ 204: Type.Null() }, [400, 401, 403, 404, 503]),
        },
      },
      async ({ params }, reply) => {
        if (!(await auth.deleteGrant(params.id))) throw unknownGrant(params.id)
        return reply.code(204).send()
      },
    )
  }
}

/** Epoch ms: what is less is cut off. */
function readMs(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const micros = parseTime(text)
  if (micros === undefined)
    throw new FeedgateError(
      'bad-request',
      `field ${name} must be a time: ISO 8601 (2026-11-22T10:00:00Z) or integer µs since the Unix epoch`,
    )
  return Math.floor(micros / 1_000)
}

function entryOf({ from, to, ...grant }: Grant): object {
  return {
    ...grant,
    ...(from === undefined ? {} : { from: new Date(from).toISOString() }),
    ...(to === undefined ? {} : { to: new Date(to).toISOString() }),
  }
}

function unknownGrant(id: string): FeedgateError {
  return new FeedgateError('not-found', `there is no grant with id ${id}: GET /admin/grants lists them`)
}
