import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterEach, describe, expect, it } from 'vitest'
import type { Bus, BusBatch } from '../../src/bus/bus.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import { topicOf } from '../../src/market/topic.ts'
import { createPostgresStore } from '../../src/store/postgres.ts'
import { runRecorder } from '../../src/store/recorder.ts'
import { DEFAULT_STORE_SETTINGS, type StoreSettings } from '../../src/store/settings.ts'
import type { Store, StoredCandle } from '../../src/store/store.ts'
import { series, trade } from '../contracts/events.ts'
import { freshDatabase, withEngines } from './engines.ts'

const HOUR = 3_600_000_000
const log = { info() {}, warn() {}, error() {} }

let stores: Store[] = []
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close()
  stores = []
})

async function open(url: string, changed: Partial<StoreSettings> = {}): Promise<Store> {
  const store = createPostgresStore({ url, settings: { ...DEFAULT_STORE_SETTINGS, ...changed } })
  stores.push(store)
  await store.ready()
  return store
}

/** A fixed sequence of numbers below 1. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}

/** Trades of the last hours, until a minute from now, in no order of their own time; one of 400 comes twice. */
function tradesOfHours(
  symbol: string,
  hours: number,
  count: number,
  seed: number,
  epoch: number,
): EncodedEvent[] {
  const next = series(topicOf('exact', 'trades', symbol), epoch)
  const random = randomNumbers(seed)
  const now = Date.now() * 1_000
  const events: EncodedEvent[] = []
  let last = { id: '', sourceTime: 0 }
  for (let i = 0; i < count; i++) {
    const isDouble = i % 400 === 399
    const sourceTime = isDouble ? last.sourceTime : now - Math.floor(random() * hours * HOUR) - 1_000_000
    const id = isDouble ? last.id : `${epoch}-${i}`
    last = { id, sourceTime }
    const payload = trade(
      i % 17 === 0 ? undefined : id,
      (100 + random()).toFixed(2),
      (1 + random()).toFixed(3),
    )
    events.push(next(payload, { sourceTime, receivedTime: epoch + i }))
  }
  return events
}

const record = async (store: Store, events: readonly EncodedEvent[]) => {
  for (let i = 0; i < events.length; i += 1_000)
    await store.record({ events: events.slice(i, i + 1_000), deadLetters: [] })
}

async function candlesOf(store: Store, symbol: string, timeframe: string): Promise<StoredCandle[]> {
  const items: StoredCandle[] = []
  let cursor: string | null = null
  do {
    const query = { source: 'exact', subject: symbol, timeframe, limit: 1_000 }
    const page = await store.candles({ ...query, ...(cursor === null ? {} : { cursor }) })
    items.push(...page.items)
    cursor = page.next
  } while (cursor !== null)
  return items
}

async function untilRefreshed(store: Store): Promise<void> {
  for (let i = 0; i < 300; i++) {
    const { rows } = await store.sql.query('select 1 from late_trades limit 1')
    if (rows.length === 0) return
    await delay(100)
  }
  throw new Error('late trades are still noted')
}

