import { readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SourceSpec } from '../../src/manager/manager.ts'
import { startUpstream, temporaryFolder, type Upstream } from './venue-world.ts'

let dataDir: string
const running: Upstream[] = []

beforeEach(() => {
  dataDir = temporaryFolder()
})

afterEach(async () => {
  for (const upstream of running.splice(0)) await upstream.stop()
  rmSync(dataDir, { recursive: true, force: true })
})

async function start(...sources: SourceSpec[]): Promise<Upstream> {
  const upstream = await startUpstream(sources, { dataDir })
  running.push(upstream)
  return upstream
}

const sim = { exchangeId: 'sim', kind: 'simulator' } as const
const DEAD = { url: 'ws://127.0.0.1:1', restUrl: 'http://127.0.0.1:1' }

describe('what an admin asks', () => {
  it('connects a source once: 201, then 200, the entry of status being the answer', async () => {
    const { manager } = await start()
    const first = await manager.connect(sim)
    expect(first).toMatchObject({
      created: true,
      status: { id: 'sim', kind: 'simulator', licence: 'open', topics: [] },
    })
    expect(await manager.connect(sim)).toMatchObject({ created: false })
    expect(manager.status('sim')?.id).toBe('sim')
    expect(manager.licence('sim')).toBe('open')
  })

  it('takes the exchange id for the kind where a venue has that name, and lists the kinds where none has', async () => {
    const { manager } = await start()
    expect((await manager.connect({ exchangeId: 'kraken', ...DEAD })).status.kind).toBe('kraken')
    await expect(manager.connect({ exchangeId: 'nowhere' })).rejects.toMatchObject({
      code: 'unknown-exchange',
      message: expect.stringMatching(
        /kinds are .*ccxt, coinbase.*; of ccxt these exchanges: .*bitget.*bybit/,
      ),
    })
    await expect(manager.connect({ exchangeId: 'x', kind: 'nowhere' })).rejects.toMatchObject({
      code: 'unknown-exchange',
    })
    await expect(manager.connect({ exchangeId: 'a b', kind: 'simulator' })).rejects.toMatchObject({
      code: 'bad-request',
    })
  })

  it('refuses a request that contradicts what the source is', async () => {
    const { manager } = await start()
    await manager.connect(sim)
    await expect(manager.connect({ ...sim, kind: 'kraken' })).rejects.toMatchObject({ code: 'bad-request' })
  })

  it('subscribes, connecting the source if need be, and events flow', async () => {
    const { manager, until, of } = await start()
    const asked = { ...sim, channel: 'ticker', symbol: 'BTC/USDT' } as const
    expect(await manager.subscribe(asked)).toMatchObject({ created: true })
    expect(await manager.subscribe(asked)).toMatchObject({ created: false })
    await until('a ticker', () => of('sim|ticker|BTC/USDT').length > 1)
    expect(manager.status('sim')).toMatchObject({
      state: 'connected',
      topics: [{ channel: 'ticker', symbol: 'BTC/USDT', state: 'live' }],
    })
    expect([...manager.topics()].map((topic) => topic.id)).toEqual(['sim|ticker|BTC/USDT', 'sim|source|sim'])
    expect(of('sim|source|sim').map((event) => event.state)).toEqual(['connecting', 'connected'])
  })

  it.each([
    [{ channel: 'candles', symbol: 'BTC/USDT' }, 'unknown-channel'],
    [{ channel: 'funding', symbol: 'BTC/USDT' }, 'unknown-channel'],
    [{ channel: 'ohlcv', symbol: 'BTC/USDT', timeframe: '7m' }, 'unknown-timeframe'],
    [{ channel: 'ohlcv', symbol: 'NO', timeframe: '7m' }, 'unknown-timeframe'],
    [{ channel: 'ticker', symbol: 'NO' }, 'unknown-symbol'],
    [{ channel: 'odds', symbol: 'a b' }, 'bad-request'],
    [{ channel: 'ticker' }, 'bad-request'],
  ])('refuses %o with %s, and makes no source for it', async (wanted, code) => {
    const { manager } = await start()
    await expect(manager.subscribe({ ...sim, ...wanted } as never)).rejects.toMatchObject({ code })
    expect(manager.status()).toEqual([])
  })

  it('names odds by event and statuses by conversation, without the tenant', async () => {
    const { manager, until, of } = await start()
    await manager.subscribe({ ...sim, channel: 'odds', symbol: 'MATCH_001' })
    await manager.subscribe({ ...sim, channel: 'status', symbol: 'demo/CONV_001' })
    await until('odds', () => of('sim|odds|MATCH_001').length > 0)
    expect(manager.status('sim')?.topics.map((topic) => topic.symbol)).toEqual(['MATCH_001', 'CONV_001'])
  })

  it('unsubscribes and disconnects what is there, and says 404 of what is not', async () => {
    const { manager, until, of } = await start()
    const asked = { ...sim, channel: 'ticker', symbol: 'BTC/USDT' } as const
    for (const act of ['disconnect', 'unsubscribe', 'rotate'] as const)
      await expect(manager[act](asked)).rejects.toMatchObject({ code: 'unknown-source' })
    await manager.connect(sim)
    await expect(manager.unsubscribe(asked)).rejects.toMatchObject({ code: 'not-found' })
    await manager.subscribe(asked)
    await until('a ticker', () => of('sim|ticker|BTC/USDT').length > 0)
    expect((await manager.unsubscribe(asked)).status.topics).toEqual([])
    const seen = of('sim|ticker|BTC/USDT').length
    expect((await manager.disconnect(sim)).status).toMatchObject({
      state: 'down',
      reason: 'disconnected by an admin',
    })
    await until('the last event', () => of('sim|source|sim').at(-1)?.state === 'down')
    expect(of('sim|ticker|BTC/USDT').length - seen).toBeLessThanOrEqual(1)
    expect(manager.status('sim')).toBeUndefined()
    await expect(manager.disconnect(sim)).rejects.toMatchObject({ code: 'unknown-source' })
  })

  it('goes on in the same epoch, after a gap, when something is subscribed to again', async () => {
    const { manager, until, of } = await start()
    const asked = { ...sim, channel: 'ticker', symbol: 'BTC/USDT' } as const
    await manager.subscribe(asked)
    await until('a ticker', () => of('sim|ticker|BTC/USDT').length > 0)
    await manager.unsubscribe(asked)
    await manager.subscribe(asked)
    await until('another', () => of('sim|ticker|BTC/USDT').some((event) => event.type === 'gap'))
    await until('another', () => of('sim|ticker|BTC/USDT').at(-1).type === 'ticker')
    const events = of('sim|ticker|BTC/USDT')
    expect(new Set(events.map((event) => event.epoch)).size).toBe(1)
    expect(events.map((event) => event.seq)).toEqual(events.map((_, at) => at + 1))
  })

  it('gives the deepest book that was asked for', async () => {
    const { manager, until, of } = await start()
    const asked = { ...sim, channel: 'orderbook', symbol: 'BTC/USDT' } as const
    await manager.subscribe({ ...asked, limit: 10 })
    await until('a book', () => of('sim|orderbook|BTC/USDT').length > 2)
    expect(await manager.subscribe({ ...asked, limit: 50 })).toMatchObject({ created: false })
    await until('a deeper one', () => of('sim|orderbook|BTC/USDT').at(-1).depth === 50)
    await manager.subscribe({ ...asked, limit: 10 })
    const events = of('sim|orderbook|BTC/USDT')
    expect(events.filter((event) => event.type === 'gap')).toEqual([])
    expect(events.filter((event) => event.kind === 'snapshot').map((event) => event.depth)).toEqual([10, 50])
  })

  it('survives a restart, mode 0600, and an admin’s disconnect of a file source lasts until then', async () => {
    const file: SourceSpec = {
      id: 'file',
      kind: 'simulator',
      subscriptions: [{ channel: 'ticker', symbols: ['ETH/USDT'] }],
    }
    const before = await start(file)
    await before.manager.subscribe({ ...sim, channel: 'ticker', symbol: 'BTC/USDT' })
    await before.manager.subscribe({ exchangeId: 'file', channel: 'trades', symbol: 'SOL/USDT' })
    await before.manager.unsubscribe({ exchangeId: 'file', channel: 'ticker', symbol: 'ETH/USDT' })
    await before.manager.connect({ exchangeId: 'gone', kind: 'simulator' })
    await before.manager.disconnect({ exchangeId: 'gone' })
    await before.manager.disconnect({ exchangeId: 'file' })
    expect(before.manager.status('file')).toBeUndefined()
    expect(statSync(join(dataDir, 'sources.json')).mode & 0o777).toBe(0o600)
    expect(readFileSync(join(dataDir, 'sources.json'), 'utf8')).not.toContain('gone')
    await before.stop()
    running.length = 0
    const after = await start(file)
    const topics = Object.fromEntries(
      after.manager
        .status()
        .map((one) => [one.id, one.topics.map((topic) => `${topic.channel} ${topic.symbol}`)]),
    )
    expect(topics).toEqual({ file: ['ticker ETH/USDT', 'trades SOL/USDT'], sim: ['ticker BTC/USDT'] })
  })

  it('is told in one sentence when the file that keeps it is damaged', async () => {
    const { writeFileSync } = await import('node:fs')
    writeFileSync(join(dataDir, 'sources.json'), '{"torn')
    await expect(startUpstream([], { dataDir })).rejects.toMatchObject({
      code: 'bad-setting',
      message: expect.stringContaining('sources.json'),
    })
  })

  it('stops everything within a second', async () => {
    const { manager } = await start({
      id: 'demo',
      kind: 'simulator',
      subscriptions: [{ channel: 'orderbook', symbols: ['BTC/USDT', 'ETH/USDT'] }],
    })
    await manager.connect({ exchangeId: 'kraken', ...DEAD })
    const begun = performance.now()
    await manager.close()
    await manager.close()
    expect(performance.now() - begun).toBeLessThan(1_000)
  })
})
