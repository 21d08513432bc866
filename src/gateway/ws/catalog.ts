import type { Channel } from '../../market/event.ts'
import type { Topic } from '../../market/topic.ts'
import { isWildcard, matchesPattern } from './wildcard.ts'

/** Which topics are meant: of a channel, by what a client calls them. */
export interface Selection {
  readonly channel: Channel
  /** Undefined: of all sources. */
  readonly source: string | undefined
  /** A subject as clients name it, or a pattern. */
  readonly pattern: string
  /** Undefined: all. */
  readonly timeframe: string | undefined
}

export function selects(selection: Selection, topic: Topic): boolean {
  return (
    selection.channel === topic.channel &&
    (selection.source === undefined || selection.source === topic.source) &&
    (selection.timeframe === undefined ||
      topic.timeframe === undefined ||
      selection.timeframe === topic.timeframe) &&
    matchesPattern(selection.pattern, topic.publicSubject)
  )
}

/** Topics that sources carry now, found by channel and subject. As many as the manager has. */
export class Catalog {
  readonly #carried: () => Iterable<Topic>
  #topics = new Set<Topic>()
  #bySubject = new Map<string, Topic[]>()
  #byChannel = new Map<Channel, Topic[]>()

  constructor(carried: () => Iterable<Topic>) {
    this.#carried = carried
  }

  /** Looks again at what is carried; answers what no longer is, and what was not before. */
  refresh(): { readonly gone: readonly Topic[]; readonly added: readonly Topic[] } {
    const now = new Set(this.#carried())
    const gone = [...this.#topics].filter((topic) => !now.has(topic))
    if (gone.length === 0 && now.size === this.#topics.size) return { gone, added: [] }
    const added = [...now].filter((topic) => !this.#topics.has(topic))
    this.#topics = now
    this.#bySubject = new Map()
    this.#byChannel = new Map()
    for (const topic of now) {
      put(this.#bySubject, `${topic.channel}|${topic.publicSubject}`, topic)
      put(this.#byChannel, topic.channel, topic)
    }
    return { gone, added }
  }

  has(topic: Topic): boolean {
    return this.#topics.has(topic)
  }

  find(selection: Selection): readonly Topic[] {
    const { channel, pattern } = selection
    const near = isWildcard(pattern)
      ? this.#byChannel.get(channel)
      : this.#bySubject.get(`${channel}|${pattern}`)
    return near?.filter((topic) => selects(selection, topic)) ?? []
  }
}

function put<K>(index: Map<K, Topic[]>, key: K, topic: Topic): void {
  const list = index.get(key)
  if (list) list.push(topic)
  else index.set(key, [topic])
}
