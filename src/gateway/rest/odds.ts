import Type from 'typebox'
import type { Identity } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import type { GatewayPorts } from '../gateway.ts'
import { requireChannel, visibleSources } from './access.ts'
import { HistoryParameters, sendHistory } from './history.ts'
import { sendList } from './list.ts'
import type { RoutePlugin } from './route.ts'
import { answers, Event, EventStream, listOf, SECURED, Source, strict } from './schema.ts'

const EventPath = strict({
  eventId: Type.String({
    pattern: '^[A-Za-z0-9_.:@+-]{1,128}$',
    maxLength: 128,
    minLength: 1,
    description: 'letters, digits and _.:@+-',
  }),
})

export function oddsRoutes(ports: GatewayPorts): RoutePlugin {
  return async (server) => {
    server.get(
      '/v1/odds/:eventId',
      {
        schema: {
          summary: 'The markets and prices of an event as they stand now',
          description: 'From the cache (`X-Cache: hit`), else from the database (`miss`).',
          tags: ['odds'],
          security: SECURED,
          params: EventPath,
          querystring: strict({}),
          response: answers({ 200: listOf(Event) }, [400, 401, 403, 404, 429, 503]),
        },
      },
      async ({ identity, params: { eventId } }, reply) => {
        const { channel } = requireChannel(ports, identity, 'odds')
        const cached = await cachedOdds(ports, identity, eventId)
        if (cached.length > 0) return sendList(reply.header('x-cache', 'hit'), cached)
        const sources = visibleSources(ports, identity, channel)
        const stored = await ports.store.oddsCurrent(eventId, sources)
        if (stored.length === 0)
          throw new FeedgateError('not-found', `there are no odds of an event ${eventId}`)
        return sendList(
          reply.header('x-cache', 'miss'),
          stored.map(({ body }) => body),
        )
      },
    )
    server.get(
      '/v1/odds/:eventId/history',
      {
        schema: {
          summary: 'Every change of the odds of an event, oldest first',
          tags: ['odds'],
          security: SECURED,
          params: EventPath,
          querystring: strict({ source: Source, ...HistoryParameters }),
          response: answers({ 200: EventStream }, [400, 401, 403, 422, 429, 503]),
        },
      },
      async ({ identity, params, query, headers }, reply) =>
        sendHistory(
          ports,
          identity,
          { ...query, channel: 'odds', symbol: params.eventId },
          headers.accept,
          reply,
        ),
    )
  }
}

async function cachedOdds(
  ports: GatewayPorts,
  identity: Identity,
  eventId: string,
): Promise<readonly string[]> {
  const images = await ports.cache.images({ channel: 'odds', subject: eventId })
  return images
    .filter(({ topic }) => ports.auth.entitled(identity, topic).allowed)
    .flatMap(({ values }) => values.map(({ bytes }) => bytes.toString()))
}
