import type { Identity, RateLimits } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import type { ClientEntry, ClientQuery, Clients, UsageQuery } from '../clients.ts'
import type { Ghost, Peers } from '../peers.ts'
import type { Client } from './client.ts'
import { byCaller, Usage } from './usage.ts'

/** A client that does not answer a ping for so long, while its key wants another connection, is a ghost. */
const SIGN_OF_LIFE_MS = 1_500
/** What was found out about the clients of a key holds for so long: one who knocks again asks nobody again. */
const GHOSTS_HOLD_MS = 3_000
const ANSWER_MS = 2_000
/** A connection given back at another node is known here when Redis has been told. */
const MAX_RETRY_MS = 500

/** The clients of this process, and by way of its peers those of all gateways. */
export class LiveClients implements Clients {
  readonly #peers: Peers
  readonly #monotonicMs = () => performance.now()
  /** By id; as many as the process has sockets. */
  readonly #clients = new Map<string, Client>()
  /** By limit key; as many as were at their limit within `GHOSTS_HOLD_MS`. */
  readonly #ghosts = new Map<string, Promise<Ghost[]>>()

  readonly #usage = new Usage()

  /** `startedAt`: epoch µs. */
  constructor(peers: Peers, startedAt: number) {
    this.#peers = peers
    peers.serve({
      clients: async (query) => this.#page(query),
      ghosts: ({ limitKey }) => this.#ghostsHere(limitKey),
      end: ({ id, why }) => this.#endHere(id, why),
      usage: async (query) => ({ since: startedAt, entries: this.#usage.page(this, query) }),
    })
  }

  add(client: Client): void {
    this.#clients.set(client.connection.id, client)
    client.connection.onClose(() => {
      this.#clients.delete(client.connection.id)
      if (client.identity) this.#usage.ended(client, client.identity)
    })
  }

  get size(): number {
    return this.#clients.size
  }

  [Symbol.iterator](): Iterator<Client> {
    return this.#clients.values()
  }

  async list(query: ClientQuery) {
    const { answers, complete } = await this.#peers.ask('clients', query, ANSWER_MS)
    const found = answers.flat().sort(byId)
    const items = found.slice(0, query.limit)
    return { items, next: found.length > items.length ? items.at(-1)!.id : null, complete }
  }

  /** One more than asked for: then there is another page. */
  #page({ after, limit, tenant }: ClientQuery): ClientEntry[] {
    const entries: ClientEntry[] = []
    for (const client of [...this.#clients.values()].sort((one, other) =>
      byId(one.connection, other.connection),
    )) {
      if (entries.length > limit) break
      const { identity } = client
      if (!identity || !client.connection.open || client.connection.id <= after) continue
      if (tenant === undefined || identity.tenant === tenant)
        entries.push(entryOf(client, identity, this.#peers.node))
    }
    return entries
  }

  async usage(query: UsageQuery) {
    const { answers, complete } = await this.#peers.ask('usage', query, ANSWER_MS)
    const found = byCaller(answers.flatMap(({ entries }) => entries))
    const items = found.slice(0, query.limit)
    return {
      since: Math.max(...answers.map(({ since }) => since)),
      ...{ items, next: found.length > items.length ? items.at(-1)!.caller : null, complete },
    }
  }

  async end(id: string): Promise<boolean> {
    const { answers, complete } = await this.#peers.ask('end', { id, why: 'operator' }, ANSWER_MS)
    if (answers.includes(true)) return true
    if (complete) return false
    throw new FeedgateError('cache-unavailable', 'not every gateway could be asked: try again')
  }

  /** Resolves when it is gone. */
  async #endHere(id: string, why: 'ghost' | 'operator'): Promise<boolean> {
    const client = this.#clients.get(id)
    if (!client || (why === 'ghost' && this.#isAlive(client))) return false
    const { connection } = client
    if (why === 'operator') {
      if (!connection.open) return false
      connection.close(4009, 'ended by an operator')
      return true
    }
    const gone = new Promise<void>((resolve) => connection.onClose(resolve))
    connection.close(4201, 'no pong, and its key wants another connection')
    connection.terminate()
    await gone
    return true
  }

  #isAlive({ connection }: Client): boolean {
    return connection.open && this.#monotonicMs() - connection.heardAt < SIGN_OF_LIFE_MS
  }

  /**
   * One of the connections that a caller may hold; the answer gives it back. A caller who has none left takes the place of
   * the oldest of them that is a ghost: of a client that lost its network and comes back before that is noticed. Rejects
   * `too-many-connections` when all are alive.
   */
  async takeConnection(limits: RateLimits, identity: Identity): Promise<() => void> {
    try {
      return await limits.connection(identity)
    } catch (error) {
      if (!isFull(error) || !(await this.#endGhost(identity.limitKey))) throw error
    }
    for (let waitMs = 25; ; waitMs *= 2) {
      try {
        return await limits.connection(identity)
      } catch (error) {
        if (!isFull(error) || waitMs > MAX_RETRY_MS) throw error
      }
      await new Promise((resume) => setTimeout(resume, waitMs))
    }
  }

  /** False: there is none. */
  async #endGhost(limitKey: string): Promise<boolean> {
    const ghosts = await this.#ghostsOf(limitKey)
    for (let ghost = ghosts.shift(); ghost; ghost = ghosts.shift()) {
      const { answers } = await this.#peers.ask('end', { id: ghost.id, why: 'ghost' }, ANSWER_MS)
      if (answers.includes(true)) return true
    }
    return false
  }

  /** Oldest first, of all nodes. Whoever asks at the same time shares the list, and each takes another from it. */
  #ghostsOf(limitKey: string): Promise<Ghost[]> {
    let ghosts = this.#ghosts.get(limitKey)
    if (!ghosts) {
      ghosts = this.#peers
        .ask('ghosts', { limitKey }, SIGN_OF_LIFE_MS + ANSWER_MS)
        .then(({ answers }) => answers.flat().sort((one, other) => one.since - other.since))
      this.#ghosts.set(limitKey, ghosts)
      setTimeout(() => this.#ghosts.delete(limitKey), GHOSTS_HOLD_MS).unref()
    }
    return ghosts
  }

  async #ghostsHere(limitKey: string): Promise<Ghost[]> {
    const mine = [...this.#clients.values()].filter(
      ({ counted, identity }) => counted && identity?.limitKey === limitKey,
    )
    const alive = await Promise.all(mine.map(({ connection }) => connection.answers(SIGN_OF_LIFE_MS)))
    return mine.filter((_, index) => !alive[index]).map(({ connection: { id, since } }) => ({ id, since }))
  }
}

function byId(one: { readonly id: string }, other: { readonly id: string }): number {
  return one.id < other.id ? -1 : 1
}

function isFull(error: unknown): boolean {
  return error instanceof FeedgateError && error.code === 'too-many-connections'
}

function entryOf(client: Client, identity: Identity, node: string): ClientEntry {
  const { connection, subscriptions, sent } = client
  const { tenant, keyId, subject, tier, expiresAt } = identity
  return {
    id: connection.id,
    node,
    tenant,
    ...(keyId === undefined ? {} : { keyId }),
    subject,
    tier: tier.name,
    address: connection.address,
    endpoint: connection.endpoint,
    encoding: connection.encoding.name,
    since: connection.since,
    ...(expiresAt === undefined ? {} : { expiresAt: expiresAt * 1_000 }),
    subscriptions,
    receivedMessages: connection.received,
    sentEvents: sent.events,
    sentBytes: connection.sentBytes,
    conflated: sent.conflated,
    skipped: sent.skipped,
    bufferedBytes: connection.bufferedBytes,
    lastPong: connection.lastPong ?? null,
    slow: sent.slow,
  }
}
