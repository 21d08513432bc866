import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { closeRedis, openRedis, type RedisOptions } from '../redis.ts'
import type { Answerer, Peers, Questions } from './peers.ts'

/** Every gateway listens here for questions, and at `gateways:{itself}` for answers. */
const EVERYONE = 'gateways'
/** Questions of one gateway that wait for answers; beyond it the others are not asked. */
const MAX_ASKING = 1_000

type Kind = keyof Questions

interface Question {
  readonly from: string
  readonly id: number
  readonly kind: Kind
  readonly asked: never
}

interface Answer {
  readonly id: number
  readonly answer: unknown
}

/** Gateways that ask each other over Redis Pub/Sub. While it is away each knows its own clients only. */
export function createRedisPeers(options: Omit<RedisOptions, 'name'> & { readonly node: string }): Peers & {
  close(): void
} {
  return new RedisPeers(options)
}

class RedisPeers implements Peers {
  readonly node: string
  readonly #self = randomUUID()
  readonly #redis: Redis
  readonly #listener: Redis
  #listening = false
  #own: Answerer | undefined
  readonly #asking = new Map<number, Gathering>()
  #lastId = 0

  constructor({ node, ...options }: Omit<RedisOptions, 'name'> & { readonly node: string }) {
    this.node = node
    this.#redis = openRedis({ ...options, name: 'feedgate-peers' })
    this.#listener = openRedis({ ...options, name: 'feedgate-peers-listener' })
    this.#listener.on('ready', () => void this.#listen())
    this.#listener.on('close', () => {
      this.#listening = false
    })
    this.#listener.on('message', (channel: string, text: string) =>
      channel === EVERYONE ? void this.#answer(text) : this.#answered(text),
    )
  }

  async #listen(): Promise<void> {
    try {
      await this.#listener.subscribe(EVERYONE, this.#inbox(this.#self))
      this.#listening = true
    } catch {
      // A connection that cannot subscribe has ended, or is ended: the next one tries again.
      if (this.#listener.status === 'ready') this.#listener.disconnect(true)
    }
  }

  #inbox(gateway: string): string {
    return `${EVERYONE}:${gateway}`
  }

  serve(answerer: Answerer): void {
    this.#own = answerer
  }

  async ask<K extends Kind>(kind: K, asked: Questions[K]['asked'], waitMs: number) {
    type A = Questions[K]['answer']
    const others = this.#askOthers(kind, asked, waitMs)
    const own = this.#own ? [await this.#own[kind](asked)] : []
    const { answers, complete } = await others
    return { answers: [...own, ...(answers as readonly A[])], complete }
  }

  async #askOthers(kind: Kind, asked: object, waitMs: number): Promise<Gathered> {
    if (!this.#listening || this.#asking.size >= MAX_ASKING) return NOTHING
    const id = ++this.#lastId
    const gathering = new Gathering(waitMs)
    this.#asking.set(id, gathering)
    try {
      // Redis says how many listen; this gateway is one of them.
      const count = await this.#redis.publish(EVERYONE, JSON.stringify({ from: this.#self, id, kind, asked }))
      gathering.expect(count - 1)
      return await gathering.done
    } catch {
      return NOTHING
    } finally {
      gathering.end()
      this.#asking.delete(id)
    }
  }

  async #answer(text: string): Promise<void> {
    try {
      const { from, id, kind, asked } = JSON.parse(text) as Question
      if (from === this.#self || !this.#own || !Object.hasOwn(this.#own, kind)) return
      const answer = await this.#own[kind](asked)
      await this.#redis.publish(this.#inbox(from), JSON.stringify({ id, answer }))
    } catch {
      // Whoever asked sees that an answer is missing.
    }
  }

  #answered(text: string): void {
    try {
      const { id, answer } = JSON.parse(text) as Answer
      this.#asking.get(id)?.take(answer)
    } catch {
      // It is none of ours.
    }
  }

  close(): void {
    closeRedis(this.#redis)
    closeRedis(this.#listener)
  }
}

interface Gathered {
  readonly answers: readonly unknown[]
  readonly complete: boolean
}

const NOTHING: Gathered = { answers: [], complete: false }

/** The answers to one question; they may come before it is known how many there will be. */
class Gathering {
  readonly done: Promise<Gathered>
  readonly #answers: unknown[] = []
  readonly #timer: NodeJS.Timeout
  #expected = Number.POSITIVE_INFINITY
  #resolve: (gathered: Gathered) => void = () => {}

  constructor(waitMs: number) {
    this.done = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#timer = setTimeout(() => this.end(), waitMs)
  }

  expect(count: number): void {
    this.#expected = count
    if (this.#answers.length >= count) this.end()
  }

  take(answer: unknown): void {
    this.#answers.push(answer)
    if (this.#answers.length >= this.#expected) this.end()
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#resolve({ answers: this.#answers, complete: this.#answers.length >= this.#expected })
  }
}
