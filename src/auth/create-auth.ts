import { timingSafeEqual } from 'node:crypto'
import { FeedgateError } from '../errors.ts'
import { SOURCE_ID } from '../market/topic.ts'
import { Signal } from '../signals.ts'
import type { Store } from '../store/store.ts'
import { ApiKeys, hashOf } from './api-keys.ts'
import type { ApiKey, Auth, Entitlement, Identity, Tier, TierName } from './auth.ts'
import { createTokens, type ExternalIssuer, hasAdminScope, TOKEN_SECONDS } from './jwt.ts'
import { type LiveTenant, Tenants } from './tenants.ts'
import { TICKET_SECONDS, Tickets } from './tickets.ts'
import { isTierName, leastTier, TIER_NAMES, TIERS } from './tiers.ts'

const DEMO = 'demo'
const DEFAULT = 'default'
const ANONYMOUS = 'anonymous'

export interface AuthOptions {
  /** Keys and tenants; its queries wait for it to be open. What it is not needed for does not wait. */
  readonly store: Pick<Store, 'sql'>
  readonly jwtSecret: string
  readonly jwtIssuer: string
  readonly external?: ExternalIssuer
  readonly adminApiKeys: readonly string[]
  /** Absent: callers without a credential are refused. */
  readonly anonymous?: { readonly tier: TierName; readonly tenant: string }
  readonly licence: (source: string) => 'open' | 'restricted' | undefined
  /** Of tenant `demo`; not empty in demo mode only. They work before the store is open. */
  readonly demoKeys: readonly { readonly tier: TierName; readonly key: string }[]
  readonly tiers?: Readonly<Record<TierName, Tier>>
  /** Wall clock, epoch ms. */
  readonly now?: () => number
}

type Caller = Omit<Identity, 'tier'>

