import type { Topic } from '../market/topic.ts'
import type { TopicPosition } from './cache.ts'

/** Topics are fanned out in so many groups: a gateway listens to those of the topics that its clients want. */
const GROUPS = 64
/** First events of topics that had no image: every gateway listens. */
export const NEW_TOPICS = 'fan:new'
const DEFAULT_TENANT = 'default'

const groups = new WeakMap<Topic, number>()

/** FNV-1a of the topic's id; the same in every process. */
export function groupOf(topic: Topic): number {
  let group = groups.get(topic)
  if (group === undefined) {
    let hash = 0x811c9dc5
    for (let at = 0; at < topic.id.length; at++) hash = Math.imul(hash ^ topic.id.charCodeAt(at), 0x01000193)
    group = (hash >>> 0) % GROUPS
    groups.set(topic, group)
  }
  return group
}

export const fanOf = (group: number) => `fan:${group}`
export const headsOf = (group: number) => `heads:${group}`
export const lastOf = (topic: Topic) => `last:${topic.id}`

/** Empty where the topic is none of statuses. */
export function statusKeyOf({ tenant, subject, publicSubject }: Topic): string {
  if (tenant === undefined) return ''
  return `status:${tenant === DEFAULT_TENANT ? publicSubject : subject}`
}

/** As positions stand in Redis, which orders its streams by the same two numbers. */
export function writePosition({ epoch, seq }: TopicPosition): string {
  return `${epoch}-${seq}`
}

export function readPosition(text: string | Buffer | null | undefined): TopicPosition | undefined {
  const parts = /^(\d+)-(\d+)$/.exec(String(text))
  return parts ? { epoch: Number(parts[1]), seq: Number(parts[2]) } : undefined
}
