import type { Credential, Identity } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import { signals } from '../../signals.ts'
import type { Client } from './client.ts'
import type { Connection } from './connection.ts'
import type { ClientHub } from './hub.ts'
import type { Sent } from './outbox.ts'
import { closeCodeOf } from './session.ts'

/** Subscriptions of one connection. */
const MAX_SUBSCRIPTIONS = 200
/** Messages that wait to be handled; beyond it the client floods. */
const MAX_QUEUED = 256
const MAX_MESSAGE_BYTES = 16 * 1_024
/** Refusals within ten seconds; one who goes on after them is ended. */
const MAX_REFUSED = 200
const WINDOW_MS = 10_000

/** Where a connection comes from. */
export interface LegacyOrigin {
  /** Throws FeedgateError where what was given is none, or may not come from there. */
  readonly credential: () => Credential
  /** False: the address sends too many messages. */
  readonly mayCommand: () => boolean
}

/** What the two endpoints of the first system have in common: their errors are a message and nothing else. */
export abstract class LegacySession<Command> implements Client {
  readonly connection: Connection
  readonly understandsShutdown = false
  readonly counted = false
  protected readonly hub: ClientHub
  readonly #parse: (text: string) => Command
  readonly #mayCommand: () => boolean
  #work: Promise<void>
  #queued = 0
  #refused = 0
  #windowEnds = 0
  #expiry: NodeJS.Timeout | undefined
  #identity: Identity | undefined

  constructor(hub: ClientHub, connection: Connection, from: LegacyOrigin, parse: (text: string) => Command) {
    this.hub = hub
    this.connection = connection
    this.#parse = parse
    this.#mayCommand = from.mayCommand
    connection.onMessage((data, binary) => this.#receive(data, binary))
    connection.onClose(() => {
      clearTimeout(this.#expiry)
      this.closed()
    })
    this.#work = this.#admit(from.credential).catch((error: unknown) => this.#end(error))
  }

  abstract readonly subscriptions: number
  protected abstract admitted(identity: Identity): void
  protected abstract execute(identity: Identity, command: Command): void
  /** What it follows begins anew, as far as it may be followed now. */
  protected abstract begin(identity: Identity): void
  protected abstract closed(): void

  get identity(): Identity | undefined {
    return this.#identity
  }

  get sent(): Sent {
    return { events: this.connection.posted, conflated: 0, skipped: 0, slow: this.connection.behind }
  }

  keyRevoked(keyId: string): void {
    if (this.#identity?.keyId === keyId) this.#end(new FeedgateError('token-expired', 'the key was revoked'))
  }

  rightsChanged(tenant: string): void {
    if (this.#identity?.tenant === tenant) this.begin(this.#identity)
  }

  async #admit(credentialOf: () => Credential): Promise<void> {
    const { auth, now } = this.hub.ports
    const identity = await auth.identify(credentialOf(), this.connection.address)
    if (!this.connection.open) return
    this.#identity = identity
    this.connection.admitted(identity.tier.name)
    if (identity.expiresAt !== undefined) {
      const left = Math.min(identity.expiresAt - now() / 1_000, 2 ** 31 - 1)
      this.#expiry = setTimeout(
        () => this.#end(new FeedgateError('token-expired', 'the token expired')),
        left,
      )
    }
    this.admitted(identity)
  }

  #receive(data: Buffer, binary: boolean): void {
    if (data.length > MAX_MESSAGE_BYTES) this.connection.close(1009, 'at most 16 KiB')
    if (++this.#queued > MAX_QUEUED) this.#end(new FeedgateError('rate-limited', 'too many messages at once'))
    if (!this.connection.open) return
    const text = binary ? '' : data.toString()
    this.#work = this.#work.then(() => {
      this.#queued--
      if (this.connection.open && this.#identity) this.#handle(this.#identity, text)
    })
  }

  #handle(identity: Identity, text: string): void {
    try {
      if (!this.#mayCommand())
        throw new FeedgateError('rate-limited', 'too many messages from this address: wait a second')
      this.execute(identity, this.#parse(text))
    } catch (error) {
      this.fail(error)
      this.#countRefusal()
    }
  }

  #countRefusal(): void {
    const now = performance.now()
    if (now > this.#windowEnds) {
      this.#refused = 0
      this.#windowEnds = now + WINDOW_MS
    }
    if (++this.#refused > MAX_REFUSED) this.#end(new FeedgateError('rate-limited', 'too many messages'))
  }

  /** One subscription more; the error when there is no room. */
  protected takeRoom(held: number): void {
    if (held >= MAX_SUBSCRIPTIONS)
      throw new FeedgateError('symbol-limit', `a connection may hold ${MAX_SUBSCRIPTIONS} subscriptions`)
  }

  protected fail(error: unknown): void {
    const known = error instanceof FeedgateError
    if (!known) this.hub.ports.log.error({ error: String(error) }, 'a client command failed')
    signals.clientError.emit({ code: known ? error.code : 'internal' })
    this.connection.send({
      type: 'error',
      message: known ? error.message : 'this could not be done: try again later',
    })
  }

  #end(error: unknown): void {
    this.fail(error)
    const known = error instanceof FeedgateError
    this.connection.close(
      closeCodeOf(known ? error.code : 'internal'),
      known ? error.message : 'not admitted',
    )
  }
}

/** UTC in whole seconds with a Z, as the first system wrote it. `micros` since the Unix epoch. */
export function timestampOf(micros: number): string {
  return `${new Date(micros / 1_000).toISOString().slice(0, 19)}Z`
}
