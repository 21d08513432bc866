import { signals } from '../signals.ts'
import { refreshLate } from './late-trades.ts'
import { connectOnce } from './pg-connections.ts'
import type { StoreSettings } from './settings.ts'
import type { Sql } from './store.ts'

const REFRESH_MS = 5_000
const WATCH_MS = 30_000
/** A job that should have begun so long ago: the server has no workers for it. */
const OVERDUE = "interval '1 hour'"

interface Log {
  warn(fields: object, message: string): void
}

/** While a store on TimescaleDB is open: refreshes candles that late trades changed, and watches the server's own jobs. */
export class TimescaleUpkeep {
  readonly #url: string
  readonly #sql: Sql
  readonly #settings: StoreSettings
  readonly #log: Log | undefined
  #timers: NodeJS.Timeout[] = []
  #refreshing: Promise<void> | undefined
  #session: Awaited<ReturnType<typeof connectOnce>> | undefined
  #warnings: readonly string[] = []

  constructor(url: string, sql: Sql, settings: StoreSettings, log?: Log) {
    this.#url = url
    this.#sql = sql
    this.#settings = settings
    this.#log = log
  }

  /** Jobs that fail or do not run, a phrase each. */
  warnings(): readonly string[] {
    return this.#warnings
  }

  /** Safe to call again. */
  start(): void {
    if (this.#timers.length > 0) return
    const refresh = () => {
      this.#refreshing ??= this.#refresh()
        .catch((error: Error) => this.#log?.warn({ error: error.message }, 'candles are not refreshed yet'))
        .finally(() => {
          this.#refreshing = undefined
        })
    }
    const watch = () => void this.#watch().catch(() => undefined)
    this.#timers = [setInterval(refresh, REFRESH_MS), setInterval(watch, WATCH_MS)]
    for (const timer of this.#timers) timer.unref()
    refresh()
    watch()
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.#timers = []
    // What it was at is noted still.
    await this.#session?.end()
    await this.#refreshing
  }

  async #refresh(): Promise<void> {
    const { rows } = await this.#sql.query('select 1 from late_trades limit 1')
    if (rows.length === 0) return
    this.#session = await connectOnce(this.#url)
    try {
      await refreshLate(this.#session, this.#settings, Date.now())
    } finally {
      await this.#session.end()
      this.#session = undefined
    }
  }

  async #watch(): Promise<void> {
    const { rows } = await this.#sql.query<{ id: number; what: string; relation: string; state: string }>(
      `select j.job_id as id, j.proc_name as what, coalesce(j.hypertable_name, '') as relation,
         case when s.last_run_status = 'Failed' then 'failed' || coalesce(' (' || (
           select e.sqlerrcode from timescaledb_information.job_errors e
           where e.job_id = j.job_id order by e.finish_time desc limit 1) || ')', '')
         else 'does not run' end as state
       from timescaledb_information.jobs j join timescaledb_information.job_stats s on s.job_id = j.job_id
       where j.job_id >= 1000 and j.scheduled
         and (s.last_run_status = 'Failed' or (s.job_status <> 'Running' and s.next_start < now() - ${OVERDUE}))
       order by j.job_id`,
    )
    const warnings = rows.map(({ id, what, relation, state }) => `job ${id} ${what} of ${relation} ${state}`)
    for (const warning of warnings)
      if (!this.#warnings.includes(warning)) this.#log?.warn({ job: warning }, 'a job of the database fails')
    this.#warnings = warnings
    signals.storeJobsFailing.emit({ count: warnings.length })
  }
}
