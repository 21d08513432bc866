import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { CcxtLibrary } from '../../../src/connectors/ccxt/library.ts'
import type { Log } from '../../../src/gateway/gateway.ts'
import { createVault } from '../../../src/vault.ts'
import { startUpstream, temporaryFolder, type Upstream } from '../../manager/venue-world.ts'
import { connectorsOf, type Loopback, market, readScripts, startLoopback, withMarkets } from './loopback.ts'

const SECRET = 'a-secret-of-the-venue-that-nobody-may-see'
const { seal } = createVault('a key of the tests, long enough for one')
const credentials = seal({ apiKey: 'key-of-us', secret: SECRET })

let loopback: Loopback
let upstream: Upstream
let library: CcxtLibrary
const dataDir = temporaryFolder()
const logged: string[] = []
const write = (fields: object, message: string) => void logged.push(JSON.stringify(fields) + message)
const log: Log = { debug: write, info: write, warn: write, error: write }

/** Bybit as far as it judges credentials. */
async function start(verdict: object): Promise<void> {
  const script = readScripts().get('bybit')!
  loopback = await startLoopback({ ...script, rest: [[/^\/v5\/(account|user|asset)/, verdict]] })
  library = await withMarkets({ bybit: [market('BTCUSDT', 'BTC/USDT')] })
  upstream = await startUpstream([], { connectors: connectorsOf(library), dataDir, log })
}

const request = () => ({
  exchangeId: 'bybit',
  url: loopback.url,
  restUrl: loopback.restUrl,
  credentials,
})

afterEach(async () => {
  await upstream?.stop()
  await loopback?.stop()
  rmSync(join(dataDir, 'sources.json'), { force: true })
})

describe('credentials of a venue', () => {
  it('that the venue refuses end the request with its reason, and no source is left', async () => {
    await start({ retCode: 10003, retMsg: 'API key is invalid.', result: {} })
    await expect(upstream.manager.connect(request())).rejects.toMatchObject({
      code: 'venue-credentials-refused',
      message: expect.stringContaining('API key is invalid'),
    })
    expect(upstream.manager.status()).toEqual([])
    expect(upstream.manager.notifications()).toMatchObject([{ source: 'bybit' }])
  })

  it('that it takes are kept sealed, never shown, and used again after a restart', async () => {
    await start({ retCode: 0, retMsg: 'OK', result: { list: [], unified: 0, uta: 0 }, time: Date.now() })
    expect(await upstream.manager.connect(request())).toMatchObject({ created: true })
    expect(await upstream.manager.connect(request())).toMatchObject({ created: false })
    await expect(
      upstream.manager.connect({ ...request(), credentials: seal({ apiKey: 'other', secret: 'other' }) }),
    ).rejects.toMatchObject({ code: 'bad-request' })
    const kept = readFileSync(join(dataDir, 'sources.json'), 'utf8')
    expect(kept).toContain('"credentials"')
    for (const text of [kept, JSON.stringify(upstream.manager.status()), ...logged]) {
      expect(text).not.toContain(SECRET)
      expect(text).not.toContain('key-of-us')
    }
    await upstream.stop()
    upstream = await startUpstream([], { connectors: connectorsOf(library), dataDir, log })
    expect(upstream.manager.status('bybit')?.kind).toBe('ccxt')
    expect(await upstream.manager.connect(request())).toMatchObject({ created: false })
  })

  it('of which the venue says nothing are taken, and its later refusal stands in the status', async () => {
    await start({ retCode: 10016, retMsg: 'Internal error', result: {} })
    expect(await upstream.manager.connect(request())).toMatchObject({ created: true })
  })

  it('must be those that the exchange knows', async () => {
    await start({})
    for (const [given, message] of [
      [{ apiKey: 'a' }, /lack secret/],
      [{ apiKey: 'a', secret: 'b', colour: 'blue' }, /no credential colour.*apiKey, secret/],
    ] as const)
      await expect(
        upstream.manager.connect({ ...request(), credentials: seal(given) }),
      ).rejects.toMatchObject({ code: 'bad-request', message: expect.stringMatching(message) })
  })

  it('are not for venues of our own, which serve public data', async () => {
    upstream = await startUpstream([])
    await expect(upstream.manager.connect({ exchangeId: 'kraken', credentials })).rejects.toMatchObject({
      code: 'not-supported-yet',
      message: expect.stringContaining('public data'),
    })
  })

  it('are opened by nobody without the key', () => {
    expect(() => createVault('another key of the tests, long enough').open(credentials)).toThrow(
      /SECRETS_KEY/,
    )
    expect(() => createVault('another key of the tests, long enough').open('nonsense')).toThrow(/SECRETS_KEY/)
    expect(seal({ apiKey: 'a' })).not.toBe(seal({ apiKey: 'a' }))
  })
})
