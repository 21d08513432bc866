import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { ServerProcess } from './processes.ts'

export type EngineName = 'redis' | 'postgres' | 'timescale' | 'kafka'

/** A real server that the tests use. */
export interface Engine {
  readonly name: EngineName
  /** `redis://…`, `postgres://…`, for Kafka `host:port[,host:port]`. */
  readonly url: string
  /** Where it came from: "redis-server 7.0.15 from Debian", "given by REDIS_URL". */
  readonly origin: string
  /** Started by the tests: only then can it be killed, restarted and stopped. */
  readonly own: boolean
  /** kill -9; resolves when it is gone. */
  kill(): Promise<void>
  /** Starts it again, killing it first if it runs, on the same port and data; resolves when it can be used. */
  restart(): Promise<void>
  /** Of its own: as `kill`, and its data go at the end of the tests. Of a given one: what the tests left in it goes. */
  stop(): Promise<void>
}

/** The engine cannot be had here; the message says in one sentence what to install or to set. */
export class Unavailable extends Error {}

export function ownEngine(
  about: Pick<Engine, 'name' | 'url' | 'origin'>,
  server: Pick<ServerProcess, 'start' | 'kill'>,
): Engine {
  const kill = () => server.kill()
  const restart = async () => {
    await server.kill()
    await server.start()
  }
  return { ...about, own: true, kill, restart, stop: kill }
}

/** A server of somebody else: it is used and left as it was found (`empty`), never ended. */
export function givenEngine(
  name: EngineName,
  url: string,
  setting: string,
  empty: () => Promise<void> = async () => {},
): Engine {
  const refuse = async () => {
    throw new Error(`${name} is given by ${setting}: the tests neither kill nor restart it`)
  }
  return {
    name,
    url,
    origin: `given by ${setting}`,
    own: false,
    kill: refuse,
    restart: refuse,
    stop: empty,
  }
}

/** The file that a shell would run. */
export function onPath(command: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(':')
    .map((folder) => join(folder, command))
    .find((file) => existsSync(file))
}
