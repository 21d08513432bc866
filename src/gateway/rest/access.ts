import type { Asked, Entitlement, Identity } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import { CHANNELS, type Channel, isChannel, type Micros } from '../../market/event.ts'
import { SUBJECT_ID, type Topic } from '../../market/topic.ts'
import type { GatewayPorts } from '../gateway.ts'
import { parseTime } from '../time.ts'

type Allowed = Extract<Entitlement, { allowed: true }>

/** What a caller named, checked: known here, and his to see. */
export interface Selection {
  readonly channel: Channel
  readonly source?: string
  /** Sources the caller may see, where none was named; absent: every one. */
  readonly sources?: readonly string[]
  readonly subject?: string
  readonly timeframe?: string
  /** Of `status`: the caller's own. */
  readonly tenant?: string
}

interface Named {
  readonly channel: string
  readonly source?: string | undefined
  readonly symbol?: string | undefined
  readonly timeframe?: string | undefined
}

/** Rejects with unknown-channel (422) and forbidden (403). */
export function requireChannel(
  ports: GatewayPorts,
  identity: Identity,
  name: string,
): { channel: Channel; allowed: Allowed } {
  if (!isChannel(name)) throw unknownChannel(name)
  const entitlement = ports.auth.entitled(identity, { source: '*', channel: name })
  if (!entitlement.allowed)
    throw new FeedgateError('forbidden', `tier ${identity.tier.name} does not include the channel ${name}`)
  return { channel: name, allowed: entitlement }
}

export function unknownChannel(name: string): FeedgateError {
  return new FeedgateError(
    'unknown-channel',
    `there is no channel ${name}: accepted are ${Object.keys(CHANNELS).join(', ')}`,
  )
}

/** Rejects with unknown-exchange (422) and forbidden (403). */
export function requireSource(
  ports: GatewayPorts,
  identity: Identity,
  asked: Pick<Asked, 'source' | 'channel' | 'inputs'>,
): Allowed {
  const { source, channel, inputs } = asked
  if (ports.manager.licence(source) === undefined) throw unknownSource(source)
  const entitlement = ports.auth.entitled(identity, asked)
  if (entitlement.allowed) return entitlement
  const channels = [channel, ...(inputs ?? []).map((input) => input.channel)].join(' and ')
  throw new FeedgateError(
    'forbidden',
    `the source ${source} needs a grant${channel === 'source' ? '' : ` for ${channels}`}`,
  )
}

export function unknownSource(source: string): FeedgateError {
  return new FeedgateError('unknown-exchange', `there is no source ${source}: GET /v1/sources lists them`)
}

/** Rejects with forbidden (403) where stored events are all that may be seen. */
export function requireNow(allowed: Allowed, source: string): void {
  if (!allowed.live)
    throw new FeedgateError(
      'forbidden',
      `the grant for ${source} is for another time than now: GET /v1/history has what it covers`,
    )
}

/** Sources of a channel that the caller may see; undefined: every one, also those that are no longer connected. */
export function visibleSources(
  ports: GatewayPorts,
  identity: Identity,
  channel: Channel,
): readonly string[] | undefined {
  if (identity.admin) return undefined
  return ports.manager
    .status()
    .map(({ id }) => id)
    .filter((source) => ports.auth.entitled(identity, { source, channel }).allowed)
}

/**
 * What of stored events one caller may see, event by event: sources differ in their times and depths. Good for one page:
 * what is granted may change until the next.
 */
export class Sight {
  readonly #ports: GatewayPorts
  readonly #identity: Identity
  readonly #exports: boolean
  /** As many as there are topics in a page. */
  readonly #topics = new Map<Topic, Entitlement>()

  /** `exports`: not for people to look at. */
  constructor(ports: GatewayPorts, identity: Identity, exports = false) {
    this.#ports = ports
    this.#identity = identity
    this.#exports = exports
  }

