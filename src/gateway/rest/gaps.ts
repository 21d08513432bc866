import Type from 'typebox'
import type { Identity } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import { CHANNELS, type Channel, isChannel } from '../../market/event.ts'
import type { GatewayPorts } from '../gateway.ts'
import { findTopic, requireSource, Sight, select, subjectOf, timeRange, visibleSources } from './access.ts'
import { sendList } from './list.ts'
import type { RoutePlugin } from './route.ts'
import { answers, ChannelName, Event, listOf, Paging, SECURED, Source, Subject, strict } from './schema.ts'

const DEFAULT_LIMIT = 1_000

export function gapsRoutes(ports: GatewayPorts): RoutePlugin {
  return async (server) => {
    server.get(
      '/v1/gaps',
      {
        schema: {
          summary: 'Every known hole, oldest first',
          description:
            'Of what the tier or the grants do not cover nothing is shown; a page may hold less than its limit.',
          tags: ['market data'],
          security: SECURED,
          querystring: strict({
            source: Source,
            channel: Type.Optional(ChannelName),
            symbol: Subject,
            ...Paging,
          }),
          response: answers({ 200: listOf(Event) }, [400, 401, 403, 422, 429, 503]),
        },
      },
      async ({ identity, query }, reply) => {
        const { channel, source, symbol, limit = DEFAULT_LIMIT, cursor } = query
        if (channel !== undefined) await select(ports, identity, { channel, source, symbol })
        else if (source !== undefined) requireSource(ports, identity, { source, channel: 'source' })
        const allowed = ports.auth.entitled(identity, { source: '*', channel: 'source' })
        if (!allowed.allowed) return sendList(reply, [])
        const sources = source === undefined ? visibleSources(ports, identity, 'source') : undefined
        const { items, next } = await ports.store.gaps({
          ...(channel !== undefined && isChannel(channel) ? { channel } : {}),
          ...(source === undefined ? {} : { source }),
          ...(sources === undefined ? {} : { sources }),
          ...(symbol === undefined
            ? {}
            : { subject: channel === 'status' ? `${identity.tenant}/${symbol}` : symbol }),
          ...timeRange(query, allowed),
          limit,
          ...(cursor === undefined ? {} : { cursor }),
        })
        if (channel === undefined && symbol !== undefined && items.length === 0)
          await requireSymbol(ports, identity, { source, symbol })
        const sight = new Sight(ports, identity)
        const seen = items.filter((gap) => sight.shows(gap))
        return sendList(
          reply,
          seen.map(({ body }) => body),
          next,
        )
      },
    )
  }
}

/** Rejects with unknown-symbol (422) what no channel that the caller has knows. */
async function requireSymbol(
  ports: GatewayPorts,
  identity: Identity,
  { source, symbol }: { readonly source: string | undefined; readonly symbol: string },
): Promise<void> {
  for (const channel of Object.keys(CHANNELS) as Channel[]) {
    if (!ports.auth.entitled(identity, { source: source ?? '*', channel }).allowed) continue
    const sources = source === undefined ? visibleSources(ports, identity, channel) : [source]
    const subject = subjectOf(identity, channel, symbol)
    if (await findTopic(ports, { channel, subject, ...(sources ? { sources } : {}) })) return
  }
  throw new FeedgateError('unknown-symbol', `no source has anything of ${symbol}: GET /v1/sources lists them`)
}
