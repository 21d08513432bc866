import { FeedgateError } from '../../errors.ts'
import type { Channel } from '../../market/event.ts'
import type { Topic } from '../../market/topic.ts'
import { type Selection, selects } from './catalog.ts'
import type { Filter } from './filter.ts'
import { isWildcard, matchesPattern } from './wildcard.ts'

/** What one symbol of a subscribe (or, with `wanted` false, an unsubscribe) asked for. */
export interface Rule extends Selection {
  readonly wanted: boolean
  /** Of books: levels a side that were asked for; Infinity: full. */
  readonly depth: number
  readonly filter: Filter | undefined
  /** As asked for. */
  readonly conflateMs: number
  /** Latest values first. */
  readonly first: boolean
}

const MAX_RULES = 20_000
/** What an unsubscribe excepts from a pattern: names that may be of no topic, so that no tier limits them. */
const MAX_EXCEPTIONS = 1_000
/** Each is matched with every topic of its channel. */
export const MAX_WILDCARDS = 200

/**
 * What a client asked for, so that topics that come later find their shape: the newest rule that matches decides.
 * Bounded: one too many is refused (405).
 */
export class Rules {
  #order = 0
  readonly #exact = new Map<string, Map<Rule, number>>()
  readonly #wild = new Map<Channel, Map<Rule, number>>()
  #size = 0
  #exceptions = 0
  #wildcards = 0

  /** Rules that the new one covers are forgotten. */
  add(rule: Rule): void {
    this.#forgetCovered(rule)
    const wild = isWildcard(rule.pattern)
    // Nothing is left that an unsubscribe could except from.
    if (!rule.wanted && !this.#mayMatch(rule)) return
    if (this.#size >= MAX_RULES)
      throw new FeedgateError('symbol-limit', `a connection may hold ${MAX_RULES} symbols and patterns`)
    if (!rule.wanted && this.#exceptions >= MAX_EXCEPTIONS)
      throw new FeedgateError('symbol-limit', `a connection may except ${MAX_EXCEPTIONS} from its patterns`)
    if (wild && this.#wildcards >= MAX_WILDCARDS)
      throw new FeedgateError('symbol-limit', `a connection may hold ${MAX_WILDCARDS} patterns with *`)
    const [index, key] = wild
      ? [this.#wild, rule.channel]
      : [this.#exact, exactKey(rule.channel, rule.pattern)]
    const rules = (index as Map<string, Map<Rule, number>>).get(key) ?? new Map<Rule, number>()
    rules.set(rule, ++this.#order)
    ;(index as Map<string, Map<Rule, number>>).set(key, rules)
    this.#count(rule, 1)
  }

  #count(rule: Rule, change: 1 | -1): void {
    this.#size += change
    if (!rule.wanted) this.#exceptions += change
    if (isWildcard(rule.pattern)) this.#wildcards += change
  }

  /** The newest rule about the topic, if it wants it. */
  of(topic: Topic): Rule | undefined {
    let newest: Rule | undefined
    let order = 0
    for (const rules of [
      this.#exact.get(exactKey(topic.channel, topic.publicSubject)),
      this.#wild.get(topic.channel),
    ]) {
      for (const [rule, at] of rules ?? []) {
        if (at > order && selects(rule, topic)) [newest, order] = [rule, at]
      }
    }
    return newest?.wanted ? newest : undefined
  }

  /** What is asked for, oldest first. */
  wanted(): Rule[] {
    return [...this.#all()]
      .filter(([rule]) => rule.wanted)
      .sort(([, one], [, other]) => one - other)
      .map(([rule]) => rule)
  }

  *#all(): Iterable<[Rule, number]> {
    for (const rules of this.#exact.values()) yield* rules
    for (const rules of this.#wild.values()) yield* rules
  }

  #mayMatch(rule: Rule): boolean {
    return (
      this.#wild.has(rule.channel) ||
      isWildcard(rule.pattern) ||
      this.#exact.has(exactKey(rule.channel, rule.pattern))
    )
  }

  #forgetCovered(by: Rule): void {
    if (!isWildcard(by.pattern)) {
      this.#forgetFrom(this.#exact, exactKey(by.channel, by.pattern), by)
      return
    }
    for (const key of this.#exact.keys())
      if (key.startsWith(`${by.channel}|`)) this.#forgetFrom(this.#exact, key, by)
    this.#forgetFrom(this.#wild, by.channel, by)
  }

  #forgetFrom<K>(index: Map<K, Map<Rule, number>>, key: K, by: Rule): void {
    const rules = index.get(key)
    if (!rules) return
    for (const rule of rules.keys()) {
      if (!covers(by, rule)) continue
      rules.delete(rule)
      this.#count(rule, -1)
    }
    if (rules.size === 0) index.delete(key)
  }
}

function exactKey(channel: Channel, subject: string): string {
  return `${channel}|${subject}`
}

/** Does `one` match all that `other` does? A pattern that matches another's text matches all that it matches. */
function covers(one: Selection, other: Selection): boolean {
  return (
    (one.source === undefined || one.source === other.source) &&
    (one.timeframe === undefined || one.timeframe === other.timeframe) &&
    matchesPattern(one.pattern, other.pattern)
  )
}
