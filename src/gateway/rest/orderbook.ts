import Type from 'typebox'
import { FeedgateError } from '../../errors.ts'
import type { Micros } from '../../market/event.ts'
import type { Topic } from '../../market/topic.ts'
import type { GatewayPorts } from '../gateway.ts'
import { findTopic, readTime, requireChannel, requireNow, requireSource, unknownSymbol } from './access.ts'
import { bookView } from './book.ts'
import type { RoutePlugin } from './route.ts'
import { answers, SECURED, SourceName, SubjectName, strict, Time } from './schema.ts'

const Levels = Type.Array(Type.Array(Type.String(), { minItems: 2, maxItems: 2 }), {
  description: 'price and size, best first',
})

const BookAnswer = Type.Object({
  source: Type.String(),
  symbol: Type.String(),
  epoch: Type.Integer(),
  seq: Type.Integer({ description: 'of the last event that the book holds' }),
  receivedTime: Type.Integer({ description: 'of that event, µs since the Unix epoch' }),
  bids: Levels,
  asks: Levels,
  depth: Type.Integer({ description: 'levels a side that are shown; 0: all that there are' }),
  checksum: Type.Integer({ description: 'CRC32 of the best 25 levels shown' }),
})

export function orderBookRoutes(ports: GatewayPorts): RoutePlugin {
  return async (server) => {
    server.get(
      '/v1/orderbook',
      {
        schema: {
          summary: 'An order book, now or as it stood at a stored time',
          description:
            'A depth beyond what is allowed is answered with what is. Of a source with a delay: as it was so long ago.',
          tags: ['market data'],
          security: SECURED,
          querystring: strict({
            source: SourceName,
            symbol: SubjectName,
            depth: Type.Optional(
              Type.Integer({
                minimum: 1,
                maximum: 100_000,
                description: 'levels a side; default: all allowed',
              }),
            ),
            at: Time,
          }),
          response: answers({ 200: BookAnswer }, [400, 401, 403, 404, 422, 429, 503]),
        },
      },
      async ({ identity, query }) => {
        const { source, symbol, depth = Infinity } = query
        const { channel } = requireChannel(ports, identity, 'orderbook')
        const allowed = requireSource(ports, identity, { source, channel })
        if (query.at === undefined) requireNow(allowed, source)
        // What comes late is now as it was then.
        const late = allowed.delayMs > 0 ? Math.floor(allowed.newest * 1_000) - 1 : undefined
        const at = query.at === undefined ? late : readTime('at', query.at)
        const topic = await findTopic(ports, { channel, source, subject: symbol })
        if (!topic) throw unknownSymbol(channel, symbol)
        if (at !== undefined && at < allowed.oldest * 1_000)
          throw new FeedgateError(
            'forbidden',
            `what tier ${identity.tier.name} and the grants allow does not reach back so far`,
          )
        if (at !== undefined && at >= allowed.newest * 1_000)
          throw new FeedgateError('forbidden', `the grant for ${source} does not reach up to then`)
        const book = at === undefined ? await bookNow(ports, topic) : await bookThen(ports, topic, at)
        const { epoch, seq, receivedTime } = book
        return { source, symbol, epoch, seq, receivedTime, ...bookView(book, Math.min(depth, allowed.depth)) }
      },
    )
  }
}

/** A book that is not known to be right is never served. */
async function bookNow(ports: GatewayPorts, topic: Topic) {
  const status = ports.manager
    .status(topic.source)
    ?.topics.find((entry) => entry.channel === 'orderbook' && entry.symbol === topic.publicSubject)
  const image = status?.state === 'live' ? (await ports.cache.image(topic))?.book : undefined
  if (!image)
    throw new FeedgateError(
      'source-stale',
      `the book of ${topic.publicSubject} at ${topic.source} is not known now: it is being rebuilt`,
      { retryAfterMs: 1_000 },
    )
  const { epoch, seq, receivedTime } = image.last
  return { ...image, epoch, seq, receivedTime }
}

async function bookThen(ports: GatewayPorts, topic: Topic, at: Micros) {
  if (at > ports.now()) throw new FeedgateError('bad-request', 'query parameter at must not be in the future')
  const book = await ports.store.bookAt(topic, at)
  if (!book)
    throw new FeedgateError(
      'not-found',
      `the book of ${topic.publicSubject} at ${topic.source} was not known then`,
    )
  return book
}
