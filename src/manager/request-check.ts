import type { Connector, Connectors, Credentials, Subscription } from '../connectors/connector.ts'
import { FeedgateError } from '../errors.ts'
import { CHANNELS, isChannel } from '../market/event.ts'
import { SOURCE_ID, SUBJECT_ID } from '../market/topic.ts'
import type { SourceRequest, SourceSpec } from './manager.ts'

const MAX_SYMBOL_LENGTH = 128
/** Asked for where a channel needs one and the request names none. */
const DEFAULT_TIMEFRAME = '1m'

/** What is asked for, else the venue of that name, else that exchange by ccxt. */
export function kindOf(id: string, kind: string | undefined, { kinds }: Connectors): string {
  return kind ?? (kinds.includes(id) ? id : 'ccxt')
}

/** The source that a request describes when there is none of that id. */
export function specOf(request: SourceRequest, connectors: Connectors): SourceSpec {
  const { exchangeId: id, url, restUrl, credentials } = request
  if (!SOURCE_ID.test(id))
    throw new FeedgateError('bad-request', 'exchangeId must be 1 to 64 of the characters A-Z a-z 0-9 _ -')
  return {
    id,
    kind: kindOf(id, request.kind, connectors),
    ...(url !== undefined && { url }),
    ...(restUrl !== undefined && { restUrl }),
    ...(credentials !== undefined && { credentials }),
  }
}

/** What runs such a source. Throws `unknown-exchange`. */
export function connectorOf(spec: SourceSpec, connectors: Connectors): Connector {
  const { id, seed, rate, exchange = id } = spec
  const kind = kindOf(id, spec.kind, connectors)
  const connector = connectors.connectorFor(kind, {
    ...(seed !== undefined && { seed }),
    ...(rate !== undefined && { rate }),
    ...(kind === 'ccxt' && { exchange }),
  })
  if (connector) return connector
  const kinds = `accepted kinds are ${connectors.kinds.join(', ')}`
  throw new FeedgateError(
    'unknown-exchange',
    kind === 'ccxt'
      ? `no exchange ${exchange}: ${kinds}; of ccxt these exchanges: ${connectors.exchanges().join(', ')}`
      : `no kind ${kind}: ${kinds}`,
  )
}

/** Throws `bad-request` where two hosts of the kind cannot be taken for one source. */
export function checkSides({ id, sides }: SourceSpec, { kind, takesSides }: Connector): void {
  if (!sides || takesSides) return
  throw new FeedgateError(
    'bad-request',
    `${id} cannot have sides: of ${kind} two connections cannot be told to say the same; give one url`,
  )
}

/** Throws `not-supported-yet` where a source takes none, `bad-request` for names that it does not know or lacks. */
export function checkCredentials(given: Credentials, connector: Connector, id: string): void {
  const accepted = connector.credentials
  if (!accepted)
    throw new FeedgateError(
      'not-supported-yet',
      `${id} serves public data only and takes no credentials: leave field credentials out`,
    )
  const { required, optional } = accepted
  const unknown = Object.keys(given).find((name) => !required.includes(name) && !optional.includes(name))
  const missing = required.find((name) => !given[name])
  if (unknown === undefined && missing === undefined) return
  const what = unknown === undefined ? `credentials lack ${missing}` : `no credential ${unknown}`
  throw new FeedgateError(
    'bad-request',
    `${what}: ${id} needs ${required.join(', ')}; it can have ${optional.join(', ')}`,
  )
}

/** A request that names a source must not contradict what the source is. */
export function checkSame(request: SourceRequest, spec: SourceSpec): void {
  for (const field of ['kind', 'url', 'restUrl'] as const) {
    const asked = request[field]
    if (asked !== undefined && asked !== spec[field])
      throw new FeedgateError(
        'bad-request',
        `${field} of the source ${spec.id} is ${spec[field] ?? (spec.sides ? "its sides'" : "the venue's own")}: disconnect it first to change it`,
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
