import { randomUUID } from 'node:crypto'
import type { Identity } from '../../auth/auth.ts'
import { FeedgateError } from '../../errors.ts'
import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { MessageStatus } from '../../market/event.ts'
import type { StatusCommand, StatusMessage } from '../../protocol/legacy.ts'
import { parseStatusCommand } from '../../protocol/parse.ts'
import type { Connection } from './connection.ts'
import { textFrame } from './frame.ts'
import type { ClientHub } from './hub.ts'
import { type LegacyOrigin, LegacySession, timestampOf } from './legacy-session.ts'
import { delayOf } from './rights.ts'
import type { FeedReader, TopicFeed } from './topic-feed.ts'

/** One client of `/ws/status`: what becomes of the messages of its tenant's conversations. */
export class StatusSession extends LegacySession<StatusCommand> {
  /** By conversation; one may come from several sources. */
  readonly #followed = new Map<string, readonly Following[]>()

  constructor(hub: ClientHub, connection: Connection, from: LegacyOrigin) {
    super(hub, connection, from, parseStatusCommand)
  }

  protected admitted(identity: Identity): void {
    const timestamp = this.#now()
    this.#send({ type: 'connected', connectionId: randomUUID(), userId: identity.subject, timestamp })
  }

  protected execute(identity: Identity, command: StatusCommand): void {
    if (command.type === 'ping') {
      this.#send({ type: 'pong', timestamp: this.#now() })
      return
    }
    const { type, conversationId } = command
    if (type === 'subscribe') this.#subscribe(identity, conversationId)
    else this.#unsubscribe(conversationId)
    // The first system acknowledged both with this one message.
    this.#send({ type: 'subscribed', conversationId, timestamp: this.#now() })
  }

  #subscribe(identity: Identity, conversationId: string): void {
    if (this.#followed.has(conversationId)) return
    const feeds = this.#feedsOf(identity, conversationId)
    if (feeds.length === 0)
      throw new FeedgateError('not-found', `conversation ${conversationId} is not known here`)
    this.takeRoom(this.#followed.size)
    const followings = feeds.map((feed) => new Following(feed, this.connection))
    this.#followed.set(conversationId, followings)
  }

  /** The caller's own only: another tenant's conversation is as unknown as one that is not there. */
  #feedsOf(identity: Identity, conversationId: string): readonly TopicFeed[] {
    const { ports, feeds } = this.hub
    feeds.refresh()
    return feeds
      .find({ channel: 'status', source: undefined, pattern: conversationId, timeframe: undefined })
      .flatMap((topic) => {
        const delayMs = delayOf(ports.auth, identity, topic)
        return delayMs === undefined ? [] : feeds.feed(topic, delayMs)
      })
  }

  #unsubscribe(conversationId: string): void {
    for (const following of this.#followed.get(conversationId) ?? []) {
      following.feed.readers.delete(following)
      this.hub.feeds.release(following.feed)
    }
    this.#followed.delete(conversationId)
  }

  get subscriptions(): number {
    return this.#followed.size
  }

  protected begin(identity: Identity): void {
    for (const conversationId of [...this.#followed.keys()]) {
      this.#unsubscribe(conversationId)
      try {
        this.#subscribe(identity, conversationId)
      } catch (error) {
        this.fail(error)
      }
    }
  }

  protected closed(): void {
    for (const conversationId of this.#followed.keys()) this.#unsubscribe(conversationId)
  }

  #now(): string {
    return timestampOf(this.hub.ports.now())
  }

  #send(message: StatusMessage): void {
    this.connection.send(message)
  }
}

/** Sends each status of one topic to one client, from now on. */
class Following implements FeedReader {
  readonly feed: TopicFeed
  readonly #connection: Connection

  constructor(feed: TopicFeed, connection: Connection) {
    this.feed = feed
    this.#connection = connection
    feed.readers.add(this)
  }

  take(event: EncodedEvent): void {
    if (event.type !== 'status') return
    const { messageId, conversationId, status, channel } = event.payload as MessageStatus
    const timestamp = timestampOf(event.eventTime)
    const message: StatusMessage = {
      type: 'message.status',
      messageId,
      conversationId,
      status,
      channel,
      timestamp,
    }
    this.#connection.post(textFrame(JSON.stringify(message)))
  }

  resync(): void {}

  /** What was missed of a conversation cannot be told apart in this protocol; the newest status is. */
  reload(before: { readonly epoch: number; readonly seq: number }): void {
    for (const event of this.feed.values.values())
      if (event.epoch > before.epoch || (event.epoch === before.epoch && event.seq > before.seq))
        this.take(event)
  }
}
