import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { signals } from '../signals.ts'

/** Label values beyond this many of one metric are counted as `other`: nothing outside can make the text grow. */
const MAX_LABEL_VALUES = 200

export interface Metrics {
  /** Prometheus text. */
  text(): Promise<string>
  /** Stops listening; safe to call twice. */
  close(): void
}

/** Listens to every signal of the program, and counts. No tenant is named. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const stops = [...watchSources(registry), ...watchRecorder(registry), ...watchClients(registry)]
  return {
    text: () => registry.metrics(),
    close: () => {
      for (const stop of stops.splice(0)) stop()
      registry.clear()
    },
  }
}

type Stops = readonly (() => void)[]

function watchSources(registry: Registry): Stops {
  const counter = counters(registry)
  const source = bounded()
  const changes = counter('feedgate_source_state_changes_total', 'States that sources came into', [
    'source',
    'state',
  ])
  const connected = new Gauge({
    name: 'feedgate_source_connected',
    help: '1: the source is connected',
    labelNames: ['source'],
    registers: [registry],
  })
  const sides = new Gauge({
    name: 'feedgate_side_connected',
    help: '1: this side of the source is connected',
    labelNames: ['source', 'side'],
    registers: [registry],
  })
  const tunnels = new Gauge({
    name: 'feedgate_tunnels',
    help: 'Connections to venues that are open for other nodes',
    registers: [registry],
  })
  const first = counter('feedgate_side_first_total', 'Events that a side was first to deliver', [
    'source',
    'side',
  ])
  const filled = counter('feedgate_side_filled_total', 'Holes of the other side that a side made good', [
    'source',
    'side',
  ])
  const frames = counter('feedgate_frames_received_total', 'Frames read from venues', ['source'])
  const ignored = counter('feedgate_frames_ignored_total', 'Frames of a type that is not known', ['source'])
  const published = counter('feedgate_events_published_total', 'Events published', ['source', 'channel'])
  const rejected = counter('feedgate_dead_letters_total', 'Input that could not become an event', ['source'])
  const bookGaps = counter('feedgate_book_gaps_total', 'Books that failed their proof', ['source'])
  const backfilled = counter('feedgate_backfilled_total', 'Trades of a hole that the venue gave again', [
    'source',
    'channel',
  ])
  const gaps = counter('feedgate_gaps_total', 'Holes declared', ['source', 'channel'])
  const fenced = counter('feedgate_events_fenced_total', 'Events of owners that were replaced, not stored', [
    'source',
    'channel',
  ])
  return [
    signals.sourceState.on((fact) => {
      changes.inc({ source: source(fact.source), state: fact.state })
      connected.set({ source: source(fact.source) }, fact.state === 'connected' ? 1 : 0)
    }),
    signals.sideState.on((fact) =>
      sides.set({ source: source(fact.source), side: fact.side }, fact.state === 'connected' ? 1 : 0),
    ),
    signals.tunnels.on((fact) => tunnels.set(fact.open)),
    signals.sideServed.on((fact) => {
      first.inc({ source: source(fact.source), side: fact.side }, fact.first)
      filled.inc({ source: source(fact.source), side: fact.side }, fact.filled)
    }),
    signals.framesReceived.on((fact) => frames.inc({ source: source(fact.source) }, fact.count)),
    signals.frameIgnored.on((fact) => ignored.inc({ source: source(fact.source) })),
    signals.eventsPublished.on((fact) =>
      published.inc({ source: source(fact.source), channel: fact.channel }, fact.count),
    ),
    signals.deadLetter.on((fact) => rejected.inc({ source: source(fact.source) })),
    signals.bookGap.on((fact) => bookGaps.inc({ source: source(fact.source) })),
    signals.backfilled.on((fact) =>
      backfilled.inc({ source: source(fact.source), channel: fact.channel }, fact.count),
    ),
    signals.gap.on((fact) => gaps.inc({ source: source(fact.source), channel: fact.channel })),
    signals.eventFenced.on((fact) => fenced.inc({ source: source(fact.source), channel: fact.channel })),
  ]
}

/** The four `odds_proc_*` names are those of the system that this one replaces; dashboards know them. */
function watchRecorder(registry: Registry): Stops {
  const counter = counters(registry)
  const consumed = counter(
    'odds_proc_messages_consumed_total',
    'Events that the recorder took from the bus',
    [],
  )
  const odds = counter('feedgate_odds_consumed_total', 'Odds events among them', [])
  const rows = counter('odds_proc_db_writes_total', 'Rows that the recorder wrote', [])
  const cacheSets = counter('odds_proc_cache_sets_total', 'Values that were put into the cache', [])
  const errors = counter('odds_proc_errors_total', 'Failures of the recorder', [])
  const jobs = new Gauge({
    name: 'feedgate_store_jobs_failing',
    help: 'Background jobs of the database that fail or do not run',
    registers: [registry],
  })
  const write = new Histogram({
    name: 'feedgate_db_write_seconds',
    help: 'Time of one write of the recorder',
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
    registers: [registry],
  })
  return [
    signals.recorderConsumed.on((fact) => {
      consumed.inc(fact.events)
      odds.inc(fact.odds)
    }),
    signals.recorderWrote.on((fact) => {
      rows.inc(fact.rows)
      write.observe(fact.ms / 1_000)
    }),
    signals.recorderError.on(() => errors.inc()),
    signals.cacheError.on(() => errors.inc()),
    signals.storeJobsFailing.on((fact) => jobs.set(fact.count)),
    signals.cacheSet.on((fact) => cacheSets.inc(fact.count)),
  ]
}

