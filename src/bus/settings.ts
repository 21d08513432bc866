import Type, { type Static } from 'typebox'
import { TOPIC_DEFAULTS } from './kafka-topics.ts'

/** Of the bus on Kafka. */
export const KafkaSettings = Type.Object(
  {
    topicPrefix: Type.String({
      pattern: '^[A-Za-z0-9._-]{0,64}$',
      default: '',
      description: 'before the names of topics and groups, where installations share a cluster',
    }),
    partitions: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: TOPIC_DEFAULTS.partitions,
      description: 'of each topic, when it is made: more spread the load, fewer are quicker',
    }),
    replicationFactor: Type.Integer({
      minimum: 1,
      maximum: 9,
      default: TOPIC_DEFAULTS.replicationFactor,
      description: 'of each topic, when it is made: 3 on a cluster of 3 brokers or more',
    }),
    retentionMs: Type.Integer({
      minimum: 3_600_000,
      maximum: 10 * 365 * 86_400_000,
      default: TOPIC_DEFAULTS.retentionMs,
      description: 'how long a topic keeps its events, when it is made',
    }),
    retentionBytes: Type.Integer({
      minimum: 1 << 20,
      maximum: 2 ** 50,
      default: TOPIC_DEFAULTS.retentionBytes,
      description: 'what a partition keeps at most, when it is made',
    }),
    maxMessageBytes: Type.Integer({
      minimum: 1 << 20,
      maximum: 1 << 30,
      default: TOPIC_DEFAULTS.maxMessageBytes,
      description: 'the largest event that is sent, a whole book for one; a larger one is a dead letter',
    }),
  },
  { additionalProperties: false },
)

export type KafkaSettings = Static<typeof KafkaSettings>
