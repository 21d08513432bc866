import Type from 'typebox'
import type { Identity } from '../../auth/auth.ts'
import type { TopicImage } from '../../cache/cache.ts'
import { FeedgateError } from '../../errors.ts'
import type { GatewayPorts } from '../gateway.ts'
import { imageBefore } from '../late.ts'
import { requireNow, requireSource, select, subjectOf } from './access.ts'
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
          description:
            'Books as their snapshot, at the depth that is allowed. Of a source with a delay what was newest so long ago, with the flag `delayed`.',
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
        if (channel !== undefined) {
          const { allowed } = await select(ports, identity, { channel, source, symbol, timeframe })
          if (source !== undefined) requireNow(allowed, source)
        } else if (source !== undefined) requireSource(ports, identity, { source, channel: 'source' })
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
        return sendList(reply, await newestOf(ports, identity, wanted))
      },
    )
  }
}

/** What the caller may see now of these topics: of those that come late to him, as they were then. */
export async function newestOf(
  ports: GatewayPorts,
  identity: Identity,
  images: readonly TopicImage[],
): Promise<readonly string[]> {
  const bodies: string[] = []
  for (const image of images) {
    const entitlement = ports.auth.entitled(identity, image.topic)
    if (!entitlement.allowed || !entitlement.live) continue
    const { delayMs, newest, depth } = entitlement
    const shown =
      delayMs === 0 ? image : await imageBefore(ports.store, image.topic, Math.floor(newest * 1_000))
    if (shown?.book) bodies.push(bookSnapshot(shown.book, depth))
    else if (image.topic.channel !== 'orderbook')
      for (const { bytes } of shown?.values ?? []) bodies.push(bytes.toString())
  }
  return bodies
}
