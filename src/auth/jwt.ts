import { createPublicKey, KeyObject, randomUUID } from 'node:crypto'
import { createRemoteJWKSet, errors as jose } from 'jose'
import jsonwebtoken, { type Algorithm, type JwtPayload } from 'jsonwebtoken'
import { FeedgateError } from '../errors.ts'
import type { TierName } from './auth.ts'
import { isTierName } from './tiers.ts'

/** Own tokens live this long. */
export const TOKEN_SECONDS = 15 * 60

const ASYMMETRIC = /^(RS|PS|ES)(256|384|512)$/
const MAX_TOKEN_LENGTH = 8_192
const KEY_ID = /^[A-Za-z0-9-]{1,64}$/

/** What another issuer's tokens must carry, and where its keys are. */
export interface ExternalIssuer {
  /** PEM; a settings file or an environment may write its line ends as `\n`. */
  readonly publicKey?: string | undefined
  readonly jwksUrl?: string | undefined
  readonly issuer: string
  readonly audience: string
  /** Its scope `admin` counts. */
  readonly admin: boolean
}

export interface Claims {
  readonly issuer: string
  readonly subject: string
  readonly tenant: string
  readonly tier: TierName
  readonly admin: boolean
  /** Of own tokens made for an API key. */
  readonly keyId?: string
  /** Epoch ms. */
  readonly expiresAt: number
}

export interface Tokens {
  /** Rejects with not-authenticated, token-expired, issuer-unavailable. */
  verify(token: string): Promise<Claims>
  sign(claims: Omit<Claims, 'issuer' | 'expiresAt'>): string
}

/** The key of a header's `alg` and `kid`, and what else a token under it must hold. */
type KeyOf = (header: { alg: string; kid?: string }) => Promise<KeyObject>

export function createTokens(options: {
  secret: string
  issuer: string
  external?: ExternalIssuer
  now: () => number
}): Tokens {
  const { secret, issuer, external, now } = options
  const externalKey = external && externalKeyOf(external)
  const seconds = () => Math.floor(now() / 1_000)

  const verifyOwn = (token: string): Claims => {
    const payload = check(token, secret, { algorithms: ['HS256'], clockTimestamp: seconds() })
    if (payload.iss !== undefined && payload.iss !== issuer)
      throw refused(`its issuer is not ${JSON.stringify(issuer)}`)
    return { ...claimsOf(payload, issuer, true), ...keyIdOf(payload) }
  }

  const verifyExternal = async (token: string, header: { alg: string; kid?: string }): Promise<Claims> => {
    if (!external || !externalKey) throw refused('tokens of another issuer are not accepted here')
    const payload = check(token, await externalKey(header), {
      algorithms: [header.alg as Algorithm],
      issuer: external.issuer,
      audience: external.audience,
      clockTimestamp: seconds(),
    })
    return claimsOf(payload, external.issuer, external.admin)
  }

  return {
    async verify(token) {
      const header = headerOf(token)
      // The family of the algorithm decides which key is tried: a public key is never taken for a secret.
      if (header.alg === 'HS256') return verifyOwn(token)
      if (ASYMMETRIC.test(header.alg)) return verifyExternal(token, header)
      throw refused('its algorithm is not accepted: HS256, or RS, PS or ES with 256, 384 or 512 bits')
    },
    sign({ subject, tenant, tier, admin, keyId }) {
      const claims = {
        sub: subject,
        tenant_id: tenant,
        tier,
        ...(admin ? { scope: 'admin' } : {}),
        ...(keyId === undefined ? {} : { key_id: keyId }),
        iss: issuer,
        jti: randomUUID(),
        iat: seconds(),
        exp: seconds() + TOKEN_SECONDS,
      }
      return jsonwebtoken.sign(claims, secret, { algorithm: 'HS256' })
    },
  }
}

function headerOf(token: string): { alg: string; kid?: string } {
  const header = token.length > MAX_TOKEN_LENGTH ? undefined : decoded(token)?.header
  if (typeof header?.alg !== 'string') throw refused('it is no JSON Web Token')
  return { alg: header.alg, ...(typeof header.kid === 'string' ? { kid: header.kid } : {}) }
}

/** Parts that are no JSON are no reason to fail. */
function decoded(token: string): jsonwebtoken.Jwt | null {
  try {
    return jsonwebtoken.decode(token, { complete: true })
  } catch {
    return null
  }
}

function check(token: string, key: string | KeyObject, options: jsonwebtoken.VerifyOptions): JwtPayload {
  let payload: JwtPayload | string
  try {
    payload = jsonwebtoken.verify(token, key as jsonwebtoken.Secret, { ...options, complete: false })
  } catch (cause) {
    if (cause instanceof jsonwebtoken.TokenExpiredError)
      throw new FeedgateError('token-expired', 'the token has expired: get a new one', { cause })
    throw refused('its signature, issuer, audience or time is not accepted', cause)
  }
  if (typeof payload === 'string') throw refused('it carries no claims')
  return payload
}

function claimsOf(payload: JwtPayload, issuer: string, mayBeAdmin: boolean): Claims {
  const { exp, tier = 'basic', tenant_id: tenant = 'default' } = payload
  const subject: unknown = payload.sub ?? payload.nameid
  if (typeof exp !== 'number') throw refused('it has no exp')
  if (typeof subject !== 'string' || subject === '' || subject.length > 256)
    throw refused('it has no sub or nameid of 1 to 256 characters')
  if (!isTierName(tier)) throw refused('its tier is not one of basic, premium, institutional')
  if (typeof tenant !== 'string') throw refused('its tenant_id is no text')
  const admin = mayBeAdmin && hasAdminScope(payload.scope)
  return { issuer, subject, tenant, tier, admin, expiresAt: exp * 1_000 }
}

/** Only own tokens end with a key: what another issuer calls so is none of ours. */
function keyIdOf({ key_id: keyId }: JwtPayload): { keyId?: string } {
  if (keyId === undefined) return {}
  if (typeof keyId !== 'string' || !KEY_ID.test(keyId)) throw refused('its key_id is none that a key has')
  return { keyId }
}

/** A scope is words with spaces between them, or (some issuers) a list of words. */
export function hasAdminScope(scope: unknown): boolean {
  const words = typeof scope === 'string' ? scope.split(' ') : Array.isArray(scope) ? scope : []
  return words.includes('admin')
}

function externalKeyOf(external: ExternalIssuer): KeyOf {
  if (external.publicKey) {
    const key = publicKeyOf(external.publicKey)
    return async () => key
  }
  const keySet = createRemoteJWKSet(new URL(external.jwksUrl!))
  return async (header) => {
    try {
      return KeyObject.from(await keySet(header))
    } catch (cause) {
      if (cause instanceof jose.JWKSNoMatchingKey || cause instanceof jose.JWKSMultipleMatchingKeys)
        throw refused('the key set of its issuer has no one key for it', cause)
      throw new FeedgateError('issuer-unavailable', "the token issuer's key set cannot be had now", {
        cause,
        retryAfterMs: 5_000,
      })
    }
  }
}

function publicKeyOf(pem: string): KeyObject {
  try {
    return createPublicKey(pem.replaceAll('\\n', '\n'))
  } catch (cause) {
    throw new FeedgateError(
      'bad-setting',
      'setting JWT_PUBLIC_KEY (jwtPublicKey) cannot be read: accepted is a public key in PEM',
      { cause },
    )
  }
}

function refused(why: string, cause?: unknown): FeedgateError {
  return new FeedgateError('not-authenticated', `the token is refused: ${why}`, { cause })
}
