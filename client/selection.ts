import type { Channel, SubscribeCommand } from './wire.ts'

/** What to follow; fields as in the gateway's `subscribe`. Without `source`: all sources; `*` in a symbol: any run. */
export type SubscribeRequest<C extends Channel = Channel> = Omit<
  SubscribeCommand,
  'type' | 'id' | 'channel' | 'resume'
> & { readonly channel: C }

/** What says how topics are sent. Subscriptions of one shape are asked for together. */
export function shapeOf({ symbols: _, ...shape }: SubscribeRequest): string {
  return JSON.stringify(Object.entries(shape).sort(([one], [other]) => (one < other ? -1 : 1)))
}

/** A connection has a topic in one form. */
export function formOf({ depth, conflateMs, filters }: SubscribeRequest): string {
  return JSON.stringify([depth || 'full', conflateMs ?? 0, filters ?? {}])
}

/** The topics of a request, told by their ids. */
export class Selection {
  readonly #request: SubscribeRequest
  readonly #exact: ReadonlySet<string>
  readonly #patterns: readonly RegExp[]

  constructor(request: SubscribeRequest) {
    this.#request = request
    this.#exact = new Set(request.symbols)
    this.#patterns = request.symbols.filter(isPattern).map(expressionOf)
  }

  has(topic: string): boolean {
    const [source, channel, subject = '', timeframe] = topic.split('|')
    const request = this.#request
    return (
      channel === request.channel &&
      (request.source === undefined || request.source === source) &&
      (request.timeframe === undefined || timeframe === undefined || request.timeframe === timeframe) &&
      (this.#exact.has(subject) || this.#patterns.some((pattern) => pattern.test(subject)))
    )
  }

  /** May the two have topics in common? Two patterns may, whatever they are. */
  overlaps(other: Selection): boolean {
    const [one, two] = [this.#request, other.#request]
    return (
      one.channel === two.channel &&
      (one.source === undefined || two.source === undefined || one.source === two.source) &&
      (one.timeframe === undefined || two.timeframe === undefined || one.timeframe === two.timeframe) &&
      ((this.#patterns.length > 0 && other.#patterns.length > 0) ||
        two.symbols.some((symbol) => this.#matches(symbol)) ||
        one.symbols.some((symbol) => other.#matches(symbol)))
    )
  }

  #matches(symbol: string): boolean {
    return this.#exact.has(symbol) || this.#patterns.some((pattern) => pattern.test(symbol))
  }
}

function isPattern(symbol: string): boolean {
  return symbol.includes('*')
}

/** Runs of `*` are one: the expression stays linear in the text for each of them. */
function expressionOf(symbol: string): RegExp {
  const parts = symbol.split(/[*]+/).map((part) => part.replace(/[\\^$.+?()[\]{}|/-]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`, 's')
}
