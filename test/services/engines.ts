import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { describe, inject, it } from 'vitest'
import type { Engine, EngineName } from './engine.ts'
import type { EngineAnswer } from './global-setup.ts'

export type { Engine, EngineName } from './engine.ts'
export { emptyKafka } from './kafka.ts'
export { emptyRedis } from './redis.ts'

async function ask(
  name: EngineName,
  act: 'start' | 'kill' | 'restart',
): Promise<Exclude<EngineAnswer, { error: string }>> {
  const response = await fetch(`${inject('engineControl')}/${name}/${act}`, { method: 'POST' })
  const answer = (await response.json()) as EngineAnswer
  if ('error' in answer) throw new Error(answer.error)
  return answer
}

/** The engine of this run, started by the first who asks; as a sentence, why it cannot be had here. */
export async function engine(name: EngineName): Promise<Engine | string> {
  const answer = await ask(name, 'start')
  if ('unavailable' in answer) return answer.unavailable
  const kill = async () => void (await ask(name, 'kill'))
  return { ...answer, kill, restart: async () => void (await ask(name, 'restart')), stop: kill }
}

/**
 * Defines a suite that needs engines, at the top level of a test file: `await withEngines(['kafka'], ({ kafka }) => …)`.
 * Where one cannot be had, one skipped test says why; if `FEEDGATE_REQUIRE_ENGINES` names it, the file fails.
 */
export async function withEngines<Name extends EngineName>(
  names: readonly Name[],
  suite: (engines: Record<Name, Engine>) => void,
): Promise<void> {
  const engines = {} as Record<Name, Engine>
  for (const name of names) {
    const found = await engine(name)
    if (typeof found === 'string') {
      describe(names.join(', '), () => it.skip(found))
      return
    }
    engines[name] = found
  }
  suite(engines)
}

export interface Database {
  readonly url: string
  drop(): Promise<void>
}

/** An empty database of its own on the server of `postgres` or `timescale`. */
export async function freshDatabase(server: Engine): Promise<Database> {
  const name = `feedgate_test_${randomBytes(6).toString('hex')}`
  await administer(server.url, `create database ${name}`)
  const url = new URL(server.url)
  url.pathname = `/${name}`
  return { url: url.href, drop: () => administer(server.url, `drop database if exists ${name} with (force)`) }
}

async function administer(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
