import Type from 'typebox'
import type { Instrument } from '../../connectors/connector.ts'
import { FeedgateError } from '../../errors.ts'
import type { GatewayPorts } from '../gateway.ts'
import { requireSource, visibleSources } from './access.ts'
import type { RoutePlugin } from './route.ts'
import { answers, Cursor, Limit, listOf, SECURED, Source, Subject, strict } from './schema.ts'

const DEFAULT_LIMIT = 1_000

const optional = (description: string) => Type.Optional(Type.String({ description }))
const Entry = Type.Object({
  source: Type.String(),
  symbol: Type.String(),
  venueSymbol: Type.String({ description: "the venue's own name" }),
  type: Type.Enum(['spot', 'swap', 'future']),
  base: Type.String(),
  quote: Type.String(),
  settle: optional('of derivatives: what gains and losses are paid in'),
  expiry: Type.Optional(Type.Integer({ description: 'of futures, µs since the Unix epoch' })),
  contractSize: optional('what one contract is worth, where sizes count contracts'),
  tickSize: optional('prices are multiples of it'),
  lotSize: optional('sizes are multiples of it'),
  minSize: optional('the smallest order'),
  status: Type.String({ description: "in the venue's own word" }),
})

export function instrumentsRoutes(ports: GatewayPorts): RoutePlugin {
  return async (server) => {
    server.get(
      '/v1/instruments',
      {
        schema: {
          summary: 'What the venues list, by source and symbol; read again every hour',
          description: 'A source whose venue has no list, or whose list could not be read yet, has none.',
          tags: ['market data'],
          security: SECURED,
          querystring: strict({
            source: Source,
            symbol: Subject,
            type: Type.Optional(Type.Enum(['spot', 'swap', 'future'])),
            limit: Limit,
            cursor: Cursor,
          }),
          response: answers({ 200: listOf(Entry) }, [400, 401, 403, 422, 429, 503]),
        },
      },
      async ({ identity, query }) => {
        const { source, symbol, type, limit = DEFAULT_LIMIT, cursor } = query
        if (source !== undefined) requireSource(ports, identity, { source, channel: 'source' })
        const seen = visibleSources(ports, identity, 'source') ?? ports.manager.status().map(({ id }) => id)
        const after = cursor === undefined ? undefined : readCursor(cursor)
        const sources = (source === undefined ? [...seen].sort() : [source]).filter(
          (id) => after === undefined || id >= after.source,
        )
        const items: ({ source: string } & Instrument)[] = []
        for (const id of sources) {
          const from = id === after?.source ? after.symbol : undefined
          const listed = ((await ports.manager.instruments(id)) ?? [])
            .filter((one) => symbol === undefined || one.symbol === symbol)
            .filter((one) => type === undefined || one.type === type)
            .filter((one) => from === undefined || one.symbol > from)
            .sort((a, b) => (a.symbol < b.symbol ? -1 : 1))
          for (const one of listed) {
            if (items.length === limit) return { items, next: writeCursor(items.at(-1)!) }
            items.push({ source: id, ...one })
          }
        }
        return { items, next: null }
      },
    )
  }
}

interface Place {
  readonly source: string
  readonly symbol: string
}

function writeCursor({ source, symbol }: Place): string {
  return Buffer.from(JSON.stringify([source, symbol])).toString('base64url')
}

function readCursor(cursor: string): Place {
  try {
    const [source, symbol] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]
    if (typeof source === 'string' && typeof symbol === 'string') return { source, symbol }
  } catch {
    // Told below.
  }
  throw new FeedgateError('bad-request', 'query parameter cursor must be the `next` of the page before')
}