await withEngines(['timescale', 'postgres'], ({ timescale, postgres }) => {
  describe('a store on TimescaleDB', () => {
    it('keeps the policies that the settings say, also when they change', async () => {
      const { url } = await freshDatabase(timescale)
      const policies = async (store: Store) => {
        const { rows } = await store.sql.query<{ policy: string }>(
          `select hypertable_name || ' ' || proc_name || ' ' || coalesce(config ->> 'drop_after',
             config ->> 'compress_after', (config ->> 'start_offset') || ' to ' || (config ->> 'end_offset')) as policy
           from timescaledb_information.jobs where job_id >= 1000 and hypertable_name ~ '(trade|ticker)' order by 1`,
        )
        return rows.map((row) => row.policy)
      }
      const chunks = async (store: Store) => {
        const { rows } = await store.sql.query<{ time_interval: string }>(
          "select distinct time_interval::text from timescaledb_information.dimensions where hypertable_name like 'events%'",
        )
        return rows.map((row) => row.time_interval)
      }
      const refreshes = (window: string) => [
        `trade_candles_1h policy_refresh_continuous_aggregate ${window} to 03:00:00`,
        `trade_candles_1m policy_refresh_continuous_aggregate ${window} to 00:05:00`,
        `trade_candles_1s policy_refresh_continuous_aggregate ${window} to 00:02:00`,
      ]
      const first = await open(url)
      expect(await policies(first)).toEqual([
        'events_ticker policy_compression 7 days',
        'events_trade policy_compression 7 days',
        ...refreshes('3 days'),
      ])
      expect(await chunks(first)).toEqual(['1 day'])
      await first.close()
      const changed = { retainEvents: '90d', compressAfter: '10d', refreshWindow: '5d', chunkInterval: '6h' }
      for (let again = 0; again < 2; again++) {
        const store = await open(url, changed)
        expect(await policies(store)).toEqual([
          'events_ticker policy_compression 10 days',
          'events_ticker policy_retention 90 days',
          'events_trade policy_compression 10 days',
          'events_trade policy_retention 90 days',
          ...refreshes('5 days'),
        ])
        expect(await chunks(store)).toEqual(['06:00:00'])
        await store.close()
      }
      const without = await open(url, { compressAfter: 'off' })
      expect(await policies(without)).toEqual(refreshes('3 days'))
    })

    it('answers candles as plain SQL does, also of trades that came late, from its aggregates', async () => {
      const store = await open((await freshDatabase(timescale)).url)
      const plain = await open((await freshDatabase(postgres)).url)
      const now = Date.now() * 1_000
      const compare = async () => {
        for (const timeframe of ['1s', '15s', '1m', '7m', '1h', '1d']) {
          const expected = await candlesOf(plain, 'A', timeframe)
          expect(expected.length).toBeGreaterThan(0)
          expect(await candlesOf(store, 'A', timeframe)).toEqual(expected)
        }
      }
      const aggregated = async () => {
        const { rows } = await store.sql.query<{ trades: number }>(
          'select sum(trades)::integer as trades from trade_candles_1h',
        )
        return rows[0]!.trades
      }
      const first = tradesOfHours('A', 8, 4_000, 7, now)
      for (const one of [store, plain]) await record(one, first)
      await compare()
      await untilRefreshed(store)
      await compare()
      expect(await aggregated()).toBe(4_000)
      // Late: below what the aggregates hold. Seen at once, and in the aggregates soon after.
      const late = tradesOfHours('A', 6, 1_000, 11, now + 1_000_000)
      for (const one of [store, plain]) await record(one, late)
      await compare()
      await untilRefreshed(store)
      await compare()
      expect(await aggregated()).toBe(5_000)
      const { rows } = await store.sql.query<{ trades: number }>(
        "select sum(trades)::integer as trades from candles_1m where source = 'exact' and symbol = 'A'",
      )
      expect(rows[0]!.trades).toBe(5_000)
    })

    it('stores into compressed chunks, each event once, and reads from them', async () => {
      const store = await open((await freshDatabase(timescale)).url)
      const events = tradesOfHours('B', 30, 2_000, 3, Date.now() * 1_000)
      const even = events.filter((_, i) => i % 2 === 0)
      await record(store, even)
      const { rows } = await store.sql.query<{ chunk: string }>(
        "select compress_chunk(c)::text as chunk from show_chunks('events_trade') c",
      )
      expect(rows.length).toBeGreaterThan(1)
      await record(store, events)
      await record(store, events)
      const { items } = await store.history({ channel: 'trades', source: 'exact', limit: 10_000 })
      expect(items.map((event) => event.body)).toEqual(events.map((event) => event.bytes.toString()))
      expect(await store.positions('exact')).toMatchObject(
        new Map([['exact|trades|B', { seq: 2_000, epoch: events[0]!.epoch }]]),
      )
      expect(await store.latest({ channel: 'trades', source: 'exact' })).toHaveLength(1)
    })

    it('takes over a database that began as plain PostgreSQL', async () => {
      const { url } = await freshDatabase(timescale)
      const plain = await open(url, { timescale: 'off' })
      const events = tradesOfHours('C', 50, 3_000, 5, Date.now() * 1_000)
      await record(plain, events.slice(0, 2_500))
      const before = await candlesOf(plain, 'C', '1m')
      await plain.close()
      const store = await open(url)
      const hypertables = await store.sql.query('select 1 from timescaledb_information.hypertables')
      expect(hypertables.rows.length).toBeGreaterThan(6)
      expect(await candlesOf(store, 'C', '1m')).toEqual(before)
      await untilRefreshed(store)
      expect(await candlesOf(store, 'C', '1m')).toEqual(before)
      await record(store, events)
      const { items } = await store.history({ channel: 'trades', source: 'exact', limit: 10_000 })
      expect(items.map((event) => event.body)).toEqual(events.map((event) => event.bytes.toString()))
    })

    it('tells of a job of the database that fails', async () => {
      const { url } = await freshDatabase(timescale)
      const store = await open(url)
      expect(store.warnings()).toEqual([])
      await store.sql.query(`create procedure fail(job_id integer, config jsonb) language plpgsql
        as $$ begin raise exception 'no' using errcode = 'P0009'; end $$`)
      await store.sql.query("select add_job('fail', interval '1 day', initial_start => now())")
      const failed = `select 1 from timescaledb_information.job_stats where last_run_status = 'Failed'`
      for (let i = 0; i < 300 && (await store.sql.query(failed)).rows.length === 0; i++) await delay(100)
      const again = await open(url)
      for (let i = 0; i < 100 && again.warnings().length === 0; i++) await delay(50)
      expect(again.warnings()).toEqual([expect.stringMatching(/^job \d+ fail of .*failed \(P0009\)$/)])
      expect(again.fault()).toBeUndefined()
    })
  })

  for (const server of [timescale, postgres])
    it.skipIf(!server.own)(
      `loses and doubles nothing while ${server.name} is killed under recording`,
      async () => {
        const { url } = await freshDatabase(server)
        const store = await open(url)
        const total = 20_000
        const next = series(topicOf('killed', 'trades', 'K'), Date.now() * 1_000)
        const events = Array.from({ length: total }, (_, i) => next(trade(String(i))))
        const stop = new AbortController()
        const recording = runRecorder({ bus: partition(events, 500), store, log }, stop.signal)
        const stored = async () => {
          const { rows } = await store.sql.query<{ n: number; seqs: number }>(
            'select count(*)::integer as n, count(distinct seq)::integer as seqs from events_trade',
          )
          return rows[0]!
        }
        for (const reached of [0.2, 0.6]) {
          while ((await stored()).n < reached * total) await delay(20)
          await server.kill()
          await delay(200)
          expect(store.fault()).toBeDefined()
          await server.restart()
        }
        while ((await stored()).n < total) await delay(50)
        stop.abort()
        await recording
        expect(await stored()).toEqual({ n: total, seqs: total })
        expect(await store.offsets('recorder', ['md.trade/0'])).toEqual(
          new Map([['md.trade/0', String(total)]]),
        )
        expect((await store.sql.query('select 1 from dead_letters')).rows).toEqual([])
        expect(store.fault()).toBeUndefined()
      },
    )

  it('keeps slow reads away from recording and from the short statements of others', async () => {
    const { url } = await freshDatabase(postgres)
    const store = await open(url, { connections: 1 })
    const blocker = new pg.Client({ connectionString: url })
    await blocker.connect()
    await blocker.query('begin; lock table events_ticker in access exclusive mode')
    const slow = Array.from({ length: 3 }, () => store.latest({ channel: 'ticker', source: 'x' }))
    await record(store, tradesOfHours('S', 1, 100, 1, Date.now() * 1_000))
    await store.sql.query('select 1')
    await blocker.end()
    await Promise.all(slow)
  })

  it('waits for a server that is away, and says so', async () => {
    const store = createPostgresStore({ url: 'postgresql://u:p4ss@127.0.0.1:1/x', patienceMs: 300 })
    stores.push(store)
    const began = performance.now()
    await expect(store.history({ channel: 'trades', limit: 1 })).rejects.toMatchObject({
      code: 'store-unavailable',
      message: 'the store does not answer (unreachable (ECONNREFUSED))',
    })
    expect(performance.now() - began).toBeGreaterThan(250)
    expect(store.fault()).toBe('unreachable (ECONNREFUSED)')
    const wrong = new URL(postgres.url)
    wrong.pathname = '/no_such_database'
    const refused = createPostgresStore({ url: wrong.href })
    stores.push(refused)
    await expect(refused.ready()).rejects.toMatchObject({ code: 'bad-setting' })
  })
})

/** One partition of events, read from where its group stands in the store. */
function partition(events: readonly EncodedEvent[], size: number): Bus {
  return {
    publish: async () => {},
    reject: async () => {},
    ends: async () => new Map(),
    async *tail() {},
    fault: () => undefined,
    close: async () => {},
    async *subscribe(group, signal, stored) {
      const known = await stored!.offsets(group, ['md.trade/0'])
      for (let at = Number(known.get('md.trade/0') ?? 0); !signal.aborted; ) {
        const part = events.slice(at, at + size)
        if (part.length === 0) await once(signal, 'abort')
        else {
          const range = { from: String(at), to: String(at + part.length) }
          yield {
            events: part,
            deadLetters: [],
            offsets: new Map([['md.trade/0', range]]),
          } satisfies BusBatch
          at += part.length
        }
      }
    },
  }
}
