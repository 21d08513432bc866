import Type from 'typebox'
import { FeedgateError } from '../../errors.ts'
import type { GatewayPorts } from '../gateway.ts'
import { findTopic, requireChannel, requireSource, timeRange, unknownSymbol } from './access.ts'
import type { RoutePlugin } from './route.ts'
import { answers, listOf, Paging, SECURED, SourceName, SubjectName, strict, TimeframeName } from './schema.ts'

const DEFAULT_LIMIT = 1_000
/** Whole numbers of seconds, minutes, hours, days or weeks. */
const KNOWN_TIMEFRAME = /^[1-9]\d{0,3}[smhdw]$/

const CandleEntry = Type.Object({
  source: Type.String(),
  symbol: Type.String(),
  timeframe: Type.String(),
  openTime: Type.Integer({ description: 'µs since the Unix epoch' }),
  open: Type.String(),
  high: Type.String(),
  low: Type.String(),
  close: Type.String(),
  volume: Type.String(),
  trades: Type.Optional(Type.Integer()),
  closed: Type.Boolean(),
  origin: Type.Enum(['venue', 'computed']),
})

export function candlesRoutes(ports: GatewayPorts): RoutePlugin {
  return async (server) => {
    server.get(
      '/v1/candles',
      {
        schema: {
          summary: 'Candles of any timeframe, oldest first',
          description:
            "By the trades' own time, from trades and candles stored; `from` and `to` bound openTime. Of a restricted source both channels must be granted, and where the grant has a delay or an end candles are shown that had closed by then.",
          tags: ['market data'],
          security: SECURED,
          querystring: strict({
            source: SourceName,
            symbol: SubjectName,
            timeframe: TimeframeName,
            ...Paging,
          }),
          response: answers({ 200: listOf(CandleEntry) }, [400, 401, 403, 422, 429, 503]),
        },
      },
      async ({ identity, query }) => {
        const { source, symbol, timeframe, limit = DEFAULT_LIMIT, cursor } = query
        const { channel } = requireChannel(ports, identity, 'ohlcv')
        const inputs = [{ source, channel: 'trades' }] as const
        const allowed = requireSource(ports, identity, { source, channel, inputs })
        if (!KNOWN_TIMEFRAME.test(timeframe))
          throw new FeedgateError(
            'unknown-timeframe',
            `timeframe ${timeframe} is unknown: accepted are whole numbers of s, m, h, d or w, such as 5m`,
          )
        const range = timeRange(query, ended(allowed, timeframe))
        const carried = await Promise.all(
          (['trades', 'ohlcv'] as const).map((from) =>
            findTopic(ports, { channel: from, source, subject: symbol }),
          ),
        )
        if (!carried.some((topic) => topic)) throw unknownSymbol(channel, symbol)
        return ports.store.candles({
          source,
          subject: symbol,
          timeframe,
          ...range,
          limit,
          ...(cursor === undefined ? {} : { cursor }),
        })
      },
    )
  }
}

const SECONDS = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 }

/** A candle that has not closed holds what is newer than its openTime. */
function ended<A extends { readonly newest: number }>(allowed: A, timeframe: string): A {
  const unit = timeframe.at(-1) as keyof typeof SECONDS
  const micro = 0.001
  return {
    ...allowed,
    newest: allowed.newest - Number.parseInt(timeframe, 10) * SECONDS[unit] * 1_000 + micro,
  }
}
