import type { Position } from './events.ts'
import { groupBy } from './group-by.ts'
import type { SubscribeRequest } from './selection.ts'
import type { SubscribeCommand, UnsubscribeCommand } from './wire.ts'

/** Of one command; the gateway takes 10,000. */
const MAX_ITEMS = 5_000

/** A topic to resume, and where from: read when its command is made. */
export interface Resumed {
  readonly topic: string
  readonly position?: Position | undefined
}

/** `symbols` in the shape of `request`, as commands that are short enough. */
export function subscribesOf(
  request: SubscribeRequest,
  symbols: readonly string[],
  resumed: readonly Resumed[],
  maxBytes: number,
): (() => SubscribeCommand)[] {
  const { from: _, ...shape } = request
  // History is asked for once: later the positions say more.
  const asked = resumed.length > 0 ? shape : request
  const all = runsOf(symbols, maxBytes)
  const bytes =
    lengthOf(symbols) + lengthOf(resumed.map(({ topic }) => topic)) + resumed.length * RESUME_BYTES
  if (all.length === 1 && bytes <= maxBytes && resumed.length <= MAX_ITEMS)
    return [() => subscribe(asked, symbols, resumed)]
  // Too much for one: topics with a position go by their names, then the rest; what is there already goes on as it is.
  const bySource = groupBy(resumed, ({ topic }) => topic.replace(/^([^|]*\|[^|]*\|)[^|]*/, '$1'))
  const exact = bySource.flatMap((topics) =>
    runsOf(topics, maxBytes / 2, ({ topic }) => topic.length + RESUME_BYTES).map((run) => () => {
      const { source, timeframe } = partsOf(run[0]!.topic)
      const subjects = run.map(({ topic }) => partsOf(topic).subject)
      return subscribe({ ...asked, source, ...(timeframe ? { timeframe } : {}) }, subjects, run)
    }),
  )
  return [...exact, ...all.map((run) => () => subscribe(asked, run, []))]
}

export function unsubscribesOf(
  { channel, source, timeframe }: Pick<SubscribeRequest, 'channel' | 'source' | 'timeframe'>,
  symbols: readonly string[],
  maxBytes: number,
): (() => UnsubscribeCommand)[] {
  const of = {
    ...(source === undefined ? {} : { source }),
    ...(timeframe === undefined ? {} : { timeframe }),
  }
  return runsOf(symbols, maxBytes).map((run) => () => ({ type: 'unsubscribe', channel, ...of, symbols: run }))
}

export function partsOf(topic: string) {
  const [source = '', channel = '', subject = '', timeframe] = topic.split('|')
  return { source, channel: channel as SubscribeRequest['channel'], subject, timeframe }
}

/** `"…":[1795394739337901,123456789],` beside the topic's name. */
const RESUME_BYTES = 40

function subscribe(
  request: SubscribeRequest,
  symbols: readonly string[],
  resumed: readonly Resumed[],
): SubscribeCommand {
  const resume = Object.fromEntries(
    resumed.flatMap(({ topic, position }) => (position ? [[topic, position] as const] : [])),
  )
  const given = Object.keys(resume).length > 0
  return { type: 'subscribe', ...request, symbols, ...(given ? { resume } : {}) }
}

function lengthOf(texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + JSON.stringify(text).length + 1, 0)
}

function runsOf<T>(
  items: readonly T[],
  maxBytes: number,
  size: (item: T) => number = (item) => JSON.stringify(item).length + 1,
): T[][] {
  const runs: T[][] = []
  let bytes = 0
  for (const item of items) {
    bytes += size(item)
    const run = runs.at(-1)
    if (run && bytes <= maxBytes && run.length < MAX_ITEMS) run.push(item)
    else {
      runs.push([item])
      bytes = size(item)
    }
  }
  return runs
}
