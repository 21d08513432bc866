import type { Credential, Identity, TierName } from '../../auth/auth.ts'
import { ERRORS, type ErrorCode, FeedgateError } from '../../errors.ts'
import type { AuthCommand, CommandId } from '../../protocol/commands.ts'
import type { ServerMessage } from '../../protocol/messages.ts'
import { BadMessage, parseCommand } from '../../protocol/parse.ts'
import { signals } from '../../signals.ts'
import type { Client } from './client.ts'
import { Commands } from './commands.ts'
import type { Connection } from './connection.ts'
import type { ClientHub } from './hub.ts'
import { Outbox, type Sent } from './outbox.ts'
import { Subscriptions } from './subscriptions.ts'

/** Bytes of a message from one who has not said who it is. */
const MAX_UNAUTHENTICATED_BYTES = 16 * 1_024
/** Messages that wait to be handled, and their bytes; beyond either the client floods. */
const MAX_QUEUED = 1_024
const MAX_QUEUED_BYTES = 4 * 1_048_576
/** While it is found out who is there. */
const MAX_UNAUTHENTICATED_QUEUED_BYTES = 512 * 1_024
/** Within ten seconds: refusals for the rate, beyond the tier's own commands, and messages that were wrong. */
const WINDOW_MS = 10_000
const MAX_REFUSED = 50
const MAX_BAD = 200
/** Credentials that do not hold, of one who is let in already. */
const MAX_GUESSES = 10
const EXPIRY_NOTICE_MS = 60_000
const MAX_TIMER_MS = 2 ** 31 - 1

/** Where a connection comes from. */
export interface Origin {
  /** Undefined: it will say who is there. Throws FeedgateError where what was given is none, or may not come from there. */
  readonly credential: () => Credential | undefined
  /** When it said nothing. Throws FeedgateError where it must. */
  readonly anonymous: () => Credential
  readonly batch: boolean
}

/** One client of `/ws`: who it is, what it says, and in which order it is answered. */
export class Session implements Client {
  readonly connection: Connection
  readonly understandsShutdown = true
  readonly #hub: ClientHub
  readonly #outbox: Outbox
  readonly #anonymous: () => Credential
  #identity: Identity | undefined
  /** Known, and waiting for a connection of its key. */
  #admitting: Identity | undefined
  /** What holds for it now. */
  #tier: TierName | undefined
  #commands: Commands | undefined
  #releaseConnection: (() => void) | undefined
  #batch: boolean
  #work: Promise<void> = Promise.resolve()
  #queued = 0
  #queuedBytes = 0
  #bad = 0
  #guesses = 0
  #refused = 0
  #windowEnds = 0
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #authTimer: NodeJS.Timeout

  constructor(hub: ClientHub, connection: Connection, from: Origin) {
    this.#hub = hub
    this.connection = connection
    this.#batch = from.batch
    this.#anonymous = from.anonymous
    this.#outbox = new Outbox(connection, hub.feeds.fanout, hub.feeds.groups)
    this.#authTimer = setTimeout(() => this.#enqueue(() => this.#beAnonymous()), hub.options.authTimeoutMs)
    connection.onMessage((data, binary) => this.#receive(data, binary))
    connection.onClose(() => this.#closed())
    this.#enqueue(() => this.#admit(from.credential))
  }

  get identity(): Identity | undefined {
    return this.#identity
  }

  get counted(): boolean {
    return this.#releaseConnection !== undefined
  }

  get subscriptions(): number {
    return this.#commands?.topics ?? 0
  }

  get sent(): Sent {
    return this.#outbox.sent
  }

  keyRevoked(keyId: string): void {
    if (this.#identity?.keyId === keyId || this.#admitting?.keyId === keyId)
      this.#end('token-expired', 'the API key was deleted')
  }

  /** What the client may not have any more ends, and its limits are those that the tier has now. */
  rightsChanged(tenant: string): void {
    const identity = this.#identity
    if (!this.connection.open || identity?.tenant !== tenant) return
    const before = this.#tier
    this.#hold(identity)
    if (before === this.#tier) return
    this.#tellIdentity(identity)
    this.#enqueue(() => this.#keepConnection(identity))
  }

  /** The tier that the key has now may have fewer connections. */
  async #keepConnection(identity: Identity): Promise<void> {
    this.#releaseConnection?.()
    try {
      this.#releaseConnection = await this.#hub.ports.limits.connection(identity)
      if (!this.connection.open) this.#releaseConnection()
    } catch (error) {
      if (!(error instanceof FeedgateError) || error.code !== 'too-many-connections') throw error
      this.#end(error.code, error.message)
    }
  }

  #receive(data: Buffer, binary: boolean): void {
    this.#enqueue(async () => {
      // When it is its turn: it may have come while a credential that goes before it was looked at.
      const anybody = !this.#identity || this.#identity.anonymous
      if (anybody && data.length > MAX_UNAUTHENTICATED_BYTES)
        this.connection.close(1009, 'at most 16 KiB before authentication')
      else await this.#handle(this.connection.encoding.command(data, binary))
    }, data.length)
  }

