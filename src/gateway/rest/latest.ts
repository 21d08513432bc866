import Type from 'typebox'
import type { Identity } from '../../auth/auth.ts'
import type { TopicImage } from '../../cache/cache.ts'
import { FeedgateError } from '../../errors.ts'
import type { GatewayPorts } from '../gateway.ts'
import { requireSource, select, subjectOf } from './access.ts'
import { bookSnapshot } from './book.ts'
import { sendList } from './list.ts'
import type { RoutePlugin } from './route.ts'
import { answers, ChannelName, Event, listOf, SECURED, Source, Subject, strict, Timeframe } from './schema.ts'

export function latestRoutes(ports: GatewayPorts): RoutePlugin {
  return async (server) => {
    server.get(
      '/v1/latest',
      {
        schema: {
          summary: 'The newest value of each topic and key',
          description: 'Books as their snapshot, at the depth that the tier allows.',
          tags: ['market data'],
          security: SECURED,
          querystring: strict({
            channel: Type.Optional(ChannelName),
            source: Source,
            symbol: Subject,
            timeframe: Timeframe,
          }),
          response: answers({ 200: listOf(Event) }, [400, 401, 403, 422, 429, 503]),
        },
      },
      async ({ identity, query }, reply) => {
        const { channel, source, symbol, timeframe } = query
        if (channel !== undefined) await select(ports, identity, { channel, source, symbol, timeframe })
        else if (source !== undefined) requireSource(ports, identity, 'source', source)
        const images = await ports.cache.images({
          ...(channel === undefined ? {} : { channel }),
          ...(source === undefined ? {} : { source }),
          ...(timeframe === undefined ? {} : { timeframe }),
        })
        const wanted = images.filter(
          ({ topic }) =>
            ports.auth.entitled(identity, topic).allowed &&
            (symbol === undefined || topic.subject === subjectOf(identity, topic.channel, symbol)),
        )
        if (symbol !== undefined && channel === undefined && wanted.length === 0)
          throw new FeedgateError(
            'unknown-symbol',
            `no source has anything of ${symbol}: GET /v1/sources lists them`,
          )
        return sendList(
          reply,
          wanted.flatMap((image) => newest(ports, identity, image)),
        )
      },
    )
  }
}

function newest(ports: GatewayPorts, identity: Identity, image: TopicImage): readonly string[] {
  const entitlement = ports.auth.entitled(identity, image.topic)
  if (!entitlement.allowed) return []
  if (image.topic.channel !== 'orderbook') return image.values.map(({ bytes }) => bytes.toString())
  return image.book ? [bookSnapshot(image.book, entitlement.depth)] : []
}
