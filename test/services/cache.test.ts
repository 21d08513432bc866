import { Redis } from 'ioredis'
import { expect, it } from 'vitest'
import { createRedisCache } from '../../src/cache/redis.ts'
import { describeCache } from '../contracts/cache.ts'
import { freshTopic, tradesOf } from '../contracts/events.ts'
import { emptyRedis, withEngines } from './engines.ts'

const log = { info: () => {}, warn: () => {} }

await withEngines(['redis'], ({ redis }) => {
  describeCache('redis', async () => {
    await emptyRedis(redis)
    const cache = createRedisCache({ url: redis.url, log })
    while (cache.fault()) await new Promise((resume) => setTimeout(resume, 5))
    return cache
  })

  it('says that Redis is full, and goes on where it stood when there is room again', async () => {
    await emptyRedis(redis)
    const direct = new Redis(redis.url)
    const cache = createRedisCache({ url: redis.url, log })
    while (cache.fault()) await new Promise((resume) => setTimeout(resume, 5))
    const [first, second] = tradesOf(freshTopic('trades'), 2)
    await cache.apply([first!])
    await direct.config('SET', 'maxmemory', '1')
    await expect(cache.apply([second!])).rejects.toMatchObject({ code: 'cache-unavailable' })
    expect(cache.fault()).toMatch(/^Redis refuses what is written: .*maxmemory/)
    await direct.config('SET', 'maxmemory', '0')
    await cache.apply([second!])
    expect(cache.fault()).toBeUndefined()
    expect((await cache.image(second!.topic))?.seq).toBe(2)
    await cache.close()
    direct.disconnect()
  })
})
