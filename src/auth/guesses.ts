import { createHash } from 'node:crypto'
import { RateLimiterMemory } from 'rate-limiter-flexible'
import { FeedgateError } from '../errors.ts'
import type { Credential, Identity } from './auth.ts'

/** Keys and tickets of one address that did not hold, within a minute. */
const MAX_GUESSES = 60
const WINDOW_SECONDS = 60
/** Keys that held lately; the oldest are forgotten. */
const MAX_KNOWN = 10_000

/**
 * Who tries keys or tickets that do not hold is soon refused unseen, whatever is tried next: no guess is looked up, and
 * none is told right from wrong. Keys that have held here go on working from there: one client, or a proxy with many
 * behind it, is not shut out by another's guesses. Tokens are not guessed: their signature is checked without a look-up.
 */
export class Guesses {
  /** As many entries as addresses that were wrong in the last minute. */
  readonly #wrong = new RateLimiterMemory({ points: MAX_GUESSES, duration: WINDOW_SECONDS })
  readonly #known = new Set<string>()

  /** Rejects with rate-limited, else as `identify` does. */
  async watch(credential: Credential, address: string, identify: () => Promise<Identity>): Promise<Identity> {
    if (credential.kind !== 'apiKey' && credential.kind !== 'ticket') return identify()
    const secret = credential.kind === 'apiKey' ? credential.apiKey : credential.ticket
    const digest = createHash('sha256').update(secret).digest('base64')
    const network = networkOf(address)
    if (!this.#known.has(digest)) await this.#refuseTooMany(network)
    try {
      const identity = await identify()
      if (credential.kind === 'apiKey') this.#remember(digest)
      return identity
    } catch (error) {
      if (error instanceof FeedgateError && error.code === 'not-authenticated') {
        this.#known.delete(digest)
        await this.#wrong.penalty(network)
      }
      throw error
    }
  }

  /** Only what was found wrong counts: many who come at once, while the store opens, are not taken for guesses. */
  async #refuseTooMany(network: string): Promise<void> {
    const wrong = await this.#wrong.get(network)
    if (!wrong || wrong.consumedPoints < MAX_GUESSES) return
    throw new FeedgateError('rate-limited', 'too many wrong credentials from this address: wait a minute', {
      retryAfterMs: Math.max(1, wrong.msBeforeNext),
    })
  }

  #remember(digest: string): void {
    this.#known.delete(digest)
    this.#known.add(digest)
    if (this.#known.size > MAX_KNOWN) this.#known.delete(this.#known.values().next().value!)
  }
}

/** Of IPv6 the /64, for one host has them all. */
function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:/, '')
  if (!plain.includes(':')) return plain
  const [head = '', tail] = plain.split('::')
  const groups = head === '' ? [] : head.split(':')
  const rest = tail ? tail.split(':') : []
  while (groups.length + rest.length < 8) groups.push('0')
  return [...groups, ...rest].slice(0, 4).join(':')
}
