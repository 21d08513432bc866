import { setTimeout as delay } from 'node:timers/promises'
import type { Instrument } from '../connectors/connector.ts'
import { FeedgateError } from '../errors.ts'
import type { Log } from '../gateway/gateway.ts'
import type { Topic } from '../market/topic.ts'
import type { Sql } from '../store/store.ts'
import type { OwningManager } from './create-manager.ts'
import type { Answer, Notification, SourceRequest, SourceStatus } from './manager.ts'

/** How often commands of other nodes are looked for. */
const LOOK_EVERY_MS = 100
const REPORT_EVERY_MS = 1_000
/** Sources of a node with many topics report less often: every second for each so many of them all. */
const TOPICS_PER_SECOND = 1_000
/** Commands taken at once; the rest is taken with the next look. */
const MAX_COMMANDS = 20
/** A command that nobody waits for any more. */
const COMMAND_LIFE_S = 60

export type Verb = 'connect' | 'disconnect' | 'subscribe' | 'unsubscribe' | 'rotate'

/** What an owner tells of its source, in `source_status.report`. */
export interface Report {
  readonly status: SourceStatus
  readonly notifications: readonly Notification[]
}

/** In `source_commands.answer`. */
export type CommandAnswer =
  | { readonly done: Answer }
  | { readonly error: { readonly code: string; readonly message: string; readonly retryAfterMs?: number } }

interface Command {
  readonly id: string
  readonly source: string
  readonly verb: Verb
  readonly request: string
}

/**
 * Lets other nodes see and steer the sources of this one, through the database that they share: reports each source's
 * status, and carries out what their admins ask. Goes on through every outage of the database, until the signal ends.
 */
export async function serveNodes(
  { manager, sql, node, log }: { manager: OwningManager; sql: Sql; node: string; log: Log },
  signal: AbortSignal,
): Promise<void> {
  const reports = new Reports(manager, sql)
  let complained = false
  while (!signal.aborted) {
    try {
      for (const command of await takeCommands(sql, node, manager.owned()))
        void carryOut(manager, sql, command)
          .then(() => reports.hurry(command.source))
          .catch((error: Error) =>
            log.warn({ source: command.source, error: error.message }, 'a command could not be answered'),
          )
      await reports.publish()
      complained = false
    } catch (error) {
      if (!complained) log.warn({ error: (error as Error).message }, 'this node cannot reach the others')
      complained = true
    }
    await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined)
  }
}

/** Those of sources that this node owns, and of those that no node owns. */
async function takeCommands(sql: Sql, node: string, owned: readonly string[]): Promise<readonly Command[]> {
  const { rows } = await sql.query<Command>(
    `update source_commands set taken_by = $1 where id in (
       select c.id from source_commands c
       where c.answered_at is null and c.taken_by is null
         and (c.source = any($2::text[]) or not exists (
           select 1 from source_leases l where l.source = c.source and l.expires_at > clock_timestamp()))
       order by c.id limit ${MAX_COMMANDS} for update skip locked)
     returning id::text as id, source, verb, request`,
    [node, owned],
  )
  return rows
}

async function carryOut(manager: OwningManager, sql: Sql, command: Command): Promise<void> {
  const answer = await answerOf(manager, command)
  // Another node came to own the source in between: the command is left to it.
  if ('error' in answer && answer.error.code === 'fenced') {
    await sql.query('update source_commands set taken_by = null where id = $1::bigint', [command.id])
    return
  }
  await sql.query(`update source_commands set answer = $2, answered_at = now() where id = $1::bigint`, [
    command.id,
    JSON.stringify(answer),
  ])
}

async function answerOf(manager: OwningManager, { verb, request }: Command): Promise<CommandAnswer> {
  try {
    return { done: await manager[verb](JSON.parse(request) as SourceRequest) }
  } catch (error) {
    if (!(error instanceof FeedgateError))
      return { error: { code: 'internal', message: 'the source could not be changed' } }
    const { code, message, retryAfterMs } = error
    return { error: { code, message, ...(retryAfterMs !== undefined && { retryAfterMs }) } }
  }
}

/** What was written last of a source. */
interface Written {
  readonly report: string
  /** Ids, one a line. */
  readonly topics: string
  /** Of them. */
  readonly count: number
  /** When the next is due, monotonic ms. */
  dueAt: number
}