  #of(topic: Topic): Entitlement {
    let entitlement = this.#topics.get(topic)
    if (!entitlement) {
      entitlement = this.#ports.auth.entitled(this.#identity, topic)
      this.#topics.set(topic, entitlement)
    }
    return entitlement
  }

  shows({ topic, receivedTime }: { readonly topic: Topic; readonly receivedTime: Micros }): boolean {
    const entitlement = this.#of(topic)
    if (!entitlement.allowed || (this.#exports && entitlement.display)) return false
    const { oldest, newest } = entitlement
    return receivedTime >= oldest * 1_000 && receivedTime < newest * 1_000
  }

  /** Levels a side of a book; Infinity: full. */
  depth(topic: Topic): number {
    const entitlement = this.#of(topic)
    return entitlement.allowed ? entitlement.depth : 0
  }
}

/** Rejects with bad-request, unknown-channel, unknown-exchange, unknown-symbol, forbidden. */
export async function select(
  ports: GatewayPorts,
  identity: Identity,
  named: Named,
): Promise<{ selection: Selection; allowed: Allowed }> {
  const { channel, allowed } = requireChannel(ports, identity, named.channel)
  if (named.timeframe !== undefined && !CHANNELS[channel].timeframe)
    throw new FeedgateError('bad-request', `query parameter timeframe is for candles: ${channel} has none`)
  const { subject: what } = CHANNELS[channel]
  if (named.symbol !== undefined && what !== 'symbol' && !SUBJECT_ID.test(named.symbol))
    throw new FeedgateError(
      'bad-request',
      `query parameter symbol must be an ${what} of 1 to 128 characters: letters, digits and _.:@+-`,
    )
  const { source } = named
  const ofSource = source === undefined ? undefined : requireSource(ports, identity, { source, channel })
  const sources = source === undefined ? visibleSources(ports, identity, channel) : undefined
  const selection: Selection = {
    channel,
    ...(source === undefined ? {} : { source }),
    ...(sources === undefined ? {} : { sources }),
    ...(named.symbol === undefined ? {} : { subject: subjectOf(identity, channel, named.symbol) }),
    ...(named.timeframe === undefined ? {} : { timeframe: named.timeframe }),
    ...(channel === 'status' ? { tenant: identity.tenant } : {}),
  }
  await requireTopic(ports, selection, named)
  return { selection, allowed: ofSource ?? allowed }
}

/** The topic's subject for what the caller calls it: another tenant's conversation cannot be named. */
export function subjectOf(identity: Identity, channel: Channel, symbol: string): string {
  return channel === 'status' ? `${identity.tenant}/${symbol}` : symbol
}

/** Rejects with unknown-symbol and unknown-timeframe (422). */
async function requireTopic(ports: GatewayPorts, selection: Selection, named: Named): Promise<void> {
  const { timeframe, ...ofAnyTimeframe } = selection
  if (named.symbol !== undefined && !(await findTopic(ports, ofAnyTimeframe)))
    throw unknownSymbol(selection.channel, named.symbol)
  if (timeframe !== undefined && !(await findTopic(ports, selection)))
    throw new FeedgateError(
      'unknown-timeframe',
      `no source has ${selection.channel} of timeframe ${timeframe}`,
    )
}

export function unknownSymbol(channel: Channel, symbol: string): FeedgateError {
  const what = `${CHANNELS[channel].subject} ${symbol}`
  return new FeedgateError(
    'unknown-symbol',
    `no source has ${channel} of ${what}: GET /v1/sources lists them`,
  )
}

/**
 * A topic that fits: one that a source carries now, else one that history has. Topics are looked for, never made of
 * what a caller wrote: the table of topics does not grow by questions.
 */
export async function findTopic(ports: GatewayPorts, selection: Selection): Promise<Topic | undefined> {
  for (const topic of ports.manager.topics()) if (fits(topic, selection)) return topic
  const { items } = await ports.store.history({ ...selection, limit: 1 })
  return items[0]?.topic
}

function fits(topic: Topic, { channel, source, sources, subject, timeframe }: Selection): boolean {
  return (
    topic.channel === channel &&
    (source === undefined || topic.source === source) &&
    (sources === undefined || sources.includes(topic.source)) &&
    (subject === undefined || topic.subject === subject) &&
    (timeframe === undefined || topic.timeframe === timeframe)
  )
}

/**
 * `from` (inclusive) and `to` (exclusive), in µs. What lies outside of the caller's window is to him as if it were not
 * stored. Rejects with bad-request.
 */
export function timeRange(
  query: { from?: string | undefined; to?: string | undefined },
  { oldest, newest }: Allowed,
): { from?: Micros; to?: Micros } {
  const from = query.from === undefined ? undefined : readTime('from', query.from)
  const to = query.to === undefined ? undefined : readTime('to', query.to)
  if (from !== undefined && to !== undefined && from > to)
    throw new FeedgateError('bad-request', 'query parameter from must not be later than to')
  const start = Math.max(from ?? 0, Math.ceil(oldest * 1_000))
  const end = Math.min(to ?? Infinity, newest * 1_000)
  return { ...(start > 0 ? { from: start } : {}), ...(end < Infinity ? { to: end } : {}) }
}

export function readTime(name: string, text: string): Micros {
  const time = parseTime(text)
  if (time === undefined)
    throw new FeedgateError(
      'bad-request',
      `query parameter ${name} must be a time: ISO 8601 (2026-11-22T10:00:00Z) or integer µs since the Unix epoch`,
    )
  return time
}
