import { timingSafeEqual } from 'node:crypto'
import { FeedgateError } from '../errors.ts'
import { SOURCE_ID } from '../market/topic.ts'
import { Signal } from '../signals.ts'
import type { Store } from '../store/store.ts'
import { ApiKeys, hashOf, type KeySpec } from './api-keys.ts'
import type {
  ApiKey,
  Asked,
  Auth,
  Credential,
  Entitlement,
  Grant,
  GrantSpec,
  Identity,
  Tenant,
  Tier,
  TierName,
} from './auth.ts'
import { ANONYMOUS, entitlementOf } from './entitlement.ts'
import { Grants } from './grants.ts'
import { Guesses } from './guesses.ts'
import { createTokens, type ExternalIssuer, hasAdminScope, TOKEN_SECONDS, type Tokens } from './jwt.ts'
import { type LiveTenant, Tenants } from './tenants.ts'
import { MemoryTickets, TICKET_SECONDS, type Tickets } from './tickets.ts'
import { isTierName, leastTier, TIER_NAMES, TIERS } from './tiers.ts'

const DEMO = 'demo'
const DEFAULT = 'default'

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
  /** Where nodes share them; else they are this process's own. */
  readonly tickets?: Tickets
  /** Wall clock, epoch ms. */
  readonly now?: () => number
}

/** Of one of several nodes. */
export interface WatchingAuth extends Auth {
  /**
   * Looks into the database twice a second until the signal ends, so that a key deleted, a ceiling or a grant changed
   * by another node holds here within a second. It goes on where it stopped after the database was away.
   */
  watch(signal: AbortSignal): Promise<void>
}

export function createAuth(options: AuthOptions): WatchingAuth {
  return new StoredAuth(options)
}

const WATCH_MS = 500

type Caller = Omit<Identity, 'tier'>

class StoredAuth implements WatchingAuth {
  readonly tiers: Readonly<Record<TierName, Tier>>
  readonly #anonymous: AuthOptions['anonymous']
  readonly #licence: AuthOptions['licence']
  readonly #now: () => number
  readonly #keys: ApiKeys
  readonly #tenants: Tenants
  readonly #grants: Grants
  readonly #tokens: Tokens
  readonly #tickets: Tickets
  readonly #guesses = new Guesses()
  readonly #admins: readonly { readonly id: string; readonly digest: Buffer }[]
  readonly #demo: boolean
  readonly #adminTenant: string
  readonly #revoked = new Signal<string>()
  readonly #rightsChanged = new Signal<string>()

