import { describe, expect, it } from 'vitest'
import type { Credential, Identity } from '../../src/auth/auth.ts'
import { Guesses } from '../../src/auth/guesses.ts'
import { TIERS } from '../../src/auth/tiers.ts'
import { FeedgateError } from '../../src/errors.ts'

const somebody: Identity = {
  ...{ tenant: 'acme', tier: TIERS.basic, subject: 's', anonymous: false, admin: false, limitKey: 'key:1' },
}
const key = (apiKey: string): Credential => ({ kind: 'apiKey', apiKey })

/** What a guess is told: `right` holds, everything else does not. */
function gate() {
  const guesses = new Guesses()
  let looked = 0
  const guess = (credential: Credential, address = '192.0.2.1') =>
    guesses
      .watch(credential, address, async () => {
        looked++
        if (credential.kind === 'apiKey' && credential.apiKey.startsWith('right')) return somebody
        if (credential.kind === 'apiKey' && credential.apiKey === 'away')
          throw new FeedgateError('store-unavailable', 'the store is away')
        throw new FeedgateError('not-authenticated', 'the API key is unknown or was deleted')
      })
      .then(
        () => 'in',
        (error: FeedgateError) => error.code,
      )
  return { guess, looked: () => looked }
}

describe('an address that tries keys which do not hold', () => {
  it('is refused unseen after 60 in a minute, with the right one too', async () => {
    const { guess, looked } = gate()
    const codes: string[] = []
    for (let n = 0; n < 100; n++) codes.push(await guess(key(`wrong-${n}`)))
    expect(codes.filter((code) => code === 'not-authenticated')).toHaveLength(60)
    expect(codes.filter((code) => code === 'rate-limited')).toHaveLength(40)
    expect(await guess(key('right'))).toBe('rate-limited')
    expect(await guess({ kind: 'ticket', ticket: 'x' })).toBe('rate-limited')
    expect(looked()).toBe(60)
  })

  it('shuts out nobody else: no other address, no key that held there before, no token', async () => {
    const { guess } = gate()
    expect(await guess(key('right-before'))).toBe('in')
    for (let n = 0; n < 80; n++) await guess(key(`wrong-${n}`))
    expect(await guess(key('right-before'))).toBe('in')
    expect(await guess(key('right'), '192.0.2.2')).toBe('in')
    expect(await guess({ kind: 'none' })).toBe('not-authenticated')
    expect(await guess({ kind: 'token', token: 'a.b.c' })).toBe('not-authenticated')
  })

  it('is its whole network in IPv6, for one host has all of a /64', async () => {
    const { guess } = gate()
    for (let n = 0; n < 80; n++) await guess(key(`wrong-${n}`), `2001:db8:0:7::${n.toString(16)}`)
    expect(await guess(key('right'), '2001:db8::7:1:2:3:4')).toBe('rate-limited')
    expect(await guess(key('right'), '2001:db8:0:8::1')).toBe('in')
    expect(await guess(key('right'), '::ffff:192.0.2.9')).toBe('in')
  })

  it('guesses nothing by what holds, nor while nobody can say what does', async () => {
    const { guess } = gate()
    const right = await Promise.all(Array.from({ length: 500 }, (_, n) => guess(key(`right-${n % 100}`))))
    expect(new Set(right)).toEqual(new Set(['in']))
    for (let n = 0; n < 100; n++) expect(await guess(key('away'))).toBe('store-unavailable')
    expect(await guess(key('wrong'))).toBe('not-authenticated')
  })
})
