import type { Asked, Entitlement, Grant, Identity } from './auth.ts'

/** What is known when it is decided. */
export interface Circumstances {
  /** Undefined: no such source. */
  readonly licence: (source: string) => 'open' | 'restricted' | undefined
  /** Those of the caller's tenant. */
  readonly grants: TenantGrants
  /** Epoch ms. */
  readonly now: number
}

/** The grants of one tenant, by source. */
export type TenantGrants = ReadonlyMap<string, readonly Grant[]>

/** Callers without a credential, outside demo mode: of no real tenant. */
export const ANONYMOUS = 'anonymous'

/**
 * The one decision, for every way out. Whatever is granted, the tier is the most: channels, depth and history are the
 * least of tier and grant. An `open` source needs no grant, and none makes it less; of a `restricted` one a tenant sees
 * what its grant says. What is derived is as its strictest input.
 */
export function entitlementOf(
  caller: Pick<Identity, 'tenant' | 'tier' | 'admin'>,
  asked: Asked,
  circumstances: Circumstances,
): Entitlement {
  const own = ofOne(caller, asked, circumstances)
  return (asked.inputs ?? []).reduce(
    (strictest, input) => strictestOf(strictest, ofOne(caller, input, circumstances)),
    own,
  )
}

function ofOne(
  { tenant, tier, admin }: Pick<Identity, 'tenant' | 'tier' | 'admin'>,
  { source, channel, tenant: owner }: Asked,
  { licence, grants, now }: Circumstances,
): Entitlement {
  if (!tier.channels.has(channel)) return NOT_ENTITLED
  if (channel === 'status') {
    if (tenant === ANONYMOUS) return NOT_ENTITLED
    if (owner !== undefined && owner !== tenant) return UNKNOWN
  }
  const oldest = tier.historyMs === Infinity ? 0 : now - tier.historyMs
  const whole = { ...WHOLE, depth: tier.bookDepth, oldest }
  if (admin || source === '*') return whole
  const licensed = licence(source)
  if (licensed !== 'restricted') return licensed === undefined ? UNKNOWN : whole
  const granted = grants.get(source) ?? []
  // How a source is tells nothing of its data: whoever has a part of them sees it.
  if (channel === 'source') return granted.length > 0 ? whole : NOT_ENTITLED
  const grant =
    granted.find((one) => one.channel === channel) ?? granted.find((one) => one.channel === undefined)
  return grant ? within(whole, grant, now) : NOT_ENTITLED
}

function within(
  { depth, oldest }: Extract<Entitlement, { allowed: true }>,
  grant: Grant,
  now: number,
): Entitlement {
  const { delayMs, from = 0, to = Infinity } = grant
  const shown = now - delayMs
  return {
    allowed: true,
    depth: Math.min(depth, grant.depth ?? Infinity),
    oldest: Math.max(oldest, from),
    newest: Math.min(to, delayMs > 0 ? shown : Infinity),
    delayMs,
    live: shown >= from && shown < to,
    display: grant.display,
  }
}

function strictestOf(one: Entitlement, other: Entitlement): Entitlement {
  if (!one.allowed) return one
  if (!other.allowed) return other
  return {
    allowed: true,
    depth: Math.min(one.depth, other.depth),
    oldest: Math.max(one.oldest, other.oldest),
    newest: Math.min(one.newest, other.newest),
    delayMs: Math.max(one.delayMs, other.delayMs),
    live: one.live && other.live,
    display: one.display || other.display,
  }
}

/**
 * When what the grants say of the present changes by itself, epoch ms: a period begins or ends, later by the delay.
 * Infinity: never.
 */
export function nextChangeOf(grants: TenantGrants, now: number): number {
  let next = Infinity
  for (const granted of grants.values())
    for (const { from = 0, to = Infinity, delayMs } of granted)
      for (const at of [from + delayMs, to + delayMs]) if (at > now && at < next) next = at
  return next
}

const NOT_ENTITLED: Entitlement = { allowed: false, why: 'not-entitled' }
const UNKNOWN: Entitlement = { allowed: false, why: 'unknown' }
const WHOLE = { allowed: true, newest: Infinity, delayMs: 0, live: true, display: false } as const
