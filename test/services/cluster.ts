import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ADMIN_KEY, MAIN, ROOT, rest, until } from '../whole/program.ts'
import { type Database, type Engine, emptyKafka, emptyRedis, freshDatabase } from './engines.ts'
import { freePort, ServerProcess, serverFolder } from './processes.ts'

const SECRETS = {
  JWT_SECRET: 'test-jwt-secret-of-more-than-32-bytes',
  SECRETS_KEY: 'test-secrets-key-of-more-than-32-bytes',
  ADMIN_API_KEY: ADMIN_KEY,
}

export interface ClusterSettings {
  /** What the nodes print is kept in `coverage/clusters/<name>/<node>.log`. */
  readonly name: string
  /** `postgres` or `timescale`; the cluster has a database of its own on it. */
  readonly database: Engine
  readonly kafka: Engine
  readonly redis: Engine
  /** As in a settings file. Asked for at every start of a node. */
  readonly sources: () => readonly object[]
  /** For every node. */
  readonly env?: Readonly<Record<string, string>>
}

/** One feedgate process. It keeps its port and its `DATA_DIR` over restarts. */
export class ClusterNode {
  readonly name: string
  /** `http://127.0.0.1:N` */
  readonly url: string
  readonly log: string
  readonly #process: ServerProcess
  readonly #prepare: () => void

  constructor(name: string, url: string, process: ServerProcess, prepare: () => void) {
    this.name = name
    this.url = url
    this.log = process.log
    this.#process = process
    this.#prepare = prepare
  }

  /** Resolves when it is alive (`/healthz`): the engines it needs may be away. */
  async start(): Promise<void> {
    this.#prepare()
    await this.#process.start()
  }

  /** Resolves when it says that it has all it needs (`/readyz`). */
  async ready(timeoutMs = 30_000): Promise<void> {
    let last = ''
    await until(
      async () => {
        const response = await fetch(`${this.url}/readyz`).catch(() => undefined)
        if (response) last = await response.text()
        return response?.ok
      },
      timeoutMs,
      () => `${this.name} is not ready: ${last}`,
    )
  }

  /** Resolves when it knows of so many topics that are live. */
  async knows(topics: number, timeoutMs = 30_000): Promise<void> {
    let known = 0
    const ask = async () => {
      const { body } = await rest<{ items: { topics: { state: string }[] }[] }>(this, '/v1/sources')
      known = body.items.flatMap(({ topics }) => topics).filter(({ state }) => state === 'live').length
      return known >= topics
    }
    await until(ask, timeoutMs, () => `${this.name} knows ${known} live topics`)
  }

  kill(): Promise<void> {
    return this.#process.kill()
  }

  async restart(): Promise<void> {
    await this.#process.kill()
    await this.start()
  }

  /** SIGTERM; resolves when it has ended in order. */
  end(): Promise<void> {
    return this.#process.end()
  }
}

/** Several feedgate processes on the same Kafka, Redis and database, all empty at the beginning. */
export class Cluster {
  readonly databaseUrl: string
  readonly nodes: ClusterNode[] = []
  readonly #settings: ClusterSettings
  readonly #database: Database
  readonly #logs: string

  private constructor(settings: ClusterSettings, database: Database) {
    this.#settings = settings
    this.#database = database
    this.databaseUrl = database.url
    this.#logs = join(ROOT, 'coverage/clusters', settings.name)
    rmSync(this.#logs, { recursive: true, force: true })
    mkdirSync(this.#logs, { recursive: true })
  }

  static async create(settings: ClusterSettings): Promise<Cluster> {
    await emptyRedis(settings.redis)
    await emptyKafka(settings.kafka)
    return new Cluster(settings, await freshDatabase(settings.database))
  }

  /** Starts a node that has these roles (`ingest,recorder`). */
  async start(name: string, roles: string, env: Readonly<Record<string, string>> = {}): Promise<ClusterNode> {
    const { kafka, redis, sources } = this.#settings
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const folder = serverFolder(name)
    const config = join(folder, 'settings.yaml')
    const program = new ServerProcess({
      command: process.execPath,
      args: [MAIN, 'start', '--config', config, '--roles', roles],
      folder,
      log: join(this.#logs, `${name}.log`),
      env: {
        ...SECRETS,
        DATABASE_URL: this.databaseUrl,
        KAFKA_BROKERS: kafka.url,
        REDIS_URL: redis.url,
        PORT: `${port}`,
        DATA_DIR: join(folder, 'data'),
        LOG_LEVEL: 'info',
        ...this.#settings.env,
        ...env,
      },
      ready: async () => (await fetch(`${url}/healthz`).catch(() => undefined))?.ok ?? false,
    })
    // JSON is YAML.
    const prepare = () => writeFileSync(config, JSON.stringify({ sources: sources() }))
    const node = new ClusterNode(name, url, program, prepare)
    this.nodes.push(node)
    await node.start()
    return node
  }

  async end(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.end()))
    await this.#database.drop()
  }
}
