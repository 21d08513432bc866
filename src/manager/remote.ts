import { setTimeout as delay } from 'node:timers/promises'
import type { Instrument } from '../connectors/connector.ts'
import { type ErrorCode, FeedgateError } from '../errors.ts'
import type { Log } from '../gateway/gateway.ts'
import { parseTopic, type Topic } from '../market/topic.ts'
import type { Sql } from '../store/store.ts'
import type { Answer, Manager, Notification, SourceRequest, SourceStatus } from './manager.ts'
import type { CommandAnswer, Report, Verb } from './nodes.ts'

/** How often reports of other nodes are looked for. */
const LOOK_EVERY_MS = 500
const ANSWER_EVERY_MS = 40
const START_PATIENCE_MS = 3_000
/** An owner may wait 10 s for a venue's verdict on credentials. */
const PATIENCE_MS = 12_000
/** An owner whose lease ended so long ago is not reporting, and nobody took over yet. */
const LAPSED_MS = 2_000

interface Known {
  readonly report: Report
  /** Topic ids, a line each. */
  readonly topics: string
  readonly updatedAt: string
  readonly lapsed: boolean
}

/**
 * The manager as seen from a node that runs no sources: what the owners report to the database, at most about two seconds
 * old, and commands given to them. While the database is away it answers what it knew.
 */
export function createRemoteManager(sql: Sql, log: Log, patienceMs = PATIENCE_MS): RemoteManager {
  return new RemoteManager(sql, log, patienceMs)
}

export class RemoteManager implements Manager {
  readonly #sql: Sql
  readonly #log: Log
  readonly #patienceMs: number
  /** By source. */
  #known = new Map<string, Known>()
  #topics: readonly Topic[] | undefined
  readonly #ended = new AbortController()
  #running: Promise<void> | undefined
  #complained = false
  #isKnown = false

  constructor(sql: Sql, log: Log, patienceMs: number) {
    this.#sql = sql
    this.#log = log
    this.#patienceMs = patienceMs
  }

  /** Resolves when it is known what sources carry, or after 3 s: the database may be away. */
  async start(): Promise<void> {
    this.#running ??= this.#run()
    const deadline = performance.now() + START_PATIENCE_MS
    while (!this.#isKnown && performance.now() < deadline && !this.#ended.signal.aborted)
      await delay(ANSWER_EVERY_MS)
  }

  /** For `/readyz`: before the first reports are read no symbol is known here. */
  fault(): string | undefined {
    return this.#isKnown ? undefined : 'what the sources carry is not known yet'
  }

  async close(): Promise<void> {
    this.#ended.abort()
    await this.#running
  }

  connect(request: SourceRequest): Promise<Answer> {
    return this.#command('connect', request)
  }

  disconnect(request: SourceRequest): Promise<Answer> {
    return this.#command('disconnect', request)
  }

  subscribe(request: SourceRequest): Promise<Answer> {
    return this.#command('subscribe', request)
  }

  unsubscribe(request: SourceRequest): Promise<Answer> {
    return this.#command('unsubscribe', request)
  }

  rotate(request: SourceRequest): Promise<Answer> {
    return this.#command('rotate', request)
  }

  status(): readonly SourceStatus[]
  status(id: string): SourceStatus | undefined
  status(id?: string): readonly SourceStatus[] | SourceStatus | undefined {
    if (id === undefined) return [...this.#known.values()].map(statusOf)
    const known = this.#known.get(id)
    return known && statusOf(known)
  }

  topics(): Iterable<Topic> {
    this.#topics ??= [...this.#known.values()].flatMap(({ topics }) =>
      topics.split('\n').flatMap((id) => parseTopic(id) ?? []),
    )
    return this.#topics
  }

  licence(source: string): 'open' | 'restricted' | undefined {
    return this.#known.get(source)?.report.status.licence
  }

  async instruments(source: string): Promise<readonly Instrument[] | undefined> {
    const { rows } = await this.#sql.query<{ instruments: string }>(
      'select instruments from source_instruments where source = $1',
      [source],
    )
    return rows[0] && (JSON.parse(rows[0].instruments) as readonly Instrument[])
  }

