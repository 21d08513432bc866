import type { IncomingHttpHeaders } from 'node:http'
import { FeedgateError } from '../../errors.ts'

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i

/**
 * What pages in browsers may do. A browser lets any page connect anywhere and says which one it is (`Origin`); who is no
 * browser says nothing, and is free to. There are no cookies here, so a page can only act for those who gave it their
 * credential. What it could use without is the place of the browser: an anonymous client at an address that only this
 * machine reaches. So pages of another origin must bring a credential; with `allowed` they must be named too.
 */
export class Origins {
  readonly #allowed: ReadonlySet<string>

  /** `https://app.example.com`; `*`: any. Undefined: every page that brings a credential. */
  constructor(allowed: readonly string[] | undefined) {
    this.#allowed = new Set(allowed?.map((origin) => origin.toLowerCase()))
  }

  /** Throws `forbidden`. `anonymous`: it brings no credential. */
  check({ origin, host = '' }: IncomingHttpHeaders, anonymous: boolean): void {
    if (origin === undefined || this.#allowed.has('*') || this.#allowed.has(origin.toLowerCase())) return
    const from = origin.replace(/^https?:\/\//i, '')
    if (from.toLowerCase() === host.toLowerCase() || (LOOPBACK.test(from) && LOOPBACK.test(host))) return
    if (this.#allowed.size > 0)
      throw new FeedgateError(
        'forbidden',
        'pages of this origin may not connect: ALLOWED_ORIGINS names those that may',
      )
    if (anonymous)
      throw new FeedgateError(
        'forbidden',
        'a page of another origin must bring a credential, or be named in ALLOWED_ORIGINS',
      )
  }
}
