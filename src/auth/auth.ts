import type { Channel } from '../market/event.ts'

export type TierName = 'basic' | 'premium' | 'institutional'

/** Numbers of one tier; the table of the contract, each changeable by setting. */
export interface Tier {
  readonly name: TierName
  readonly channels: ReadonlySet<Channel>
  /** Deepest book view; Infinity: full. */
  readonly bookDepth: number
  /** Data frames a minute and burst; Infinity: unlimited. */
  readonly framesPerMinute: number
  readonly frameBurst: number
  /** Least ms between two values of a key of one topic, whatever a client asks for; 0: none need be left out. */
  readonly conflateMs: number
  readonly commandsPerSecond: number
  readonly connections: number
  readonly symbols: number
  readonly resumeWindowMs: number
  /** How far back history goes; Infinity: all. */
  readonly historyMs: number
  /** Replay speed; 0: no replay; Infinity: full speed. */
  readonly replaySpeed: number
}

/** Who is calling, after every limit that holds now has been applied. */
export interface Identity {
  readonly tenant: string
  /** The least of the claim, the key's tier and the tenant's ceiling, as they are at the moment of reading. */
  readonly tier: Tier
  /** `sub` of a token, else the key's id, else `anonymous`. */
  readonly subject: string
  readonly keyId?: string
  readonly anonymous: boolean
  /** The admin key, or a key or token with scope `admin`: admin routes and restricted sources. */
  readonly admin: boolean
  /** Epoch ms; absent for keys and anonymous callers. */
  readonly expiresAt?: number
  /** Limits count by this: the API key, else issuer and subject, else the address. */
  readonly limitKey: string
}

export type Credential =
  | { readonly kind: 'apiKey'; readonly apiKey: string }
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'ticket'; readonly ticket: string }
  | { readonly kind: 'none' }

/** What somebody asks to see: a topic, or what a wildcard leaves open. */
export interface Asked {
  /** `*`: whatever source. */
  readonly source: string
  readonly channel: Channel
  /** Of `status`: whose conversation. */
  readonly tenant?: string
  /** Of what is derived: what it is made of. */
  readonly inputs?: readonly Pick<Asked, 'source' | 'channel'>[]
}

/** What one caller may see of one topic, or of a channel of one source, at the moment it was asked. */
export type Entitlement =
  | {
      readonly allowed: true
      /** Levels a side of books; Infinity: full. */
      readonly depth: number
      /** Nothing received before it may be seen, epoch ms; 0: all. */
      readonly oldest: number
      /** Nor anything received at or after it; Infinity: all. */
      readonly newest: number
      /** Events are seen so much later; 0: at once. */
      readonly delayMs: number
      /** What comes now (later by the delay) is part of it; else stored events only. */
      readonly live: boolean
      /** For people to look at only: no export, and nothing else that feeds machines alone. */
      readonly display: boolean
    }
  | { readonly allowed: false; readonly why: 'not-entitled' | 'unknown' }

/** What an admin gives a tenant of a restricted source. What is absent is as the tier has it. */
export interface GrantSpec {
  readonly tenant: string
  readonly source: string
  /** Absent: all that the tier has; a grant that names the channel stands before one for all. */
  readonly channel?: Channel
  /** Levels a side of books. */
  readonly depth?: number
  readonly delayMs: number
  readonly display: boolean
  /** Events received from then on, epoch ms. */
  readonly from?: number
  /** Events received before then, epoch ms. */
  readonly to?: number
}

export interface Grant extends GrantSpec {
  readonly id: string
  readonly createdAt: string
}

export interface ApiKey {
  readonly id: string
  readonly prefix: string
  readonly tenant: string
  readonly tier: TierName
  readonly name?: string
  readonly scope?: string
  readonly createdAt: string
}

export interface Tenant {
  readonly tenant: string
  /** The ceiling of what its keys and tokens may be. */
  readonly tier: TierName
  readonly createdAt: string
}

/**
 * Rejections are FeedgateErrors: not-authenticated, token-expired (411 on WebSocket, 401 on REST), forbidden, and
 * rate-limited for an address that tried too many keys or tickets that do not hold.
 * Of a key only its prefix and SHA-256 are kept.
 */
export interface Auth {
  readonly tiers: Readonly<Record<TierName, Tier>>
  /** `address`: the peer's, for anonymous callers' limits. */
  identify(credential: Credential, address: string): Promise<Identity>
  /** A token of ours for the caller of a key; 15 min, HS256, with `jti` and the key's id. */
  issueToken(identity: Identity): Promise<{ accessToken: string; tokenType: 'Bearer'; expiresIn: number }>
  /** Single use, 30 s. */
  issueTicket(identity: Identity): Promise<{ ticket: string; expiresIn: number }>
  /** One function decides for every way out, see `entitlement.ts`. */
  entitled(identity: Identity, asked: Asked): Entitlement
  createKey(spec: {
    tenant: string
    tier: TierName
    name?: string
    scope?: string
  }): Promise<ApiKey & { key: string }>
  listKeys(): Promise<readonly ApiKey[]>
  /** False: no such key. Ends the key's tokens and live sessions. */
  deleteKey(id: string): Promise<boolean>
  listTenants(): Promise<readonly Tenant[]>
  /**
   * The ceiling holds for live sessions from now on: `Identity.tier` follows it. Undefined: no such tenant (a tenant is
   * made by its first key).
   */
  setTenantTier(tenant: string, tier: TierName): Promise<Tenant | undefined>
  /** Keys deleted while sessions live: these end. */
  onRevoked(listener: (keyId: string) => void): () => void
  /** Tenants that may have more or less than before: live sessions look anew at what they hold. */
  onRightsChanged(listener: (tenant: string) => void): () => void
  /** It takes the place of one for the same tenant, source and channel. Rejects `unknown-tenant`. */
  createGrant(spec: GrantSpec): Promise<Grant>
  listGrants(): Promise<readonly Grant[]>
  /** False: no such grant. */
  deleteGrant(id: string): Promise<boolean>
}

/** Throw FeedgateError('rate-limited') with `retryAfterMs`. Counted over all connections of one `limitKey`. */
export interface RateLimits {
  /** One client command (WebSocket) or REST call. */
  command(identity: Identity): Promise<void>
  /** Takes one of the tier's connections; the answer gives it back, safe to call twice. Rejects `too-many-connections`. */
  connection(identity: Identity): Promise<() => void>
  /** May a data frame go now? 0: yes, and it is counted; else ms until the next may. Only for tiers with a limit. */
  frame(identity: Identity): number
  /** Takes `count` of the tier's symbols (negative gives back); false: over the limit, nothing taken. */
  symbols(identity: Identity, count: number): boolean
}
