import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { type Engine, type EngineName, Unavailable } from './engine.ts'
import { startKafka } from './kafka.ts'
import { startPostgres } from './postgres.ts'
import { endAll } from './processes.ts'
import { startRedis } from './redis.ts'
import { startTimescale } from './timescale.ts'

const START: Record<EngineName, () => Promise<Engine>> = {
  redis: startRedis,
  postgres: startPostgres,
  timescale: startTimescale,
  kafka: startKafka,
}

/** What a test process is told of an engine. */
export type EngineAnswer =
  | Pick<Engine, 'name' | 'url' | 'origin' | 'own'>
  | { readonly unavailable: string }
  | { readonly error: string }

declare module 'vitest' {
  interface ProvidedContext {
    /** Where test processes ask for engines. */
    engineControl: string
  }
}

/**
 * Engines belong to the run, not to a test file: each is started when the first file asks for it and lives until the
 * end. Test processes ask over loopback: `POST /<engine>/start|kill|restart`.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const started = new Map<EngineName, Promise<Engine>>()
  const required = new Set((process.env.FEEDGATE_REQUIRE_ENGINES ?? '').split(',').filter(Boolean))

  function start(name: EngineName): Promise<Engine> {
    let starting = started.get(name)
    if (!starting) {
      const began = performance.now()
      starting = START[name]()
      started.set(name, starting)
      starting.then(
        ({ origin }) => say(`${name}: ${origin} (${Math.round(performance.now() - began)} ms)`),
        (error: Error) =>
          say(`${name}: ${error instanceof Unavailable ? 'SKIPPED' : 'FAILED'}, ${error.message}`),
      )
    }
    return starting
  }

  async function answer(name: EngineName, act: string): Promise<EngineAnswer> {
    try {
      const engine = await start(name)
      if (act === 'kill') await engine.kill()
      if (act === 'restart') await engine.restart()
      const { url, origin, own } = engine
      return { name, url, origin, own }
    } catch (error) {
      const { message } = error as Error
      return error instanceof Unavailable && !required.has(name)
        ? { unavailable: message }
        : { error: message }
    }
  }

  const server = createServer(async (request, response) => {
    const [, name, act] = (request.url ?? '').split('/')
    response.end(JSON.stringify(await answer(name as EngineName, act!)))
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  project.provide('engineControl', `http://127.0.0.1:${(server.address() as AddressInfo).port}`)

  return async () => {
    server.close()
    server.closeAllConnections()
    for (const engine of await Promise.allSettled(started.values())) {
      if (engine.status === 'fulfilled' && !engine.value.own) await engine.value.stop()
    }
    await endAll()
  }
}

function say(line: string): void {
  console.log(`engine ${line}`)
}
