import Type, { type Static } from 'typebox'
import { FeedgateError } from '../../errors.ts'
import type { Manager, SourceRequest } from '../../manager/manager.ts'
import { CHANNELS, isChannel } from '../../market/event.ts'
import { SUBJECT_ID } from '../../market/topic.ts'
import type { GatewayPorts } from '../gateway.ts'
import type { RoutePlugin } from './route.ts'
import { answers, ChannelName, listOf, SECURED, strict, Timeframe } from './schema.ts'
import { SourceEntry } from './sources.ts'

const Id = Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$', description: '1 to 64 of A-Z a-z 0-9 _ -' })

const RequestBody = strict({
  exchangeId: Id,
  kind: Type.Optional(Id),
  url: Type.Optional(Type.String({ pattern: '^wss?://', maxLength: 2_048, description: 'ws:// or wss://' })),
  restUrl: Type.Optional(
    Type.String({ pattern: '^https?://', maxLength: 2_048, description: 'http:// or https://' }),
  ),
  channel: Type.Optional(ChannelName),
  symbol: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 128,
      pattern: '^[^\\u0000-\\u001f\\u007f]+$',
      description: 'as BTC/USDT',
    }),
  ),
  timeframe: Timeframe,
  limit: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 100_000,
      description: "the venue's book depth; the deepest asked wins",
    }),
  ),
  credentials: Type.Optional(
    Type.Record(Type.String(), Type.String({ minLength: 1, maxLength: 8_192 }), {
      maxProperties: 10,
      description: 'as ccxt names them: apiKey, secret, password …; stored encrypted, never returned',
    }),
  ),
})
type RequestBody = Static<typeof RequestBody>

const ACTS = {
  connect: 'Connect a source; new 201, known 200',
  subscribe: 'Subscribe to a symbol, connecting its source if needed; new 201, known 200',
  disconnect: 'Disconnect a source and forget it',
  unsubscribe: 'End a subscription',
  rotate: "Replace the source's connections by new ones",
} as const satisfies Partial<Record<keyof Manager, string>>
type Act = keyof typeof ACTS

export function marketDataRoutes({ manager, seal }: GatewayPorts): RoutePlugin {
  return async (server) => {
    for (const act of Object.keys(ACTS) as Act[]) {
      server.post(
        `/market-data/websocket/${act}`,
        {
          schema: {
            summary: ACTS[act],
            tags: ['admin'],
            security: SECURED,
            body: RequestBody,
            response: answers({ 200: SourceEntry, 201: SourceEntry }, [400, 401, 403, 404, 422, 503]),
          },
        },
        async ({ body }, reply) => {
          const { created, status } = await manager[act](requestOf(act, body, seal))
          reply.code(created && (act === 'connect' || act === 'subscribe') ? 201 : 200)
          return status
        },
      )
    }
    server.get(
      '/market-data/websocket/status',
      {
        schema: {
          summary: 'Every source',
          tags: ['admin'],
          security: SECURED,
          querystring: strict({}),
          response: answers({ 200: listOf(SourceEntry) }, [400, 401, 403]),
        },
      },
      async () => ({ items: manager.status(), next: null }),
    )
    server.get(
      '/market-data/websocket/status/:exchangeId',
      {
        schema: {
          summary: 'One source',
          tags: ['admin'],
          security: SECURED,
          params: strict({ exchangeId: Id }),
          response: answers({ 200: SourceEntry }, [400, 401, 403, 404]),
        },
      },
      async ({ params: { exchangeId } }) => {
        const status = manager.status(exchangeId)
        if (!status) throw new FeedgateError('unknown-source', `there is no source ${exchangeId}`)
        return status
      },
    )
    server.get(
      '/admin/notifications',
      {
        schema: {
          summary: 'What somebody in charge should know: retries exhausted, credentials refused',
          tags: ['admin'],
          security: SECURED,
          querystring: strict({}),
          response: answers({ 200: listOf(Type.Unknown()) }, [400, 401, 403]),
        },
      },
      async () => ({ items: manager.notifications(), next: null }),
    )
  }
}

/** Rejects with bad-request for what is missing or malformed, 422 for a channel that there is not. */
function requestOf(act: Act, body: RequestBody, seal: GatewayPorts['seal']): SourceRequest {
  const { credentials, channel, ...fields } = body
  const rest = { ...fields, ...(credentials && { credentials: seal(credentials) }) }
  for (const url of [body.url, body.restUrl]) if (url !== undefined) requireUrl(url)
  if (act === 'subscribe' || act === 'unsubscribe') requireSubscription(body)
  if (channel === undefined) return rest
  if (!isChannel(channel))
    throw new FeedgateError(
      'unknown-channel',
      `there is no channel ${channel}: accepted are ${Object.keys(CHANNELS).join(', ')}`,
    )
  return { ...rest, channel }
}

/** A URL is shown and stored as it is, so it may hold no credential. */
function requireUrl(text: string): void {
  if (!URL.canParse(text)) throw new FeedgateError('bad-request', `${text} is not a URL`)
  const { username, password } = new URL(text)
  if (username !== '' || password !== '')
    throw new FeedgateError('bad-request', 'a URL must hold no user name and no password')
}

function requireSubscription({ channel, symbol, timeframe }: RequestBody): void {
  if (channel === undefined) throw new FeedgateError('bad-request', 'field channel is missing')
  if (symbol === undefined) throw new FeedgateError('bad-request', 'field symbol is missing')
  if (!isChannel(channel)) return
  if (CHANNELS[channel].timeframe && timeframe === undefined)
    throw new FeedgateError('bad-request', `field timeframe is missing: ${channel} needs one`)
  if (!CHANNELS[channel].timeframe && timeframe !== undefined)
    throw new FeedgateError('bad-request', `field timeframe is for candles: ${channel} has none`)
  if (CHANNELS[channel].subject !== 'symbol' && !symbol.split('/').every((part) => SUBJECT_ID.test(part)))
    throw new FeedgateError(
      'bad-request',
      `field symbol must be an id of ${channel}: letters, digits and _.:@+-`,
    )
}
