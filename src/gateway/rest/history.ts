import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import Type from 'typebox'
import type { Identity } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import type { HistoryQuery, StoredEvent } from '../../store/store.ts'
import type { GatewayPorts } from '../gateway.ts'
import { requireSource, type Selection, Sight, select, timeRange } from './access.ts'
import { BookHistory } from './book-history.ts'
import { csvOf } from './csv.ts'
import { sendList } from './list.ts'
import type { RoutePlugin } from './route.ts'
import {
  answers,
  ChannelName,
  EventStream,
  Paging,
  SECURED,
  Source,
  Subject,
  strict,
  Timeframe,
} from './schema.ts'

const DEFAULT_LIMIT = 1_000
/** Events read at a time while all of a history is streamed: what one reader holds in memory. */
const STREAM_PAGE = 2_000

const Format = Type.Optional(
  Type.Enum(['json', 'ndjson', 'csv'], {
    description:
      'default by Accept (`application/x-ndjson`, `text/csv`), else JSON; NDJSON and CSV stream all that there is, or the first `limit` where that is given',
  }),
)
export const HistoryParameters = { ...Paging, format: Format }

interface HistoryRequest {
  readonly channel: string
  readonly source?: string
  readonly symbol?: string
  readonly timeframe?: string
  readonly from?: string
  readonly to?: string
  readonly limit?: number
  readonly cursor?: string
  readonly format?: string
}

export function historyRoutes(ports: GatewayPorts): RoutePlugin {
  return async (server) => {
    server.get(
      '/v1/history/:channel',
      {
        schema: {
          summary: 'Stored events, oldest first',
          description:
            'In the order of receivedTime, topic, epoch and seq. What lies outside of the window of the tier, or of a grant, is not shown, so that a page over several sources may hold less than its limit; books are shown at the depth that is allowed.',
          tags: ['market data'],
          security: SECURED,
          params: strict({ channel: ChannelName }),
          querystring: strict({
            source: Source,
            symbol: Subject,
            timeframe: Timeframe,
            ...HistoryParameters,
          }),
          response: answers({ 200: EventStream }, [400, 401, 403, 422, 429, 503]),
        },
      },
      async ({ identity, params, query, headers }, reply) =>
        sendHistory(ports, identity, { ...query, channel: params.channel }, headers.accept, reply),
    )
  }
}

export async function sendHistory(
  ports: GatewayPorts,
  identity: Identity,
  request: HistoryRequest,
  accept: string | undefined,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { selection, allowed } = await select(ports, identity, request)
  const query = {
    ...selection,
    ...timeRange(request, allowed),
    ...(request.cursor === undefined ? {} : { cursor: request.cursor }),
  }
  const format = request.format ?? formatOf(accept)
  const exports = format !== 'json'
  if (exports && allowed.display)
    throw new FeedgateError('forbidden', `the grant for ${selection.source} is for display: it has no export`)
  const bodiesOf = bodiesFor(ports, identity, selection, exports)
  if (format === 'json') {
    const { items, next } = await ports.store.history({ ...query, limit: request.limit ?? DEFAULT_LIMIT })
    return sendList(reply, await bodiesOf(items), next)
  }
  const { type, head, line } = format === 'csv' ? csv(selection.channel) : NDJSON
  const lines = async (items: readonly StoredEvent[]) => (await bodiesOf(items)).map(line)
  const pages = linesOf(ports, query, request.limit ?? Infinity, lines)
  // The first page is there before the answer begins, so that what is wrong can still be told as a problem.
  const first = await pages.next()
  const stream = Readable.from(following(head + (first.done ? '' : first.value), pages), {
    objectMode: false,
  })
  // The answer has begun: all that is left is to end it without its proper end, and to say so here.
  stream.on('error', ({ message }) => ports.log.warn({ error: message }, 'a streamed history broke off'))
  return reply.type(type).send(stream)
}

/** The stored text of the events that the caller may see; of books, what his depth leaves of them. */
function bodiesFor(
  ports: GatewayPorts,
  identity: Identity,
  { channel, source }: Selection,
  exports: boolean,
) {
  const books = channel === 'orderbook' ? new BookHistory(ports.store) : undefined
  return async (items: readonly StoredEvent[]): Promise<readonly string[]> => {
    // A stream may outlast the grant that it began with.
    if (source !== undefined) requireSource(ports, identity, { source, channel })
    const sight = new Sight(ports, identity, exports)
    const shown = items.filter((event) => sight.shows(event))
    return books ? books.bodies(shown, (topic) => sight.depth(topic)) : shown.map(({ body }) => body)
  }
}

const NDJSON = { type: 'application/x-ndjson; charset=utf-8', head: '', line: (body: string) => `${body}\n` }

function csv(channel: HistoryQuery['channel']) {
  const { header, row } = csvOf(channel)
  return { type: 'text/csv; charset=utf-8; header=present', head: header, line: row }
}

function formatOf(accept = ''): 'json' | 'ndjson' | 'csv' {
  if (/application\/(x-)?ndjson/i.test(accept)) return 'ndjson'
  return /text\/csv/i.test(accept) ? 'csv' : 'json'
}

/** One text for each page of the store; the next is read when the client has taken the one before. */
async function* linesOf(
  ports: GatewayPorts,
  query: Omit<HistoryQuery, 'limit'>,
  limit: number,
  lines: (items: readonly StoredEvent[]) => Promise<readonly string[]>,
): AsyncGenerator<string, void> {
  let left = limit
  let cursor = query.cursor
  while (left > 0) {
    const page = { ...query, limit: Math.min(left, STREAM_PAGE) }
    const { items, next } = await ports.store.history(cursor === undefined ? page : { ...page, cursor })
    const shown = await lines(items)
    if (shown.length > 0) yield shown.join('')
    if (next === null) return
    cursor = next
    left -= shown.length
  }
}

async function* following(first: string, rest: AsyncIterable<string>): AsyncGenerator<string, void> {
  if (first !== '') yield first
  yield* rest
}