function watchClients(registry: Registry): Stops {
  const counter = counters(registry)
  const clients = new Gauge({
    name: 'feedgate_clients',
    help: 'Clients that are connected',
    labelNames: ['endpoint', 'tier'],
    registers: [registry],
  })
  const closed = counter('feedgate_client_closes_total', 'Connections of clients that ended', [
    'endpoint',
    'code',
  ])
  const frames = counter('feedgate_frames_sent_total', 'Frames sent to clients', ['encoding'])
  const bytes = counter('feedgate_bytes_sent_total', 'Bytes sent to clients', ['encoding'])
  const deflated = counter(
    'feedgate_frames_deflated_total',
    'Frames compressed, each for all of its clients',
    [],
  )
  const plain = counter('feedgate_deflate_input_bytes_total', 'Bytes of these before', [])
  const output = counter('feedgate_deflate_output_bytes_total', 'Bytes of these after', [])
  const errors = counter('feedgate_client_errors_total', 'Errors told to clients', ['code'])
  const repairs = counter('feedgate_topic_repairs_total', 'Holes in what arrived, by what filled them', [
    'by',
  ])
  const code = bounded()
  const latency = new Histogram({
    name: 'feedgate_latency_seconds',
    help: 'From receivedTime to sentTime',
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1],
    registers: [registry],
  })
  return [
    signals.clientConnected.on(({ endpoint, tier }) => clients.inc({ endpoint, tier })),
    signals.clientDisconnected.on((fact) => {
      clients.dec({ endpoint: fact.endpoint, tier: fact.tier })
      closed.inc({ endpoint: fact.endpoint, code: code(String(fact.code)) })
    }),
    signals.framesSent.on((fact) => {
      frames.inc({ encoding: fact.encoding }, fact.count)
      bytes.inc({ encoding: fact.encoding }, fact.bytes)
    }),
    signals.frameDeflated.on((fact) => {
      deflated.inc()
      plain.inc(fact.plain)
      output.inc(fact.deflated)
    }),
    signals.topicRepaired.on((fact) => repairs.inc({ by: fact.by })),
    signals.clientError.on((fact) => errors.inc({ code: code(fact.code) })),
    signals.latency.on((fact) => latency.observe(fact.micros / 1e6)),
  ]
}

/** Counters without labels are there from the start, as 0. */
function counters(registry: Registry) {
  return <L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> =>
    new Counter({ name, help, labelNames: [...labelNames], registers: [registry] })
}

/** Lets through so many different values, and calls the rest `other`. */
function bounded(): (value: string) => string {
  const known = new Set<string>()
  return (value) => {
    if (known.has(value)) return value
    if (known.size >= MAX_LABEL_VALUES) return 'other'
    known.add(value)
    return value
  }
}
