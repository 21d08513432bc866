import { describe, expect, it } from 'vitest'
import type { Identity, TierName } from '../../src/auth/auth.ts'
import { createRateLimits } from '../../src/auth/rate-limit.ts'
import { TIERS } from '../../src/auth/tiers.ts'

const caller = (tier: TierName, limitKey = 'key:1', admin = false): Identity => ({
  tenant: 'default',
  tier: TIERS[tier],
  subject: 's',
  anonymous: false,
  admin,
  limitKey,
})

describe('limits', () => {
  it('let the commands of a tier through each second, over all connections of one key, and say how long to wait', async () => {
    const limits = createRateLimits()
    await limits.command(caller('basic'))
    await limits.command(caller('basic'))
    const refusal = await limits.command(caller('basic')).catch((error) => error)
    expect(refusal).toMatchObject({ code: 'rate-limited' })
    expect(refusal.retryAfterMs).toBeGreaterThan(0)
    expect(refusal.retryAfterMs).toBeLessThanOrEqual(1_000)
    await limits.command(caller('basic', 'key:2'))
    await limits.command(caller('basic', 'key:1', true))
    await new Promise((done) => setTimeout(done, refusal.retryAfterMs + 20))
    await limits.command(caller('basic'))
  })

  it('count connections, and get each back once', async () => {
    const limits = createRateLimits()
    const release = await limits.connection(caller('basic'))
    await limits.connection(caller('basic'))
    await expect(limits.connection(caller('basic'))).rejects.toMatchObject({ code: 'too-many-connections' })
    release()
    release()
    await limits.connection(caller('basic'))
    await expect(limits.connection(caller('basic'))).rejects.toMatchObject({ code: 'too-many-connections' })
  })

  it('take symbols whole or not at all', () => {
    const limits = createRateLimits()
    expect(limits.symbols(caller('basic'), 49)).toBe(true)
    expect(limits.symbols(caller('basic'), 2)).toBe(false)
    expect(limits.symbols(caller('basic'), 1)).toBe(true)
    expect(limits.symbols(caller('basic'), -50)).toBe(true)
    expect(limits.symbols(caller('basic'), 50)).toBe(true)
    expect(limits.symbols(caller('institutional', 'key:9'), 1_000_000)).toBe(true)
  })

  it('let 30 frames of basic go at once and then one a second', () => {
    let now = 5_000
    const limits = createRateLimits(() => now)
    for (let i = 0; i < 30; i++) expect(limits.frame(caller('basic'))).toBe(0)
    expect(limits.frame(caller('basic'))).toBe(1_000)
    now += 400
    expect(limits.frame(caller('basic'))).toBe(600)
    now += 600
    expect(limits.frame(caller('basic'))).toBe(0)
    expect(limits.frame(caller('basic'))).toBe(1_000)
    now += 3_600_000
    for (let i = 0; i < 30; i++) expect(limits.frame(caller('basic'))).toBe(0)
    expect(limits.frame(caller('basic'))).toBe(1_000)
    for (let i = 0; i < 100; i++) expect(limits.frame(caller('premium'))).toBe(0)
  })
})
