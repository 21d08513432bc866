import type { Topic } from '../market/topic.ts'
import type { TopicMatch } from './cache.ts'

export function matches(topic: Topic, match: TopicMatch): boolean {
  return (
    (match.channel === undefined || topic.channel === match.channel) &&
    (match.source === undefined || topic.source === match.source) &&
    (match.subject === undefined || topic.subject === match.subject) &&
    (match.timeframe === undefined || topic.timeframe === match.timeframe)
  )
}