  notifications(): readonly Notification[] {
    const all = [...this.#known.values()].flatMap(({ report }) => report.notifications)
    return all.sort((a, b) => a.time - b.time)
  }

  async #run(): Promise<void> {
    const { signal } = this.#ended
    while (!signal.aborted) {
      try {
        await this.#look()
        this.#complained = false
      } catch (error) {
        if (!this.#complained && !signal.aborted)
          this.#log.warn({ error: (error as Error).message }, 'reports of the sources cannot be read')
        this.#complained = true
      }
      await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined)
    }
  }

  async #look(): Promise<void> {
    const { rows } = await this.#sql.query<{ source: string; updated_at: string; lapsed: boolean }>(
      `select s.source, s.updated_at::text as updated_at,
              l.expires_at < clock_timestamp() - $1 * interval '1 ms' as lapsed
       from source_status s join source_leases l on l.source = s.source`,
      [LAPSED_MS],
    )
    const changed = rows.filter((row) => this.#known.get(row.source)?.updatedAt !== row.updated_at)
    const reports = await this.#read(changed.map(({ source }) => source))
    const known = new Map<string, Known>()
    for (const { source, updated_at, lapsed } of rows) {
      const before = this.#known.get(source)
      const { report, topics } = reports.get(source) ?? before ?? {}
      if (report === undefined || topics === undefined) continue
      known.set(source, { report, topics, updatedAt: updated_at, lapsed })
      if (topics !== before?.topics) this.#topics = undefined
    }
    if (known.size !== this.#known.size) this.#topics = undefined
    this.#known = known
    this.#isKnown = true
  }

  async #read(sources: readonly string[]): Promise<ReadonlyMap<string, Pick<Known, 'report' | 'topics'>>> {
    if (sources.length === 0) return new Map()
    const { rows } = await this.#sql.query<{ source: string; report: string; topics: string }>(
      'select source, report, topics from source_status where source = any($1::text[])',
      [sources],
    )
    return new Map(
      rows.map(({ source, report, topics }) => [source, { report: JSON.parse(report) as Report, topics }]),
    )
  }

  async #command(verb: Verb, request: SourceRequest): Promise<Answer> {
    const { rows } = await this.#sql.query<{ id: string }>(
      'insert into source_commands (source, verb, request) values ($1, $2, $3) returning id::text as id',
      [request.exchangeId, verb, JSON.stringify(request)],
    )
    const answer = await this.#answer(rows[0]!.id)
    if ('error' in answer) {
      const { code, message, retryAfterMs } = answer.error
      throw new FeedgateError(code as ErrorCode, message, retryAfterMs === undefined ? {} : { retryAfterMs })
    }
    await this.#look()
    return answer.done
  }

  async #answer(id: string): Promise<CommandAnswer> {
    const deadline = performance.now() + this.#patienceMs
    while (performance.now() < deadline && !this.#ended.signal.aborted) {
      await delay(ANSWER_EVERY_MS)
      const { rows } = await this.#sql.query<{ answer: string }>(
        'delete from source_commands where id = $1::bigint and answered_at is not null returning answer',
        [id],
      )
      if (rows[0]) return JSON.parse(rows[0].answer) as CommandAnswer
    }
    // Not taken by anybody yet: then nobody shall.
    await this.#sql.query('delete from source_commands where id = $1::bigint and taken_by is null', [id])
    throw new FeedgateError('not-ready', 'no ingest node answered: is one running? Try again', {
      retryAfterMs: 5_000,
    })
  }
}

function statusOf({ report: { status }, lapsed }: Known): SourceStatus {
  return lapsed
    ? { ...status, state: 'reconnecting', reason: 'its node does not report, another takes over' }
    : status
}
