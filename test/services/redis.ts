import { execFileSync } from 'node:child_process'
import { Redis } from 'ioredis'
import { type Engine, givenEngine, onPath, ownEngine, Unavailable } from './engine.ts'
import { accepts, freePort, ServerProcess, serverFolder } from './processes.ts'

/** Without persistence: after a kill it comes back empty, as a cache may. */
export async function startRedis(): Promise<Engine> {
  const given = process.env.REDIS_URL
  if (given) return givenRedis(given)
  const command = onPath('redis-server')
  if (!command)
    throw new Unavailable('redis-server is not here: apt-get install redis-server, or set REDIS_URL')
  const version = execFileSync(command, ['--version'], { encoding: 'utf8' }).match(/v=(\S+)/)?.[1]
  const port = await freePort()
  const server = new ServerProcess({
    command,
    args: ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
    folder: serverFolder('redis'),
    ready: () => accepts(port),
  })
  await server.start()
  const origin = `redis-server ${version} from Debian`
  return ownEngine({ name: 'redis', url: `redis://127.0.0.1:${port}`, origin }, server)
}

/** The tests flush the database they use: one that holds something is not taken. */
async function givenRedis(url: string): Promise<Engine> {
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 1 })
  try {
    await client.connect()
    const keys = await client.dbsize()
    if (keys > 0) {
      throw new Error(
        `REDIS_URL names a database with ${keys} keys, which the tests would flush: give an empty one`,
      )
    }
  } finally {
    client.disconnect()
  }
  return givenEngine('redis', url, 'REDIS_URL', () => emptyRedis({ url }))
}

/** Empties the Redis database that the tests use. */
export async function emptyRedis({ url }: Pick<Engine, 'url'>): Promise<void> {
  const client = new Redis(url)
  try {
    await client.flushdb()
  } finally {
    client.disconnect()
  }
}
