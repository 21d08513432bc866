import Type from 'typebox'
import type { Identity } from '../../auth/auth.ts'
import type { TopicImage } from '../../cache/cache.ts'
import { FeedgateError } from '../../errors.ts'
import { decodeEvent } from '../../market/decode.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { Topic } from '../../market/topic.ts'
import type { GatewayPorts } from '../gateway.ts'
import { requireChannel, visibleSources } from './access.ts'
import { HistoryParameters, sendHistory } from './history.ts'
import { newestOf } from './latest.ts'
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
        const images = await ports.cache.images({ channel, subject: eventId })
        const cached = await newestOf(ports, identity, images)
        if (cached.length > 0) return sendList(reply.header('x-cache', 'hit'), cached)
        const stored = await newestOf(ports, identity, await storedImages(ports, identity, eventId))
        if (stored.length === 0)
          throw new FeedgateError('not-found', `there are no odds of an event ${eventId}`)
        return sendList(reply.header('x-cache', 'miss'), stored)
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

/** The newest of each market and price as the store has them. */
async function storedImages(
  ports: GatewayPorts,
  identity: Identity,
  eventId: string,
): Promise<readonly TopicImage[]> {
  const stored = await ports.store.oddsCurrent(eventId, visibleSources(ports, identity, 'odds'))
  const images = new Map<Topic, EncodedEvent[]>()
  for (const { topic, body } of stored) {
    const values = images.get(topic) ?? []
    values.push(decodeEvent(topic, Buffer.from(body)))
    images.set(topic, values)
  }
  return Array.from(images, ([topic, values]) => ({ topic, epoch: 0, seq: 0, values }))
}