  constructor(options: AuthOptions) {
    const { store, demoKeys, external, now = Date.now } = options
    const demo = demoKeys.length > 0
    this.tiers = options.tiers ?? TIERS
    this.#anonymous = options.anonymous
    this.#licence = options.licence
    this.#now = now
    this.#keys = new ApiKeys(store.sql, demoKeys, now)
    this.#tenants = new Tenants(store.sql, {
      builtIn: demo ? [DEFAULT, DEMO] : [DEFAULT],
      ...(demo ? { immediate: DEMO } : {}),
      now,
      changed: (tenant) => this.#rightsChanged.emit(tenant),
    })
    this.#grants = new Grants(store.sql, { now, changed: (tenant) => this.#rightsChanged.emit(tenant) })
    this.#tokens = createTokens({
      secret: options.jwtSecret,
      issuer: options.jwtIssuer,
      ...(external ? { external } : {}),
      now,
    })
    this.#tickets = options.tickets ?? new MemoryTickets(now)
    // A token made for an admin key ends when the key is another: the id is of the key itself.
    this.#admins = options.adminApiKeys.map(hashOf).map((hash) => ({
      id: `admin-${hash.slice(0, 8)}`,
      digest: Buffer.from(hash, 'hex'),
    }))
    this.#demo = demo
    this.#adminTenant = demo ? DEMO : DEFAULT
  }

  identify(credential: Credential, address: string): Promise<Identity> {
    return this.#guesses.watch(credential, address, () => this.#identify(credential, address))
  }

  async #identify(credential: Credential, address: string): Promise<Identity> {
    switch (credential.kind) {
      case 'apiKey':
        return this.#byKey(credential.apiKey)
      case 'token':
        return this.#byToken(credential.token)
      case 'ticket':
        return this.#byTicket(credential.ticket)
      case 'none':
        return this.#byAddress(address)
    }
  }

  async #byKey(apiKey: string): Promise<Identity> {
    const digest = Buffer.from(hashOf(apiKey), 'hex')
    const admin = this.#admins.find((one) => timingSafeEqual(one.digest, digest))
    if (admin) return this.#admin(admin.id)
    const key = await this.#keys.find(apiKey)
    if (!key) throw refused('the API key is unknown or was deleted')
    const caller = {
      tenant: key.tenant,
      subject: key.id,
      keyId: key.id,
      anonymous: false,
      admin: hasAdminScope(key.scope),
      limitKey: `key:${key.id}`,
    }
    return this.#live(caller, key.tier)
  }

  async #byToken(token: string): Promise<Identity> {
    const { issuer, subject, tenant, tier, admin, keyId, expiresAt } = await this.#tokens.verify(token)
    if (keyId !== undefined && this.#isAdmin(keyId)) return { ...this.#admin(keyId), expiresAt }
    const key = keyId === undefined ? undefined : await this.#keyOfToken(keyId)
    const caller = {
      tenant: key?.tenant ?? tenant,
      subject,
      ...(key ? { keyId: key.id } : {}),
      anonymous: false,
      admin: admin && (!key || hasAdminScope(key.scope)),
      expiresAt,
      limitKey: key ? `key:${key.id}` : `subject:${JSON.stringify([issuer, subject])}`,
    }
    return this.#live(caller, key ? leastTier(tier, key.tier) : tier)
  }

  async #byTicket(ticket: string): Promise<Identity> {
    const holder = await this.#tickets.redeem(ticket)
    if (!holder) throw refused(`the ticket is unknown, used or over ${TICKET_SECONDS} s old`)
    const { tier, ...caller } = holder
    const { keyId, expiresAt } = caller
    if (expiresAt !== undefined && expiresAt <= this.#now())
      throw new FeedgateError('token-expired', 'the token behind the ticket has expired')
    if (keyId !== undefined && this.#isAdmin(keyId))
      return { ...this.#admin(keyId), ...(expiresAt === undefined ? {} : { expiresAt }) }
    if (keyId !== undefined) await this.#keyOfToken(keyId)
    return caller.tenant === ANONYMOUS ? { ...caller, tier: this.tiers[tier] } : this.#live(caller, tier)
  }

  async #byAddress(address: string): Promise<Identity> {
    if (!this.#anonymous) throw refused('a credential is required: X-API-Key or Authorization: Bearer')
    const { tenant, tier } = this.#anonymous
    const caller = {
      tenant,
      subject: ANONYMOUS,
      anonymous: true,
      admin: false,
      limitKey: `address:${address.replace(/^::ffff:/, '')}`,
    }
    // Outside demo mode such callers have no tenant that an admin could give a ceiling.
    return tenant === ANONYMOUS ? { ...caller, tier: this.tiers[tier] } : this.#live(caller, tier)
  }

  /** `tier` is read at each use, so that a changed ceiling holds at once. */
  async #live(caller: Caller, granted: TierName): Promise<Identity> {
    const { tiers } = this
    const tenant = await this.#tenantOf(caller.tenant)
    return {
      ...caller,
      get tier() {
        return tiers[leastTier(granted, tenant.ceiling)]
      },
    }
  }

  async #tenantOf(id: string): Promise<LiveTenant> {
    const tenant = SOURCE_ID.test(id) ? await this.#tenants.find(id) : undefined
    if (!tenant) throw refused('the credential is of an unknown tenant')
    const grants = this.#grants.load(id)
    // The demo is served before the store is open: its grants are told when they are there.
    if (id === DEMO && this.#demo) grants.catch(() => {})
    else await grants
    return tenant
  }

  async #keyOfToken(keyId: string): Promise<ApiKey> {
    const key = await this.#keys.findById(keyId)
    if (!key) throw new FeedgateError('token-expired', 'the API key of the token was deleted')
    return key
  }

  #isAdmin(keyId: string): boolean {
    return this.#admins.some(({ id }) => id === keyId)
  }

  #admin(keyId: string): Identity {
    return {
      tenant: this.#adminTenant,
      tier: this.tiers.institutional,
      subject: 'admin',
      keyId,
      anonymous: false,
      admin: true,
      limitKey: `key:${keyId}`,
    }
  }

  async issueToken({ subject, tenant, tier, admin, keyId }: Identity) {
    const claims = { subject, tenant, tier: tier.name, admin, ...(keyId === undefined ? {} : { keyId }) }
    return { accessToken: this.#tokens.sign(claims), tokenType: 'Bearer' as const, expiresIn: TOKEN_SECONDS }
  }

  async issueTicket(identity: Identity) {
    const ticket = await this.#tickets.issue({ ...identity, tier: identity.tier.name })
    return { ticket, expiresIn: TICKET_SECONDS }
  }

  entitled(identity: Identity, asked: Asked): Entitlement {
    const grants = this.#grants.of(identity.tenant)
    return entitlementOf(identity, asked, { licence: this.#licence, grants, now: this.#now() })
  }

  async createKey(spec: KeySpec): Promise<ApiKey & { key: string }> {
    if (!SOURCE_ID.test(spec.tenant))
      throw new FeedgateError('bad-request', 'tenant must be 1 to 64 characters of A-Z a-z 0-9 _ -')
    if (spec.tenant === ANONYMOUS)
      throw new FeedgateError('bad-request', `the tenant ${ANONYMOUS} is for callers without a credential`)
    checkTier(spec.tier)
    const key = await this.#keys.create(spec)
    this.#tenants.forget(spec.tenant)
    return key
  }

  listKeys(): Promise<readonly ApiKey[]> {
    return this.#keys.list()
  }

  async deleteKey(id: string): Promise<boolean> {
    const deleted = await this.#keys.delete(id)
    if (deleted) this.#revoked.emit(id)
    return deleted
  }

  listTenants(): Promise<readonly Tenant[]> {
    return this.#tenants.list()
  }

  async setTenantTier(id: string, tier: TierName): Promise<Tenant | undefined> {
    checkTier(tier)
    return this.#tenants.setTier(id, tier)
  }

  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await Promise.all([this.#watchKeys(), this.#tenants.refresh(), this.#grants.refresh()]).catch(() => {
        // The database is away: what happened meanwhile is seen when it is back.
      })
      await pause(WATCH_MS, signal)
    }
  }

  async #watchKeys(): Promise<void> {
    for (const id of await this.#keys.deletedElsewhere()) this.#revoked.emit(id)
  }

  async createGrant(spec: GrantSpec): Promise<Grant> {
    if (!(await this.#tenants.find(spec.tenant)))
      throw new FeedgateError(
        'unknown-tenant',
        `tenant ${spec.tenant} is unknown: a tenant is made by its first key`,
      )
    return this.#grants.create(spec)
  }

  listGrants(): Promise<readonly Grant[]> {
    return this.#grants.list()
  }

  deleteGrant(id: string): Promise<boolean> {
    return this.#grants.delete(id)
  }

  onRevoked(listener: (keyId: string) => void): () => void {
    return this.#revoked.on(listener)
  }

  onRightsChanged(listener: (tenant: string) => void): () => void {
    return this.#rightsChanged.on(listener)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resume) => {
    const timer = setTimeout(done, ms)
    function done() {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resume()
    }
    signal.addEventListener('abort', done, { once: true })
  })
}

function refused(why: string): FeedgateError {
  return new FeedgateError('not-authenticated', why)
}

function checkTier(tier: TierName): void {
  if (!isTierName(tier))
    throw new FeedgateError(
      'unknown-tier',
      `tier ${JSON.stringify(tier)} is unknown: accepted are ${TIER_NAMES.join(', ')}`,
    )
}
