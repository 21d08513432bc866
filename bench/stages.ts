import type { CollectedSpan } from '../test/tracing/collector.ts'
import type { Arrival } from './listeners.ts'
import { SYMBOLS } from './venue.ts'

const STAGES = {
  read: "venue's write → socket read",
  ingest: 'socket read → decoded, numbered, encoded',
  kafka: 'published → the relay takes it (Kafka)',
  redis: 'the relay takes it → a gateway has it (Redis)',
  gateway: 'a gateway has it → written to the socket',
  client: 'written → the client has read it',
} as const

/** Consecutive times between the venue and a client, µs, of the events that were traced. */
export function stagesOf(
  arrivals: readonly Arrival[],
  traces: ReadonlyMap<string, readonly CollectedSpan[]>,
): Record<string, number[]> {
  const spans = new Map<string, { relay?: CollectedSpan; deliver?: CollectedSpan }>()
  for (const of of traces.values()) {
    for (const span of of) {
      if (span.name !== 'relay' && span.name !== 'deliver') continue
      const key = keyOf(String(span.attributes['feedgate.topic']), Number(span.attributes['feedgate.seq']))
      spans.set(key, { ...spans.get(key), [span.name]: span })
    }
  }
  const stages = Object.fromEntries(Object.values(STAGES).map((name) => [name, [] as number[]]))
  const add = (stage: keyof typeof STAGES, micros: number) => stages[STAGES[stage]]!.push(micros)
  for (const arrival of arrivals) {
    const { symbol, seq, whole, receivedTime, publishedTime, sentTime, arrived } = arrival
    const { relay, deliver } = spans.get(keyOf(topicOf(symbol), seq)) ?? {}
    if (!relay || !deliver) continue
    const [taken, delivered] = [beganAt(relay), beganAt(deliver)]
    add('read', whole - (arrived - receivedTime))
    add('ingest', publishedTime - receivedTime)
    add('kafka', taken - publishedTime)
    add('redis', delivered - taken)
    add('gateway', sentTime - delivered)
    add('client', arrived - sentTime)
  }
  return stages
}

const topicOf = (symbol: number) => `binance|trades|${SYMBOLS[symbol]}/USDT`
const keyOf = (topic: string, seq: number) => `${topic} ${seq}`
const beganAt = ({ startTimeUnixNano }: CollectedSpan) => Number(BigInt(startTimeUnixNano) / 1_000n)
