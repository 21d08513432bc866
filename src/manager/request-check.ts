import type { Connector, Connectors, Subscription } from '../connectors/connector.ts'
import { FeedgateError } from '../errors.ts'
import { CHANNELS, isChannel } from '../market/event.ts'
import { SOURCE_ID, SUBJECT_ID } from '../market/topic.ts'
import type { SourceRequest, SourceSpec } from './manager.ts'

const MAX_SYMBOL_LENGTH = 128
/** Asked for where a channel needs one and the request names none. */
const DEFAULT_TIMEFRAME = '1m'

/** The source that a request describes when there is none of that id: a kind of its own, or the one of that name. */
export function specOf(request: SourceRequest, connectors: Connectors): SourceSpec {
  const { exchangeId: id, kind = id, url, restUrl } = request
  if (!SOURCE_ID.test(id))
    throw new FeedgateError('bad-request', 'exchangeId must be 1 to 64 of the characters A-Z a-z 0-9 _ -')
  if (!connectors.kinds.includes(kind)) {
    const what = request.kind === undefined ? `no source or exchange ${id}` : `no kind ${kind}`
    throw new FeedgateError('unknown-exchange', `${what}: accepted kinds are ${connectors.kinds.join(', ')}`)
  }
  return { id, kind, ...(url !== undefined && { url }), ...(restUrl !== undefined && { restUrl }) }
}

/** A request that names a source must not contradict what the source is. */
export function checkSame(request: SourceRequest, spec: SourceSpec): void {
  for (const field of ['kind', 'url', 'restUrl'] as const) {
    const asked = request[field]
    if (asked !== undefined && asked !== spec[field])
      throw new FeedgateError(
        'bad-request',
        `${field} of the source ${spec.id} is ${spec[field] ?? "the venue's own"}: disconnect it first to change it`,
      )
  }
}

/** Channel and timeframe first, then the symbol. */
export function subscriptionOf(request: SourceRequest, connector: Connector): Subscription {
  const { channel, symbol, limit } = request
  if (channel === undefined || symbol === undefined)
    throw new FeedgateError('bad-request', 'channel and symbol are required')
  if (!isChannel(channel) || !connector.channels.includes(channel))
    throw new FeedgateError(
      'unknown-channel',
      `${connector.kind} has no channel ${channel}: accepted are ${connector.channels.join(', ')}`,
    )
  const timeframe = timeframeOf(request, connector)
  checkSymbol(channel, symbol)
  const subscription: Subscription = {
    channel,
    symbol,
    ...(timeframe !== undefined && { timeframe }),
    ...(channel === 'orderbook' && limit !== undefined && { limit }),
  }
  const refusal = connector.refuse(subscription)
  if (refusal !== undefined) throw new FeedgateError('unknown-symbol', refusal)
  return subscription
}

function timeframeOf({ channel, timeframe }: SourceRequest, connector: Connector): string | undefined {
  if (!CHANNELS[channel!].timeframe) return undefined
  const asked = timeframe ?? DEFAULT_TIMEFRAME
  if (connector.timeframes.includes(asked)) return asked
  throw new FeedgateError(
    'unknown-timeframe',
    `${connector.kind} has no timeframe ${asked}: accepted are ${connector.timeframes.join(', ')}`,
  )
}

function checkSymbol(channel: keyof typeof CHANNELS, symbol: string): void {
  const { subject } = CHANNELS[channel]
  if (subject === 'eventId' && !SUBJECT_ID.test(symbol))
    throw new FeedgateError('bad-request', 'symbol must be an event id: 1 to 128 of A-Z a-z 0-9 _ . : @ + -')
  if (subject === 'conversationId' && !isConversation(symbol))
    throw new FeedgateError('bad-request', 'symbol must be tenant/conversationId')
  if (symbol.length === 0 || symbol.length > MAX_SYMBOL_LENGTH + (subject === 'conversationId' ? 65 : 0))
    throw new FeedgateError('bad-request', `symbol must have 1 to ${MAX_SYMBOL_LENGTH} characters`)
}

function isConversation(symbol: string): boolean {
  const slash = symbol.indexOf('/')
  return slash > 0 && SOURCE_ID.test(symbol.slice(0, slash)) && SUBJECT_ID.test(symbol.slice(slash + 1))
}
