import type { Identity } from '../../auth/auth.ts'
import type { Connection } from './connection.ts'
import type { Sent } from './outbox.ts'

/** A client as the hub sees it. */
export interface Client {
  readonly connection: Connection
  /** The endpoint knows the message `shutdown`. */
  readonly understandsShutdown: boolean
  /** Undefined until it is admitted. */
  readonly identity: Identity | undefined
  /** It is one of its key's connections; those of the two endpoints of the first system are not. */
  readonly counted: boolean
  /** Topics that it is sent. */
  readonly subscriptions: number
  readonly sent: Sent
  keyRevoked(keyId: string): void
  rightsChanged(tenant: string): void
}