export function createAuth(options: AuthOptions): Auth {
  const { anonymous, licence, tiers = TIERS, now = Date.now } = options
  const demo = options.demoKeys.length > 0
  const keys = new ApiKeys(options.store.sql, options.demoKeys, now)
  const tenants = new Tenants(options.store.sql, {
    builtIn: demo ? [DEFAULT, DEMO] : [DEFAULT],
    ...(demo ? { immediate: DEMO } : {}),
    now,
  })
  const tokens = createTokens({
    secret: options.jwtSecret,
    issuer: options.jwtIssuer,
    ...(options.external ? { external: options.external } : {}),
    now,
  })
  const tickets = new Tickets<Identity>(now)
  const revoked = new Signal<string>()
  const admins = options.adminApiKeys.map((key) => {
    const hash = hashOf(key)
    return { id: `admin-${hash.slice(0, 8)}`, digest: Buffer.from(hash, 'hex') }
  })

  /** `tier` is read at each use, so that a lowered ceiling holds at once. */
  const live = (caller: Caller, granted: TierName, tenant: LiveTenant): Identity => ({
    ...caller,
    get tier() {
      return tiers[leastTier(granted, tenant.ceiling)]
    },
  })

  const adminIdentity = (keyId: string): Identity => ({
    tenant: demo ? DEMO : DEFAULT,
    tier: tiers.institutional,
    subject: 'admin',
    keyId,
    anonymous: false,
    admin: true,
    limitKey: `key:${keyId}`,
  })

  const tenantOf = async (id: string): Promise<LiveTenant> => {
    const tenant = SOURCE_ID.test(id) ? await tenants.find(id) : undefined
    if (!tenant) throw new FeedgateError('not-authenticated', 'the credential is of an unknown tenant')
    return tenant
  }

  const byKey = async (apiKey: string): Promise<Identity> => {
    const digest = Buffer.from(hashOf(apiKey), 'hex')
    const admin = admins.find((one) => timingSafeEqual(one.digest, digest))
    if (admin) return adminIdentity(admin.id)
    const key = await keys.find(apiKey)
    if (!key) throw new FeedgateError('not-authenticated', 'the API key is unknown or was deleted')
    const caller = {
      tenant: key.tenant,
      subject: key.id,
      keyId: key.id,
      anonymous: false,
      admin: hasAdminScope(key.scope),
      limitKey: `key:${key.id}`,
    }
    return live(caller, key.tier, await tenantOf(key.tenant))
  }

  const keyOfToken = async (keyId: string): Promise<ApiKey> => {
    const key = await keys.findById(keyId)
    if (!key) throw new FeedgateError('token-expired', 'the API key of the token was deleted')
    return key
  }

  const byToken = async (token: string): Promise<Identity> => {
    const { issuer, subject, tenant, tier, admin, keyId, expiresAt } = await tokens.verify(token)
    if (admins.some((one) => one.id === keyId)) return { ...adminIdentity(keyId!), expiresAt }
    const key = keyId === undefined ? undefined : await keyOfToken(keyId)
    const caller = {
      tenant: key?.tenant ?? tenant,
      subject,
      ...(key ? { keyId: key.id } : {}),
      anonymous: false,
      admin: admin && (!key || hasAdminScope(key.scope)),
      expiresAt,
      limitKey: key ? `key:${key.id}` : `subject:${JSON.stringify([issuer, subject])}`,
    }
    return live(caller, key ? leastTier(tier, key.tier) : tier, await tenantOf(caller.tenant))
  }

  const byTicket = async (ticket: string): Promise<Identity> => {
    const identity = tickets.redeem(ticket)
    if (!identity)
      throw new FeedgateError(
        'not-authenticated',
        `the ticket is unknown, used or over ${TICKET_SECONDS} s old`,
      )
    if ((identity.expiresAt ?? Infinity) <= now())
      throw new FeedgateError('token-expired', 'the token behind the ticket has expired')
    if (identity.keyId !== undefined && !admins.some((one) => one.id === identity.keyId))
      await keyOfToken(identity.keyId)
    return identity
  }

  const byAddress = async (address: string): Promise<Identity> => {
    if (!anonymous)
      throw new FeedgateError(
        'not-authenticated',
        'a credential is required: X-API-Key or Authorization: Bearer',
      )
    const caller = {
      tenant: anonymous.tenant,
      subject: ANONYMOUS,
      anonymous: true,
      admin: false,
      limitKey: `address:${address.replace(/^::ffff:/, '')}`,
    }
    // Outside demo mode such clients have no tenant of their own that an admin could give a ceiling.
    if (anonymous.tenant === ANONYMOUS) return { ...caller, tier: tiers[anonymous.tier] }
    return live(caller, anonymous.tier, await tenantOf(anonymous.tenant))
  }

  return {
    tiers,
    identify(credential, address) {
      switch (credential.kind) {
        case 'apiKey':
          return byKey(credential.apiKey)
        case 'token':
          return byToken(credential.token)
        case 'ticket':
          return byTicket(credential.ticket)
        case 'none':
          return byAddress(address)
      }
    },
    async issueToken({ subject, tenant, tier, admin, keyId }) {
      const claims = { subject, tenant, tier: tier.name, admin, ...(keyId === undefined ? {} : { keyId }) }
      return { accessToken: tokens.sign(claims), tokenType: 'Bearer', expiresIn: TOKEN_SECONDS }
    },
    async issueTicket(identity) {
      return { ticket: tickets.issue(identity), expiresIn: TICKET_SECONDS }
    },
    entitled(identity, what): Entitlement {
      const { tier } = identity
      if (!tier.channels.has(what.channel)) return NOT_ENTITLED
      if (what.channel === 'status') {
        if (identity.tenant === ANONYMOUS) return NOT_ENTITLED
        if (what.tenant !== undefined && what.tenant !== identity.tenant) return UNKNOWN
      }
      if (!identity.admin && what.source !== '*') {
        const terms = licence(what.source)
        // No tenant has a grant for a restricted source in this version.
        if (terms !== 'open') return terms === undefined ? UNKNOWN : NOT_ENTITLED
      }
      const oldest = tier.historyMs === Infinity ? 0 : now() - tier.historyMs
      return { allowed: true, depth: tier.bookDepth, oldest }
    },
    async createKey(spec) {
      checkKeySpec(spec)
      const key = await keys.create(spec)
      tenants.forget(spec.tenant)
      return key
    },
    listKeys: () => keys.list(),
    async deleteKey(id) {
      const deleted = await keys.delete(id)
      if (deleted) revoked.emit(id)
      return deleted
    },
    listTenants: () => tenants.list(),
    async setTenantTier(id, tier) {
      checkTier(tier)
      const before = (await tenants.find(id))?.ceiling
      const tenant = await tenants.setTier(id, tier)
      // Live sessions may hold more than is allowed now: they begin anew.
      if (tenant && before && leastTier(before, tier) !== before)
        for (const key of await keys.idsOf(id)) revoked.emit(key)
      return tenant
    },
    onRevoked: (listener) => revoked.on(listener),
  }
}

const NOT_ENTITLED: Entitlement = { allowed: false, why: 'not-entitled' }
const UNKNOWN: Entitlement = { allowed: false, why: 'unknown' }

function checkKeySpec({ tenant, tier }: { tenant: string; tier: TierName }): void {
  if (!SOURCE_ID.test(tenant))
    throw new FeedgateError('bad-request', 'tenant must be 1 to 64 characters of A-Z a-z 0-9 _ -')
  if (tenant === ANONYMOUS)
    throw new FeedgateError(
      'bad-request',
      'the tenant anonymous is for callers without a credential: choose another',
    )
  checkTier(tier)
}

function checkTier(tier: TierName): void {
  if (!isTierName(tier))
    throw new FeedgateError(
      'unknown-tier',
      `tier ${JSON.stringify(tier)} is unknown: accepted are ${TIER_NAMES.join(', ')}`,
    )
}
