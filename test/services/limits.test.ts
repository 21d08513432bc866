import { describe, expect, it, vi } from 'vitest'
import type { Identity, TierName } from '../../src/auth/auth.ts'
import { createRedisRateLimits } from '../../src/auth/rate-limit-redis.ts'
import { createRedisTickets } from '../../src/auth/tickets-redis.ts'
import { TIERS } from '../../src/auth/tiers.ts'
import { emptyRedis, withEngines } from './engines.ts'

const log = { info: () => {}, warn: () => {} }
const caller = (tier: TierName, limitKey: string): Identity => ({
  ...{ tenant: 'default', subject: 's', anonymous: false, admin: false, limitKey },
  tier: TIERS[tier],
})
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'granted',
    (error) => error.code,
  )

await withEngines(['redis'], ({ redis }) => {
  /** Two nodes whose connections to Redis are made. */
  async function nodes() {
    await emptyRedis(redis)
    const pair = [1, 2].map(() => createRedisRateLimits({ url: redis.url, log })) as [
      ReturnType<typeof createRedisRateLimits>,
      ReturnType<typeof createRedisRateLimits>,
    ]
    await new Promise((resume) => setTimeout(resume, 200))
    return pair
  }

  describe('limits over two nodes', () => {
    it('count the commands of a key together', async () => {
      const [one, two] = await nodes()
      const basic = caller('basic', 'key:commands')
      await one.command(basic)
      await two.command(basic)
      expect(await codeOf(one.command(basic))).toBe('rate-limited')
      expect(await codeOf(two.command(basic))).toBe('rate-limited')
      expect(await codeOf(two.command(caller('basic', 'key:other')))).toBe('granted')
      one.close()
      two.close()
    })

    it('count connections together, whoever closes them', async () => {
      const [one, two] = await nodes()
      const basic = caller('basic', 'key:connections')
      const release = await one.connection(basic)
      await two.connection(basic)
      expect(await codeOf(one.connection(basic))).toBe('too-many-connections')
      expect(await codeOf(two.connection(basic))).toBe('too-many-connections')
      release()
      release()
      await vi.waitFor(async () => expect(await codeOf(two.connection(basic))).toBe('granted'), {
        timeout: 3_000,
        interval: 200,
      })
      expect(await codeOf(one.connection(basic))).toBe('too-many-connections')
      one.close()
      two.close()
    })

    it('give back what a node held that died', async () => {
      const [one, two] = await nodes()
      const basic = caller('basic', 'key:lease')
      await one.connection(basic)
      await one.connection(basic)
      expect(await codeOf(two.connection(basic))).toBe('too-many-connections')
      one.close()
      await vi.waitFor(async () => expect(await codeOf(two.connection(basic))).toBe('granted'), {
        timeout: 15_000,
        interval: 500,
      })
      two.close()
    })

    it('count symbols and share frames by what the others told before the command', async () => {
      const [one, two] = await nodes()
      const basic = caller('basic', 'key:symbols')
      await one.connection(basic)
      await two.connection(basic)
      expect(one.symbols(basic, 40)).toBe(true)
      await new Promise((resume) => setTimeout(resume, 300))
      await two.command(basic)
      expect(two.symbols(basic, 20)).toBe(false)
      expect(two.symbols(basic, 10)).toBe(true)
      let frames = 0
      for (const node of [one, two]) while (node.frame(basic) === 0) frames++
      expect(frames).toBe(TIERS.basic.frameBurst)
      one.close()
      two.close()
    })
  })

  it('a ticket is redeemed once, by whichever node is asked first', async () => {
    const [one, two] = [1, 2].map(() => createRedisTickets({ url: redis.url, log }))
    await new Promise((resume) => setTimeout(resume, 200))
    const holder = { ...caller('premium', 'key:t'), tier: 'premium' as const }
    const ticket = await one!.issue(holder)
    const answers = await Promise.all([one!.redeem(ticket), two!.redeem(ticket), two!.redeem(ticket)])
    expect(answers.filter((answer) => answer !== undefined)).toEqual([holder])
    one!.close()
    two!.close()
  })

  it('limits go on by themselves while Redis is away, at once', async () => {
    const [one, two] = await nodes()
    const basic = caller('basic', 'key:away')
    await one.connection(basic)
    await two.connection(basic)
    // They tell each other every three seconds.
    await new Promise((resume) => setTimeout(resume, 4_500))
    await redis.kill()
    const started = performance.now()
    expect(await codeOf(one.connection(basic))).toBe('too-many-connections')
    expect(await codeOf(one.command(basic))).toBe('granted')
    await one.command(basic)
    expect(await codeOf(one.command(basic))).toBe('rate-limited')
    expect(performance.now() - started).toBeLessThan(500)
    await redis.restart()
    one.close()
    two.close()
  })
})