/** Writes what changed, so often as it is worth. */
class Reports {
  readonly #manager: OwningManager
  readonly #sql: Sql
  /** By source. */
  readonly #written = new Map<string, Written>()
  /** By source: the list written last. */
  readonly #instruments = new Map<string, readonly Instrument[]>()
  #sweptAt = 0

  constructor(manager: OwningManager, sql: Sql) {
    this.#manager = manager
    this.#sql = sql
  }

  /** Something was just changed by somebody who looks at it. */
  hurry(source: string): void {
    const written = this.#written.get(source)
    if (written) written.dueAt = 0
  }

  async publish(): Promise<void> {
    const time = performance.now()
    const running = this.#manager.owned().filter((source) => this.#manager.licence(source) !== undefined)
    const due = running.filter((source) => time >= (this.#written.get(source)?.dueAt ?? 0))
    try {
      await this.#write(this.#changed(new Set(due), time))
    } catch (error) {
      this.#written.clear()
      throw error
    }
    for (const source of due) await this.#writeInstruments(source)
    await this.#sweep(time, new Set(running))
  }

  /** What these sources have to say that was not written yet. */
  #changed(due: ReadonlySet<string>, time: number): readonly (Written & { readonly source: string })[] {
    if (due.size === 0) return []
    const notifications = this.#manager.notifications()
    const topics = topicsBySource(this.#manager.topics(), due)
    let count = 0
    for (const written of this.#written.values()) count += written.count
    const everyMs = REPORT_EVERY_MS * Math.max(1, count / TOPICS_PER_SECOND)
    return [...due].flatMap((source) => {
      const status = this.#manager.status(source)
      if (!status) return []
      const own = notifications.filter((one) => one.source === source)
      const next = {
        report: JSON.stringify({ status, notifications: own } satisfies Report),
        topics: (topics.get(source) ?? []).join('\n'),
        count: status.topics.length,
        dueAt: time + everyMs,
      }
      const written = this.#written.get(source)
      this.#written.set(source, next)
      return written?.report === next.report && written.topics === next.topics ? [] : [{ source, ...next }]
    })
  }

  async #writeInstruments(source: string): Promise<void> {
    const instruments = await this.#manager.instruments(source)
    if (!instruments || this.#instruments.get(source) === instruments) return
    await this.#sql.query(
      `insert into source_instruments (source, instruments) values ($1, $2)
       on conflict (source) do update set instruments = excluded.instruments, updated_at = now()`,
      [source, JSON.stringify(instruments)],
    )
    this.#instruments.set(source, instruments)
  }

  /** Under the lease only: a node that lost it must not overwrite what the new owner reports. */
  async #write(reports: readonly { source: string; report: string; topics: string }[]): Promise<void> {
    if (reports.length === 0) return
    await this.#sql.query(
      `insert into source_status as kept (source, token, report, topics)
       select r.source, l.token, r.report, r.topics
       from unnest($1::text[], $2::text[], $3::text[]) as r (source, report, topics)
       join source_leases l on l.source = r.source
       on conflict (source) do update
         set token = excluded.token, report = excluded.report, topics = excluded.topics,
             updated_at = clock_timestamp()
         where kept.token <= excluded.token`,
      [
        reports.map(({ source }) => source),
        reports.map(({ report }) => report),
        reports.map(({ topics }) => topics),
      ],
    )
  }

  /** What this node no longer runs though it owns it was disconnected; and commands that nobody waits for. */
  async #sweep(time: number, running: ReadonlySet<string>): Promise<void> {
    const owned = new Set(this.#manager.owned())
    const gone = [...this.#written.keys()].filter((source) => !running.has(source))
    for (const source of gone) {
      this.#written.delete(source)
      this.#instruments.delete(source)
    }
    const disconnected = gone.filter((source) => owned.has(source))
    if (disconnected.length > 0)
      for (const table of ['source_status', 'source_instruments'])
        await this.#sql.query(`delete from ${table} where source = any($1::text[])`, [disconnected])
    if (time - this.#sweptAt < COMMAND_LIFE_S * 1_000) return
    this.#sweptAt = time
    await this.#sql.query(
      `delete from source_commands where asked_at < now() - interval '${COMMAND_LIFE_S} s'`,
    )
  }
}

function topicsBySource(
  topics: Iterable<Topic>,
  sources: ReadonlySet<string>,
): ReadonlyMap<string, string[]> {
  const ids = new Map<string, string[]>()
  for (const { source, id } of topics) {
    if (!sources.has(source)) continue
    const list = ids.get(source)
    if (list) list.push(id)
    else ids.set(source, [id])
  }
  return ids
}
