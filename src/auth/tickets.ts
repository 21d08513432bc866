import { randomBytes } from 'node:crypto'

/** A ticket is good for this long, once. */
export const TICKET_SECONDS = 30
const MAX_TICKETS = 10_000

/** Stand-ins for a credential in a URL. Bounded: when there are too many the oldest goes and its holder asks again. */
export class Tickets<T> {
  readonly #tickets = new Map<string, { readonly holder: T; readonly until: number }>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  issue(holder: T): string {
    const now = this.#now()
    // All live equally long, so those that have ended stand first.
    for (const [ticket, { until }] of this.#tickets) {
      if (until > now && this.#tickets.size < MAX_TICKETS) break
      this.#tickets.delete(ticket)
    }
    const ticket = randomBytes(32).toString('base64url')
    this.#tickets.set(ticket, { holder, until: now + TICKET_SECONDS * 1_000 })
    return ticket
  }

  /** Undefined: unknown, used or too old. */
  redeem(ticket: string): T | undefined {
    const found = this.#tickets.get(ticket)
    this.#tickets.delete(ticket)
    return found && found.until > this.#now() ? found.holder : undefined
  }
}
