import kafkajs, { type Admin, type ITopicConfig } from 'kafkajs'
import type { Log } from '../gateway/gateway.ts'
import { CHANNELS, type Channel, isChannel } from '../market/event.ts'

// A CommonJS package: Node finds only some of its names.
const { ConfigResourceTypes } = kafkajs

/** Where a channel's events go; derived channels share one. A gap goes where its topic's events go. */
const TOPIC_OF: Partial<Record<Channel, string>> = {
  ticker: 'md.ticker',
  trades: 'md.trade',
  orderbook: 'md.book',
  ohlcv: 'md.ohlcv',
  funding: 'md.derivatives',
  openinterest: 'md.derivatives',
  liquidations: 'md.derivatives',
  source: 'md.source',
  odds: 'odds_updates',
  status: 'msg.status',
}
const DERIVED = 'md.derived'
/** Messages to send, and by the service that delivers them: made here, so that whoever comes first finds them right. */
const MESSAGES = ['messages', 'msg.out.whatsapp', 'msg.out.instagram']

export interface TopicSettings {
  /** Of each topic, when it is made; existing topics are left as they are. */
  readonly partitions: number
  readonly replicationFactor: number
  readonly retentionMs: number
  /** Of each partition. */
  readonly retentionBytes: number
  /** A book of a large venue, as one event, is several MB. */
  readonly maxMessageBytes: number
}

export const TOPIC_DEFAULTS: TopicSettings = {
  partitions: 1,
  replicationFactor: 1,
  retentionMs: 7 * 86_400_000,
  retentionBytes: 4 * 1024 ** 3,
  maxMessageBytes: 16 << 20,
}

/** The names of the topics, each with the prefix of this installation. */
export class KafkaTopics {
  /** Event topics. */
  readonly events: readonly string[]
  /** Dead letters: one topic for each event topic. */
  readonly letters: readonly string[]
  /** All of them: events, messages, and the dead letters of both. */
  readonly all: readonly string[]
  readonly #prefix: string

  constructor(prefix = '') {
    this.#prefix = prefix
    const names = new Set(Object.keys(CHANNELS).map((channel) => TOPIC_OF[channel as Channel] ?? DERIVED))
    this.events = [...names].map((name) => prefix + name)
    this.letters = this.events.map(deadLettersOf)
    const messages = MESSAGES.map((name) => prefix + name)
    this.all = [...this.events, ...this.letters, ...messages, ...messages.map(deadLettersOf)]
  }

  of(channel: Channel): string {
    return this.#prefix + (TOPIC_OF[channel] ?? DERIVED)
  }

  /** What names no channel that we know concerns its source: `md.source`. */
  ofText(channel: string | undefined): string {
    return this.of(channel !== undefined && isChannel(channel) ? channel : 'source')
  }

  group(name: string): string {
    return `${this.#prefix}feedgate-${name}`
  }
}

const deadLettersOf = (topic: string) => `${topic}.dlq`

/**
 * Makes what is missing, with explicit partitions, retention and no compaction. Resolves to the largest message that
 * each topic takes, bytes.
 */
export async function ensureTopics(
  admin: Admin,
  topics: KafkaTopics,
  settings: TopicSettings,
  log: Log,
): Promise<ReadonlyMap<string, number>> {
  const wanted = topics.all
  const existing = new Set(await admin.listTopics())
  const missing = wanted.filter((topic) => !existing.has(topic))
  if (missing.length > 0)
    await admin.createTopics({ topics: missing.map((topic) => configOf(topic, settings)), timeout: 10_000 })
  const { topics: found } = await admin.fetchTopicMetadata({ topics: [...wanted] })
  for (const { name, partitions } of found) {
    if (partitions.length !== settings.partitions)
      log.warn(
        { topic: name, partitions: partitions.length, setting: settings.partitions },
        'a Kafka topic has another number of partitions than the setting says; it is used as it is',
      )
  }
  return largestMessages(admin, wanted)
}

function configOf(topic: string, settings: TopicSettings): ITopicConfig {
  const entries = {
    'cleanup.policy': 'delete',
    'retention.ms': settings.retentionMs,
    'retention.bytes': settings.retentionBytes,
    'max.message.bytes': settings.maxMessageBytes,
  }
  return {
    topic,
    numPartitions: settings.partitions,
    replicationFactor: settings.replicationFactor,
    configEntries: Object.entries(entries).map(([name, value]) => ({ name, value: String(value) })),
  }
}

async function largestMessages(admin: Admin, topics: readonly string[]): Promise<Map<string, number>> {
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: topics.map((name) => ({
      type: ConfigResourceTypes.TOPIC,
      name,
      configNames: ['max.message.bytes'],
    })),
  })
  return new Map(
    resources.map(({ resourceName, configEntries }) => [resourceName, Number(configEntries[0]?.configValue)]),
  )
}

/** Where a partition begins and ends, by name (`md.trade/0`). */
export async function boundsOf(
  admin: Admin,
  topics: readonly string[],
): Promise<Map<string, { readonly low: string; readonly high: string }>> {
  const bounds = new Map<string, { low: string; high: string }>()
  const found = await Promise.all(
    topics.map(async (topic) => [topic, await admin.fetchTopicOffsets(topic)] as const),
  )
  for (const [topic, partitions] of found)
    for (const { partition, low, high } of partitions) bounds.set(`${topic}/${partition}`, { low, high })
  return bounds
}
