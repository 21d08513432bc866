import type { MessageStatus } from '../../market/event.ts'
import type { Decoded } from '../connector.ts'
import { type Feed, type FeedContext, SIMULATED } from './feed.ts'
import { Random } from './random.ts'

type Status = MessageStatus['status']

const NEXT = { QUEUED: 'SENT', SENT: 'DELIVERED', DELIVERED: 'READ' } as const
/** Messages of a conversation that are under way at a time; a new one waits until another is read or failed. */
const IN_FLIGHT = 4

/** The messages of one conversation on their way: QUEUED, SENT, DELIVERED, READ, and now and then FAILED. */
export class StatusFeed implements Feed {
  readonly #symbol: string
  readonly #tenant: string
  readonly #conversation: string
  readonly #channel: string
  readonly #random: Random
  readonly #messages: { readonly id: string; status: keyof typeof NEXT }[] = []
  #id: number

  constructor(symbol: string, { seed, startTime }: FeedContext) {
    this.#symbol = symbol
    const slash = symbol.indexOf('/')
    this.#tenant = symbol.slice(0, slash)
    this.#conversation = symbol.slice(slash + 1)
    this.#random = new Random(`${seed}|status|${symbol}`)
    this.#channel = this.#random.pick(['whatsapp', 'instagram'])
    this.#id = startTime
  }

  step(time: number, emit: (update: Decoded) => void): void {
    const messages = this.#messages
    if (messages.length === 0 || (messages.length < IN_FLIGHT && this.#random.chance(0.3))) {
      const id = `${this.#conversation}-${(this.#id++).toString(36).toUpperCase()}`
      messages.push({ id, status: 'QUEUED' })
      emit(this.#event(id, 'QUEUED', time))
      return
    }
    const at = this.#random.integer(0, messages.length - 1)
    const message = messages[at]
    if (!message) return
    // What has reached the recipient cannot fail any more.
    const fails = message.status !== 'DELIVERED' && this.#random.chance(0.04)
    const status = fails ? 'FAILED' : NEXT[message.status]
    if (status === 'SENT' || status === 'DELIVERED') message.status = status
    else messages.splice(at, 1)
    emit(this.#event(message.id, status, time))
  }

  #event(messageId: string, status: Status, time: number): Decoded {
    return {
      kind: 'event',
      channel: 'status',
      symbol: this.#symbol,
      sourceTime: time,
      flags: SIMULATED,
      payload: {
        type: 'status',
        messageId,
        conversationId: this.#conversation,
        tenantId: this.#tenant,
        status,
        channel: this.#channel,
      },
    }
  }
}
