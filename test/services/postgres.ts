import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { type Engine, givenEngine, ownEngine, Unavailable } from './engine.ts'
import { freePort, ServerProcess, serverFolder, unprivileged } from './processes.ts'

const PACKAGES = '/usr/lib/postgresql'
/** What feedgate promises to run on. */
const OLDEST = 15

/** The oldest version here that is supported: what works on the floor works above it. */
function installed(): string | undefined {
  if (!existsSync(PACKAGES)) return undefined
  return readdirSync(PACKAGES)
    .filter((version) => Number(version) >= OLDEST && existsSync(join(PACKAGES, version, 'bin/postgres')))
    .sort((a, b) => Number(a) - Number(b))
    .map((version) => join(PACKAGES, version, 'bin'))[0]
}

export async function startPostgres(): Promise<Engine> {
  const given = process.env.DATABASE_URL
  if (given) return givenEngine('postgres', given, 'DATABASE_URL')
  const bin = installed()
  if (!bin) {
    throw new Unavailable(
      `PostgreSQL ${OLDEST} or newer is not here: apt-get install postgresql, or set DATABASE_URL`,
    )
  }
  const account = unprivileged()
  const folder = serverFolder('postgres', account)
  const data = join(folder, 'data')
  execFileSync(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
    { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'], ...account },
  )
  const port = await freePort()
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  const settings = {
    port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    shared_buffers: '256MB',
    max_wal_size: '2GB',
  }
  const server = new ServerProcess({
    command: join(bin, 'postgres'),
    args: ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    folder,
    account,
    ready: () => answers(url),
  })
  await server.start()
  const version = execFileSync(join(bin, 'postgres'), ['--version'], { encoding: 'utf8' }).match(
    /\d[\d.]+/,
  )?.[0]
  return ownEngine({ name: 'postgres', url, origin: `PostgreSQL ${version} from Debian` }, server)
}

/** Accepting connections is not enough: a server that recovers refuses queries. */
export async function answers(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 1_000 })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}
