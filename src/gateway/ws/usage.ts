import type { Identity } from '../../auth/auth.ts'
import type { UsageEntry, UsageQuery } from '../clients.ts'
import type { Client } from './client.ts'

/** Callers whose connections have ended; beyond it the one that ended longest ago is forgotten. */
const MAX_ENDED = 10_000

/** Counts of this process by caller: those of its clients, and of the clients that have gone. */
export class Usage {
  readonly #ended = new Map<string, UsageEntry>()

  ended(client: Client, identity: Identity): void {
    const entry = sum(this.#ended.get(identity.limitKey), entryOf(client, identity))
    this.#ended.delete(entry.caller)
    this.#ended.set(entry.caller, { ...entry, connections: 0, subscriptions: 0 })
    if (this.#ended.size > MAX_ENDED) this.#ended.delete(this.#ended.keys().next().value!)
  }

  /** One more than asked for: then there is another page. */
  page(clients: Iterable<Client>, { after, limit, tenant, caller }: UsageQuery): UsageEntry[] {
    const isWanted = (of: string, name: string) =>
      name > after && (tenant === undefined || of === tenant) && (caller === undefined || name === caller)
    const live: UsageEntry[] = []
    for (const client of clients)
      if (client.identity && isWanted(client.identity.tenant, client.identity.limitKey))
        live.push(entryOf(client, client.identity))
    const gone = [...this.#ended.values()].filter((entry) => isWanted(entry.tenant, entry.caller))
    return byCaller([...live, ...gone]).slice(0, limit + 1)
  }
}

/** One entry for each caller, in the order of their names. */
export function byCaller(entries: readonly UsageEntry[]): UsageEntry[] {
  const sums = new Map<string, UsageEntry>()
  for (const entry of entries) sums.set(entry.caller, sum(sums.get(entry.caller), entry))
  return [...sums.values()].sort((one, other) => (one.caller < other.caller ? -1 : 1))
}

function entryOf({ connection, subscriptions, sent }: Client, { limitKey, tenant }: Identity): UsageEntry {
  return {
    ...{ caller: limitKey, tenant, connections: 1, subscriptions },
    receivedMessages: connection.received,
    sentEvents: sent.events,
    sentBytes: connection.sentBytes,
    ...{ conflated: sent.conflated, skipped: sent.skipped },
  }
}

function sum(one: UsageEntry | undefined, other: UsageEntry): UsageEntry {
  if (!one) return other
  return {
    caller: other.caller,
    tenant: other.tenant,
    connections: one.connections + other.connections,
    subscriptions: one.subscriptions + other.subscriptions,
    receivedMessages: one.receivedMessages + other.receivedMessages,
    sentEvents: one.sentEvents + other.sentEvents,
    sentBytes: one.sentBytes + other.sentBytes,
    conflated: one.conflated + other.conflated,
    skipped: one.skipped + other.skipped,
  }
}
