import { Redis } from 'ioredis'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Answerer } from '../../src/gateway/peers.ts'
import { createRedisPeers } from '../../src/gateway/peers-redis.ts'
import { emptyRedis, withEngines } from './engines.ts'

const log = { info: () => {}, warn: () => {} }
const answerer = (id: string): Answerer => ({
  clients: async () => [],
  ghosts: async () => [{ id, since: 1 }],
  end: async (asked) => asked.id === id,
  usage: async () => ({ since: 1, entries: [] }),
})

await withEngines(['redis'], ({ redis }) => {
  const opened: { close(): void }[] = []
  afterEach(() => {
    for (const one of opened.splice(0)) one.close()
  })

  type Peers = ReturnType<typeof createRedisPeers>

  /** Gateways that have found each other; those without a name never answer. */
  async function gateways(...names: (string | undefined)[]): Promise<Peers[]> {
    await emptyRedis(redis)
    const peers = names.map((name, index) => {
      const one = createRedisPeers({ url: redis.url, log, node: name ?? `silent-${index}` })
      if (name !== undefined) one.serve(answerer(name))
      opened.push(one)
      return one
    })
    const admin = new Redis(redis.url)
    await vi.waitFor(async () => {
      const [, count] = (await admin.call('pubsub', 'numsub', 'gateways')) as [string, number]
      expect(count).toBe(names.length)
    })
    admin.disconnect()
    return peers
  }

  const ghosts = async (peers: Peers, waitMs: number) => {
    const began = performance.now()
    const { answers, complete } = await peers.ask('ghosts', { limitKey: 'k' }, waitMs)
    return { from: answers.flat().map(({ id }) => id), complete, ms: performance.now() - began }
  }

  describe('gateways that ask each other', () => {
    it('have the answers of all as soon as the last has come, the own one first', async () => {
      const [, two] = await gateways('one', 'two', 'three')
      const { from, complete, ms } = await ghosts(two!, 10_000)
      expect(complete).toBe(true)
      expect(from[0]).toBe('two')
      expect(from.toSorted()).toEqual(['one', 'three', 'two'])
      expect(ms).toBeLessThan(5_000)
      expect(await two!.ask('end', { id: 'three', why: 'operator' }, 10_000)).toMatchObject({
        complete: true,
      })
    })

    it('are told that an answer is missing, after the time that they give', async () => {
      const [one] = await gateways('one', 'two', undefined)
      const { from, complete, ms } = await ghosts(one!, 300)
      expect({ from, complete }).toEqual({ from: ['one', 'two'], complete: false })
      expect(ms).toBeGreaterThan(290)
    })

    it('are not disturbed by what others write to their channels', async () => {
      const [one, two] = await gateways('one', 'two')
      const stranger = new Redis(redis.url)
      for (const text of ['no JSON', '{}', 'null', '{"from":1,"id":1,"kind":"constructor","asked":{}}'])
        await stranger.publish('gateways', text)
      stranger.disconnect()
      expect(await ghosts(two!, 5_000)).toMatchObject({ from: ['two', 'one'], complete: true })
      expect(await ghosts(one!, 5_000)).toMatchObject({ from: ['one', 'two'], complete: true })
    })

    it('know themselves while Redis is away, and each other when it is back', async () => {
      const [one] = await gateways('one', 'two')
      await redis.kill()
      await vi.waitFor(async () =>
        expect(await ghosts(one!, 200)).toMatchObject({ from: ['one'], complete: false }),
      )
      await redis.restart()
      await vi.waitFor(
        async () => expect(await ghosts(one!, 500)).toMatchObject({ from: ['one', 'two'], complete: true }),
        { timeout: 15_000, interval: 200 },
      )
    })
  })
})
