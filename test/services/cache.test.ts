import { createRedisCache } from '../../src/cache/redis.ts'
import { describeCache } from '../contracts/cache.ts'
import { emptyRedis, withEngines } from './engines.ts'

const log = { info: () => {}, warn: () => {} }

await withEngines(['redis'], ({ redis }) => {
  describeCache('redis', async () => {
    await emptyRedis(redis)
    const cache = createRedisCache({ url: redis.url, log })
    while (cache.fault()) await new Promise((resume) => setTimeout(resume, 5))
    return cache
  })
})
