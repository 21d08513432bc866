import { createHash, randomBytes } from 'node:crypto'
import type { Identity, TierName } from './auth.ts'

/** A ticket is good for this long, once. */
export const TICKET_SECONDS = 30
const MAX_TICKETS = 10_000

/** Who a ticket stands for: an identity as it was when the ticket was made. */
export type TicketHolder = Omit<Identity, 'tier'> & { readonly tier: TierName }

/** Stand-ins for a credential in a URL; each is redeemed once, by whichever node is asked first. */
export interface Tickets {
  issue(holder: TicketHolder): Promise<string>
  /** Undefined: unknown, used or too old. */
  redeem(ticket: string): Promise<TicketHolder | undefined>
}

export function newTicket(): string {
  return randomBytes(32).toString('base64url')
}

/** What is kept of a ticket: nobody who reads it can use it. */
export function digestOf(ticket: string): string {
  return createHash('sha256').update(ticket).digest('base64url')
}

/** Tickets of one process. Bounded: when there are too many the oldest goes and its holder asks again. */
export class MemoryTickets implements Tickets {
  readonly #tickets = new Map<string, { readonly holder: TicketHolder; readonly until: number }>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  async issue(holder: TicketHolder): Promise<string> {
    const now = this.#now()
    // All live equally long, so those that have ended stand first.
    for (const [digest, { until }] of this.#tickets) {
      if (until > now && this.#tickets.size < MAX_TICKETS) break
      this.#tickets.delete(digest)
    }
    const ticket = newTicket()
    this.#tickets.set(digestOf(ticket), { holder, until: now + TICKET_SECONDS * 1_000 })
    return ticket
  }

  async redeem(ticket: string): Promise<TicketHolder | undefined> {
    const digest = digestOf(ticket)
    const found = this.#tickets.get(digest)
    this.#tickets.delete(digest)
    return found && found.until > this.#now() ? found.holder : undefined
  }
}