  /** Messages are handled one after the other: an answer never overtakes an earlier one. */
  #enqueue(task: () => Promise<void>, bytes = 0): void {
    this.#queuedBytes += bytes
    const maxBytes = this.#identity ? MAX_QUEUED_BYTES : MAX_UNAUTHENTICATED_QUEUED_BYTES
    if (++this.#queued > MAX_QUEUED || this.#queuedBytes > maxBytes)
      this.#end('rate-limited', 'too many messages at once')
    if (!this.connection.open) return
    this.#work = this.#work
      .then(() => (this.connection.open ? task() : undefined))
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#queued--
        this.#queuedBytes -= bytes
      })
  }

  async #handle(text: string): Promise<void> {
    // An answer may be much longer than its question: no more are made than the client reads.
    if (this.connection.behind) await this.connection.room()
    const command = parseCommand(text)
    try {
      if (command.type === 'auth') return await this.#authenticate(command)
      if (!this.#identity) await this.#beAnonymous()
      if (!this.#identity || !this.#commands) return
      await this.#hub.ports.limits.command(this.#identity)
      await this.#commands.execute(command)
    } catch (error) {
      this.#fail(error, command.id)
    }
  }

  async #authenticate(command: AuthCommand): Promise<void> {
    const { token, apiKey, batch } = command
    if ((token === undefined) === (apiKey === undefined))
      throw new BadMessage('auth needs one of "token" and "apiKey"', command.id)
    if (this.#identity) await this.#hub.ports.limits.command(this.#identity)
    if (batch !== undefined) this.#batch = batch
    await this.#admit(() =>
      token === undefined ? { kind: 'apiKey', apiKey: apiKey! } : { kind: 'token', token },
    )
    if (this.connection.open && this.#identity) this.#tellIdentity(this.#identity, command.id)
  }

  #tellIdentity({ tier, expiresAt }: Identity, id?: CommandId): void {
    this.send({
      type: 'authenticated',
      ...(id === undefined ? {} : { id }),
      tier: tier.name,
      ...(expiresAt === undefined ? {} : { expiresAt: expiresAt * 1_000 }),
    })
  }

  async #beAnonymous(): Promise<void> {
    if (!this.#identity) await this.#admit(this.#anonymous)
  }

  /** A first credential that does not hold ends the connection; a refresh that does not hold changes nothing. */
  async #admit(credentialOf: () => Credential | undefined): Promise<void> {
    try {
      const credential = credentialOf()
      if (!credential) return
      const identity = await this.#hub.ports.auth.identify(credential, this.connection.address)
      const known = this.#identity
      if (known && !known.anonymous && known.tenant !== identity.tenant)
        throw new FeedgateError('forbidden', 'a connection stays with its tenant: open another one')
      this.#admitting = identity
      if (known?.limitKey !== identity.limitKey) await this.#countConnection(identity)
      if (this.connection.open) this.#become(identity)
      else this.#releaseConnection?.()
    } catch (error) {
      if (this.#identity) throw error
      this.#fail(error)
      const code = error instanceof FeedgateError ? error.code : 'internal'
      this.connection.close(
        closeCodeOf(code),
        error instanceof FeedgateError ? error.message : 'not admitted',
      )
    } finally {
      this.#admitting = undefined
    }
  }

  async #countConnection(identity: Identity): Promise<void> {
    const release = await this.#hub.clients.takeConnection(this.#hub.ports.limits, identity)
    this.#releaseConnection?.()
    this.#releaseConnection = release
  }

  #become(identity: Identity): void {
    clearTimeout(this.#authTimer)
    this.#identity = identity
    this.connection.admitted(identity.tier.name)
    this.#hold(identity, true)
    this.#watchExpiry(identity.expiresAt)
  }

  /** From now on the client has what the identity may have now. */
  #hold(identity: Identity, reshape = this.#tier !== identity.tier.name): void {
    const { ports, feeds } = this.#hub
    this.#tier = identity.tier.name
    const limited = identity.tier.framesPerMinute !== Number.POSITIVE_INFINITY
    if (reshape) this.#outbox.shape(this.#batch, limited ? () => ports.limits.frame(identity) : undefined)
    const refuse = (error: FeedgateError) => this.#fail(error)
    if (this.#commands) this.#commands.become(identity, refuse)
    else {
      const subscriptions = new Subscriptions(ports, feeds, this.#outbox, identity, refuse)
      this.#commands = new Commands(this.#hub, subscriptions, (message) => this.send(message))
    }
  }

  #watchExpiry(expiresAt: number | undefined): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    if (expiresAt === undefined) return
    const left = expiresAt - this.#hub.ports.now() / 1_000
    const notice = { type: 'token.expiring', expiresAt: expiresAt * 1_000 } as const
    this.#after(left - EXPIRY_NOTICE_MS, () => this.send(notice))
    this.#after(left, () => this.#end('token-expired', 'the token expired'))
  }

  #after(ms: number, act: () => void): void {
    this.#timers.add(setTimeout(act, Math.min(Math.max(0, ms), MAX_TIMER_MS)))
  }

  send(message: ServerMessage): void {
    this.connection.send(message)
  }

  #fail(error: unknown, id?: CommandId): void {
    if (!this.connection.open) return
    let known: FeedgateError
    if (error instanceof FeedgateError) known = error
    else {
      this.#hub.ports.log.error({ error: String(error) }, 'a client command failed')
      known = new FeedgateError('internal', 'this could not be done: try again later')
    }
    const { code, message, retryAfterMs } = known
    const of = error instanceof BadMessage ? (error.id ?? id) : id
    signals.clientError.emit({ code })
    this.send({
      type: 'error',
      code: ERRORS[code].ws,
      name: code,
      message,
      ...(of === undefined ? {} : { id: of }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    })
    this.#countFailure(known)
  }

  /** One who goes on after many refusals is ended: floods with 4129, rubbish with 4009 (the same would fail again). */
  #countFailure({ code }: FeedgateError): void {
    const now = performance.now()
    if (now > this.#windowEnds) {
      this.#bad = this.#refused = this.#guesses = 0
      this.#windowEnds = now + WINDOW_MS
    }
    if (code === 'rate-limited' && ++this.#refused > this.#mayBeRefused())
      this.connection.close(4129, 'too many commands')
    if (ERRORS[code].status === 401 && ++this.#guesses > MAX_GUESSES)
      this.connection.close(4001, 'too many credentials that do not hold')
    if (code === 'bad-request' && ++this.#bad > MAX_BAD) this.connection.close(4009, 'too many bad messages')
  }

  #mayBeRefused(): number {
    return MAX_REFUSED + 10 * (this.#identity?.tier.commandsPerSecond ?? 0)
  }

  #end(code: 'token-expired' | 'rate-limited' | 'too-many-connections', message: string): void {
    this.#fail(new FeedgateError(code, message))
    this.connection.close(ERRORS[code].close, message)
  }

  #closed(): void {
    clearTimeout(this.#authTimer)
    this.#watchExpiry(undefined)
    this.#commands?.close()
    this.#releaseConnection?.()
  }
}

/** Of an error that ends a connection. What will pass is 1013, "try again later". */
export function closeCodeOf(code: ErrorCode): number {
  const { retryable, ...row } = ERRORS[code]
  return 'close' in row ? row.close : retryable ? 1013 : 4001
}
