import { describe, expect, it } from 'vitest'
import type { Asked, Entitlement, Grant, GrantSpec, TierName } from '../../src/auth/auth.ts'
import { entitlementOf, nextChangeOf } from '../../src/auth/entitlement.ts'
import { TIERS } from '../../src/auth/tiers.ts'

const NOW = Date.UTC(2026, 10, 23)
const MINUTE = 60_000
const DAY = 86_400_000

const licences = new Map<string, 'open' | 'restricted'>([
  ['free', 'open'],
  ['paid', 'restricted'],
  ['dear', 'restricted'],
])

function granted(...specs: Partial<GrantSpec>[]): Map<string, Grant[]> {
  const grants = new Map<string, Grant[]>()
  for (const [index, spec] of specs.entries()) {
    const grant: Grant = {
      ...{ id: `g${index}`, createdAt: '', tenant: 'acme', source: 'paid', delayMs: 0, display: false },
      ...spec,
    }
    grants.set(grant.source, [...(grants.get(grant.source) ?? []), grant])
  }
  return grants
}

function decide(
  asked: Asked,
  {
    tier = 'premium',
    tenant = 'acme',
    admin = false,
    grants = granted(),
  }: { tier?: TierName; tenant?: string; admin?: boolean; grants?: Map<string, Grant[]> } = {},
): Entitlement {
  const caller = { tenant, tier: TIERS[tier], admin }
  return entitlementOf(caller, asked, { licence: (source) => licences.get(source), grants, now: NOW })
}

const REFUSED = { allowed: false, why: 'not-entitled' }
const paid = (channel: Asked['channel']): Asked => ({ source: 'paid', channel })

describe('an entitlement by grant', () => {
  it.each<[string, Partial<GrantSpec>[], Asked, object]>([
    ['nothing without one', [], paid('ticker'), REFUSED],
    ['nothing by one for another source', [{ source: 'dear' }], paid('ticker'), REFUSED],
    ['all channels of the tier by one', [{}], paid('orderbook'), { allowed: true, depth: 25, live: true }],
    ['no channel beyond the tier', [{}], paid('premium_analytics'), REFUSED],
    ['the channel that it names', [{ channel: 'trades' }], paid('trades'), { allowed: true, delayMs: 0 }],
    ['no other channel', [{ channel: 'trades' }], paid('ticker'), REFUSED],
    ['how the source is, by any part of it', [{ channel: 'trades' }], paid('source'), { allowed: true }],
    ['not how the source is without one', [], paid('source'), REFUSED],
    ['books no deeper than it says', [{ depth: 5 }], paid('orderbook'), { depth: 5 }],
    ['books no deeper than the tier has', [{ depth: 100 }], paid('orderbook'), { depth: 25 }],
    [
      'late, by its delay',
      [{ delayMs: 15 * MINUTE }],
      paid('ticker'),
      { newest: NOW - 15 * MINUTE, live: true },
    ],
    ['only to look at', [{ display: true }], paid('ticker'), { display: true }],
    [
      'by the one for the channel before the one for all',
      [{ delayMs: MINUTE }, { channel: 'ticker' }],
      paid('ticker'),
      { delayMs: 0 },
    ],
    [
      'by the one for all where none names the channel',
      [{ delayMs: MINUTE }, { channel: 'ticker' }],
      paid('trades'),
      { delayMs: MINUTE },
    ],
    ['no history before it', [{ from: NOW - DAY }], paid('ticker'), { oldest: NOW - DAY, live: true }],
    ['no more history than the tier', [{ from: 1 }], paid('ticker'), { oldest: NOW - 365 * DAY }],
    ['stored events of a period that ended', [{ to: NOW }], paid('ticker'), { newest: NOW, live: false }],
    ['nothing live before it begins', [{ from: NOW + 1 }], paid('ticker'), { live: false }],
    [
      'what is late for as long after its end',
      [{ to: NOW - MINUTE, delayMs: 2 * MINUTE }],
      paid('ticker'),
      { newest: NOW - 2 * MINUTE, live: true },
    ],
    [
      'nothing less of an open source',
      [{ source: 'free', depth: 1, delayMs: 9 }],
      { source: 'free', channel: 'orderbook' },
      { depth: 25, delayMs: 0 },
    ],
    [
      'nothing of a source that is not there',
      [{ source: 'gone' }],
      { source: 'gone', channel: 'ticker' },
      { allowed: false, why: 'unknown' },
    ],
    [
      'no conversation of another tenant',
      [{}],
      { source: 'paid', channel: 'status', tenant: 'other' },
      { allowed: false, why: 'unknown' },
    ],
    ['its own conversations', [{}], { source: 'paid', channel: 'status', tenant: 'acme' }, { allowed: true }],
  ])('gives %s', (_what, specs, asked, expected) => {
    expect(decide(asked, { grants: granted(...specs) })).toMatchObject(expected)
  })

  it('is as the strictest input of what is derived', () => {
    const grants = granted({ channel: 'trades', delayMs: 15 * MINUTE }, { depth: 10, from: NOW - DAY })
    const inputs = [paid('trades'), { source: 'free', channel: 'trades' }] as const
    expect(decide({ ...paid('ohlcv'), inputs }, { grants })).toMatchObject({
      ...{ allowed: true, depth: 10, oldest: NOW - DAY, delayMs: 15 * MINUTE, newest: NOW - 15 * MINUTE },
    })
    const dear = { source: 'dear', channel: 'trades' } as const
    expect(decide({ source: 'free', channel: 'ohlcv', inputs: [dear] }, { grants })).toEqual(REFUSED)
    expect(decide({ source: 'free', channel: 'ohlcv', inputs }, { grants: granted() })).toEqual(REFUSED)
  })

  it('is not asked of admins, who see every source, and never what another tenant says', () => {
    expect(decide(paid('ticker'), { admin: true })).toMatchObject({ allowed: true, live: true })
    expect(decide({ source: 'free', channel: 'status', tenant: 'other' }, { admin: true })).toEqual({
      ...{ allowed: false, why: 'unknown' },
    })
  })

  it('gives callers without a credential no conversations', () => {
    expect(decide({ source: 'free', channel: 'status' }, { tenant: 'anonymous' })).toEqual(REFUSED)
  })

  it('changes by itself when a period begins or ends, later by the delay', () => {
    expect(nextChangeOf(granted(), NOW)).toBe(Infinity)
    const grants = granted(
      { from: NOW - DAY, to: NOW + 5 * MINUTE },
      { source: 'dear', from: NOW, delayMs: MINUTE },
    )
    expect(nextChangeOf(grants, NOW)).toBe(NOW + MINUTE)
    expect(nextChangeOf(grants, NOW + MINUTE)).toBe(NOW + 5 * MINUTE)
  })
})
